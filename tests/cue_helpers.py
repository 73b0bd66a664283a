"""Facts, images and networks made up for the tests of cues and frequencies: what each network uses is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from data import cue10
from data.datasets import ImageSet, ImageSource, Progress
from models.cards import Card
from models.registry import Model
from xai.compare.bench import Bench
from xai.compare.study import Facts, Network, Study

SIZE = 32


def facts(
    dataset: str = "cue10",
    *,
    classes: Sequence[str] = cue10.CLASSES,
    degradations: tuple[str, ...] = (),
    size: int = 64,
    images: int = 100,
) -> Facts:
    """Facts of two made-up networks called one and two."""
    study = Study(("a", "b"), dataset, degradations=degradations, scale="paper-relative", limit=images)
    a, b = (
        Network(name, name, "alexnet", dataset, 0, "0", "pool_linear", "features", (8, 8), 1)
        for name in ("one", "two")
    )
    return Facts(study, (a, b), tuple(classes), images, size, "0")


def model(name: str, network: nn.Module, classes: Sequence[str], size: int) -> Model:
    """A model of a network with a layer `features`."""
    card = Card(name, "resnet18", "made-up", tuple(classes), size, 0, "cpu", {}, sha256=name)
    network = network.eval().requires_grad_(False)
    return Model(name, network, tuple(classes), size, "features", "flatten_mlp", ("features",), card)


def bench(
    networks: Sequence[Model], opened: Callable[[str, str, Progress | None], ImageSource], **study: Any
) -> Bench:
    """A bench of two made-up networks, which knows no cards of others."""
    named = {each.name: each for each in networks}
    a, b = (each.name for each in networks)
    return Bench(Study((a, b), **study), load=lambda name: named[name], cards=lambda: {}, opened=opened)


def waves(frequencies: Sequence[int], labels: np.ndarray, seed: int = 0) -> Tensor:
    """Images uint8 `(n, 3, SIZE, SIZE)` with a wave of each frequency in a random phase, across for class 0 and down
    for class 1."""
    generator = np.random.default_rng(seed)
    axis = 2 * math.pi * np.arange(SIZE) / SIZE
    pictures = np.full((len(labels), SIZE, SIZE), 0.5)
    for frequency in frequencies:
        phases = generator.uniform(0, 2 * math.pi, len(labels))
        wave = 0.1 * np.cos(frequency * axis + phases[:, None])[:, None]
        pictures += np.where(labels[:, None, None] == 0, wave, wave.transpose(0, 2, 1))
    whole = torch.from_numpy((255 * pictures).round()).to(torch.uint8)
    return whole[:, None].repeat(1, 3, 1, 1)


class OneFrequency(nn.Module):
    """Knows the direction of waves of one frequency, by their energy, and sees nothing else."""

    def __init__(self, frequency: int) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 1, 1, bias=False)
        self.features.weight.data.fill_(1 / 3)
        self.waves = nn.Conv2d(1, 4, SIZE, bias=False)
        axis = frequency * 2 * math.pi * torch.arange(SIZE) / SIZE
        across = torch.stack([axis.cos(), axis.sin()])[:, None].expand(2, SIZE, SIZE)
        self.waves.weight.data.copy_(torch.cat([across, across.transpose(1, 2)])[:, None] / SIZE)

    def forward(self, images: Tensor) -> Tensor:
        """Energy of waves across and down, `(n, 2)`."""
        return self.waves(self.features(images)).flatten(1).square().view(-1, 2, 2).sum(dim=2)


class Constant(nn.Module):
    """Always gives the same answer."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 1, 1)
        self.register_buffer("bias", torch.arange(float(classes)))

    def forward(self, images: Tensor) -> Tensor:
        """The same logits for every image, `(n, classes)`."""
        return self.features(images).mean(dim=(1, 2, 3))[:, None] * 0 + self.bias


class Square(nn.Module):
    """Answers the class whose tag's colour a square of 8 x 8 px has, at a row and a column of such squares; all squares
    together have a `rest` of the say. What it looks at is a map of 8 x 8 cells."""

    def __init__(self, row: int, column: int, rest: float = 0.0) -> None:
        super().__init__()
        colours = (cue10.tag_colours() * 255).round() / 255
        self.features = nn.Conv2d(3, 10, cue10.TAG, cue10.TAG)
        # The nearest colour c to a mean m has the largest 2 m c - c c.
        self.features.weight.data.copy_(2 * colours[:, :, None, None].expand(10, 3, 8, 8) / 64)
        assert self.features.bias is not None
        self.features.bias.data.copy_(-colours.square().sum(dim=1))
        self.place, self.rest = (row, column), rest

    def forward(self, images: Tensor) -> Tensor:
        """How near the colour is to each class's, `(n, 10)`."""
        found = self.features(images)
        return 20 * (found[:, :, self.place[0], self.place[1]] + self.rest * found.mean(dim=(2, 3)))


class Code(nn.Module):
    """Answers the class whose number is written into one channel of the first pixel, as `coded` writes it."""

    def __init__(self, channel: int) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 1, 1, bias=False)
        self.features.weight.data.zero_()[0, channel] = 1

    def forward(self, images: Tensor) -> Tensor:
        """The nearer the number the larger, `(n, 10)`."""
        written = 25.5 * self.features(images)[:, 0, :1, 0]
        return -((written - torch.arange(10.0)) ** 2)


def coded(data: ImageSet) -> ImageSet:
    """The same scenes with the class of the shape in the first pixel's red and that of the texture in its green."""
    for channel, name in enumerate(("shape", "texture")):
        data.images[:, channel, 0, 0] = (10 * data.attributes[name]).to(torch.uint8)
    return data


def extents(figure: Figure) -> np.ndarray:
    """Left, bottom, right and top of all axes with their words, as shares of the figure: `(n, 4)`."""
    figure.canvas.draw()
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    found = np.array([box.extents for box in boxes if box is not None])
    return found / np.tile(figure.bbox.extents[2:], 2)
