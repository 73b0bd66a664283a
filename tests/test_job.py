"""Long work beside the pages: progress, cancel, one at a time, and a small sweep started from the app."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from data import cue10
from xai import result_folders, results
from xai.ui import job_panel, sweep_panel
from xai.ui.job import Job, Place, Report

SECONDS = 60


def test_a_job_tells_how_far_it_is_and_gives_what_it_made() -> None:
    halfway, on = threading.Event(), threading.Event()

    def work(report: Report, _cancelled: Callable[[], bool]) -> str:
        report(1, 2, "first half")
        halfway.set()
        on.wait(SECONDS)
        return "made"

    job = Job("Test", work)
    assert halfway.wait(SECONDS)
    assert (job.running, job.share, job.what, job.outcome) == (True, 0.5, "first half", None)
    assert job.seconds_left() is not None
    on.set()
    job.wait(SECONDS)
    assert (job.running, job.outcome, job.error) == (False, "made", None)


def test_a_job_that_raises_keeps_its_error() -> None:
    def work(_report: Report, _cancelled: Callable[[], bool]) -> str:
        raise ValueError("no such thing.")

    job = Job("Test", work)
    job.wait(SECONDS)
    assert not job.running
    assert job.outcome is None
    assert str(job.error) == "no such thing."


def test_one_job_at_a_time_and_a_cancelled_one_makes_room() -> None:
    place = Place()
    asked = threading.Event()

    def work(_report: Report, cancelled: Callable[[], bool]) -> bool:
        while not cancelled():
            asked.wait(0.01)
        return True

    job = place.start("First", work)
    with pytest.raises(ValueError, match="First is still running"):
        place.start("Second", work)
    job.cancel()
    job.wait(SECONDS)
    assert job.outcome is True
    assert job.cancelled
    second = place.start("Second", work)
    second.cancel()
    second.wait(SECONDS)


@pytest.fixture
def panel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AppTest]:
    """A page with nothing but the panel, few scenes, and a results folder of its own."""

    def page() -> None:
        from xai.ui import state, sweep_panel

        state.start("job")
        sweep_panel.draw()

    monkeypatch.setenv("XAI_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("XAI_CACHE", str(tmp_path))
    monkeypatch.setitem(cue10.SPLITS, "test", 100)
    job_panel.place_of.clear()
    yield AppTest.from_function(page, default_timeout=SECONDS)
    if job := sweep_panel.PANEL.place().job:
        job.cancel()
        job.wait(SECONDS)
    job_panel.place_of.clear()
    st.cache_resource.clear()


def start(panel: AppTest) -> None:
    panel.session_state["sweep_models cue10"] = ["alexnet-cue10-s0"]
    panel.session_state["sweep_degradations"] = ["pixelate"]
    panel.session_state["sweep_images"] = 100
    panel.run()
    assert not panel.exception
    (button,) = [button for button in panel.button if "Start" in button.label]
    button.click().run()


def test_a_sweep_from_the_page_is_stored_and_its_outcome_said(panel: AppTest) -> None:
    start(panel)
    job = sweep_panel.PANEL.place().job
    assert job is not None
    job.wait(SECONDS)
    panel.run()
    assert "cells computed" in panel.success[0].value
    assert panel.expander[0].proto.expanded, "else its visitor does not see what became of it"
    (board,) = result_folders.open_results([results.local_folder()]).boards.values()
    assert board.models == ("alexnet-cue10-s0",)
    assert {condition.degradation for condition in board.conditions} == {"clean", "pixelate"}
    assert len(board) == 100


def test_a_cancelled_sweep_says_so(panel: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xai.evaluation.forward_batch_size", lambda *_: 1)
    start(panel)
    job = sweep_panel.PANEL.place().job
    assert job is not None
    job.cancel()
    job.wait(SECONDS)
    panel.run()
    assert "It was cancelled" in panel.success[0].value
    assert not panel.exception
