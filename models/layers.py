"""Small building blocks shared by the architectures."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

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


def make_out_of_place(network: nn.Module) -> nn.Module:
    """Switch every activation in `network` to its out-of-place form, so that a tapped tensor stays what it was."""
    for module in network.modules():
        if getattr(module, "inplace", False) is True:
            module.inplace = False  # type: ignore[assignment]
    return network
