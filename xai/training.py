"""Training of a registered architecture on a registered dataset: what `python -m xai train` does."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from data.catalogue import DatasetError, ImageSet, cifar, dataset, file_stem, load_dataset
from data.datasets import ImageSource, evenly_spread, open_dataset
from models import recipes, registry, training, transfer, zoo
from models.cards import Card, CardError, read_card, trial_note
from models.import_request import check_name
from models.recipes import Recipe, recipe_for
from models.training import LabelledImages, Run
from xai import degraded_training, predictions, training_sources

Progress = Callable[[int, int, str], None]

PREDICTIONS_FILE = "predictions.parquet"
SPLITS = ("train", "validation", "test")
SEEDS = range(2**31)
"""Seeds of a training; every epoch draws from a number of its own made of them."""
_SINCE = {"learn": "all", "keep": "last"}
"""Values of a recipe that earlier cards do not state, because there was no choice."""
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
    plan = prepare(
        architecture,
        dataset_name,
        folder,
        seed=seed,
        device=device,
        recipe=recipe,
        options=options,
        limit=limit,
        progress=progress,
    )
    return run(plan, report)


@dataclass(frozen=True, eq=False)
class Plan:
    """A training of which everything is known but the outcome.

    `card` has neither accuracies nor hash yet; `splits` are the images by `SPLITS`, in memory; `folder` is that of
    the checkpoint itself.
    """

    network: nn.Module
    card: Card
    recipe: Recipe
    splits: Mapping[str, ImageSet]
    device: torch.device
    folder: Path
    teacher: nn.Module | None = None


def prepare(
    architecture: str,
    dataset_name: str,
    folder: Path,
    *,
    seed: int = 0,
    device: str = "cpu",
    recipe: Recipe | None = None,
    options: dict[str, Any] | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
    name: str = "",
    fit: Collection[str] = (),
) -> Plan:
    """What `run` needs for a training as `train` describes it; nothing is written yet.

    The checkpoint is called `name`, else by `checkpoint_name`. `fit` are the fields of the recipe that may be changed
    to suit few images (`models.recipes.fitted`). Raises as `train` does.
    """
    recipe = (recipe or default_recipe(architecture, dataset_name)).explicit()
    where = check_request(architecture, dataset_name, device, limit)
    if seed not in SEEDS:
        raise ValueError(f"seed is {seed}; allowed are {SEEDS[0]} to {SEEDS[-1]:,}.")
    if name:
        check_name(name, replace_it=True)
    options = {**recipes.implied_options(architecture, recipe.name), **(options or {})}
    transfer.class_weights(architecture, options)  # it can be built, which is sooner known than the classes
    recipe, sources = training_sources.load_sources(recipe)
    splits = {split: load_split(dataset_name, split, limit, progress) for split in SPLITS}
    data = splits["train"]
    recipe = recipes.fitted(recipe, len(data), fit)
    network = training_sources.initial_network(architecture, data.classes, seed, options, sources)
    transfer.learn_only(network, architecture, options, recipe.learn, data.images.shape[-1])
    card = _first_card(architecture, data, seed, where, recipe, options, limit)
    card = replace(card, name=name or card.name)
    teacher = sources["teacher"].network if "teacher" in sources else None
    return Plan(network, card, recipe, splits, where, folder / card.name, teacher)


def run(
    plan: Plan, report: training.StepReport | None = None, cancelled: training.Cancelled | None = None
) -> Card:
    """Train, measure and write what is planned, going on with what its folder holds; returns the final card.

    Once `cancelled()` is true it ends before the next batch and measures what was kept of the whole epochs before.
    Raises as `train` does, and `ValueError` when it was cancelled before the first epoch had ended.
    """
    card, recipe, folder = plan.card, plan.recipe, plan.folder
    _check_folder(card, folder)
    finished = _finished_elsewhere(card, folder)
    if finished:
        return measure(finished, None, folder, plan.splits, plan.device)

    def on_epoch(state: Run) -> None:
        if recipe.keep == "last" or training.best_epoch(state.curve) == state.epoch - 1:
            _write(state, card, folder)

    try:
        state = training.train(
            plan.network,
            _labelled(plan.splits["train"]),
            _labelled(plan.splits["validation"]),
            recipe,
            seed=card.seed,
            device=plan.device,
            folder=folder,
            degrade=degraded_training.degrade_mixture if recipe.degraded_share else None,
            teacher=plan.teacher,
            report=report,
            on_epoch=on_epoch,
            cancelled=cancelled,
        )
    except training.Stopped:
        return _measure_kept(plan)
    return _finish(state, plan) if recipe.keep == "last" else _measure_kept(plan)


def _measure_kept(plan: Plan) -> Card:
    """Measure the epoch that was stored, whatever came after it."""
    path = plan.folder / f"{plan.card.name}.json"
    if not path.is_file():
        raise ValueError("the training was cancelled before its first epoch had ended: nothing was kept.")
    return measure(read_card(path), None, plan.folder, plan.splits, plan.device)


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
    followed = {**_SINCE, **found.recipe}
    return found if (followed, found.epochs, found.note) == asked else None


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
    if limit is None:
        return load_dataset(name, split, progress)
    return in_memory(evenly_spread(open_dataset(name, split, progress), limit))


def in_memory(data: ImageSource) -> ImageSet:
    """The images of a source, all decoded; masks and attributes are not needed here."""
    if isinstance(data, ImageSet):
        return data
    pixels = data.pixels(slice(0, len(data)))
    return ImageSet(data.name, data.split, pixels, data.labels, data.classes, data.ids, notes=data.notes)


def _progress_card(run: Run, card: Card) -> Card:
    seconds = round(sum(row.seconds for row in run.curve), 1)
    accuracy = {"test": None, "validation": run.curve[-1].validation_accuracy, "validation_lossless": None}
    return replace(card, epochs=run.epoch, training_seconds=seconds, accuracy=accuracy)


def _write(run: Run, card: Card, folder: Path) -> Card:
    network = run.average.module
    return zoo.save(network, _progress_card(run, card), folder)  # type: ignore[arg-type]


def _finish(run: Run, plan: Plan) -> Card:
    """Measure the stored weights on every split that was held out, and write the final card and predictions."""
    card, unstored = _write(run, plan.card, plan.folder), run.average.module
    return measure(card, unstored, plan.folder, plan.splits, plan.device)  # type: ignore[arg-type]


def measure(
    card: Card, unstored: nn.Module | None, folder: Path, splits: Mapping[str, ImageSet], device: torch.device
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
