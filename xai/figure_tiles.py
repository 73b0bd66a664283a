"""Maps as small coloured pictures, in the colours that the figures have."""

from __future__ import annotations

import matplotlib
import numpy as np
import torch
from torch import Tensor

NOT_FINITE = (0.5, 0.5, 0.5, 1.0)
"""Colour of what is no number."""


def coloured(maps: Tensor, low: float, high: float, colours: str) -> Tensor:
    """Maps `(n, h, w)` as uint8 `(n, 3, h, w)` in the colour map `colours` from `low` to `high`."""
    shares = (maps.double() - low) / ((high - low) or 1.0)
    palette = matplotlib.colormaps[colours].with_extremes(bad=NOT_FINITE)
    painted = palette(np.ma.masked_invalid(shares.numpy()), bytes=True)
    return torch.from_numpy(np.ascontiguousarray(painted[..., :3])).permute(0, 3, 1, 2)
