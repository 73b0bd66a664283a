"""A folder's class names and those of a network: proposed by name, corrected by the user, kept in `classes.json`.

The file lies in the folder itself and is one JSON object, from each class of the folder to the network's name for
it, or to null for a class that is left out. Two classes with the same name there are one.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch

from data.datasets import DatasetError, Source
from data.storage import write_text

FILE = "classes.json"
MAX_BYTES = 2**20
MAX_NAME = 200
LEAST_CLASSES = 2
HOW = {
    "same": "the same name",
    "spelling": "the same but for capitals, spaces and signs",
    "number": "the same in another number",
    "similar": "a similar name, one letter apart: please confirm",
    "several": "a name of several classes: please choose",
    "none": "no such class",
    "given": "given by you",
}
"""How a name was found, in words."""
_SURE = ("same", "spelling", "number", "given")
_LEAST_SIMILAR = 4  # letters: of three, one letter makes another animal
_IRREGULAR = {"mice": "mouse", "geese": "goose", "men": "man", "women": "woman", "people": "person"}
_IRREGULAR |= {"children": "child", "feet": "foot", "teeth": "tooth", "oxen": "ox", "dice": "die"}


class Match(NamedTuple):
    """One class of the folder, the network's class that is proposed for it (None: none), and how: a key of HOW."""

    own: str
    known: str | None
    how: str

    @property
    def sure(self) -> bool:
        """Whether it counts without the user's word."""
        return self.how in _SURE


@dataclass(frozen=True)
class ClassMapping:
    """A match for each class of the folder; what is not sure counts as left out."""

    matches: tuple[Match, ...]

    @property
    def pairs(self) -> dict[str, str | None]:
        """The network's class for each of the folder's, None where that is left out."""
        return {match.own: match.known if match.sure else None for match in self.matches}

    @property
    def classes(self) -> tuple[str, ...]:
        """The network's classes that are used, in the order of the folder's."""
        return tuple(dict.fromkeys(name for name in self.pairs.values() if name is not None))

    @property
    def left_out(self) -> tuple[str, ...]:
        """Classes of the folder without a class of the network."""
        return tuple(own for own, known in self.pairs.items() if known is None)

    def corrected(self, corrections: Mapping[str, str | None], known: Iterable[str]) -> ClassMapping:
        """With the user's word for some classes; raises `DatasetError` for a name that there is not."""
        allowed = set(known)
        for own, name in corrections.items():
            if own not in self.pairs:
                raise DatasetError(f"there is no class {own!r}; the folder's are {_few(self.pairs)}.")
            if name is not None and name not in allowed:
                raise DatasetError(f"the network has no class {name!r}; it has {_few(sorted(allowed))}.")
        return ClassMapping(
            tuple(
                Match(each.own, corrections[each.own], "given") if each.own in corrections else each
                for each in self.matches
            )
        )


def _few(names: Iterable[str], most: int = 12) -> str:
    listed = list(names)
    more = f" and {len(listed) - most:,} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


def propose(own: Sequence[str], known: Sequence[str]) -> ClassMapping:
    """A match by name for each of the folder's classes `own` among a network's classes `known`.

    A known class of several names with commas, as ImageNet's, goes by each of them. A name one letter away, or that two
    known classes go by, is proposed but not `sure`.
    """
    steps = (("same", _itself), ("spelling", _plain), ("number", _singulars), ("similar", _shortened))
    tables = [(how, forms, _table(known, forms)) for how, forms in steps]
    return ClassMapping(tuple(_match(name, tables) for name in own))


def _match(own: str, tables: Sequence[tuple[str, Any, dict[str, list[str]]]]) -> Match:
    for how, forms, table in tables:
        found = list(dict.fromkeys(known for form in sorted(forms(own)) for known in table.get(form, ())))
        if found:
            return Match(own, found[0], how if len(found) == 1 or how == "similar" else "several")
    return Match(own, None, "none")


def _table(known: Iterable[str], forms: Any) -> dict[str, list[str]]:
    """Known classes by every form of every name they go by."""
    table: dict[str, list[str]] = {}
    for name in known:
        for form in {form for called in {name, *name.split(",")} for form in forms(called.strip())}:
            table.setdefault(form, []).append(name)
    return table


def _itself(name: str) -> set[str]:
    return {name}


def _plain(name: str) -> set[str]:
    return {" ".join(re.split(r"[\s_\-./]+", unicodedata.normalize("NFKC", name).casefold())).strip()}


def _singulars(name: str) -> set[str]:
    """A name, and what it may be one or many of."""
    (plain,) = _plain(name)
    start, space, word = plain.rpartition(" ")
    words = {word, _IRREGULAR.get(word, word)}
    if len(word) > 3 and word.endswith("s") and not word.endswith("ss"):
        words.add(word[:-1])
        for ending, one in (("es", ""), ("ies", "y"), ("ves", "f"), ("ves", "fe")):
            if word.endswith(ending):
                words.add(word.removesuffix(ending) + one)
    return {start + space + each for each in words}


def _shortened(name: str) -> set[str]:
    """A name without any one of its letters: names one letter apart, or with two in turn, have one of these alike."""
    (plain,) = _plain(name)
    if len(plain) < _LEAST_SIMILAR:
        return set()
    return {plain, *(plain[:place] + plain[place + 1 :] for place in range(len(plain)))}


def apply(data: Source, mapping: ClassMapping) -> Source:
    """The images with the network's class names; those of classes that are left out are not there, and counted in
    `notes`. Raises `DatasetError` where a class of theirs is not in the mapping, or fewer than 2 classes remain."""
    check(mapping, data.classes)
    names, pairs = mapping.classes, mapping.pairs
    numbers = torch.tensor(
        [-1 if (known := pairs[own]) is None else names.index(known) for own in data.classes]
    )
    labels = numbers[data.labels]
    rows = torch.nonzero(labels >= 0)[:, 0]
    kept = data if len(rows) == len(data) else data.take(rows)
    without = [own for own in data.classes if pairs[own] is None]
    notes = (*data.notes, *_left_out(len(data) - len(rows), without))
    changed = replace(cast(Any, kept), classes=names, labels=labels[rows], notes=notes)
    return cast(Source, changed)


def _left_out(count: int, names: Sequence[str]) -> tuple[str, ...]:
    if not names:
        return ()
    classes = "1 class" if len(names) == 1 else f"{len(names):,} classes"
    images = "1 image" if count == 1 else f"{count:,} images"
    return (f"{images} of {classes} without a class of the network are left out: {_few(names, 3)}.",)


def check(mapping: ClassMapping, own: Sequence[str]) -> None:
    """Raise `DatasetError` unless the mapping is of exactly these classes and leaves at least 2."""
    if missing := [name for name in own if name not in mapping.pairs]:
        raise DatasetError(f"{FILE} says nothing of the class {missing[0]}; write it anew with `data map`.")
    if extra := [name for name in mapping.pairs if name not in own]:
        raise DatasetError(f"{FILE} names a class {extra[0]!r} that is not there; there are {_few(own)}.")
    if len(mapping.classes) < LEAST_CLASSES:
        raise DatasetError(
            f"of {len(own):,} classes {len(mapping.classes)} has a name that the network knows; "
            f"at least {LEAST_CLASSES} are needed, so set others."
        )


def write(root: Path, mapping: ClassMapping) -> Path:
    """Write the mapping into a folder of pictures, by rename, and return the file."""
    return write_text(root / FILE, json.dumps(mapping.pairs, indent=1, ensure_ascii=False) + "\n")


def read(root: Path, own: Sequence[str]) -> ClassMapping | None:
    """What `write` wrote for the folder's classes `own`, None where there is no file.

    Raises `DatasetError` with one sentence for a file that is damaged, or that does not fit the folder.
    """
    file = root / FILE
    if not file.is_file() or file.is_symlink():
        return None
    mapping = _parsed(file)
    check(mapping, own)
    return mapping


def _parsed(file: Path) -> ClassMapping:
    form = f"{FILE} is no JSON object from each class's name to another name or null"
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise DatasetError(f"{FILE} is larger than the allowed {MAX_BYTES // 2**20} MiB.")
        pairs = json.loads(content.decode(), object_pairs_hook=tuple)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise DatasetError(f"{form}.") from error
    if not isinstance(pairs, tuple) or not all(_is_entry(*pair) for pair in pairs):
        raise DatasetError(f"{form}.")
    if len(dict(pairs)) < len(pairs):
        raise DatasetError(f"{FILE} names a class twice.")
    return ClassMapping(tuple(Match(own, known, "given") for own, known in pairs))


def _is_entry(own: str, known: object) -> bool:
    """Whether it is a class and a printable name of bearable length, or null."""
    if not isinstance(known, str):
        return known is None
    return bool(own) and known.isprintable() and bool(known.strip()) and len(known) <= MAX_NAME
