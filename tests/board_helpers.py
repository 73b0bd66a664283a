"""Made-up answers stored as a sweep stores them, for the tests of what shows stored answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from data.degradations import DEGRADATIONS, parameters
from models.files import write_text
from tests.answer_helpers import answers
from xai import result_folders
from xai.evaluation_grid import CLEAN, Cell
from xai.evaluation_store import FORMAT, save
from xai.predictions import Predictions
from xai.results import UNTOUCHED, Board, Condition

CLASSES = ("cat", "dog", "ship", "frog")
WIDTH = 32
DATASET = "cifar10-jpeg"
Answered = Mapping[tuple[str, Condition], Predictions]


def relative(degradation: str, severity: float, remedy: str = "") -> Condition:
    """A condition of the paper's grid."""
    return Condition(degradation, "paper-relative", float(severity), remedy)


def cifar_c(degradation: str, severity: float) -> Condition:
    """A condition of CIFAR-10-C."""
    return Condition(degradation, "cifar-c", float(severity))


def right_of(
    right: int, images: int = 40, classes: int = len(CLASSES), confidence: float = 0.75
) -> Predictions:
    """Answers to `images` images of all classes in turn, of which the first `right` are told right."""
    labels = np.arange(images) % classes
    predicted = np.where(np.arange(images) < right, labels, (labels + 1) % classes)
    return answers(labels, predicted, classes, confidence)


def cell_of(model: str, condition: Condition, dataset: str = DATASET) -> Cell:
    """The cell of a network that is known by its name alone."""
    clean = condition.degradation == CLEAN
    version = 0 if clean else DEGRADATIONS[condition.degradation].version
    digest = hashlib.sha256(model.encode()).hexdigest()
    where = (condition.degradation, condition.scale, condition.severity, 0, version, condition.remedy)
    return Cell(dataset, "test", model, digest, *where)


def store(folder: Path, answered: Answered, classes: Sequence[str] = CLASSES, dataset: str = DATASET) -> Path:
    """Store answers in a folder; those of clean images with all probabilities, the others in the compact form."""
    for (model, condition), rows in answered.items():
        cell = cell_of(model, condition, dataset)
        clean = condition.degradation == CLEAN
        where = (condition.degradation, condition.severity, condition.scale, WIDTH)
        facts = {
            "format": FORMAT,
            **{name: str(value) for name, value in asdict(cell).items()},
            "classes": json.dumps(list(classes)),
            "data_sha256": "0123456789abcdef" * 4,
            "constants": json.dumps({} if clean else parameters(*where)),
            "versions": json.dumps({"torch": "made up"}),
        }
        (folder / cell.path).parent.mkdir(parents=True, exist_ok=True)
        save(folder, cell, rows if condition == UNTOUCHED else rows.compact(), facts)
    write_text(folder / "summary.csv", "")
    return folder


def board_of(folder: Path, answered: Answered, classes: Sequence[str] = CLASSES) -> Board:
    """The board of stored answers, all of the same images."""
    (board,) = result_folders.open_results([store(folder, answered, classes)]).boards.values()
    return board
