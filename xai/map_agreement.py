"""How alike two heatmaps are, and their difference, on a grid that both have."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from xai import faithfulness
from xai.attribution import Heatmap

TOP_SHARE = 0.2
"""Share of a map's cells that counts as its top when overlaps are measured."""


@dataclass(frozen=True)
class Agreement:
    """How alike two maps are, on a common `grid`: rank correlation in [-1, 1], overlap of the top cells in [0, 1],
    shift of the centre of positive evidence as a share of the image's width. NaN where not defined."""

    method: str
    between: str
    grid: tuple[int, int]
    spearman: float
    top_overlap: float
    centre_shift: float


def on_common_grid(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Average both maps `(h, w)` down to the smaller height and width of the two; equal grids stay as they are."""
    grid = (min(a.shape[0], b.shape[0]), min(a.shape[1], b.shape[1]))
    pooled = [torch.nn.functional.adaptive_avg_pool2d(m[None, None], grid)[0, 0] for m in (a, b)]
    return pooled[0], pooled[1]


def relative(heatmap: Heatmap, reference: Heatmap) -> Tensor:
    """A map `(h, w)` in units of the largest absolute value of `reference`, so that two networks can be subtracted.

    NaN where the reference is zero everywhere and the map is not: it has no such unit.
    """
    largest = reference.values[0].abs().max()
    if largest > 0 or not heatmap.values.any():
        return heatmap.values[0] / largest.clamp_min(torch.finfo(torch.float32).tiny)
    return torch.full_like(heatmap.values[0], math.nan)


def difference_between(a: dict[str, Heatmap], b: dict[str, Heatmap], condition: str) -> Tensor:
    """A - B on the common grid, each in units of its own clean maximum."""
    left, right = (relative(maps[condition], maps["clean"]) for maps in (a, b))
    left, right = on_common_grid(left, right)
    return left - right


def agreement(method: str, between: str, a: Tensor, b: Tensor) -> Agreement:
    a, b = on_common_grid(a, b)
    grid = (a.shape[0], a.shape[1])
    rank = float(faithfulness.spearman(a, b))
    overlap = float(faithfulness.top_k_overlap(a, b, TOP_SHARE))
    return Agreement(method, between, grid, rank, overlap, float(faithfulness.centre_shift(a, b)))
