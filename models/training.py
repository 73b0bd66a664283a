"""Training with everything on the device: one uint8 tensor of images, crops and flips by indexing.

Epoch by epoch the state is written by rename; a run that was killed goes on from the last whole epoch and ends
with the same weights as one that was not, because every random draw of an epoch is seeded by (seed, epoch). On a
GPU this holds but for the order in which its kernels sum. There the loop waits for the GPU only when it reports.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.augmentation import Draws, add_noise, apply, draw, stack
from models.distillation import loss_of, teacher_scores
from models.layers import evaluation_mode
from models.precision import cpu_has_bf16
from models.recipes import Recipe
from models.schedules import learning_rate
from models.training_state import EpochRow, LabelledImages, Run, resume, save_state


class Stopped(Exception):
    """The training was asked to end; the epochs before are stored."""


Cancel = Callable[[], bool]
"""Asked before every batch whether the training is to end."""
StepReport = Callable[[int, int, int, float, float], None]
"""Called as `report(epoch, step, steps, loss, accuracy)` after every tenth batch; of few, after all but the last."""


Degrade = Callable[[Tensor, torch.Generator], Tensor]
"""Degraded copies of images `(N, 3, H, W)` float in [0, 1]; all that is random comes from the CPU generator."""


@dataclass(frozen=True)
class Setup:
    """What stays the same from epoch to epoch: recipe, seed, and what the recipe needs besides.

    `degrade` is there when the recipe has a `degraded_share`, `teacher` (in evaluation mode, on the device of the
    run) when it has a `teacher_weight`. `forward` is the network as it is called, compiled if the recipe says so.
    """

    recipe: Recipe
    seed: int
    forward: Callable[[Tensor], Tensor]
    degrade: Degrade | None = None
    teacher: nn.Module | None = None
    cancelled: Cancel | None = None


def _autocast(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """bfloat16 where the device has it: a processor that refuses it trains in full precision instead."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type != "cpu" or cpu_has_bf16())


def _optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    decayed = [p for p in network.parameters() if p.ndim > 1]
    free = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": free, "weight_decay": 0.0}]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.learning_rate)
    if recipe.optimizer == "adam":
        return torch.optim.Adam(groups, lr=recipe.learning_rate)
    return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=0.9, nesterov=True)


@torch.inference_mode()
def logits(network: nn.Module, images: Tensor, device: torch.device, batch_size: int = 250) -> Tensor:
    """Full-precision logits `(N, K)` on the CPU of uint8 images `(N, 3, H, W)`, with `network` as it stands.

    On a GPU convolutions are in float32 too, not in TF32 as is PyTorch's default: its 10 bits of mantissa would tip
    some of 10,000 answers, and accuracies would depend on the machine.
    """
    batches = images.split(batch_size)
    with _convolutions("allow_tf32", False):
        return torch.cat([network(batch.to(device).float() / 255).float() for batch in batches]).cpu()


def evaluate(network: nn.Module, data: LabelledImages, device: torch.device) -> tuple[float, float]:
    """Cross-entropy and accuracy (share in [0, 1]) without test-time augmentation."""
    with evaluation_mode(network):
        scores, labels = logits(network, data.images, device), data.labels.cpu()
    return float(F.cross_entropy(scores, labels)), float((scores.argmax(1) == labels).float().mean())


def _draws(
    count: int, recipe: Recipe, generator: torch.Generator, device: torch.device
) -> tuple[Tensor, Draws]:
    """Which images each step of an epoch takes, `(steps, batch)`, and their random changes, moved in one go."""
    steps, size = count // recipe.batch_size, recipe.batch_size
    order = torch.randperm(count, generator=generator)[: steps * size].view(steps, size)
    changes = stack([draw(size, recipe, generator) for _ in range(steps)])
    return order.to(device), changes.to(device)


def _pictures(images: Tensor, draws: Draws, setup: Setup, generator: torch.Generator) -> Tensor:
    """The uint8 `images` as the network is shown them. They come in random order, so the first ones are degraded."""
    recipe = setup.recipe
    shown = apply(images, draws, recipe)
    degraded = round(recipe.degraded_share * len(shown))
    if degraded and setup.degrade:
        shown = torch.cat([setup.degrade(shown[:degraded].contiguous(), generator), shown[degraded:]])
    return add_noise(shown, draws, recipe).contiguous(memory_format=torch.channels_last)


def _step(run: Run, setup: Setup, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    with _autocast(images.device):
        scores = setup.forward(images)
        answers = None if setup.teacher is None else teacher_scores(setup.teacher, images)
    loss = loss_of(scores, answers, labels, setup.recipe)
    run.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(run.network.parameters(), 2.0)
    run.optimizer.step()
    _update_average(run.average, run.network)
    return loss.detach(), (scores.detach().argmax(1) == labels).float().mean()


@torch.no_grad()
def _update_average(average: AveragedModel, network: nn.Module) -> None:
    """`average.update_parameters(network)` without its copy of the count to the GPU, which would wait for it."""
    if average.n_averaged == 0 or average.multi_avg_fn is None:
        average.update_parameters(network)
        return
    ours, theirs = ([*module.parameters(), *module.buffers()] for module in (average.module, network))
    for floating in (True, False):
        chosen = [k for k, tensor in enumerate(ours) if tensor.is_floating_point() is floating]
        if chosen:
            average.multi_avg_fn([ours[k] for k in chosen], [theirs[k] for k in chosen], average.n_averaged)
    average.n_averaged += 1


@contextlib.contextmanager
def _convolutions(flag: str, value: bool) -> Iterator[None]:
    """Set a flag of cuDNN, which only convolutions on a GPU heed; it is put back afterwards."""
    before = getattr(torch.backends.cudnn, flag)
    setattr(torch.backends.cudnn, flag, value)
    try:
        yield
    finally:
        setattr(torch.backends.cudnn, flag, before)


def train_epoch(
    run: Run, setup: Setup, data: LabelledImages, report: StepReport | None = None
) -> tuple[float, float, float]:
    """Train one epoch in place, on `data` on the run's device; returns mean loss, accuracy and the last rate."""
    device, seed = data.images.device, setup.seed * 100_003 + run.epoch
    with (
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        # cuDNN tries its algorithms and keeps the fastest
        _convolutions("benchmark", torch.backends.cudnn.benchmark or device.type == "cuda"),
    ):
        torch.manual_seed(seed)  # dropout draws from the global generator of its device
        return _train_epoch(run, setup, data, torch.Generator().manual_seed(seed), report)


def _train_epoch(
    run: Run, setup: Setup, data: LabelledImages, generator: torch.Generator, report: StepReport | None
) -> tuple[float, float, float]:
    recipe, device, losses = setup.recipe, data.images.device, [row.validation_loss for row in run.curve]
    order, draws = _draws(len(data.labels), recipe, generator, device)
    _begin(run.network, recipe)
    steps, sums = len(order), torch.zeros(2, device=device)
    every = min(10, max(1, steps // 20))
    for step, index in enumerate(order):
        if setup.cancelled and setup.cancelled():
            raise Stopped
        rate = learning_rate(recipe, (run.epoch * steps + step) / (recipe.epochs * steps), losses)
        for group in run.optimizer.param_groups:
            group["lr"] = rate
        images = _pictures(data.images[index], draws[step], setup, generator)
        sums += torch.stack(_step(run, setup, images, data.labels[index]))
        if report and (step + 1) % every == 0 and (every == 10 or step + 1 < steps):
            report(run.epoch, step + 1, steps, *(float(total) / (step + 1) for total in sums))
    return float(sums[0]) / steps, float(sums[1]) / steps, rate


def _begin(network: nn.Module, recipe: Recipe) -> None:
    """Training mode, but for the parts that do not learn: their batch statistics stay and they drop nothing."""
    network.train()
    if recipe.learn == "all":
        return
    for module in network.modules():
        weights = list(module.parameters())
        if weights and not any(weight.requires_grad for weight in weights):
            module.eval()


def start(network: nn.Module, recipe: Recipe, samples: int, device: torch.device) -> Run:
    """A fresh run of `network`, moved to `device`, for a training set of `samples` images."""
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    steps = max(1.0, recipe.average_epochs * samples / recipe.batch_size)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(1 - 1 / steps), use_buffers=True)
    return Run(network, average, _optimizer(network, recipe), samples)


def train(
    network: nn.Module,
    data: LabelledImages,
    validation: LabelledImages,
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device,
    folder: Path,
    degrade: Degrade | None = None,
    teacher: nn.Module | None = None,
    report: StepReport | None = None,
    on_epoch: Callable[[Run], None] | None = None,
    cancelled: Cancel | None = None,
) -> Run:
    """Train `network` to the end of its recipe, resuming what `folder` holds.

    `degrade` and `teacher` go with a recipe that has a `degraded_share` or a `teacher_weight`. `on_epoch(run)` is
    called after every epoch, once its state is on disk. The validation figures are those of the averaged weights,
    `run.average.module`. Raises `Stopped` once `cancelled()` is true, and `ValueError` when there are fewer images
    than a batch, the recipe's degradation or teacher is missing, or the training diverges: the epochs before stay as
    they were stored.
    """
    _check(recipe, len(data.labels), degrade, teacher)
    run = start(network, recipe, len(data.labels), device)
    resume(run, recipe, seed, folder)
    data = data.to(device)
    setup = replace(prepare(run, recipe, seed, device, degrade, teacher), cancelled=cancelled)
    while run.epoch < recipe.epochs:
        began = time.perf_counter()
        loss, accuracy, rate = train_epoch(run, setup, data, report)
        held_out = evaluate(run.average.module, validation, device)
        _check_sound(run.epoch + 1, loss, held_out[0])
        seconds = time.perf_counter() - began
        run.curve.append(EpochRow(run.epoch, loss, accuracy, *held_out, rate, seconds))
        run.epoch += 1
        save_state(run, recipe, seed, folder)
        if on_epoch:
            on_epoch(run)
    return run


def _check_sound(epoch: int, loss: float, held_out_loss: float) -> None:
    """Raise `ValueError` when an epoch left weights that say nothing, before they are stored as a result."""
    if not math.isfinite(loss) or math.isnan(held_out_loss):
        raise ValueError(f"the training diverged in epoch {epoch}; a lower learning rate may help.")


def _check(recipe: Recipe, count: int, degrade: Degrade | None, teacher: nn.Module | None) -> None:
    if count < recipe.batch_size:
        raise ValueError(
            f"there are {count} images to train on, fewer than one batch of {recipe.batch_size}; "
            f"allowed are batches of up to {count}."
        )
    if (recipe.degraded_share > 0) != (degrade is not None):
        raise ValueError(
            f"degraded_share is {recipe.degraded_share}, which does not fit the degradation given."
        )
    if (recipe.teacher_weight > 0) != (teacher is not None):
        raise ValueError(f"teacher_weight is {recipe.teacher_weight}, which does not fit the teacher given.")


def prepare(
    run: Run,
    recipe: Recipe,
    seed: int,
    device: torch.device,
    degrade: Degrade | None = None,
    teacher: nn.Module | None = None,
) -> Setup:
    """What `train_epoch` needs besides the run and the data; puts the teacher on the device, in evaluation mode."""
    forward = torch.compile(run.network) if recipe.compile else run.network
    if teacher is not None:
        teacher = teacher.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    return Setup(recipe, seed, forward, degrade, teacher)


def images_per_second(
    network: nn.Module,
    data: LabelledImages,
    recipe: Recipe,
    *,
    steps: int,
    device: torch.device,
    warmup: int = 5,
) -> float:
    """Speed of the training loop on `data`, over `steps` steps after `warmup` steps; trains `network` on the way.

    Nothing is evaluated or written. Raises `ValueError` when there are fewer images than a batch.
    """
    _check(recipe, len(data.labels), None, None)
    run, data = start(network, recipe, len(data.labels), device), data.to(device)
    setup = prepare(run, recipe, 0, device)
    _run_steps(run, setup, data, warmup)
    began = _now(device)
    _run_steps(run, setup, data, steps)
    return steps * recipe.batch_size / (_now(device) - began)


def _run_steps(run: Run, setup: Setup, data: LabelledImages, steps: int) -> None:
    """So many steps of the loop, as one epoch over the images taken again and again."""
    index = torch.arange(steps * setup.recipe.batch_size, device=data.labels.device) % len(data.labels)
    train_epoch(run, setup, LabelledImages(data.images[index], data.labels[index]))


def _now(device: torch.device) -> float:
    """Seconds on a clock, once everything begun on the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
