"""The Robustness page from its first widget to its last table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from xai.results import Board
from xai.ui import (
    result_data,
    robustness_compare,
    robustness_remedies_view,
    robustness_scores,
    robustness_show,
    showing,
    state,
    sweep_panel,
    widgets,
)
from xai.ui.robustness_show import Chosen

VIEWS: dict[str, str] = {
    "curves": "Curves",
    "grid": "Grid",
    "mce": "Corruption errors (mCE)",
    "calibration": "Calibration",
    "paper": "The paper's grid",
    "remedies": "Remedies",
}
PARTS_HELP = (
    "Curves: accuracy against severity. Grid: every condition as a table, or what two networks differ by. Corruption "
    "errors: one number against a reference network. Calibration: is a network as often right as it is sure. The "
    "paper's grid: published numbers beside ours. Remedies: what repairing the images first wins back."
)
Part = Callable[[Board, DeltaGenerator], None]
"""Draws a part for a board; the second is the place beside the choice of images."""
COMMON = ("part", result_data.KEY, "networks", "scale")


def draw() -> None:
    """Draw the chosen part of the page; what can't be done is said in one sentence."""
    options: dict[str, Any] = {
        "words": VIEWS.__getitem__,
        "draw": st.radio,
        "horizontal": True,
        "help": PARTS_HELP,
    }
    view = widgets.one_of("Part of the page", "part", list(VIEWS), "curves", **options)
    left, right = st.columns(2)
    with left:
        board = result_data.choose_board()
    with showing.one_sentence():
        if board is not None:
            _PARTS[view](board, right)
    result_data.notes()
    with showing.one_sentence():
        sweep_panel.draw()
    state.write_link((*COMMON, *_KEYS[view]))
    if found := state.ignored():
        words = f"The link asked for what is not here ({', '.join(found)}): the usual choice is shown."
        st.warning(widgets.plain(words))


def _chosen(part: Callable[[Chosen], None]) -> Part:
    """A part that is about chosen networks on a chosen scale."""

    def draw_part(board: Board, beside: DeltaGenerator) -> None:
        chosen = robustness_show.choose(board, beside)
        if chosen is not None:
            part(chosen)

    return draw_part


_PARTS: dict[str, Part] = {
    "curves": _chosen(robustness_compare.draw_curves),
    "grid": _chosen(robustness_compare.draw_grid),
    "mce": _chosen(robustness_scores.draw_mce),
    "calibration": _chosen(robustness_scores.draw_calibration),
    "paper": robustness_scores.draw_paper,
    "remedies": _chosen(robustness_remedies_view.draw_remedies),
}
_KEYS: dict[str, tuple[str, ...]] = {
    "curves": robustness_compare.CURVE_KEYS,
    "grid": robustness_compare.GRID_KEYS,
    "mce": robustness_scores.MCE_KEYS,
    "calibration": robustness_scores.CALIBRATION_KEYS,
    "paper": (),
    "remedies": robustness_remedies_view.REMEDY_KEYS,
}
