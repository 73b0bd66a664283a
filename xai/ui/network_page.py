"""The Networks page from its first widget to its last table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from xai.ui import network_claims, network_detail, network_list, showing, state, widgets

VIEWS: dict[str, str] = {
    "networks": "Networks",
    "papers": "Numbers claimed in papers",
    "ablations": "Ablations",
}
VIEWS_HELP = (
    "Networks: all of them, and one closely. Numbers claimed in papers: each beside ours. Ablations: each improvement "
    "that a paper claims, tried as one change between two of our own trainings."
)
LINK_KEYS = {"networks": network_list.LINK_KEYS, "papers": network_claims.PAPERS_KEYS, "ablations": ()}


def draw() -> None:
    """Draw the chosen part of the page; what can't be done is said in one sentence."""
    options: dict[str, Any] = {
        "words": VIEWS.__getitem__,
        "draw": st.radio,
        "horizontal": True,
        "help": VIEWS_HELP,
    }
    view = widgets.one_of("Part of the page", "view", list(VIEWS), "networks", **options)
    with showing.one_sentence():
        _PARTS[view]()
    state.write_link(("view", *LINK_KEYS[view]))
    if found := state.ignored():
        words = f"The link asked for what is not here ({', '.join(found)}): the usual choice is shown."
        st.warning(widgets.plain(words))


def _networks() -> None:
    name = network_list.choose()
    if name is not None:
        network_detail.draw(name)
    network_list.untrained()


_PARTS: dict[str, Callable[[], None]] = {
    "networks": _networks,
    "papers": network_claims.draw_papers,
    "ablations": network_claims.draw_ablations,
}
