"""`python -m xai crossvalidate`: architectures on the same folds, and whether their difference is more than chance."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from xai.commands.common import progress_bar, show_progress, wrote


def run_crossvalidate(arguments: argparse.Namespace) -> int:
    """Train every architecture on every fold, and print how they differ."""
    from xai import crossvalidation as cv
    from xai import crossvalidation_summary

    changes = {name: getattr(arguments, name) for name in ("epochs", "batch_size")}
    settings = cv.Settings(
        arguments.dataset,
        arguments.folds,
        arguments.seed,
        arguments.recipe,
        {name: value for name, value in changes.items() if value is not None},
        {} if arguments.width is None else {"width": arguments.width},
        arguments.limit,
        arguments.device,
    )
    shares: dict[tuple[str, int], float] = {}
    with progress_bar(len(arguments.architectures) * arguments.folds, "folds") as bar:

        def report(architecture: str, fold: int, done: float) -> None:
            shares[architecture, fold] = done
            bar.update(sum(shares.values()) - bar.n)
            bar.set_postfix_str(f"{architecture}, fold {fold + 1}")

        found = cv.crossvalidate(arguments.architectures, settings, arguments.out, report, show_progress())
    print("\n".join(crossvalidation_summary.sentences(found)))
    wrote([arguments.out / name for name in (cv.ROWS_FILE, cv.COMPARISON_FILE)])
    return 0


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "crossvalidate", help="compare architectures by k-fold cross-validation; goes on where it was killed"
    )
    parser.add_argument("--architectures", nargs="+", required=True)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--recipe", default="standard", help="name of a recipe (standard)")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--width", type=int, help="channels of a ResNet's first stage (64)")
    parser.add_argument("--seed", type=int, default=0, help="of the folds and of every training")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--limit", type=int, help="only so many images of each split, for a trial")
    parser.add_argument("--out", type=Path, required=True)
    parser.set_defaults(run=run_crossvalidate)
