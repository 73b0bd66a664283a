"""What lies in a folder of pictures, found by names alone: classes, splits, masks, and what is left out and why."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import NamedTuple

from data import class_names, folder_masks
from data.datasets import DatasetError
from data.images import DEFAULT_LIMITS, display_name

SPLITS = ("train", "validation", "test")
DEFAULT_SIZE = 64
CLASS_COUNTS = range(2, 1_001)
MAX_FILES = 200_000
MAX_DEPTH = 16
"""Limits: classes, files looked at, and levels of folders."""

_SPLIT_FOLDERS = {"train": ("train",), "validation": ("validation", "val"), "test": ("test",)}


class Place(NamedTuple):
    """Where pictures lie: the folder, the dataset's name without a size, what sentences call it, and a title."""

    root: Path
    name: str
    shown: str
    title: str


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
    """What lies in a folder, before any picture is read, and what is left out; `masks` are pairs (picture, mask)."""

    place: Place
    size: int
    classes: tuple[str, ...]
    files: tuple[File, ...]
    skipped: tuple[Skipped, ...]
    masks: tuple[tuple[str, str], ...] = ()

    @property
    def root(self) -> Path:
        """The folder."""
        return self.place.root

    @property
    def name(self) -> str:
        """The dataset's full name, the same from wherever the folder is named."""
        return self.place.name + ("" if self.size == DEFAULT_SIZE else f"@{self.size}")


def list_folder(place: Place, size: int = DEFAULT_SIZE) -> Listing:
    """Classes and files of a folder; raises `DatasetError` when they are fewer or more than allowed."""
    skipped: list[Skipped] = []
    paired = folder_masks.pair(list(_walk(place, skipped)))
    skipped += [Skipped(shown_name(path), folder_masks.unused(path)) for path in paired.unused]
    given = _given_splits(path.parts for path in paired.pictures)
    placed = [(path, *_position(path.parts, given)) for path in paired.pictures]
    skipped += [
        Skipped(shown_name(path), "is in no class's folder") for path, _split, folder in placed if not folder
    ]
    folders = {split: {f for _path, s, f in placed if f and s == split} for split in (*SPLITS, None)}
    classes = _class_names(folders["train"] or folders[None], place)
    for split in ("validation", "test"):
        for folder in sorted(folders[split] - classes.keys()):
            raise DatasetError(
                f"the class {display_name(folder)} of {place.shown} is in {split} but not in train."
            )
    numbers = {folder: k for k, folder in enumerate(classes)}
    files = tuple(_file(place.root, path, split, numbers[f]) for path, split, f in placed if f in numbers)
    return Listing(place, size, tuple(classes.values()), files, tuple(skipped), paired.masks)


def _walk(place: Place, skipped: list[Skipped]) -> Iterator[PurePosixPath]:
    """Paths from the root of all files that may be read, in order; hidden ones are passed over in silence."""
    seen, root = 0, place.root
    for here, below, names in _folders(root, skipped):
        seen += len(names) + len(below)
        if seen > MAX_FILES:
            raise DatasetError(f"{place.shown} holds more than the allowed {MAX_FILES:,} files and folders.")
        for path in (here / name for name in sorted(names) if not name.startswith(".")):
            reason = _unusable(path, root)
            if reason:
                skipped.append(Skipped(shown_name(path), reason))
            elif path != root / class_names.FILE:
                yield PurePosixPath(path.relative_to(root).as_posix())


def _folders(root: Path, skipped: list[Skipped]) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Every folder with the names of the folders and files in it, as `os.walk`; links are not followed."""

    def unreadable(error: OSError) -> None:
        skipped.append(Skipped(shown_name(PurePath(error.filename)), "can't be opened"))

    for folder, below, names in os.walk(root, onerror=unreadable):
        here = Path(folder)
        below[:] = sorted(name for name in below if not name.startswith((".", "__MACOSX")))
        skipped.extend(
            Skipped(display_name(name), "is a link to a folder")
            for name in below
            if (here / name).is_symlink()
        )
        if below and len(here.relative_to(root).parts) >= MAX_DEPTH:
            skipped.append(Skipped(shown_name(here), f"holds folders deeper than {MAX_DEPTH} levels"))
            below.clear()
        elif not below and all(name.startswith(".") for name in names):
            skipped.append(Skipped(shown_name(here), "is a folder without files"))
        yield here, below, names


def _unusable(path: Path, root: Path) -> str | None:
    """Why a file is not even opened, or None."""
    try:
        path.relative_to(root).as_posix().encode()
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            return "is a link that leads out of the folder"
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            return "is not a regular file"
        too_large = facts.st_size > DEFAULT_LIMITS.max_bytes
        return f"is larger than {DEFAULT_LIMITS.max_bytes // 2**20} MiB" if too_large else None
    except (OSError, RuntimeError):
        return "can't be looked at"
    except UnicodeEncodeError:
        return "has a name that is not Unicode text"


def shown_name(path: PurePath) -> str:
    """The last part of a path, safe to display."""
    return display_name(path.name)


def shown_path(path: str) -> str:
    """A path within the folder, every part of it safe to display."""
    return "/".join(display_name(part) for part in PurePosixPath(path).parts)


def _given_splits(parts: Iterable[Sequence[str]]) -> dict[str, str]:
    """Split of each top-level folder that is one, empty where there is no `train` beside another split."""
    tops = {part[0] for part in parts if len(part) > 2}
    given = {name: split for split, names in _SPLIT_FOLDERS.items() for name in names if name in tops}
    return given if "train" in given and len(given) > 1 else {}


def _position(parts: Sequence[str], given: dict[str, str]) -> tuple[str | None, str]:
    """Split (None: not said) and class folder of a file; no class folder where it lies beside those."""
    if not given:
        return None, parts[0] if len(parts) > 1 else ""
    split = given.get(parts[0])
    return split, parts[1] if split and len(parts) > 2 else ""


def _class_names(folders: set[str], place: Place) -> dict[str, str]:
    """Class name, safe to display, of each class's folder."""
    if len(folders) not in CLASS_COUNTS:
        found = "1 sub-folder" if len(folders) == 1 else f"{len(folders):,} sub-folders"
        raise DatasetError(
            f"{place.shown} has {found} with files, one for each class; "
            f"allowed are {CLASS_COUNTS[0]} to {CLASS_COUNTS[-1]:,}."
        )
    names = {folder: display_name(folder) for folder in sorted(folders)}
    if len(set(names.values())) < len(names):
        raise DatasetError(
            f"two class folders of {place.shown} differ only in characters that can't be displayed."
        )
    return names


def _file(root: Path, path: PurePosixPath, split: str | None, class_index: int) -> File:
    facts = (root / path).stat()
    return File(path.as_posix(), class_index, split, facts.st_size, facts.st_mtime_ns)
