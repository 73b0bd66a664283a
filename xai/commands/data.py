"""`python -m xai data`: fetch or unpack datasets."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from xai.commands.common import Parser, show_progress, wrote


def run_fetch(arguments: argparse.Namespace) -> int:
    """Download a dataset, or draw it."""
    from data.catalogue import dataset, load_dataset

    entry, progress = dataset(arguments.name), show_progress()
    if entry.fetch:
        entry.fetch(progress)
    for split in entry.splits:
        print(f"{entry.name} {split}: {len(load_dataset(entry.name, split, progress)):,} images")
    return 0


def run_unpack(arguments: argparse.Namespace) -> int:
    """Unpack the archive of cifar10-jpeg."""
    from data.catalogue import cifar

    wrote([cifar.unpack_archive(arguments.archive, show_progress())])
    return 0


def add(commands: Any) -> None:
    """Add the command's parser."""
    data = commands.add_parser("data", help="fetch or unpack datasets")
    kinds = data.add_subparsers(required=True, metavar="ACTION", parser_class=Parser)
    fetch = kinds.add_parser("fetch", help="download or draw a dataset")
    fetch.add_argument("name")
    fetch.set_defaults(run=run_fetch)
    unpack = kinds.add_parser("unpack", help="unpack the archive of cifar10-jpeg")
    unpack.add_argument("archive", type=Path)
    unpack.set_defaults(run=run_unpack)
