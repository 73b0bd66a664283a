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
import re
import shutil
import stat
import struct
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, NamedTuple

from data import class_names
from data.datasets import DatasetError, Progress
from data.folder_listing import Skipped, shown_name
from data.image_headers import sniff_format
from data.images import DEFAULT_LIMITS, display_name

RECEIPT = ".unpacked.json"
"""What was unpacked and left out, beside the pictures; hidden, so that no dataset takes it for one."""
HASH_LETTERS = 32
_CHUNK = 64 * 1024
_ENTRY = b"PK\x01\x02"  # what the record of each file in the archive's directory begins with
_LOCAL_HEADER = 30
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the others' decoders take memory as the file says
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


class ArchiveError(DatasetError):
    """An archive that is refused; the message is one sentence that names it."""


@dataclass(frozen=True)
class Limits:
    """What an archive may be: bytes packed and unpacked, number of entries, unpacked bytes for each packed one (of a
    file and in all, which count from `free_of_file` and `free` bytes on), characters of each part of a name, and parts
    of a path."""

    max_bytes: int = 256 * 2**20
    max_unpacked: int = 512 * 2**20
    max_entries: int = 20_000
    max_file_ratio: int = 250
    max_ratio: int = 50
    max_name: int = 120
    max_depth: int = 8
    free_of_file: int = 2**20
    free: int = 32 * 2**20


LIMITS = Limits()


@dataclass(frozen=True)
class Unpacked:
    """What became of an archive: where the pictures lie, its hash, files and bytes written, and what was left out."""

    root: Path
    sha256: str
    files: int
    bytes: int
    skipped: tuple[Skipped, ...]


class _Planned(NamedTuple):
    """A file to write: its entry, and its path within the place."""

    entry: zipfile.ZipInfo
    path: PurePosixPath


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
        planned, skipped = _plan(archive.infolist(), shown, limits)
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
        raise _damaged(shown) from error


def _damaged(shown: str) -> ArchiveError:
    return ArchiveError(f"{shown} is no ZIP archive, or is damaged or cut short.")


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


def _plan(
    entries: Sequence[zipfile.ZipInfo], shown: str, limits: Limits
) -> tuple[list[_Planned], list[Skipped]]:
    """The files to write, and what is left out by its name or size; raises `ArchiveError` for what is refused."""
    if len(entries) > limits.max_entries:
        raise ArchiveError(f"{shown} holds more than the allowed {limits.max_entries:,} entries.")
    for entry in entries:
        reason = _suspicious(entry, limits)
        if reason:
            raise ArchiveError(f"{shown} is refused: {display_name(entry.orig_filename)} {reason}.")
    _check_overlaps(entries, shown)
    files = [_Planned(each, PurePosixPath(each.orig_filename)) for each in entries if not each.is_dir()]
    _check_collisions([each.path for each in files], shown)
    skipped: list[Skipped] = []
    wanted = _looked_through([each for each in files if _is_wanted(each, skipped)], skipped)
    return wanted, skipped


def _suspicious(entry: zipfile.ZipInfo, limits: Limits) -> str | None:
    """Why an entry refuses the whole archive, as the rest of a sentence, or None."""
    name = entry.orig_filename
    kind = stat.S_IFMT(entry.external_attr >> 16)
    reasons = (
        (kind not in (0, stat.S_IFREG, stat.S_IFDIR), "is a link or a special file"),
        (bool(entry.flag_bits & _ENCRYPTED), "is encrypted"),
        (entry.compress_type not in _METHODS, "is packed in another way than by deflate"),
        *_suspicious_name(name, limits),
    )
    return next((reason for found, reason in reasons if found), None)


def _suspicious_name(name: str, limits: Limits) -> Iterator[tuple[bool, str]]:
    parts = name.removesuffix("/").split("/")
    yield "\\" in name, "has a backslash in its path"
    yield name.startswith("/"), "has an absolute path"
    yield bool(re.match(r"[A-Za-z]:", name)), "has a drive letter in its path"
    yield any(part in ("", ".", "..") for part in parts), "has a path with an empty part, . or .."
    yield any(unicodedata.category(c) in ("Cc", "Cs") for c in name), "has control characters in its name"
    longest = max(max(len(part), len(part.encode(errors="replace")) // 2) for part in parts)
    yield longest > limits.max_name, f"has a name longer than the allowed {limits.max_name} characters"
    yield len(parts) > limits.max_depth, f"lies deeper than the allowed {limits.max_depth} levels"


def _check_overlaps(entries: Sequence[zipfile.ZipInfo], shown: str) -> None:
    """Refuse files that share packed bytes: a few of these can be unpacked a million times."""
    end = 0
    for entry in sorted(entries, key=lambda each: each.header_offset):
        if entry.header_offset < 0:  # bytes are missing before the directory
            raise _damaged(shown)
        if entry.header_offset < end:
            raise ArchiveError(f"{shown} is refused: files in it overlap.")
        end = entry.header_offset + _LOCAL_HEADER + entry.compress_size


def _check_collisions(paths: Sequence[PurePosixPath], shown: str) -> None:
    """Refuse paths that are one, or would be on a system that tells no capitals, accents or dots at the end apart."""
    kinds: dict[tuple[str, ...], tuple[PurePosixPath, bool]] = {}
    for path in paths:
        for each in (path, *path.parents[:-1]):
            key = tuple(_folded(part) for part in each.parts)
            # A folder is met again with each of its files; a file never is.
            if key in kinds and (each is path or kinds[key] != (each, False)):
                raise ArchiveError(
                    f"{shown} is refused: {shown_name(each)} is in it twice, or in two spellings."
                )
            kinds[key] = each, each is path


def _folded(part: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", part).casefold()).rstrip(" .")


def _is_wanted(each: _Planned, skipped: list[Skipped]) -> bool:
    """Whether a file may be a picture, by its name and the size that it says."""
    shown = shown_name(each.path)
    if any(part.startswith((".", "__MACOSX")) for part in each.path.parts):
        skipped.append(Skipped(shown, "is hidden"))
    elif each.entry.file_size > DEFAULT_LIMITS.max_bytes:
        skipped.append(Skipped(shown, f"is larger than {DEFAULT_LIMITS.max_bytes // 2**20} MiB"))
    else:
        return True
    return False


def _looked_through(files: list[_Planned], skipped: list[Skipped]) -> list[_Planned]:
    """The files with a single folder at the top left out of their paths, as long as there is one with folders."""
    tops = {each.path.parts[0] for each in files if len(each.path.parts) > 1}
    deep = any(len(each.path.parts) > 2 for each in files)
    if len(tops) != 1 or not deep:
        return files
    loose = [each for each in files if len(each.path.parts) == 1]
    skipped += [Skipped(shown_name(each.path), "lies beside the only folder") for each in loose]
    below = [
        each._replace(path=PurePosixPath(*each.path.parts[1:])) for each in files if len(each.path.parts) > 1
    ]
    return _looked_through(below, skipped)


class _Writer:
    """Writes files below a folder and counts what comes out; raises `ArchiveError` when it is too much."""

    def __init__(self, folder: Path, shown: str, limits: Limits, packed: int, skipped: list[Skipped]) -> None:
        self.folder, self.shown, self.limits, self.packed = folder, shown, limits, packed
        self.skipped = skipped
        self.files = self.bytes = 0
        self._out = 0

    def write(self, archive: zipfile.ZipFile, each: _Planned) -> None:
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

    def _copy(self, chunk: bytes, source: IO[bytes], file: BinaryIO, each: _Planned) -> int:
        written = 0
        while chunk:
            written += len(chunk)
            self._count(len(chunk), written, each)
            file.write(chunk)
            chunk = source.read(_CHUNK)
        return written

    def _count(self, more: int, of_file: int, each: _Planned) -> None:
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
