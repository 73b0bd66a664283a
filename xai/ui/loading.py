"""Importing torch and its companions takes seconds: one background thread does it while the page is painted."""

from __future__ import annotations

import gc
import importlib
import threading
import time
from collections.abc import Sequence

import streamlit as st

from xai.ui import limits

FIRST = ("torch", "matplotlib.figure", "xai.comparison", "xai.figures", "xai.ui.explaining")
"""What the first heatmap needs, in the order in which it is imported."""
LATER = (
    "captum.attr",
    "pandas",
    "pyarrow.parquet",
    "statsmodels.stats.proportion",
    "statsmodels.stats.contingency_tables",
    "sklearn.metrics",
)
"""What other choices need; imported once the first figure is on a page, so that it slows nobody down."""
PATIENCE = 20.0
"""Seconds after which the second part is imported although no figure was drawn."""


COLLECT_EVERY = 15.0
"""Seconds between two full collections of garbage, which hold up everybody: Streamlit's own, after every run of a page,
are switched off."""


THRESHOLDS = (50_000, 20, 100)
"""Of Python's own collections, which took a seventh of the time of a figure: it makes thousands of objects."""


class WarmUp:
    """The background thread and how far it has come."""

    def __init__(self) -> None:
        self.first_done = threading.Event()
        self.figure_drawn = threading.Event()
        self.thread = threading.Thread(target=self._work, name="warm-up", daemon=True)
        self.thread.start()

    def _work(self) -> None:
        try:
            _import(FIRST[:1])
            _share_the_cores()
            _import(FIRST[1:])
        finally:
            self.first_done.set()
        self.figure_drawn.wait(PATIENCE)
        _import(LATER)
        _keep_what_is_loaded()
        _collect_from_time_to_time()


def _keep_what_is_loaded() -> None:
    """Take all that was imported out of what the garbage collector looks through: a million objects of torch and its
    companions, which held up every visitor for 130 ms."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


_collecting = threading.Lock()


def _collect_from_time_to_time() -> None:
    """Collect garbage for ever, unless another thread does."""
    if _collecting.acquire(blocking=False):
        while True:
            time.sleep(COLLECT_EVERY)
            gc.collect()


def _import(names: Sequence[str]) -> None:
    for name in names:
        importlib.import_module(name)


def _share_the_cores() -> None:
    """Let one operator use half the cores at most, where no setting says another number.

    An operator's threads wait for the slowest of them. With a thread on every core, whatever else runs (another
    visitor, the server, a training) holds all of them up: one Grad-CAM then took 500 ms instead of 35.
    """
    import torch

    torch.set_num_threads(limits.threads())


@st.cache_resource(show_spinner=False)
def warm_up() -> WarmUp:
    """Start the thread, once for the whole server."""
    return WarmUp()


def wait() -> None:
    """Return once what the first heatmap needs is imported; says so on the page while it lasts.

    Two threads never import the same package at once: the page waits instead of importing beside the thread.
    """
    started = warm_up()
    if not started.first_done.is_set():
        with st.spinner("Starting: loading the libraries (a few seconds, once)."):
            started.first_done.wait()


def figure_drawn() -> None:
    """Say that a figure is on the page, so that the rest may be imported."""
    warm_up().figure_drawn.set()
