"""Networks built by hand, whose channels are known to answer to one colour, frequency and orientation."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from models.cards import Card
from models.layers import Normalize
from models.registry import Model

SIZE = 32
GABORS = (
    ((0.0, 0.25), (1.0, -1.0, 0.0)),
    ((0.1875, 0.0), (1.0, 1.0, 1.0)),
    ((0.125, 0.125), (-1.0, -1.0, 2.0)),
    ((-0.125, 0.1875), (1.0, 0.0, 0.0)),
)
"""Frequencies (down, across) in cycles per px, and axes of colour, of the channels of `gabor_network`."""


def gabor(frequency: tuple[float, float], colour: tuple[float, float, float], side: int = 15) -> Tensor:
    """A filter `(3, side, side)`: a cosine of the frequency under a Hann window, without mean, times the colour."""
    axis = torch.arange(side) - side // 2
    down, across = torch.meshgrid(axis, axis, indexing="ij")
    hann = torch.hann_window(side + 2, periodic=False)[1:-1]
    window = torch.outer(hann, hann)
    wave = window * torch.cos(2 * math.pi * (frequency[0] * down + frequency[1] * across))
    wave = wave - window * wave.sum() / window.sum()
    direction = torch.tensor(colour) / torch.tensor(colour).norm()
    return direction[:, None, None] * wave / wave.norm()


class SmallNetwork(nn.Module):
    """A normalisation that does nothing, one convolution `conv`, `relu` called twice, and a linear layer."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None, classes: int = 3) -> None:
        super().__init__()
        channels, _, side, _ = weight.shape
        self.normalize = Normalize((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        self.conv = nn.Conv2d(3, channels, side)
        self.relu = nn.ReLU()
        self.pair = _Pair()
        self.fc = nn.Linear(channels, classes)
        with torch.no_grad():
            self.conv.weight.copy_(weight)
            self.conv.bias = nn.Parameter(torch.zeros(channels) if bias is None else bias.clone())
            generator = torch.Generator().manual_seed(0)
            self.fc.weight.copy_(torch.randn(classes, channels, generator=generator))

    def forward(self, images: Tensor) -> Tensor:
        """Logits `(N, classes)`; the second call of `relu` gets half of what its first gave, less 0.01."""
        first = self.relu(self.conv(self.normalize(images)))
        maps, _ = self.pair(self.relu(first / 2 - 0.01))
        return self.fc(maps.mean((2, 3)))


class _Pair(nn.Module):
    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        return maps, maps


def small_model(weight: Tensor, bias: Tensor | None = None, dataset: str = "cue10") -> Model:
    """A `Model` around a `SmallNetwork` for 32 px with the classes a, b and c."""
    network = SmallNetwork(weight, bias).eval().requires_grad_(False)
    classes = ("a", "b", "c")
    card = Card("built by hand", "built by hand", dataset, classes, SIZE, 0, "cpu", {})
    return Model("built by hand", network, classes, SIZE, "relu", "pool_linear", ("conv",), card)


def gabor_model() -> Model:
    """Channel k answers to `GABORS[k]`."""
    return small_model(torch.stack([gabor(frequency, colour) for frequency, colour in GABORS]))
