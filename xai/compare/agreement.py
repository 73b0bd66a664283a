"""Same image, two minds: do A and B look at the same places, more than chance has it and less than two seeds do?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.registry import Model
from xai.compare import agreement_rows as alike
from xai.compare import map_metrics
from xai.compare.agreement_found import one_training, summarise
from xai.compare.agreement_words import method
from xai.compare.sections import Measured, Section, Table, register
from xai.compare.study import Facts
from xai.results import UNTOUCHED, Condition

if TYPE_CHECKING:
    from xai.compare.bench import Bench
    from xai.figure_parts import Figure


def measure(bench: Bench) -> Measured:
    """Agreement of the maps of A, B and their other seeds on the clean images, and of A and B under every condition.

    Maps are for the class that each network predicts on the clean image, on the grid common to A and B.
    """
    listed = networks(bench)
    models = [bench.model(name) for name in listed["name"]]
    stacks = [_stack(bench, model) for model in models]
    groups, classes = _groups(bench, stacks[0], stacks[1])
    found = alike.clean_tables(stacks, groups, bench.study.seed)
    found["images"] |= {"label": bench.data.labels.numpy().astype(np.int16), "class": classes}
    return {"networks": listed, **found, "conditions": _conditions(bench, groups)}


def networks(bench: Bench) -> Table:
    """A, B, and all other networks of their trainings: `training` is 0 for A's, 1 for B's if that is another."""
    a, b = bench.models
    one = one_training(bench.facts)
    found = [(a.name, 0), (b.name, 0 if one else 1), *((peer.name, 0) for peer in bench.peers(0))]
    found += [] if one else [(peer.name, 1) for peer in bench.peers(1)]
    names, training = zip(*found, strict=True)
    return {"name": np.array(names), "training": np.array(training, np.int16)}


def _stack(bench: Bench, model: Model) -> alike.Stack:
    found = bench.maps(model)
    return alike.Stack(
        _maps(bench, model, UNTOUCHED),
        _maps(bench, model, UNTOUCHED, "hirescam"),
        map_metrics.pearson_rows(found.maps["gradcam"], found.maps["hirescam"]),
        np.array(model.classes)[found.targets],
    )


def _maps(bench: Bench, model: Model, condition: Condition, method: str = "") -> np.ndarray:
    maps = bench.maps(model, condition).maps[method or bench.study.method]
    return map_metrics.pooled(maps, bench.facts.common_grid)


def _groups(bench: Bench, a: alike.Stack, b: alike.Stack) -> tuple[np.ndarray, np.ndarray]:
    """The class that A and B both predict, int64 `(N,)`, -1 where they don't; and its number in the dataset, -1 where
    it has none."""
    names, number = np.unique(a.classes, return_inverse=True)
    places = {name: place for place, name in enumerate(bench.data.classes)}
    own = np.array([places.get(str(name), -1) for name in names], np.int16)
    same = a.classes == b.classes
    return np.where(same, number, -1), np.where(same, own[number], -1).astype(np.int16)


def _conditions(bench: Bench, groups: np.ndarray) -> Table:
    parts = []
    for number, condition in enumerate(bench.facts.conditions):
        a, b = (alike.products(_maps(bench, model, condition)) for model in bench.models)
        parts.append(alike.condition(number, a, b, groups))
    return alike.joined(parts)


def draw(facts: Facts, rows: Measured) -> dict[str, Figure]:
    """The nulls on clean images, and agreement against severity where the images were degraded."""
    from xai import figure_compare_agreement as figures

    return figures.figures(facts, rows)


SECTION = register(
    Section(
        "agreement",
        "Same image, two minds",
        "Do the two networks look at the same places of the same image, and do they differ in this by more than two "
        "networks that differ in their seed alone?",
        measure,
        summarise,
        draw,
        method,
        version=2,
        of_maps=True,
    )
)
