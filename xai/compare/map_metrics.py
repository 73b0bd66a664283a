"""How alike two stacks of heatmaps are, and how each map is spread, for all images at once.

What `xai.faithfulness` says of one pair, in its words and to the last digit that matters, for `(N, h, w)`. NaN where it
is not defined: for a map that is constant, has no positive part, or holds a NaN.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d

from xai.map_agreement import TOP_SHARE

_ROUNDING = 1e-6
"""What is left of a constant map without its mean, as a share of the map."""


def pooled(maps: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Maps `(N, h, w)` averaged down to `grid`, float32, as `map_agreement.on_common_grid` does; equal grids stay."""
    if maps.shape[1:] == grid:
        return maps
    height, width = grid
    return adaptive_avg_pool2d(torch.from_numpy(maps)[:, None], (height, width))[:, 0].numpy()


def on_common_grid(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both stacks averaged down to the smaller height and width of the two."""
    grid = (min(a.shape[1], b.shape[1]), min(a.shape[2], b.shape[2]))
    return pooled(a, grid), pooled(b, grid)


def spearman_rows(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Rank correlation `(N,)` in [-1, 1] of maps `(N, h, w)` (ties share their mean rank); 1 exactly for equal maps."""
    _check_same(a, b)
    left, right = centred_ranks(a), centred_ranks(b)
    norms = np.sqrt((left * left).sum(axis=1) * (right * right).sum(axis=1))
    return np.clip((left * right).sum(axis=1) / norms, -1, 1)


def pearson_rows(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Linear correlation `(N,)` in [-1, 1] of maps `(N, h, w)`; NaN where one is constant but for rounding."""
    _check_same(a, b)
    left, right = _centred(a), _centred(b)
    norms = np.sqrt((left * left).sum(axis=1) * (right * right).sum(axis=1))
    return np.clip((left * right).sum(axis=1) / norms, -1, 1)


def _centred(maps: np.ndarray) -> np.ndarray:
    """Cells `(N, h w)` less their mean; NaN where what is left is what rounding leaves."""
    flat = maps.reshape(len(maps), -1).astype(np.float64)
    rest = flat - flat.mean(axis=1, keepdims=True)
    flat_too = np.linalg.norm(rest, axis=1) <= _ROUNDING * np.linalg.norm(flat, axis=1)
    rest[flat_too] = np.nan
    return rest


def centred_ranks(maps: np.ndarray) -> np.ndarray:
    """Ranks of the cells of `(N, h, w)` less their mean, float64 `(N, h w)`, ties with their mean rank.

    NaN for maps that are constant or hold a NaN. Rows of unit length have rank correlations as their products.
    """
    flat = np.ascontiguousarray(maps.reshape(len(maps), -1))
    count = flat.shape[1]
    order = flat.argsort(axis=1, kind="stable")
    ordered = np.take_along_axis(flat, order, axis=1)
    begins = np.ones_like(ordered, dtype=bool)
    begins[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    ends = np.ones_like(begins)
    ends[:, :-1] = begins[:, 1:]
    places = np.arange(count)
    first = np.maximum.accumulate(np.where(begins, places, 0), axis=1)
    last = np.minimum.accumulate(np.where(ends, places, count)[:, ::-1], axis=1)[:, ::-1]
    ranks = np.empty(flat.shape)
    np.put_along_axis(ranks, order, (first + last - (count - 1)) / 2, axis=1)
    ranks[_undefined(flat)] = np.nan
    return ranks


def _undefined(flat: np.ndarray) -> np.ndarray:
    return (flat == flat[:, :1]).all(axis=1) | np.isnan(flat).any(axis=1)


def top_overlap_rows(a: np.ndarray, b: np.ndarray, share: float = TOP_SHARE) -> np.ndarray:
    """Share `(N,)` in [0, 1] that the highest cells of maps `(N, h, w)` have in common, `share` of the cells (at least
    one); cells that tie for the last places count as if drawn by lot, for each map on its own."""
    _check_same(a, b)
    return (top_chances(a, share) * top_chances(b, share)).sum(axis=1) / top_count(a, share)


def top_count(maps: np.ndarray, share: float = TOP_SHARE) -> int:
    """How many cells of `(N, h, w)` are the top `share`; raises `ValueError` unless it is above 0 and up to 1."""
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}; allowed are numbers above 0 and up to 1.")
    return max(1, round(share * maps.shape[1] * maps.shape[2]))


def top_chances(maps: np.ndarray, share: float = TOP_SHARE) -> np.ndarray:
    """Probability `(N, h w)` of each cell of `(N, h, w)` to be among the highest `share`, ties broken at random."""
    flat, count = maps.reshape(len(maps), -1), top_count(maps, share)
    last = np.partition(flat, flat.shape[1] - count, axis=1)[:, [flat.shape[1] - count]]
    above, tied = flat > last, flat == last
    with np.errstate(invalid="ignore", divide="ignore"):
        lot = (count - above.sum(axis=1)) / tied.sum(axis=1)
        chances = above + tied * lot[:, None]
    chances[_undefined(flat)] = np.nan
    return chances


def centre_rows(maps: np.ndarray) -> np.ndarray:
    """Centre `(N, 2)` (row, column) of the positive part of maps `(N, h, w)`, as shares of height and width in [0, 1];
    NaN without a positive part."""
    shares = _shares(maps)
    rows, columns = ((np.arange(side) + 0.5) / side for side in maps.shape[1:])
    return np.stack([shares.sum(axis=2) @ rows, shares.sum(axis=1) @ columns], axis=1)


def centre_shift_rows(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distance `(N,)` of the centres of the positive parts of `a` and `b`, as a share of the image's side."""
    return np.linalg.norm(centre_rows(a) - centre_rows(b), axis=1)


def entropy_rows(maps: np.ndarray) -> np.ndarray:
    """Entropy `(N,)` in [0, 1] of the positive part of maps `(N, h, w)`, in units of that of an even map: 0 where one
    cell has all of it, 1 where it is the same everywhere. NaN without a positive part, and on a grid of one cell."""
    shares = _shares(maps).reshape(len(maps), -1)
    if shares.shape[1] == 1:
        return np.full(len(maps), np.nan)
    logs = np.log(np.where(shares > 0, shares, 1))
    spread = np.where(np.isnan(shares).any(axis=1), np.nan, -(shares * logs).sum(axis=1))
    return np.clip(spread / np.log(shares.shape[1]), 0, 1)


def _shares(maps: np.ndarray) -> np.ndarray:
    """Share of each cell in a map's positive part, float64 `(N, h, w)`; NaN without one."""
    positive = np.maximum(maps.astype(np.float64), 0)
    totals = positive.sum(axis=(1, 2), keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return positive / np.where(totals > 0, totals, np.nan)


def _check_same(a: np.ndarray, b: np.ndarray) -> None:
    if a.shape != b.shape or a.ndim != 3:
        raise ValueError(f"the maps are {a.shape} and {b.shape}; allowed are equal shapes (N, h, w).")
