"""What the commands share: progress bars, closing lines, and the check of a device's name."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

Command = Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with 2."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def progress_bar(total: int, what: str) -> Any:
    """A progress bar of `total` steps on standard error."""
    from tqdm import tqdm

    return tqdm(total=total, desc=what, unit="", file=sys.stderr, dynamic_ncols=True)


def show_progress() -> Callable[[int, int, str], None]:
    """A progress callback `(done, total, what)` that draws one bar per task."""
    bars: dict[str, Any] = {}

    def show(done: int, total: int, what: str) -> None:
        if what not in bars:
            bars[what] = progress_bar(total, what)
        bars[what].update(done - bars[what].n)
        if done >= total:
            bars.pop(what).close()

    return show


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """The signals that came; the first of each kind ends the work after the batch at hand, the second at once."""
    came: list[int] = []

    def note(number: int, _frame: object) -> None:
        came.append(number)
        signal.signal(number, before[signal.Signals(number)])

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def wrote(paths: Sequence[Path]) -> None:
    """Print the paths that a command wrote."""
    for path in paths:
        print(f"wrote {path}")


def percent(value: float | None) -> str:
    """A share in [0, 1] as percent with two decimals, empty where there is none."""
    return "" if value is None else f"{100 * value:.2f}"


def check_folder(folder: Path) -> None:
    """Raise `ValueError` when files can't be written to a folder, before anything is computed for it."""
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise ValueError(f"--out is {folder}, and {nearest} is a file; a folder is needed.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ValueError(f"--out is {folder}, and nothing may be written to {nearest}.")


def check_device(device: str) -> None:
    """Raise `ValueError` when this machine has no such device."""
    from xai.training_request import find_device

    find_device(device)


def option_values(texts: Sequence[str]) -> dict[str, str | int | float]:
    """The architecture options of `--option KEY=VALUE`; raises `ValueError` for what has another form."""
    options: dict[str, str | int | float] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals or not value:
            raise ValueError(f"option is {text!r}; allowed is KEY=VALUE, such as width=32.")
        options[key] = _value(value)
    return options


def _value(text: str) -> str | int | float:
    """A number where the text is one, else the text."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, int | float) else text
