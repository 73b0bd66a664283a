"""Whether maps land on the object, where its place is known exactly: for all images at once, in parts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d

from xai.compare.map_metrics import top_chances, top_count
from xai.faithfulness import enlarge

MEASURES = ("hit", "energy", "top")
_TOGETHER = 256


def measures(maps: np.ndarray, masks: np.ndarray, seed: Sequence[int]) -> dict[str, np.ndarray]:
    """`hit`, `energy` and `top`, float64 `(N,)` in [0, 1], of maps `(N, h, w)` and masks bool `(N, H, W)`."""
    rows = [slice(start, start + _TOGETHER) for start in range(0, len(maps), _TOGETHER)]
    return {
        "hit": hits(maps, masks, seed),
        "energy": np.concatenate([energies(maps[part], masks[part]) for part in rows]),
        "top": np.concatenate([top_shares(maps[part], masks[part]) for part in rows]),
    }


def hits(maps: np.ndarray, masks: np.ndarray, seed: Sequence[int]) -> np.ndarray:
    """Pointing game (Zhang et al., ECCV 2016, without tolerance): 1 where the middle of a map's highest cell lies on
    the object, else 0, float64 `(N,)`; ties by lot, and a map that is constant points nowhere.

    The cell, and not the highest point of the enlarged map: between cells that is an average, but not at the border,
    so that it would draw random maps away from the middle, where objects stand, to fewer hits than chance gives.
    """
    flat = maps.reshape(len(maps), -1)
    lots = np.random.default_rng(seed).random(flat.shape, dtype=np.float32) + 1
    highest = np.where(flat == flat.max(axis=1, keepdims=True), lots, 0).argmax(axis=1)
    rows, columns = np.unravel_index(highest, maps.shape[1:])
    middle = [
        ((cell + 0.5) * side / cells).astype(int)
        for cell, side, cells in zip((rows, columns), masks.shape[1:], maps.shape[1:], strict=True)
    ]
    found = masks[np.arange(len(maps)), middle[0], middle[1]]
    return np.where(np.ptp(flat, axis=1) > 0, found, False).astype(np.float64)


def energies(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Share `(N,)` of each map's positive part inside its mask, as `xai.faithfulness.mask_energy` has it."""
    large = enlarge(torch.from_numpy(np.ascontiguousarray(maps)), masks.shape[1:]).double().clamp_min(0)
    total = large.sum(dim=(1, 2)).numpy()
    inside = (large * torch.from_numpy(masks)).sum(dim=(1, 2)).numpy()
    return np.divide(inside, total, out=np.full(len(maps), np.nan), where=total > 0)


def top_shares(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Share `(N,)` of the area of each map's highest fifth of cells that lies on the object; ties by lot, in the mean.

    NaN for a constant map.
    """
    covered = adaptive_avg_pool2d(torch.from_numpy(masks)[:, None].float(), maps.shape[1:]).flatten(1).numpy()
    return (top_chances(maps) * covered).sum(axis=1) / top_count(maps)
