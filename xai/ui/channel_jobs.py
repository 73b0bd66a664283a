"""The Channel page's long work: one job at a time on this server, and what it made, kept for all visitors."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import streamlit as st

from xai.evaluation import Cancelled
from xai.ui import explaining
from xai.ui.job import Place, Report, Work
from xai.ui.job_panel import Panel, Words

T = TypeVar("T")


@st.cache_resource(show_spinner=False)
def place() -> Place:
    """Where the server's one job of this page runs."""
    return Place()


PANEL = Panel(
    "channel",
    place,
    Words(
        "steps",
        "Cancel",
        "It ends after the step at hand.",
        "It goes on when you look at another page.",
    ),
)


def kept(key: Hashable) -> Any:
    """What a job made under this key; None when there is nothing, or nothing any more."""
    return explaining.results().get(key)


def work(key: Hashable, make: Callable[[Report, Callable[[], bool]], T]) -> Work[None]:
    """Work that keeps what `make(report, cancelled)` gives under a key; a cancelled one keeps nothing."""

    def run(report: Report, cancelled: Callable[[], bool]) -> None:
        try:
            value = make(report, cancelled)
        except Cancelled:
            return
        explaining.results()(key, lambda: value)

    return run


def offer(title: str, label: str, key: Hashable, make: Callable[[Report, Callable[[], bool]], T]) -> None:
    """The button that starts a job; while one runs it can't be pressed, and says why."""
    running = PANEL.running()
    st.button(
        label,
        key=f"start {title}",
        on_click=PANEL.start,
        args=(title, work(key, make)),
        icon=":material/play_arrow:",
        disabled=running is not None,
        help=None if running is None else f"{running.title} is running: wait for it, or cancel it.",
    )
