"""How far heatmaps move as images get worse, and whether they move before the answers fall."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from xai.attribution import METHODS, no_evidence
from xai.compare import drift_words, map_metrics, resampling
from xai.compare.drift_results import LEAST_CHANGE, Drifted, read
from xai.compare.maps import Maps
from xai.compare.sections import Found, Measured, Section, Table, register
from xai.compare.study import Facts
from xai.comparison import TOP_SHARE

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
    have the map for the class that is predicted now, `common` is the rank correlation on `grid`. `kept`: whether that
    class is the clean one. Equal maps have not moved (1, 1, 0, 0), whichever of their cells tie.
    """
    clean, fixed, own = before.maps[method], after.maps[method], after.for_predicted[method]
    common = (map_metrics.pooled(maps, grid) for maps in (clean, fixed))
    columns = {
        "spearman": map_metrics.spearman_rows(clean, fixed),
        "overlap": _overlap(clean, fixed),
        "shift": map_metrics.centre_shift_rows(clean, fixed),
        "entropy": map_metrics.entropy_rows(fixed) - map_metrics.entropy_rows(clean),
        "own_spearman": map_metrics.spearman_rows(clean, own),
        "own_overlap": _overlap(clean, own),
        "common": map_metrics.spearman_rows(*common),
    }
    flags = {"kept": after.predicted == before.predicted, "right": after.correct, "blank": blank(fixed)}
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
        numbers=drift_words.numbers(found),
        tables=drift_words.tables(found),
        undefined=drift_words.undefined(found),
        differs=any(each.real for each in found.versus),
    )


def draw(facts: Facts, rows: Measured) -> dict[str, Figure]:
    """Drift and accuracy against severity, the other measures, and what moves first."""
    from xai.figure_compare_drift import drift_figures

    return drift_figures(results(facts, rows))


def method(facts: Facts, rows: Measured) -> str:
    """How the numbers were made, for a paper."""
    grids = " and ".join(f"{h} x {w}" for h, w in (network.grid for network in facts.networks))
    a, b = facts.common_grid
    return (
        f"The {METHODS[facts.study.method].title} map of each degraded image was compared with that of the clean image,"
        f" both for the class predicted on the clean image and on the layer's own grid ({grids}), over"
        f" {facts.images:,} images and {len(facts.conditions) - 1} conditions: Spearman's rank correlation, overlap of"
        f" the {100 * TOP_SHARE:g} % highest cells (ties by lot), distance of the centres of the positive parts as a"
        " share of the width, and change of the positive part's entropy, normalised by that of an even map; the first"
        " two also for the class predicted on the degraded image. Means have 95 % bootstrap intervals over images"
        f" ({resampling.RESAMPLES:,} resamples that hold all conditions of an image together). A and B were compared"
        f" image by image on the common grid of {a} x {b} by sign flips ({resampling.FLIPS:,} draws), adjusted by Holm"
        " over all conditions. Whether maps move before accuracy falls was asked of the images that are right when"
        " clean: the severities at which 1 - rank correlation and the loss of accuracy reach half of their final value"
        " (linear between severities), and the paired bootstrap interval of their difference, adjusted by Holm over"
        " networks and degradations; it was left open where the final change of either is below"
        f" {100 * LEAST_CHANGE:g} points or its interval includes 0. This compares the shapes of two curves, each in"
        " its own unit; it says nothing of causes."
    )


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
        of_maps=True,
    )
)
