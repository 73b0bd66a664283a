"""The tables and numbers of map drift."""

from __future__ import annotations

from typing import Any

from data.degradations import DEGRADATIONS
from xai.compare.drift_leads import Lead
from xai.compare.drift_results import MEASURES, Drifted, Versus
from xai.compare.phrases import percent, share_json
from xai.compare.resampling import Estimate
from xai.compare.study import LETTERS, nan_to_none
from xai.results import Condition
from xai.tables import Cell, Rows, p_value

BY_CONDITION = "Clean against degraded map, by condition"
BY_PREDICTION = "Drift where the prediction is kept and where it changes"
AGAINST = "A against B on the same images"
BY_HIRESCAM = "A against B on the same images, HiResCAM"
OTHERS = "Other measures of drift"
FIRST = "Half of the drift against half of the loss of accuracy"
Row = dict[str, Cell]


def numbers(found: Drifted) -> dict[str, Any]:
    """Every number of the section, JSON-able; networks as A and B."""
    return {
        "conditions": {
            each.name: {LETTERS[k]: _condition_numbers(found, k, place) for k in (0, 1)}
            for place, each in enumerate(found.conditions)
        },
        "a_less_b": {each.condition.name: _versus_numbers(each) for each in found.versus},
        "a_less_b_overall": found.overall.to_json(),
        "a_less_b_hirescam": {each.condition.name: _versus_numbers(each) for each in found.hirescam},
        "a_less_b_overall_hirescam": found.overall_hirescam.to_json(),
        "idle": [each.name for each in found.idle],
        "first": [
            {"network": LETTERS[each.network], "degradation": each.degradation} | each.to_json()
            for each in found.leads
        ],
        "blank": {LETTERS[k]: int(found.drifts.blank_clean[k].sum()) for k in (0, 1)},
        "clean_accuracy": {LETTERS[k]: share_json(found.accuracy(k, -1)) for k in (0, 1)},
    }


def _condition_numbers(found: Drifted, network: int, place: int) -> dict[str, Any]:
    means: dict[str, Any] = {measure: {} for measure in MEASURES}
    for (measure, group), both in found.means.items():
        means[measure][group] = both[network][place].to_json()
    return means | {
        "kept": share_json(found.kept(network, place)),
        "accuracy": share_json(found.accuracy(network, place)),
        "blank": int(found.drifts.blank[network, place].sum()),
    }


def _versus_numbers(each: Versus) -> dict[str, Any]:
    return {
        **each.difference.to_json(),
        "p": nan_to_none(each.p_value),
        "p_holm": nan_to_none(each.p_holm),
    }


def tables(found: Drifted) -> dict[str, Rows]:
    """All tables by title."""
    each = [(k, place) for place in range(len(found.conditions)) for k in (0, 1)]
    made: dict[str, Rows] = {
        BY_CONDITION: [_condition_row(found, *where) for where in each],
        BY_PREDICTION: [_prediction_row(found, *where) for where in each],
        AGAINST: [_versus_row(one) for one in found.versus],
        BY_HIRESCAM: [_versus_row(one) for one in found.hirescam],
        OTHERS: [_other_row(found, *where) for where in each],
        FIRST: [_first_row(found, one) for one in found.leads],
    }
    return {title: rows for title, rows in made.items() if rows}


def _where(found: Drifted, network: int, condition: Condition) -> Row:
    return {"condition": condition.title, "network": found.facts.names[network]}


def _cells(name: str, found: Estimate) -> Row:
    """The mean under its heading, and the ends of its interval."""
    heads = (name, f"{name}: from", f"{name}: to")
    ends = (found.value, found.low, found.high)
    return {head: nan_to_none(value) for head, value in zip(heads, ends, strict=True)}


def _condition_row(found: Drifted, network: int, place: int) -> Row:
    mean = found.means["spearman", "all"][network][place]
    return {
        **_where(found, network, found.conditions[place]),
        "n": mean.n,
        **_cells("rank correlation", mean),
        "prediction kept": percent(found.kept(network, place)),
        "accuracy": percent(found.accuracy(network, place)),
        "blank maps": int(found.drifts.blank[network, place].sum()),
    }


def _prediction_row(found: Drifted, network: int, place: int) -> Row:
    row = _where(found, network, found.conditions[place])
    for group in ("kept", "changed"):
        mean = found.means["spearman", group][network][place]
        row |= {f"n {group}": mean.n, **_cells(f"rank correlation, {group}", mean)}
    return row


def _versus_row(each: Versus) -> Row:
    return {
        "condition": each.condition.title,
        "n": each.difference.n,
        **_cells("A − B (rank correlation)", each.difference),
        "p (Holm)": p_value(nan_to_none(each.p_holm)),
    }


_HEADS = {
    "overlap": "overlap of the top 20 %",
    "shift": "centre shift (share of width)",
    "entropy": "change of entropy",
    "own_spearman": "rank correlation, predicted class",
    "own_overlap": "overlap, predicted class",
}


def _other_row(found: Drifted, network: int, place: int) -> Row:
    row = _where(found, network, found.conditions[place])
    for measure, head in _HEADS.items():
        row[head] = found.means[measure, "all"][network][place].words(3)
    return row


def _first_row(found: Drifted, each: Lead) -> Row:
    words = {
        "before": "maps first",
        "after": "accuracy first",
        "open": "no order shown",
        "close": "too close to tell",
    }
    return {
        "network": found.facts.names[each.network],
        "degradation": DEGRADATIONS[each.degradation].title,
        "n": each.images,
        "left out (constant map)": each.left,
        "half of the drift at (level)": nan_to_none(each.half_drift),
        "half of the loss at (level)": nan_to_none(each.half_loss),
        "difference (levels)": nan_to_none(each.difference),
        "from": nan_to_none(each.low),
        "to": nan_to_none(each.high),
        "p (Holm)": p_value(nan_to_none(each.p_holm)),
        "what moves first": words.get(each.order, f"not defined: {each.reason}"),
    }
