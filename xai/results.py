"""What is comparable among the stored answers of sweeps: conditions, settings, and the board of a setting.

A `Board` holds what may be compared: networks x conditions, all of the same images in the same order. Nothing is read
before it is asked for but what files say of themselves.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path, PurePath

import numpy as np

from data import remedies
from data.degradations import DEGRADATIONS, SCALES, severity_levels
from data.storage import cache_folder
from xai.evaluation_grid import CLEAN, Cell
from xai.evaluation_store import Stored
from xai.memo import Memo
from xai.predictions import Answers, Graded, Predictions, PredictionsError
from xai.predictions_file import read, read_answers

SHIPPED = Path(__file__).resolve().parent.parent / "data" / "results"
"""Answers that come with the project."""
_PROPER = ("Gaussian", "JPEG", "CLAHE", "Lanczos", "Wiener")
"""How titles begin that keep their capital within a sentence."""


def local_folder() -> Path:
    """Where the app keeps its sweeps: `$XAI_RESULTS`, else `results` in the cache folder."""
    return Path(os.environ.get("XAI_RESULTS") or cache_folder() / "results")


@dataclass(frozen=True)
class Condition:
    """What was done to the images: degradation, its scale and severity, and the remedy after it (empty for none)."""

    degradation: str
    scale: str
    severity: float
    remedy: str = ""

    @property
    def name(self) -> str:
        """Short and the same in every file, such as `gaussian_noise 3` or `gaussian_noise 3 nlm`."""
        words = [self.degradation, f"{self.severity:g}" if self.severity else "", self.remedy]
        return " ".join(word for word in words if word)

    @property
    def title(self) -> str:
        """In words, such as `Gaussian noise, high` or `Gaussian noise, 5 of 5, then Median (blind)`."""
        then = f", then {remedies.title(self.remedy)}" if self.remedy else ""
        if self.degradation == CLEAN:
            return f"Clean{then}"
        return f"{DEGRADATIONS[self.degradation].title}, {level(self)}{then}"

    @property
    def words(self) -> str:
        """The title within a sentence: `low resolution, high`, but `Gaussian noise, high`."""
        return ", then ".join(
            part if part.startswith(_PROPER) else part[:1].lower() + part[1:]
            for part in self.title.split(", then ")
        )

    @property
    def plain(self) -> Condition:
        """The same without its remedy."""
        return replace(self, remedy="")


UNTOUCHED = Condition(CLEAN, "", 0.0)
"""The images as they are."""


def level(condition: Condition) -> str:
    """The severity in words: `low`, `medium` or `high` on the paper's scales, else such as `3 of 5`."""
    labels = severity_levels(condition.degradation, condition.scale)
    whole = condition.severity == int(condition.severity)
    if whole and condition.scale.startswith("paper"):
        return labels[int(condition.severity) - 1]
    return f"{condition.severity:g} of {len(labels)}"


def condition_of(cell: Cell) -> Condition:
    """The condition of a cell."""
    return Condition(cell.degradation, cell.scale, cell.severity, cell.remedy)


def _condition_order(condition: Condition) -> tuple[int, int, float, str]:
    """Clean first, then by scale, in the order of the registries, from mild to severe."""
    if condition.degradation == CLEAN:
        return (-1, 0, 0.0, condition.remedy)
    places = list(SCALES).index(condition.scale), list(DEGRADATIONS).index(condition.degradation)
    return (*places, condition.severity, condition.remedy)


@dataclass(frozen=True, order=True)
class Setting:
    """What answers must share to be compared: images (`limit` 0 is all of the split), arithmetic, and random draws."""

    dataset: str
    split: str
    limit: int
    precision: str
    seed: int
    data_sha256: str

    @property
    def title(self) -> str:
        """In words, such as `cifar10-jpeg test, 2,000 images`."""
        family, colon, rest = self.dataset.partition(":")
        name = f"{family}{colon}{PurePath(rest).name}"  # where a folder lies is nobody's business
        words = [f"{name} {self.split}, {f'{self.limit:,}' if self.limit else 'all'} images"]
        words += [] if self.precision == "fp32" else [self.precision]
        words += [f"seed {self.seed}"] if self.seed else []
        return ", ".join(words)


@dataclass
class Board:
    """The answers under one setting: `models` and `conditions` in order, and what is stored of each pair.

    All answers are given with the same `ids` in the same order, and with class numbers that mean `classes`.
    """

    setting: Setting
    entries: Mapping[tuple[str, Condition], Stored]
    memo: Memo = field(repr=False)
    models: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()
    classes: tuple[str, ...] = ()
    _images: tuple[tuple[str, ...], np.ndarray] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.models = tuple(sorted({model for model, _ in self.entries}))
        self.conditions = tuple(sorted({c for _, c in self.entries}, key=_condition_order))
        self.classes = _union(_classes(stored) for stored in self.entries.values())

    def has(self, model: str, condition: Condition) -> bool:
        """Whether the network was asked under that condition."""
        return (model, condition) in self.entries

    def conditions_of(self, models: Iterable[str]) -> tuple[Condition, ...]:
        """The conditions under which all of the networks were asked, in order."""
        wanted = tuple(models)
        return tuple(c for c in self.conditions if all(self.has(model, c) for model in wanted))

    def cell(self, model: str, condition: Condition) -> Cell:
        """Which cell the answers are; raises `KeyError` where there are none."""
        return self.entries[model, condition].cell

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the images, in the order of all answers."""
        return self._known_images()[0]

    @property
    def labels(self) -> np.ndarray:
        """The right classes of the images, int64 `(N,)`, numbers of `classes`."""
        return self._known_images()[1]

    def __len__(self) -> int:
        return len(self.ids)

    def answers(self, model: str, condition: Condition) -> Answers | None:
        """What the network said, None where it was not asked; raises `PredictionsError` for a damaged file."""
        stored = self.entries.get((model, condition))
        if stored is None:
            return None
        # A file may be on two boards, whose networks, and so their class numbers, are not the same.
        key = ("answers", self.classes, str(stored.path), stored.stamp)
        predicted, confidence, right = self.memo(key, lambda: self._read(stored))
        return Answers(self.ids, self.labels, predicted, confidence, right, dict(stored.facts))

    def predictions(self, model: str, condition: Condition) -> Predictions | None:
        """The same with the probabilities of all classes, None where they were not stored."""
        stored = self.entries.get((model, condition))
        if stored is None or not is_full(stored) or _classes(stored) != self.classes:
            return None
        found: Predictions = self.memo(
            ("predictions", str(stored.path), stored.stamp), lambda: self._read_full(stored)
        )
        return found

    def _known_images(self) -> tuple[tuple[str, ...], np.ndarray]:
        if self._images is None:
            self._images = self._first_images()
        return self._images

    def _first_images(self) -> tuple[tuple[str, ...], np.ndarray]:
        """Ids and labels as the first file that can be read has them; raises `PredictionsError` where none can."""
        problem = PredictionsError("nothing is stored.")
        for stored in self.entries.values():
            try:
                rows = self._renumbered(stored, read_answers(stored.path))
            except PredictionsError as error:
                problem = error
            else:
                return rows.ids, rows.labels
        raise problem

    def _read(self, stored: Stored) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rows = self._renumbered(stored, read_answers(stored.path))
        self._check(stored, rows)
        return rows.predicted, rows.confidence, rows.label_probability

    def _read_full(self, stored: Stored) -> Predictions:
        rows = read(stored.path)
        self._check(stored, rows)
        return replace(rows, ids=self.ids, labels=self.labels)

    def _check(self, stored: Stored, rows: Graded) -> None:
        """Raise `PredictionsError` unless the rows are of this board's images, as their file says."""
        if rows.ids != self.ids or not np.array_equal(rows.labels, self.labels):
            raise PredictionsError(f"{stored.path.name} is not of the images that it says it is of.")

    def _renumbered(self, stored: Stored, rows: Answers) -> Answers:
        """The answers with class numbers that mean `classes`."""
        own = _classes(stored)
        if max(rows.labels.max(), rows.predicted.max()) >= len(own):
            raise PredictionsError(f"{stored.path.name} has a class number without a name.")
        if own == self.classes:
            return rows
        places = {name: place for place, name in enumerate(self.classes)}
        numbers = np.array([places[name] for name in own])
        return replace(rows, labels=numbers[rows.labels], predicted=numbers[rows.predicted])


def is_full(stored: Stored) -> bool:
    """Whether a file holds the probabilities of all classes, and not the compact form."""
    return stored.facts.get("form") == "full"


def _classes(stored: Stored) -> tuple[str, ...]:
    """Names of the classes that the file's class numbers mean."""
    return _parsed(stored.facts["classes"])


@lru_cache(64)
def _parsed(names: str) -> tuple[str, ...]:
    return tuple(json.loads(names))


def _union(names: Iterable[Sequence[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for each in dict.fromkeys(names) for name in each))
