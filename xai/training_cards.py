"""What is written of a training before anything is measured: the checkpoint's name and its first card."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from data.catalogue import ImageSet, file_stem
from models import recipes, training_state
from models.cards import Card, CardError, read_card, trial_note
from models.recipes import Recipe
from xai import degraded_training
from xai.training_request import device_name

_SINCE = {"learn": "all", "keep": "last"}
"""Values of a recipe that earlier cards do not state, because there was no choice."""
_SHORT = {"width": "w", "hidden": "h"}
"""Options with a short form in a checkpoint's name."""


def checkpoint_name(
    architecture: str,
    dataset_name: str,
    seed: int,
    options: dict[str, Any],
    recipe_name: str = "standard",
    learn: str = "all",
) -> str:
    """Name of a checkpoint, such as `resnet18_cifar-w32-cifar10-jpeg-s0` or `resnet18-msff-cue10-s0`.

    Options that the recipe implies are not in it, and no character that a file's name can't have.
    """
    implied = recipes.implied_options(architecture, recipe_name)
    own = {key: value for key, value in sorted(options.items()) if implied.get(key) != value}
    parts = [architecture, *(f"{_SHORT.get(key, key)}{value}" for key, value in own.items())]
    parts += [recipe_name] * (recipe_name != "standard") + [learn] * (learn != "all")
    parts += [file_stem(dataset_name), f"s{seed}"]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(parts))


def first_card(
    architecture: str,
    data: ImageSet,
    seed: int,
    device: torch.device,
    recipe: Recipe,
    options: dict[str, Any],
    limit: int | None,
) -> Card:
    size = data.images.shape[-1]
    return Card(
        checkpoint_name(architecture, data.name, seed, options, recipe.name, recipe.learn),
        architecture,
        _told_name(data.name),
        data.classes,
        size,
        seed,
        device_name(device),
        {**asdict(recipe), **(degraded_training.facts(size) if recipe.degraded_share else {})},
        options,
        note=" ".join([*_note(architecture, recipe, limit), *data.notes]),
    )


def _told_name(dataset_name: str) -> str:
    """What a card, which everybody may read, says of the dataset: who knows an upload's whole name can open it."""
    return file_stem(dataset_name) if dataset_name.startswith("upload:") else dataset_name


def _note(architecture: str, recipe: Recipe, limit: int | None) -> list[str]:
    """What a reader of the card must know, in sentences."""
    sentences = [] if limit is None else [trial_note(limit)]
    entry = recipes.RECIPES.get(recipe.name)
    implied = entry.options if entry else {}
    missing = [key for key in implied if key not in recipes.implied_options(architecture, recipe.name)]
    if missing:
        sentences.append(f"{architecture} has no {', '.join(missing)}, which the recipe asks for.")
    if recipe.degraded_share:
        seen = ", ".join(degraded_training.MIXTURE)
        sentences.append(
            f"{recipe.degraded_share:.0%} of the training pictures were degraded, so that these are "
            f"no longer unseen: {seen}."
        )
    return sentences


def check_folder(card: Card, folder: Path) -> None:
    """Raise `ValueError` when the folder holds another training of the same name."""
    try:
        found = read_card(folder / f"{card.name}.json")
    except CardError:
        return
    for field in ("architecture", "dataset", "classes", "options"):
        if getattr(found, field) != getattr(card, field):
            raise ValueError(f"{folder} holds a training with another {field}; choose another folder.")


def finished_elsewhere(card: Card, folder: Path) -> Card | None:
    """The card of the same training in `folder`, finished, when the state to resume it from did not come along."""
    if (folder / training_state.STATE_FILE).exists():
        return None
    try:
        found = read_card(folder / f"{card.name}.json")
    except CardError:
        return None
    asked = (card.recipe, card.recipe["epochs"], card.note)
    followed = {**_SINCE, **found.recipe}
    return found if (followed, found.epochs, found.note) == asked else None
