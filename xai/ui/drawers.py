"""Figures drawn in processes of their own, once two visitors want one at the same time.

matplotlib draws one figure at a time and holds Python's lock while it does: the figures of many visitors would keep one
core busy and everybody's page waiting. For a lone visitor nothing is started.
"""

from __future__ import annotations

import os
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

if TYPE_CHECKING:
    from xai.comparison import Comparison
    from xai.figures import Style

ROOT = Path(__file__).resolve().parents[2]


def drawn(done: Comparison, style: Style, dpi: int) -> bytes:
    """The figure of a comparison as a PNG, drawn in this process."""
    from xai import figures

    return figures.render(figures.comparison_figure(done, style), "png", dpi, quick=True)


class Drawer:
    """A process that draws one figure after the other. It ends when the server does, as its input then ends."""

    def __init__(self) -> None:
        # Not by multiprocessing, which would run the app's script in it once more.
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in the server's terminal is the server's
        )
        self._input = cast(BinaryIO, self._process.stdin)
        self._output = cast(BinaryIO, self._process.stdout)
        self._output.read(1)

    def draw(self, *asked: Any) -> bytes | None:
        """What `drawn` gives, None where that raised; raises `EOFError` or `OSError` where the process ended."""
        pickle.dump(asked, self._input)
        self._input.flush()
        answer: bytes | None = pickle.load(self._output)
        return answer

    def end(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.communicate()


class Drawers:
    """As many processes as `most()` says, 0 for none; figures are drawn here until they have started."""

    def __init__(self, most: Callable[[], int]) -> None:
        self._most, self._lock = most, threading.Lock()
        self._here = 0
        self.starting: threading.Thread | None = None
        self._all: list[Drawer] = []
        self._idle: queue.SimpleQueue[Drawer] = queue.SimpleQueue()

    def draw(self, done: Comparison, style: Style, dpi: int) -> bytes:
        """The same bytes as `drawn`, wherever they are made."""
        there = self._there(done, style, dpi) if self._all else None
        if there is not None:
            return there
        with self._drawing_here():
            return drawn(done, style, dpi)

    def _there(self, *asked: Any) -> bytes | None:
        """From a process that has nothing else to do; None where there is none, or it could not."""
        try:
            drawer = self._idle.get(block=False)
        except queue.Empty:
            return None
        try:
            answer = drawer.draw(*asked)
        except (
            EOFError,
            OSError,
            pickle.UnpicklingError,
        ):  # it was killed: the next two at a time start others
            drawer.end()
            with self._lock:
                self._all.remove(drawer)
                self.starting = self.starting if self._all else None
            return None
        self._idle.put(drawer)
        return answer

    @contextmanager
    def _drawing_here(self) -> Iterator[None]:
        with self._lock:
            self._here += 1
            if self._here > 1 and self.starting is None and self._most():
                self.starting = threading.Thread(target=self._start, name="drawers", daemon=True)
                self.starting.start()
        try:
            yield
        finally:
            with self._lock:
                self._here -= 1

    def _start(self) -> None:
        for _ in range(self._most()):
            drawer = Drawer()
            with self._lock:
                self._all.append(drawer)
            self._idle.put(drawer)

    def close(self) -> None:
        """End the processes, once they have started."""
        if self.starting is not None:
            self.starting.join()
        for drawer in self._all:
            drawer.end()


def main() -> None:
    """Draw what is asked for on the standard input, until that ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what anything prints is no answer
    import torch

    import xai.figures  # noqa: F401

    torch.set_num_threads(1)
    answers.write(b".")
    answers.flush()
    while (asked := _next(sys.stdin.buffer)) is not None:
        pickle.dump(_drawn(asked), answers)
        answers.flush()


def _next(source: BinaryIO) -> tuple[Any, ...] | None:
    try:
        found: tuple[Any, ...] = pickle.load(source)
    except EOFError:
        return None
    return found


def _drawn(asked: tuple[Any, ...]) -> bytes | None:
    try:
        return drawn(*asked)
    except Exception:  # the server draws it itself, and says what is wrong
        return None


if __name__ == "__main__":
    main()
