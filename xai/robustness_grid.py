"""Networks against each other under every condition: what is real, what two seeds differ by, what errors they share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

from xai.metrics import Share
from xai.pairwise import (
    AgainstSeeds,
    Consistency,
    against_seeds,
    compare,
    confusion_distance,
    error_consistency,
    family,
    mean_difference,
)
from xai.predictions import Graded
from xai.results import UNTOUCHED, Board, Condition
from xai.robustness_board import idle, kept, percent, register, scaled, seeds, shared, told, training
from xai.robustness_curves import share_of
from xai.statistics import Difference
from xai.tables import Row, Rows, p_value


@dataclass(frozen=True)
class Judged:
    """A less B of two networks under a condition, with p adjusted by Holm over all that are shown together."""

    a: str
    b: str
    condition: Condition
    difference: Difference
    p_holm: float
    real: bool


@dataclass(frozen=True)
class Alike:
    """How alike the errors of two networks are under a condition: kappa, and the distance of their confusions."""

    consistency: Consistency
    distance: float | None


def readable(board: Board, model: str, condition: Condition) -> Graded:
    """Answers that are known to be there (`shared`)."""
    rows = told(board, model, condition)
    assert rows is not None
    return rows


def difference(board: Board, a: str, b: str, condition: Condition) -> Difference:
    """Accuracy of A less that of B on the same images: paired bootstrap interval, exact McNemar p."""
    ours, theirs = readable(board, a, condition), readable(board, b, condition)
    return kept(board, ("difference",), [(a, condition), (b, condition)], lambda: compare(ours, theirs))


def judged(board: Board, models: Iterable[str], baseline: str, scale: str) -> list[Judged]:
    """Every network less the baseline under every condition that both have; Holm over all of them together."""
    pairs = {
        f"{model}\n{condition.name}": (model, condition)
        for model in dict.fromkeys(models)
        if model != baseline
        for condition in shared(board, (model, baseline), scale)
    }
    found = family({name: difference(board, m, baseline, c) for name, (m, c) in pairs.items()})
    return [
        Judged(model, baseline, condition, each.difference, each.p_holm, each.real)
        for each, (model, condition) in zip(found, pairs.values(), strict=True)
    ]


@register(
    "differences", "Differences of accuracy to the second network, exact McNemar tests, Holm over the table."
)
def registered_differences(board: Board, models: Sequence[str], scale: str) -> Rows:
    """`difference_rows` against the second network."""
    return difference_rows(board, models, scale, models[1]) if len(models) > 1 else []


def difference_rows(board: Board, models: Sequence[str], scale: str, baseline: str) -> Rows:
    """A row for each network other than the baseline under each condition; differences in points (A less B)."""
    return [_difference_row(board, each) for each in judged(board, models, baseline, scale)]


def _difference_row(board: Board, found: Judged) -> Row:
    accuracies = [share_of(board, model, found.condition) for model in (found.a, found.b)]
    return {
        "condition": found.condition.title,
        **interval("A - B, points", found.difference),
        "p (Holm)": p_value(found.p_holm),
        "real": "yes" if found.real else "no",
        **{f"{letter} %": _percent(share) for letter, share in zip("AB", accuracies, strict=True)},
        "images": found.difference.n,
        "A": found.a,
        "B": found.b,
        "p": p_value(found.difference.p_value),
        "equal to clean": "yes" if idle(board, found.condition) else "",
    }


def _percent(share: Share | None) -> float | None:
    return percent("", share)[""]  # type: ignore[return-value]


def interval(name: str, found: Difference) -> Row:
    """A difference in points with the ends of its interval."""
    values = {name: found.difference, f"{name}, from": found.low, f"{name}, to": found.high}
    return {head: scaled(value) for head, value in values.items()}


@register(
    "mean differences", "Difference of accuracy to the second network, averaged over all degraded conditions."
)
def registered_means(board: Board, models: Sequence[str], scale: str) -> Rows:
    """`mean_rows` against the second network."""
    return mean_rows(board, models, scale, models[1]) if len(models) > 1 else []


def mean_rows(board: Board, models: Sequence[str], scale: str, baseline: str) -> Rows:
    """A row for each network other than the baseline: A less B averaged over the degraded conditions of both.

    Images are resampled with all their conditions together.
    """
    rows = [_mean_row(board, model, baseline, scale) for model in dict.fromkeys(models) if model != baseline]
    return [row for row in rows if row]


def _mean_row(board: Board, a: str, b: str, scale: str) -> Row:
    used = [condition for condition in shared(board, (a, b), scale) if condition != UNTOUCHED]
    if not used:
        return {}
    cells = [(model, condition) for condition in used for model in (a, b)]
    pairs = {c.name: (readable(board, a, c), readable(board, b, c)) for c in used}
    found = kept(board, ("mean difference",), cells, lambda: mean_difference(pairs))
    counts = {"conditions": len(used), "images": found.n}
    numbers = {**interval("A - B, points", found), "p": p_value(found.p_value)}
    return {"A": a, "B": b, **numbers, **counts}


def between_seeds(board: Board, a: str, b: str, condition: Condition) -> AgainstSeeds | None:
    """All stored seeds of A's training against those of B's under a condition; None for two seeds of one training."""
    if training(a) == training(b):
        return None
    sides = [_seeds_told(board, model, condition) for model in (a, b)]
    if not all(sides):
        return None
    cells = [(name, condition) for side in sides for name in side]
    ours, theirs = ([readable(board, name, condition) for name in side] for side in sides)
    names = (training(a), training(b))
    return kept(board, ("seeds", *map(len, sides)), cells, lambda: against_seeds(ours, theirs, names))


def _seeds_told(board: Board, model: str, condition: Condition) -> list[str]:
    return [name for name in seeds(board, model) if told(board, name, condition) is not None]


@register("seeds", "The difference of two trainings beside that of two seeds of one training.")
def registered_seeds(board: Board, models: Sequence[str], scale: str) -> Rows:
    """`seed_rows` of the first two networks."""
    return seed_rows(board, models[0], models[1], scale) if len(models) > 1 else []


def seed_rows(board: Board, a: str, b: str, scale: str) -> Rows:
    """A row for each condition: the mean over A's seeds less that over B's, and the most that two seeds differ by."""
    rows = []
    for condition in shared(board, (a, b), scale):
        found = between_seeds(board, a, b, condition)
        if found is not None:
            rows.append(_seed_row(board, a, b, condition, found))
    return rows


def _seed_row(board: Board, a: str, b: str, condition: Condition, found: AgainstSeeds) -> Row:
    exceeds = "" if found.exceeds is None else "yes" if found.exceeds else "no"
    return {
        "condition": condition.title,
        "seeds of A": len(_seeds_told(board, a, condition)),
        "seeds of B": len(_seeds_told(board, b, condition)),
        "A - B of means, points": scaled(found.difference),
        "least of all pairs": scaled(min(found.between)),
        "most of all pairs": scaled(max(found.between)),
        "most between two seeds": scaled(found.largest_within),
        "more than seeds": exceeds,
        "p (seeds shuffled)": p_value(found.p_value),
        "least p possible": p_value(found.least_p),
    }


def alike(board: Board, a: str, b: str, condition: Condition) -> Alike:
    """Error consistency and confusion distance of two networks under a condition."""
    ours, theirs = readable(board, a, condition), readable(board, b, condition)
    classes = len(board.classes)

    def compute() -> Alike:
        return Alike(error_consistency(ours, theirs), confusion_distance(ours, theirs, classes))

    return kept(board, ("alike", classes), [(a, condition), (b, condition)], compute)


@register("shared errors", "Error consistency and confusion distance of the first two networks.")
def registered_consistency(board: Board, models: Sequence[str], scale: str) -> Rows:
    """`consistency_rows` of the first two networks."""
    return consistency_rows(board, models[0], models[1], scale) if len(models) > 1 else []


def consistency_rows(board: Board, a: str, b: str, scale: str) -> Rows:
    """A row for each condition: kappa with interval, confusion distance, and the same of two seeds of one training."""
    return [_consistency_row(board, a, b, condition) for condition in shared(board, (a, b), scale)]


def _consistency_row(board: Board, a: str, b: str, condition: Condition) -> Row:
    found, null = alike(board, a, b, condition), _seed_pair(board, a, b, condition)
    kappa, of_seeds = found.consistency, None if null is None else alike(board, *null, condition)
    return {
        "condition": condition.title,
        "images": kappa.images,
        "kappa": kappa.kappa,
        "kappa, from": kappa.low,
        "kappa, to": kappa.high,
        "both right or both wrong %": scaled(kappa.observed),
        "expected by chance %": scaled(kappa.expected),
        "confusion distance": found.distance,
        "kappa of two seeds": None if of_seeds is None else of_seeds.consistency.kappa,
        "distance of two seeds": None if of_seeds is None else of_seeds.distance,
        "seeds": "" if null is None else " and ".join(null),
    }


def _seed_pair(board: Board, a: str, b: str, condition: Condition) -> tuple[str, str] | None:
    """The first two seeds of A's training that were asked, else of B's."""
    found = map(partial(_seeds_told, board, condition=condition), (a, b))
    return next((pair for names in found for pair in combinations(names, 2)), None)
