"""Training of a registered architecture on a registered dataset: what `python -m xai train` does."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from data.catalogue import DatasetError, ImageSet, cifar, dataset, file_stem, load_dataset
from data.datasets import evenly_spread
from models import recipes, registry, training, transfer, zoo
from models.cards import Card, CardError, read_card, trial_note
from models.recipes import Recipe, recipe_for
from models.registry import Model
from models.training import LabelledImages, Run
from xai import degraded_training, predictions

Progress = Callable[[int, int, str], None]

PREDICTIONS_FILE = "predictions.parquet"
SPLITS = ("train", "validation", "test")
SEEDS = range(2**31)
"""Seeds of a training; every epoch draws from a number of its own made of them."""
_SHORT = {"width": "w", "hidden": "h"}
"""Options with a short form in a checkpoint's name."""


def default_recipe(architecture: str, dataset_name: str) -> Recipe:
    """The recipe that `train` starts from: values usual for such networks, not tuned."""
    return recipe_for(architecture, "standard", dataset_name)


def checkpoint_name(
    architecture: str,
    dataset_name: str,
    seed: int,
    options: dict[str, Any],
    recipe_name: str = "standard",
) -> str:
    """Name of a checkpoint, such as `resnet18_cifar-w32-cifar10-jpeg-s0` or `resnet18-msff-cue10-s0`.

    Options that the recipe implies are not in it, and no character that a file's name can't have.
    """
    implied = recipes.implied_options(architecture, recipe_name)
    own = {key: value for key, value in sorted(options.items()) if implied.get(key) != value}
    parts = [architecture, *(f"{_SHORT.get(key, key)}{value}" for key, value in own.items())]
    parts += [recipe_name] * (recipe_name != "standard") + [file_stem(dataset_name), f"s{seed}"]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(parts))


def _labelled(data: ImageSet) -> LabelledImages:
    return LabelledImages(data.images, data.labels)


def device_name(device: torch.device) -> str:
    """What a card says of the device: the GPU's own name, or `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def train(
    architecture: str,
    dataset_name: str,
    folder: Path,
    *,
    seed: int = 0,
    device: str = "cpu",
    recipe: Recipe | None = None,
    options: dict[str, Any] | None = None,
    limit: int | None = None,
    report: training.StepReport | None = None,
    progress: Progress | None = None,
) -> Card:
    """Train, measure and write a checkpoint with its card, curve and test predictions; resumes what is there.

    They go into a folder of the checkpoint's name in `folder`; a finished network that was brought there without the
    training's state is only measured again. `limit` keeps only so many images of each split,
    evenly spread (a trial, said so in the card's note). Every accuracy in the final card is measured on the
    weights as they are stored, without test-time augmentation. Raises `DatasetError` or `ValueError` with one
    sentence.
    """
    recipe = (recipe or default_recipe(architecture, dataset_name)).explicit()
    where = check_request(architecture, dataset_name, device, limit)
    if seed not in SEEDS:
        raise ValueError(f"seed is {seed}; allowed are {SEEDS[0]} to {SEEDS[-1]:,}.")
    options = {**recipes.implied_options(architecture, recipe.name), **(options or {})}
    transfer.class_weights(architecture, options)  # it can be built, which is sooner known than the classes
    recipe, sources = load_sources(recipe)
    splits = {split: load_split(dataset_name, split, limit, progress) for split in SPLITS}
    network = _initial_network(architecture, splits["train"].classes, seed, options, sources)
    card = _first_card(architecture, splits["train"], seed, where, recipe, options, limit)
    folder = folder / card.name
    _check_folder(card, folder)
    finished = _finished_elsewhere(card, folder)
    if finished:
        return measure(finished, None, folder, splits, where)

    def on_epoch(run: Run) -> None:
        _write(run, card, folder)

    run = training.train(
        network,
        _labelled(splits["train"]),
        _labelled(splits["validation"]),
        recipe,
        seed=seed,
        device=where,
        folder=folder,
        degrade=degraded_training.degrade_mixture if recipe.degraded_share else None,
        teacher=sources["teacher"].network if "teacher" in sources else None,
        report=report,
        on_epoch=on_epoch,
    )
    return _finish(run, card, folder, splits, where)


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


def _initial_network(
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


def _first_card(
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
        checkpoint_name(architecture, data.name, seed, options, recipe.name),
        architecture,
        data.name,
        data.classes,
        size,
        seed,
        device_name(device),
        {**asdict(recipe), **(degraded_training.facts(size) if recipe.degraded_share else {})},
        options,
        note=" ".join([*_note(architecture, recipe, limit), *data.notes]),
    )


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


def _check_folder(card: Card, folder: Path) -> None:
    """Raise `ValueError` when the folder holds another training of the same name."""
    try:
        found = read_card(folder / f"{card.name}.json")
    except CardError:
        return
    for field in ("architecture", "dataset", "classes", "options"):
        if getattr(found, field) != getattr(card, field):
            raise ValueError(f"{folder} holds a training with another {field}; choose another folder.")


def _finished_elsewhere(card: Card, folder: Path) -> Card | None:
    """The card of the same training in `folder`, finished, when the state to resume it from did not come along."""
    if (folder / training.STATE_FILE).exists():
        return None
    try:
        found = read_card(folder / f"{card.name}.json")
    except CardError:
        return None
    asked = (card.recipe, card.recipe["epochs"], card.note)
    return found if (found.recipe, found.epochs, found.note) == asked else None


def find_device(device: str) -> torch.device:
    """The device of that name; raises `ValueError` with one sentence when this machine doesn't have it."""
    if device.split(":")[0] not in ("cpu", "cuda"):
        raise ValueError(f"device is {device!r}; allowed are 'cpu' and 'cuda'.")
    if device != "cpu" and not torch.cuda.is_available():
        raise ValueError(f"device is {device!r}, but PyTorch finds no GPU here; 'cpu' works everywhere.")
    return torch.device(device)


def check_request(architecture: str, dataset_name: str, device: str, limit: int | None) -> torch.device:
    """The device to train on, after a look at everything that would fail later and less clearly.

    Raises `ValueError` with one sentence when the architecture or dataset is unknown, its pictures are too small
    for the network, `limit` is below 1, or this machine doesn't have the device.
    """
    least, size = registry.architecture(architecture).min_size, dataset(dataset_name).image_size
    if size < least:
        raise ValueError(
            f"{architecture} needs images of {least} px or more, but {dataset_name} has {size} px."
        )
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}; it must be at least 1.")
    return find_device(device)


def load_split(name: str, split: str, limit: int | None, progress: Progress | None) -> ImageSet:
    """One split of a dataset, or `limit` of its images, evenly spread; raises `DatasetError` when it has none."""
    if split not in dataset(name).splits:
        raise DatasetError(f"{name} has no {split} split, which training needs.")
    return evenly_spread(load_dataset(name, split, progress), limit)


def _progress_card(run: Run, card: Card) -> Card:
    seconds = round(sum(row.seconds for row in run.curve), 1)
    accuracy = {"test": None, "validation": run.curve[-1].validation_accuracy, "validation_lossless": None}
    return replace(card, epochs=run.epoch, training_seconds=seconds, accuracy=accuracy)


def _write(run: Run, card: Card, folder: Path) -> Card:
    network = run.average.module
    return zoo.save(network, _progress_card(run, card), folder)  # type: ignore[arg-type]


def _finish(run: Run, card: Card, folder: Path, splits: dict[str, ImageSet], device: torch.device) -> Card:
    """Measure the stored weights on every split that was held out, and write the final card and predictions."""
    return measure(_write(run, card, folder), run.average.module, folder, splits, device)  # type: ignore[arg-type]


def measure(
    card: Card, unstored: nn.Module | None, folder: Path, splits: dict[str, ImageSet], device: torch.device
) -> Card:
    """Measure the checkpoint of `card` in `folder` as it is stored, and `unstored`, the network it was made of.

    Without `unstored` what the card says of it stays. Writes the card with the accuracies, and `PREDICTIONS_FILE`
    for the test split.
    """
    stored = zoo.load_checkpoint(folder / f"{card.name}.safetensors", card, device).network
    answers = predictions.predict(stored, splits["test"], device)
    accuracy = {
        "test": round(answers.accuracy, 4),
        "validation": _accuracy(stored, splits["validation"], device),
        "validation_lossless": _accuracy(stored, _lossless(card.dataset), device),
    }
    before = card.accuracy_before_quantization
    if unstored is not None:
        before = {key: _accuracy(unstored, splits[key], device) for key in ("test", "validation")}
    card = replace(card, accuracy=accuracy, accuracy_before_quantization=before)
    card.write(folder / f"{card.name}.json")
    predictions.write(folder / PREDICTIONS_FILE, answers, predictions.facts_of(card, "test"))
    return card


def _lossless(dataset_name: str) -> ImageSet | None:
    if not dataset_name.startswith("cifar10-"):
        return None
    try:
        return cifar.load_lossless_validation()
    except DatasetError:
        return None


def _accuracy(network: nn.Module, data: ImageSet | None, device: torch.device) -> float | None:
    if data is None:
        return None
    return round(training.evaluate(network, _labelled(data), device)[1], 4)
