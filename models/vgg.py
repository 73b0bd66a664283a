"""VGG-16 with batch norm for small images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.layers import LARGEST_WIDTH, Normalize, check_whole_number, initialise

_LAYOUT = ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8), (8, 8, 8))


class VGG(nn.Module):
    """Stages of 3x3 convolutions, each closed by a max-pool; then global average pooling and one linear layer.

    The parameter names of `features` are torchvision's.
    """

    def __init__(self, features: nn.Sequential, channels: int, num_classes: int) -> None:
        super().__init__()
        self.normalize = Normalize()
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, num_classes)
        initialise(self)
        nn.init.normal_(self.classifier.weight, std=0.01)

    def forward(self, images: Tensor) -> Tensor:
        """Logits `(N, num_classes)` of images `(N, 3, H, W)` in [0, 1]."""
        return self.classifier(torch.flatten(self.avgpool(self.features(self.normalize(images))), 1))


def vgg16_bn(num_classes: int, *, width: int = 64) -> VGG:
    """VGG-16 (Simonyan & Zisserman, ICLR 2015) with batch norm, in the form that is usual for CIFAR.

    The thirteen convolutions of torchvision's `vgg16_bn`, but one linear layer 512 -> classes in place of its three
    of 4096, which would be most of the network: 14.7 M parameters at 10 classes. Five max-pools leave 1x1 of 32 px,
    so the least size is 32. `width` (1 to 512) counts the channels of stage 1.
    """
    check_whole_number("width", width, LARGEST_WIDTH)
    layers, inputs = list[nn.Module](), 3
    for stage in _LAYOUT:
        for multiple in stage:
            outputs = width * multiple
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
            inputs = outputs
        layers.append(nn.MaxPool2d(2, 2))
    return VGG(nn.Sequential(*layers), inputs, num_classes)
