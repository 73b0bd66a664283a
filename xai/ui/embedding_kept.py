"""What the plots show (selection, severity, kinds of points): kept while the visitor looks at other pages."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import streamlit as st

from xai.embedding import Embedding
from xai.ui import state
from xai.ui.scatter import Start

KEYS = ("embed_severity",)
SELECTED, START, HIDDEN = "embed_selected", "embed_start", "embed_hidden"
CLEAN = "0"


def name(found: Embedding) -> str:
    """A name for the plots of exactly these images and severities: what is selected there is of no others."""
    asked = (found.ids, found.request.degradation, found.request.scale, found.request.severities)
    return f"plots {_digest(asked)}"


def start(found: Embedding) -> Start:
    """What the plots begin with: as long as they stay on the page they are given the same, and know what came since."""
    key = name(found)
    state.seed(START, lambda held: held[0] == key, lambda: (key, _start(found)))
    begun: Start = st.session_state[START][1]
    return begun


def _start(found: Embedding) -> Start:
    levels = _levels(found)

    def read(values: Sequence[str]) -> int | None:
        return levels.index(values[0]) if len(values) == 1 and values[0] in levels else None

    step = state.recall(KEYS[0], "Severity", read, 0) if found.request.severities else 0
    images, rows, nonce = st.session_state.get(SELECTED, ("", (), ""))
    hidden = st.session_state.get(HIDDEN, ())
    return Start(rows, step, nonce, hidden) if images == _digest(found.ids) else Start((), step, "", hidden)


def keep(
    found: Embedding, rows: tuple[int, ...], step: int, nonce: str, hidden: tuple[str, ...] = ()
) -> None:
    """Keep the selected rows, the number of the severity (0: clean), the name of the last search, and what of the
    legend is hidden."""
    st.session_state[HIDDEN] = hidden
    st.session_state[SELECTED] = (_digest(found.ids), rows, nonce)
    if found.request.severities:
        state.keep(KEYS[0], [_levels(found)[step]], [CLEAN])


def _levels(found: Embedding) -> list[str]:
    return [CLEAN, *(f"{severity:g}" for severity in found.request.severities)]


def _digest(values: object) -> str:
    return hashlib.sha256(repr(values).encode()).hexdigest()[:16]
