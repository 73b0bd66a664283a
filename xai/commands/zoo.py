"""`python -m xai zoo`: trains every network of the plan, lists where it stands, collects what it made."""

from __future__ import annotations

import argparse
import math
import os
import shutil
import sys
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from xai.commands.common import percent, wrote

if TYPE_CHECKING:
    from xai.zoo_plan import Job
    from xai.zoo_state import Progress, Settings, State


def run_zoo(arguments: argparse.Namespace) -> int:
    """Train, list or collect."""
    if arguments.collect:
        return _collect(arguments)
    if arguments.limit is not None and arguments.limit < 1:
        raise ValueError(f"--limit is {arguments.limit}; it must be at least 1.")
    from xai.zoo_state import Settings

    minutes = arguments.minutes
    if minutes is not None and not 0 < minutes < math.inf:
        raise ValueError(f"--minutes is {minutes:g}; allowed are numbers above 0.")
    settings = Settings(
        arguments.out,
        arguments.device,
        arguments.epochs,
        arguments.limit,
        arguments.parallel,
        None if minutes is None else 60 * minutes,
    )
    jobs = _chosen(arguments.only, arguments.dataset)
    for job in jobs:
        job.full_recipe(settings.epochs)  # raises what every one of them would say later
    return _list(jobs, settings) if arguments.list else _train(jobs, settings)


def _chosen(patterns: Sequence[str], dataset: str | None) -> tuple[Job, ...]:
    from xai.zoo_plan import plan

    jobs = plan(dataset)
    chosen = tuple(job for job in jobs if not patterns or any(fnmatch(job.name, each) for each in patterns))
    if not chosen:
        raise ValueError(
            f"--only {' '.join(patterns)} fits no job of the plan; its names are like {jobs[0].name}."
        )
    return chosen


def _list(jobs: Sequence[Job], settings: Settings) -> int:
    from xai.zoo_state import state

    print(f"{'name':<52} {'MMAC':>8} {'GPU GB':>6} {'cost':>5}  state")
    for job in jobs:
        needs, found = job.estimate, state(job, settings)
        numbers = f"{needs.macs / 1e6:8.1f} {needs.gigabytes:6.1f} {needs.cost:5.1f}"
        print(f"{job.name:<52} {numbers}  {found.kind} {found.detail}".rstrip())
    print("MMAC: millions of multiply-accumulates for one image. GPU GB: estimated memory of the training.")
    print("cost: MACs x epochs beside those of the CIFAR-stem ResNet-18 on the same images.")
    return 0


def _train(jobs: Sequence[Job], settings: Settings) -> int:
    from xai.zoo_run import run

    display = Display(sys.stderr)
    states, number = run(jobs, settings, show=display.show, note=display.note)
    display.show([])
    if os.environ.get("RANK", "0") == "0":  # torchrun's other processes would say the same
        _summary(jobs, settings, states)
    if number:
        return 128 + number
    return 0 if all(found.kind == "done" for found in states.values()) else 1


def _summary(jobs: Sequence[Job], settings: Settings, states: dict[str, State]) -> None:
    from xai.zoo_state import ZooError, finished_card

    print(f"{'name':<52} {'state':<8} {'epochs':>6} {'minutes':>7} {'test %':>6}")
    for job in jobs:
        found, numbers = states[job.name], ""
        try:
            card = finished_card(settings.out / job.name)
            minutes, accuracy = card.training_seconds / 60, percent(card.accuracy["test"])
            numbers = f"{card.epochs:6d} {minutes:7.1f} {accuracy:>6}  {settings.out / job.name}"
        except ZooError:
            numbers = found.detail
        print(f"{job.name:<52} {found.kind:<8} {numbers}".rstrip())


def _collect(arguments: argparse.Namespace) -> int:
    from xai.zoo_collect import collect

    if arguments.into is None:
        raise ValueError("--into is missing: the folder that the results are copied to.")
    written, refused = collect(arguments.collect, arguments.into, arguments.weights)
    for reason in refused.values():
        print(f"left out: {reason}", file=sys.stderr)
    wrote(written)
    return 1 if refused else 0


class Display:
    """Lines of the running trainings: redrawn in a terminal, elsewhere printed once for each epoch."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.drawn = stream, 0
        self.live, self.seen = stream.isatty(), dict[str, int]()

    def note(self, text: str) -> None:
        """Print a line that stays."""
        self._erase()
        print(text, file=self.stream, flush=True)

    def show(self, rows: Sequence[Progress]) -> None:
        """Show how far the running trainings are."""
        self._erase()
        news = rows if self.live else [row for row in rows if row.epoch > self.seen.get(row.name, 0)]
        for row in news:
            print(self._fitted(line(row)), file=self.stream, flush=True)
            self.seen[row.name] = row.epoch
        self.drawn = len(news) if self.live else 0

    def _fitted(self, text: str) -> str:
        """A line that is redrawn must not wrap."""
        return text[: shutil.get_terminal_size().columns - 1] if self.live else text

    def _erase(self) -> None:
        if self.drawn:
            print(f"\x1b[{self.drawn}A\x1b[J", end="", file=self.stream)
            self.drawn = 0


def line(row: Progress) -> str:
    """One running training in a line."""
    if not row.epoch:
        return f"{row.name:<52} epoch  0 of {row.epochs}"
    left = "" if math.isnan(row.seconds_left) else f"  {row.seconds_left / 60:.1f} min left"
    measured = f"loss {row.loss:.3f}  validation accuracy {percent(row.accuracy)} %"
    return f"{row.name:<52} epoch {row.epoch:2d} of {row.epochs}  {measured}{left}"


def _parallel(text: str) -> int | None:
    """A number of trainings at once, or None for `auto`."""
    if text != "auto" and not (text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is neither 'auto' nor a whole number from 1")
    return None if text == "auto" else int(text)


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("zoo", help="train every network of the plan; goes on where it was stopped")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of the trainings (runs)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--only", nargs="+", action="extend", default=[], metavar="GLOB", help="only jobs of such names"
    )
    parser.add_argument("--dataset", help="only this dataset; any but cue10 gets the plan of the CIFAR data")
    parser.add_argument("--parallel", type=_parallel, metavar="N|auto", help="trainings at once (auto)")
    parser.add_argument("--epochs", type=int, help="in place of the recipes' own")
    parser.add_argument("--limit", type=int, help="only so many images of each split, for a trial")
    parser.add_argument("--minutes", type=float, help="stop after so long, each training at its last epoch")
    parser.add_argument("--list", action="store_true", help="print the plan and where it stands")
    parser.add_argument("--collect", type=Path, metavar="DIR", help="copy what the trainings in DIR made")
    parser.add_argument("--into", type=Path, help="with --collect: where to, such as models/checkpoints")
    parser.add_argument(
        "--weights", nargs="+", action="extend", default=[], metavar="NAME", help="ship these with weights"
    )
    parser.set_defaults(run=run_zoo)
