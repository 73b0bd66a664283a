"""What the errors of two networks are, in tables and as numbers."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from xai import error_tables
from xai.compare.error_results import Errors, Fall
from xai.compare.error_seeds import SeedKappa, SeedsNull
from xai.compare.error_shift import Shift, Shifts, Versus
from xai.compare.phrases import FEWEST
from xai.compare.study import Facts, nan_to_none
from xai.metrics import Share
from xai.pairwise import Compared, Consistency
from xai.statistics import Difference
from xai.tables import Cell, Rows, p_value

ACCURACY = "Accuracy by condition"
CONSISTENCY = "Error consistency by condition"
SEEDS = "Error consistency of seeds on clean images"
COST = "What each degradation costs"
TRANSITIONS = "What becomes of right and wrong answers"
CLASSES = "Classes whose answers change"
Row = dict[str, Cell]


def tables(facts: Facts, found: Errors) -> dict[str, Rows]:
    """All tables by title; those that there is nothing for are left out."""
    made: dict[str, Rows] = {
        ACCURACY: [
            _accuracy_row(*each) | ({"note": _note(k, found)} if found.idle else {})
            for k, each in enumerate(zip(*found.accuracies, found.compared, strict=True))
        ],
        CONSISTENCY: [
            {"condition": condition.title, **_consistency_cells(each, most)}
            for condition, each, most in zip(
                facts.conditions, found.consistencies, found.ceilings, strict=True
            )
        ],
        SEEDS: _seed_rows(found.seeds) if found.seeds else [],
        COST: [_fall_row(fall) for fall in found.falls.values()],
        TRANSITIONS: [
            {"condition": facts.conditions[k].title, **row}
            for k, table in found.tables.items()
            for row in error_tables.transition_rows(table)
        ],
        CLASSES: [
            row for k, each in found.shifts.items() for row in _class_rows(facts.conditions[k].title, each)
        ],
    }
    return {title: rows for title, rows in made.items() if rows}


def _note(condition: int, found: Errors) -> str:
    return "changes no answer: not counted" if condition in found.idle else ""


def _round(value: float, digits: int = 3) -> float | None:
    return None if np.isnan(value) else round(value, digits) + 0.0


def _percent(share: float) -> float | None:
    return _round(100 * share, 2)


def _p(value: float) -> str:
    return "" if np.isnan(value) else p_value(value)


def _accuracy_row(a: Share, b: Share, found: Compared) -> Row:
    gap = found.difference
    row: Row = {"condition": a.name, "n": a.total}
    for letter, each in (("A", a), ("B", b)):
        row |= {f"{letter} %": _percent(each.share)}
        row |= {f"{letter} from": _percent(each.low), f"{letter} to": _percent(each.high)}
    row |= {"A − B (points)": _percent(gap.difference), "from": _percent(gap.low), "to": _percent(gap.high)}
    return {**row, "p (Holm)": _p(found.p_holm)}


def _consistency_cells(found: Consistency, most: float) -> Row:
    ends = {"kappa": found.kappa, "from": found.low, "to": found.high}
    return {
        "n": found.images,
        **{name: None if value is None else round(value, 3) + 0.0 for name, value in ends.items()},
        "largest at these accuracies": _round(most),
        "both right or both wrong %": _percent(found.observed),
        "by chance %": _percent(found.expected),
    }


def _seed_rows(found: SeedsNull) -> Rows:
    return [
        {
            "networks": f"{row.names[0]} and {row.names[1]}",
            "of one training": "yes" if place else "the two compared",
            "n": found.images,
            "kappa": _round(row.value),
            "from": _round(row.low),
            "to": _round(row.high),
            "largest at these accuracies": _round(row.most),
        }
        for place, row in enumerate((found.pair, *found.seeds))
    ]


def _fall_row(fall: Fall) -> Row:
    row: Row = {"condition": fall.condition.title, "n": fall.difference.n}
    columns = (
        ("A loses (points)", fall.a),
        ("B loses (points)", fall.b),
        ("A − B (points)", fall.difference),
    )
    for head, each in columns:
        row |= {head: _percent(each.value), f"{head[:5].strip()} from": _percent(each.low)}
        row |= {f"{head[:5].strip()} to": _percent(each.high)}
    return {**row, "p (Holm)": _p(fall.p_holm)}


def _class_rows(condition: str, found: Shifts) -> Rows:
    """The classes of one condition, those that moved most first and those that were not tested last."""
    triples = sorted(zip(found.a, found.b, found.versus, strict=True), key=_by_shift)
    return [{"condition": condition, **_class_row(*triple)} for triple in triples]


def _by_shift(triple: tuple[Shift, Shift, Versus]) -> tuple[bool, float]:
    largest = max(triple[0].value, triple[1].value)
    return bool(np.isnan(largest)), 0.0 if np.isnan(largest) else -largest


def _class_row(a: Shift, b: Shift, versus: Versus) -> Row:
    row: Row = {"class": a.name, "n": a.images}
    for letter, each in (("A", a), ("B", b)):
        row |= {f"{letter} (bits)": _round(each.value), f"{letter} from": _round(each.low)}
        row |= {f"{letter} to": _round(each.high), f"{letter} p (Holm)": _p(each.p_holm)}
        row |= {f"{letter} names more": each.gains}
        row |= {f"{letter} more (% of the class)": _percent(each.gained)}
    row |= {"A and B apart (% of the class)": _percent(versus.apart), "by chance %": _percent(versus.chance)}
    row |= {"A and B p (Holm)": _p(versus.p_holm), "A more to": versus.more_a, "B more to": versus.more_b}
    row |= {"A − B (bits)": _round(versus.value), "from": _round(versus.low), "to": _round(versus.high)}
    tested = a.images >= FEWEST
    return {**row, "note": "" if tested else f"fewer than {FEWEST} images: not tested"}


def numbers(facts: Facts, found: Errors) -> dict[str, Any]:
    """Every number that a sentence quotes, and those of the figures, by the name of the condition."""
    names = [condition.name for condition in facts.conditions]
    return {
        "accuracy": {
            name: {"A": _share(a), "B": _share(b), "A-B": _difference(each.difference, each.p_holm)}
            for name, a, b, each in zip(names, *found.accuracies, found.compared, strict=True)
        },
        "consistency": {
            name: {
                "kappa": each.kappa,
                "low": each.low,
                "high": each.high,
                "most": nan_to_none(most),
                "n": each.images,
            }
            for name, each, most in zip(names, found.consistencies, found.ceilings, strict=True)
        },
        "counted": [names[k] for k in found.counted],
        "seeds": _seed_numbers(found.seeds),
        "trainings": None if found.trainings is None else found.trainings.sentence,
        "cost": {
            names[k]: {
                "A": fall.a.to_json(),
                "B": fall.b.to_json(),
                "A-B": fall.difference.to_json(),
                "p_holm": nan_to_none(fall.p_holm),
            }
            for k, fall in found.falls.items()
        },
        "transitions": {names[k]: table.tolist() for k, table in found.tables.items()},
        "classes": {names[k]: _shift_numbers(each) for k, each in found.shifts.items()},
    }


def _share(share: Share) -> dict[str, Any]:
    return {"value": share.share, "low": share.low, "high": share.high, "n": share.total}


def _difference(found: Difference, p_holm: float) -> dict[str, Any]:
    return {
        "value": found.difference,
        "low": found.low,
        "high": found.high,
        "p_holm": nan_to_none(p_holm),
        "n": found.n,
    }


def _kappa(row: SeedKappa) -> dict[str, Any]:
    ends = {"kappa": row.value, "low": row.low, "high": row.high, "most": row.most}
    return {"networks": list(row.names), **{name: nan_to_none(value) for name, value in ends.items()}}


def _seed_numbers(found: SeedsNull | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "pair": _kappa(found.pair),
        "seeds": [_kappa(row) for row in found.seeds],
        "less": nan_to_none(found.less),
        "low": nan_to_none(found.low),
        "high": nan_to_none(found.high),
        "n": found.images,
        "below": found.below,
        "networks": None if found.null is None else asdict(found.null),
    }


def _shift_numbers(found: Shifts) -> dict[str, Any]:
    return {
        **_side_numbers(found),
        "A-B": {each.name: _versus_numbers(each) for each in found.versus},
    }


def _versus_numbers(found: Versus) -> dict[str, Any]:
    known = {"apart": found.apart, "chance": found.chance, "p_holm": found.p_holm}
    known |= {"bits": found.value, "low": found.low, "high": found.high}
    named = {"n": found.images, "more_a": found.more_a, "more_b": found.more_b, "further": found.further}
    return {name: nan_to_none(value) for name, value in known.items()} | named


def _side_numbers(found: Shifts) -> dict[str, Any]:
    return {
        letter: {
            each.name: {
                "bits": nan_to_none(each.value),
                "low": nan_to_none(each.low),
                "high": nan_to_none(each.high),
                "p_holm": nan_to_none(each.p_holm),
                "n": each.images,
            }
            for each in side
        }
        for letter, side in (("A", found.a), ("B", found.b))
    }
