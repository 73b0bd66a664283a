"""Training with everything on the device: one uint8 tensor of images, crops and flips by indexing.

Epoch by epoch the state is written by rename; a run that was killed goes on from the last whole epoch and ends
with the same weights as one that was not, because every random draw of an epoch is seeded by (seed, epoch).
"""

from __future__ import annotations

import contextlib
import json
import math
import pickle
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.files import write_by_rename, write_text
from models.layers import evaluation_mode

STATE_FILE = "state.pt"
CURVE_FILE = "curve.json"


@dataclass(frozen=True)
class Recipe:
    """Hyper-parameters of one training.

    `optimizer` is `sgd` (Nesterov momentum 0.9, one-cycle learning rate) or `adamw` (cosine to zero). Pictures
    are shifted by up to `padding` px (reflected) and, with `flip`, mirrored at random. The network that is kept
    is an exponential average over about `average_epochs` epochs of weights. Gradients are clipped to a norm of 2.
    """

    epochs: int = 30
    batch_size: int = 256
    optimizer: str = "sgd"
    learning_rate: float = 0.2
    weight_decay: float = 5e-4
    label_smoothing: float = 0.1
    padding: int = 4
    flip: bool = True
    warmup_share: float = 0.2
    average_epochs: float = 1.0
    compile: bool = False

    def __post_init__(self) -> None:
        if self.optimizer not in ("sgd", "adamw"):
            raise ValueError(f"optimizer is {self.optimizer!r}; allowed are 'sgd' and 'adamw'.")
        if self.epochs < 1 or self.batch_size < 2:
            raise ValueError("epochs must be at least 1 and batch_size at least 2.")
        self._check_optimisation()
        if self.padding < 0 or not 0 <= self.warmup_share < 1 or self.average_epochs < 0:
            raise ValueError("padding and average_epochs must not be negative, and warmup_share in [0, 1).")

    def _check_optimisation(self) -> None:
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate is {self.learning_rate}; allowed are numbers above 0.")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay is {self.weight_decay}; allowed are numbers from 0.")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing is {self.label_smoothing}; allowed are numbers in [0, 1).")


@dataclass(frozen=True)
class LabelledImages:
    """Images uint8 `(N, 3, H, W)` and labels int64 `(N,)`."""

    images: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> LabelledImages:
        """The same on another device, channels last there."""
        images = self.images.to(device).contiguous(memory_format=torch.channels_last)
        return LabelledImages(images, self.labels.to(device))


@dataclass(frozen=True)
class EpochRow:
    """One row of the curve: loss and accuracy (shares in [0, 1]) on train and validation."""

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    learning_rate: float
    seconds: float


@dataclass
class Run:
    """The state of a training on a set of `samples` images."""

    network: nn.Module
    average: AveragedModel
    optimizer: torch.optim.Optimizer
    samples: int
    epoch: int = 0
    curve: list[EpochRow] = field(default_factory=list)


StepReport = Callable[[int, int, int, float, float], None]
"""Called as `report(epoch, step, steps, loss, accuracy)` after every batch."""


def learning_rate(recipe: Recipe, progress: float) -> float:
    """Learning rate at `progress` in [0, 1] of the run.

    SGD: one-cycle (Smith & Topin 2018), a linear rise over `warmup_share`, then a cosine to zero. AdamW: cosine.
    """
    warmup = recipe.warmup_share if recipe.optimizer == "sgd" else 0.0
    if progress < warmup:
        return recipe.learning_rate * (0.04 + 0.96 * progress / warmup)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


def augment(images: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Random shifts (reflected border) and flips of uint8 `(N, 3, H, W)`, drawn on the CPU, as float in [0, 1]."""
    count, _, height, width = images.shape
    offsets = torch.randint(0, 2 * recipe.padding + 1, (2, count), generator=generator)
    flips = torch.rand(count, generator=generator) < 0.5
    rows = torch.arange(height)[None] + offsets[0, :, None] - recipe.padding
    columns = torch.arange(width)[None] + offsets[1, :, None] - recipe.padding
    if recipe.flip:
        columns = torch.where(flips[:, None], columns.flip(1), columns)
    rows, columns = _reflect(rows, height).to(images.device), _reflect(columns, width).to(images.device)
    batch = torch.arange(count, device=images.device)[:, None, None]
    picked = images.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2).float() / 255


def _reflect(index: Tensor, size: int) -> Tensor:
    return (size - 1) - ((size - 1) - index.abs()).abs()


def _autocast(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    return torch.autocast(device.type, torch.bfloat16)


def _optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    decayed = [p for p in network.parameters() if p.ndim > 1]
    free = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": free, "weight_decay": 0.0}]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.learning_rate)
    return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=0.9, nesterov=True)


@torch.inference_mode()
def logits(network: nn.Module, images: Tensor, device: torch.device, batch_size: int = 250) -> Tensor:
    """Full-precision logits `(N, K)` on the CPU of uint8 images `(N, 3, H, W)`, with `network` as it stands."""
    batches = images.split(batch_size)
    return torch.cat([network(batch.to(device).float() / 255).float().cpu() for batch in batches])


def evaluate(network: nn.Module, data: LabelledImages, device: torch.device) -> tuple[float, float]:
    """Cross-entropy and accuracy (share in [0, 1]) without test-time augmentation."""
    with evaluation_mode(network):
        scores, labels = logits(network, data.images, device), data.labels.cpu()
    return float(F.cross_entropy(scores, labels)), float((scores.argmax(1) == labels).float().mean())


def _batches(count: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    order = torch.randperm(count, generator=generator)
    for start in range(0, count - batch_size + 1, batch_size):
        yield order[start : start + batch_size]


def _step(
    run: Run, forward: nn.Module, images: Tensor, labels: Tensor, recipe: Recipe
) -> tuple[Tensor, Tensor]:
    with _autocast(images.device):
        scores = forward(images.contiguous(memory_format=torch.channels_last))
    loss = F.cross_entropy(scores.float(), labels, label_smoothing=recipe.label_smoothing)
    run.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(run.network.parameters(), 2.0)
    run.optimizer.step()
    run.average.update_parameters(run.network)
    return loss.detach(), (scores.detach().argmax(1) == labels).float().mean()


def train_epoch(
    run: Run, forward: nn.Module, data: LabelledImages, recipe: Recipe, seed: int, report: StepReport | None
) -> tuple[float, float, float]:
    """Train one epoch in place; returns mean loss, accuracy and the last learning rate."""
    device = data.images.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed * 100_003 + run.epoch)  # dropout draws from the global generator of its device
        return _train_epoch(run, forward, data, recipe, seed, report)


def _train_epoch(
    run: Run, forward: nn.Module, data: LabelledImages, recipe: Recipe, seed: int, report: StepReport | None
) -> tuple[float, float, float]:
    generator = torch.Generator().manual_seed(seed * 100_003 + run.epoch)
    run.network.train()
    steps = max(1, len(data.labels) // recipe.batch_size)
    sums = torch.zeros(2, device=data.images.device)
    for step, index in enumerate(_batches(len(data.labels), recipe.batch_size, generator)):
        rate = learning_rate(recipe, (run.epoch * steps + step) / (recipe.epochs * steps))
        for group in run.optimizer.param_groups:
            group["lr"] = rate
        index = index.to(data.images.device)
        images = augment(data.images[index], recipe, generator)
        loss, accuracy = _step(run, forward, images, data.labels[index], recipe)
        sums += torch.stack([loss, accuracy])
        if report and step % 10 == 9:
            report(run.epoch, step + 1, steps, float(sums[0]) / (step + 1), float(sums[1]) / (step + 1))
    return float(sums[0]) / steps, float(sums[1]) / steps, rate


def start(network: nn.Module, recipe: Recipe, samples: int, device: torch.device) -> Run:
    """A fresh run of `network`, moved to `device`, for a training set of `samples` images."""
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    steps = max(1.0, recipe.average_epochs * samples / recipe.batch_size)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(1 - 1 / steps), use_buffers=True)
    return Run(network, average, _optimizer(network, recipe), samples)


def save_state(run: Run, recipe: Recipe, seed: int, folder: Path) -> None:
    """Write everything that a resume needs, and the curve, by rename."""
    content = {
        "network": run.network.state_dict(),
        "average": run.average.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "epoch": run.epoch,
        "curve": [asdict(row) for row in run.curve],
        "recipe": asdict(recipe),
        "seed": seed,
        "samples": run.samples,
    }
    write_by_rename(folder / STATE_FILE, lambda path: torch.save(content, path))
    write_text(folder / CURVE_FILE, json.dumps(content["curve"], indent=1) + "\n")


def resume(run: Run, recipe: Recipe, seed: int, folder: Path) -> bool:
    """Take up the state in `folder` and return True, or return False when there is none.

    Raises `ValueError` when it is of another recipe, seed, number of images or network, or can't be read.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        return False
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path} is damaged; delete it to start again.") from error
    found = content["recipe"], content["seed"], content.get("samples", run.samples)
    if found != (asdict(recipe), seed, run.samples):
        raise ValueError(
            f"{folder} holds a training with another recipe, seed or number of images; choose another folder."
        )
    _restore(run, content, folder)
    return True


def _restore(run: Run, content: dict[str, Any], folder: Path) -> None:
    try:
        run.network.load_state_dict(content["network"])
        run.average.load_state_dict(content["average"])
        run.optimizer.load_state_dict(content["optimizer"])
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{folder} holds a training of another network; choose another folder.") from error
    run.epoch = content["epoch"]
    run.curve = [EpochRow(**row) for row in content["curve"]]


def train(
    network: nn.Module,
    data: LabelledImages,
    validation: LabelledImages,
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device,
    folder: Path,
    report: StepReport | None = None,
    on_epoch: Callable[[Run], None] | None = None,
) -> Run:
    """Train `network` to the end of its recipe, resuming what `folder` holds.

    `on_epoch(run)` is called after every epoch, once its state is on disk. The validation figures are those of
    the averaged weights, `run.average.module`. Raises `ValueError` when there are fewer images than a batch.
    """
    if len(data.labels) < recipe.batch_size:
        raise ValueError(f"there are {len(data.labels)} images, fewer than one batch of {recipe.batch_size}.")
    run = start(network, recipe, len(data.labels), device)
    resume(run, recipe, seed, folder)
    data = data.to(device)
    forward = torch.compile(run.network) if recipe.compile else run.network
    while run.epoch < recipe.epochs:
        began = time.perf_counter()
        loss, accuracy, rate = train_epoch(run, forward, data, recipe, seed, report)  # type: ignore[arg-type]
        held_out = evaluate(run.average.module, validation, device)
        seconds = time.perf_counter() - began
        run.curve.append(EpochRow(run.epoch, loss, accuracy, *held_out, rate, seconds))
        run.epoch += 1
        save_state(run, recipe, seed, folder)
        if on_epoch:
            on_epoch(run)
    return run
