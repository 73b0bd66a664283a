"""`python -m xai papers` and `ablations`: what papers claim, beside what our networks show."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from xai.commands.common import wrote


def run_papers(arguments: argparse.Namespace) -> int:
    """Print the claimed numbers beside ours, or write them into a file."""
    from models import zoo
    from xai import papers, tables

    rows = papers.rows(zoo.records())
    if arguments.latex:
        return _give(papers.as_latex(rows), arguments.out)
    if arguments.csv:
        return _give(tables.as_csv(papers.table(rows)), arguments.out)
    return _give("\n".join(papers.as_text(rows)) + "\n", arguments.out)


def run_ablations(arguments: argparse.Namespace) -> int:
    """Print the claimed improvements beside ours, or write them into a file."""
    from models import zoo
    from xai import ablations, network_table, tables

    known = zoo.records()
    cells = ablations.table(
        ablations.rows(known, lambda name: network_table.readable_predictions(known[name]))
    )
    if arguments.latex:
        return _give(tables.as_latex(cells, ablations.CAPTION, wide=ablations.WIDE), arguments.out)
    if arguments.csv:
        return _give(tables.as_csv(cells), arguments.out)
    return _give("\n".join(tables.as_text(cells)) + "\n", arguments.out)


def _give(words: str, out: Path | None) -> int:
    from models.files import write_text

    if out is None:
        print(words, end="")
    else:
        write_text(out, words)
        wrote([out])
    return 0


def _add(commands: Any, name: str, words: str, run: Any) -> None:
    parser = commands.add_parser(name, help=words)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--latex", action="store_true", help="a longtable with the rules of booktabs")
    form.add_argument("--csv", action="store_true", help="comma-separated values")
    parser.add_argument("--out", type=Path, help="file to write (otherwise it is printed)")
    parser.set_defaults(run=run)


def add(commands: Any) -> None:
    """Add the commands' parsers."""
    _add(commands, "papers", "the numbers that papers claim, beside ours", run_papers)
    _add(commands, "ablations", "the improvements that papers claim, beside ours", run_ablations)
