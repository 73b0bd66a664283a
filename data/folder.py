"""Anyone's own pictures as a dataset: `folder:PATH`, one sub-folder per class.

`folder:PATH` makes every picture a square of 64 px (centre crop, antialiased), `folder:PATH@96` one of 96 px. Any
format that the intake reads will do, also in folders within a class's folder. Where PATH itself holds `train` and
one of `validation` (or `val`) and `test`, those are the splits, each with one sub-folder per class. A split that is
not given is taken from the others' pictures: within every class the files are put in the order of a hash of
their path, and the first 15 % are the test split, the last 15 % validation. So the split is the same on every
machine, and a new picture moves at most two others of its class; exact copies of a picture stay with it. A class needs
three different pictures to be in all three. The split `all` is all pictures. Masks may lie beside the pictures
(`data.folder_masks`), and a file `classes.json` may give the classes a network's names (`data.class_names`). Links
that lead out of the folder are not followed. The path comes from the command line or Python; a page must never pass
on one that a visitor typed.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import torch
from torch import Tensor

from data import class_names, folder_splits
from data.class_names import ClassMapping
from data.datasets import Dataset, DatasetError, ImageSet, ImageSource, Progress, register_family
from data.folder_copies import find_copies
from data.folder_examination import examine
from data.folder_listing import DEFAULT_SIZE, SPLITS, File, Listing, Place, Skipped, list_folder, shown_name
from data.folder_masks import read_mask
from data.folder_reading import Outcome, look_at, refusal
from data.folder_stream import ImageStream, is_small
from data.images import ImageError, display_name

PREFIX = "folder"
ALL = "all"
"""The split of all pictures, for networks that were trained on others."""
SIZES = range(8, 513)
MAX_MEMORY = 4 * 2**30
"""Limits: side in px, and bytes of all pictures decoded into memory."""

_TITLE = "pictures in "
_KEPT = 2
_lock = threading.Lock()


class Decoded(NamedTuple):
    """Readable pictures uint8 `(N, 3, size, size)`, and what each file of the listing turned out to be."""

    pixels: Tensor
    outcomes: tuple[Outcome, ...]


_cache: OrderedDict[Listing, Decoded] = OrderedDict()


def folder_dataset(name: str) -> Dataset:
    """The dataset of a name `folder:PATH` or `folder:PATH@SIZE`; looks at the files' names, and reads none.

    Raises `DatasetError` with one sentence when there is no such folder, not as many classes or files as allowed, or
    a `classes.json` that does not fit.
    """
    return dataset_of(*locate(name), file_stem(name))


def dataset_of(place: Place, size: int, stem: str) -> Dataset:
    """The dataset of the pictures in a place; `stem` names what is remembered of them. Raises as `folder_dataset`."""
    listing = list_folder(place, size)
    mapping = class_names.read(place.root, listing.classes)
    return Dataset(
        listing.name,
        place.title,
        (*SPLITS, ALL),
        mapping.classes if mapping else listing.classes,
        size,
        partial(_load, listing, mapping),
        open=partial(_open, listing, mapping, stem),
    )


def file_stem(name: str) -> str:
    """A name for files about the dataset `name`, such as `folder-pets-3f2a91bc`; without the path that it holds."""
    place, size = locate(name)
    digest = hashlib.sha256(os.fsencode(place.root)).hexdigest()[:8]
    short = re.sub(r"[^A-Za-z0-9]+", "_", place.root.name).strip("_")[:40]
    return "-".join(part for part in (PREFIX, short, digest) if part) + side_words(size)


def side_words(size: int) -> str:
    """What a file's name says of a size that is not the usual one."""
    return "" if size == DEFAULT_SIZE else f"-{size}px"


def place_of(root: Path) -> Place:
    """The place of the pictures in a folder of this machine."""
    return Place(root, f"{PREFIX}:{root}", str(root), _TITLE + display_name(root.name))


def locate(name: str) -> tuple[Place, int]:
    """Where the pictures of `folder:PATH` or `folder:PATH@SIZE` lie, and the side in px; raises `DatasetError`."""
    path, size = split_size(name.removeprefix(f"{PREFIX}:"))
    try:
        root = Path(path).expanduser().resolve()
        root.as_posix().encode()  # it is written into cards
        if path and root.is_dir():
            return place_of(root), size
    except (OSError, ValueError, RuntimeError):
        pass
    shown = path.encode(errors="replace").decode()
    raise DatasetError(f"there is no folder {shown!r}; a dataset of pictures is named folder:PATH.")


def split_size(given: str) -> tuple[str, int]:
    """What comes before an `@SIZE`, and the size; raises `DatasetError` for a size that is not allowed."""
    match = re.fullmatch(r"(.*)@(\d{1,6})", given, re.DOTALL)
    path, size = (match[1], int(match[2])) if match else (given, DEFAULT_SIZE)
    if size not in SIZES:
        raise DatasetError(f"the size after @ is {size} px; allowed are {SIZES[0]} to {SIZES[-1]}.")
    return path, size


class Part(NamedTuple):
    """What a split is: rows of the readable files, these files, what they turned out to be, labels, and notes."""

    rows: list[int]
    files: tuple[File, ...]
    outcomes: tuple[Outcome, ...]
    labels: Tensor
    notes: tuple[str, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        """Paths of the pictures."""
        return tuple(file.path for file in self.files)


def part_of(listing: Listing, split: str, outcomes: Sequence[Outcome]) -> Part:
    """The split of the readable files of a listing, whose files turned out to be `outcomes`.

    Raises `DatasetError` when a class has no readable picture, or the split has none.
    """
    readable = [(file, each) for file, each in zip(listing.files, outcomes, strict=True) if not each.reason]
    files = [file for file, _outcome in readable]
    _check_readable(listing, files)
    places = folder_splits.split_files(files, [each.digest for _file, each in readable])
    rows = [row for row, place in enumerate(places) if split in (place, ALL)]
    if not rows:
        raise DatasetError(
            f"{listing.place.shown} has too few readable pictures for a {split} split; "
            f"{folder_splits.needed(files)} different pictures of a class are needed."
        )
    chosen = tuple(files[row] for row in rows)
    labels = [file.class_index for file in chosen]
    notes = notes_about((*listing.skipped, *unreadable(listing, outcomes)))
    notes += folder_splits.absent(split, set(labels), files, listing.classes)
    if split != ALL:
        copies = find_copies(
            places, *zip(*((each.digest, each.look) for _file, each in readable), strict=True)
        )
        notes += copies.sentences([file.path for file in files])
    return Part(rows, chosen, tuple(readable[row][1] for row in rows), torch.tensor(labels), notes)


def _load(listing: Listing, mapping: ClassMapping | None, split: str, progress: Progress | None) -> ImageSet:
    decoded = _decoded(listing, progress)
    part = part_of(listing, split, decoded.outcomes)
    masks, notes = _masks(listing, part)
    found = ImageSet(
        listing.name,
        split,
        decoded.pixels[part.rows],
        part.labels,
        listing.classes,
        part.ids,
        masks,
        notes=part.notes + notes,
    )
    return class_names.apply(found, mapping) if mapping else found


def examined(listing: Listing, stem: str, progress: Progress | None) -> list[Outcome]:
    """What each file of a listing turns out to be; what the cache's file `stem` knows is not looked at again."""
    paths = [listing.root / file.path for file in listing.files]
    return examine(paths, listing.size, stem, progress, _reading(listing))


def _open(
    listing: Listing, mapping: ClassMapping | None, stem: str, split: str, progress: Progress | None
) -> ImageSource:
    part = part_of(listing, split, examined(listing, stem, progress))
    stream = ImageStream(
        listing.name,
        split,
        part.labels,
        listing.classes,
        part.ids,
        listing.root,
        tuple(each.digest for each in part.outcomes),
        listing.size,
        part.notes,
    )
    found = _with_masks(stream, listing, part)
    return class_names.apply(found, mapping) if mapping else found


def _with_masks(stream: ImageStream, listing: Listing, part: Part) -> ImageSource:
    """The stream with its masks where all pictures have one; in memory, if that may hold them anyway."""
    by_picture = dict(listing.masks)
    named = tuple(by_picture[name] for name in part.ids if name in by_picture)
    if not named:
        return stream
    if is_small(len(part.ids), listing.size):
        masks, notes = _masks(listing, part)
        told = replace(stream, notes=part.notes + notes)
        return told if masks is None else told.in_memory(masks)
    if len(named) < len(part.ids):
        return replace(stream, notes=(*part.notes, _few_masks(len(named), len(part.ids))))
    return replace(stream, mask_ids=named, sizes=_sizes(part))


def _sizes(part: Part) -> tuple[tuple[int, int], ...]:
    return tuple((each.width, each.height) for each in part.outcomes)


def _masks(listing: Listing, part: Part) -> tuple[Tensor | None, tuple[str, ...]]:
    """Masks bool `(N, size, size)` where every picture of the split has one; else what is said about that."""
    by_picture = dict(listing.masks)
    found: list[Tensor] = []
    bad: list[Skipped] = []
    named = [(name, size) for name, size in zip(part.ids, _sizes(part), strict=True) if name in by_picture]
    for path, size in ((listing.root / by_picture[name], size) for name, size in named):
        try:
            found.append(read_mask(path, size, listing.size))
        except (ImageError, OSError) as error:
            bad.append(Skipped(shown_name(path), refusal(path, error)))
    if found and len(found) == len(part.ids):
        return torch.stack(found), ()
    return None, (*notes_about(bad), _few_masks(len(found), len(part.ids))) if named else ()


def _few_masks(count: int, total: int) -> str:
    return f"{count:,} of {total:,} pictures have a mask that can be used; masks are used only where all have one."


def unreadable(listing: Listing, outcomes: Sequence[Outcome]) -> list[Skipped]:
    """The files of a listing that turned out to be no pictures."""
    pairs = zip(listing.files, outcomes, strict=True)
    return [Skipped(shown_name(PurePosixPath(file.path)), each.reason) for file, each in pairs if each.reason]


def _reading(listing: Listing) -> str:
    """What progress bars say."""
    return "reading " + listing.place.title.removeprefix(_TITLE)


def _check_readable(listing: Listing, files: Sequence[File]) -> None:
    without = sorted(set(range(len(listing.classes))) - {file.class_index for file in files})
    if without:
        name = listing.classes[without[0]]
        more = f", nor have {len(without) - 1:,} other classes" if len(without) > 1 else ""
        raise DatasetError(f"the class {name} of {listing.place.shown} has no readable picture{more}.")


def notes_about(skipped: Sequence[Skipped]) -> tuple[str, ...]:
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
    outcomes: list[Outcome] = []
    readable = 0
    for row, path in enumerate(listing.root / file.path for file in listing.files):
        square, outcome = look_at(path, listing.size)
        outcomes.append(outcome)
        if square is not None:
            pixels[readable] = square
            readable += 1
        if progress and (row % 50 == 49 or row == total - 1):
            progress(row + 1, total, _reading(listing))
    return Decoded(pixels[:readable], tuple(outcomes))


def _check_memory(listing: Listing, count: int) -> None:
    if 3 * listing.size**2 * count > MAX_MEMORY:
        raise DatasetError(
            f"{count:,} pictures of {listing.size} px take more than the allowed {MAX_MEMORY // 2**30} GiB of memory; "
            f"name a smaller size, as in folder:PATH@{SIZES[0]}."
        )


register_family(PREFIX, folder_dataset, file_stem)
