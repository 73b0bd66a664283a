"""Whether a report says what its rows say: every number is computed again from the rows that lie beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from xai.compare import kept, run, store, story, story_manifest
from xai.compare.run import Compared
from xai.compare.sections import section
from xai.compare.story_manifest import Held
from xai.manifests import ManifestError

RELATIVE, ABSOLUTE = 1e-5, 1e-7
"""How far a number computed again may be off: other processors add up in another order."""
LARGEST_PAGE = 2**26


def check(folder: Path) -> str:
    """The first difference between a report and its own rows as one sentence, empty where there is none.

    Numbers first, then verdicts and sentences of the page, then the hashes of the rows. Raises `ManifestError` for a
    folder that holds no report of this program and version.
    """
    held = story_manifest.read(_bytes(folder / story.MANIFEST, story_manifest.LARGEST))
    try:
        written = story_manifest.strict(_bytes(folder / story.NUMBERS, story_manifest.LARGEST))
    except ManifestError:
        raise
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{story.NUMBERS} can't be read.") from error
    compared = _again(folder, held)
    if problems := list(compared.failed.items()):
        return f"{problems[0][0]}: {problems[0][1]}"
    found = difference(written, story.numbers_of(compared))
    return found or _page(folder, compared) or _hashes(folder, held) or _manifest(held, written)


def _again(folder: Path, held: Held) -> Compared:
    """What the rows say now; a section whose rows can't be used stands in `failed`."""
    rows, failed = {}, {}
    for name, version in held.versions.items():
        now = section(name).version
        found = store.read(folder / kept.ROWS, held.facts, section(name)) if version == now else None
        if found is not None:
            rows[name] = found
        elif version != now:
            failed[name] = f"its rows are of version {version}; this program has version {now}."
        else:
            failed[name] = "its rows are not there, can't be read, or are of another comparison."
    try:
        return run.summarised(held.facts, rows, {}, failed=failed)
    except (LookupError, TypeError, ArithmeticError, AttributeError) as error:
        raise ManifestError("The rows are not ones that this program wrote.") from error


def difference(written: Any, again: Any, name: str = "") -> str:
    """Where two things of JSON first differ, as a sentence that names the place; empty where they agree."""
    if isinstance(written, Mapping) and isinstance(again, Mapping):
        return _in_mappings(written, again, name)
    if isinstance(written, list) and isinstance(again, list) and len(written) == len(again):
        places = (
            difference(*pair, f"{name}[{k}]") for k, pair in enumerate(zip(written, again, strict=True))
        )
        return next(filter(None, places), "")
    if _same(written, again):
        return ""
    return f"{name or 'the numbers'}: the report has {_short(written)}, the rows give {_short(again)}."


def _in_mappings(written: Mapping[str, Any], again: Mapping[str, Any], name: str) -> str:
    for key in dict.fromkeys((*again, *written)):
        place = f"{name}.{key}" if name else str(key)
        if key not in written:
            return f"{place}: the report lacks it, the rows give {_short(again[key])}."
        if key not in again:
            return f"{place}: the report has {_short(written[key])}, which the rows don't give."
        if found := difference(written[key], again[key], place):
            return found
    return ""


def _same(one: Any, other: Any) -> bool:
    numbers = all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in (one, other))
    if numbers:
        return math.isclose(one, other, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    return type(one) is type(other) and bool(one == other)


def _short(value: Any) -> str:
    words = repr(value)
    return words if len(words) <= 80 else f"{words[:79]}…"


def _page(folder: Path, compared: Compared) -> str:
    """The first sentence that the page lacks."""
    page = _bytes(folder / story.PAGE, LARGEST_PAGE).decode(errors="replace")
    for name, found in compared.found.items():
        for sentence in (found.verdict, *found.sentences, *found.undefined):
            if escape(sentence) not in page:
                return f"{name}: {story.PAGE} lacks what the rows say: {sentence}"
    return ""


def _hashes(folder: Path, held: Held) -> str:
    for name, expected in held.rows.items():
        if story_manifest.digest(_bytes(folder / name, store.LARGEST_FILE)) != expected:
            return f"{name}: its sha256 is not the one in the manifest."
    return ""


def _manifest(held: Held, written: Any) -> str:
    if held.numbers is None or held.numbers == written:
        return ""
    return f"{story.MANIFEST}: its numbers are not those of {story.NUMBERS}."


def _bytes(path: Path, most: int) -> bytes:
    """A file's content; raises `ManifestError` when it is not there or too large."""
    try:
        if path.stat().st_size > most:
            raise ManifestError(f"{path} has more than {most // 2**20} MiB.")
        return path.read_bytes()
    except OSError as error:
        raise ManifestError(f"{path} can't be read: {error.strerror}.") from error
