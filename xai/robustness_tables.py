"""All tables of the Robustness page in one registry, for whoever writes them all out.

`TABLES[name].make(board, models, scale)` gives rows for any board: none where the board lacks what is needed, or the
table is of two networks and one is given.
"""

from __future__ import annotations

from xai import (  # importing registers
    robustness_calibration,
    robustness_curves,
    robustness_grid,
    robustness_mce,
    robustness_paper,
    robustness_remedies,
)
from xai.robustness_board import TABLES, Table, register

__all__ = ["TABLES", "Table", "register", "robustness_calibration", "robustness_curves", "robustness_grid"]
__all__ += ["robustness_mce", "robustness_paper", "robustness_remedies"]
