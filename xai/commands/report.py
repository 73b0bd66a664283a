"""`python -m xai report`: all tables and figures of stored answers, in one folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from xai.commands.common import show_progress, wrote


def run_report(arguments: argparse.Namespace) -> int:
    """Write tables, figures, an index and a LaTeX file; 1 when some stored answers could not be read."""
    from xai import report
    from xai.result_folders import open_results

    if not arguments.results.is_dir():
        raise ValueError(f"{arguments.results} is no folder; give one that `python -m xai evaluate` wrote.")
    found = open_results([arguments.results])
    for note in found.notes:
        print(f"xai report: {note}", file=sys.stderr)
    if not found.boards:
        raise ValueError(
            f"{arguments.results} holds no answers that can be used; `python -m xai evaluate` writes them."
        )
    parts = report.parts(list(found.boards.values()), arguments.models)
    paths = report.write(parts, arguments.out, found.notes, show_progress())
    problems = report.problems(parts)
    for sentence in problems:
        print(f"xai report: {sentence}", file=sys.stderr)
    wrote(paths)
    return 1 if problems else 0


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("report", help="all tables and figures of what `evaluate` stored")
    parser.add_argument(
        "--results", type=Path, required=True, metavar="DIR", help="folder that evaluate wrote"
    )
    parser.add_argument(
        "--models",
        nargs="+",
        default=[],
        metavar="NAME",
        help="only these; the first two are compared closely (default: all that were asked)",
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.set_defaults(run=run_report)
