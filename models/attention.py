"""Modules that re-weight feature maps: squeeze and excitation, CBAM, and a gate at every position."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.layers import conv_norm_relu, initialise


def squeeze_excitation(channels: int, reduction: int = 16) -> nn.Module:
    """Torchvision's squeeze-and-excitation block (Hu et al., CVPR 2018): each channel times a number in (0, 1)."""
    from torchvision.ops import SqueezeExcitation

    return SqueezeExcitation(channels, max(1, channels // reduction))


class ChannelAttention(nn.Module):
    """Each channel times a number in (0, 1) from its mean and its maximum, through one small shared MLP.

    Timm's block calls the MLP twice, so that a hook on it fires twice; here it runs once on both.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        inner = max(1, channels // reduction)
        self.fc1 = nn.Linear(channels, inner, bias=False)
        self.relu = nn.ReLU()
        self.fc2 = nn.Linear(inner, channels, bias=False)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps `(N, C, h, w)`, re-weighted."""
        pooled = torch.stack([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1)
        weights = self.gate(self.fc2(self.relu(self.fc1(pooled))).sum(dim=1))
        return x * weights[:, :, None, None]


class SpatialAttention(nn.Module):
    """Each position times a number in (0, 1), from mean and maximum over channels through one 7x7 convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.bn = nn.BatchNorm2d(1)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps `(N, C, h, w)`, re-weighted."""
        pooled = torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)
        return x * self.gate(self.bn(self.conv(pooled)))


def cbam(channels: int) -> nn.Sequential:
    """Convolutional block attention module (Woo et al., ECCV 2018): channel, then spatial attention."""
    return nn.Sequential(ChannelAttention(channels), SpatialAttention())


class PixelGate(nn.Module):
    """`x * sigmoid(1x1(ReLU(1x1 to C/4)))`: every number of the maps times one in (0, 1)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // 4)
        self.reduce = nn.Conv2d(channels, inner, 1)
        self.relu = nn.ReLU()
        self.expand = nn.Conv2d(inner, channels, 1)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps `(N, C, h, w)`, re-weighted."""
        return x * self.gate(self.expand(self.relu(self.reduce(x))))


def hierarchical_fusion(channels: int) -> nn.Sequential:
    """The block that HFF-SEnet puts after a stage: 1x1 and 3x3 convolution, then a gate; channels stay as they are."""
    block = nn.Sequential(
        conv_norm_relu(channels, channels), conv_norm_relu(channels, channels, 3), PixelGate(channels)
    )
    initialise(block)
    return block


class MultiScale(nn.Module):
    """`F = sum_i alpha_i F_i` over parallel convolutions of kernel sizes 1, 3, 5 and 7, then batch norm and ReLU.

    The convolutions are grouped (32 groups, or as many as divide the channels), which costs a 32nd of dense ones.
    The weights are a softmax of `alpha` `(4,)`, learned from equal ones.
    """

    KERNELS = (1, 3, 5, 7)

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=groups, bias=False)
            for kernel in self.KERNELS
        )
        self.alpha = nn.Parameter(torch.zeros(len(self.KERNELS)))
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Fused feature maps, of the shape `(N, C, h, w)` of what came in."""
        weights = self.alpha.softmax(dim=0)
        maps = [
            weight * convolution(x) for weight, convolution in zip(weights, self.convolutions, strict=True)
        ]
        return self.relu(self.bn(torch.stack(maps).sum(dim=0)))
