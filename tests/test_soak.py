"""The short form of the soak: a few visitors at once on a real server, each with right answers of their own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from models import zoo
from tests import soak, soak_answers
from tests.soak import Options, Outcome
from tests.soak_visitors import HAPPENS, KINDS, Log, reader, sweeper, uploader, vanisher

ANSWERS, MINUTES = 8, 3.0
"""When the visitors go: after so many answers, or so long."""


@pytest.fixture(scope="module")
def server_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("soak") / "log.txt"


@pytest.fixture(scope="module")
def outcome(server_log: Path) -> Outcome:
    """A reader, one who brings pictures, one who vanishes mid-upload and one who sweeps, all at once."""
    if not any(zoo.is_shipped(name) for name in zoo.cards()):
        pytest.skip("no network ships with this checkout")
    assert set(KINDS[:4]) == {reader, uploader, vanisher, sweeper}
    return soak.run(Options(MINUTES, browsers=4, screens=0, think=0.2, enough=ANSWERS), server_log)


def test_every_answer_is_right_and_the_visitor_s_own(outcome: Outcome) -> None:
    assert outcome.problems(growth=float("inf")) == []
    assert len(outcome.log.answers) >= ANSWERS
    assert outcome.log.latencies
    assert {asked.upload is None for asked, _ in outcome.log.answers} == {True, False}


def test_the_server_outlives_visitors_who_vanish(outcome: Outcome, server_log: Path) -> None:
    assert outcome.alive
    assert outcome.log.most_here >= 3
    assert set(HAPPENS) <= outcome.log.counts.keys()
    assert "MemoryError" not in server_log.read_text(encoding="utf-8")


def test_another_s_answer_and_a_wrong_figure_are_found(outcome: Outcome) -> None:
    (first, seen), *rest = outcome.log.answers
    other = next(answer for asked, answer in rest if asked.picture().name != first.picture().name)
    assert "was answered" in soak_answers.problem(first, other)
    assert "another figure" in soak_answers.problem(first, replace(seen, sha256=other.sha256))
    assert "without" in soak_answers.problem(first, replace(seen, text=""))
    assert "was answered" in soak_answers.problem(replace(first, severity=5.0), seen)


def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed() -> None:
    assert [soak.percentile(range(1, 21), percent) for percent in (5, 50, 95, 100)] == [1, 10, 19, 20]


def test_growth_failures_and_a_dead_server_are_problems() -> None:
    grown = Outcome(Log(failures=["reader 0: OSError"]), started=100, ended=301, alive=False, wrong=["wrong"])
    assert len(grown.problems(200)) == 4
    assert grown.problems(201)[2:] == ["the server ended."]
