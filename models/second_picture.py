"""Second pictures made from an image, differentiable, for the network with two inputs."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_STEEPNESS = 20.0
_NEIGHBOURS = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))
"""Row and column in a 3x3 window, clockwise from the upper left."""


def _bordered(images: Tensor) -> Tensor:
    """Grey values `(N, 1, H + 2, W + 2)` in [0, 1] with the border pixels repeated outwards."""
    weights = images.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    return F.pad((images * weights).sum(dim=1, keepdim=True), (1, 1, 1, 1), mode="replicate")


def _windows(images: Tensor) -> Tensor:
    """The 3x3 windows `(N, H, W, 3, 3)` of the grey values."""
    return _bordered(images).unfold(2, 3, 1).unfold(3, 3, 1)[:, 0]


class Edges(nn.Module):
    """Strength of edges in the grey values, `(|gx| + |gy|) / 2` of the Sobel gradient over 4, in [0, 1], three times.

    The sum of absolute values is the usual stand-in for the length of the gradient; it is exactly zero on a flat
    image and has a finite gradient everywhere.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Edge pictures `(N, 3, H, W)` of images `(N, 3, H, W)` in [0, 1]."""
        windows = _windows(images)
        across = images.new_tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 4
        x, y = (windows * across).sum(dim=(3, 4)), (windows * across.T).sum(dim=(3, 4))
        return ((x.abs() + y.abs()) / 2)[:, None].expand(-1, 3, -1, -1)


class LocalBinaryPattern(nn.Module):
    """A soft local binary pattern (Ojala et al., TPAMI 2002) of the grey values, in (0, 1), three times.

    Each of the eight neighbours that is brighter than the centre sets a bit; here the step is a sigmoid, so that
    the picture has a gradient.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Pattern pictures `(N, 3, H, W)` of images `(N, 3, H, W)` in [0, 1]."""
        windows = _windows(images)
        centre = windows[..., 1, 1]
        bits = [
            torch.sigmoid(_STEEPNESS * (windows[..., row, column] - centre)) for row, column in _NEIGHBOURS
        ]
        code = torch.stack([bit * 2.0**place for place, bit in enumerate(bits)]).sum(dim=0) / 255
        return code[:, None].expand(-1, 3, -1, -1)


SECOND_PICTURES: dict[str, Callable[[], nn.Module]] = {"edges": Edges, "lbp": LocalBinaryPattern}


def second_picture(name: str) -> nn.Module:
    """The module that makes the picture of that name; raises `ValueError` naming those that exist."""
    if name not in SECOND_PICTURES:
        raise ValueError(f"second is {name!r}; allowed are {', '.join(SECOND_PICTURES)}.")
    return SECOND_PICTURES[name]()
