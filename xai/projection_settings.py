"""What can be asked of a projection: the parameters, their ranges and meanings, and the registry of methods."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from data.datasets import Progress
from xai.attribution_types import ExplanationError
from xai.evaluation import Cancelled
from xai.feature_blocks import Cancel
from xai.neighbours import Neighbours


@dataclass(frozen=True)
class Parameter:
    """One number that may be chosen: its field of `Projecting`, a title, its meaning in a sentence, and its range."""

    name: str
    title: str
    meaning: str
    low: float
    high: float
    whole: bool = True

    def check(self, value: Any) -> None:
        """Raise `ExplanationError` unless the value is a number of the right kind in the range."""
        kinds = int if self.whole else (int, float)
        number = isinstance(value, kinds) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or not self.low <= value <= self.high:
            kind = "whole numbers" if self.whole else "numbers"
            raise ExplanationError(
                f"{self.name} is {value!r}; allowed are {kind} from {self.low:.15g} to {self.high:.15g}."
            )


PARAMETERS: dict[str, Parameter] = {
    parameter.name: parameter
    for parameter in (
        Parameter(
            "perplexity",
            "Perplexity",
            "About how many neighbours of each image t-SNE keeps near it: small shows fine groups, large the overall"
            " arrangement.",
            1,
            500,
            whole=False,
        ),
        Parameter(
            "iterations",
            "Iterations",
            "How many steps t-SNE takes after its first 250: more take longer and let groups settle.",
            1,
            10_000,
        ),
        Parameter(
            "neighbours",
            "Neighbours",
            "How many nearest images UMAP keeps together, an image itself counted: small shows fine groups, large the"
            " overall arrangement.",
            2,
            500,
        ),
        Parameter(
            "min_distance",
            "Minimum distance",
            "How tightly UMAP may pack points: 0 for dense clumps, 1 for an even spread.",
            0,
            1,
            whole=False,
        ),
        Parameter(
            "pca",
            "Dimensions kept",
            "To how many dimensions PCA reduces the features first, which is faster and drops little; 0 keeps all.",
            0,
            10_000,
        ),
        Parameter(
            "seed",
            "Seed",
            "Starts the random numbers: the same seed gives the same map on the same machine.",
            0,
            2**32 - 1,
        ),
    )
}
"""Everything but the method, by field of `Projecting`."""


@dataclass(frozen=True)
class Projecting:
    """How features become points; JSON-able.

    `perplexity`: about how many neighbours t-SNE keeps together; `iterations` of t-SNE after its early exaggeration;
    `neighbours`: how many UMAP keeps together, a point itself counted as umap-learn does; `min_distance`: how tightly
    UMAP may pack points, 0 to 1; `pca`: to how many dimensions features are reduced first by PCA (0: not at all).
    Raises `ExplanationError` for a value that is not allowed.
    """

    method: str = "tsne"
    perplexity: float = 30.0
    iterations: int = 500
    neighbours: int = 15
    min_distance: float = 0.1
    pca: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ExplanationError(f"the projection is {self.method!r}; allowed are {', '.join(METHODS)}.")
        for parameter in PARAMETERS.values():
            parameter.check(getattr(self, parameter.name))

    def to_json(self) -> dict[str, Any]:
        """Plain values by field, which `from_json` takes back."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Projecting:
        """The settings that `to_json` gave, defaults for what is missing; raises `ExplanationError` for others."""
        known = [one.name for one in fields(cls)]
        if unknown := [name for name in values if name not in known]:
            raise ExplanationError(
                f"a projection has no setting {unknown[0]!r}; allowed are {', '.join(known)}."
            )
        return cls(**values)


@dataclass(frozen=True)
class Steps:
    """How far the work is, in thousandths of the whole; this part of it goes from `low` to `high`."""

    progress: Progress | None = None
    cancelled: Cancel | None = None
    low: int = 0
    high: int = 1000

    def tell(self, done: float, total: float, what: str) -> None:
        """`done` of `total` of this part is done; raises `Cancelled` when the caller wants the work to end."""
        if self.cancelled and self.cancelled():
            raise Cancelled
        if self.progress:
            share = min(done / total, 1.0) if total else 1.0
            self.progress(round(self.low + (self.high - self.low) * share), 1000, what)

    def part(self, low: int, high: int) -> Steps:
        """From `low` to `high` thousandths of the whole."""
        return Steps(self.progress, self.cancelled, low, high)


@dataclass(frozen=True)
class Job:
    """What a method works on.

    `points` `(N, d)` are the features, reduced by PCA where that was asked for; `start` `(N, 2)` float64 where they
    begin; `settings` fit the number of points; `neighbours` are those of `points`, at least as many as `settings`
    need, or None.
    """

    points: np.ndarray
    start: np.ndarray
    settings: Projecting
    neighbours: Neighbours | None
    steps: Steps


@dataclass(frozen=True)
class Made:
    """What a method made: `coordinates` `(N, 2)`, a name of the program, and `place(points (M, d), steps)`, which gives
    `(M, 2)` and moves nothing."""

    coordinates: np.ndarray
    engine: str
    place: Callable[[np.ndarray, Steps], np.ndarray]


@dataclass(frozen=True)
class Method:
    """One entry of the registry; `parameters` are the fields of `Projecting` it reads, `fewest` points it can take."""

    name: str
    title: str
    meaning: str
    parameters: tuple[str, ...]
    fewest: int
    make: Callable[[Job], Made]


METHODS: dict[str, Method] = {}


def method(
    name: str, title: str, meaning: str, parameters: tuple[str, ...], fewest: int
) -> Callable[[Callable[[Job], Made]], Callable[[Job], Made]]:
    """Decorator that adds a method; raises `ValueError` when its name is taken."""
    if name in METHODS:
        raise ValueError(f"the projection {name!r} is registered twice.")

    def add(make: Callable[[Job], Made]) -> Callable[[Job], Made]:
        METHODS[name] = Method(name, title, meaning, parameters, fewest, make)
        return make

    return add
