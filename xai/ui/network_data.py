"""What the Networks page shows: cards, rows and figures, kept for all visitors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from models import zoo
from models.cards import Card
from xai import ablations, export, figures, network_table, papers
from xai.network_table import Network, Untrained
from xai.ui import explaining, exports, result_data, widgets

READ_AGAIN = 10
"""Seconds after which cards are read again: a training may have ended."""


@st.cache_resource(show_spinner=False, ttl=READ_AGAIN)
def cards() -> dict[str, Card]:
    """Cards of all trained networks."""
    return zoo.records()


@st.cache_resource(show_spinner=False, ttl=READ_AGAIN)
def rows() -> list[Network]:
    """One row for each network."""
    return network_table.networks(cards())


@st.cache_resource(show_spinner=False, ttl=READ_AGAIN)
def _state() -> str:
    """What tells the networks and their stored answers from those of another moment."""
    stored = [(name, card.sha256, str(zoo.predictions_path(name))) for name, card in cards().items()]
    return repr(stored)


def untrained() -> list[Untrained]:
    """Architectures without a trained network."""
    return _untrained(tuple(sorted({card.architecture for card in cards().values()})))


@st.cache_resource(show_spinner="Counting parameters and multiply-adds.", max_entries=2)
def _untrained(trained: tuple[str, ...]) -> list[Untrained]:
    return network_table.untrained(trained)


def paper_rows() -> list[papers.Row]:
    """Every claim beside ours."""
    return _paper_rows(_state() + result_data.state())


@st.cache_resource(show_spinner="Measuring ours from the stored answers.", max_entries=2)
def _paper_rows(state: str) -> list[papers.Row]:
    return papers.rows(cards(), degraded=papers.accuracies(result_data.stored()))


def ablation_rows() -> list[ablations.AblationRow]:
    """Every claimed improvement beside ours."""
    return _ablation_rows(_state())


@st.cache_resource(show_spinner="Comparing the stored answers.", max_entries=2)
def _ablation_rows(state: str) -> list[ablations.AblationRow]:
    known = cards()
    return ablations.rows(known, lambda name: network_table.readable_predictions(known[name]))


def clear() -> None:
    """Forget what was read."""
    for kept in (cards, rows, _state):
        kept.clear()


def show(
    key: tuple[Any, ...], make: Callable[[], Any], stem: str, alt: str, width: int | str = "stretch"
) -> None:
    """A figure, kept under `key` as it is on the page, and buttons that give it as files; `make` may give None."""

    def page_figure() -> bytes:
        drawn = make()
        return b"" if drawn is None else figures.render(drawn, "png", explaining.PAGE_DPI, quick=True)

    found = explaining.results()(("network", *key), page_figure)
    if not found:
        st.caption("None of these answers can be drawn as a figure.")
        return
    st.image(found, width=width, alt=alt)  # type: ignore[arg-type]
    with st.container(horizontal=True):
        for label, (file_format, dpi, name, media_type) in exports.FORMATS.items():
            content = _file(make, file_format, dpi)
            where = f"{export.safe_stem(stem)}-{name}"
            widgets.download(label, content, where, media_type, key=where)


def _file(make: Callable[[], Any], file_format: str, dpi: int) -> Callable[[], bytes]:
    return lambda: figures.render(make(), file_format, dpi)
