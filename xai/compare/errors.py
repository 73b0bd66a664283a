"""Do the two networks make the same errors, and does a degradation change the errors of both alike?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.registry import Model
from xai import statistics
from xai.compare import answers, error_rows, error_shift, error_verdict, error_words, resampling
from xai.compare.error_results import Errors, results
from xai.compare.phrases import FEWEST
from xai.compare.sections import Found, Measured, Section, Table, register
from xai.compare.study import Facts
from xai.pairwise import REAL
from xai.results import UNTOUCHED, Condition

if TYPE_CHECKING:
    from xai.compare.bench import Bench
    from xai.figure_parts import Figure


def measure(bench: Bench) -> Measured:
    """`answers`: one row per image, network and condition (its number among `facts.conditions`); `seeds`: answers of
    the other seeds to the clean images, by the network's `name`. Class numbers are those of the dataset, -1 for a class
    that only the network knows; `confidence` is the probability of the answer in [0, 1]."""
    asked = [
        answers.with_column(
            answers.with_column(_answers(bench, model, condition), "network", place), "condition", number
        )
        for number, condition in enumerate(bench.facts.conditions)
        for place, model in enumerate(bench.models)
    ]
    peers = {model.name: model for place in range(2) for model in bench.peers(place)}
    seeds = [_named(_answers(bench, model), name) for name, model in peers.items()]
    tables = {"answers": answers.stacked(asked)}
    return {**tables, "seeds": answers.stacked(seeds)} if seeds else tables


def _answers(bench: Bench, model: Model, condition: Condition = UNTOUCHED) -> Table:
    classes = (model.classes, bench.facts.classes)
    return answers.table_of(bench.maps(model, condition), bench.data.labels.numpy(), classes)


def _named(table: Table, name: str) -> Table:
    return {**table, "name": np.full(len(table["image"]), name)}


def summarise(facts: Facts, rows: Measured) -> Found:
    """Accuracy, shared errors, what degradations cost, and whose answers change, from rows alone."""
    found = results(facts, rows)
    return Found(
        verdict=error_verdict.verdict(facts, found),
        sentences=error_words.sentences(facts, found),
        numbers=error_rows.numbers(facts, found),
        tables=error_rows.tables(facts, found),
        undefined=error_words.undefined(facts, found),
        differs=differs(found),
    )


def differs(found: Errors) -> bool:
    """Whether the accuracy of these two networks differs under any condition (Holm), or, with networks drawn by lot,
    two trainings share fewer errors than one. That A and B lie below every pair of seeds is not enough."""
    over_networks = found.seeds is not None and found.seeds.differ
    return over_networks or any(each.real for each in found.compared)


def draw(facts: Facts, rows: Measured) -> dict[str, Figure]:
    """Accuracy and error consistency by condition, the flow of right and wrong answers, and the shift of classes."""
    from xai.figure_compare_errors import error_figures

    return error_figures(facts, results(facts, rows))


def method(facts: Facts, rows: Measured) -> str:
    """How the numbers were made, for a paper."""
    seeds = len(set(rows["seeds"]["name"].tolist())) if "seeds" in rows else 0
    return (
        f"Both networks were asked about the same {facts.images:,} images under {len(facts.conditions)} conditions. "
        "Accuracy has Wilson's 95 % interval; A − B has a paired BCa bootstrap interval over images "
        f"({statistics.RESAMPLES:,} resamples) and McNemar's exact p, adjusted by Holm over all conditions but those "
        "that change no answer of either network; it is a statement of these two trained networks. Error consistency "
        "is Cohen's kappa of who is right about which image (Geirhos et al. 2020), with a bootstrap interval over "
        "images; beside it stands the largest that the two accuracies allow, where all that the worse has right is "
        f"right with the better. {_seeds_method(seeds)}"
        "What the highest severity of each degradation costs is the mean over images of right on the clean less right "
        f"on the degraded image ({resampling.RESAMPLES:,} resamples; for A − B, {resampling.FLIPS:,} random signs and "
        f"Holm over the degradations). {_shift_method() if facts.study.degradations else ''}"
    ).strip()


def _seeds_method(seeds: int) -> str:
    if not seeds:
        return "There were no further seeds to set kappa beside. "
    return (
        f"Kappa was set beside that of every two seeds of one training on the clean images ({seeds} further networks), "
        "with the interval of the difference from the same resamples of images. Whether two trainings share fewer "
        "errors than one was tested over networks (mean kappa within less that between, all ways to share the "
        f"networks out, one-sided, at least two of each) and is said only where p < {REAL:g}. "
    )


def _shift_method() -> str:
    return (
        "The answers to each class's images, the right one among them, were compared between clean images and the "
        "highest severity by the Jensen-Shannon divergence in bits of the two rows of the confusion matrix, with the "
        "jackknife's correction for what few images add and its interval by Student's t; p is that of "
        f"{error_shift.DRAWS:,} random swaps of the clean and the degraded answer within images. Whether A's answers "
        "move as B's do was tested by half the sum over classes of |A's change of the share of answers − B's|, which "
        "sees where they go: p is that of as many swaps of both answers of A with both of B within images. Which of "
        "the two moves further is said where the interval of the difference in bits leaves 0 out. In simulations the "
        "intervals of one network held the true value in 92 to 96 % of cases with 200 images, in 86 to 96 % with 50 "
        "and in 84 to 97 % with 20. "
        "Holm is over the classes of one network, or of the pair, and degradation. Classes with fewer than "
        f"{FEWEST} images were not tested. "
    )


SECTION = register(
    Section(
        "errors",
        "Error structure",
        "Do the two networks make the same errors, and do degradations change the errors of both alike?",
        measure,
        summarise,
        draw,
        method,
    )
)
