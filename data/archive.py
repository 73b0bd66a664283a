"""A ZIP of pictures that someone uploaded becomes a folder: checked whole before a file is written, or refused.

Every byte is treated as hostile. Names decide where a file would go, so one that is not plain refuses the archive;
sizes that the archive declares are not believed, bytes are counted as they come. What comes out lies in a place of
its own, named by the archive's hash, and is there whole or not at all. Nothing is run, and no link is made.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from data import class_names
from data.archive_entries import ArchiveError, Limits, Planned, damaged, plan
from data.datasets import DatasetError, Progress
from data.folder_listing import Skipped, shown_name
from data.image_headers import sniff_format
from data.images import display_name

RECEIPT = ".unpacked.json"
"""What was unpacked and left out, beside the pictures; hidden, so that no dataset takes it for one."""
HASH_LETTERS = 32
_CHUNK = 64 * 1024
_ENTRY = b"PK\x01\x02"  # what the record of each file in the archive's directory begins with
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    struct.error,
    ValueError,
    OverflowError,
)


LIMITS = Limits()


@dataclass(frozen=True)
class Unpacked:
    """What became of an archive: where the pictures lie, its hash, files and bytes written, and what was left out."""

    root: Path
    sha256: str
    files: int
    bytes: int
    skipped: tuple[Skipped, ...]


def unpack(
    content: bytes | BinaryIO,
    into: Path,
    *,
    name: str = "the archive",
    limits: Limits = LIMITS,
    progress: Progress | None = None,
) -> Unpacked:
    """Unpack the pictures of a ZIP below `into`, in a folder named by its hash; one that is there already is kept.

    A single folder at the top is looked through. What is no picture, hidden, an archive or too large is left out and
    said; a mapping `classes.json` at the top comes along. Raises `ArchiveError` with one sentence that calls it `name`.
    """
    shown = display_name(name)
    source = io.BytesIO(content) if isinstance(content, bytes) else content
    digest, size = _measured(source, shown, limits)
    place = into / digest[:HASH_LETTERS]
    if (place / RECEIPT).is_file():
        return receipt(place)
    with _opened(source, shown) as archive:
        planned, skipped = plan(archive.infolist(), shown, limits)
        with fresh(into) as temporary:
            writer = _Writer(temporary, shown, limits, size, skipped)
            for done, each in enumerate(planned, start=1):
                writer.write(archive, each)
                if progress and (done % 50 == 0 or done == len(planned)):
                    progress(done, len(planned), f"unpacking {shown}")
            if not writer.files:
                raise ArchiveError(f"{shown} holds no picture.")
            unpacked = Unpacked(place, digest, writer.files, writer.bytes, tuple(skipped))
            finish(temporary, unpacked)
    return receipt(place)


def receipt(place: Path) -> Unpacked:
    """What was once unpacked to a place; raises `DatasetError` when it is no such place."""
    try:
        told = json.loads((place / RECEIPT).read_text(encoding="utf-8"))
        skipped = tuple(Skipped(*pair) for pair in told["skipped"])
        return Unpacked(place, told["sha256"], told["files"], told["bytes"], skipped)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"the upload {place.name[:8]} is not there; upload it again.") from error


def _measured(source: BinaryIO, shown: str, limits: Limits) -> tuple[str, int]:
    """SHA-256 and size; refuses what would take much memory to look into."""
    digest, size, entries, tail = hashlib.sha256(), 0, 0, b""
    source.seek(0)
    while chunk := source.read(_CHUNK):
        digest.update(chunk)
        size += len(chunk)
        # zipfile makes an object of each record, whatever number the archive says.
        entries += (tail + chunk).count(_ENTRY)
        tail = chunk[1 - len(_ENTRY) :]
        if size > limits.max_bytes:
            raise ArchiveError(f"{shown} is larger than the allowed {limits.max_bytes / 2**20:,.0f} MiB.")
        if entries > limits.max_entries:
            raise ArchiveError(f"{shown} holds more than the allowed {limits.max_entries:,} entries.")
    source.seek(0)
    return digest.hexdigest(), size


@contextmanager
def _damage_said(shown: str) -> Iterator[None]:
    """What zipfile and zlib raise on damaged input becomes one sentence."""
    try:
        yield
    except ArchiveError:
        raise
    except (*_DAMAGE, OSError) as error:
        if (
            isinstance(error, OSError) and error.errno != errno.EINVAL
        ):  # that of a place before the file's start
            raise
        raise damaged(shown) from error


def _opened(source: BinaryIO, shown: str) -> zipfile.ZipFile:
    with _damage_said(shown):
        return zipfile.ZipFile(source)


@contextmanager
def fresh(into: Path) -> Iterator[Path]:
    """A new folder that is gone at the end, unless it was renamed."""
    into.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=into))
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def finish(temporary: Path, unpacked: Unpacked) -> None:
    """Put a filled folder in its place, with what `receipt` reads."""
    told = {"sha256": unpacked.sha256, "files": unpacked.files, "bytes": unpacked.bytes}
    text = json.dumps({**told, "skipped": unpacked.skipped})
    (temporary / RECEIPT).write_text(text, encoding="utf-8")
    try:
        os.rename(temporary, unpacked.root)
    except OSError:
        if not (unpacked.root / RECEIPT).is_file():  # else another visitor was first with the same archive
            raise


class _Writer:
    """Writes files below a folder and counts what comes out; raises `ArchiveError` when it is too much."""

    def __init__(self, folder: Path, shown: str, limits: Limits, packed: int, skipped: list[Skipped]) -> None:
        self.folder, self.shown, self.limits, self.packed = folder, shown, limits, packed
        self.skipped = skipped
        self.files = self.bytes = 0
        self._out = 0

    def write(self, archive: zipfile.ZipFile, each: Planned) -> None:
        """Write one file if it begins as a picture does."""
        with _damage_said(self.shown), archive.open(each.entry) as stream:
            first = stream.read(_CHUNK)
            reason = _no_picture(first, each.path)
            if reason:
                self._count(len(first), 0, each)
                self.skipped.append(Skipped(shown_name(each.path), reason))
                return
            path = self.folder.joinpath(*each.path.parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                written = self._copy(first, stream, file, each)
        self.files += 1
        self.bytes += written

    def _copy(self, chunk: bytes, source: IO[bytes], file: BinaryIO, each: Planned) -> int:
        written = 0
        while chunk:
            written += len(chunk)
            self._count(len(chunk), written, each)
            file.write(chunk)
            chunk = source.read(_CHUNK)
        return written

    def _count(self, more: int, of_file: int, each: Planned) -> None:
        """Note bytes that came out, in all and of this file."""
        self._out += more
        limits, shown = self.limits, shown_name(each.path)
        if self._out > limits.max_unpacked:
            most = f"{limits.max_unpacked / 2**20:,.0f} MiB"
            raise ArchiveError(f"{self.shown} is refused: it holds more than the allowed {most}.")
        if of_file > max(limits.free_of_file, limits.max_file_ratio * each.entry.compress_size):
            raise ArchiveError(
                f"{self.shown} is refused: {shown} is more than {limits.max_file_ratio} times as large unpacked."
            )
        if self._out > max(limits.free, limits.max_ratio * self.packed):
            raise ArchiveError(
                f"{self.shown} is refused: it is more than {limits.max_ratio} times as large unpacked."
            )


def _no_picture(first: bytes, path: PurePosixPath) -> str | None:
    """Why a file that begins so is left out, or None; its name plays a part only for the mapping of classes."""
    if str(path) == class_names.FILE:
        return None if len(first) < _CHUNK else "is too large"
    if sniff_format(first):
        return None
    return "is an archive within the archive" if first.startswith(b"PK\x03\x04") else "is no picture"
