"""How fast training is, beside a plain PyTorch loop on the same network and the same card in the same run.

`python -m xai.training_benchmark [--architecture A] [--batch-size B] [--device cuda|cpu] [--steps N] [--seconds S]`
prints images per second of `models.training`'s loop and of a loop as people write it: torchvision's crop and flip
on each picture in the workers of a `DataLoader`, float32, channels first, SGD. Both take turns, and the figures
are medians over the rounds after warm-up. It also prints which share of the card's bfloat16 peak our loop uses; the
peak is measured in the same run with a large matrix product, so that no table of cards is needed.
`--race NAME` prints instead how soon a full training reached 95 % of its final accuracy, from its curve.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from data.catalogue import load_dataset
from models import recipes, registry, zoo
from models.complexity import count_macs
from models.precision import cpu_has_bf16
from models.recipes import Recipe
from models.training import images_per_second
from models.training_state import LabelledImages
from xai.network_curves import Curve, read_curve
from xai.training_request import find_device

RANDOM = "random"
TARGET = 5.0
"""Ratio that is wanted on one H200."""
_WARM_UP = 5
_PREFETCH = 2
_LEAST_ROUNDS = 3


@dataclass(frozen=True)
class Race:
    """Seconds of training until `share` of the final validation accuracy, that accuracy, and the whole time."""

    seconds: float
    epoch: int
    final_accuracy: float
    total_seconds: float


@dataclass(frozen=True)
class Speeds:
    """Images per second of our loop and of the plain one, their ratio, and FLOP per second of the card and of ours."""

    ours: float
    plain: float
    ratio: float
    peak: float
    used: float


class Pictures(TorchDataset[tuple[Any, int]]):
    """Pictures with labels as torchvision's CIFAR-10 gives them: PIL, then crop, flip and tensor, one by one."""

    def __init__(self, data: LabelledImages) -> None:
        from torchvision import transforms

        self.pixels: np.ndarray = data.images.permute(0, 2, 3, 1).contiguous().numpy()
        self.labels: list[int] = data.labels.tolist()
        side = self.pixels.shape[1]
        steps = [transforms.RandomCrop(side, padding=4), transforms.RandomHorizontalFlip()]
        self.change = transforms.Compose([*steps, transforms.ToTensor()])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        from PIL import Image

        return self.change(Image.fromarray(self.pixels[index])), self.labels[index]


def plain_batches(data: LabelledImages, batch_size: int, workers: int, device: torch.device) -> Iterator[Any]:
    """Batches of shuffled, changed pictures without end, from a `DataLoader`."""
    loader = DataLoader(
        Pictures(data),
        batch_size,
        shuffle=True,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        drop_last=True,
        persistent_workers=workers > 0,
        prefetch_factor=_PREFETCH if workers else None,
    )
    return itertools.chain.from_iterable(itertools.repeat(loader))


def plain_steps(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterator[Any],
    steps: int,
    device: torch.device,
) -> None:
    """So many steps of a training loop as people write it."""
    network.train()
    for images, labels in itertools.islice(batches, steps):
        images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        optimizer.zero_grad()
        loss = F.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()


def measure(
    architecture: str,
    data: LabelledImages,
    recipe: Recipe,
    device: torch.device,
    *,
    steps: int,
    seconds: float,
    workers: int,
    options: dict[str, Any],
) -> Speeds:
    """Both speeds in turns, three rounds at least and until `seconds` have passed, and the card's peak.

    Raises `ValueError` when there are fewer images than a batch.
    """
    classes, side = int(data.labels.max()) + 1, data.images.shape[-1]
    ours_network, plain_network = (_network(architecture, classes, options) for _ in range(2))
    plain_network = plain_network.to(device)
    optimizer = torch.optim.SGD(plain_network.parameters(), recipe.learning_rate / 10, 0.9, weight_decay=5e-4)
    batches = plain_batches(data, recipe.batch_size, workers, device)
    rounds: list[tuple[float, float]] = []
    began = time.perf_counter()
    while len(rounds) < _LEAST_ROUNDS or time.perf_counter() - began < seconds:
        ours = images_per_second(ours_network, data, recipe, steps=steps, device=device, warmup=_WARM_UP)
        # batches that were made while the other loop ran are used up before the clock starts
        plain_steps(plain_network, optimizer, batches, _WARM_UP + _PREFETCH * workers, device)
        plain = _timed(lambda: plain_steps(plain_network, optimizer, batches, steps, device), device)
        rounds.append((ours, steps * recipe.batch_size / plain))
    ours, plain = (statistics.median(column) for column in zip(*rounds, strict=True))
    flops = 6 * count_macs(ours_network, side)
    ratio = statistics.median(first / second for first, second in rounds)
    return Speeds(ours, plain, ratio, peak_flops(device), flops * ours)


def _network(architecture: str, classes: int, options: dict[str, Any]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return registry.build(architecture, classes, **options)


def _timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds that the work takes, on the device too."""
    _wait(device)
    began = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - began


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_flops(device: torch.device) -> float:
    """FLOP per second of a large matrix product of random numbers: the fastest of ten.

    In bfloat16, or in float32 on a processor that refuses that, as trainings are.
    """
    side = 8192 if device.type == "cuda" else 512
    generator = torch.Generator(device).manual_seed(0)
    left, right = (torch.randn(side, side, device=device, generator=generator) for _ in range(2))
    if device.type != "cpu" or cpu_has_bf16():
        left, right = left.bfloat16(), right.bfloat16()
    times = [_timed(lambda: left @ right, device) for _ in range(13)]
    return 2 * side**3 / min(times[3:])


def random_images(count: int, side: int) -> LabelledImages:
    """Noise with labels of ten classes: time does not depend on what is in a picture."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)
    return LabelledImages(images, torch.arange(count) % 10)


def race(rows: Curve, share: float = 0.95) -> Race:
    """When a training first reached `share` of its final validation accuracy; `rows` are those of its curve.

    Raises `ValueError` when the curve is empty.
    """
    if not rows:
        raise ValueError("the curve has no epochs.")
    final, elapsed = (
        rows[-1]["validation_accuracy"],
        list(itertools.accumulate(row["seconds"] for row in rows)),
    )
    first = next(k for k, row in enumerate(rows) if row["validation_accuracy"] >= share * final)
    return Race(elapsed[first], first + 1, final, elapsed[-1])


def curve_rows(name: str) -> Curve:
    """Rows of the curve of a known network, or of the file `name`, or of that in the folder `name`.

    Raises `ValueError` with one sentence when there is none, or it is damaged.
    """
    given = Path(name) / "curve.json" if Path(name).is_dir() else Path(name)
    path = given if given.is_file() else zoo.curve_path(name)
    if path is None:
        raise ValueError(f"{name!r} is neither a curve's file nor a network with a curve.")
    return read_curve(path, name, ("seconds", "validation_accuracy"))


def _print_race(names: Sequence[str]) -> None:
    for name in names:
        found = race(curve_rows(name))
        print(
            f"{name}: 95 % of the final validation accuracy of {100 * found.final_accuracy:.2f} % after "
            f"{found.seconds:.1f} s (epoch {found.epoch}); the whole training took {found.total_seconds:.1f} s"
        )


def _print_speeds(speeds: Speeds) -> None:
    print(f"ours       {speeds.ours:12.1f} images/s")
    print(f"plain      {speeds.plain:12.1f} images/s")
    print(f"ratio      {speeds.ratio:12.2f} (target on one H200: >= {TARGET:g})")
    print(f"peak       {speeds.peak / 1e12:12.3f} TFLOP/s, a large matrix product measured here")
    share = 100 * speeds.used / speeds.peak
    print(f"used       {speeds.used / 1e12:12.3f} TFLOP/s = {share:.1f} % of the peak (6 x MACs x images/s)")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m xai.training_benchmark", description=__doc__)
    parser.add_argument("--architecture", default="resnet18_cifar")
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--steps", type=int, default=50, help="steps in a round")
    parser.add_argument("--seconds", type=float, default=0.0, help="further rounds until so long has passed")
    parser.add_argument("--width", type=int, help="channels of a ResNet's first stage (64)")
    parser.add_argument("--dataset", default=RANDOM, help=f"a dataset, or '{RANDOM}': 32 px noise")
    parser.add_argument("--workers", type=int, help="workers of the plain loop's DataLoader")
    parser.add_argument("--compile", action="store_true", help="our loop with torch.compile")
    parser.add_argument("--race", nargs="+", metavar="NAME", help="networks or files of curves")
    return parser


def _workers(given: int | None, device: torch.device) -> int:
    """One worker for each core up to 16 beside a GPU, none where the processor trains itself."""
    usual = min(16, os.cpu_count() or 1) if device.type == "cuda" else 0
    return usual if given is None else given


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures; exit status 0, or 2 with one line on bad input."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    try:
        _run(chosen)
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    return 0


def _run(chosen: argparse.Namespace) -> None:
    if chosen.race:
        _print_race(chosen.race)
        return
    if chosen.steps < 1:
        raise ValueError(f"steps is {chosen.steps}; it must be at least 1.")
    device = find_device(chosen.device)
    recipe = recipes.recipe_for(chosen.architecture, "standard", chosen.dataset)
    recipe = replace(recipe, batch_size=chosen.batch_size, compile=chosen.compile)
    data = _data(chosen.dataset, chosen.batch_size)
    workers = _workers(chosen.workers, device)
    where = (
        torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    )
    print(
        f"{chosen.architecture}, {chosen.dataset} {data.images.shape[-1]} px, batch {chosen.batch_size}, {where}, "
        f"torch {torch.__version__}, {workers} workers in the plain loop",
        flush=True,
    )
    options = {} if chosen.width is None else {"width": chosen.width}
    settings: dict[str, Any] = {"steps": chosen.steps, "seconds": chosen.seconds, "workers": workers}
    _print_speeds(measure(chosen.architecture, data, recipe, device, **settings, options=options))


def _data(name: str, batch_size: int) -> LabelledImages:
    if name == RANDOM:
        return random_images(max(8 * batch_size, 4096), 32)
    loaded = load_dataset(name, "train")
    return LabelledImages(loaded.images, loaded.labels)


if __name__ == "__main__":
    raise SystemExit(main())
