"""What is in somebody's folder or archive of pictures, all at once, before a network is trained or asked on it."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import NamedTuple

from data import class_names, folder, uploads
from data.class_names import ClassMapping
from data.datasets import DatasetError, Progress
from data.folder_copies import Copies, find_copies
from data.folder_listing import SPLITS, Listing, Place, Skipped, list_folder
from data.folder_reading import Outcome
from data.folder_splits import drawn, split_files


class Sizes(NamedTuple):
    """Smallest, middle and largest picture, by their pixels, as (width, height) px."""

    smallest: tuple[int, int]
    middle: tuple[int, int]
    largest: tuple[int, int]


@dataclass(frozen=True)
class Checked:
    """What was found.

    `counts` is by split the number of pictures of each class, `masks` how many of those in use have one; `copies` are
    rows of `paths`,
    `drawn` the splits that the folder does not have itself, and `problems` sentences about splits that can't be had.
    """

    name: str
    classes: tuple[str, ...]
    counts: dict[str, tuple[int, ...]]
    masks: dict[str, int]
    skipped: tuple[Skipped, ...]
    paths: tuple[str, ...]
    copies: Copies
    sizes: Sizes | None
    mapping: ClassMapping | None
    drawn: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def totals(self) -> dict[str, int]:
        """By split the number of pictures in use: classes that a mapping leaves out don't count."""
        used = _used(self.classes, self.mapping)
        return {
            split: sum(count for count, kept in zip(counts, used, strict=True) if kept)
            for split, counts in self.counts.items()
        }

    @property
    def class_words(self) -> str:
        """How many classes there are: those of the network, where names are mapped to its own."""
        if self.mapping is None:
            return f"{len(self.classes):,} classes"
        used = len(self.classes) - len(self.mapping.left_out)
        return f"{len(self.mapping.classes):,} classes of a network, from {used:,} of {len(self.classes):,} folders"

    @property
    def copies_told(self) -> tuple[str, ...]:
        """One sentence for each kind of copies across splits."""
        return self.copies.sentences(self.paths)


def locate(name: str) -> tuple[Place, int, str]:
    """Where the pictures of a `folder:` or `upload:` lie, their side, and a name for files about them.

    Raises `DatasetError` for any other name, or where there is nothing.
    """
    families = {folder.PREFIX: folder, uploads.PREFIX: uploads}
    family = families.get(name.partition(":")[0])
    if family is None:
        raise DatasetError(f"{name!r} is no dataset of your own; allowed are folder:PATH and upload:HASH.")
    return (*family.locate(name), family.file_stem(name))


def check(name: str, progress: Progress | None = None) -> Checked:
    """Look at every picture of a `folder:` or `upload:` once; raises `DatasetError` where it is none at all."""
    place, size, stem = locate(name)
    listing = list_folder(place, size)
    outcomes = folder.examined(listing, stem, progress)
    readable = [(file, each) for file, each in zip(listing.files, outcomes, strict=True) if not each.reason]
    files = [file for file, _outcome in readable]
    digests = [each.digest for _file, each in readable]
    places = split_files(files, digests)
    mapping, problems = _mapping(listing)
    used = _used(listing.classes, mapping)
    masked = {file.path for file in files if used[file.class_index]} & dict(listing.masks).keys()
    return Checked(
        listing.name,
        listing.classes,
        {
            split: _counts(split, places, [f.class_index for f in files], len(listing.classes))
            for split in SPLITS
        },
        {
            split: sum(p == split and f.path in masked for p, f in zip(places, files, strict=True))
            for split in SPLITS
        },
        (*listing.skipped, *folder.unreadable(listing, outcomes)),
        tuple(file.path for file in files),
        find_copies(places, digests, [each.look for _file, each in readable]),
        _sizes([each for _file, each in readable]),
        mapping,
        drawn(files),
        (*problems, *_problems(listing, outcomes)),
    )


def _used(classes: tuple[str, ...], mapping: ClassMapping | None) -> tuple[bool, ...]:
    """Which classes are in use."""
    return tuple(mapping is None or mapping.pairs[name] is not None for name in classes)


def _counts(split: str, places: tuple[str, ...], labels: list[int], classes: int) -> tuple[int, ...]:
    inside = [label for place, label in zip(places, labels, strict=True) if place == split]
    return tuple(inside.count(number) for number in range(classes))


def _sizes(outcomes: list[Outcome]) -> Sizes | None:
    ordered = sorted(((each.width, each.height) for each in outcomes), key=lambda size: size[0] * size[1])
    if not ordered:
        return None
    return Sizes(ordered[0], ordered[statistics.median_low(range(len(ordered)))], ordered[-1])


def _mapping(listing: Listing) -> tuple[ClassMapping | None, tuple[str, ...]]:
    try:
        return class_names.read(listing.root, listing.classes), ()
    except DatasetError as error:
        return None, (str(error),)


def _problems(listing: Listing, outcomes: list[Outcome]) -> tuple[str, ...]:
    """Why splits can't be had, each reason once."""
    problems: dict[str, None] = {}
    for split in SPLITS:
        try:
            folder.part_of(listing, split, outcomes)
        except DatasetError as error:
            problems[str(error)] = None
    return tuple(problems)
