"""A long job on a page: its progress with the time left, the button that cancels it, and why one was not started."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any

import streamlit as st

from xai.ui import widgets
from xai.ui.job import Job, Place, Work

SECONDS = 1.0
"""Between two looks at how far a job is."""


@dataclass(frozen=True)
class Words:
    """What is said of a kind of job: what its steps are counted in, its button, how it ends when cancelled, a note."""

    unit: str
    button: str
    ending: str
    note: str
    digits: int = 0


@dataclass(frozen=True)
class Panel:
    """One kind of job: where it runs, what is said of it, and the name under which a visitor's part is kept."""

    name: str
    place: Callable[[], Place]
    words: Words

    def running(self) -> Job[Any] | None:
        """The job that runs at this moment, noted as one that this visitor saw."""
        job = self.place().job
        if job is None or not job.running:
            return None
        st.session_state[f"{self.name}_seen"] = job
        return job

    def seen(self) -> Job[Any] | None:
        """The last job, for those who saw it running: they are told what became of it."""
        job = self.place().job
        return job if job is not None and st.session_state.get(f"{self.name}_seen") is job else None

    def start(self, title: str, work: Work[Any], about: Hashable = None) -> None:
        """Start a job; while another runs, the reason why not is said at the next `say_refused`."""
        self.begin(title, work, about=about)

    def begin(self, title: str, work: Work[Any], unit: str = "", about: Hashable = None) -> Job[Any] | None:
        """Start a job that counts its steps in `unit` and makes what `about` names; while another runs, None, and the
        reason why not is said at the next `say_refused`."""
        try:
            job = self.place().start(title, work, about)
        except ValueError as error:
            st.session_state[f"{self.name}_refused"] = str(error)
            return None
        job.unit = unit
        st.session_state[f"{self.name}_seen"] = job
        return job

    def say_refused(self) -> None:
        """Say once why the last one was not started."""
        if refused := st.session_state.pop(f"{self.name}_refused", None):
            st.warning(widgets.plain(refused))

    def say_error(self) -> None:
        """Say why the last one failed, to those who saw it running."""
        job = self.seen()
        if job is not None and not job.running and job.error is not None:
            st.error(widgets.plain(f"{job.title}: {job.error}"), icon=":material/error:")


@st.cache_resource(show_spinner=False)
def place_of(name: str) -> Place:
    """Where the server's one job of this name runs, the same for all visitors."""
    return Place()


def panel(name: str, words: Words) -> Panel:
    """The panel of a kind of job of which the server runs one at a time."""
    return Panel(name, partial(place_of, name), words)


@st.fragment(run_every=SECONDS)
def watch(panel: Panel, show: Callable[[], None] | None = None) -> None:
    """Progress of the running job, and below it what `show` draws; the whole page is drawn again when it ends."""
    job = panel.running()
    if job is None:
        st.rerun()
        return
    words = panel.words
    left = job.seconds_left()
    time_left = "" if left is None else f", about {duration(left)} left"
    steps = f"{job.done:.{words.digits}f} of {job.total:.0f} {job.unit or words.unit}{time_left}"
    st.progress(job.share, widgets.plain(f"{job.title}: {steps}. {job.what}"))
    if job.cancelled:
        st.caption(words.ending)
    else:
        st.button(words.button, key=f"{panel.name}_cancel", on_click=job.cancel, icon=":material/cancel:")
    if show is not None:
        show()
    st.caption(words.note)


def duration(seconds: float) -> str:
    """Seconds in words, in minutes from one and a half on."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
