"""`python -m xai papers`: the numbers that papers claim beside ours."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from xai.commands.common import wrote


def run_papers(arguments: argparse.Namespace) -> int:
    """Print the table, or write it into a file."""
    from models import zoo
    from models.files import write_text
    from xai import papers, tables

    rows = papers.rows(zoo.records())
    if arguments.latex:
        words = papers.as_latex(rows)
    elif arguments.csv:
        words = tables.as_csv(papers.table(rows))
    else:
        words = "\n".join(papers.as_text(rows)) + "\n"
    if arguments.out is None:
        print(words, end="")
        return 0
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    write_text(arguments.out, words)
    wrote([arguments.out])
    return 0


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("papers", help="the numbers that papers claim, beside ours")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--latex", action="store_true", help="a longtable with the rules of booktabs")
    form.add_argument("--csv", action="store_true", help="comma-separated values")
    parser.add_argument("--out", type=Path, help="file to write (otherwise it is printed)")
    parser.set_defaults(run=run_papers)
