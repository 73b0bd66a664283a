"""`python -m xai compare`: how two networks decide, as a report with its evidence; goes on where it was stopped."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xai.commands.common import check_device, check_folder, progress_bar, stop_signals, wrote
from xai.tables import printable

if TYPE_CHECKING:
    from xai.compare.bench import Bench
    from xai.compare.clock import Told
    from xai.compare.run import Compared
    from xai.compare.study import Study

_BAR = "{desc} {percentage:3.0f}%|{bar}| [{elapsed}, left {remaining}]{postfix}"
_OWN, _NONE = "default", "none"
"""How a network's own layer and no degradation are named."""
_WRITING = 0.07
"""Share of the time that drawing and writing take, about."""


def run(arguments: argparse.Namespace) -> int:
    """Compare, or check a report; 0 only when all was done."""
    if arguments.check is not None:
        return _check(arguments)
    _check_arguments(arguments)
    bench = _bench(arguments)
    with stop_signals() as signals:
        bench.cancelled = lambda: bool(signals)
        return _report(bench, arguments, signals)


def _check(arguments: argparse.Namespace) -> int:
    """Compute every number of a report again from its rows."""
    from xai.compare.story_check import check

    if arguments.models or arguments.dataset or arguments.out:
        raise ValueError("--check takes the folder of a report, and nothing else.")
    found = check(arguments.check)
    print(f"xai compare: {printable(found)}" if found else "every number is what the rows give")
    return 1 if found else 0


def _check_arguments(arguments: argparse.Namespace) -> None:
    """Raise `ValueError` for what is missing or can't be used, before anything is computed."""
    from data.datasets import dataset
    from xai.compare.run import selected

    if len(arguments.models) != 2:
        raise ValueError(f"compare takes two networks; {len(arguments.models)} were given.")
    for name in ("dataset", "out"):
        if getattr(arguments, name) is None:
            raise ValueError(f"--{name} was not given; it is needed.")
    check_folder(arguments.out)
    check_device(arguments.device)
    dataset(arguments.dataset)
    selected(arguments.sections)


def _study(arguments: argparse.Namespace) -> Study:
    from xai.compare.study import Study

    names, scale = _degradations(arguments)
    a, b = ("" if layer == _OWN else layer for layer in arguments.layers)
    return Study(
        models=tuple(arguments.models),
        dataset=arguments.dataset,
        split=arguments.split,
        limit=arguments.limit,
        method=arguments.method,
        layers=(a, b),
        degradations=names,
        scale=scale,
        seed=arguments.seed,
    )


def _degradations(arguments: argparse.Namespace) -> tuple[tuple[str, ...], str]:
    """The degradations' names and the scale: a set's own where a set is named."""
    from data import degradations
    from xai.evaluation_grid import PAPER, SETS

    given, scale = arguments.degradations, arguments.scale
    if given == [_NONE]:
        return (), scale
    sets = [name for name in given if name in SETS]
    if not sets:
        return tuple(given), scale
    if len(given) > 1:
        raise ValueError(f"--degradations names the set {sets[0]} and more; a set stands alone.")
    name = sets[0]
    if name == "paper":
        return PAPER, scale
    if scale and degradations.resolve_scale(scale) != SETS[name]:
        raise ValueError(f"--scale is {scale!r}; the set {name} has its own, {SETS[name]!r}.")
    return degradations.degradations_in(SETS[name]), SETS[name]


def _bench(arguments: argparse.Namespace) -> Bench:
    from models import zoo
    from xai.compare.bench import Bench

    bench = Bench(_study(arguments), load=lambda name: zoo.load(name, arguments.device))
    _ = bench.facts  # says now what can't be asked of these networks
    return bench


def _report(bench: Bench, arguments: argparse.Namespace, signals: list[int]) -> int:
    """Measure, write, and say what was found."""
    from xai.compare import kept, story
    from xai.compare.run import run as compare
    from xai.evaluation import Cancelled

    try:
        with progress_bar(1, "comparing") as bar:
            bar.bar_format, bar.smoothing = (
                _BAR,
                0,
            )  # the time left is from the whole time, not the last second
            compared = compare(
                bench, arguments.out / kept.ROWS, arguments.sections, _shares(bar, 0, 1 - _WRITING)
            )
            bench.tell(1, 1, "")
            options, started = story.Options(pictures=arguments.pictures), time.monotonic()
            paths = story.write(compared, arguments.out, bench, options, _shares(bar, 1 - _WRITING, 1))
            writing = time.monotonic() - started
    except Cancelled:
        print("xai compare: stopped; the same command goes on from here.", file=sys.stderr)
        return 128 + signals[0]
    print("\n".join(_said(compared)))
    print("\n".join(_timings(compared)))
    print(f"{sum(compared.seconds.values()):.1f} s of measuring, {writing:.1f} s of drawing and writing")
    wrote(_places(paths, arguments.out))
    return 1 if compared.failed else 0


def _places(paths: Sequence[Path], out: Path) -> list[Path]:
    """The files that lie in the report's folder, and the folders of the others."""
    return list(dict.fromkeys(out / path.relative_to(out).parts[0] for path in paths))


def _shares(bar: Any, start: float, end: float) -> Told:
    """A progress callback that moves the bar from one share of the whole to another."""

    def tell(done: float, total: float, what: str) -> None:
        share = start + (end - start) * (done / total if total else 1.0)
        bar.set_postfix_str(what, refresh=False)
        bar.update(max(0.0, share - bar.n))

    return tell


def _said(compared: Compared) -> list[str]:
    """A line for each section: its verdict, or why it has none."""
    from xai.compare.sections import section

    lines = {name: found.verdict for name, found in compared.found.items()}
    lines |= {name: f"not asked: {why}" for name, why in compared.skipped.items()}
    lines |= {name: f"failed: {why}" for name, why in compared.failed.items()}
    return [printable(f"{section(name).title}: {words}") for name, words in lines.items()]


def _timings(compared: Compared) -> list[str]:
    """Where the time went, as a table; empty cells are rows that were there already."""
    from xai import tables

    rows = [
        {
            "section": name,
            "measured (s)": compared.seconds.get(name),
            "summarised (s)": compared.summarising[name],
            "tasks": compared.tasks.get(name),
        }
        for name in compared.found
    ]
    return tables.as_text(rows)


def _limit(text: str) -> int | None:
    """A number of images; 0 and `all` are all of them."""
    if text in ("0", "all"):
        return None
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} was given; allowed are whole numbers and all")
    return int(text)


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "compare", help="how two networks decide, as a report with its evidence; goes on where it was stopped"
    )
    parser.add_argument("models", nargs="*", metavar="NETWORK", help="two names, A and B")
    parser.add_argument("--dataset", help="such as cifar10-jpeg, cue10 or folder:PATH")
    parser.add_argument("--split", default="test", help="such as test (test)")
    parser.add_argument("--limit", type=_limit, default=2_000, help="images; 0 or all: every one (2000)")
    parser.add_argument("--method", default="gradcam", help="of the heatmaps: a gradient CAM (gradcam)")
    parser.add_argument(
        "--layers",
        nargs=2,
        default=(_OWN, _OWN),
        metavar="LAYER",
        help="tapped in A and B (default: their own)",
    )
    words = "paper, cifar-c, imagenet-c, names of degradations, or none (paper)"
    parser.add_argument("--degradations", nargs="+", default=["paper"], metavar="NAME", help=words)
    words = "paper-relative, paper-literal, cifar-c or imagenet-c (what fits the degradations)"
    parser.add_argument("--scale", default="", help=words)
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn at random (0)")
    parser.add_argument("--sections", nargs="+", metavar="NAME", help="only these (all)")
    words = "leave out figures that show images of the dataset"
    parser.add_argument("--no-pictures", dest="pictures", action="store_false", help=words)
    parser.add_argument("--device", default="cpu", help="where the networks run (cpu)")
    parser.add_argument("--out", type=Path, help="folder of the report")
    words = "compute every number of a report again from its rows, and compare"
    parser.add_argument("--check", type=Path, metavar="DIR", help=words)
    parser.set_defaults(run=run)
