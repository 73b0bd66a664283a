"""The Errors page from its first widget to its last image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from xai.error_selection import Asked
from xai.ui import (
    error_data,
    error_gallery,
    error_parts,
    loading,
    result_data,
    showing,
    state,
    sweep_panel,
    widgets,
)
from xai.ui.error_data import Chosen

PARTS: dict[str, Callable[[Chosen, Asked], str | None]] = {
    "classes": error_parts.classes,
    "confusions": error_parts.confusions,
    "transitions": error_parts.transitions,
}
"""Each gives the reader if that was chosen there."""
TITLES = {"classes": "Classes", "confusions": "Confusions", "transitions": "Clean to degraded"}
PARTS_HELP = (
    "Classes: accuracy of every class. Confusions: which class is taken for which. Clean to degraded: which answers "
    "are kept, lost or won when the images get worse, of both networks together."
)
LINK_KEYS = (result_data.KEY, *error_data.KEYS, "table", *error_parts.KEYS, *error_gallery.KEYS)


def draw() -> None:
    """Draw the page; what can't be done is said in one sentence."""
    with showing.one_sentence():
        _draw()
    state.write_link(LINK_KEYS)
    if found := state.ignored():
        words = f"The link asked for what is not here ({', '.join(found)}): the usual choice is shown."
        st.warning(widgets.plain(words))
    result_data.notes()


def _draw() -> None:
    board = result_data.choose_board()
    if board is None:
        sweep_panel.draw()
        return
    chosen = error_data.choose(board)
    if chosen is None:
        return
    known = error_data.asked(chosen)
    options: dict[str, Any] = {
        "words": TITLES.__getitem__,
        "draw": st.radio,
        "horizontal": True,
        "help": PARTS_HELP,
    }
    part = widgets.one_of("Part of the page", "table", list(PARTS), "classes", **options)
    reader = PARTS[part](chosen, known)
    error_gallery.draw(chosen, known, reader, LINK_KEYS)
    loading.figure_drawn()
