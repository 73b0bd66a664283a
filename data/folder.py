"""Anyone's own pictures as a dataset: `folder:PATH`, one sub-folder per class.

`folder:PATH` makes every picture a square of 64 px (centre crop, antialiased), `folder:PATH@96` one of 96 px. Any
format that the intake reads will do, also in folders within a class's folder. Where PATH itself holds `train` and
one of `validation` (or `val`) and `test`, those are the splits, each with one sub-folder per class. A split that is
not given is taken from the others' pictures: within every class the files are put in the order of a hash of
their path, and the first 15 % are the test split, the last 15 % validation. So the split is the same on every
machine, and a new picture moves at most two others of its class; exact copies of a picture stay with it. The split
`all` is all pictures. Links that lead out of the folder are not followed. The path comes from the command line or
Python; a page must never pass on one that a visitor typed.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath, PurePosixPath
from typing import NamedTuple

import torch
from torch import Tensor

from data.datasets import Dataset, DatasetError, ImageSet, Progress, register_family
from data.folder_stream import ImageStream, Outcome, digest_of, examine, read_square, refusal
from data.images import DEFAULT_LIMITS, ImageError, display_name

PREFIX = "folder"
SPLITS = ("train", "validation", "test")
ALL = "all"
"""The split of all pictures, for networks that were trained on others."""
HELD_OUT_SHARE = 0.15
"""Share of each class's pictures in a validation or test split that the folder does not have itself."""
DEFAULT_SIZE = 64
SIZES = range(8, 513)
CLASS_COUNTS = range(2, 1_001)
MAX_FILES = 200_000
MAX_DEPTH = 16
MAX_MEMORY = 4 * 2**30
"""Limits: side in px, classes, files looked at, levels of folders, and bytes of all pictures decoded into memory."""

_SPLIT_FOLDERS = {"train": ("train",), "validation": ("validation", "val"), "test": ("test",)}
_KEPT = 2
_lock = threading.Lock()


@dataclass(frozen=True)
class File:
    """One file: path from the root, with its class, the split it was put in (None: not said), bytes and mtime."""

    path: str
    class_index: int
    split: str | None
    bytes: int
    modified: int


class Skipped(NamedTuple):
    """A file or folder that is left out: its name, safe to display, and the rest of a sentence about it."""

    name: str
    reason: str


@dataclass(frozen=True)
class Listing:
    """What lies in a folder, before any picture is read, and what is left out."""

    root: Path
    size: int
    classes: tuple[str, ...]
    files: tuple[File, ...]
    skipped: tuple[Skipped, ...]

    @property
    def name(self) -> str:
        """The dataset's full name, the same from wherever the folder is named."""
        return f"{PREFIX}:{self.root}" + ("" if self.size == DEFAULT_SIZE else f"@{self.size}")


Decoded = tuple[Tensor, tuple[int, ...], tuple[Skipped, ...]]
"""Pictures uint8 `(N, 3, size, size)`, the rows of the listing that they are of, and the others."""

_cache: OrderedDict[Listing, Decoded] = OrderedDict()


def folder_dataset(name: str) -> Dataset:
    """The dataset of a name `folder:PATH` or `folder:PATH@SIZE`; looks at the files' names, and reads none.

    Raises `DatasetError` with one sentence when there is no such folder, or not as many classes or files as allowed.
    """
    root, size = _parse(name)
    listing = list_folder(root, size)
    title = f"pictures in {display_name(root.name)}"
    return Dataset(
        listing.name,
        title,
        (*SPLITS, ALL),
        listing.classes,
        size,
        partial(_load, listing),
        open=partial(_open, listing),
    )


def file_stem(name: str) -> str:
    """A name for files about the dataset `name`, such as `folder-pets-3f2a91bc`; without the path that it holds."""
    root, size = _parse(name)
    digest = hashlib.sha256(os.fsencode(root)).hexdigest()[:8]
    short = re.sub(r"[^A-Za-z0-9]+", "_", root.name).strip("_")[:40]
    side = "" if size == DEFAULT_SIZE else f"-{size}px"
    return "-".join(part for part in (PREFIX, short, digest) if part) + side


def _parse(name: str) -> tuple[Path, int]:
    given = name.removeprefix(f"{PREFIX}:")
    match = re.fullmatch(r"(.*)@(\d{1,6})", given, re.DOTALL)
    path, size = (match[1], int(match[2])) if match else (given, DEFAULT_SIZE)
    if size not in SIZES:
        raise DatasetError(f"the size after @ is {size} px; allowed are {SIZES[0]} to {SIZES[-1]}.")
    try:
        root = Path(path).expanduser().resolve()
        root.as_posix().encode()  # it is written into cards
        if path and root.is_dir():
            return root, size
    except (OSError, ValueError, RuntimeError):
        pass
    shown = path.encode(errors="replace").decode()
    raise DatasetError(f"there is no folder {shown!r}; a dataset of pictures is named folder:PATH.")


def list_folder(root: Path, size: int = DEFAULT_SIZE) -> Listing:
    """Classes and files of a folder; raises `DatasetError` when they are fewer or more than allowed."""
    skipped: list[Skipped] = []
    paths = list(_walk(root, skipped))
    given = _given_splits(path.parts for path in paths)
    placed = [(path, *_place(path.parts, given)) for path in paths]
    skipped += [
        Skipped(_shown(path), "is in no class's folder") for path, _split, folder in placed if not folder
    ]
    folders = {split: {f for _path, s, f in placed if f and s == split} for split in (*SPLITS, None)}
    classes = _class_names(folders["train"] or folders[None], root)
    for split in ("validation", "test"):
        for folder in sorted(folders[split] - classes.keys()):
            raise DatasetError(f"the class {display_name(folder)} of {root} is in {split} but not in train.")
    numbers = {folder: k for k, folder in enumerate(classes)}
    files = [_file(root, path, split, numbers[folder]) for path, split, folder in placed if folder in numbers]
    return Listing(root, size, tuple(classes.values()), tuple(files), tuple(skipped))


def _walk(root: Path, skipped: list[Skipped]) -> Iterator[PurePosixPath]:
    """Paths from the root of all files that may be read, in order; hidden ones are passed over in silence."""
    seen = 0
    for here, below, names in _folders(root, skipped):
        seen += len(names) + len(below)
        if seen > MAX_FILES:
            raise DatasetError(f"{root} holds more than the allowed {MAX_FILES:,} files and folders.")
        for path in (here / name for name in sorted(names) if not name.startswith(".")):
            reason = _unusable(path, root)
            if reason:
                skipped.append(Skipped(_shown(path), reason))
            else:
                yield PurePosixPath(path.relative_to(root).as_posix())


def _folders(root: Path, skipped: list[Skipped]) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Every folder with the names of the folders and files in it, as `os.walk`; links are not followed."""

    def unreadable(error: OSError) -> None:
        skipped.append(Skipped(_shown(PurePath(error.filename)), "can't be opened"))

    for folder, below, names in os.walk(root, onerror=unreadable):
        here = Path(folder)
        below[:] = sorted(name for name in below if not name.startswith((".", "__MACOSX")))
        skipped.extend(
            Skipped(display_name(name), "is a link to a folder")
            for name in below
            if (here / name).is_symlink()
        )
        if below and len(here.relative_to(root).parts) >= MAX_DEPTH:
            skipped.append(Skipped(_shown(here), f"holds folders deeper than {MAX_DEPTH} levels"))
            below.clear()
        elif not below and all(name.startswith(".") for name in names):
            skipped.append(Skipped(_shown(here), "is a folder without files"))
        yield here, below, names


def _unusable(path: Path, root: Path) -> str | None:
    """Why a file is not even opened, or None."""
    try:
        path.relative_to(root).as_posix().encode()
        if not path.resolve().is_relative_to(root):
            return "is a link that leads out of the folder"
        if not path.is_file():
            return "is not a regular file"
        too_large = path.stat().st_size > DEFAULT_LIMITS.max_bytes
        return f"is larger than {DEFAULT_LIMITS.max_bytes // 2**20} MiB" if too_large else None
    except (OSError, RuntimeError):
        return "can't be looked at"
    except UnicodeEncodeError:
        return "has a name that is not Unicode text"


def _shown(path: PurePath) -> str:
    return display_name(path.name)


def _given_splits(parts: Iterable[Sequence[str]]) -> dict[str, str]:
    """Split of each top-level folder that is one, empty where there is no `train` beside another split."""
    tops = {part[0] for part in parts if len(part) > 2}
    given = {name: split for split, names in _SPLIT_FOLDERS.items() for name in names if name in tops}
    return given if "train" in given and len(given) > 1 else {}


def _place(parts: Sequence[str], given: dict[str, str]) -> tuple[str | None, str]:
    """Split (None: not said) and class folder of a file; no class folder where it lies beside those."""
    if not given:
        return None, parts[0] if len(parts) > 1 else ""
    split = given.get(parts[0])
    return split, parts[1] if split and len(parts) > 2 else ""


def _class_names(folders: set[str], root: Path) -> dict[str, str]:
    """Class name, safe to display, of each class's folder."""
    if len(folders) not in CLASS_COUNTS:
        raise DatasetError(
            f"{root} has {len(folders):,} sub-folders with files, one for each class; "
            f"allowed are {CLASS_COUNTS[0]} to {CLASS_COUNTS[-1]:,}."
        )
    names = {folder: display_name(folder) for folder in sorted(folders)}
    if len(set(names.values())) < len(names):
        raise DatasetError(f"two class folders of {root} differ only in characters that can't be displayed.")
    return names


def _file(root: Path, path: PurePosixPath, split: str | None, class_index: int) -> File:
    facts = (root / path).stat()
    return File(path.as_posix(), class_index, split, facts.st_size, facts.st_mtime_ns)


def split_files(files: Sequence[File], digests: Sequence[bytes]) -> tuple[str, ...]:
    """Split of each file: the one it lies in, or by the order of the hashes of the paths within its class.

    Files of a class with equal `digests` of their pixels go where the first of them goes, so that no network is
    tested on copies of what it was trained on.
    """
    given = {file.split for file in files}
    missing = [split for split in ("test", "validation") if split not in given]
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


class _Part(NamedTuple):
    """What a split consists of: rows of the readable files, their ids and labels, and what is said of it."""

    rows: list[int]
    ids: tuple[str, ...]
    labels: Tensor
    notes: tuple[str, ...]


def _part(
    listing: Listing,
    split: str,
    files: Sequence[File],
    digests: Sequence[bytes],
    unreadable: Sequence[Skipped],
) -> _Part:
    """The split of the readable `files` with these hashes of their pixels."""
    _check_readable(listing, files)
    places = split_files(files, digests)
    rows = [row for row, place in enumerate(places) if split in (place, ALL)]
    if not rows:
        raise DatasetError(f"{listing.root} has too few readable pictures for a {split} split.")
    labels = torch.tensor([files[row].class_index for row in rows])
    copies = () if split == ALL else _copies(places, digests)
    notes = _notes((*listing.skipped, *unreadable)) + copies
    return _Part(rows, tuple(files[row].path for row in rows), labels, notes)


def _load(listing: Listing, split: str, progress: Progress | None) -> ImageSet:
    pixels, rows, unreadable = _decoded(listing, progress)
    files = [listing.files[row] for row in rows]
    part = _part(listing, split, files, [digest_of(picture) for picture in pixels], unreadable)
    return ImageSet(
        listing.name, split, pixels[part.rows], part.labels, listing.classes, part.ids, notes=part.notes
    )


def _open(listing: Listing, split: str, progress: Progress | None) -> ImageStream:
    paths = [listing.root / file.path for file in listing.files]
    outcomes = examine(paths, listing.size, file_stem(listing.name), progress, _reading(listing))
    readable = [row for row, outcome in enumerate(outcomes) if not outcome.reason]
    digests = [outcomes[row].digest for row in readable]
    unreadable = _unreadable(listing, outcomes)
    part = _part(listing, split, [listing.files[row] for row in readable], digests, unreadable)
    return ImageStream(
        listing.name,
        split,
        part.labels,
        listing.classes,
        part.ids,
        listing.root,
        tuple(digests[row] for row in part.rows),
        listing.size,
        part.notes,
    )


def _unreadable(listing: Listing, outcomes: Sequence[Outcome]) -> list[Skipped]:
    pairs = zip(listing.files, outcomes, strict=True)
    return [Skipped(_shown(PurePosixPath(file.path)), each.reason) for file, each in pairs if each.reason]


def _reading(listing: Listing) -> str:
    """What progress bars say."""
    return f"reading {display_name(listing.root.name)}"


def _check_readable(listing: Listing, files: Sequence[File]) -> None:
    without = sorted(set(range(len(listing.classes))) - {file.class_index for file in files})
    if without:
        name = listing.classes[without[0]]
        more = f", nor have {len(without) - 1:,} other classes" if len(without) > 1 else ""
        raise DatasetError(f"the class {name} of {listing.root} has no readable picture{more}.")


def _notes(skipped: Sequence[Skipped]) -> tuple[str, ...]:
    """One sentence for each kind of problem, with the number of files or folders and the first of them."""
    kinds: dict[str, list[Skipped]] = {}
    for each in skipped:
        kinds.setdefault(re.sub(r"\d+", "0", each.reason), []).append(each)
    return tuple(_note(alike) for alike in kinds.values())


def _note(alike: Sequence[Skipped]) -> str:
    first, others = alike[0], len(alike) - 1
    if not others:
        return f"{first.name} was skipped: it {first.reason}."
    return f"{len(alike):,} files or folders were skipped: {first.name} {first.reason}, and {others:,} more like it."


def _copies(places: Sequence[str], digests: Sequence[bytes]) -> tuple[str, ...]:
    """How many pictures lie in two splits, as the folder has them or in two classes; nothing when there are none."""
    found: dict[bytes, set[str]] = {}
    for place, digest in zip(places, digests, strict=True):
        found.setdefault(digest, set()).add(place)
    count = sum(len(found[digest]) > 1 for digest in digests)
    return (f"{count:,} pictures have an exact copy in another split.",) if count else ()


def _decoded(listing: Listing, progress: Progress | None) -> Decoded:
    """All readable pictures of a folder; kept in this process, so that its splits are decoded together once."""
    with _lock:
        if listing not in _cache:
            _cache[listing] = _decode(listing, progress)
        _cache.move_to_end(listing)
        while len(_cache) > _KEPT:
            _cache.popitem(last=False)
        return _cache[listing]


def _decode(listing: Listing, progress: Progress | None) -> Decoded:
    total = len(listing.files)
    _check_memory(listing, total)
    pixels = torch.empty(total, 3, listing.size, listing.size, dtype=torch.uint8)
    rows: list[int] = []
    unreadable: list[Skipped] = []
    for row, path in enumerate(listing.root / file.path for file in listing.files):
        try:
            pixels[len(rows)] = read_square(path, listing.size)
            rows.append(row)
        except (ImageError, OSError) as error:
            unreadable.append(Skipped(_shown(path), refusal(path, error)))
        if progress and (row % 50 == 49 or row == total - 1):
            progress(row + 1, total, _reading(listing))
    return pixels[: len(rows)], tuple(rows), tuple(unreadable)


def _check_memory(listing: Listing, count: int) -> None:
    if 3 * listing.size**2 * count > MAX_MEMORY:
        raise DatasetError(
            f"{count:,} pictures of {listing.size} px take more than the allowed {MAX_MEMORY // 2**30} GiB of memory; "
            f"name a smaller size, as in folder:PATH@{SIZES[0]}."
        )


register_family(PREFIX, folder_dataset, file_stem)
