"""Relatives of ResNet-50 that the papers compare: wider, grouped, attending, pyramidal, with two inputs.

All have `stem` (`imagenet` or `cifar`) and `width` (channels of stage 1, 1 to 512; 64 is the published size).
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.attention import MultiScale, cbam, hierarchical_fusion, squeeze_excitation
from models.layers import conv_norm_relu, initialise
from models.resnet import PLAIN, BlockStyle, Bottleneck, ResNet
from models.second_picture import second_picture

_DEPTHS = (3, 4, 6, 3)
_RESNEXT = BlockStyle(groups=32, base_width=4)


def _resnet50(
    num_classes: int, stem: str, width: int, style: BlockStyle = PLAIN, dropout: float = 0.0
) -> ResNet:
    return ResNet(Bottleneck, _DEPTHS, num_classes, stem, width, style, dropout)


def wide_resnet50(num_classes: int, *, stem: str = "imagenet", width: int = 64) -> ResNet:
    """Wide ResNet-50-2 (Zagoruyko & Komodakis, BMVC 2016): 3x3 convolutions twice as wide, torchvision's names."""
    return _resnet50(num_classes, stem, width, BlockStyle(base_width=128))


def resnext50(num_classes: int, *, stem: str = "imagenet", width: int = 64) -> ResNet:
    """ResNeXt-50 32x4d (Xie et al., CVPR 2017): 3x3 convolutions in 32 groups, torchvision's names.

    Narrow ones keep 32 groups as far as these divide the channels.
    """
    return _resnet50(num_classes, stem, width, _RESNEXT)


def se_resnet50(num_classes: int, *, stem: str = "imagenet", width: int = 64) -> ResNet:
    """SE-ResNet-50 (Hu et al., CVPR 2018): squeeze and excitation, reduction 16, at the end of every block."""
    return _resnet50(num_classes, stem, width, BlockStyle(attention=squeeze_excitation))


def cbam_resnet50(num_classes: int, *, stem: str = "imagenet", width: int = 64) -> ResNet:
    """ResNet-50 + CBAM (Woo et al., ECCV 2018): channel and spatial attention at the end of every block."""
    return _resnet50(num_classes, stem, width, BlockStyle(attention=cbam))


def swish_resnet50(num_classes: int, *, stem: str = "imagenet", width: int = 64) -> ResNet:
    """ResNet-50 with Swish, `x * sigmoid(x)` (Ramachandran et al., 2017), in place of every ReLU."""
    return _resnet50(num_classes, stem, width, BlockStyle(activation=nn.SiLU))


def dropout_resnet50(
    num_classes: int,
    *,
    stem: str = "imagenet",
    width: int = 64,
    dropout: float = 0.3,
    spatial_dropout: float = 0.1,
) -> ResNet:
    """ResNet-50 with dropout before the linear layer (Srivastava et al., JMLR 2014) and in the blocks.

    In every block whole feature maps of `F(x)` are dropped (Tompson et al., CVPR 2015) with the probability
    `spatial_dropout`; both probabilities are in [0, 1).
    """
    return _resnet50(num_classes, stem, width, BlockStyle(dropout=spatial_dropout), dropout)


class MultiScaleResNet(ResNet):
    """A ResNet with multi-scale feature fusion between its second and third stage."""

    def __init__(self, num_classes: int, stem: str, width: int, style: BlockStyle, dropout: float) -> None:
        super().__init__(Bottleneck, _DEPTHS, num_classes, stem, width, style, dropout)
        self.fusion = MultiScale(self.channels[1], groups=4 * width if 4 * width < 32 else 32)

    def forward(self, images: Tensor) -> Tensor:
        """Logits `(N, num_classes)` of images `(N, 3, H, W)` in [0, 1]."""
        middle = self.fusion(self.layer2(self.layer1(self.begin(images))))
        return self.classify(self.layer4(self.layer3(middle)))


def resnext50_msff(
    num_classes: int, *, stem: str = "imagenet", width: int = 64, dropout: float = 0.3
) -> MultiScaleResNet:
    """ "Improved ResNeXt-50": multi-scale feature fusion after stage 2 of 4, and dropout before the linear layer.

    The paper gives `F = sum_i alpha_i F_i` with learned alpha "in the middle of the network"; kernel sizes, groups
    and the rate of dropout are this project's choice (see `MultiScale`).
    """
    return MultiScaleResNet(num_classes, stem, width, _RESNEXT, dropout)


class PyramidResNet(ResNet):
    """A ResNet whose classifier reads a feature pyramid over its four stages."""

    def __init__(self, num_classes: int, stem: str, width: int) -> None:
        from torchvision.ops import FeaturePyramidNetwork

        super().__init__(Bottleneck, _DEPTHS, num_classes, stem, width)
        levels = 4 * width
        self.pyramid = FeaturePyramidNetwork(self.channels, levels)
        self.fuse = conv_norm_relu(4 * levels, levels)
        self.fc = nn.Linear(levels, num_classes)
        initialise(self.fuse)

    def forward(self, images: Tensor) -> Tensor:
        """Logits `(N, num_classes)` of images `(N, 3, H, W)` in [0, 1]."""
        maps, x = OrderedDict[str, Tensor](), self.begin(images)
        for name in ("layer1", "layer2", "layer3", "layer4"):
            x = maps[name] = self.get_submodule(name)(x)
        size = (maps["layer3"].shape[2], maps["layer3"].shape[3])
        levels = [F.adaptive_avg_pool2d(level, size) for level in self.pyramid(maps).values()]
        return self.classify(self.fuse(torch.cat(levels, dim=1)))


def fpn_resnet50(num_classes: int, *, stem: str = "imagenet", width: int = 64) -> PyramidResNet:
    """ResNet-50 with a feature pyramid (Lin et al., CVPR 2017; torchvision's) of `4 * width` channels.

    The pyramid was made for detection; for classification its four levels are brought to the grid of stage 3
    (averaged, or repeated where coarser), joined, and reduced by a 1x1 convolution to the maps `fuse`, which are
    pooled and classified.
    """
    return PyramidResNet(num_classes, stem, width)


def _spare(channels: int, num_classes: int) -> nn.Linear:
    """A classifier that is kept but never used: no gradient."""
    return nn.Linear(channels, num_classes).requires_grad_(False)


class HierarchicalResNet(ResNet):
    """A ResNet whose every stage is followed by 1x1 and 3x3 convolutions and a gate."""

    def __init__(self, num_classes: int, stem: str, width: int, spare_classifier: bool) -> None:
        super().__init__(Bottleneck, _DEPTHS, num_classes, stem, width)
        self.fuse1, self.fuse2, self.fuse3, self.fuse4 = map(hierarchical_fusion, self.channels)
        self.spare_fc = _spare(self.channels[-1], num_classes) if spare_classifier else None

    def forward(self, images: Tensor) -> Tensor:
        """Logits `(N, num_classes)` of images `(N, 3, H, W)` in [0, 1]."""
        x = self.fuse2(self.layer2(self.fuse1(self.layer1(self.begin(images)))))
        return self.classify(self.fuse4(self.layer4(self.fuse3(self.layer3(x)))))


def hff_senet(
    num_classes: int, *, stem: str = "imagenet", width: int = 64, spare_classifier: bool = True
) -> HierarchicalResNet:
    """HFF-SEnet: after each stage 1x1 and 3x3 convolution (channels kept), then `x * sigmoid(1x1(ReLU(1x1)))`.

    At 1000 classes 84.1 M parameters take part. The published count, 86.1 M, is that plus 2048 * 1000 + 1000: it
    still contains the classifier of the ResNet-50 that was built upon, besides the one in use. It is kept here as
    `spare_fc`, without gradient, unless `spare_classifier` is False. The convolutions of a block are followed by
    batch norm and ReLU (not stated). The formula has no pooling before its gate, so every position has its own.
    """
    return HierarchicalResNet(num_classes, stem, width, spare_classifier)


class TwoPictureResNet(ResNet):
    """One ResNet that looks at an image and at a second picture made from it.

    Both pictures of an image lie next to each other in one batch of `2 N`, so that every shared module runs once;
    the modules that give maps of the image itself, `(N, C, h, w)`, are `reduce_image`, `reduce_second` and `fuse`.
    """

    def __init__(self, num_classes: int, stem: str, width: int, second: str, spare_classifier: bool) -> None:
        super().__init__(Bottleneck, _DEPTHS, num_classes, stem, width)
        last, reduced = self.channels[-1], 4 * width
        self.second = second_picture(second)
        self.reduce_image = conv_norm_relu(last, reduced)
        self.reduce_second = conv_norm_relu(last, reduced)
        self.fuse = conv_norm_relu(2 * reduced, reduced)
        self.fc = nn.Linear(reduced, num_classes)
        self.spare_fc = _spare(last, num_classes) if spare_classifier else None
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """Logits `(N, num_classes)` of images `(N, 3, H, W)` in [0, 1]."""
        # side by side, not one batch after the other: DeepLIFT halves every batch into images and references
        pictures = torch.stack([images, self.second(images)], dim=1).flatten(0, 1)
        maps = self.layer4(self.layer3(self.layer2(self.layer1(self.begin(pictures)))))
        first, second = maps.unflatten(0, (-1, 2)).unbind(dim=1)
        both = torch.cat([self.reduce_image(first), self.reduce_second(second)], dim=1)
        return self.classify(self.fuse(both))


def mmff_resnet50(
    num_classes: int,
    *,
    stem: str = "imagenet",
    width: int = 64,
    second: str = "edges",
    spare_classifier: bool = True,
) -> TwoPictureResNet:
    """M-MFFnet: one shared ResNet-50 on two inputs, each 2048 -> 256 by 1x1, joined, 512 -> 256 by 1x1, classified.

    The published second input is another modality; for data sets with images only it is made from the image, as
    `second` says: `edges` (Sobel) or `lbp` (soft local binary pattern). Each 1x1 convolution has batch norm and
    ReLU (not stated). Of the published 27.0 M parameters (at 1000 classes) 24.9 M take part; the rest is
    the unused classifier of the shared ResNet-50, kept as in `hff_senet`.
    """
    return TwoPictureResNet(num_classes, stem, width, second, spare_classifier)
