"""What a report of a comparison rests on, as a JSON file from which it can be made again; read as anybody's file."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from xai.compare.run import Compared
from xai.compare.sections import section
from xai.compare.study import Facts
from xai.manifests import ManifestError, reading, whole
from xai.result_manifest import versions

FORMAT = "xai-compare-1"
LARGEST = 2**23
"""Bytes of a manifest, or of a file of numbers, that is read."""
DIGITS = 7
"""Significant digits of numbers in files."""
_LONGEST = 100_000
_MOST_IMAGES, _WIDEST = 10_000_000, 8_192
_ROWS = re.compile(r"rows/([a-z_]+)/[A-Za-z0-9_]+\.(?:parquet|json)")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Held:
    """What a manifest says: the facts, each section's version, and the hashes of the files of its rows.

    `skipped` are sections that can't be asked of these images, `pictures` whether the report shows images, and
    `numbers` those of the report by section, None where it is `light`.
    """

    facts: Facts
    versions: dict[str, int]
    rows: dict[str, str]
    skipped: tuple[str, ...]
    pictures: bool
    light: bool
    numbers: dict[str, Any] | None


def manifest(
    compared: Compared,
    files: Mapping[str, bytes],
    numbers: Mapping[str, Any],
    *,
    pictures: bool,
    light: bool = False,
) -> bytes:
    """The manifest of a report with those files of rows, by their names below the report's folder, and its numbers.

    `numbers` say of the images that pictures show, too, which these are and how they were chosen. A `light` report's
    manifest does not repeat them.
    """
    content = {
        "format": FORMAT,
        "facts": compared.facts.to_json(),
        "sections": {name: {"version": section(name).version} for name in compared.found},
        "skipped": compared.skipped,
        "failed": compared.failed,
        "pictures": pictures,
        "rows": {name: digest(held) for name, held in files.items()},
        "light": light,
        "numbers": None if light else numbers,
        "versions": versions(),
    }
    return as_json(content)


def digest(content: bytes) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def as_json(content: Any, *, dense: bool = False) -> bytes:
    """A JSON file: indented unless it is to be `dense`, and without numbers that JSON does not know."""
    layout: dict[str, Any] = {"separators": (",", ":")} if dense else {"indent": 1}
    return (json.dumps(content, allow_nan=False, **layout) + "\n").encode()


def plain(value: Any) -> Any:
    """Numbers, texts, lists and mappings as JSON has them: numpy's own become Python's, fractions are rounded to
    `DIGITS`, and what is not finite is None. Raises `TypeError` for anything else."""
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    raise TypeError(f"{value!r} is no number of a report; allowed is what JSON knows.")


def read(content: bytes) -> Held:
    """Parse a manifest; raises `ManifestError` with one sentence for one that this program did not write."""
    if len(content) > LARGEST:
        raise ManifestError(
            f"The manifest has {len(content):,} bytes; allowed are up to {LARGEST // 2**20} MiB."
        )
    with reading():
        found = strict(content)
        if found["format"] != FORMAT:
            raise ValueError("another format")
        for name in ("pictures", "light"):
            _check_kind(found[name], bool)
        return Held(
            _facts(found["facts"]),
            {_named(name): whole(entry["version"], 1) for name, entry in found["sections"].items()},
            {_row_file(name): _hash(value) for name, value in found["rows"].items()},
            tuple(_named(name) for name in found["skipped"]),
            found["pictures"],
            found["light"],
            None if found["numbers"] is None else dict(found["numbers"]),
        )


def strict(content: bytes) -> Any:
    """JSON without `NaN` and `Infinity`; raises `ValueError` and `RecursionError`."""

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no JSON")

    return json.loads(content, parse_constant=refuse)


def _named(name: Any) -> str:
    section(name)
    return str(name)


def _row_file(name: str) -> str:
    """A file of rows, which lies where it must: no name leads elsewhere."""
    match = _ROWS.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r} is no file of rows")
    _named(match[1])
    return name


def _hash(value: Any) -> str:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise ValueError("no hash")
    return value


def _facts(found: Any) -> Facts:
    """Facts whose every field has its kind and a size that images and networks can have."""
    facts = Facts.from_json(found)
    _check_kind(facts, Facts)
    if not 1 <= facts.images <= _MOST_IMAGES or not 1 <= facts.size <= _WIDEST or not facts.classes:
        raise ValueError("no images")
    for network in facts.networks:
        if not all(1 <= side <= _WIDEST for side in network.grid):
            raise ValueError("no grid")
    return facts


def _check_kind(value: Any, kind: Any) -> None:
    """Raise `ValueError` unless a value is of the kind that a field of facts is declared as."""
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        _require(isinstance(value, kind))  # type: ignore[arg-type]
        for entry in fields(kind):
            _check_kind(getattr(value, entry.name), hints[entry.name])
    elif get_origin(kind) is tuple:
        _check_tuple(value, get_args(kind))
    elif get_args(kind):  # such as int | None
        _require(value is None or (isinstance(value, get_args(kind)[0]) and not isinstance(value, bool)))
    else:
        _require(isinstance(value, kind) and (kind is bool or not isinstance(value, bool)))
        _require(not isinstance(value, str) or len(value) <= _LONGEST)


def _check_tuple(value: Any, kinds: tuple[Any, ...]) -> None:
    _require(isinstance(value, tuple) and len(value) <= _LONGEST)
    if kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(value)
    _require(len(value) == len(kinds))
    for each, kind in zip(value, kinds, strict=True):
        _check_kind(each, kind)


def _require(holds: bool) -> None:
    if not holds:
        raise ValueError("a field of another kind")
