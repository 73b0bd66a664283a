"""The results of a sweep on disk: one Parquet file for each cell, written whole or not at all.

The file's metadata holds every field of its `Cell` (as text, under the field's name), `classes` (JSON), `data_sha256`
(ids, labels and pixels of the clean images), `constants` (of the degradation, JSON), `remedy_constants` (where there
is a remedy: its own, JSON), and `versions` (JSON). Its name ends in a hash of the cell's fields, so results of another
network or degradation never take its place. The folder may hold anything else besides.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from data import degradations, remedies
from data.datasets import ImageSource
from models.files import write_text
from xai import tables
from xai.evaluation_grid import CLEAN, Cell
from xai.predictions import Answers, Predictions, PredictionsError
from xai.predictions_file import read_answers, read_facts, write
from xai.statistics import wilson
from xai.tables import Row

SUMMARY_FILE = "summary.csv"
FORMAT = "xai-cell-1"
_KINDS = {"str": str, "int": int, "float": float}


def data_sha256(data: ImageSource) -> str:
    """Hash of the ids, classes, labels and pixels of a set of images."""
    digest = hashlib.sha256(json.dumps([data.classes, data.ids]).encode())
    digest.update(data.labels.cpu().contiguous().numpy().data)
    for part in data.content():
        digest.update(part)
    return digest.hexdigest()


def facts_of(cell: Cell, data: ImageSource, classes: Sequence[str], data_digest: str) -> dict[str, str]:
    """What a cell's file says of itself; `classes` are those that its class numbers mean."""
    texts = {name: str(value) for name, value in asdict(cell).items()}
    size = data.pixels(slice(0)).shape
    known = (cell.degradation, cell.severity, cell.scale, size[-1])
    constants = {} if cell.degradation == CLEAN else degradations.parameters(*known)
    own = remedies.parameters(cell.remedy, *known, size[-2]) if cell.remedy else {}
    repair = {"remedy_constants": json.dumps(own)} if cell.remedy else {}
    made_by = {**versions(), **{name: version(name) for name in remedies.MADE_BY if cell.remedy}}
    return {
        "format": FORMAT,
        **texts,
        "classes": json.dumps(list(classes)),
        "data_sha256": data_digest,
        "constants": json.dumps(constants),
        **repair,
        "versions": json.dumps(made_by),
    }


def versions() -> dict[str, str]:
    """Versions of what makes the pixels and the answers."""
    import PIL

    return {
        "torch": torch.__version__,
        "numpy": np.__version__,
        "pillow": PIL.__version__,
        "python": platform.python_version(),
    }


def cell_of(facts: Mapping[str, str], name: str) -> Cell:
    """The cell of a file called `name` that says this of itself; raises `PredictionsError` when it is of none."""
    try:
        if facts["format"] != FORMAT:
            raise ValueError("another format")
        cell = Cell(**{entry.name: _KINDS[str(entry.type)](facts[entry.name]) for entry in fields(Cell)})
    except (KeyError, ValueError) as error:
        raise PredictionsError(f"{name} is no result of a sweep of this version of the program.") from error
    if name != f"{cell.key}.parquet":
        raise PredictionsError(f"{name} holds another cell than its name says: {cell.key}.")
    return cell


def _check_facts(facts: Mapping[str, str], name: str) -> None:
    """Raise `PredictionsError` unless the file says what its class numbers mean and of which images it is."""
    try:
        classes = json.loads(facts["classes"])
        named = isinstance(classes, list) and all(isinstance(each, str) for each in classes)
        others = [json.loads(facts.get(key, "{}")) for key in ("constants", "versions")]
        sound = named and facts["data_sha256"] and all(isinstance(each, dict) for each in others)
    except (KeyError, ValueError, RecursionError):
        sound = False
    if not sound:
        raise PredictionsError(f"{name} does not say which classes and images its answers are of.")


def save(folder: Path, cell: Cell, rows: Predictions | Answers, facts: Mapping[str, str]) -> Path:
    """Store a cell's answers by rename; hold the lock of its group, as left-overs of killed writers are removed."""
    path = folder / cell.path
    for left_over in path.parent.glob(f".{path.name}.*"):
        left_over.unlink(missing_ok=True)
    write(path, rows, {**facts, "form": "compact" if isinstance(rows, Answers) else "full"})
    return path


def is_stored(folder: Path, cell: Cell, data_digest: str, compact: bool) -> bool:
    """Whether a sound file holds the cell's answers to these very images, with all probabilities unless `compact`."""
    path = folder / cell.path
    try:
        facts = read_answers(path).facts if path.is_file() else {}
        return (
            cell_of(facts, path.name) == cell
            and facts["data_sha256"] == data_digest
            and (compact or facts["form"] == "full")
        )
    except (PredictionsError, KeyError):
        return False


@dataclass(frozen=True)
class Stored:
    """A cell on disk: its file, what that says of itself, and a `stamp` that changes when the file does."""

    cell: Cell
    path: Path
    facts: Mapping[str, str]
    stamp: tuple[int, int]


def listed(folder: Path) -> tuple[dict[Cell, Stored], tuple[str, ...]]:
    """Every cell in a folder, and one sentence for each Parquet file that is none.

    Only what files say of themselves is read, not their rows: `read_answers` may still refuse one.
    """
    found: dict[Cell, Stored] = {}
    problems = []
    for path in sorted(folder.rglob("*.parquet")):
        try:
            facts, state = read_facts(path), path.stat()
            cell = cell_of(facts, path.name)
            _check_facts(facts, path.name)
            found[cell] = Stored(cell, path, facts, (state.st_mtime_ns, state.st_size))
        except PredictionsError as error:
            problems.append(str(error))
    return found, tuple(problems)


def stored(folder: Path) -> tuple[dict[Cell, Path], tuple[str, ...]]:
    """Every cell in a folder with its file, and problems as `listed` tells them."""
    found, problems = listed(folder)
    return {cell: entry.path for cell, entry in found.items()}, problems


def summary_rows(
    folder: Path, failed: Mapping[Cell, str] | None = None
) -> tuple[dict[Cell, Row], tuple[str, ...]]:
    """A row for every stored cell and every failed one, and one sentence for each file that can't be used.

    A row has every field of the cell, `n` images, how many are `right`, `accuracy` (share in [0, 1]), the ends of its
    Wilson interval at 95 % as `low` and `high`, and `failure`, the reason why there are no numbers.
    """
    cells, problems = stored(folder)
    rows = {cell: _failed_row(cell, reason) for cell, reason in (failed or {}).items()}
    unusable = list(problems)
    for cell, path in cells.items():
        try:
            rows[cell] = _row(cell, read_answers(path))
        except PredictionsError as error:
            unusable.append(str(error))
    return dict(sorted(rows.items())), tuple(unusable)


def _row(cell: Cell, answers: Answers) -> Row:
    right, count = int(answers.correct.sum()), len(answers)
    low, high = wilson(right, count)
    numbers = {"n": count, "right": right, "accuracy": right / count, "low": low, "high": high}
    return {**asdict(cell), **numbers, "failure": ""}


def _failed_row(cell: Cell, reason: str) -> Row:
    return {**asdict(cell), **dict.fromkeys(("n", "right", "accuracy", "low", "high")), "failure": reason}


def write_summary(folder: Path, rows: Mapping[Cell, Row]) -> Path:
    """Write the rows as `summary.csv` by rename; accuracies are in full, so that they can be computed with."""
    path = folder / SUMMARY_FILE
    write_text(path, tables.as_csv(list(rows.values())))
    return path
