"""Training curves as they were stored, and what a reader of them must know."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models import zoo
from models.cards import Card

COLUMNS = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
LARGEST_FILE = 2**22
_LARGEST = 1e30
Curve = Sequence[Mapping[str, float]]


class CurveError(ValueError):
    """A training curve that can't be used; the message is one sentence."""


def curve_of(card: Card) -> Curve | None:
    """One row for each epoch with at least `COLUMNS` (accuracies are shares in [0, 1]), None where none is stored.

    Raises `CurveError` when the file is damaged.
    """
    path = zoo.curve_path(card.name)
    return None if path is None else read_curve(path, card.name)


def read_curve(path: Path, name: str, columns: Sequence[str] = COLUMNS) -> Curve:
    """The rows of the curve of `name` in a JSON file, each with a finite number in every one of `columns`.

    Raises `CurveError` when the file is missing or damaged.
    """
    try:
        with path.open("rb") as stream:
            rows = json.loads(stream.read(LARGEST_FILE).decode())
    except (OSError, ValueError, RecursionError) as error:
        raise CurveError(f"the training curve of {name} can't be read: it is not JSON.") from error
    if not isinstance(rows, list) or not rows or not all(_sound(row, columns) for row in rows):
        raise CurveError(f"the training curve of {name} lacks numbers that a curve has.")
    return rows


def _sound(row: Any, columns: Sequence[str]) -> bool:
    return isinstance(row, dict) and all(
        type(row.get(column)) in (int, float) and abs(row[column]) < _LARGEST for column in columns
    )


def notes(card: Card) -> list[str]:
    """One sentence for each thing in the recipe that sets training and validation apart."""
    recipe = card.recipe
    changed = [words for key, words in _CHANGES.items() if recipe.get(key)]
    found = [f"Training figures are those of changed pictures ({', '.join(changed)})."] if changed else []
    found += [words.format(recipe[key]) for key, words in _LOSSES.items() if recipe.get(key)]
    found.append(f"Validation is measured on unchanged pictures{_averaged(recipe)}.")
    return found


_CHANGES = {
    "padding": "shifted",
    "flip": "mirrored",
    "rotation": "turned",
    "colour_jitter": "colours changed",
    "noise": "noise added",
    "degraded_share": "some degraded",
}
_LOSSES = {
    "label_smoothing": "The training loss includes label smoothing of {:g}, so it does not fall to zero.",
    "teacher_weight": "The training loss is to the share {:g} the distance to the teacher's answers.",
}


def _averaged(recipe: Mapping[str, Any]) -> str:
    return ", with the average of the latest weights" if recipe.get("average_epochs") else ""
