"""`python -m xai docs`: the reference of the programming interface, and the table of settings."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from xai.commands.common import check_folder, show_progress, wrote


def run_docs(arguments: argparse.Namespace) -> int:
    """Print the settings, or write the reference into a folder."""
    if arguments.settings:
        from xai import settings

        print(settings.as_markdown())
        return 0
    if arguments.out is None:
        raise ValueError("docs was given nothing to do; allowed are --out DIR and --settings.")
    from xai import reference

    check_folder(arguments.out)
    paths = reference.write(arguments.out, (), show_progress())
    wrote(paths[:1])
    return 0


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("docs", help="a reference of all modules as HTML, or the table of settings")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--out", type=Path, metavar="DIR", help="folder for the HTML pages (needs pdoc)")
    form.add_argument("--settings", action="store_true", help="print the environment variables as Markdown")
    parser.set_defaults(run=run_docs)
