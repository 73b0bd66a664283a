"""Figures are drawn by other processes once two visitors want one at a time, with the same bytes, and never lost."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from models import zoo
from xai.comparison import Comparison, Request, compare, picture_from_scene
from xai.figures import Style
from xai.ui.drawers import Drawers, drawn

DPI = 60
SECONDS = 120
"""For a process to start on a machine under load."""


@pytest.fixture(scope="module")
def done() -> Comparison:
    name = "resnet18_cifar-w16-cue10-s0"
    return compare(Request((name,)), picture_from_scene("test", 3), [zoo.load(name)])


@pytest.fixture
def drawers() -> Iterator[Drawers]:
    found = Drawers(lambda: 1)
    yield found
    found.close()


def two_at_a_time(drawers: Drawers, done: Comparison, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Figures of two visitors who both draw here before either has ended."""
    both = threading.Barrier(2)

    def slowly(*arguments: object) -> bytes:
        both.wait(SECONDS)
        return drawn(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as changed, ThreadPoolExecutor(2) as visitors:
        changed.setattr("xai.ui.drawers.drawn", slowly)
        return list(visitors.map(lambda _: drawers.draw(done, Style(), DPI), range(2)))


def test_a_lone_visitor_starts_no_process(drawers: Drawers, done: Comparison) -> None:
    assert drawers.draw(done, Style(), DPI) == drawn(done, Style(), DPI)
    assert drawers.starting is None


def test_two_at_a_time_start_processes_that_draw_the_same_and_may_be_killed(
    drawers: Drawers, done: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = drawn(done, Style(), DPI)
    assert two_at_a_time(drawers, done, monkeypatch) == [expected, expected]
    assert drawers.starting is not None
    drawers.starting.join(SECONDS)
    (drawer,) = drawers._all
    with monkeypatch.context() as changed:
        changed.setattr("xai.ui.drawers.drawn", None)  # nothing is drawn here
        assert [drawers.draw(done, Style(), DPI) for _ in range(2)] == [expected] * 2
    with pytest.raises(AttributeError):  # said here
        drawers.draw(done, "no style", DPI)  # type: ignore[arg-type]
    assert drawers._all == [drawer]
    drawer._process.kill()
    assert drawers.draw(done, Style(), DPI) == expected
    assert drawers._all == []
    assert drawers.starting is None, "so that others may be started"


def test_a_process_hears_no_ctrl_c_and_ends_with_its_input(drawers: Drawers) -> None:
    drawers._start()
    (drawer,) = drawers._all
    assert os.getpgid(drawer._process.pid) != os.getpgid(0)
    assert drawer._process.stdin is not None
    drawer._process.stdin.close()
    assert drawer._process.wait(SECONDS) == 0
    drawer._process.stdin = None


def test_none_are_started_where_the_setting_says_so(
    done: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    off = Drawers(lambda: 0)
    two_at_a_time(off, done, monkeypatch)
    assert off.starting is None
