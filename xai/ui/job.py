"""Long work in threads of its own, for all visitors: progress, time left, cancel, and a line to wait in."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from xai import settings
from xai.ui.turns import at_hand

T = TypeVar("T")
Report = Callable[[float, float, str], None]
"""Called by the work as `report(done, total, what)`; it may take a while, as visitors' short work goes first."""
Work = Callable[[Report, Callable[[], bool]], T]
"""`work(report, cancelled)`: it asks `cancelled()` from time to time and ends early when that is true."""
_STANDS_BACK = 3.0
"""Between two steps a job stands back for visitors' short work, so many times as long as its last step took at most."""


class Line:
    """Jobs in the order in which they came: as many work at once as `XAI_JOBS` says, and `XAI_QUEUE` more wait.

    First come, first served, but for two things: a visitor who has a job at work lets those go first who have none,
    and a job whose place is taken is passed by until that is free. Jobs that nobody wants any more leave the line.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[Job[Any]] = []
        self._working: list[Job[Any]] = []

    def join(self, job: Job[Any]) -> None:
        """Put a job at the end; raises `ValueError` where it would have to wait and the line is full."""
        with self._changed:
            most, room = settings.JOBS.value(), settings.QUEUE.value()
            self._waiting.append(job)
            if len(self._order()) > room and self._next() is not job:
                self._waiting.remove(job)
                raise ValueError(
                    f"{job.title} was not started: the server runs at most {most} long jobs at once, and {room} more "
                    "wait in line; try again when one has ended."
                )

    @contextmanager
    def turn(self, job: Job[Any]) -> Iterator[bool]:
        """Wait for a job's turn, which lasts as long as the `with`; false where it was cancelled before."""
        with self._changed:
            try:
                self._changed.wait_for(lambda: job.cancelled or self._next() is job)
            finally:
                self._waiting.remove(job)
                self._changed.notify_all()
            if not job.cancelled:
                self._working.append(job)
        try:
            yield job in self._working
        finally:
            with self._changed:
                if job in self._working:
                    self._working.remove(job)
                self._changed.notify_all()

    def place(self, job: Job[Any]) -> tuple[int, int] | None:
        """Which of how many a job is that waits, counted from 1; None where it does not wait."""
        with self._changed:
            order = self._order()
            return (order.index(job) + 1, len(order)) if job in order else None

    def nudge(self) -> None:
        """Let those who wait look again."""
        with self._changed:
            self._changed.notify_all()

    def _order(self) -> list[Job[Any]]:
        for job in self._waiting:
            if not job.cancelled and not job.wanted():
                job.give_up()
                self._changed.notify_all()
        at_work = Counter(job.owner for job in self._working if job.owner)
        return sorted(
            (job for job in self._waiting if not job.cancelled), key=lambda job: at_work[job.owner] > 0
        )

    def _next(self) -> Job[Any] | None:
        if len(self._working) >= settings.JOBS.value():
            return None
        taken = [job.place for job in self._working if job.place is not None]
        return next((job for job in self._order() if job.place not in taken), None)


class Job(Generic[T]):
    """Work that waits in `line` for its turn and is then at it; what it shows may be read from any thread at any time.

    `unit` is what `done` and `total` count, where whoever started it says so; `about` tells what it makes from what
    other jobs of its place make, `owner` who started it; `wanted` says whether somebody still waits for it, and is
    asked while it is in line.
    `outcome` is what the work returned, `error` what it raised; both None until then, and if it was cancelled in line.
    """

    def __init__(
        self,
        title: str,
        work: Work[T],
        about: Hashable = None,
        *,
        line: Line | None = None,
        place: object = None,
        owner: str = "",
        wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        self.title, self.about, self.place, self.owner, self.wanted = title, about, place, owner, wanted
        self.done, self.total, self.what, self.unit = 0.0, 1.0, "", ""
        self.outcome: T | None = None
        self.error: Exception | None = None
        self.ended: float | None = None
        self._cancel = threading.Event()
        self._started = self._step_began = time.monotonic()
        self._line = line or Line()
        self._line.join(self)
        self._thread = threading.Thread(target=self._run, args=(work,), name=f"job: {title}", daemon=True)
        self._thread.start()

    def _run(self, work: Work[T]) -> None:
        try:
            with self._line.turn(self) as granted:
                self._started = self._step_began = time.monotonic()
                if granted:
                    self.outcome = work(self._report, self._cancel.is_set)
        except Exception as error:  # shown to the visitor, who can't see the server's console
            self.error = _bare(error)
        self.ended = time.monotonic()

    def _report(self, done: float, total: float, what: str) -> None:
        self.done, self.total, self.what = done, total, what
        at_hand.give_way(_STANDS_BACK * (time.monotonic() - self._step_began))
        self._step_began = time.monotonic()

    @property
    def running(self) -> bool:
        """Whether it has not ended: it waits in line, or the work is at it."""
        return self._thread.is_alive()

    @property
    def waits(self) -> tuple[int, int] | None:
        """Its place in line and how many wait, such as 2 of 3; None once the work is at it, or has ended."""
        return self._line.place(self)

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked it to end."""
        return self._cancel.is_set()

    @property
    def share(self) -> float:
        """How much is done, in [0, 1]."""
        return min(1.0, self.done / self.total) if self.total else 0.0

    def seconds_left(self) -> float | None:
        """At the present speed, None before the first step is done: what comes once at the start is no measure."""
        passed = time.monotonic() - self._started
        return passed * (1 - self.share) / self.share if self.done >= 1 else None

    def give_up(self) -> None:
        """Note that it is to end, without a word to the line, which calls this itself."""
        self._cancel.set()

    def cancel(self) -> None:
        """Ask the work to end, which it does at its next step; a job in line leaves it."""
        self.give_up()
        self._line.nudge()

    def wait(self, seconds: float | None = None) -> None:
        """Return when the work has ended, or after so many seconds."""
        self._thread.join(seconds)


def _bare(error: Exception) -> Exception:
    """The error without the frames that it came through, nor those of its causes: they hold all that the work held."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


LINE = Line()
"""The line of this server."""


class Place:
    """Where one job at a time works and others wait, one of each visitor; the last one stays to be looked at."""

    def __init__(self, line: Line | None = None) -> None:
        self._line = line or LINE
        self._starting = threading.Lock()
        self._jobs: tuple[Job[Any], ...] = ()

    def start(
        self,
        title: str,
        work: Work[Any],
        about: Hashable = None,
        *,
        owner: str = "",
        wanted: Callable[[], bool] = lambda: True,
    ) -> Job[Any]:
        """Start a job, or put it in line; raises `ValueError` where the visitor has one here or the line is full."""
        with self._starting:
            if (before := self.owned(owner)) is not None:
                what = "running" if before.waits is None else "waiting"
                raise ValueError(f"{before.title} is still {what}: wait for it, or cancel it.")
            job = Job(title, work, about, line=self._line, place=self, owner=owner, wanted=wanted)
            self._jobs = (*(each for each in self._jobs if each.running), job)
            return job

    def alive(self) -> tuple[Job[Any], ...]:
        """The job at work, and those that wait, in the order in which they came."""
        jobs = [job for job in self._jobs if job.running]
        return tuple(sorted(jobs, key=lambda job: job.waits is not None))

    def owned(self, owner: str) -> Job[Any] | None:
        """The job of this visitor that has not ended."""
        return next((job for job in self.alive() if job.owner == owner), None)

    @property
    def last(self) -> Job[Any] | None:
        """The job that ended last."""
        ended = [job for job in self._jobs if job.ended is not None]
        return max(ended, key=lambda job: job.ended or 0.0, default=None)

    @property
    def job(self) -> Job[Any] | None:
        """The job at work, else the first that waits, else the last that ended."""
        return next(iter(self.alive()), self.last)
