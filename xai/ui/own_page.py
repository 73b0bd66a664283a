"""The page "Your own" from its first widget to its last link."""

from __future__ import annotations

from typing import Any

import streamlit as st

from xai.ui import (
    own_check_view,
    own_classes_view,
    own_data_view,
    own_keep_view,
    own_network_choice,
    own_network_data,
    own_network_view,
    own_next,
    showing,
    state,
    widgets,
)

PARTS = {"network": "Network", "images": "Images"}
KEYS = ("own",)


def draw() -> None:
    """Draw the chosen part; what can't be done is said in one sentence, and what comes after it is still drawn."""
    options: dict[str, Any] = {"words": PARTS.__getitem__, "draw": st.radio, "horizontal": True}
    help_words = "What you bring under one stays while you look at the other."
    part = widgets.one_of("Bring", "own", list(PARTS), "network", help=help_words, **options)
    with showing.one_sentence():
        {"network": _network, "images": _images}[part]()
    if part == "network":
        own_keep_view.remove()
    with showing.one_sentence():
        own_next.draw()
    showing.ignored()
    state.write_link(KEYS)


def _network() -> None:
    found = own_network_view.file()
    if found is None:
        return
    st.subheader("What is in it")
    known = own_network_view.contents(found)
    st.subheader("Which architecture it fits")
    fit = own_network_view.fit(found, known)
    if fit is None:
        return
    st.subheader("How it was trained")
    request = own_network_choice.request(found, fit, known.taken.path)
    brought = own_network_data.brought(found, request)
    for note in brought.notes:
        st.caption(widgets.plain(note))
    own_check_view.layers(brought)
    check = own_check_view.check(found, request, brought)
    own_keep_view.keep(brought, check)


def _images() -> None:
    kept = own_data_view.choose()
    if kept is None:
        st.caption(
            "Uploads are yours alone: no other visitor's page lists them. They are removed from this server's disk "
            "when you forget them, and a few minutes after you leave; decoded pictures stay in a memory of bounded "
            "size until others push them out."
        )
        return
    kept = own_data_view.refresh(kept)
    own_data_view.report(kept)
    own_classes_view.draw(kept)
