"""Work that may take long while a page is drawn: how far it is, the time left, and a button that ends it.

It is for what one visitor waits for; what goes on without them, or serves others too, is a job (`xai.ui.job_panel`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import streamlit as st

from xai.shares import Told
from xai.ui import widgets
from xai.ui.job_panel import duration

T = TypeVar("T")
BEFORE = 0.7
"""Seconds for which nothing is said: most work is done by then."""
EVERY = 0.25
"""Seconds between two looks at whether the visitor wants something else; they end the work."""


def patient(name: str, title: str, work: Callable[[Told], T], about: Hashable = None) -> T:
    """What `work(told)` gives; while it lasts, its progress under `title` and a button that cancels it.

    `name` tells this place on the page from others. What was cancelled is not begun again by the next run: it raises
    `NothingYet`, below a button that computes it after all, until something else is asked for than what `about` names.
    """
    cancelled = f"{name}_cancelled"
    if about is not None and st.session_state.get(cancelled) == about:
        st.button(
            "Compute it after all",
            key=f"{name}_again",
            on_click=st.session_state.pop,
            args=(cancelled, None),
            icon=":material/play_arrow:",
            help="Begins again with what the page asks for now.",
        )
        raise widgets.NothingYet(f"{title}: cancelled. Any other choice begins anew, too.")
    place = st.empty()
    try:
        return work(_Watch(place, name, title, about).told)
    finally:
        place.empty()


class _Watch:
    """The bar and the button, once the work has lasted for a while."""

    def __init__(self, place: Any, name: str, title: str, about: Hashable) -> None:
        self._place, self._name, self._title, self._about = place, name, title, about
        self._begin = self._seen = time.monotonic()
        self._bar: Any = None

    def told(self, share: float) -> None:
        """Show it; raises Streamlit's own exception where the visitor cancelled, left, or chose something else."""
        now = time.monotonic()
        if now - self._begin < BEFORE or now - self._seen < EVERY:
            return
        self._seen = now
        words = widgets.plain(f"{self._title}: {share:.0%}{self._left(share, now)}.")
        if self._bar is not None:
            self._bar.progress(min(1.0, share), words)
            return
        with self._place.container():
            self._bar = st.progress(min(1.0, share), words)
            st.button(
                "Cancel",
                key=f"{self._name}_cancel",
                on_click=self._cancel,
                icon=":material/cancel:",
                help="Ends it; so does another choice.",
            )

    def _left(self, share: float, now: float) -> str:
        return f", about {duration((now - self._begin) * (1 - share) / share)} left" if share > 0 else ""

    def _cancel(self) -> None:
        st.session_state[f"{self._name}_cancelled"] = self._about
