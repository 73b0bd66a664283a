"""AlexNet: torchvision's layout for 224 px, and an adaptation of it for small images."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from models.attention import cbam
from models.layers import Normalize, check_whole_number
from models.pooling import TMaxAvgPool2d

LARGEST_HIDDEN = 8192


class AlexNet(nn.Module):
    """Five convolutions and three fully connected layers behind a normalisation.

    The parameter names of `features` and `classifier` are torchvision's, so its ImageNet weights fit the 224 px
    form. Activations are out of place.
    """

    def __init__(self, features: nn.Sequential, pooled: int, hidden: int, num_classes: int) -> None:
        super().__init__()
        self.normalize = Normalize()
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d(pooled)
        self.classifier = nn.Sequential(
            nn.Dropout(0.5),
            nn.Linear(256 * pooled * pooled, hidden),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits `(N, num_classes)` of images `(N, 3, H, W)` in [0, 1]."""
        features = self.avgpool(self.features(self.normalize(images)))
        return self.classifier(torch.flatten(features, 1))


def alexnet_224(num_classes: int) -> AlexNet:
    """Torchvision's AlexNet ("one weird trick" variant, arXiv 1404.5997): 61.10 M parameters at 1000 classes."""
    features = nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
    )
    return AlexNet(features, pooled=6, hidden=4096, num_classes=num_classes)


def alexnet_small(num_classes: int, *, norm: str = "none", hidden: int = 1024) -> AlexNet:
    """AlexNet for 32 to 96 px: the same widths and overlapping 3x3 max-pools, smaller kernels and strides.

    `norm` is `none`, `batch` (batch norm after every convolution) or `lrn` (local response normalisation after
    the first two, as in Krizhevsky et al. 2012); `hidden` (1 to 8192) is the width of the fully connected
    layers. The last three convolutions have a 4x4 grid at 32 px, an 8x8 grid at 64 px.
    """
    if norm not in ("none", "batch", "lrn"):
        raise ValueError(f"norm is {norm!r}; allowed are 'none', 'batch' and 'lrn'.")
    return _small(num_classes, norm, hidden, _max_pool)


def alexnet_cbam(num_classes: int, *, hidden: int = 1024) -> AlexNet:
    """The small AlexNet + CBAM (Woo et al., ECCV 2018), the remedy for low-quality images.

    The module stands after the fifth and last convolution and its ReLU, before the last max-pool (`features.12`):
    the maps with the most meaning, while they still have their 4x4 grid at 32 px.
    """
    return _small(num_classes, "none", hidden, _max_pool, attention=cbam)


def alexnet_tmaxavg(
    num_classes: int, *, hidden: int = 1024, largest: int = 3, threshold: float = 0.7
) -> AlexNet:
    """The small AlexNet with T-Max-Avg pooling (Zhao & Zhang, Scientific Reports 2024) for its three max-pools.

    Of each 3x3 window the `largest` (K, 1 to 9) highest values give their maximum where all reach `threshold` (T),
    else their mean; see `TMaxAvgPool2d`.
    """

    def pool() -> nn.Module:
        return TMaxAvgPool2d(3, 2, 1, largest, threshold)

    return _small(num_classes, "none", hidden, pool)


def _max_pool() -> nn.Module:
    return nn.MaxPool2d(3, 2, 1)


def _small(
    num_classes: int,
    norm: str,
    hidden: int,
    pool: Callable[[], nn.Module],
    attention: Callable[[int], nn.Module] | None = None,
) -> AlexNet:
    check_whole_number("hidden", hidden, LARGEST_HIDDEN)
    widths, kernels = (64, 192, 384, 256, 256), (5, 5, 3, 3, 3)
    layers: list[nn.Module] = []
    for index, (inputs, outputs) in enumerate(zip((3, *widths), widths, strict=False)):
        layers += _convolution(
            inputs, outputs, kernels[index], 2 if index == 0 else 1, norm, with_lrn=index < 2
        )
        if index == 4 and attention:
            layers.append(attention(outputs))
        if index in (0, 1, 4):
            layers.append(pool())
    network = AlexNet(nn.Sequential(*layers), pooled=2, hidden=hidden, num_classes=num_classes)
    _initialise(network)
    return network


def _convolution(
    inputs: int, outputs: int, kernel: int, stride: int, norm: str, *, with_lrn: bool
) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=norm != "batch")
    if norm == "batch":
        return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
    if norm == "lrn" and with_lrn:
        return [convolution, nn.ReLU(), nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0)]
    return [convolution, nn.ReLU()]


def _initialise(network: nn.Module) -> None:
    """He initialisation (ICCV 2015): without batch norm the default one hardly starts to learn."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    nn.init.normal_(network.classifier[-1].weight, std=0.01)  # type: ignore[union-attr, index]
