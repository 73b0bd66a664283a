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


def make_out_of_place(network: nn.Module) -> nn.Module:
    """Switch every activation in `network` to its out-of-place form, so that a tapped tensor stays what it was."""
    for module in network.modules():
        if getattr(module, "inplace", False) is True:
            module.inplace = False  # type: ignore[assignment]
    return network
