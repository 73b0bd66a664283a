"""Training of a registered architecture on a registered dataset: what `python -m xai train` does."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from data.catalogue import DatasetError, ImageSet, cifar
from models import recipes, training, training_state, transfer, zoo
from models.cards import Card, read_card
from models.import_request import check_name
from models.recipes import Recipe, recipe_for
from models.training_state import LabelledImages, Run
from xai import degraded_training, predictions, predictions_file, training_sources
from xai.training_cards import check_folder, finished_elsewhere, first_card
from xai.training_request import SEEDS, SPLITS, Progress, check_request, load_split

PREDICTIONS_FILE = "predictions.parquet"


def default_recipe(architecture: str, dataset_name: str) -> Recipe:
    """The recipe that `train` starts from: values usual for such networks, not tuned."""
    return recipe_for(architecture, "standard", dataset_name)


def _labelled(data: ImageSet) -> LabelledImages:
    return LabelledImages(data.images, data.labels)


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
    card = first_card(architecture, data, seed, where, recipe, options, limit)
    card = replace(card, name=name or card.name)
    teacher = sources["teacher"].network if "teacher" in sources else None
    return Plan(network, card, recipe, splits, where, folder / card.name, teacher)


def run(
    plan: Plan, report: training.StepReport | None = None, cancelled: training.Cancel | None = None
) -> Card:
    """Train, measure and write what is planned, going on with what its folder holds; returns the final card.

    Once `cancelled()` is true it ends before the next batch and measures what was kept of the whole epochs before.
    Raises as `train` does, and `ValueError` when it was cancelled before the first epoch had ended.
    """
    card, recipe, folder = plan.card, plan.recipe, plan.folder
    check_folder(card, folder)
    finished = finished_elsewhere(card, folder)
    if finished:
        return measure(finished, None, folder, plan.splits, plan.device)

    def on_epoch(state: Run) -> None:
        if recipe.keep == "last" or training_state.best_epoch(state.curve) == state.epoch - 1:
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
    predictions_file.write(folder / PREDICTIONS_FILE, answers, predictions.facts_of(card, "test"))
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
