"""Small building blocks shared by the architectures."""

from __future__ import annotations

import contextlib
import copy
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LARGEST_WIDTH = 512
"""The most channels that the first stage of a network may have."""


class InputSizeError(ValueError):
    """An image whose height or width the network is not built for; the message is one sentence."""


class Normalize(nn.Module):
    """Map an image in [0, 1] to the network's own units, `(x - mean) / std` per channel.

    It is every network's first child, so that everything outside a network shares one pixel space, and its
    constants travel with the weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return `(N, 3, H, W)` float images in the network's units."""
        return (images - self.mean) / self.std


def meta_copy(network: nn.Module) -> nn.Module:
    """A copy on the meta device, which has shapes and no numbers; the weights are not copied on the way."""
    memo: dict[int, Any] = {}
    for tensor in itertools.chain(network.parameters(), network.buffers()):
        blank = tensor.detach().to("meta")
        memo[id(tensor)] = nn.Parameter(blank, False) if isinstance(tensor, nn.Parameter) else blank
    return copy.deepcopy(network, memo)


@contextlib.contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[nn.Module]:
    """Put every module of `network` in evaluation mode, and back in the mode it was in afterwards."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield network
    finally:
        for module, training in modes.items():
            module.training = training


def check_whole_number(name: str, value: object, largest: int) -> None:
    """Raise `ValueError` unless `value` is a whole number from 1 to `largest`."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= largest:
        raise ValueError(f"{name} is {value!r}; allowed is 1 to {largest}.")


def check_share(name: str, value: object) -> None:
    """Raise `ValueError` unless `value` is a number in [0, 1)."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1:
        raise ValueError(f"{name} is {value!r}; allowed are numbers in [0, 1).")


def initialise(network: nn.Module) -> None:
    """He initialisation (ICCV 2015) of every convolution, by the number of its outputs, as in torchvision."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def conv_norm_relu(inputs: int, outputs: int, kernel: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution that keeps the grid, batch norm and ReLU."""
    convolution = nn.Conv2d(inputs, outputs, kernel, 1, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def make_out_of_place(network: nn.Module) -> nn.Module:
    """Switch every activation in `network` to its out-of-place form, so that a tapped tensor stays what it was."""
    for module in network.modules():
        if getattr(module, "inplace", False) is True:
            module.inplace = False  # type: ignore[assignment]
    return network
