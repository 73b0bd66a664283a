"""Which files of an archive may be written and where, by its directory alone; one that is not plain refuses it all."""

from __future__ import annotations

import re
import stat
import unicodedata
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple

from data.datasets import DatasetError
from data.folder_listing import Skipped, shown_name
from data.images import DEFAULT_LIMITS, display_name

_LOCAL_HEADER = 30
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the others' decoders take memory as the file says


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


class Planned(NamedTuple):
    """A file to write: its entry, and its path within the place."""

    entry: zipfile.ZipInfo
    path: PurePosixPath


def damaged(shown: str) -> ArchiveError:
    """The refusal of an archive that can't be read."""
    return ArchiveError(f"{shown} is no ZIP archive, or is damaged or cut short.")


def plan(
    entries: Sequence[zipfile.ZipInfo], shown: str, limits: Limits
) -> tuple[list[Planned], list[Skipped]]:
    """The files to write, and what is left out by its name or size; raises `ArchiveError` for what is refused."""
    if len(entries) > limits.max_entries:
        raise ArchiveError(f"{shown} holds more than the allowed {limits.max_entries:,} entries.")
    for entry in entries:
        reason = _suspicious(entry, limits)
        if reason:
            raise ArchiveError(f"{shown} is refused: {display_name(entry.orig_filename)} {reason}.")
    _check_overlaps(entries, shown)
    files = [Planned(each, PurePosixPath(each.orig_filename)) for each in entries if not each.is_dir()]
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
            raise damaged(shown)
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


def _is_wanted(each: Planned, skipped: list[Skipped]) -> bool:
    """Whether a file may be a picture, by its name and the size that it says."""
    shown = shown_name(each.path)
    if any(part.startswith((".", "__MACOSX")) for part in each.path.parts):
        skipped.append(Skipped(shown, "is hidden"))
    elif each.entry.file_size > DEFAULT_LIMITS.max_bytes:
        skipped.append(Skipped(shown, f"is larger than {DEFAULT_LIMITS.max_bytes // 2**20} MiB"))
    else:
        return True
    return False


def _looked_through(files: list[Planned], skipped: list[Skipped]) -> list[Planned]:
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
