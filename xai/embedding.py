"""How one or two networks arrange the same images, clean and degraded, and how far the picture can be trusted.

Features are extracted (`embedding_features`), the clean ones projected to two dimensions (`projection`), the degraded
ones placed into that clean map, and everything that is said about neighbourhoods is computed from the features
themselves (`neighbours`, `embedding_metrics`), never from the picture.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from data.degradations import severity_levels
from xai.attribution_types import ExplanationError
from xai.projection import Projecting

PENULTIMATE = "penultimate"
"""The default layer: what the classifier reads."""
MOST_NEIGHBOURS, MOST_SEVERITIES, MOST_LETTERS = 100, 100, 1_000
LAYOUTS = ("separate", "aligned", "shared start")
"""How B's map is laid out: on its own; turned, mirrored and moved onto A's (Procrustes) and made as large, which leaves
its inner distances in proportion; or optimised from A's coordinates and then aligned."""


def levels_of(degradation: str, scale: str) -> tuple[float, ...]:
    """The severities of a degradation that are usually shown: every level of three, every other one of five."""
    count = len(severity_levels(degradation, scale))
    return tuple(float(level) for level in range(1, 1 + count, 2 if count > 3 else 1))


@dataclass(frozen=True)
class EmbeddingRequest:
    """What is to be embedded; JSON-able by `to_json`.

    `models` are one or two names; `layers` names each one's layer; `limit` images, evenly spread over the classes,
    or all of them (None); `severities` on the degradation's scale, ascending, above 0; `k` neighbours are counted and
    kept. `seed` is that of the degradation, `projecting.seed` that of the map. Raises `ExplanationError` for what
    can't be.
    """

    models: tuple[str, ...]
    dataset: str
    split: str = "test"
    limit: int | None = None
    layers: tuple[str, ...] = ()
    projecting: Projecting = field(default_factory=Projecting)
    layout: str = "aligned"
    degradation: str = "none"
    severities: tuple[float, ...] = ()
    scale: str = ""
    seed: int = 0
    k: int = 10

    def __post_init__(self) -> None:
        self._check_kinds()
        if not 1 <= len(set(self.models)) == len(self.models) <= 2:
            raise ExplanationError(
                f"{len(self.models)} networks were given; allowed are one, or two that differ."
            )
        if self.layout not in LAYOUTS:
            raise ExplanationError(f"the layout is {self.layout!r}; allowed are {', '.join(LAYOUTS)}.")
        if len(self.layers) not in (0, len(self.models)):
            raise ExplanationError(
                f"{len(self.layers)} layers were given for {len(self.models)} networks; needed is one for each."
            )
        if not 1 <= self.k <= MOST_NEIGHBOURS:
            raise ExplanationError(f"{self.k} neighbours were asked for; allowed are 1 to {MOST_NEIGHBOURS}.")
        if list(self.severities) != sorted({one for one in self.severities if one > 0}):
            given = ", ".join(f"{one:g}" for one in self.severities)
            raise ExplanationError(f"the severities are {given}; they must rise and be above 0.")
        if self.severities and self.degradation == "none":
            raise ExplanationError("severities were given, but no degradation.")

    def _check_kinds(self) -> None:
        """Values of the right kinds: a request may come from a file."""
        texts = (
            *self.models,
            *self.layers,
            self.dataset,
            self.split,
            self.layout,
            self.degradation,
            self.scale,
        )
        whole = [self.k, self.seed, *([] if self.limit is None else [self.limit])]
        if not all(isinstance(one, str) and len(one) <= MOST_LETTERS for one in texts):
            raise ExplanationError("a name of the request for an embedding is no text, or far too long.")
        if not all(type(one) is int and 0 <= one < 2**63 for one in whole) or self.limit == 0:
            raise ExplanationError(
                f"limit, seed and k are {self.limit!r}, {self.seed!r} and {self.k!r}; allowed are whole numbers, "
                "of a limit from 1 or none."
            )
        numbers = [one for one in self.severities if isinstance(one, int | float) and math.isfinite(one)]
        if len(numbers) < len(self.severities) or len(numbers) > MOST_SEVERITIES:
            raise ExplanationError(f"the severities are no numbers, or more than {MOST_SEVERITIES}.")

    def layer_of(self, model: str) -> str:
        """The layer of one of the networks."""
        return self.layers[self.models.index(model)] if self.layers else PENULTIMATE

    def to_json(self) -> dict[str, Any]:
        """Plain values, which `from_json` takes back."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> EmbeddingRequest:
        """The request that `to_json` gave; raises `ExplanationError` for anything else."""
        try:
            lists = {name: tuple(values[name]) for name in ("models", "layers", "severities")}
            return cls(**{**values, **lists, "projecting": Projecting(**values["projecting"])})
        except (TypeError, KeyError, AttributeError) as error:
            raise ExplanationError(f"this is no request for an embedding: {error}.") from error


@dataclass(frozen=True)
class Share:
    """A share or a mean with its 95 % interval and the number of things it is of; NaN where it is undefined."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Said:
    """What a network says of N images: classes `(N, 3)` int16 of the three largest probabilities, in order (fewer
    classes than three: -1), and these `(N, 3)` float32, 0 where an output is no number, which a note tells."""

    classes: np.ndarray
    probabilities: np.ndarray

    @property
    def predicted(self) -> np.ndarray:
        """The predicted class `(N,)`."""
        return self.classes[:, 0]

    @property
    def confidence(self) -> np.ndarray:
        """Its probability `(N,)`."""
        return self.probabilities[:, 0]


@dataclass(frozen=True)
class Degraded:
    """The images at one severity, placed into the clean map.

    `coordinates` `(N, 2)` float32; `overlap` `(N,)`: share of the k nearest clean images that the clean and the
    degraded version of an image have in common; `knn_accuracy`: label by vote of the k nearest clean images; `drift`
    `(C,)`: how far the centre of each class moved, in units of the mean distance between clean class centres.
    """

    severity: float
    coordinates: np.ndarray
    answers: Said
    overlap: np.ndarray
    knn_accuracy: Share
    drift: np.ndarray


def judged_k(images: int, k: int) -> int:
    """At how many neighbours trustworthiness and continuity are measured: `k`, or as many as are below half of the
    images; 0 where there are fewer than three, and the two are not defined."""
    return min(k, (images - 1) // 2)


@dataclass(frozen=True)
class Quality:
    """How far the picture can be trusted, and how the classes lie in feature space.

    Trustworthiness and continuity (Venna & Kaski 2001) of the picture at `judged_k` neighbours, over `judged` images;
    `knn_accuracy` leave-one-out in feature space and `knn_accuracy_2d` in the picture; `silhouette` `(C,)` by class,
    NaN for a class of fewer than two images, and its mean over images; `distances` `(C, C)` between class centres;
    `warnings` are sentences for a badge.
    """

    trustworthiness: float
    continuity: float
    judged: int
    knn_accuracy: Share
    knn_accuracy_2d: Share
    silhouette: np.ndarray
    mean_silhouette: float
    distances: np.ndarray
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Map:
    """One network's arrangement of N images: `coordinates` `(N, 2)` float32 of the clean ones, `neighbours` `(N, k)`
    int32 rows of the nearest images in feature space (nearest first), `dimensions` of the features."""

    model: str
    model_sha256: str
    layer: str
    dimensions: int
    coordinates: np.ndarray
    neighbours: np.ndarray
    answers: Said
    quality: Quality
    degraded: tuple[Degraded, ...] = ()
    engine: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Between:
    """Two networks on the same clean images: `overlap` `(N,)` share of common neighbours of each image and its mean
    with interval, what `chance` gives (k / (N - 1)), and the Procrustes residual of the features (0: a rotation and a
    scale apart; 1: nothing in common) and of the two pictures."""

    overlap: np.ndarray
    mean: Share
    chance: float
    residual: float
    residual_2d: float


@dataclass(frozen=True)
class Embedding:
    """The maps of one or two networks over the same images, in the same order: `ids` `(N,)`, `labels` `(N,)` int64."""

    request: EmbeddingRequest
    ids: tuple[str, ...]
    labels: np.ndarray
    classes: tuple[str, ...]
    maps: tuple[Map, ...]
    between: Between | None = None
    notes: tuple[str, ...] = ()
