"""A long job on a page: its place in line, its progress with the time left, cancel, and why one was not started."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any

import streamlit as st

from xai import settings
from xai.ui import own_shelf, visitors, widgets
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
        """This visitor's job that has not ended, else the one at work or the first in line; noted as seen."""
        return self._note(self.mine() or next(iter(self.place().alive()), None))

    def _note(self, job: Job[Any] | None) -> Job[Any] | None:
        """The job as one that this visitor saw; their own they are told of rather than of another's."""
        seen = self.seen()
        if job is not None and (seen is None or is_mine(job) or not is_mine(seen)):
            st.session_state[f"{self.name}_seen"] = job
        return job

    def mine(self) -> Job[Any] | None:
        """This visitor's job that has not ended."""
        return self.place().owned(visitors.name())

    def making(self, about: Hashable) -> Job[Any] | None:
        """The job, whoever started it, that makes what `about` names and has not ended; noted as one that was seen."""
        return self._note(next((job for job in self.place().alive() if job.about == about), None))

    def seen(self) -> Job[Any] | None:
        """The last job that this visitor started or saw running: they are told what became of it."""
        job: Job[Any] | None = st.session_state.get(f"{self.name}_seen")
        return job

    def start(self, title: str, work: Work[Any], about: Hashable = None) -> None:
        """Start a job, or put it in line; where it can't be, the reason is said at the next `say_refused`."""
        self.begin(title, work, about=about)

    def begin(self, title: str, work: Work[Any], unit: str = "", about: Hashable = None) -> Job[Any] | None:
        """Start a job that counts its steps in `unit` and makes what `about` names, or put it in line; where that can't
        be, None, and the reason is said at the next `say_refused`."""
        try:
            own_shelf.keep_alive()
            owner = visitors.name()
            wanted = partial(own_shelf.is_here, owner)
            job = self.place().start(title, work, about, owner=owner, wanted=wanted)
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


def is_mine(job: Job[Any]) -> bool:
    """Whether this visitor started the job."""
    return job.owner == visitors.name()


def may_cancel(job: Job[Any]) -> bool:
    """Whether this visitor may end the job: who started it may, and anybody once they have left."""
    return is_mine(job) or not own_shelf.is_here(job.owner)


@st.fragment(run_every=SECONDS)
def watch(panel: Panel, job: Job[Any], show: Callable[[], None] | None = None) -> None:
    """How far a job is, or its place in line, and below it what `show` draws; the page is drawn again when it ends."""
    if not job.running:
        st.rerun()
        return
    if (waits := job.waits) is not None:
        _waiting(panel, job, *waits)
        return
    words = panel.words
    left = job.seconds_left()
    time_left = "" if left is None else f", about {duration(left)} left"
    steps = f"{job.done:.{words.digits}f} of {job.total:.0f} {job.unit or words.unit}{time_left}"
    st.progress(job.share, widgets.plain(f"{job.title}: {steps}. {job.what}"))
    if job.cancelled:
        st.caption(words.ending)
    elif may_cancel(job):
        st.button(words.button, key=_key(panel, job), on_click=job.cancel, icon=":material/cancel:")
    else:
        st.caption("Another visitor started it.")
    if show is not None:
        show()
    st.caption(words.note)


def _waiting(panel: Panel, job: Job[Any], place: int, of: int) -> None:
    """Where a job stands in line, with what it waits for."""
    st.progress(0.0, widgets.plain(f"{job.title}: waiting, place {place} of {of} in line."))
    if may_cancel(job):
        st.button("Leave the line", key=_key(panel, job), on_click=job.cancel, icon=":material/cancel:")
    ahead = next(iter(panel.place().alive()))
    before = f" Before it: {ahead.title}." if ahead is not job and ahead.waits is None else ""
    most = settings.JOBS.value()
    many = "one long job at a time" if most == 1 else f"{most} long jobs at once, one of each kind"
    st.caption(
        widgets.plain(
            f"The server works on {many}: first come, first served. It starts by itself, also when you look at "
            f"another page, as long as you do not leave.{before}"
        )
    )


def _key(panel: Panel, job: Job[Any]) -> str:
    """The key of the button that cancels a job: a page may show this visitor's and others'."""
    return f"{panel.name}_cancel" if is_mine(job) else f"{panel.name}_cancel {id(job)}"


def engaged(panel: Panel, about: Hashable = None, show: Callable[[], None] | None = None) -> bool:
    """Draw how far the job is that makes `about`, else this visitor's own, and `show` below: true where nothing more is
    to be offered. Of another visitor's job the progress is drawn, and a new one can be put in line."""
    job = (panel.making(about) if about is not None else None) or panel.running()
    if job is None:
        return False
    own = is_mine(job)
    watch(panel, job, show if own else None)
    if own or (about is not None and job.about == about):
        return True
    st.caption("That is another visitor's. What you start waits in line for its turn.")
    return False


def duration(seconds: float) -> str:
    """Seconds in words, in minutes from one and a half on."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
