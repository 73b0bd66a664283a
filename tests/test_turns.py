"""Short work in turns: first come, first served, and who waits is told where they stand."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from xai.ui import job, turns
from xai.ui.turns import InTurns, Turns

SECONDS = 20


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PATIENCE", 0.0)
    monkeypatch.setattr(turns, "EVERY", 0.001)


class Visitor:
    """One who waits in a thread of their own; `told` are the places that they were told."""

    def __init__(self, line: Turns, order: list[str], name: str) -> None:
        self.told: list[tuple[int, int]] = []
        self.known, self.go, self.begun = threading.Event(), threading.Event(), threading.Event()
        self.error: Exception | None = None
        self.gives_up = False
        self._order, self._name = order, name
        self.thread = threading.Thread(target=self._run, args=(line,), daemon=True)
        self.thread.start()

    def _run(self, line: Turns) -> None:
        try:
            line.do(self._work, self._tell)
        except RuntimeError as error:
            self.error = error

    def _work(self) -> None:
        self._order.append(self._name)
        self.begun.set()
        assert self.go.wait(SECONDS)
        if self._name == "bad":
            raise RuntimeError("no such thing.")

    def _tell(self, place: int, of: int) -> None:
        self.told.append((place, of))
        self.known.set()
        if self.gives_up:
            raise RuntimeError("the visitor left.")

    def end(self) -> None:
        self.go.set()
        self.thread.join(SECONDS)
        assert not self.thread.is_alive()


def come(line: Turns, order: list[str], *names: str) -> list[Visitor]:
    """Visitors who come one after another, all but the first of whom have to wait."""
    found = []
    for name in names:
        found.append(Visitor(line, order, name))
        assert (found[-1].begun if len(found) == 1 else found[-1].known).wait(SECONDS)
    return found


def test_who_comes_first_is_served_first_and_the_others_are_told_their_place() -> None:
    line, order = Turns(lambda: 1), list[str]()
    a, b, c = come(line, order, "a", "b", "c")
    assert not a.told
    assert (b.told[0], c.told[0]) == ((1, 1), (2, 2))
    a.end()
    assert b.begun.wait(SECONDS)
    c.known.clear()
    assert c.known.wait(SECONDS)
    assert c.told[-1] == (1, 1)
    b.end()
    c.end()
    assert order == ["a", "b", "c"]


def test_an_error_gives_the_turn_on_and_so_does_one_who_leaves_the_line() -> None:
    line, order = Turns(lambda: 1), list[str]()
    bad, left, good = come(line, order, "bad", "left", "good")
    left.gives_up = True
    left.thread.join(SECONDS)
    assert str(left.error) == "the visitor left."
    bad.end()
    assert str(bad.error) == "no such thing."
    good.end()
    assert order == ["bad", "good"]


def test_the_store_makes_short_work_of_visitors_in_turns_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memo, turned = InTurns(1000), list[str]()
    for kind, line in memo._turns.items():

        def do(work: Callable[[], str], _tell: object, kind: str = kind) -> str:
            turned.append(kind)
            return work()

        monkeypatch.setattr(line, "do", do)
    assert memo(("cams", 1), lambda: "a job's") == "a job's"
    monkeypatch.setattr(turns, "get_script_run_ctx", lambda suppress_warning: "a visitor")
    assert [memo(("cams", 2), lambda: "made") for _ in range(2)] == ["made"] * 2
    assert memo(("embedding", 3), lambda: "long") == "long"
    assert memo("plain", lambda: "plain") == "plain"
    assert turned == ["cams"], "what is known needs no turn"


def test_heatmaps_do_not_wait_for_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAI_AT_ONCE", "1")
    monkeypatch.setattr(turns, "get_script_run_ctx", lambda suppress_warning: "a visitor")
    memo = InTurns(1000)

    def figure() -> str:
        heatmap = threading.Thread(target=memo, args=(("cams", 1), lambda: "made"), daemon=True)
        heatmap.start()
        heatmap.join(SECONDS)
        assert memo.get(("cams", 1)) == "made", "while the only figure at once is being drawn"
        return "drawn"

    assert memo(("figure", 1), figure) == "drawn"


def test_as_many_at_once_as_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    assert turns.at_once() == 3
    monkeypatch.setenv("XAI_AT_ONCE", "5")
    assert turns.at_once() == 5
    begin = time.monotonic()
    assert Turns(turns.at_once).do(lambda: "made", lambda *_: pytest.fail("nobody waits")) == "made"
    assert time.monotonic() - begin < SECONDS


def test_a_long_job_stands_back_for_short_work_of_visitors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "LONGEST", SECONDS)
    monkeypatch.setattr(job, "_STANDS_BACK", 1e9)
    steps, reported = list[float](), threading.Event()

    def work(report: job.Report, _cancelled: Callable[[], bool]) -> None:
        reported.set()
        report(1, 2, "the first step")
        steps.append(1)

    with turns.at_hand:
        long = job.Job("a job", work)
        assert reported.wait(SECONDS)
        long.wait(0.05)
        assert long.running
        assert not steps
    long.wait(SECONDS)
    assert steps == [1]


def test_a_long_job_waits_no_longer_than_its_steps_allow() -> None:
    with turns.at_hand:
        quick = job.Job("a job", lambda report, _cancelled: report(1, 1, "the only step"))
        quick.wait(SECONDS)
        assert not quick.running
