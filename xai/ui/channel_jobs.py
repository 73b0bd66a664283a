"""The Channel page's long work: one job at a time on this server, and what it made, kept for all visitors."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import streamlit as st

from xai.evaluation import Cancelled
from xai.ui import explaining, widgets
from xai.ui.growing import Growing
from xai.ui.job import Job, Report, Work
from xai.ui.job_panel import Words, panel, watch

T = TypeVar("T")
START_HELP = "Runs in the background, with progress and a button that cancels it, and is kept for a while."
DRAWN, GROWING = "channel_job_drawn", "channel_job_growing"


PANEL = panel(
    "channel",
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


def begin() -> st.delta_generator.DeltaGenerator:
    """Begin a page with jobs: the place for what no offer on it draws, which `finish` fills."""
    st.session_state.pop(DRAWN, None)
    return st.container()


def finish(place: st.delta_generator.DeltaGenerator) -> None:
    """Show the job that runs, or why it failed, unless an offer on this page has done so."""
    with place:
        PANEL.say_refused()
        job = PANEL.running() or PANEL.seen()
        if job is None or st.session_state.get(DRAWN) is job:
            return
        if job.running:
            _watch(job)
        else:
            PANEL.say_error()


def offer(
    title: str,
    label: str,
    key: Hashable,
    make: Callable[[Report, Callable[[], bool]], T],
    *,
    unit: str = "",
    growing: Growing | None = None,
    left: Callable[[], str] = lambda: "Nothing of it is kept.",
) -> None:
    """The button that starts a job, and in its place how far it is; below it what became of one that ended early.

    While this visitor's other job runs it can't be pressed, and says why. `unit` is what the job counts, `growing` the
    pictures that it shows while it makes them, `left` says what stays of one that was cancelled.
    """
    running = PANEL.making(title)
    if running is not None:
        _watch(running)
        return
    running = PANEL.mine()
    st.button(
        label,
        key=f"start {title}",
        on_click=_start,
        args=(title, work(key, make), unit, growing),
        icon=":material/play_arrow:",
        disabled=running is not None,
        help=START_HELP if running is None else f"{running.title} is running: wait for it, or cancel it.",
    )
    _say_end(title, left)


def _start(title: str, task: Work[None], unit: str, growing: Growing | None) -> None:
    if (job := PANEL.begin(title, task, unit, about=title)) is not None:
        st.session_state[GROWING] = (job, growing)


def _watch(job: Job[Any]) -> None:
    """The job's progress, with its pictures for the visitor who started it."""
    st.session_state[DRAWN] = job
    started, growing = st.session_state.get(GROWING, (None, None))
    watch(PANEL, job, growing.show if growing is not None and started is job else None)


def _say_end(title: str, left: Callable[[], str]) -> None:
    """What became of the last job, where it was this one and this visitor saw it running."""
    job = PANEL.seen()
    if job is None or job.running or job.title != title:
        return
    st.session_state[DRAWN] = job
    PANEL.say_error()
    if job.cancelled and job.error is None:
        st.caption(widgets.plain(f"Cancelled. {left()}"))
