"""What a network answered to every image of a split: the rows from which accuracy, confusion and calibration come.

`Predictions` hold every probability; `Answers`, the compact form, only what most of what is derived needs. Both are
kept in files by `xai.predictions_file`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from data.datasets import ImageSet
from models import training
from models.cards import Card
from models.layers import evaluation_mode
from models.registry import Model


class PredictionsError(ValueError):
    """Predictions, or a file of them, that can't be used; the message is one sentence."""


@dataclass(frozen=True, eq=False)
class _Graded:
    """What both forms have: ids, right and predicted classes of N images."""

    ids: tuple[str, ...]
    labels: np.ndarray
    predicted: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def correct(self) -> np.ndarray:
        """Whether each answer is right, bool `(N,)`."""
        return self.predicted == self.labels

    @property
    def accuracy(self) -> float:
        """Share of right answers, in [0, 1]."""
        return float(self.correct.mean())


@dataclass(frozen=True, eq=False)
class Answers(_Graded):
    """The answers of one network to N images, without the probabilities of the other classes.

    `labels` and `predicted` are int64 `(N,)`, `ids` unique; `confidence` and `label_probability` are the probability
    of the predicted and of the right class, float16 `(N,)` in [0, 1]. `facts` as in `Predictions`.
    """

    confidence: np.ndarray
    label_probability: np.ndarray
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Predictions(_Graded):
    """The answers of one network to N images of K classes.

    `labels` and `predicted` are int64 `(N,)` in [0, K), `probabilities` float16 `(N, K)` in [0, 1], `ids` unique.
    `facts` is what the file says of itself (see `facts_of`), empty where the rows come from no file.
    """

    probabilities: np.ndarray
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def confidence(self) -> np.ndarray:
        """Probability of each image's predicted class, float16 `(N,)` in [0, 1]."""
        return self.probabilities[np.arange(len(self)), self.predicted]

    @property
    def label_probability(self) -> np.ndarray:
        """Probability of each image's right class, float16 `(N,)` in [0, 1]."""
        return self.probabilities[np.arange(len(self)), self.labels]

    def compact(self) -> Answers:
        """The same answers in the compact form."""
        return Answers(
            self.ids, self.labels, self.predicted, self.confidence, self.label_probability, self.facts
        )


Graded = Predictions | Answers
"""Either form: what needs no probability of the other classes takes both."""
Form = TypeVar("Form", bound=Predictions | Answers)
Read = Callable[[str], Predictions | None]
"""Answers of the network of that name on the test split, None where there are none; may raise `PredictionsError`."""


def predict(
    network: nn.Module | Model,
    data: ImageSet,
    device: torch.device | str | None = None,
    batch_size: int = 250,
) -> Predictions:
    """Answers to every image of `data`, in evaluation mode and float32, in batches on `device`.

    `device` is where the weights are, and need only be given to be explicit. A `Model` is used under its lock.
    Raises `ValueError` when the network does not have as many outputs as the data has classes.
    """
    lock = network.lock if isinstance(network, Model) else contextlib.nullcontext()
    module = network.network if isinstance(network, Model) else network
    where = torch.device(device) if device is not None else next(module.parameters()).device
    with lock, evaluation_mode(module):
        scores = training.logits(module, data.images, where, batch_size)
    if scores.shape[1] != len(data.classes):
        raise ValueError(
            f"the network tells {scores.shape[1]} classes apart, but {data.name} has {len(data.classes)}."
        )
    shares = scores.softmax(dim=1).numpy().astype(np.float16)
    return Predictions(data.ids, data.labels.cpu().numpy(), scores.argmax(dim=1).numpy(), shares)


def aligned(a: Graded, b: Form) -> Form:
    """The answers of `b` in the order of `a`'s images, so that row n of both is the same image.

    Raises `PredictionsError` (a `ValueError`) when the two are not answers to the same images with the same labels.
    """
    if a.ids != b.ids:
        b = _rows_in_order(b, _places(a, b))
    differing = np.flatnonzero(a.labels != b.labels)
    if len(differing):
        first = differing[0]
        raise PredictionsError(
            f"{_who(a, b)} differ in the labels of {len(differing):,} of {len(a):,} images, first of "
            f"{a.ids[first]}: {a.labels[first]} and {b.labels[first]}."
        )
    return b


def _places(a: Graded, b: Graded) -> list[int]:
    """Where each image of `a` stands in `b`."""
    places = {image: place for place, image in enumerate(b.ids)}
    missing = [image for image in a.ids if image not in places]
    if missing or len(a) != len(b):
        raise PredictionsError(
            f"{_who(a, b)} are of {len(a):,} and {len(b):,} images, of which {len(a) - len(missing):,} are the same; "
            "compared are only answers to the same images."
        )
    return [places[image] for image in a.ids]


def _rows_in_order(rows: Form, order: list[int]) -> Form:
    columns = {column.name: getattr(rows, column.name) for column in fields(rows)}
    arrays: dict[str, Any] = {
        name: value[order] for name, value in columns.items() if isinstance(value, np.ndarray)
    }
    return replace(rows, ids=tuple(rows.ids[place] for place in order), **arrays)


def _who(a: Graded, b: Graded) -> str:
    names = [rows.facts.get("model") for rows in (a, b)]
    return f"the answers of {names[0]} and {names[1]}" if all(names) else "the two sets of answers"


def facts_of(card: Card, split: str) -> dict[str, str]:
    """What a file of predictions says of itself: network, its sha256, dataset, split, classes and versions (JSON)."""
    return {
        "model": card.name,
        "sha256": card.sha256,
        "dataset": card.dataset,
        "split": split,
        "classes": json.dumps(card.classes),
        "versions": json.dumps(card.versions),
    }
