"""Which pictures of a folder are for training, validation and test."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence

from data.folder_listing import SPLITS, File

HELD_OUT_SHARE = 0.15
"""Share of each class's pictures in a validation or test split that the folder does not have itself."""


def drawn(files: Sequence[File]) -> tuple[str, ...]:
    """The splits that the folder does not have itself."""
    given = {file.split for file in files}
    return tuple(split for split in ("test", "validation") if split not in given)


def split_files(files: Sequence[File], digests: Sequence[bytes]) -> tuple[str, ...]:
    """Split of each file: the one it lies in, or by the order of the hashes of the paths within its class.

    Files of a class with equal `digests` of their pixels go where the first of them goes, so that no network is
    tested on copies of what it was trained on.
    """
    missing = drawn(files)
    splits = [file.split or "train" for file in files]
    pools: dict[int, dict[bytes, list[int]]] = {}
    for row, split in enumerate(splits):
        if split == "train":
            pools.setdefault(files[row].class_index, {}).setdefault(digests[row], []).append(row)
    for pool in pools.values():
        copies = sorted(pool.values(), key=lambda rows: hashlib.sha256(files[rows[0]].path.encode()).digest())
        count = _held_out(len(copies), len(missing))
        # From both ends, so that one more picture moves each of the two borders by one at most.
        ends = {"test": copies[:count], "validation": copies[len(copies) - count :]}
        for split in missing:
            for row in itertools.chain(*ends[split]):
                splits[row] = split
    return tuple(splits)


def _held_out(count: int, splits: int) -> int:
    """How many of a class's `count` different pictures go to each split: at least one where one is left to train."""
    return max(round(HELD_OUT_SHARE * count), 1) if count > splits else 0


def needed(files: Sequence[File]) -> int:
    """How many different pictures a class needs to be in every split that is drawn."""
    return len(drawn(files)) + 1


def absent(split: str, labels: set[int], files: Sequence[File], classes: Sequence[str]) -> tuple[str, ...]:
    """One sentence about the classes without a picture in the split; nothing when all have one."""
    names = [name for number, name in enumerate(classes) if number not in labels]
    if not names or split not in SPLITS:
        return ()
    count = "1 class has" if len(names) == 1 else f"{len(names):,} classes have"
    why = f"; that takes {needed(files)} different pictures of a class" if split in drawn(files) else ""
    return (f"{count} no picture in the {split} split: {some(names)}{why}.",)


def some(names: Sequence[str], most: int = 3) -> str:
    """The first names of many, in words."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
