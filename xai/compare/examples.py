"""Which pictures may stand for the rest: examples chosen by a seed, each with its percentiles within its class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from data.datasets import ImageSource
from models.registry import Model
from xai.attribution import METHODS
from xai.compare import answers, maps, phrases, resampling
from xai.compare.answers import strongest
from xai.compare.example_choice import STRATEGIES, Chosen, Proposal, percentiles_of, propose
from xai.compare.example_pool import QUANTITIES, SIDES, Pool, default_condition, pool_of
from xai.compare.map_metrics import on_common_grid, spearman_rows
from xai.compare.maps import Maps
from xai.compare.phrases import FEWEST
from xai.compare.resampling import Estimate
from xai.compare.sections import Found, Measured, Section, Table, register
from xai.compare.study import Facts
from xai.metrics import Share
from xai.results import UNTOUCHED, Condition
from xai.tables import Cell, Rows

if TYPE_CHECKING:
    from xai.compare.bench import Bench
    from xai.figure_parts import Figure

__all__ = ["STRATEGIES", "Chosen", "Proposal", "gallery", "percentiles_of", "propose"]
COUNT = 10
"""Examples of each strategy in the section's own tables and figures."""
SHOWN = ("random", "typical", "flipped")
"""Strategies whose examples the section's pictures show."""


def measure(bench: Bench) -> Measured:
    """`images`: one row per image with its id, label, and of A and B (`_a`, `_b`) the clean answer, its confidence, and
    whether it is right, and the `agreement` of the clean maps; `degraded`: for each highest severity (`condition`, its
    number among `facts.conditions`) the answers, the drift of the maps, and their agreement."""
    clean = [bench.maps(model) for model in bench.models]
    images: Table = {
        "image": np.arange(len(bench.data), dtype=np.int32),
        "id": np.array(bench.data.ids),
        "label": bench.data.labels.numpy().astype(np.int16),
        "agreement": _agreement(bench, clean),
    }
    for side, found in zip(SIDES, _answers(bench, clean), strict=True):
        images |= {f"{name}_{side}": found[name] for name in ("predicted", "confidence", "correct")}
    under = [_degraded(bench, clean, number, each) for number, each in strongest(bench.facts).items()]
    return {"images": images, **({"degraded": answers.stacked(under)} if under else {})}


def _answers(bench: Bench, both: list[Maps]) -> list[Table]:
    labels = bench.data.labels.numpy()
    return [
        answers.table_of(found, labels, (model.classes, bench.facts.classes))
        for found, model in zip(both, bench.models, strict=True)
    ]


def _agreement(bench: Bench, both: list[Maps]) -> np.ndarray:
    """Rank correlation of A's and B's maps on the common grid, float32 `(N,)`."""
    a, b = (found.maps[bench.study.method] for found in both)
    return spearman_rows(*on_common_grid(a, b)).astype(np.float32)


def _degraded(bench: Bench, clean: list[Maps], number: int, condition: Condition) -> Table:
    both = [bench.maps(model, condition) for model in bench.models]
    table: Table = {
        "image": np.arange(len(bench.data), dtype=np.int32),
        "condition": np.full(len(bench.data), number, np.int16),
        "agreement": _agreement(bench, both),
    }
    for side, before, after, found in zip(SIDES, clean, both, _answers(bench, both), strict=True):
        method = bench.study.method
        drift = 1 - spearman_rows(before.maps[method], after.maps[method])
        table |= {f"drift_{side}": drift.astype(np.float32)}
        table |= {f"{name}_{side}": found[name] for name in ("predicted", "correct")}
    return table


def proposals(facts: Facts, rows: Measured) -> dict[str, Proposal]:
    """`COUNT` examples by every strategy with the study's seed."""
    return {name: propose(facts, rows, COUNT, facts.study.seed, name) for name in STRATEGIES}


def summarise(facts: Facts, rows: Measured) -> Found:
    """How usual the images are of which examples are shown, and which these are."""
    pool, found = pool_of(facts, rows), proposals(facts, rows)
    seed, count = facts.study.seed, len(found)
    short = [each for each in found.values() if len(each.chosen) < each.asked]
    return Found(
        verdict=(
            f"Examples are chosen from {len(pool):,} images by seed {seed} in {count} named ways, not by eye, and each "
            "carries its percentiles within its class; examples illustrate what the other questions measure and are "
            "no evidence themselves."
        ),
        sentences=(*_pool_sentences(facts, pool), *_random_sentence(found["random"])),
        numbers=_numbers(facts, pool, found),
        tables={f"Examples: {STRATEGIES[name].title.lower()}": _rows(each) for name, each in found.items()},
        undefined=(
            *_undefined(pool),
            *_few(pool),
            *(
                f"Only {len(each.chosen)} of {each.asked} examples could be chosen in the way {each.strategy!r}: no "
                "other image is of that kind."
                for each in short
            ),
        ),
    )


def _estimates(pool: Pool, seed: int) -> dict[str, Estimate]:
    columns = np.stack([pool.values[name] for name in QUANTITIES], axis=1)
    return dict(zip(QUANTITIES, resampling.estimates(columns, seed), strict=True))


def _shares(pool: Pool) -> dict[str, Share | None]:
    """Shares of the images on which A and B answer differently, and of those on which each changes its answer."""
    found = {"disagree": phrases.share("disagree", pool.clean["a"] != pool.clean["b"])}
    if pool.condition is not None:
        for side in SIDES:
            found[f"flipped_{side}"] = phrases.share(side, pool.clean[side] != pool.degraded[side])
    return found


def _pool_sentences(facts: Facts, pool: Pool) -> list[str]:
    a, b = facts.names
    means, shares = _estimates(pool, facts.study.seed), _shares(pool)
    told = [
        f"{a} and {b} answer differently to {phrases.percent(shares['disagree'])} of the clean images.",
        f"The mean confidence of clean answers is {means['confidence_a'].words()} for {a} and "
        f"{means['confidence_b'].words()} for {b}; where both answer the same, so that their clean maps are of one "
        f"class, these have a mean rank correlation of {means['agreement'].words()} on the "
        f"{facts.common_grid[0]} x {facts.common_grid[1]} grid.",
    ]
    if pool.condition is not None:
        told.append(
            f"Under {pool.condition.words} the answer changes on {phrases.percent(shares['flipped_a'])} of the images "
            f"for {a} and {phrases.percent(shares['flipped_b'])} for {b}; the mean drift of the maps is "
            f"{means['drift_a'].words()} and {means['drift_b'].words()}."
        )
    return told


def _random_sentence(found: Proposal) -> list[str]:
    """How far the random examples are spread, so that nobody has to trust them."""
    spread = []
    for name, words in QUANTITIES.items():
        places = [p for each in found.chosen if not np.isnan(p := each.percentiles[name].percentile)]
        if places:
            spread.append(f"{words} {min(places):.0f} to {max(places):.0f}")
    if not spread:
        return []
    return [
        f"The {len(found.chosen)} examples drawn at random lie at these percentiles of their classes: "
        f"{', '.join(spread)}."
    ]


def _undefined(pool: Pool) -> list[str]:
    apart = int((~pool.one_answer).sum())
    counts = {words: int(np.isnan(pool.values[name]).sum()) for name, words in QUANTITIES.items()}
    counts[QUANTITIES["agreement"]] -= apart
    where = f" under {pool.condition.words}" if pool.condition else ""
    told = [
        f"{words[:1].upper()}{words[1:]} is not defined for {count:,} of {len(pool):,} images{part}: a map is constant."
        for words, count in counts.items()
        if count and (part := where if words.startswith("drift") else "") is not None
    ]
    if apart:
        told.append(
            f"Agreement of A and B is not defined for {apart:,} of {len(pool):,} images to which they answer "
            "differently: their maps are of two classes there."
        )
    if pool.condition is None:
        told = [each for each in told if not each.startswith("Drift")]
        told.append("There is no degradation, so nothing has a drift and no answer changes.")
    return told


def _few(pool: Pool) -> list[str]:
    counts = np.bincount(pool.labels, minlength=len(pool.classes))
    few = [f"{name} ({n})" for name, n in zip(pool.classes, counts, strict=True) if n < FEWEST]
    if not few:
        return []
    shown = ", ".join(few[:12]) + (f" and {len(few) - 12:,} more" if len(few) > 12 else "")
    return [
        f"{len(few):,} of {len(pool.classes):,} classes have fewer than {FEWEST} images, of which a percentile "
        f"says little: {shown}."
    ]


def _numbers(facts: Facts, pool: Pool, found: dict[str, Proposal]) -> dict[str, Any]:
    return {
        "condition": pool.condition.name if pool.condition else None,
        "means": {name: each.to_json() for name, each in _estimates(pool, facts.study.seed).items()},
        "shares": {name: phrases.share_json(each) for name, each in _shares(pool).items()},
        "proposals": {name: each.record() for name, each in found.items()},
    }


def _rows(found: Proposal) -> Rows:
    """One row per example; of each quantity the value, and its percentile within the class in the next column."""
    rows: list[dict[str, Cell]] = []
    for each in found.chosen:
        row: dict[str, Cell] = {"image": each.id, "class": each.label, "why": each.why}
        for name, words in QUANTITIES.items():
            place = each.percentiles[name]
            row[words] = None if np.isnan(place.value) else round(place.value, 3) + 0.0
            row[f"{words} (percentile)"] = None if np.isnan(place.percentile) else round(place.percentile, 1)
        rows.append({**row, "n of the class": max(p.n for p in each.percentiles.values())})
    return rows


def draw(facts: Facts, rows: Measured) -> dict[str, Figure]:
    """Where the examples lie among all images; no picture of the dataset is in it."""
    from xai.figure_compare_examples import distribution_figure

    return {"examples": distribution_figure(facts, pool_of(facts, rows), proposals(facts, rows))}


def gallery(bench: Bench, chosen: Proposal, condition: Condition | None = None) -> Figure:
    """The pictures of examples, clean and under `condition` (None: that of the proposal), with both networks' maps.

    Computes the maps of these images alone, for the class that each network predicts on the clean image. Raises
    `ExplanationError` for a condition that can't be.
    """
    from xai.figure_compare_examples import Pictures, examples_figure

    data = bench.data.take(torch.tensor(chosen.rows, dtype=torch.int64))
    conditions = [UNTOUCHED, *filter(None, [condition or chosen.condition])]
    rows, name = slice(0, len(data)), bench.study.method
    found = [_maps(bench, model, data, conditions) for model in bench.models]
    shown = Pictures(
        conditions,
        [bench.images(bench.models[0], data, each, rows).cpu() for each in conditions],
        [[torch.from_numpy(each.maps[name]) for each in side] for side in found],
        [
            [[model.classes[k] for k in each.predicted] for each in side]
            for model, side in zip(bench.models, found, strict=True)
        ],
        name,
        bench.facts.names,
    )
    return examples_figure(shown, chosen)


def _maps(bench: Bench, model: Model, data: ImageSource, conditions: Sequence[Condition]) -> list[Maps]:
    """Maps of a few images under each condition, for the class predicted on the clean image, the first of them."""
    settings: dict[str, Any] = {"layer": bench.layer(model), "methods": (bench.study.method,)}
    clean = maps.compute(model, data, seed=bench.study.seed, **settings)
    settings |= {"targets": clean.targets, "seed": bench.study.seed}
    return [clean, *(maps.compute(model, data, each, **settings) for each in conditions[1:])]


def pictures(bench: Bench, facts: Facts, rows: Measured) -> dict[str, Figure]:
    """Galleries of `SHOWN` strategies, those that have no example left out."""
    found = {name: propose(facts, rows, COUNT, facts.study.seed, name) for name in SHOWN}
    return {f"examples {name}": gallery(bench, each) for name, each in found.items() if each.chosen}


def method(facts: Facts, rows: Measured) -> str:
    """How examples were chosen, for a paper."""
    condition = default_condition(facts)
    drift = (
        f"drift (1 − Spearman's correlation of the clean and the degraded {METHODS[facts.study.method].title} map, "
        f"under {condition.words}, for the class predicted on the clean image), "
        if condition
        else ""
    )
    return (
        f"Pictures shown as examples were chosen from all {facts.images:,} images by seed {facts.study.seed}, class "
        "after class in turn, and not by eye. Each carries the mid-rank percentile within its class of the confidence "
        f"of the clean answer, {drift}and agreement (Spearman's correlation of the two networks' clean maps on a "
        f"common grid of {facts.common_grid[0]} x {facts.common_grid[1]}, where both give the same answer, as maps of "
        "two classes are not to be compared). Ways to choose: "
        + "; ".join(f"{each.name}: {each.how}" for each in STRATEGIES.values())
        + "."
    )


SECTION = register(
    Section(
        "examples",
        "Examples",
        "Which pictures may stand for the rest, and how usual are they?",
        measure,
        summarise,
        draw,
        method,
        pictures=pictures,
    )
)
