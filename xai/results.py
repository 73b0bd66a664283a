"""The stored answers of sweeps, put together for whoever reads them: pages, reports, tables.

A `Board` holds what may be compared: networks x conditions, all of the same images in the same order. Answers of
earlier weights of a network, or of an earlier version of a degradation, are left out and counted. Nothing is read
before it is asked for but what files say of themselves.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path, PurePath

import numpy as np

from data import remedies
from data.degradations import DEGRADATIONS, SCALES, max_severity, severity_levels
from data.storage import cache_folder
from models.cards import Card
from xai.evaluation_grid import CLEAN, Cell
from xai.evaluation_store import Stored, listed
from xai.memo import Kept, Memo
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
        if stored is None or not _is_full(stored) or _classes(stored) != self.classes:
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


def _is_full(stored: Stored) -> bool:
    return stored.facts.get("form") == "full"


def _classes(stored: Stored) -> tuple[str, ...]:
    """Names of the classes that the file's class numbers mean."""
    return _parsed(stored.facts["classes"])


@lru_cache(64)
def _parsed(names: str) -> tuple[str, ...]:
    return tuple(json.loads(names))


def _union(names: Iterable[Sequence[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for each in dict.fromkeys(names) for name in each))


@dataclass(frozen=True)
class Results:
    """Everything stored in some folders: a board for each setting, and sentences on what was left out."""

    boards: dict[Setting, Board]
    notes: tuple[str, ...] = ()


Listing = tuple[Mapping[Cell, Stored], tuple[str, ...]]
"""The cells of one folder, and sentences on files that are none, as `evaluation_store.listed` gives them."""


def open_results(folders: Sequence[Path], cards: Mapping[str, Card] | None = None) -> Results:
    """What is stored in the folders, as `gather` puts it together; all that is read is kept."""
    return gather([listed(folder) for folder in folders], cards or {}, Kept())


def gather(listings: Iterable[Listing], cards: Mapping[str, Card], memo: Memo) -> Results:
    """One board for each setting; a cell that two folders have is taken from the first that has it in full.

    `cards` are the networks on this machine: answers of other weights under their names are left out, and of a
    network that is not here those of all weights but the ones with most cells. `memo` keeps what is read of the files.
    """
    found: dict[Cell, Stored] = {}
    notes: list[str] = []
    for cells, problems in listings:
        notes += problems
        for cell, stored in cells.items():
            if cell not in found or (_is_full(stored) and not _is_full(found[cell])):
                found[cell] = stored
    current = _of_one_hash({cell: stored for cell, stored in found.items() if _is_current(cell, cards)})
    old = Counter(cell.model for cell in found.keys() - current.keys())
    notes += [_outdated(model, count) for model, count in sorted(old.items())]
    return Results(_boards(current, memo), tuple(notes))


def signature(folder: Path) -> tuple[tuple[str, int], ...]:
    """What changes when a file is added to the folder or replaced by rename: the times of all folders in it.

    Hidden folders, such as that of a sweep's locks, hold no answers and come and go all the time.
    """
    times = []
    for place, below, _ in os.walk(folder):
        below[:] = [name for name in below if not name.startswith(".")]
        with contextlib.suppress(FileNotFoundError):  # gone since it was listed
            times.append((place, os.stat(place).st_mtime_ns))
    return tuple(times)


def _of_one_hash(cells: Mapping[Cell, Stored]) -> dict[Cell, Stored]:
    """The cells without those of a network's other weights: kept are the weights with the most cells."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for cell in cells:
        counts[cell.model][cell.model_sha256] += 1
    kept = {model: max(sorted(found), key=found.__getitem__) for model, found in counts.items()}
    return {cell: stored for cell, stored in cells.items() if cell.model_sha256 == kept[cell.model]}


def _is_current(cell: Cell, cards: Mapping[str, Card]) -> bool:
    """Whether it is of the weights and of the pixels that this machine would use now."""
    card = cards.get(cell.model)
    if card is not None and card.sha256 != cell.model_sha256:
        return False
    if not remedies.is_current(cell.remedy):
        return False
    if cell.degradation == CLEAN:
        return (cell.scale, cell.severity) == ("", 0)
    entry = DEGRADATIONS.get(cell.degradation)
    if entry is None or cell.scale not in entry.scales or cell.degradation_version != entry.version:
        return False
    return 0 < cell.severity <= max_severity(cell.degradation, cell.scale)


def _outdated(model: str, count: int) -> str:
    what = "1 stored cell" if count == 1 else f"{count:,} stored cells"
    return f"{what} of {model} left out: of other weights, or of another version of a degradation or remedy."


def _boards(cells: Mapping[Cell, Stored], memo: Memo) -> dict[Setting, Board]:
    """The cells by setting; one without random draws belongs to every seed of its images."""
    groups: defaultdict[Setting, list[Cell]] = defaultdict(list)
    for cell, stored in cells.items():
        data = stored.facts["data_sha256"]
        groups[Setting(cell.dataset, cell.split, cell.limit, cell.precision, 0, data)].append(cell)
    boards = {}
    for images, members in groups.items():
        for seed in sorted({cell.seed for cell in members if _draws(cell)} or {0}):
            chosen = sorted(cell for cell in members if not _draws(cell) or cell.seed == seed)
            entries = {(cell.model, condition_of(cell)): cells[cell] for cell in chosen}
            setting = replace(images, seed=seed)
            boards[setting] = Board(setting, entries, memo)
    return dict(sorted(boards.items()))


def _draws(cell: Cell) -> bool:
    """Whether the cell's pixels depend on its seed."""
    return cell.degradation != CLEAN and DEGRADATIONS[cell.degradation].random
