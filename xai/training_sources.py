"""What a training starts from: the networks that its recipe names, and the weights before the first step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from models import recipes, transfer, zoo
from models.cards import Card
from models.recipes import Recipe
from models.registry import Model


def load_sources(recipe: Recipe) -> tuple[Recipe, dict[str, Model]]:
    """The networks that the recipe names as `initial` and `teacher`, and the recipe with their sha256.

    Raises `ValueError` with one sentence when one that the recipe needs is not named, one is named that it does
    not use, or one is unknown or other than it was.
    """
    uses = {"initial": _starts_elsewhere(recipe), "teacher": recipe.teacher_weight > 0}
    sources: dict[str, Model] = {}
    for role, used in uses.items():
        name = getattr(recipe, role)
        if bool(name) != used:
            raise ValueError(_misfit(recipe.name, role, name))
        if name:
            sources[role] = zoo.load(name)
            recipe = _with_hash(recipe, role, sources[role].card)
    return recipe, sources


def _starts_elsewhere(recipe: Recipe) -> bool:
    """Whether the recipe is one that starts from another network's weights; one's own may do as it likes."""
    entry = recipes.RECIPES.get(recipe.name)
    return bool(recipe.initial) if entry is None else "initial" in entry.needs


def _misfit(recipe_name: str, role: str, name: str) -> str:
    if name:
        return f"the recipe {recipe_name} uses no {role} network, but {name!r} is given as one."
    return f"the recipe {recipe_name} needs the name of a network as its {role} (--{role} NAME)."


def _with_hash(recipe: Recipe, role: str, card: Card) -> Recipe:
    expected = getattr(recipe, f"{role}_sha256")
    if expected not in ("", card.sha256):
        raise ValueError(f"the network {card.name} is not the {role} of this recipe (sha256 differs).")
    return replace(recipe, **{f"{role}_sha256": card.sha256})  # type: ignore[arg-type]


def initial_network(
    architecture: str,
    classes: tuple[str, ...],
    seed: int,
    options: dict[str, Any],
    sources: dict[str, Model],
) -> nn.Module:
    """The untrained network, or one with the initial weights; its classifier is new if the classes are others.

    Raises `ValueError` when the teacher knows other classes, or the initial weights don't fit.
    """
    if "teacher" in sources and sources["teacher"].classes != classes:
        name = sources["teacher"].name
        raise ValueError(f"the teacher {name} tells other classes apart than those of the dataset.")
    network = transfer.build_seeded(architecture, len(classes), seed, options)
    if "initial" not in sources:
        return network
    source = sources["initial"]
    fresh = frozenset() if source.classes == classes else transfer.class_weights(architecture, options)
    return transfer.start_from(network, source.network.state_dict(), fresh, source.name)
