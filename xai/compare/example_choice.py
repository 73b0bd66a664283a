"""Which images are shown: chosen by a seed and a named strategy, each with its percentiles within its class.

`STRATEGIES` is a registry: what it holds is offered by the page, told in the report and tested. A strategy puts the
images of one class in an order, and classes take turns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, TypeVar

import numpy as np

from xai.attribution_types import ExplanationError
from xai.compare.example_pool import QUANTITIES, SIDES, Pool, pool_of
from xai.compare.sections import Measured
from xai.compare.study import Facts, nan_to_none
from xai.results import Condition

BY_HAND = "by hand"
"""The strategy's name in the record of pictures that somebody picked."""
Candidates = list[tuple[int, str]]
"""Images of one class in order of preference, each with why it would be chosen."""
Order = Callable[[Pool, np.ndarray, np.random.Generator, int], Candidates]
"""`order(pool, rows, generator, turn)`: the images of a class, `rows` rising, whose turn it is as number `turn`."""
O = TypeVar("O", bound=Order)  # noqa: E741


@dataclass(frozen=True)
class Strategy:
    """One way to choose, and in words how."""

    name: str
    title: str
    how: str
    order: Order


STRATEGIES: dict[str, Strategy] = {}
"""By name, in the order in which they are offered."""


def strategy(name: str, title: str, how: str) -> Callable[[O], O]:
    """Decorator that enters a strategy into `STRATEGIES`; raises `ValueError` when the name is taken."""
    if name in STRATEGIES:
        raise ValueError(f"a strategy named {name!r} is registered already.")

    def add(order: O) -> O:
        STRATEGIES[name] = Strategy(name, title, how, order)
        return order

    return add


@dataclass(frozen=True)
class Percentile:
    """A value, and the mid-rank percentile in (0, 100) of it among the `n` images of its class that have one; both NaN
    where it is undefined."""

    value: float
    percentile: float
    n: int


@dataclass(frozen=True)
class Chosen:
    """One example: `image` is its row, `why` it was chosen, and its percentiles by the names of `QUANTITIES`."""

    image: int
    id: str
    label: str
    why: str
    percentiles: dict[str, Percentile]


@dataclass(frozen=True)
class Proposal:
    """Examples and how they were chosen: from `eligible` of `pool` images, `asked` of them; drift is under
    `condition` (None: no degradation). Fewer than were asked are there where no more are eligible."""

    strategy: str
    how: str
    seed: int | None
    asked: int
    pool: int
    eligible: int
    condition: Condition | None
    chosen: tuple[Chosen, ...]

    @property
    def rows(self) -> tuple[int, ...]:
        """The images' rows."""
        return tuple(each.image for each in self.chosen)

    def record(self) -> dict[str, Any]:
        """All of it as JSON has it, for a manifest."""
        return {
            "strategy": self.strategy,
            "how": self.how,
            "seed": self.seed,
            "asked": self.asked,
            "pool": self.pool,
            "eligible": self.eligible,
            "condition": self.condition.name if self.condition else None,
            "chosen": [_record(each) for each in self.chosen],
        }


def _record(chosen: Chosen) -> dict[str, Any]:
    found = {
        name: {"value": nan_to_none(p.value), "percentile": nan_to_none(p.percentile), "n": p.n}
        for name, p in chosen.percentiles.items()
    }
    return {
        "image": chosen.image,
        "id": chosen.id,
        "label": chosen.label,
        "why": chosen.why,
        "percentiles": found,
    }


def propose(
    facts: Facts,
    rows: Measured,
    count: int,
    seed: int = 0,
    strategy: str = "random",
    condition: Condition | None = None,
) -> Proposal:
    """Choose `count` examples by a strategy of `STRATEGIES`, the same for the same seed; the classes take turns.

    `rows` are those of the section, `condition` is as for `pool_of`. Raises `ExplanationError` for a count below 1, a
    strategy that there is not, and a condition that has no rows.
    """
    if count < 1:
        raise ExplanationError(f"{count} examples were asked for; allowed are numbers from 1.")
    if strategy not in STRATEGIES:
        raise ExplanationError(
            f"There is no way {strategy!r} to choose; allowed are {', '.join(STRATEGIES)}."
        )
    pool = pool_of(facts, rows, condition)
    by_class = _candidates(pool, STRATEGIES[strategy].order, seed)
    taken = _in_turns(by_class)[:count]
    chosen = tuple(_chosen(pool, row, why) for row, why in taken)
    eligible = sum(map(len, by_class))
    how = STRATEGIES[strategy].how
    return Proposal(strategy, how, seed, count, len(pool), eligible, pool.condition, chosen)


def percentiles_of(
    facts: Facts, rows: Measured, image_ids: Sequence[str], condition: Condition | None = None
) -> Proposal:
    """Pictures that somebody picked, with their percentiles and marked as picked by hand.

    Raises `ExplanationError` for an id that is not among the images.
    """
    pool = pool_of(facts, rows, condition)
    places = {image: row for row, image in enumerate(pool.ids.tolist())}
    if missing := [image for image in image_ids if image not in places]:
        raise ExplanationError(
            f"There is no image {missing[0]!r} among the {len(pool):,} that were compared."
        )
    chosen = tuple(_chosen(pool, places[image], "picked by hand") for image in image_ids)
    return Proposal(
        BY_HAND, "picked by hand", None, len(chosen), len(pool), len(pool), pool.condition, chosen
    )


def _candidates(pool: Pool, order: Order, seed: int) -> list[Candidates]:
    """What a strategy would choose from every class that has images, the classes in an order drawn by the seed."""
    labels = np.random.default_rng(seed).permutation(np.unique(pool.labels))
    return [
        order(pool, np.flatnonzero(pool.labels == label), np.random.default_rng((seed, int(label))), turn)
        for turn, label in enumerate(labels)
    ]


def _in_turns(by_class: Sequence[Candidates]) -> Candidates:
    """The first of every class, then the second of every class that has one, and so on."""
    return [each for round_ in zip_longest(*by_class) for each in round_ if each is not None]


def _chosen(pool: Pool, row: int, why: str) -> Chosen:
    label = int(pool.labels[row])
    found = {
        name: Percentile(
            float(pool.values[name][row]), float(pool.percentiles[name][row]), pool.defined(name, label)
        )
        for name in QUANTITIES
    }
    return Chosen(row, str(pool.ids[row]), pool.classes[label], why, found)


@strategy("random", "At random", "drawn at random, the classes in turn")
def _random(pool: Pool, rows: np.ndarray, generator: np.random.Generator, turn: int) -> Candidates:
    return [(int(row), "drawn at random from its class") for row in generator.permutation(rows)]


@strategy(
    "typical",
    "Typical",
    "nearest to the medians of their class: least mean distance of the percentiles of confidence, drift and agreement "
    "from 50, among images that have them all (A and B answer the same), the classes in turn",
)
def _typical(pool: Pool, rows: np.ndarray, generator: np.random.Generator, turn: int) -> Candidates:
    # What no image at all has (a grid of one cell gives no drift) can't make one untypical.
    known = [name for name, values in pool.values.items() if not np.isnan(values).all()]
    distances = np.mean([np.abs(pool.percentiles[name][rows] - 50) for name in known], axis=0)
    return [
        (row, f"{distance:.1f} percentiles from the medians of its class on average")
        for row, distance in _ranked(rows, distances, generator)
    ]


def _ranked(
    rows: np.ndarray, values: np.ndarray, generator: np.random.Generator, sign: int = 1
) -> list[tuple[int, float]]:
    """Rows with their values from the lowest to the highest (`sign` 1), those without a value left out, ties by lot."""
    order = np.lexsort((generator.permutation(len(rows)), sign * values))
    return [(int(rows[k]), float(values[k])) for k in order if not np.isnan(values[k])]


EXTREMES = (
    ("drift_a", -1, "most drift of A"),
    ("agreement", 1, "least agreement of A and B"),
    ("drift_b", -1, "most drift of B"),
    ("drift_a", 1, "least drift of A"),
    ("agreement", -1, "most agreement of A and B"),
    ("drift_b", 1, "least drift of B"),
)
"""Quantity, sign (1: the lowest first) and words of each end that `extremes` shows."""


@strategy(
    "extremes",
    "Extremes",
    "the ends of their class: most and least drift of A and of B and agreement of the two, kinds and classes in turn",
)
def _extremes(pool: Pool, rows: np.ndarray, generator: np.random.Generator, turn: int) -> Candidates:
    start = turn % len(EXTREMES)
    ends = [
        [
            (row, f"{words} in its class" if not place else f"{words} but {place} in its class")
            for place, (row, _) in enumerate(_ranked(rows, pool.values[name][rows], generator, sign))
        ]
        for name, sign, words in (*EXTREMES[start:], *EXTREMES[:start])
    ]
    found: dict[int, str] = {}
    for row, why in _in_turns(ends):
        found.setdefault(row, why)
    return list(found.items())


@strategy("disagree", "Disagreements", "drawn at random where A and B answer differently to the clean image")
def _disagree(pool: Pool, rows: np.ndarray, generator: np.random.Generator, turn: int) -> Candidates:
    a, b = (pool.clean[side] for side in SIDES)
    differing = generator.permutation(rows[a[rows] != b[rows]])
    return [(int(row), f"A says {pool.answer(a[row])}, B {pool.answer(b[row])}") for row in differing]


@strategy("flipped", "Flipped", "drawn at random where A or B answers differently to the degraded image")
def _flipped(pool: Pool, rows: np.ndarray, generator: np.random.Generator, turn: int) -> Candidates:
    changed = {side: pool.clean[side] != pool.degraded[side] for side in SIDES}
    found = generator.permutation(rows[(changed["a"] | changed["b"])[rows]])
    return [(int(row), _flip_words(pool, int(row), [s for s in SIDES if changed[s][row]])) for row in found]


def _flip_words(pool: Pool, row: int, sides: Sequence[str]) -> str:
    parts = [
        f"{side.upper()} turns from {pool.answer(pool.clean[side][row])} to {pool.answer(pool.degraded[side][row])}"
        for side in sides
    ]
    return " and ".join(parts)
