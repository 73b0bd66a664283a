"""Pooling layers that PyTorch does not have."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers import check_whole_number


class TMaxAvgPool2d(nn.Module):
    """T-Max-Avg pooling (Zhao & Zhang, Scientific Reports 14:1589, 2024) of square windows.

    Of each window the `largest` (the paper's K) highest values are taken. Where all of them reach `threshold` (its
    T) the highest is the output, else their mean (Avg-TopK, Özdemir 2023). The paper's abstract leaves open whether
    one value or all must reach T; all is what the paper's followers compare against, and the only reading under
    which K matters to the decision. T is a constant, as activations are not bounded: T = 0 is max-pooling for
    activations that are never negative, T = inf is Avg-TopK. Padding never counts, as in max-pooling; a window
    with fewer than K pixels inside the image uses those. Differentiable wherever the decision does not change.
    """

    def __init__(
        self, kernel_size: int, stride: int, padding: int = 0, largest: int = 3, threshold: float = 0.7
    ) -> None:
        super().__init__()
        check_whole_number("largest", largest, kernel_size**2)
        if not isinstance(threshold, int | float) or isinstance(threshold, bool) or math.isnan(threshold):
            raise ValueError(f"threshold is {threshold!r}; allowed are numbers.")
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.largest, self.threshold = largest, float(threshold)

    def forward(self, x: Tensor) -> Tensor:
        """Pooled maps `(N, C, h', w')` of `(N, C, h, w)`."""
        padded = F.pad(x, (self.padding,) * 4, value=-torch.inf)
        windows = padded.unfold(2, self.kernel_size, self.stride).unfold(3, self.kernel_size, self.stride)
        top = windows.flatten(4).topk(self.largest, dim=4).values
        inside = top > -torch.inf
        reached = ((top >= self.threshold) | ~inside).all(dim=4)
        mean = torch.where(inside, top, 0).sum(dim=4) / inside.sum(dim=4)
        return torch.where(reached, top[..., 0], mean)

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"{self.kernel_size}, stride={self.stride}, K={self.largest}, T={self.threshold}"
