"""The command line's parser and its exit status.

Each command says what it does with a progress bar, ends with the paths it wrote, exits 0 only when the whole job
was done, 1 when some pictures could not be used, and on bad input exits 2 with one line that says what was given
and what is allowed. Libraries are imported where they are used, so that `--help` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from xai.commands import (
    compare,
    crossvalidate,
    data,
    docs,
    embed,
    evaluate,
    explain,
    features,
    models,
    own,
    papers,
    report,
    svm,
    train,
    visualize,
    zoo,
)
from xai.commands.common import Command, Parser
from xai.tables import printable

COMMANDS = (
    models,
    own,
    papers,
    explain,
    features,
    visualize,
    embed,
    train,
    evaluate,
    report,
    compare,
    crossvalidate,
    svm,
    data,
    zoo,
    docs,
)


def build_parser() -> Parser:
    """The whole command line."""
    parser = Parser(prog="python -m xai", description="See how convolutional networks decide.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    for module in COMMANDS:
        module.add(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parsed = build_parser().parse_args(arguments)
    run: Command = parsed.run
    try:
        return run(parsed)
    except (ValueError, OSError) as error:
        print(f"python -m xai: {_one_line(error)}", file=sys.stderr)
        return 2


def _one_line(error: ValueError | OSError) -> str:
    if isinstance(error, OSError) and error.strerror:
        return printable(f"{error.filename or 'a file'} can't be used: {error.strerror}.")
    return printable(" ".join(str(error).split()))
