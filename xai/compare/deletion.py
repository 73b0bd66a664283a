"""Areas under deletion and insertion curves of many images and several maps each at once.

What `xai.faithfulness.deletion_insertion` gives for one image, which its tests hold it to. The pictures that curves
have in common (the image, the image blurred, nothing) are asked about once for each image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from models.registry import Model
from xai.compare import forwards
from xai.evaluation import forward_batch_size
from xai.faithfulness import PLAIN, blurred, enlarge, pixel_places

STEPS = 16
CURVES = ("deletion", "insertion")
_TOGETHER = 8
"""Images whose pictures are made at a time: 123 pictures each with four maps and 16 steps, 50 MB at 64 px."""
_SHARED = 3


def areas(
    model: Model,
    images: Tensor,
    maps: Mapping[str, np.ndarray],
    targets: np.ndarray,
    *,
    steps: int = STEPS,
    seed: int = 0,
    tell: Callable[[int], None] = lambda done: None,
) -> dict[str, np.ndarray]:
    """Areas float64 `(N,)` in [0, 1] by `CURVE_MAP` of images `(N, 3, H, W)` in [0, 1] for `targets` `(N,)`.

    `maps` are `(N, h, w)` by name, each on its own grid. Deletion paints pixels with ImageNet's mean colour, insertion
    starts from the image blurred; ties are ordered at random with `seed` (Petsiuk et al., BMVC 2018). NaN for a map
    that is constant: it puts no pixel before another. `tell` hears how many images are done.
    """
    parts = []
    for start in range(0, len(images), _TOGETHER):
        tell(start)
        rows = slice(start, start + _TOGETHER)
        stacks = [torch.from_numpy(np.ascontiguousarray(each[rows])) for each in maps.values()]
        parts.append(_areas(model, images[rows].cpu(), stacks, targets[rows], steps, seed))
    found = np.concatenate(parts) if parts else np.empty((0, len(CURVES), len(maps)))
    for place, stack in enumerate(maps.values()):
        found[np.ptp(stack.reshape(len(stack), -1), axis=1) == 0, :, place] = np.nan
    return {
        f"{curve}_{name}": found[:, row, column]
        for row, curve in enumerate(CURVES)
        for column, name in enumerate(maps)
    }


def _areas(
    model: Model, images: Tensor, stacks: list[Tensor], targets: np.ndarray, steps: int, seed: int
) -> np.ndarray:
    """Areas `(n, 2, M)` of a few images."""
    frames = _frames(images, stacks, steps, seed)
    chances = _probabilities(model, frames.flatten(0, 1), np.repeat(targets, frames.shape[1]))
    chances = chances.view(len(images), -1)
    inner = chances[:, _SHARED:].view(len(images), len(CURVES), len(stacks), steps - 1)
    plain, whole, blur = (chances[:, [k]].view(-1, 1, 1).expand(-1, len(stacks), 1) for k in range(_SHARED))
    deletion = torch.cat([whole, inner[:, 0], plain], dim=2)
    insertion = torch.cat([blur, inner[:, 1], whole], dim=2)
    return (torch.trapezoid(torch.stack([deletion, insertion], dim=1), dim=3) / steps).double().numpy()


def _frames(images: Tensor, stacks: list[Tensor], steps: int, seed: int) -> Tensor:
    """Pictures `(n, 3 + 2 M (steps - 1), 3, H, W)`: nothing, the image, the image blurred, deletion and insertion of
    each map step by step."""
    height, width = images.shape[-2:]
    counts = torch.tensor([round(step * height * width / steps) for step in range(1, steps)])
    places = torch.stack([pixel_places(enlarge(stack, (height, width)), seed) for stack in stacks], dim=1)
    masks = (places[:, :, None] < counts.view(-1, 1, 1)).flatten(1, 2)[:, :, None]
    plain, image = torch.tensor(PLAIN).view(1, 1, 3, 1, 1), images[:, None]
    blur = blurred(images)[:, None]
    shared = (plain.expand_as(image), image, blur)
    return torch.cat([*shared, torch.where(masks, plain, image), torch.where(masks, image, blur)], dim=1)


def _probabilities(model: Model, pictures: Tensor, targets: np.ndarray) -> Tensor:
    """Probability of each picture's target, float32 `(n,)`."""
    size = forward_batch_size(pictures, model.device)
    logits = np.concatenate([forwards.logits(model, part) for part in pictures.split(size)])
    chances = torch.from_numpy(logits).softmax(dim=1)
    return chances.gather(1, torch.from_numpy(targets)[:, None])[:, 0]
