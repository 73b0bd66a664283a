"""What a heatmap has to beat: maps that know nothing of the network, on the same grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, conv2d, pad

Baseline = Callable[[Tensor, tuple[int, int], Sequence[int]], Tensor]
"""`draw(images, grid, seed)`: maps float32 `(N, h, w)`, none below 0, of images `(N, 3, H, W)` in [0, 1]."""
BASELINES: dict[str, Baseline] = {}
WORDS = {"random": "a random map", "centre": "a centre Gaussian", "edges": "an edge map"}
"""What they are called in sentences."""
SPREAD = 4
"""The standard deviation of the centre Gaussian is the grid's side divided by this."""
_LUMA = (0.299, 0.587, 0.114)
_SOBEL = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))


def register(name: str) -> Callable[[Baseline], Baseline]:
    """Decorator that enters a baseline into `BASELINES`; raises `ValueError` when the name is taken."""

    def add(draw: Baseline) -> Baseline:
        if name in BASELINES:
            raise ValueError(f"the baseline {name!r} is registered twice.")
        BASELINES[name] = draw
        return draw

    return add


def maps(images: Tensor, grid: tuple[int, int], seed: Sequence[int]) -> dict[str, np.ndarray]:
    """Every baseline's maps float32 `(N, h, w)` by name."""
    return {name: draw(images, grid, seed).cpu().numpy() for name, draw in BASELINES.items()}


@register("random")
def random(images: Tensor, grid: tuple[int, int], seed: Sequence[int]) -> Tensor:
    """Evenly distributed in [0, 1), cell by cell, a new map for every image."""
    drawn = np.random.default_rng(seed).random((len(images), *grid), dtype=np.float32)
    return torch.from_numpy(drawn)


@register("centre")
def centre(images: Tensor, grid: tuple[int, int], seed: Sequence[int]) -> Tensor:
    """A Gaussian around the middle of the grid, the same for every image."""
    height, width = (_bell(side) for side in grid)
    return (height[:, None] * width[None]).expand(len(images), *grid)


def _bell(side: int) -> Tensor:
    places = (torch.arange(side) - (side - 1) / 2) / (side / SPREAD)
    return torch.exp(-(places**2) / 2)


@register("edges")
def edges(images: Tensor, grid: tuple[int, int], seed: Sequence[int]) -> Tensor:
    """Magnitude of the Sobel gradient of the luma, averaged over each cell."""
    luma = (images * torch.tensor(_LUMA, device=images.device).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
    across = torch.tensor(_SOBEL, device=images.device)
    kernels = torch.stack([across, across.T])[:, None]
    gradient = conv2d(pad(luma, (1, 1, 1, 1), mode="replicate"), kernels)
    return adaptive_avg_pool2d(gradient.norm(dim=1, keepdim=True), grid)[:, 0]
