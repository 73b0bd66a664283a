"""The line of long jobs: who works, who waits where, who leaves, and what visitors are shown of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from streamlit.testing.v1 import AppTest

from xai.ui import job_panel, own_shelf, visitors
from xai.ui.job import Job, Line, Place, Report
from xai.ui.job_panel import Words, panel
from xai.ui.own_shelf import Shelf

SECONDS = 20
PANEL = panel("test of the line", Words("steps", "Cancel it", "It ends soon.", "A note."))


class Works:
    """Jobs that end when they are told to; `order` are the titles of those that were begun."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self._begun: dict[str, threading.Event] = {}
        self._end: dict[str, threading.Event] = {}

    def work(self, title: str) -> Callable[[Report, Callable[[], bool]], str]:
        begun, end = self._begun[title], self._end[title] = threading.Event(), threading.Event()

        def run(_report: Report, _cancelled: Callable[[], bool]) -> str:
            self.order.append(title)
            begun.set()
            assert end.wait(SECONDS)
            if title.startswith("bad"):
                raise ValueError("the disk is full.")
            return title

        return run

    def begun(self, *titles: str) -> None:
        """Wait until these are at work."""
        for title in titles:
            assert self._begun[title].wait(SECONDS), title

    def end(self, *jobs: Job[object]) -> None:
        """Let these end, one after another."""
        for job in jobs:
            self._end[job.title].set()
            job.wait(SECONDS)
            assert not job.running

    def end_all(self) -> None:
        for event in self._end.values():
            event.set()


@pytest.fixture
def works(monkeypatch: pytest.MonkeyPatch) -> Iterator[Works]:
    monkeypatch.setenv("XAI_JOBS", "1")
    made = Works()
    yield made
    made.end_all()


def put(works: Works, line: Line, title: str, **more: object) -> Job[object]:
    """A job at the end of the line."""
    return Job(title, works.work(title), line=line, **more)  # type: ignore[arg-type]


def places(*jobs: Job[object]) -> list[tuple[int, int] | None]:
    return [job.waits for job in jobs]


def test_first_come_first_served_and_everyone_knows_their_place(works: Works) -> None:
    line = Line()
    a, b, c, d = (put(works, line, title) for title in "abcd")
    works.begun("a")
    assert places(a, b, c, d) == [None, (1, 3), (2, 3), (3, 3)]
    assert all(job.running for job in (a, b, c, d))
    works.end(a)
    works.begun("b")
    assert places(a, b, c, d) == [None, None, (1, 2), (2, 2)]
    works.end(b, c, d)
    assert works.order == ["a", "b", "c", "d"]
    assert [job.outcome for job in (a, b, c, d)] == ["a", "b", "c", "d"]


def test_as_many_work_at_once_as_may(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAI_JOBS", "2")
    line = Line()
    a, b, c = (put(works, line, title) for title in "abc")
    works.begun("a", "b")
    assert places(a, b, c) == [None, None, (1, 1)]
    works.end(b, a, c)
    assert sorted(works.order) == ["a", "b", "c"]


def test_who_cancels_in_line_leaves_it_at_once_and_nothing_of_it_runs(works: Works) -> None:
    line = Line()
    a, b, c = (put(works, line, title) for title in "abc")
    works.begun("a")
    b.cancel()
    b.wait(SECONDS)
    assert (b.running, b.cancelled, b.outcome, b.error) == (False, True, None, None)
    assert places(b, c) == [None, (1, 1)]
    works.end(a, c)
    assert works.order == ["a", "c"]


def test_a_job_that_raises_gives_its_turn_to_the_next(works: Works) -> None:
    line = Line()
    bad, good = put(works, line, "bad"), put(works, line, "good")
    works.begun("bad")
    works.end(bad)
    works.begun("good")
    works.end(good)
    assert str(bad.error) == "the disk is full."
    assert good.outcome == "good"


def test_a_full_line_refuses_with_one_sentence(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAI_QUEUE", "1")
    line = Line()
    a, b = put(works, line, "a"), put(works, line, "b")
    works.begun("a")
    refused = (
        "c was not started: the server runs at most 1 long jobs at once, and 1 more wait in line; try again"
    )
    with pytest.raises(ValueError, match=refused):
        put(works, line, "c")
    b.cancel()
    b.wait(SECONDS)
    c = put(works, line, "c")
    works.end(a, c)
    monkeypatch.setenv("XAI_QUEUE", "0")
    d = put(works, line, "d")  # nobody has to wait, so there is room without a line
    works.begun("d")
    with pytest.raises(ValueError, match="and 0 more wait"):
        put(works, line, "e")
    works.end(d)


def test_one_visitor_does_not_hold_all_turns(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAI_JOBS", "2")
    line = Line()
    one = [put(works, line, f"one {number}", owner="one") for number in range(4)]
    works.begun("one 0", "one 1")
    other = put(works, line, "other", owner="other")
    assert places(one[2], one[3], other) == [(2, 3), (3, 3), (1, 3)]
    works.end(one[0])
    works.begun("other")
    works.end(one[1], other, one[2], one[3])
    assert works.order[2:] == ["other", "one 2", "one 3"]


def test_a_job_whose_place_is_taken_is_passed_by(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAI_JOBS", "2")
    line = Line()
    first, other = Place(line), Place(line)
    a = first.start("a", works.work("a"), owner="1")
    works.begun("a")
    b = first.start("b", works.work("b"), owner="2")
    c = other.start("c", works.work("c"), owner="3")
    works.begun("c")
    assert places(a, b, c) == [None, (1, 1), None]
    assert first.alive() == (a, b)
    assert (first.job, first.owned("2"), first.last) == (a, b, None)
    with pytest.raises(ValueError, match="b is still waiting: wait for it, or cancel it"):
        first.start("d", works.work("d"), owner="2")
    works.end(a)
    works.begun("b")
    assert (first.job, first.last) == (b, a)
    works.end(b, c)
    assert first.last is b


def test_a_job_in_line_that_nobody_wants_any_more_leaves_it(works: Works) -> None:
    line, here = Line(), [True]
    a = put(works, line, "a", wanted=lambda: here[0])
    works.begun("a")
    b = put(works, line, "b", wanted=lambda: here[0])
    c = put(works, line, "c")
    assert places(b, c) == [(1, 2), (2, 2)]
    here[0] = False
    assert places(c) == [(1, 1)]
    b.wait(SECONDS)
    assert b.cancelled
    assert a.running
    assert not a.cancelled, "what is at work goes on for everybody"
    works.end(a, c)
    assert works.order == ["a", "c"]


def test_a_visitor_is_here_until_a_while_after_the_last_page_was_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = Shelf(visitor="v"), Shelf(visitor="v")
    monkeypatch.setattr(own_shelf, "_shelves", {first, second})
    monkeypatch.setattr(own_shelf, "GRACE", 0.0)
    first.leave()
    assert own_shelf.is_here("v")
    second.leave()
    assert not own_shelf.is_here("v")
    assert not own_shelf.is_here("w")
    assert first._going is None, "a thread waits for a visitor who left nothing"
    monkeypatch.setattr(own_shelf, "GRACE", 3600.0)
    assert own_shelf.is_here("v")


def test_a_browser_is_one_visitor_however_its_cookie_is_masked() -> None:
    from streamlit.web.server.starlette.starlette_app_utils import generate_xsrf_token_string

    of = visitors._of_cookie
    same = {of(generate_xsrf_token_string(b"sixteen bytes...")) for _ in range(3)}
    assert len(same) == 1
    assert of(generate_xsrf_token_string(b"sixteen others..")) not in same
    assert b"sixteen".hex() not in next(iter(same))
    assert [of(bad) for bad in ("", "2|", "2|zz|00|1", "2||00|1", "x" * 5000, "2|00|00|1|2")] == [""] * 6


def _page() -> None:
    import streamlit as st

    from tests.test_line import PANEL
    from xai.ui.job_panel import engaged

    PANEL.say_refused()
    if not engaged(PANEL):
        PANEL.say_error()
        st.button("Start", on_click=PANEL.start, args=("mine", st.session_state["work"]))


@pytest.fixture
def server(works: Works, monkeypatch: pytest.MonkeyPatch) -> Iterator[Works]:
    """A server whose line and places are those of this test."""
    monkeypatch.setattr("xai.ui.job.LINE", Line())
    monkeypatch.setattr(own_shelf, "GRACE", 3600.0)
    job_panel.place_of.clear()
    yield works
    works.end_all()
    job_panel.place_of.clear()


def visit(works: Works, title: str) -> AppTest:
    app = AppTest.from_function(_page, default_timeout=SECONDS)
    app.session_state["work"] = works.work(title)
    return app.run()


def shown(app: AppTest) -> str:
    assert not app.exception
    texts = [bar.proto.text for bar in app.get("progress")] + [each.value for each in app.caption]
    return " ".join(texts).replace("\\", "")


def labels(app: AppTest) -> list[str]:
    return [button.label for button in app.button]


def test_a_visitor_sees_the_place_in_line_and_may_leave_it(server: Works) -> None:
    first, second, third = (visit(server, title) for title in ("first", "second", "third"))
    first.button[0].click().run()
    server.begun("first")
    assert labels(first) == ["Cancel it"]
    assert labels(second.run()) == ["Start"], "the first visitor's job is theirs to cancel"
    assert "Another visitor started it." in shown(second)
    assert "What you start waits in line for its turn." in shown(second)
    second.button[0].click().run()
    third.run().button[0].click().run()
    assert "mine: waiting, place 1 of 2 in line." in shown(second.run())
    assert "mine: waiting, place 2 of 2 in line." in shown(third)
    assert labels(third) == ["Leave the line"]
    second.button[0].click().run()
    assert "place 1 of 1" in shown(third.run())
    assert "Start" in labels(second.run())
    waiting = PANEL.place().alive()[-1]
    server.end_all()
    waiting.wait(SECONDS)
    assert server.order == ["first", "third"]
    assert labels(third.run()) == ["Start"]


def test_who_left_may_have_their_job_cancelled_by_others(server: Works) -> None:
    first, second = visit(server, "first"), visit(server, "second")
    first.button[0].click().run()
    server.begun("first")
    gone = first.session_state[own_shelf.SHELF]
    gone._left = -1e9
    assert labels(second.run()) == ["Cancel it", "Start"]
    (job,) = PANEL.place().alive()
    second.button[0].click().run()
    assert job.cancelled
    server.end_all()
    job.wait(SECONDS)
