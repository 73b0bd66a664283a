"""Training of a registered architecture on a registered dataset: what `python -m xai train` does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from data.catalogue import DatasetError, ImageSet, cifar, dataset, load_dataset
from models import registry, training, zoo
from models.cards import Card
from models.training import LabelledImages, Recipe, Run

Progress = Callable[[int, int, str], None]

_SPLITS = ("train", "validation", "test")


def default_recipe(architecture: str, dataset_name: str) -> Recipe:
    """The recipe that `train` starts from: values usual for such networks, not tuned."""
    recipe = Recipe(flip=dataset_name.split(":")[0] != "folder")
    if architecture.startswith("alexnet"):
        return replace(recipe, learning_rate=0.05 if architecture != "alexnet_bn" else 0.1)
    return recipe


def checkpoint_name(architecture: str, dataset_name: str, seed: int, options: dict[str, Any]) -> str:
    """Name of a checkpoint, such as `resnet18_cifar-w32-cifar10-jpeg-s0`."""
    extra = "".join(f"-{key[0]}{value}" for key, value in sorted(options.items()))
    return f"{architecture}{extra}-{dataset_name}-s{seed}"


def _initial_network(architecture: str, classes: int, seed: int, options: dict[str, Any]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return registry.build(architecture, classes, **options)


def _labelled(data: ImageSet) -> LabelledImages:
    return LabelledImages(data.images, data.labels)


def _device_name(device: torch.device) -> str:
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
    """Train, measure and write a checkpoint with its card and curve into `folder`; resumes what is there.

    `limit` keeps only so many images of each split, evenly spread (a trial, said so in the card's note). Every
    accuracy in the final card is measured on the weights as they are stored. Raises `DatasetError` or
    `ValueError` with one sentence.
    """
    options, recipe = options or {}, recipe or default_recipe(architecture, dataset_name)
    where = _check(architecture, dataset_name, device, limit)
    splits = {split: _split(dataset_name, split, limit, progress) for split in _SPLITS}
    card = _first_card(architecture, splits["train"], seed, where, recipe, options, limit)
    folder = folder / card.name

    def on_epoch(run: Run) -> None:
        _write(run, card, folder)

    run = training.train(
        _initial_network(architecture, len(card.classes), seed, options),
        _labelled(splits["train"]),
        _labelled(splits["validation"]),
        recipe,
        seed=seed,
        device=where,
        folder=folder,
        report=report,
        on_epoch=on_epoch,
    )
    return _finish(run, card, folder, splits, where)


def _first_card(
    architecture: str,
    data: ImageSet,
    seed: int,
    device: torch.device,
    recipe: Recipe,
    options: dict[str, Any],
    limit: int | None,
) -> Card:
    name, size = checkpoint_name(architecture, data.name, seed, options), data.images.shape[-1]
    note = "" if limit is None else f"A trial on at most {limit} images of each split."
    made_on = _device_name(device)
    return Card(
        name, architecture, data.name, data.classes, size, seed, made_on, asdict(recipe), options, note=note
    )


def find_device(device: str) -> torch.device:
    """The device of that name; raises `ValueError` with one sentence when this machine doesn't have it."""
    if device.split(":")[0] not in ("cpu", "cuda"):
        raise ValueError(f"device is {device!r}; allowed are 'cpu' and 'cuda'.")
    if device != "cpu" and not torch.cuda.is_available():
        raise ValueError(f"device is {device!r}, but PyTorch finds no GPU here; 'cpu' works everywhere.")
    return torch.device(device)


def _check(architecture: str, dataset_name: str, device: str, limit: int | None) -> torch.device:
    """The device to train on, after a look at everything that would fail later and less clearly."""
    least, size = registry.architecture(architecture).min_size, dataset(dataset_name).image_size
    if size < least:
        raise ValueError(
            f"{architecture} needs images of {least} px or more, but {dataset_name} has {size} px."
        )
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}; it must be at least 1.")
    return find_device(device)


def _split(name: str, split: str, limit: int | None, progress: Progress | None) -> ImageSet:
    if split not in dataset(name).splits:
        raise DatasetError(f"{name} has no {split} split, which training needs.")
    data = load_dataset(name, split, progress)
    if limit is None or limit >= len(data):
        return data
    return data.take(torch.linspace(0, len(data) - 1, limit).long())  # spread: files may be sorted by class


def _progress_card(run: Run, card: Card) -> Card:
    seconds = round(sum(row.seconds for row in run.curve), 1)
    accuracy = {"test": None, "validation": run.curve[-1].validation_accuracy, "validation_lossless": None}
    return replace(card, epochs=run.epoch, training_seconds=seconds, accuracy=accuracy)


def _write(run: Run, card: Card, folder: Path) -> Card:
    network = run.average.module
    return zoo.save(network, _progress_card(run, card), folder)  # type: ignore[arg-type]


def _finish(run: Run, card: Card, folder: Path, splits: dict[str, ImageSet], device: torch.device) -> Card:
    """Measure the stored weights on every split that was held out, and write the final card."""
    card = _write(run, card, folder)
    stored = zoo.load_checkpoint(folder / f"{card.name}.safetensors", card, device).network
    held_out: dict[str, ImageSet | None] = {
        "test": splits["test"],
        "validation": splits["validation"],
        "validation_lossless": _lossless(card.dataset),
    }
    accuracy = {key: _accuracy(stored, data, device) for key, data in held_out.items()}
    unquantized: nn.Module = run.average.module
    before = {key: _accuracy(unquantized, held_out[key], device) for key in ("test", "validation")}
    card = replace(card, accuracy=accuracy, accuracy_before_quantization=before)
    card.write(folder / f"{card.name}.json")
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


def read_curve(folder: Path) -> list[dict[str, float]]:
    """The rows of a training's curve."""
    return json.loads((folder / training.CURVE_FILE).read_text(encoding="utf-8"))
