"""What is said of map drift: the verdict, sentences, tables and numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from data.degradations import DEGRADATIONS
from xai.attribution import METHODS
from xai.compare.drift_results import MEASURES, Drifted, Lead, Versus
from xai.compare.flip_summary import in_words
from xai.compare.phrases import FEWEST, listed, percent, share, share_json
from xai.compare.resampling import Estimate
from xai.compare.study import LETTERS, nan_to_none
from xai.metrics import Share
from xai.results import Condition
from xai.tables import Cell, Rows, p_value

BY_CONDITION = "Clean against degraded map, by condition"
BY_PREDICTION = "Drift where the prediction is kept and where it changes"
AGAINST = "A against B on the same images"
OTHERS = "Other measures of drift"
FIRST = "Half of the drift against half of the loss of accuracy"
Row = dict[str, Cell]


def verdict(found: Drifted) -> str:
    """The answer in one sentence."""
    return f"{_who_moves_more(found)}; {_what_is_first(found)}."


def _who_moves_more(found: Drifted) -> str:
    a, b = found.facts.names
    counts = Counter(np.sign(each.difference.value) for each in found.versus if each.real)
    total = len(found.versus)
    if not counts:
        return f"No difference is shown in how far the maps of {a} and {b} move under {total} conditions"
    if not counts[1] or not counts[-1]:
        (more, less), count = (a, b) if counts[-1] else (b, a), counts.total()
        return f"The maps of {more} move further than those of {less} under {count} of {total} conditions"
    return (
        f"The maps of {a} move further than those of {b} under {counts[-1]} of {total} conditions and less far under"
        f" {counts[1]}"
    )


def _what_is_first(found: Drifted) -> str:
    counts = Counter(each.order for each in found.leads)
    total = len(found.leads)
    if not total - counts["undefined"]:
        return "whether maps move before accuracy falls can't be told, as one of the two hardly changes"
    parts = [f"before accuracy falls in {counts['before']}"]
    parts += [f"after it in {counts['after']}"] if counts["after"] else []
    left = counts["open"] + counts["undefined"]
    parts += [f"with no order shown in {left}"] if left else []
    return f"of {total} pairs of network and degradation, maps move {listed(parts)}"


def sentences(found: Drifted) -> tuple[str, ...]:
    """What there is to say, with n and intervals."""
    worst = [_worst(found, name) for name in found.facts.study.degradations]
    firsts = [_order(found, number) for number in (0, 1)]
    return (*worst, _versus(found), *_grids(found), *firsts)


def _worst(found: Drifted, degradation: str) -> str:
    """The highest severity of one degradation."""
    place = found.places(degradation)[-1]
    parts = [
        f"{found.means['spearman', 'all'][k][place].words()} with {name} (prediction kept:"
        f" {found.means['spearman', 'kept'][k][place].words()}; changed:"
        f" {found.means['spearman', 'changed'][k][place].words()})"
        for k, name in enumerate(found.facts.names)
    ]
    return (
        f"{found.conditions[place].title}: the rank correlation of clean and degraded map is {listed(parts)}."
    )


def _versus(found: Drifted) -> str:
    (a, b), (h, w) = found.facts.names, found.facts.common_grid
    real = [each for each in found.versus if each.real]
    less = sum(each.difference.value < 0 for each in real)
    return (
        f"On the same images and a grid of {h} x {w}, the rank correlation of {a} less that of {b} is"
        f" {found.overall.words(3)} in the mean over conditions; by Holm it is below 0 under {less} and above under"
        f" {len(real) - less} of {len(found.versus)} conditions."
    )


def _grids(found: Drifted) -> Iterator[str]:
    a, b = found.facts.networks
    if a.grid != b.grid:
        yield (
            f"The maps of {found.facts.names[0]} have {a.grid[0]} x {a.grid[1]} cells and those of"
            f" {found.facts.names[1]} {b.grid[0]} x {b.grid[1]}: numbers of each on its own grid don't compare."
        )


def _order(found: Drifted, network: int) -> str:
    """What moves first in one network."""
    own = [each for each in found.leads if each.network == network]
    parts = []
    for order in ("before", "after"):
        told = [_lead_words(each) for each in own if each.order == order]
        if told:
            parts.append(
                f"its maps reach half of their drift {order} accuracy half of its loss under {listed(told)}"
            )
    untold = [in_words(each.degradation) for each in own if each.order in ("open", "undefined")]
    parts += [f"no order is shown under {listed(untold)}"] if untold else []
    images = max((each.images for each in own), default=0)
    return f"{found.facts.names[network]} ({images:,} images right when clean): {'; '.join(parts)}."


def _lead_words(each: Lead) -> str:
    return (
        f"{in_words(each.degradation)} ({each.difference:+.2f} levels, {each.low:+.2f} to {each.high:+.2f})"
    )


def accuracy(found: Drifted, network: int, place: int) -> Share | None:
    """The share of right answers of a network under a condition; -1 for the clean images."""
    drifts = found.drifts
    return share("", drifts.right_clean[network] if place < 0 else drifts.right[network, place])


def kept(found: Drifted, network: int, place: int) -> Share | None:
    """The share of images whose prediction is the clean one."""
    return share("", found.drifts.kept[network, place])


def numbers(found: Drifted) -> dict[str, Any]:
    """Every number of the section, JSON-able; networks as A and B."""
    return {
        "conditions": {
            each.name: {LETTERS[k]: _condition_numbers(found, k, place) for k in (0, 1)}
            for place, each in enumerate(found.conditions)
        },
        "a_less_b": {each.condition.name: _versus_numbers(each) for each in found.versus},
        "a_less_b_overall": found.overall.to_json(),
        "first": [
            {"network": LETTERS[each.network], "degradation": each.degradation} | each.to_json()
            for each in found.leads
        ],
        "blank": {LETTERS[k]: int(found.drifts.blank_clean[k].sum()) for k in (0, 1)},
        "clean_accuracy": {LETTERS[k]: share_json(accuracy(found, k, -1)) for k in (0, 1)},
    }


def _condition_numbers(found: Drifted, network: int, place: int) -> dict[str, Any]:
    means: dict[str, Any] = {measure: {} for measure in MEASURES}
    for (measure, group), both in found.means.items():
        means[measure][group] = both[network][place].to_json()
    return means | {
        "kept": share_json(kept(found, network, place)),
        "accuracy": share_json(accuracy(found, network, place)),
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
        OTHERS: [_other_row(found, *where) for where in each],
        FIRST: [_first_row(found, one) for one in found.leads],
    }
    return {title: rows for title, rows in made.items() if rows}


def _where(found: Drifted, network: int, condition: Condition) -> Row:
    return {"condition": condition.title, "network": found.facts.names[network]}


def _cells(name: str, found: Estimate, digits: int = 3) -> Row:
    """The mean under its heading, and the ends of its interval."""
    heads = (name, f"{name}: from", f"{name}: to")
    ends = (found.value, found.low, found.high)
    return {head: _rounded(value, digits) for head, value in zip(heads, ends, strict=True)}


def _rounded(value: float, digits: int = 3) -> float | None:
    return None if np.isnan(value) else round(float(value), digits) + 0.0


def _condition_row(found: Drifted, network: int, place: int) -> Row:
    mean = found.means["spearman", "all"][network][place]
    return {
        **_where(found, network, found.conditions[place]),
        "n": mean.n,
        **_cells("rank correlation", mean),
        "prediction kept": percent(kept(found, network, place)),
        "accuracy": percent(accuracy(found, network, place)),
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
    words = {"before": "maps first", "after": "accuracy first", "open": "no order shown"}
    return {
        "network": found.facts.names[each.network],
        "degradation": DEGRADATIONS[each.degradation].title,
        "n": each.images,
        "half of the drift at (level)": _rounded(each.half_drift, 2),
        "half of the loss at (level)": _rounded(each.half_loss, 2),
        "difference (levels)": _rounded(each.difference, 2),
        "from": _rounded(each.low, 2),
        "to": _rounded(each.high, 2),
        "p (Holm)": p_value(nan_to_none(each.p_holm)),
        "what moves first": words.get(each.order, f"not defined: {each.reason}"),
    }


def undefined(found: Drifted) -> tuple[str, ...]:
    """Counts of what has no number."""
    return (*_idle(found), *_blank(found), *_without(found), *_few(found), *_no_order(found))


def _idle(found: Drifted) -> Iterator[str]:
    """Levels at which nothing happens, as a blur of less than a pixel."""
    still = (found.drifts.values["spearman"] == 1).all(axis=(0, 2))
    names = [each.words for each, idle in zip(found.conditions, still, strict=True) if idle]
    if names:
        yield f"No map moves at all under {listed(names)}: images of {found.facts.size} px stay as they are there."


def _blank(found: Drifted) -> Iterator[str]:
    title = METHODS[found.facts.study.method].title
    for name, clean, degraded in zip(
        found.facts.names, found.drifts.blank_clean, found.drifts.blank, strict=True
    ):
        if clean.any() or degraded.any():
            yield (
                f"{title} maps of {name} show no evidence for the class on {clean.sum():,} of {len(clean):,} clean"
                f" images and in {degraded.sum():,} of {degraded.size:,} degraded cases, where centre and entropy are"
                " not defined."
            )


def _without(found: Drifted) -> Iterator[str]:
    """Constant maps have no ranks."""
    for name, values in zip(found.facts.names, found.drifts.values["spearman"], strict=True):
        count = int(np.isnan(values).sum())
        if count:
            yield f"In {count:,} of {values.size:,} cases of {name} a map is constant and has no rank correlation."


def _few(found: Drifted) -> Iterator[str]:
    cells = [
        found.means["spearman", group][k][place].n
        for group in ("kept", "changed")
        for k in (0, 1)
        for place in range(len(found.conditions))
    ]
    few = sum(n < FEWEST for n in cells)
    if few:
        yield (
            f"{few} of {len(cells)} groups (network, condition, prediction kept or changed) have fewer than {FEWEST}"
            " images: their means say little."
        )


def _no_order(found: Drifted) -> Iterator[str]:
    for each in found.leads:
        if each.reason:
            name, words = found.facts.names[each.network], in_words(each.degradation)
            yield f"{name} under {words}: what moves first is not defined, as {each.reason}."
