"""What a finished job keeps: its outcome or its error, and nothing of what the work held."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import pytest

from xai.ui.job import Job, Report


class Large:
    """Stands for pictures in the making."""


@pytest.mark.parametrize("fails", [False, True])
def test_a_job_that_has_ended_lets_go_of_its_work(fails: bool) -> None:
    """An error's frames, and those of what it was raised from, hold all that was in them."""
    kept = Large()
    held, gone = [kept], weakref.ref(kept)
    del kept

    def inner(own: Large) -> None:
        if fails:
            raise KeyError(f"{own} is not there")

    def work(_report: Report, _cancelled: Callable[[], bool], held: list[Large] = held) -> None:
        local = held[0]
        try:
            inner(local)
        except KeyError as error:
            raise ValueError("no such thing.") from error

    job = Job("Test", work)
    job.wait(60)
    assert str(job.error) == ("no such thing." if fails else "None")
    del work, held
    gc.collect()
    assert gone() is None
