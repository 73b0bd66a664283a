"""Long work in a thread of its own, shared by all visitors of the server: progress, time left, cancel."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from xai import settings

T = TypeVar("T")
Report = Callable[[float, float, str], None]
"""Called by the work as `report(done, total, what)`."""
Work = Callable[[Report, Callable[[], bool]], T]
"""`work(report, cancelled)`: it asks `cancelled()` from time to time and ends early when that is true."""


class Job(Generic[T]):
    """Work that has been started; what it shows may be read from any thread at any time.

    `unit` is what `done` and `total` count, where whoever started it says so; `about` tells what it makes from what
    other jobs of its place make.
    `outcome` is what the work returned, `error` what it raised; both None while it runs.
    """

    def __init__(self, title: str, work: Work[T], about: Hashable = None) -> None:
        self.title, self.about = title, about
        self.done, self.total, self.what, self.unit = 0.0, 1.0, "", ""
        self.outcome: T | None = None
        self.error: Exception | None = None
        self._cancel = threading.Event()
        self._started = time.monotonic()
        self._thread = threading.Thread(target=self._run, args=(work,), name=f"job: {title}", daemon=True)
        self._thread.start()

    def _run(self, work: Work[T]) -> None:
        try:
            self.outcome = work(self._report, self._cancel.is_set)
        except Exception as error:  # shown to the visitor, who can't see the server's console
            self.error = _bare(error)

    def _report(self, done: float, total: float, what: str) -> None:
        self.done, self.total, self.what = done, total, what

    @property
    def running(self) -> bool:
        """Whether the work is still at it."""
        return self._thread.is_alive()

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

    def cancel(self) -> None:
        """Ask the work to end; it does at its next step."""
        self._cancel.set()

    def wait(self, seconds: float | None = None) -> None:
        """Return when the work has ended, or after so many seconds."""
        self._thread.join(seconds)


def _bare(error: Exception) -> Exception:
    """The error without the frames that it came through, nor those of its causes: they hold all that the work held."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


_started: weakref.WeakSet[Job[object]] = weakref.WeakSet()
"""Jobs of all places of this server."""
_starting = threading.Lock()


class Place:
    """Where one job at a time may run, and the last one stays to be looked at."""

    def __init__(self) -> None:
        self.job: Job[object] | None = None

    def start(self, title: str, work: Work[object], about: Hashable = None) -> Job[object]:
        """Start a job; raises `ValueError` while another runs here, or as many elsewhere as the server runs at once."""
        with _starting:
            if self.job is not None and self.job.running:
                raise ValueError(f"{self.job.title} is still running: wait for it, or cancel it.")
            if sum(job.running for job in _started) >= (most := settings.JOBS.value()):
                raise ValueError(
                    f"{title} was not started: the server runs at most {most} long jobs at once; "
                    "try again when one has ended."
                )
            self.job = Job(title, work, about)
            _started.add(self.job)
            return self.job
