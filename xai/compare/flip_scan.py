"""Answers of a network at the places of a scan along a degradation, without asking again where it is sure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from data.corruption_constants import constants
from data.degradations import max_severity
from models.registry import Model
from xai.compare.bisection import places
from xai.compare.flip_statistics import JPEG, STRIDE, SURE, step_of
from xai.evaluation import forward_batch_size, shares

Degraded = Callable[[np.ndarray, np.ndarray], Tensor]
"""`degraded(rows, severities)`, both `(k,)`, gives those images at those severities, `(k, 3, H, W)` in [0, 1]."""


def places_of(name: str, scale: str, width: int) -> np.ndarray:
    """Severities of the scan along a degradation, ascending from 0, float64 `(k,)`.

    Steps of `step_of`; for JPEG, whose errors are others at every quality, those that give each whole quality.
    """
    highest = max_severity(name, scale)
    if name != JPEG:
        return places(highest, step_of(name))
    levels = np.arange(highest + 1)
    quality = np.array([constants(name, float(level), scale, width)["quality"] for level in levels])
    whole = np.arange(quality[0], quality[-1] - 1, -1)
    return np.interp(-whole, -quality, levels)


def graded(model: Model, images: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Predicted classes int64 `(n,)`, numbers of the network's own classes, of images `(n, 3, H, W)` in [0, 1], and
    their probabilities float64 `(n,)`."""
    size = forward_batch_size(images, model.device)
    parts = [shares(model, part.to(model.device), "fp32") for part in images.split(size) if len(part)]
    classes = np.concatenate([*(found for found, _ in parts), np.empty(0, np.int64)]).astype(np.int64)
    return classes, np.concatenate([*(found.max(axis=1) for _, found in parts), np.empty(0)])


@dataclass
class Scan:
    """What one network answers at the places `severities` `(k,)`, of which the first has the answers `clean` `(n,)`.

    `answers` int64 `(k, n)`. An image is asked about at every `stride`-th place and at the last, and at others as long
    as the last answer to it has a probability below `SURE`; in between it has the last answer.
    """

    model: Model
    severities: np.ndarray
    clean: np.ndarray
    stride: int
    answers: np.ndarray = field(init=False)
    asked: np.ndarray = field(init=False)
    surest: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.answers = np.repeat(self.clean[None], len(self.severities), axis=0)
        self.asked = np.zeros(self.answers.shape, bool)
        self.asked[0] = True
        self.surest = np.zeros(len(self.clean))

    def look(self, place: int, images: Tensor) -> None:
        """Ask at the next place, where all images are `(n, 3, H, W)`."""
        everywhere = place % self.stride == 0 or place == len(self.severities) - 1
        rows = np.flatnonzero(everywhere | (self.surest < SURE))
        self.answers[place], self.asked[place, rows] = self.answers[place - 1], True
        self.answers[place, rows], self.surest[rows] = graded(self.model, images[torch.from_numpy(rows)])

    def fill(self, degraded: Degraded) -> None:
        """Ask where it was not, between places whose answers differ: the first change is then between neighbours."""
        later = self.answers[-1].copy()
        for place in range(len(self.severities) - 2, 0, -1):
            rows = np.flatnonzero(~self.asked[place] & (later != self.answers[place]))
            if len(rows):
                images = degraded(rows, np.full(len(rows), self.severities[place]))
                self.answers[place, rows], self.asked[place, rows] = graded(self.model, images)[0], True
            later = np.where(self.asked[place], self.answers[place], later)


def scans(
    models: Sequence[Model],
    clean: Sequence[np.ndarray],
    severities: np.ndarray,
    name: str,
    degraded: Degraded,
    tell: Callable[[float], None],
    share: float = 1.0,
) -> list[np.ndarray]:
    """Answers `(k, n)` of each network at these places; every image is degraded once for all. `tell` hears how much of
    `share` is done."""
    stride = STRIDE if name == JPEG else 1
    found = [Scan(model, severities, first, stride) for model, first in zip(models, clean, strict=True)]
    everything = np.arange(len(clean[0]))
    for place, severity in enumerate(severities[1:], 1):
        tell(share * (place - 1) / len(severities))
        images = degraded(everything, np.full(len(everything), severity))
        for scan in found:
            scan.look(place, images)
    for scan in found:
        scan.fill(degraded)
    return [scan.answers for scan in found]
