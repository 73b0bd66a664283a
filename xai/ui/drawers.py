"""Figures drawn in processes of their own, once two visitors want one at the same time.

matplotlib draws one figure at a time and holds Python's lock while it does: the figures of many visitors would keep one
core busy and everybody's page waiting. For a lone visitor nothing is started.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xai.comparison import Comparison
    from xai.figures import Style

FIGURES = 2_000
"""A process makes room for a new one after so many figures."""


def drawn(done: Comparison, style: Style, dpi: int) -> bytes:
    """The figure of a comparison as a PNG, drawn in this process."""
    from xai import figures

    return figures.render(figures.comparison_figure(done, style), "png", dpi, quick=True)


class Drawers:
    """As many processes as `most()` says, 0 for none; figures are drawn here until they have started."""

    def __init__(self, most: Callable[[], int]) -> None:
        self._most, self._lock = most, threading.Lock()
        self._here = 0
        self._starting: threading.Thread | None = None
        self._pool: ProcessPoolExecutor | None = None

    def draw(self, done: Comparison, style: Style, dpi: int) -> bytes:
        """The same bytes as `drawn`, wherever they are made."""
        pool = self._pool
        if pool is not None:
            try:
                # Bytes go through a pipe: tensors by themselves would go through files in shared memory.
                return pool.submit(_drawn, pickle.dumps((done, style, dpi))).result()
            except BrokenExecutor:  # a process was killed: the next two at a time start others
                self._pool = self._starting = None
        with self._drawing_here():
            return drawn(done, style, dpi)

    @contextmanager
    def _drawing_here(self) -> Iterator[None]:
        with self._lock:
            self._here += 1
            if self._here > 1 and self._starting is None and self._most():
                self._starting = threading.Thread(target=self._start, name="drawers", daemon=True)
                self._starting.start()
        try:
            yield
        finally:
            with self._lock:
                self._here -= 1

    def _start(self) -> None:
        count = self._most()
        context = multiprocessing.get_context(
            "spawn"
        )  # a fork would copy threads' locks as they happen to be
        pool = ProcessPoolExecutor(count, context, _prepare, max_tasks_per_child=FIGURES)
        for ready in [pool.submit(os.getpid) for _ in range(count)]:
            ready.result()
        self._pool = pool

    def close(self) -> None:
        """End the processes."""
        pool, self._pool, self._starting = self._pool, None, None
        if pool is not None:
            pool.shutdown(cancel_futures=True)


def _drawn(asked: bytes) -> bytes:
    return drawn(*pickle.loads(asked))


def _prepare() -> None:
    """Import what a figure needs, and end when the server does, even if it is killed."""
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    import torch

    import xai.figures  # noqa: F401

    torch.set_num_threads(1)


def _end_with_the_server() -> None:
    server = multiprocessing.parent_process()
    if server is not None:
        wait([server.sentinel])
        os._exit(0)
