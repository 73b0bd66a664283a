"""Which cells a sweep has: one for each network, dataset, degradation, severity and seed. Nothing is computed here.

A cell is what is computed and stored as a whole: the answers of one network to all images of a split under one
condition. Its fields say everything that its numbers depend on, apart from the dataset's content, so equal cells have
equal results and another version of a network or degradation is another cell.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace

from data.catalogue import dataset, file_stem
from data.corruption_constants import default_scale
from data.degradations import (
    DEGRADATIONS,
    degradations_in,
    max_severity,
    resolve_name,
    resolve_scale,
)
from data.remedies import NAMES, TOLD, refusal, versioned
from models.cards import Card

CLEAN = "clean"
"""The degradation of the cells without one, at severity 0, which all conditions of a network are compared with."""
PRECISIONS = ("fp32", "bf16")
PAPER = ("gaussian_noise", "gaussian_blur", "motion_blur", "jpeg_compression", "pixelate")
SETS = {"paper": "paper-relative", "cifar-c": "cifar-c", "imagenet-c": "imagenet-c"}
"""Named sets of degradations and their scales: the paper's five at 3 levels, or all that the scale has at 5."""

REMEDY_SETS = {
    "none": ("",),
    "blind": tuple(name for name in NAMES if not name.endswith(TOLD)),
    "told": tuple(name for name in NAMES if name.endswith(TOLD)),
    "all": ("", *NAMES),
}
"""Named sets of remedies; the empty name is that of none."""

_NAME_LENGTH = 100
_HASH_LENGTH = 12


@dataclass(frozen=True, order=True)
class Cell:
    """One network on one split under one condition.

    `severity` is in the levels of `scale` (both 0 and empty where `degradation` is `CLEAN`). `seed` is that of the
    dataset's random degradations, 0 for those that draw nothing. `remedy` names what is done to the degraded image
    before the network sees it, with its version (see `data.remedies`), empty for nothing. `limit` is the number of
    images, evenly spread, 0 for all.
    """

    dataset: str
    split: str
    model: str
    model_sha256: str
    degradation: str
    scale: str
    severity: float
    seed: int
    degradation_version: int
    remedy: str = ""
    precision: str = "fp32"
    limit: int = 0

    @property
    def key(self) -> str:
        """A name for files, the same in any process: readable, and ending in a hash of all fields."""
        words = [self.degradation]
        if self.degradation != CLEAN:
            words += [self.scale, f"{self.severity:g}", f"s{self.seed}"]
        words += [self.remedy, "" if self.precision == PRECISIONS[0] else self.precision]
        words += [f"n{self.limit}"] if self.limit else []
        text = json.dumps(list(asdict(self).values()))
        digest = hashlib.sha256(text.encode()).hexdigest()[:_HASH_LENGTH]
        return _safe("-".join(word for word in words if word)) + f"-{digest}"

    @property
    def path(self) -> str:
        """Where the cell is stored in a folder of results: `DATASET/NETWORK/KEY.parquet`."""
        return f"{_safe(file_stem(self.dataset))}/{_safe(self.model)}/{self.key}.parquet"

    @property
    def pixels(self) -> Cell:
        """The cell without its network: equal for all cells whose networks see the same images."""
        return replace(self, model="", model_sha256="", precision="")

    @property
    def condition(self) -> str:
        """The condition in words for tables, such as `gaussian_noise 3`."""
        words = [self.degradation, "" if self.degradation == CLEAN else f"{self.severity:g}", self.remedy]
        return " ".join(word for word in words if word)


def _safe(text: str) -> str:
    """A name that any file system takes, with nothing that leads out of a folder."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).lstrip(".")[:_NAME_LENGTH] or "_"


def clean(cell: Cell) -> Cell:
    """The cell of the same network on the same images as they are, without degradation or remedy."""
    return degraded(replace(cell, remedy=""), CLEAN, "", 0, 0)


def degraded(cell: Cell, degradation: str, scale: str, severity: float, seed: int) -> Cell:
    """The cell of the same network and split under another condition.

    What does not matter is made the same: severity 0 of any degradation is `CLEAN`, aliases become names, and the
    seed is 0 where nothing is drawn. Raises `ValueError` for a degradation, scale or severity that is not allowed.
    """
    if degradation != CLEAN:
        entry, full = DEGRADATIONS[resolve_name(degradation)], resolve_scale(scale)
        highest = max_severity(entry.name, full)
        if not 0 <= severity <= highest:
            raise ValueError(
                f"severity {severity:g} is out of range; {entry.name} on scale {full!r} takes 0 to {highest}."
            )
        if severity:
            drawn = seed if entry.random else 0
            return _with(cell, entry.name, full, float(severity), drawn, entry.version)
    elif severity:
        raise ValueError(f"the severity of {CLEAN} is {severity:g}; allowed is 0.")
    return _with(cell, CLEAN, "", 0.0, 0, 0)


def _with(cell: Cell, degradation: str, scale: str, severity: float, seed: int, version: int) -> Cell:
    return replace(
        cell,
        degradation=degradation,
        scale=scale,
        severity=severity,
        seed=seed,
        degradation_version=version,
    )


def conditions(
    names: Sequence[str], scale: str | None, severities: Sequence[float] | None, image_size: int
) -> tuple[tuple[str, str, float], ...]:
    """Degradation, scale and severity of every condition that is asked for, the clean one first, each once.

    `names` are those of `SETS`, of degradations, or `clean`. A scale that is not given is the set's own, or that
    which fits `image_size`; severities that are not given are all whole ones. A set's scale can only be changed for
    `paper` (to `paper-literal`). Raises `ValueError` with one sentence for anything that is not allowed.
    """
    found = [(CLEAN, "", 0.0)]
    for name in names:
        for degradation, full in _members(name, scale, image_size):
            levels = severities or range(1, max_severity(degradation, full) + 1)
            found += [(degradation, full, float(level)) for level in levels]
    return tuple(dict.fromkeys(found))


def _members(name: str, scale: str | None, image_size: int) -> list[tuple[str, str]]:
    """The degradations that a name stands for, with their scale."""
    full = resolve_scale(scale) if scale else None
    if name in SETS:
        chosen = full or SETS[name]
        if chosen.split("-")[0] != name.split("-")[0]:
            raise ValueError(f"the set {name} was asked for on scale {chosen!r}; its own is {SETS[name]!r}.")
        return [(each, chosen) for each in (PAPER if name == "paper" else degradations_in(chosen))]
    if name == CLEAN:
        return []
    try:
        degradation = resolve_name(name)
    except ValueError as error:
        raise ValueError(f"{error}; or the sets {', '.join(SETS)}, or {CLEAN}.") from error
    return [(degradation, full or default_scale(image_size, image_size))]


def _repaired(
    remedies: Sequence[str], asked: Sequence[tuple[str, str, float]]
) -> list[tuple[str, tuple[str, str, float]]]:
    """Every remedy, by its name with the version, with every condition that it applies to."""
    found = []
    for name in dict.fromkeys(remedies):
        for remedy in REMEDY_SETS.get(name, (name,)):
            refused = {each: refusal_of(remedy, each) for each in asked}
            if name not in REMEDY_SETS and all(refused.values()):
                raise ValueError(f"{list(refused.values())[-1]}.")
            full = versioned(remedy) if remedy else ""
            found += [(full, each) for each in asked if not refused[each]]
    return list(dict.fromkeys(found))


def refusal_of(remedy: str, condition: tuple[str, str, float]) -> str:
    """Why a remedy does not apply to a condition (degradation, scale, severity), empty where it does."""
    degradation, _scale, severity = condition
    return refusal(remedy, degradation if severity else CLEAN) if remedy else ""


def where_told(cells: Iterable[Cell]) -> tuple[str, ...]:
    """For every told remedy of the cells, one sentence that says under what it is used and that others lack it."""
    found: dict[str, dict[str, None]] = {}
    for cell in cells:
        if TOLD in cell.remedy:
            found.setdefault(cell.remedy, {})[cell.degradation] = None
    return tuple(
        f"{remedy} is for {', '.join(known)}, and left out elsewhere." for remedy, known in found.items()
    )


def grid(
    datasets: Sequence[str],
    models: Sequence[Card],
    degradations: Sequence[str],
    *,
    severities: Sequence[float] | None = None,
    scale: str | None = None,
    split: str = "test",
    seed: int = 0,
    remedies: Sequence[str] = ("none",),
    precision: str = PRECISIONS[0],
    limit: int = 0,
) -> tuple[Cell, ...]:
    """Every cell of a sweep, each once, in the order in which they are best computed: all networks side by side.

    `remedies` are names of `REMEDY_SETS` or of remedies; told ones are left out where they do not apply. Raises
    `ValueError` with one sentence for a name, severity, scale, split, precision or limit that is not allowed, for a
    remedy that applies to nothing that is asked for, and for a network that does not know the classes of a dataset or
    takes images of another size.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"the precision is {precision!r}; allowed are {', '.join(PRECISIONS)}.")
    if limit < 0 or not models:
        given = f"limit is {limit}" if models else "no network is named"
        raise ValueError(f"{given}; needed are at least one network and a limit from 1 (0: all images).")
    found: dict[Cell, None] = {}
    for name in datasets:
        _check(name, split, models)
        entry = dataset(name)
        asked = conditions(degradations, scale, severities, entry.image_size)
        for (remedy, condition), card in itertools.product(_repaired(remedies, asked), models):
            blank = Cell(
                entry.name, split, card.name, card.sha256, CLEAN, "", 0.0, 0, 0, remedy, precision, limit
            )
            found[degraded(blank, *condition, seed)] = None
    return tuple(found)


def _check(name: str, split: str, models: Sequence[Card]) -> None:
    """Raise `ValueError` unless the dataset has the split and fits every network."""
    entry = dataset(name)
    if split not in entry.splits:
        raise ValueError(f"{name} has no split {split!r}; allowed are {', '.join(entry.splits)}.")
    for card in models:
        unknown = [each for each in entry.classes if each not in card.classes]
        if unknown:
            raise ValueError(
                f"{card.name} does not know {len(unknown):,} of the {len(entry.classes):,} classes of {name}, "
                f"such as {unknown[0]!r}; its own are {', '.join(card.classes[:4])}, ..."
            )
        if card.input_size != entry.image_size:
            raise ValueError(
                f"{card.name} takes images of {card.input_size} px, but {name} has {entry.image_size} px "
                "(a folder's are set by folder:PATH@SIZE)."
            )
