"""A linear support vector machine in place of a network's classifier, on the network's frozen features.

The papers' "HCS" head. The features are what goes into the last linear layer; they are standardised, and both the
standardisation and the machine are one linear map, so that the result is an ordinary checkpoint.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from data.catalogue import ImageSet
from models import checkpoints, training, transfer, zoo
from models.cards import Card, trial_note
from models.registry import Model
from xai.hooks import find_layer
from xai.training import measure
from xai.training_cards import checkpoint_name
from xai.training_request import SPLITS, Progress, check_request, device_name, find_device, load_split

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Values that are tried, the most regularised first, of C times the number of training pictures: so that the same
value weighs the mean loss equally, however many pictures there are."""
RECIPE = "svm_head"
NOTE = (
    "The classifier is a linear support vector machine: its outputs are margins, and their softmax is not a "
    "calibrated probability."
)


@dataclass(frozen=True)
class Head:
    """A linear classifier of features `(N, D)`: scores are `features @ weight.T + bias`, `(N, K)`.

    `penalty` is the machine's C, `validation` the accuracy by which it was chosen, by each C tried.
    """

    weight: Tensor
    bias: Tensor
    penalty: float
    validation: dict[float, float]


def features(network: nn.Module, layer: str, data: ImageSet, device: torch.device) -> np.ndarray:
    """What goes into the linear `layer` that ends the network, float32 `(N, D)`, in evaluation mode."""
    headless = copy.deepcopy(network).eval()
    headless.set_submodule(layer, nn.Identity())
    return training.logits(headless, data.images, device).numpy()


def fit(
    train: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> Head:
    """The best of the machines with a C as in `PENALTIES`, by accuracy on the validation split (the first of equals).

    Each pair holds features `(N, D)` and labels `(N,)`; every class must occur in `train`. One machine per class
    against the rest, squared hinge loss (scikit-learn's `LinearSVC`).
    """
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(train[0])
    standard = scaler.transform(train[0]), scaler.transform(validation[0])
    machines, accuracy = {}, {}
    penalties = [weight / len(train[1]) for weight in PENALTIES]
    for done, penalty in enumerate(penalties, start=1):
        machines[penalty] = _machine(penalty, seed).fit(standard[0], train[1])
        accuracy[penalty] = float((machines[penalty].predict(standard[1]) == validation[1]).mean())
        if progress:
            progress(done, len(penalties), "fitting")
    best = max(penalties, key=accuracy.__getitem__)
    return Head(*fold(machines[best], scaler), best, accuracy)


def _machine(penalty: float, seed: int) -> Any:
    from sklearn.svm import LinearSVC

    return LinearSVC(C=penalty, dual="auto", max_iter=5000, random_state=seed)


def fold(machine: Any, scaler: Any) -> tuple[Tensor, Tensor]:
    """Weight `(K, D)` and bias `(K,)` of `machine` behind `scaler`: w (x - m) / s + b = (w / s) x + (b - w m / s).

    With two classes scikit-learn has one score, that of the second class; the first class gets its negative.
    """
    weight, bias = machine.coef_ / scaler.scale_, machine.intercept_
    bias = bias - weight @ scaler.mean_
    if len(weight) == 1:
        weight, bias = np.concatenate([-weight, weight]), np.concatenate([-bias, bias])
    return torch.from_numpy(weight).float(), torch.from_numpy(bias).float()


def make(
    name: str,
    dataset_name: str,
    folder: Path,
    *,
    device: str = "cpu",
    limit: int | None = None,
    progress: Progress | None = None,
) -> Card:
    """Fit the head on the dataset's training split, and write network, card and test predictions into `folder`.

    They go into a folder of the checkpoint's name. Raises `CheckpointError`, `DatasetError` or `ValueError` with
    one sentence when the network is unknown, has no linear classifier, can't take the pictures, or a class has no
    training picture.
    """
    find_device(device)
    model = zoo.load(name, device)
    where = check_request(model.card.architecture, dataset_name, device, limit)
    layer = transfer.classifier(model.card.architecture, model.card.options)
    splits = {split: load_split(dataset_name, split, limit, progress) for split in SPLITS}
    _check_classes(splits["train"])
    known = {split: features(model.network, layer, splits[split], where) for split in ("train", "validation")}
    labels = {split: splits[split].labels.numpy() for split in known}
    head = fit(
        (known["train"], labels["train"]),
        (known["validation"], labels["validation"]),
        seed=model.card.seed,
        progress=progress,
    )
    card = _card(model, splits["train"], head, device_name(where), limit)
    network = with_head(model, layer, head, len(card.classes)).to(where)
    folder = folder / card.name
    card = zoo.save(network, card, folder, _storage(network, splits["validation"], where))
    return measure(card, network, folder, splits, where)


def _check_classes(data: ImageSet) -> None:
    counts = torch.bincount(data.labels, minlength=len(data.classes))
    for name, count in zip(data.classes, counts.tolist(), strict=True):
        if count == 0:
            raise ValueError(
                f"the class {name!r} has no training picture, which the machine needs of every class."
            )


def with_head(model: Model, layer: str, head: Head, classes: int) -> nn.Module:
    """A copy of the model's network for that many classes, with the head's weights in its linear `layer`."""
    card = model.card
    network = transfer.build_seeded(card.architecture, classes, card.seed, card.options)
    fresh = transfer.class_weights(card.architecture, card.options)
    transfer.start_from(network, model.network.state_dict(), fresh, card.name)
    linear = find_layer(network, layer)
    linear.load_state_dict({"weight": head.weight, "bias": head.bias})
    return network.eval().requires_grad_(False)


def _card(model: Model, data: ImageSet, head: Head, made_on: str, limit: int | None) -> Card:
    source = model.card
    recipe = {
        "name": RECIPE,
        "from": source.name,
        "from_sha256": source.sha256,
        "C": head.penalty,
        "tried": ", ".join(f"C {penalty:g}: {share:.4f}" for penalty, share in head.validation.items()),
    }
    return Card(
        _name(source, data.name),
        source.architecture,
        data.name,
        data.classes,
        data.images.shape[-1],
        source.seed,
        made_on,
        recipe,
        source.options,
        note=NOTE if limit is None else f"{NOTE} {trial_note(limit)}",
    )


def _name(source: Card, dataset_name: str) -> str:
    """`resnet18-svm_head-cue10-s0`; what the network was before is in it unless that is the standard recipe."""
    before = str(source.recipe.get("name", "standard"))
    parts = [before] * (before != "standard") + [RECIPE]
    parts += [f"from-{source.dataset}"] * (source.dataset != dataset_name)
    return checkpoint_name(source.architecture, dataset_name, source.seed, source.options, "-".join(parts))


def _storage(network: nn.Module, data: ImageSet, device: torch.device) -> str:
    """The smallest form of storage under which every prediction for `data` stays what it is."""
    expected = training.logits(network, data.images, device).argmax(1)
    trial = copy.deepcopy(network)
    for storage in checkpoints.STORAGE[:-1]:
        trial.load_state_dict(checkpoints.unpack(checkpoints.pack(network.state_dict(), storage)))
        if torch.equal(training.logits(trial, data.images, device).argmax(1), expected):
            return storage
    return checkpoints.STORAGE[-1]
