"""How far a comparison has come, and so how long it will still take: every section's share of the time, as measured.

A section tells of tasks (heatmaps of one network under one condition, ...), each with its own steps. How many tasks
there will be is not known beforehand; it was counted once, and goes with the number of conditions. Where that count is
wrong the bar is slower or faster within a section, and right again at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from xai.compare.bench import Bench
from xai.compare.sections import ORDER, Section

Told = Callable[[float, float, str], None]
"""Called as `told(done, total, what)`, in shares of the time: `done / total` is how much of it has passed."""
SECONDS = dict(zip(ORDER, (60.0, 150.0, 20.0, 100.0, 60.0, 40.0, 5.0, 5.0), strict=True))
"""About the seconds that a section takes of one core: two small networks, 2,000 images and 16 conditions, each section
after those before it, whose heatmaps it need not make again. Only ratios matter."""
TASKS = dict(zip(ORDER, (6.0, 30.0, 4.0, 5.0, 36.0, 1.0, 1.0, 1.0), strict=True))
"""Tasks that a section then tells of."""
CONDITIONS = 16
"""Conditions of the study that the above was measured with."""
_LAST = 0.98
"""The most that a section which is still at work counts as done."""


@dataclass
class Clock:
    """Adds up what is done of the `sections` that are to be measured, and tells `told` of it."""

    sections: Sequence[Section]
    conditions: int
    told: Told | None = None
    _done: float = 0.0
    _current: str = ""
    _title: str = ""
    _task: str = ""
    _tasks: float = 0.0
    tasks: dict[str, int] = field(default_factory=dict)
    """Tasks that each section told of, for `TASKS`."""

    @property
    def total(self) -> float:
        """Of all sections."""
        return sum(SECONDS[section.name] for section in self.sections) or 1.0

    def begin(self, section: Section) -> None:
        """A section is at work from now on; the one before is done."""
        self.end()
        self._current, self._title, self._task, self._tasks = section.name, section.title, "", 0.0
        self._say(0.0, "")

    def end(self) -> None:
        """The section at work is done."""
        if self._current:
            self._done += SECONDS[self._current]
            self.tasks[self._current] = int(self._tasks)
            self._current = ""

    def finish(self) -> None:
        """All is done."""
        self.end()
        if self.told:
            self.told(self.total, self.total, "")

    def step(self, done: int, total: int, what: str) -> None:
        """The section told of a step of one of its tasks."""
        if what != self._task:
            self._task, self._tasks = what, self._tasks + 1
        within = done / total if total else 0.0
        self._say(max(0.0, self._tasks - 1) + min(1.0, within), what)

    def _say(self, tasks: float, what: str) -> None:
        if self.told and self._current:
            share = min(_LAST, tasks / max(1.0, self._expected))
            words = f"{self._title}: {what}" if what else self._title
            self.told(self._done + share * SECONDS[self._current], self.total, words)

    @property
    def _expected(self) -> float:
        """Tasks that the section at work will have told of."""
        return TASKS[self._current] * self.conditions / CONDITIONS


@contextmanager
def listening(bench: Bench, clock: Clock) -> Iterator[None]:
    """The clock hears what the bench tells of, beside whoever hears it anyway."""
    before = bench.progress

    def tell(done: int, total: int, what: str) -> None:
        clock.step(done, total, what)
        if before:
            before(done, total, what)

    bench.progress = tell
    try:
        yield
    finally:
        bench.progress = before
