"""`python -m xai data`: fetch or unpack datasets, and check, map and try folders of pictures."""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xai.commands.common import Parser, check_folder, show_progress, wrote
from xai.tables import Rows, as_text, printable

if TYPE_CHECKING:
    from data.class_names import ClassMapping
    from data.folder_check import Checked

SHOWN = 10
"""Files that are left out and printed by name, and classes in one line."""


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
    """Unpack the archive of cifar10-jpeg, or anyone's ZIP of pictures."""
    import zipfile

    from data.catalogue import cifar

    if zipfile.is_zipfile(arguments.archive) or arguments.archive.suffix.lower() == ".zip":
        return _unpack_upload(arguments.archive)
    wrote([cifar.unpack_archive(arguments.archive, show_progress())])
    return 0


def _unpack_upload(archive: Path) -> int:
    from data.catalogue import uploads

    with archive.open("rb") as content:
        upload = uploads.store(content, archive.name, keep=True, progress=show_progress())
    print(f"{upload.unpacked.files:,} files of {archive.name} are the dataset {upload.name}")
    _print_skipped(upload.unpacked.skipped)
    wrote([upload.unpacked.root])
    return 0


def run_check(arguments: argparse.Namespace) -> int:
    """Print what is in somebody's pictures; 1 when a split can't be had."""
    from data.folder_check import check

    found = check(arguments.name, show_progress())
    for line in as_text(_class_rows(found)):
        print(printable(line))
    for sentence in (*_facts(found), *found.copies_told):
        print(printable(sentence))
    _print_skipped(found.skipped)
    for problem in found.problems:
        print(printable(f"problem: {problem}"))
    return 1 if found.problems else 0


def _class_rows(found: Checked) -> Rows:
    known = found.mapping.pairs if found.mapping else {}
    columns = list(zip(*found.counts.values(), strict=True))
    return [
        {"class": name}
        | ({"network's class": known.get(name) or "(left out)"} if known else {})
        | dict(zip(found.counts, counts, strict=True))
        for name, counts in zip(found.classes, columns, strict=True)
    ]


def _facts(found: Checked) -> list[str]:
    """Totals, how the splits came about, sizes and masks, one line each."""
    totals = found.totals
    lines = [f"{found.class_words}; " + ", ".join(f"{n:,} {split}" for split, n in totals.items())]
    if found.drawn:
        lines.append(f"not given, so drawn from hashes of the paths: {' and '.join(found.drawn)}")
    if found.sizes:
        small, middle, large = (f"{width}x{height}" for width, height in found.sizes)
        lines.append(f"sizes: smallest {small}, middle {middle}, largest {large} px")
    masks = ", ".join(f"{found.masks[split]:,} of {n:,} {split}" for split, n in totals.items())
    lines.append(f"masks: {masks}" if sum(found.masks.values()) else "masks: none")
    return lines


def _print_skipped(skipped: Sequence[tuple[str, str]]) -> None:
    if not skipped:
        return
    print(f"left out: {len(skipped):,} files or folders")
    for name, reason in skipped[:SHOWN]:
        print(printable(f"  {name} {reason}"))
    if len(skipped) > SHOWN:
        kinds = Counter(reason for _name, reason in skipped).most_common(SHOWN)
        print("  ...; in all " + printable("; ".join(f"{count:,}: {reason}" for reason, count in kinds)))


def run_map(arguments: argparse.Namespace) -> int:
    """Match a folder's classes with a network's by name, and write the file that says so."""
    from data import class_names
    from data.catalogue import folder
    from data.folder_listing import list_folder

    place, _size = folder.locate(_of_folder(arguments.name))
    own = list_folder(place).classes
    known = arguments.classes or _classes_of(arguments.model)
    mapping = class_names.propose(own, known).corrected(_corrections(arguments.set), known)
    for line in as_text(_mapping_rows(mapping)):
        print(printable(line))
    class_names.check(mapping, own)
    wrote([class_names.write(place.root, mapping)])
    return 0


def _of_folder(name: str) -> str:
    if not name.startswith("folder:"):
        raise ValueError(f"{name!r} is no folder of pictures; allowed is folder:PATH.")
    return name


def _classes_of(model: str) -> tuple[str, ...]:
    from models import zoo

    known = zoo.records()
    return known[model].classes if model in known else zoo.load(model).classes


def _corrections(words: Sequence[str]) -> dict[str, str | None]:
    """`OWN=KNOWN` as pairs; `OWN=` leaves a class out."""
    for word in words:
        if not re.fullmatch(r"[^=]+=.*", word):
            raise ValueError(f"--set got {word!r}; allowed is OWN=KNOWN, or OWN= to leave a class out.")
    pairs = (word.partition("=") for word in words)
    return {own: known or None for own, _sign, known in pairs}


def _mapping_rows(mapping: ClassMapping) -> Rows:
    from data.class_names import HOW

    return [
        {
            "class": each.own,
            "network's class": (each.known if each.sure else None) or "(left out)",
            "how": HOW[each.how] + (f" with --set '{each.own}={each.known}'" if _is_proposal(each) else ""),
        }
        for each in mapping.matches
    ]


def _is_proposal(match: Any) -> bool:
    return match.known is not None and not match.sure


def run_sample(arguments: argparse.Namespace) -> int:
    """Write a small folder of pictures to try everything on."""
    from data import example_folder

    check_folder(arguments.out)
    wrote([example_folder.write(arguments.out)])
    counts = " and ".join(f"{count} {split}" for split, count in example_folder.COUNTS.items())
    print(f"{len(example_folder.SOURCES)} classes of {counts} pictures: the dataset folder:{arguments.out}")
    return 0


def add(commands: Any) -> None:
    """Add the command's parser."""
    data = commands.add_parser("data", help="fetch or unpack datasets, check or map your own pictures")
    kinds = data.add_subparsers(required=True, metavar="ACTION", parser_class=Parser)
    fetch = kinds.add_parser("fetch", help="download or draw a dataset")
    fetch.add_argument("name")
    fetch.set_defaults(run=run_fetch)
    unpack = kinds.add_parser("unpack", help="unpack the archive of cifar10-jpeg, or a ZIP of your pictures")
    unpack.add_argument("archive", type=Path)
    unpack.set_defaults(run=run_unpack)
    _add_own(kinds)


def _add_own(kinds: Any) -> None:
    look = kinds.add_parser(
        "check", help="classes, splits, copies, masks and what is left out of your pictures"
    )
    look.add_argument("name", metavar="folder:PATH|upload:HASH")
    look.set_defaults(run=run_check)
    match = kinds.add_parser(
        "map", help="match your classes with a network's by name, into PATH/classes.json"
    )
    match.add_argument("name", metavar="folder:PATH")
    known = match.add_mutually_exclusive_group(required=True)
    known.add_argument("--model", metavar="NAME", help="the network whose classes they are")
    known.add_argument("--classes", nargs="+", metavar="NAME", help="the classes themselves")
    match.add_argument(
        "--set", nargs="+", default=[], metavar="OWN=KNOWN", help="your word for a class; OWN= leaves it out"
    )
    match.set_defaults(run=run_map)
    sample = kinds.add_parser("sample", help="write an example folder of textures to train and evaluate on")
    sample.add_argument("--out", type=Path, required=True, metavar="DIR")
    sample.set_defaults(run=run_sample)
