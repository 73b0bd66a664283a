"""Whether maps land on the object, where its place is known exactly: for all images at once, in parts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d

from xai.compare.map_metrics import top_chances, top_count
from xai.faithfulness import enlarge, pointing_hits

MEASURES = ("hit", "energy", "top")
_TOGETHER = 256


def measures(maps: np.ndarray, masks: np.ndarray, seed: Sequence[int]) -> dict[str, np.ndarray]:
    """`hit`, `energy` and `top`, float64 `(N,)` in [0, 1], of maps `(N, h, w)` and masks bool `(N, H, W)`."""
    rows = [slice(start, start + _TOGETHER) for start in range(0, len(maps), _TOGETHER)]
    return {
        "hit": pointing_hits(maps, masks, seed),
        "energy": np.concatenate([energies(maps[part], masks[part]) for part in rows]),
        "top": np.concatenate([top_shares(maps[part], masks[part]) for part in rows]),
    }


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
