"""Uploaded archives of pictures as datasets `upload:HASH`: in the cache folder alone, bounded, and gone when dropped.

A name holds no path, and 32 hexadecimal digits of the archive's hash, which nobody guesses who has not got it. Each
visitor who stores an archive holds it; when the last one drops it, its files are removed, unless it was stored to be
kept.
Beyond `MAX_TOTAL` bytes the ones that were not used for longest make room, never one that is held.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from data import archive, class_names
from data.archive import ArchiveError, Unpacked, receipt
from data.class_names import ClassMapping
from data.datasets import Dataset, DatasetError, Progress, register_family
from data.folder import dataset_of, side_words, split_size
from data.folder_listing import Place, list_folder
from data.storage import cache_folder

PREFIX = "upload"
MAX_TOTAL = 2 * 2**30
"""Bytes of all uploads on disk."""
ABANDONED = 3600.0
"""Seconds after which a folder that is still being unpacked is one of a process that died."""
_KEEP = ".keep"
_NAME = re.compile(rf"[0-9a-f]{{{archive.HASH_LETTERS}}}")
_SHOWN_LETTERS = 8
_unpacking = threading.BoundedSemaphore(2)  # bounds what is on disk and not yet counted
_lock = threading.RLock()
_holders: Counter[str] = Counter()


@dataclass(frozen=True)
class Upload:
    """A stored archive: the dataset's name, and what was unpacked."""

    name: str
    unpacked: Unpacked


def folder() -> Path:
    """Where uploads lie."""
    return cache_folder() / "uploads"


def store(
    content: bytes | BinaryIO,
    name: str = "the archive",
    *,
    keep: bool = False,
    limits: archive.Limits = archive.LIMITS,
    progress: Progress | None = None,
) -> Upload:
    """Unpack a ZIP (see `data.archive.unpack`) and hold it until `drop`; with `keep` it stays until room is needed.

    Raises `ArchiveError` with one sentence that calls the archive `name`.
    """
    with _turn(progress):
        unpacked = archive.unpack(content, folder(), name=name, limits=limits, progress=progress)
        return _held(unpacked, keep)


@contextmanager
def _turn(progress: Progress | None) -> Iterator[None]:
    """One of the two that unpack at a time; who waits is told."""
    if not _unpacking.acquire(blocking=False):
        if progress:
            progress(0, 1, "waiting until archives of others are unpacked")
        _unpacking.acquire()
    try:
        yield
    finally:
        _unpacking.release()


def _held(unpacked: Unpacked, keep: bool) -> Upload:
    key = unpacked.root.name
    with _lock:
        receipt(unpacked.root)  # raises if another visitor dropped it meanwhile
        try:
            _make_room(key)
        except ArchiveError:
            if not _holders[key] and not (unpacked.root / _KEEP).exists():
                _remove(unpacked.root)
            raise
        os.utime(unpacked.root)
        if keep:
            (unpacked.root / _KEEP).touch()
        else:
            _holders[key] += 1
    return Upload(f"{PREFIX}:{key}", unpacked)


def with_classes(name: str, mapping: ClassMapping) -> Upload:
    """The same pictures with a network's class names, as an upload of its own that is held; it counts in full."""
    place, _size = locate(name)
    class_names.check(mapping, list_folder(place).classes)
    words = json.dumps([place.root.name, list(mapping.pairs.items())])
    target = folder() / hashlib.sha256(words.encode()).hexdigest()[: archive.HASH_LETTERS]
    unpacked = replace(receipt(place.root), root=target)
    with _lock, archive.fresh(folder()) as temporary:
        if not target.is_dir():
            hidden = shutil.ignore_patterns(_KEEP, archive.RECEIPT, class_names.FILE)
            shutil.copytree(place.root, temporary, copy_function=os.link, ignore=hidden, dirs_exist_ok=True)
            class_names.write(temporary, mapping)
            archive.finish(temporary, unpacked)
        return _held(unpacked, keep=False)


def drop(name: str) -> None:
    """A visitor needs an upload no more: the last one's files are removed, unless they were stored to be kept."""
    key, _size = _parse(name)
    with _lock:
        _holders[key] -= 1
        if _holders[key] <= 0:
            del _holders[key]
            if not (folder() / key / _KEEP).exists():
                _remove(folder() / key)


def _remove(place: Path) -> None:
    """Remove an upload at once, and what was remembered of its pictures."""
    gone = place.with_name(f".dropped-{place.name}-{time.monotonic_ns()}")
    try:
        os.rename(place, gone)
    except FileNotFoundError:
        return
    shutil.rmtree(gone, ignore_errors=True)
    for file in (cache_folder() / "folders").glob(f"{_stem(place.name)}*"):
        file.unlink(missing_ok=True)


def _make_room(key: str) -> None:
    """Remove what was not used for longest until all are within `MAX_TOTAL`, but neither `key` nor held ones."""
    places = [path for path in folder().iterdir() if _NAME.fullmatch(path.name)]
    sizes = {path: receipt(path).bytes if (path / archive.RECEIPT).is_file() else 0 for path in places}
    total = sum(sizes.values())
    _remove_abandoned()
    for path in sorted(places, key=lambda each: each.stat().st_mtime):
        if total > MAX_TOTAL and path.name != key and not _holders[path.name]:
            _remove(path)
            total -= sizes[path]
    if total > MAX_TOTAL:
        raise ArchiveError(
            f"there is no room for another archive: those in use fill the {MAX_TOTAL / 2**30:g} GiB that are "
            "allowed; try again when others have ended."
        )


def _remove_abandoned() -> None:
    for path in folder().glob(".*"):
        if path.stat().st_mtime < time.time() - ABANDONED:
            shutil.rmtree(path, ignore_errors=True)


def _parse(name: str) -> tuple[str, int]:
    key, size = split_size(name.removeprefix(f"{PREFIX}:"))
    if not _NAME.fullmatch(key):
        raise DatasetError(
            f"an upload is named upload: and {archive.HASH_LETTERS} hexadecimal digits; that is another name."
        )
    return key, size


def locate(name: str) -> tuple[Place, int]:
    """Where the pictures of `upload:HASH` or `upload:HASH@SIZE` lie, and the side in px; raises `DatasetError`."""
    key, size = _parse(name)
    root = folder() / key
    short = key[:_SHOWN_LETTERS]
    if root.is_symlink() or not (root / archive.RECEIPT).is_file():
        raise DatasetError(f"the upload {short} is no longer there; upload it again.")
    os.utime(root)  # used now
    return Place(root.resolve(), f"{PREFIX}:{key}", f"the upload {short}", f"uploaded pictures {short}"), size


def _stem(key: str) -> str:
    return f"{PREFIX}-{key[: 2 * _SHOWN_LETTERS]}"


def file_stem(name: str) -> str:
    """A name for files about the dataset, such as `upload-3f2a91bc00d1e2f3`; raises `DatasetError` when it is gone."""
    place, size = locate(name)
    return _stem(place.root.name) + side_words(size)


def upload_dataset(name: str) -> Dataset:
    """The dataset of a name `upload:HASH` or `upload:HASH@SIZE`; raises `DatasetError` with one sentence."""
    return dataset_of(*locate(name), file_stem(name))


register_family(PREFIX, upload_dataset, file_stem, "HASH")
