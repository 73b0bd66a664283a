"""How far heatmaps move as images get worse, and whether they move before accuracy falls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from xai.attribution import METHODS, no_evidence
from xai.compare import drift_tables, drift_words, map_metrics, resampling
from xai.compare.drift_leads import LEAST_CHANGE, RESOLUTION
from xai.compare.drift_results import Drifted, read
from xai.compare.maps import Maps
from xai.compare.phrases import moving_words
from xai.compare.sections import Found, Measured, Section, Table, register
from xai.compare.study import Facts
from xai.map_agreement import TOP_SHARE

if TYPE_CHECKING:
    from xai.compare.bench import Bench
    from xai.figure_parts import Figure


def measure(bench: Bench) -> Measured:
    """`drift`: one row per image, network and condition but the clean one (its number among `facts.conditions`);
    `clean`: one per image and network, whether the clean answer is right and the clean map blank."""
    study, grid = bench.study, bench.facts.common_grid
    drifted, clean = [], []
    for number, condition in enumerate(bench.facts.conditions):
        for place, model in enumerate(bench.models):
            before, after = bench.maps(model), bench.maps(model, condition)
            if number:
                drifted.append(_placed(compared(before, after, study.method, grid), place, number))
            else:
                flags = {"right": before.correct, "blank": blank(before.maps[study.method])}
                clean.append(_placed(flags, place))
    return {"drift": _stacked(drifted), "clean": _stacked(clean)}


def compared(before: Maps, after: Maps, method: str, grid: tuple[int, int]) -> Table:
    """Columns `(N,)` of what became of the clean maps, each for the class predicted when clean, on their own grid.

    `spearman` in [-1, 1], `overlap` of the top 20 % of cells in [0, 1], `shift` of the centre of the positive part as
    a share of the image's width, `entropy` of that part (normalised, in [0, 1]) less the clean one's; the `own_` ones
    have the map for the class that is predicted now, `common` is the rank correlation on `grid` and `hirescam` that of
    HiResCAM's maps there. `kept`: whether that class is the clean one; `same`: whether all numbers of the answer and of
    the map are the clean ones. Equal maps have not moved (1, 1, 0, 0), whichever of their cells tie.
    """
    clean, fixed, own = before.maps[method], after.maps[method], after.for_predicted[method]
    common = {
        name: map_metrics.spearman_rows(
            *(map_metrics.pooled(each.maps[name], grid) for each in (before, after))
        )
        for name in {method, "hirescam"}
    }
    columns = {
        "spearman": map_metrics.spearman_rows(clean, fixed),
        "overlap": _overlap(clean, fixed),
        "shift": map_metrics.centre_shift_rows(clean, fixed),
        "entropy": map_metrics.entropy_rows(fixed) - map_metrics.entropy_rows(clean),
        "own_spearman": map_metrics.spearman_rows(clean, own),
        "own_overlap": _overlap(clean, own),
        "common": common[method],
        "hirescam": common["hirescam"],
    }
    same = (clean == fixed).all(axis=(1, 2)) & (before.logits == after.logits).all(axis=1)
    kept = after.predicted == before.predicted
    flags = {"kept": kept, "same": same, "right": after.correct, "blank": blank(fixed)}
    return {name: values.astype(np.float32) for name, values in columns.items()} | flags


def _overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of the top cells; equal maps, whose ties the same lot decides, have all of them in common."""
    found, same = map_metrics.top_overlap_rows(a, b), (a == b).all(axis=(1, 2))
    return np.where(same & ~np.isnan(found), 1.0, found)


def blank(maps: np.ndarray) -> np.ndarray:
    """Which of the maps `(N, h, w)` say nothing for the class: constant, or nowhere above zero. Bool `(N,)`."""
    return no_evidence(torch.from_numpy(maps)).numpy()


def _placed(columns: Table, network: int, condition: int | None = None) -> Table:
    count = len(next(iter(columns.values())))
    found: Table = {
        "image": np.arange(count, dtype=np.int32),
        "network": np.full(count, network, np.int8),
    }
    if condition is not None:
        found["condition"] = np.full(count, condition, np.int16)
    return found | columns


def _stacked(parts: list[Table]) -> Table:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def results(facts: Facts, rows: Measured) -> Drifted:
    """What the rows amount to."""
    return Drifted(facts, read(facts, rows["drift"], rows["clean"]))


def summarise(facts: Facts, rows: Measured) -> Found:
    """How far maps move, with the prediction kept or not, A against B, and what moves first; from rows alone."""
    found = results(facts, rows)
    return Found(
        verdict=drift_words.verdict(found),
        sentences=drift_words.sentences(found),
        numbers=drift_tables.numbers(found),
        tables=drift_tables.tables(found),
        undefined=drift_words.undefined(found),
        differs=any(each.real for each in found.versus),
    )


def draw(facts: Facts, rows: Measured) -> dict[str, Figure]:
    """Drift and accuracy against severity, the other measures, and what moves first."""
    from xai.figure_compare_drift import drift_figures

    return drift_figures(results(facts, rows))


def method(facts: Facts, rows: Measured) -> str:
    """How the numbers were made, for a paper."""
    networks = facts.networks
    taps = " and ".join(f"{one.layer}, {one.grid[0]} x {one.grid[1]}" for one in networks)
    a, b = facts.common_grid
    idle = len(results(facts, rows).idle)
    return (
        f"The {METHODS[facts.study.method].title} map of each degraded image was compared with that of the clean image,"
        f" both for the class predicted on the clean image and on the tapped layer's own grid ({taps}), over"
        f" {facts.images:,} images and {moving_words(len(facts.conditions) - 1 - idle, idle)}: Spearman's rank"
        f" correlation, overlap of the {100 * TOP_SHARE:g} % highest cells (ties by lot), distance of the centres of"
        " the positive parts as a share of the width, and change of the positive part's entropy, normalised by that of"
        " an even map; the first two also for the class predicted on the degraded image. Means have 95 % bootstrap"
        f" intervals over images ({resampling.RESAMPLES:,} resamples that hold all conditions of an image together). A"
        f" and B were compared image by image on the common grid of {a} x {b} by sign flips ({resampling.FLIPS:,}"
        f" draws), adjusted by Holm over all conditions that change anything{_AGAIN[facts.study.method != 'hirescam']}."
        " Whether maps move before accuracy falls was asked of all images, right or wrong when clean: the severities"
        " at which 1 - rank correlation and the net loss of accuracy (answers that have become wrong less those that"
        " have become right) reach half of their final value (linear between severities), and the paired bootstrap"
        " interval of their difference, adjusted by Holm over networks and degradations. It was left open where the"
        f" interval includes 0, where the two are less than {RESOLUTION:g} levels apart, which is closer than these"
        f" severities can tell, and where the final change of either is below {100 * LEAST_CHANGE:g} points; intervals"
        " know of the images drawn, not of what the curves do between severities. This compares the shapes of two"
        " curves, each in its own unit; it says nothing of causes."
    )


_AGAIN = ("", ", and again with HiResCAM's maps, as a family of their own")


def applies(facts: Facts) -> str:
    """Why the question can't be asked, empty where it can."""
    return (
        "" if facts.study.degradations else "No degradation was named, and drift is what one does to a map."
    )


SECTION = register(
    Section(
        "drift",
        "Heatmap drift",
        "How far does a network's attention move as images get worse, and does it move before its answers fall?",
        measure,
        summarise,
        draw,
        method,
        applies,
        version=2,
        of_maps=True,
    )
)
