"""Tables of agreement: beside its nulls, by condition, by class, and of every two networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xai.compare.phrases import FEWEST
from xai.compare.resampling import Estimate, estimates, mean
from xai.compare.sections import Table
from xai.compare.study import Facts, nan_to_none
from xai.tables import Cell, p_value

if TYPE_CHECKING:
    from xai.compare.agreement_found import Rows, Seen

Shown = list[dict[str, Cell]]
"""Rows for `xai.tables`."""


def cells(found: Estimate) -> dict[str, float | int | None]:
    """An estimate in the columns of a table."""
    low, high = (nan_to_none(end) for end in (found.low, found.high))
    return {"Spearman": nan_to_none(found.value), "low (95 %)": low, "high (95 %)": high, "n": found.n}


def tables(rows: Rows, found: Seen) -> dict[str, Shown]:
    """Agreement beside its nulls, by condition, by class, and of every two networks."""
    shown = {"Agreement beside its nulls, clean images": _null_rows(rows.facts, found)}
    if found.changes:
        shown["Agreement by condition"] = _condition_rows(rows.facts, found)
    shown["Agreement by class, clean images"] = _class_rows(rows)
    if len(rows.training) > 2:
        shown["Every two networks, clean images that all call the same"] = _pair_rows(rows)
    return shown


def _null_rows(facts: Facts, found: Seen) -> Shown:
    a, b = facts.names
    listed = [
        ("A and B", found.measures["spearman"]),
        ("A and B, all images, own predictions", found.everywhere),
        ("A and B, other images", found.shuffled["shuffled"][1]),
        ("A and B, other images of the class", found.shuffled["shuffled_class"][1]),
        ("A and B, without the mean maps", found.measures["centred"]),
        ("A and B, HiResCAM", found.measures["hirescam"]),
        ("A and B, images that all networks call the same", found.on_common["ab"]),
        *(
            (f"seeds of {n}, those images", found.on_common[k])
            for k, n in (("a", a), ("b", b))
            if k in found.on_common
        ),
        *((f"{n} and the centre", e) for n, e in zip((a, b), found.centre, strict=True)),
    ]
    return [{"maps": name, **cells(estimate)} for name, estimate in listed]


def _condition_rows(facts: Facts, found: Seen) -> Shown:
    rows: Shown = [{"condition": "Clean", **cells(found.agreement[0]), "less clean": None, "p (Holm)": ""}]
    for condition, agreement, change, idle in zip(
        facts.conditions[1:], found.agreement[1:], found.changes, found.idle, strict=True
    ):
        rows.append(
            {
                "condition": condition.title,
                **cells(agreement),
                "less clean": nan_to_none(change.estimate.value),
                "p (Holm)": "nothing changes" if idle else p_value(nan_to_none(change.p_holm)),
            }
        )
    return rows


def _pair_rows(rows: Rows) -> Shown:
    """Every two networks on the images common to all."""
    names, upper = rows.tables["networks"]["name"], np.triu_indices(len(rows.training), 1)
    measures = ("spearman", "overlap", "centred", "hirescam")
    values = [
        estimates(rows.pairs[name][upper][:, rows.common].T, rows.facts.study.seed) for name in measures
    ]
    table: Shown = []
    for place, (first, second) in enumerate(zip(*upper, strict=True)):
        own = rows.training[first] == rows.training[second]
        rank, overlap, centred, hirescam = (column[place] for column in values)
        table.append(
            {
                "network": str(names[first]),
                "other network": str(names[second]),
                "one training": "yes" if own else "no",
                **cells(rank),
                "top-20 % overlap": nan_to_none(overlap.value),
                "Spearman without the mean maps": nan_to_none(centred.value),
                "Spearman of HiResCAM": nan_to_none(hirescam.value),
            }
        )
    return table


def _class_rows(rows: Rows) -> Shown:
    """Agreement of A and B on clean images by the class that both predict; none for fewer than `FEWEST` images."""
    classes: Table = rows.tables["images"]
    table: Shown = []
    for number, name in enumerate(rows.facts.classes):
        own = (classes["class"] == number) & rows.same
        count = int(own.sum())
        enough = own if count >= FEWEST else np.zeros_like(own)
        seed = rows.facts.study.seed
        rank, other = (mean(rows.conditions[n][enough, 0], seed) for n in ("spearman", "shuffled_class"))
        table.append(
            {
                "class": name,
                "images": count,
                **{head: cell for head, cell in cells(rank).items() if head != "n"},
                "other images of the class": nan_to_none(other.value),
            }
        )
    return table
