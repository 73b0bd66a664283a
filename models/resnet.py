"""ResNet-18/34/50/101 (He et al., CVPR 2016) with an ImageNet or a CIFAR stem, and what their relatives change.

Torchvision's blocks add the shortcut in place and call one ReLU several times, so a hook on them sees a tensor
that changes afterwards or fires more than once. These have the same parameter names and the same numbers, but
every step makes a new tensor and every ReLU is its own module. The stride of a bottleneck sits on its 3x3
convolution ("v1.5"), as in torchvision.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.layers import LARGEST_WIDTH, Normalize, check_share, check_whole_number, initialise

STEMS = ("imagenet", "cifar")


@dataclass(frozen=True)
class BlockStyle:
    """What the residual blocks of a relative do differently.

    `attention(channels)` makes a module that re-weights `F(x)` before the shortcut is added; `dropout` then drops
    whole feature maps with that probability. A bottleneck's 3x3 convolution has `width * base_width * groups / 64`
    channels in `groups` groups (torchvision's `width_per_group`), or in as many as divide them.
    """

    activation: Callable[[], nn.Module] = nn.ReLU
    attention: Callable[[int], nn.Module] | None = None
    dropout: float = 0.0
    groups: int = 1
    base_width: int = 64


PLAIN = BlockStyle()


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, style: BlockStyle = PLAIN) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = style.activation()
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.refine = _refinement(style, width)
        self.downsample = _shortcut(inputs, width, stride)
        self.relu2 = style.activation()

    def forward(self, x: Tensor) -> Tensor:
        """Return `relu(F(x) + shortcut(x))`."""
        residual = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        if self.refine is not None:
            residual = self.refine(residual)
        return self.relu2(residual + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, style: BlockStyle = PLAIN) -> None:
        super().__init__()
        outputs = width * self.expansion
        inner = max(1, width * style.base_width * style.groups // 64)
        groups = math.gcd(inner, style.groups)
        self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.relu1 = style.activation()
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.relu2 = style.activation()
        self.conv3 = nn.Conv2d(inner, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.refine = _refinement(style, outputs)
        self.downsample = _shortcut(inputs, outputs, stride)
        self.relu3 = style.activation()

    def forward(self, x: Tensor) -> Tensor:
        """Return `relu(F(x) + shortcut(x))`."""
        inner = self.relu2(self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x))))))
        residual = self.bn3(self.conv3(inner))
        if self.refine is not None:
            residual = self.refine(residual)
        return self.relu3(residual + (x if self.downsample is None else self.downsample(x)))


def _refinement(style: BlockStyle, channels: int) -> nn.Sequential | None:
    steps = [style.attention(channels)] if style.attention else []
    steps += [nn.Dropout2d(style.dropout)] if style.dropout else []
    return nn.Sequential(*steps) if steps else None


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class ResNet(nn.Module):
    """Stem, four stages, global average pooling and one linear layer, behind a normalisation.

    `channels` are those of the four stages' outputs; `dropout` comes before the linear layer.
    """

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        depths: Sequence[int],
        num_classes: int,
        stem: str,
        width: int,
        style: BlockStyle = PLAIN,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        _check(stem, width, style, dropout)
        small = stem == "cifar"
        self.normalize = Normalize()
        self.conv1 = nn.Conv2d(3, width, 3 if small else 7, 1 if small else 2, 1 if small else 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = style.activation()
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, 2, 1)
        widths = [width * 2**stage for stage in range(4)]
        self.channels = [inner * block.expansion for inner in widths]
        inputs = (width, *self.channels)
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            _stage(block, inputs[stage], widths[stage], depths[stage], 1 if stage == 0 else 2, style)
            for stage in range(4)
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout) if dropout else None
        self.fc = nn.Linear(self.channels[-1], num_classes)
        initialise(self)

    def begin(self, images: Tensor) -> Tensor:
        """What the first stage reads, `(N, width, h, w)`, of images `(N, 3, H, W)` in [0, 1]."""
        return self.maxpool(self.relu(self.bn1(self.conv1(self.normalize(images)))))

    def classify(self, maps: Tensor) -> Tensor:
        """Logits `(N, num_classes)` of the last feature maps `(N, C, h, w)`."""
        pooled = torch.flatten(self.avgpool(maps), 1)
        return self.fc(pooled if self.dropout is None else self.dropout(pooled))

    def forward(self, images: Tensor) -> Tensor:
        """Logits `(N, num_classes)` of images `(N, 3, H, W)` in [0, 1]."""
        return self.classify(self.layer4(self.layer3(self.layer2(self.layer1(self.begin(images))))))


def _check(stem: str, width: int, style: BlockStyle, dropout: float) -> None:
    if stem not in STEMS:
        raise ValueError(f"stem is {stem!r}; allowed are {', '.join(STEMS)}.")
    check_whole_number("width", width, LARGEST_WIDTH)
    check_share("dropout", dropout)
    check_share("the dropout of feature maps", style.dropout)


def _stage(
    block: type[BasicBlock | Bottleneck], inputs: int, width: int, depth: int, stride: int, style: BlockStyle
) -> nn.Sequential:
    first = block(inputs, width, stride, style)
    rest = [block(width * block.expansion, width, 1, style) for _ in range(depth - 1)]
    return nn.Sequential(first, *rest)


_DEPTHS: dict[int, tuple[type[BasicBlock | Bottleneck], tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
}


def resnet(depth: int, num_classes: int, *, stem: str = "imagenet", width: int = 64) -> ResNet:
    """Build a ResNet (He et al., CVPR 2016) of `depth` 18, 34, 50 or 101.

    `stem` is `imagenet` (7x7 stride 2 and max-pool) or `cifar` (3x3 stride 1); `width` (1 to 512) counts the
    channels of stage 1.
    """
    if depth not in _DEPTHS:
        raise ValueError(f"depth is {depth!r}; allowed are {', '.join(map(str, _DEPTHS))}.")
    block, depths = _DEPTHS[depth]
    return ResNet(block, depths, num_classes, stem, width)
