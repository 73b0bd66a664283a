"""`python -m xai evaluate`: what networks answer to a dataset, clean and degraded, image by image."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xai.commands.common import check_device, percent, progress_bar, show_progress, stop_signals, wrote

if TYPE_CHECKING:
    from models.cards import Card
    from xai.evaluation import Engine, Summary
    from xai.evaluation_grid import Cell
    from xai.evaluation_store import Row

_BAR = "{desc} {percentage:3.0f}%|{bar}| {n:.1f}/{total} [{elapsed}<{remaining}]{postfix}"


def run_evaluate(arguments: argparse.Namespace) -> int:
    """Compute what is missing, and say how accurate every network is under every condition."""
    from xai.evaluation_grid import where_told
    from xai.evaluation_store import summary_rows, write_summary

    cells = _cells(arguments)
    for line in where_told(cells):
        print(f"xai evaluate: {line}", file=sys.stderr)
    summary, signals = _sweep(cells, arguments)
    rows, problems = summary_rows(arguments.out, summary.failed)
    table = write_summary(arguments.out, rows)
    for line in (*summary.notes, *problems):
        print(f"xai evaluate: {line}", file=sys.stderr)
    for line in _failures(summary.failed):
        print(f"xai evaluate: {line}", file=sys.stderr)
    print("\n".join(_accuracies(cells, rows)))
    done = len(summary.computed) + len(summary.skipped)
    print(
        f"{done} of {len(cells)} cells are stored: {len(summary.computed)} computed, {len(summary.skipped)} before"
    )
    wrote([*dict.fromkeys((arguments.out / cell.path).parent for cell in summary.computed), table])
    if summary.cancelled:
        print("xai evaluate: stopped; the same command goes on from here.", file=sys.stderr)
        return 128 + signals[0]
    return 0 if done == len(cells) else 1


def _failures(failed: Mapping[Cell, str]) -> list[str]:
    """One sentence for each reason, with the number of cells."""
    reasons: dict[str, list[Cell]] = {}
    for cell, reason in failed.items():
        reasons.setdefault(reason, []).append(cell)
    return [_failure(reason, cells) for reason, cells in reasons.items()]


def _failure(reason: str, cells: Sequence[Cell]) -> str:
    first = f"{cells[0].model}, {cells[0].condition}"
    return (
        f"{first}: {reason}" if len(cells) == 1 else f"{len(cells):,} cells failed, first {first}: {reason}"
    )


def _cells(arguments: argparse.Namespace) -> tuple[Cell, ...]:
    from xai.evaluation_grid import grid

    check_device(arguments.device)
    for name in ("limit", "batch_size", "workers"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name.replace('_', '-')} is {value}; it must be at least 1.")
    return grid(
        [arguments.dataset],
        _cards(arguments.models),
        arguments.degradations,
        severities=arguments.severities,
        scale=arguments.scale,
        split=arguments.split,
        seed=arguments.seed,
        remedies=arguments.remedies,
        precision=arguments.precision,
        limit=arguments.limit or 0,
    )


def _cards(names: Sequence[str]) -> list[Card]:
    """The cards of the networks named; ImageNet's are downloaded for it."""
    from models import zoo

    known = zoo.cards()
    return [known[name] if name in known else zoo.load(name).card for name in dict.fromkeys(names)]


def _sweep(cells: Sequence[Cell], arguments: argparse.Namespace) -> tuple[Summary, list[int]]:
    """Run the sweep with a progress bar; returns the signals that stopped it, too."""
    from xai.evaluation import sweep

    bars = progress_bar(len(cells), "cells")
    with bars as bar, stop_signals() as signals, _engine(arguments) as engine:
        bar.bar_format = _BAR

        def report(done: float, total: int, what: str) -> None:
            bar.total = total
            bar.set_postfix_str(what, refresh=False)
            bar.update(done - bar.n)

        summary = sweep(
            cells,
            arguments.out,
            device=arguments.device,
            batch_size=arguments.batch_size,
            compact=arguments.compact,
            progress=report,
            loading=show_progress(),
            cancelled=lambda: bool(signals),
            engine=engine,
        )
    return summary, signals


def _engine(arguments: argparse.Namespace) -> contextlib.AbstractContextManager[Engine | None]:
    """Where the networks are asked, None for here; a choice between the two only, as argparse sees to it."""
    if arguments.engine == "ray":
        from xai.evaluation_ray import ray_engine

        return ray_engine(arguments.workers)
    if arguments.workers:
        raise ValueError(f"--workers is {arguments.workers}, but only --engine ray has workers.")
    return contextlib.nullcontext()


def _accuracies(cells: Sequence[Cell], rows: Mapping[Cell, Row]) -> list[str]:
    """Accuracy of every network (columns) under every condition, in percent, with its 95 % interval."""
    from xai import tables

    lines: dict[tuple[str, str], Row] = {}
    for cell in cells:
        line = lines.setdefault(
            (cell.condition, cell.scale), {"condition": cell.condition, "scale": cell.scale}
        )
        row = rows.get(cell)
        line["images"] = line.get("images") or (row["n"] if row else None)
        line[cell.model] = _interval(row)
    return tables.as_text(list(lines.values()))


def _interval(row: Row | None) -> str:
    if row is None:
        return "not computed"
    if row["failure"]:
        return "failed"
    accuracy, low, high = (percent(float(row[name])) for name in ("accuracy", "low", "high"))  # type: ignore[arg-type]
    return f"{accuracy} ({low} to {high})"


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "evaluate", help="what networks answer to a dataset, clean and degraded; goes on where it was stopped"
    )
    parser.add_argument("--models", nargs="+", required=True, metavar="NAME")
    parser.add_argument("--dataset", required=True)
    parser.add_argument(
        "--degradations",
        nargs="+",
        required=True,
        metavar="NAME",
        help="paper, cifar-c, imagenet-c, clean, or names of degradations",
    )
    parser.add_argument(
        "--severities", nargs="+", type=float, metavar="S", help="all whole ones, if not given"
    )
    parser.add_argument(
        "--remedies",
        nargs="+",
        default=["none"],
        metavar="NAME",
        help="repairs before the network: none, blind, told, all, or names such as nlm or nlm+told (none)",
    )
    parser.add_argument("--scale", help="paper-relative, paper-literal, cifar-c or imagenet-c")
    parser.add_argument("--split", default="test", help="such as test (test), or all of a folder of pictures")
    parser.add_argument("--limit", type=int, help="only so many images, evenly spread")
    parser.add_argument("--seed", type=int, default=0, help="of what degradations draw")
    _add_computing(parser)
    parser.add_argument("--out", type=Path, required=True)
    parser.set_defaults(run=run_evaluate)


def _add_computing(parser: Any) -> None:
    """How answers are computed and stored."""
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32", help="fp32 or bf16 (fp32)")
    parser.add_argument("--batch-size", type=int, help="images at a time; the results don't depend on it")
    parser.add_argument(
        "--compact", action="store_true", help="store no probabilities of classes neither right nor predicted"
    )
    parser.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="ray: on Ray Data, on one machine or many (local)",
    )
    parser.add_argument("--workers", type=int, help="processes of --engine ray (one per core)")
