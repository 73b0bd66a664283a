"""The Embeddings page from its first widget to its last figure."""

from __future__ import annotations

import hashlib

import streamlit as st

from xai import embedding_words
from xai.embedding import Embedding
from xai.ui import (
    embedding_choice,
    embedding_data,
    embedding_kept,
    embedding_numbers,
    embedding_selected,
    embedding_take_home,
    embedding_view,
    scatter,
    showing,
    state,
    widgets,
)

LINK_KEYS = (*embedding_choice.KEYS, *embedding_view.KEYS, *embedding_kept.KEYS, "search")
SEARCH_HELP = (
    "Selects all images whose id or class holds these letters, as drawing around them does, without a mouse. The "
    ""
    "images stand below, each a link to Explain."
)
MOST_FOUND, MOST_LETTERS = 1000, 100
"""Images that a search selects at most, and letters of what is searched for."""


def draw() -> None:
    """Draw the page; what can't be done is said in one sentence."""
    with showing.one_sentence():
        _draw()


def _draw() -> None:
    request = embedding_choice.choose()
    about_link = st.container()
    state.write_link(LINK_KEYS)
    found = embedding_data.get(request)
    if found is None:
        found = embedding_data.clean_of(request)
        if found is None:
            return
        st.caption("Until then, the maps of the clean images:")
    embedding_numbers.warnings(found)
    embedding_numbers.between(found)
    _plots(found)
    with about_link:
        showing.ignored()
    embedding_numbers.tables(found)


@st.fragment
def _plots(found: Embedding) -> None:
    """The plots and what is selected in them, drawn again alone when one of their fields is used."""
    with showing.one_sentence():
        colouring, look = embedding_view.choose(found)
        wanted, nonce = _search(found)
        rows, step, hidden = scatter.draw(
            embedding_view.content(found, colouring),
            look,
            embedding_view.sheet(found),
            embedding_kept.name(found),
            embedding_kept.start(found),
            wanted,
            nonce,
        )
        embedding_kept.keep(found, rows, step, nonce, hidden)
        placed = (
            " Degraded images are placed into the map of the clean ones." if found.request.severities else ""
        )
        st.caption(widgets.plain(" ".join(embedding_words.reading_words(found))) + placed)
        embedding_selected.draw(found, rows, step)
        embedding_take_home.draw(found, colouring, look, step)
    state.write_link(LINK_KEYS)


def _search(found: Embedding) -> tuple[tuple[int, ...] | None, str]:
    """The images whose id or class holds what was typed, and a name for that search; nothing for an empty field."""
    with st.container(width=360):
        options = {"placeholder": "part of an id, or a class", "help": SEARCH_HELP}
        text = widgets.text("Find in id or class", "search", MOST_LETTERS, **options).strip().lower()
    if not text:
        return None, ""
    classes = [text in name.lower() for name in found.classes]
    rows = tuple(
        row for row, name in enumerate(found.ids) if text in name.lower() or classes[found.labels[row]]
    )
    if not rows:
        st.caption(widgets.plain(f"No id and no class of {len(found.ids):,} images holds {text!r}."))
        return None, ""
    if len(rows) > MOST_FOUND:
        st.caption(f"{len(rows):,} images fit; the first {MOST_FOUND:,} are selected.")
    return rows[:MOST_FOUND], hashlib.sha256(repr((text, found.request)).encode()).hexdigest()[:12]
