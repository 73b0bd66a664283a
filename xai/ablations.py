"""Every improvement that the papers claim, as one change, beside the difference that our own networks show.

An ablation names two trainings that differ in one thing. `rows` looks for both among the cards at hand, compares
only what was trained by the same protocol, and takes the difference from the stored answers to the same images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from models.cards import Card, recipe_name, trial_limit
from xai.ablation_list import ABLATIONS, STEM, Ablation, Training
from xai.predictions import Predictions, PredictionsError, Read, aligned
from xai.statistics import Difference, holm, paired_difference
from xai.tables import Row, p_value

NOT_TRAINED = "not trained"
CAPTION = "Claimed improvements beside ours."
WIDE = ("source", "note")
"""Columns of the table that hold sentences."""

_UNTOLD = ("name", "initial_sha256", "teacher_sha256", "compile")


@dataclass(frozen=True)
class AblationRow:
    """What our networks say of one ablation on one dataset.

    Accuracies are shares in [0, 1]; `difference` (variant less baseline) with its 95 % interval `low` to `high` is
    in percentage points, as is the ablation's `paper_difference`. `p_value` is exact, `p_holm` adjusted for all
    rows. `seeds` are those averaged, the same on both sides; `changes` are the fields of the recipe that differ.
    Where nothing could be compared these are None, and `reason` is the sentence that says why.
    """

    ablation: Ablation
    dataset: str | None = None
    baselines: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    images: int | None = None
    baseline_accuracy: float | None = None
    variant_accuracy: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    p_holm: float | None = None
    changes: tuple[str, ...] = ()
    reason: str = ""


class _Incomparable(Exception):
    """Two sides that can't be compared; the message is the row's reason."""


def rows(records: Mapping[str, Card], read: Read) -> list[AblationRow]:
    """A row for every ablation and every dataset and protocol on which both sides were trained, in the table's order.

    `records` are the cards by name, also of networks whose weights are elsewhere. An ablation whose sides both have
    `_cifar` stems is also looked for with the other stem. One that can't be compared at all has one row with the
    reason.
    """
    finished = [card for card in records.values() if card.accuracy.get("test") is not None]
    found = [row for ablation in ABLATIONS.values() for row in _rows_of(ablation, finished, read)]
    adjusted = holm([math.nan if row.p_value is None else row.p_value for row in found])
    return [
        row if row.p_value is None else replace(row, p_holm=p) for row, p in zip(found, adjusted, strict=True)
    ]


def _rows_of(ablation: Ablation, cards: list[Card], read: Read) -> list[AblationRow]:
    found = [row for stem in _stems(ablation) for row in _pairs(stem, cards, read)]
    return found or [AblationRow(ablation, reason=f"{NOT_TRAINED}: {_missing(ablation, cards)}.")]


def _stems(ablation: Ablation) -> Iterator[Ablation]:
    yield ablation
    sides = (ablation.baseline, ablation.variant)
    if all(side.architecture.endswith(STEM) for side in sides):
        baseline, variant = (
            replace(side, architecture=side.architecture.removesuffix(STEM)) for side in sides
        )
        yield replace(ablation, baseline=baseline, variant=variant)


def _pairs(ablation: Ablation, cards: list[Card], read: Read) -> Iterator[AblationRow]:
    """A row for every dataset that both sides know, and on it for every protocol that they share."""
    sides = [[card for card in cards if _fits(card, side)] for side in (ablation.baseline, ablation.variant)]
    for dataset in dict.fromkeys(card.dataset for card in sides[0]):
        ours, theirs = (_by_protocol(side, dataset) for side in sides)
        pairs = [(a, b) for a, b in product(ours, theirs) if not _unlike(a, b, ablation.may_differ)]
        for a, b in pairs:
            yield _row(AblationRow(ablation, dataset), ours[a], theirs[b], read)
        if theirs and not pairs:
            a, b = next(iter(ours)), next(iter(theirs))
            differ = ", ".join(_unlike(a, b, ablation.may_differ))
            yield AblationRow(ablation, dataset, reason=f"not comparable: {differ}.")


def _fits(card: Card, side: Training) -> bool:
    return (card.architecture, recipe_name(card)) == (side.architecture, side.recipe)


def _missing(ablation: Ablation, cards: list[Card]) -> str:
    sides = (ablation.baseline, ablation.variant)
    missing = [str(side) for side in sides if not any(_fits(card, side) for card in cards)]
    return ", ".join(missing) or "the two were trained on different datasets"


Protocol = tuple[tuple[str, Any], ...]


def _protocol(card: Card) -> Protocol:
    """What two trainings must have in common to be compared, by the names that a reason gives."""
    facts: dict[str, Any] = {
        "epochs": card.epochs,
        "batch_size": card.recipe.get("batch_size"),
        "input_size": card.input_size,
        "images": trial_limit(card) or "all",
        **{f"option {key}": value for key, value in card.options.items()},
    }
    return tuple(sorted(facts.items()))


def _by_protocol(cards: list[Card], dataset: str) -> dict[Protocol, list[Card]]:
    found: dict[Protocol, list[Card]] = {}
    for card in cards:
        if card.dataset == dataset:
            found.setdefault(_protocol(card), []).append(card)
    return found


def _unlike(baseline: Protocol, variant: Protocol, may_differ: tuple[str, ...]) -> list[str]:
    """What differs between two protocols and must not, as words."""
    ours, theirs = dict(baseline), dict(variant)
    names = [key for key in {**ours, **theirs} if key not in may_differ and ours.get(key) != theirs.get(key)]
    return [f"{name} is {_told(ours.get(name))} and {_told(theirs.get(name))}" for name in names]


def _told(value: object) -> str:
    return "not set" if value in ("", None) else str(value)


def _row(row: AblationRow, baselines: list[Card], variants: list[Card], read: Read) -> AblationRow:
    """The row filled in, or with the reason why it can't be."""
    sides = [{card.seed: card for card in cards} for cards in (baselines, variants)]
    seeds = tuple(sorted(sides[0].keys() & sides[1].keys()))
    if not seeds:
        return replace(row, reason="not comparable: the two sides have no seed in common.")
    ours, theirs = ([side[seed] for seed in seeds] for side in sides)
    row = replace(
        row,
        baselines=tuple(card.name for card in ours),
        variants=tuple(card.name for card in theirs),
        seeds=seeds,
        changes=_changes(ours, theirs),
    )
    try:
        baseline, variant = _correct(ours, theirs, read)
    except (_Incomparable, PredictionsError) as error:
        return replace(row, reason=str(error))
    return _filled(row, paired_difference(variant, baseline), float(baseline.mean()), float(variant.mean()))


def _filled(row: AblationRow, found: Difference, baseline: float, variant: float) -> AblationRow:
    return replace(
        row,
        images=found.n,
        baseline_accuracy=baseline,
        variant_accuracy=variant,
        difference=100 * found.difference,
        low=100 * found.low,
        high=100 * found.high,
        p_value=found.p_value,
    )


def _changes(baselines: list[Card], variants: list[Card]) -> tuple[str, ...]:
    """Fields of the recipe that differ, but for those that never matter to the weights or are told elsewhere."""
    told = (change for pair in zip(baselines, variants, strict=True) for change in _changes_of(*pair))
    return tuple(dict.fromkeys(told))


def _changes_of(baseline: Card, variant: Card) -> Iterator[str]:
    ours, theirs = ({**card.recipe, "epochs": card.epochs} for card in (baseline, variant))
    for key in ours:
        if key not in _UNTOLD and key in theirs and ours[key] != theirs[key]:
            yield f"{key} {_told(ours[key])} -> {_told(theirs[key])}"


def _correct(baselines: list[Card], variants: list[Card], read: Read) -> tuple[np.ndarray, np.ndarray]:
    """Whether each image was told right by either side: bool `(N,)`, or for several seeds the share of networks."""
    answers = {card.name: _answers(card, read) for card in (*baselines, *variants)}
    first = next(iter(answers.values()))
    columns = {name: _correct_of(found, first, name) for name, found in answers.items()}
    ours, theirs = ([columns[card.name] for card in cards] for cards in (baselines, variants))
    if len(ours) == 1:
        return ours[0], theirs[0]
    return np.mean(ours, axis=0), np.mean(theirs, axis=0)


def _answers(card: Card, read: Read) -> Predictions:
    found = read(card.name)
    if found is None:
        raise _Incomparable(f"the answers of {card.name} are not stored.")
    if card.sha256 and found.facts.get("sha256", card.sha256) != card.sha256:
        raise _Incomparable(f"the stored answers of {card.name} are those of other weights.")
    return found


def _correct_of(found: Predictions, first: Predictions, name: str) -> np.ndarray:
    """Correctness in the order of the first answers' images, bool `(N,)`."""
    try:
        return aligned(first, found).correct
    except PredictionsError as error:
        raise _Incomparable(
            f"the stored answers of {name} are to other images than those of the others."
        ) from error


def table(found: Sequence[AblationRow]) -> list[Row]:
    """The rows with a heading for every column, those with a difference first.

    Differences are in percentage points, accuracies in percent.
    """
    return [_cells(row) for row in sorted(found, key=lambda row: row.difference is None)]


def _cells(row: AblationRow) -> Row:
    """One row with a heading for every column."""
    return {
        "change": row.ablation.claim,
        "paper, points": _points(row.ablation.paper_difference),
        "ours, points": _points(row.difference),
        "95 % from": _points(row.low),
        "to": _points(row.high),
        "p (Holm)": p_value(row.p_holm),
        "note": row.reason or "; ".join(row.changes),
        "dataset": row.dataset or "",
        "seeds": len(row.seeds) or None,
        "baseline": str(row.ablation.baseline),
        "variant": str(row.ablation.variant),
        "baseline %": _points(row.baseline_accuracy, 100),
        "variant %": _points(row.variant_accuracy, 100),
        "source": row.ablation.source,
    }


def _points(value: float | None, unit: float = 1) -> float | None:
    return None if value is None else round(unit * value, 2) + 0.0
