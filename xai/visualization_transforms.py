"""Random views of a picture, so that a visualisation holds for more than one alignment of its pixels.

A view is jitter, scale and rotation about the picture's centre in one affine map, sampled once (Olah et al., Feature
Visualization, Distill 2017, with Lucid's transforms made to measure for small inputs). What lies outside the picture
is grey, which is the padding of Lucid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

GREY = 0.5


@dataclass(frozen=True)
class Views:
    """How far views may go: `jitter` px to each side, `scale` as a share to each side of 1, `rotate` degrees."""

    jitter: float
    scale: float
    rotate: float


TRANSFORMS: dict[str, Views | None] = {
    "none": None,
    "small": Views(2.0, 0.05, 5.0),
    "medium": Views(4.0, 0.08, 8.0),
    "large": Views(12.0, 0.10, 10.0),
}
"""Presets by name; `none` is the identity."""
_LARGEST = (("small", 48), ("medium", 128))


def preset_for(size: int) -> str:
    """The preset for pictures of `size` px: `small` up to 48, `medium` up to 128, else `large`."""
    return next((name for name, largest in _LARGEST if size <= largest), "large")


def affine_maps(views: Views, size: int, count: int, generator: torch.Generator) -> Tensor:
    """`count` random affine maps `(count, 2, 3)` for pictures of `size` px, in the form of `affine_grid`."""
    draws = torch.rand(count, 4, generator=generator) * 2 - 1
    angle = draws[:, 0] * math.radians(views.rotate)
    zoom = 1 / (1 + draws[:, 1] * views.scale)
    shift = draws[:, 2:] * 2 * views.jitter / size
    cosine, sine = zoom * angle.cos(), zoom * angle.sin()
    rows = (torch.stack((cosine, -sine, shift[:, 0]), 1), torch.stack((sine, cosine, shift[:, 1]), 1))
    return torch.stack(rows, 1)


def look(images: Tensor, maps: Tensor | None) -> Tensor:
    """Views of images `(B, 3, S, S)` through maps `(B, 2, 3)`, each its own; the images themselves without maps."""
    if maps is None:
        return images
    grid = F.affine_grid(maps, list(images.shape), align_corners=False)
    return F.grid_sample(images - GREY, grid, align_corners=False) + GREY
