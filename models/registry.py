"""The architectures by name, and what a loaded model brings with it."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from models import alexnet, builders, external, resnet, resnet_variants, vgg, vit
from models.cards import Card
from models.layers import evaluation_mode


@dataclass(frozen=True)
class Architecture:
    """One entry of the registry.

    `build(num_classes, **options)` returns a network whose first child is its normalisation and which maps
    images `(N, 3, H, W)` in [0, 1] to logits `(N, num_classes)`. `stages` are the layers offered first for
    heatmaps, shallow to deep. `head` is `pool_linear` (global average pooling, then one linear layer: Grad-CAM
    equals HiResCAM at the last stage) or `flatten_mlp` (any other). `min_size` is the least side of an image, in
    px: below it some can't run at all, and the others would have a 1x1 grid from the first stages on. `family`
    groups what belongs together, `source` is the paper in one line.
    """

    name: str
    title: str
    build: Callable[..., nn.Module]
    head: str
    stages: tuple[str, ...]
    min_size: int
    default_size: int
    family: str
    source: str


ARCHITECTURES: dict[str, Architecture] = {}
EXTERNAL_SOURCES = external.SOURCES
"""Libraries whose networks are named `SOURCE:NAME`."""
_RELUS = ("features.1", "features.4", "features.7", "features.9", "features.11")
_RESNET_STAGES = ("layer1", "layer2", "layer3", "layer4")
_FUSED_STAGES = ("fuse1", "fuse2", "fuse3", "fuse4")
_MSFF_STAGES = ("layer1", "layer2", "fusion", "layer3", "layer4")
_MMFF_STAGES = ("reduce_image", "reduce_second", "fuse")
_VARIANTS = (
    ("wide_resnet50", "Wide ResNet-50", _RESNET_STAGES, "Zagoruyko & Komodakis, Wide residual networks, BMVC 2016"),
    ("resnext50", "ResNeXt-50", _RESNET_STAGES, "Xie et al., Aggregated residual transformations, CVPR 2017"),
    ("resnext50_msff", "ResNeXt-50 + MSFF", _MSFF_STAGES, "Improved ResNeXt-50, on Xie et al., CVPR 2017"),
    ("se_resnet50", "SE-ResNet-50", _RESNET_STAGES, "Hu et al., Squeeze-and-excitation networks, CVPR 2018"),
    ("cbam_resnet50", "ResNet-50 + CBAM", _RESNET_STAGES, "Woo et al., CBAM, ECCV 2018"),
    ("fpn_resnet50", "FPN-ResNet-50", (*_RESNET_STAGES, "fuse"), "Lin et al., Feature pyramid networks, CVPR 2017"),
    ("swish_resnet50", "Swish-ResNet-50", _RESNET_STAGES, "Ramachandran et al., Searching for activations, 2017"),
    ("dropout_resnet50", "Dropout-ResNet-50", _RESNET_STAGES, "Srivastava et al., Dropout, JMLR 2014"),
    ("hff_senet", "HFF-SEnet", _FUSED_STAGES, "HFF-SEnet, on Hu et al., CVPR 2018"),
    ("mmff_resnet50", "M-MFFnet", _MMFF_STAGES, "M-MFFnet, on He et al., CVPR 2016"),
)  # fmt: skip
"""Relatives of ResNet-50: name, title, stages and source."""


def register(architecture: Architecture) -> Architecture:
    """Add an architecture; raises `ValueError` when the name is taken."""
    if architecture.name in ARCHITECTURES:
        raise ValueError(f"the architecture {architecture.name!r} is registered twice.")
    ARCHITECTURES[architecture.name] = architecture
    return architecture


def build(name: str, num_classes: int, /, **options: Any) -> nn.Module:
    """Build an untrained network; raises `ValueError` for an unknown architecture or option."""
    builder = architecture(name).build
    allowed = [option for option in inspect.signature(builder).parameters if option != "num_classes"]
    if name.startswith(builders.PREFIX):  # which says itself what it takes
        return builder(num_classes, **options)
    for option in options:
        if option not in allowed:
            listed = ", ".join(allowed) or "none"
            raise ValueError(f"{name} has no option {option!r}; allowed are {listed}.")
    return builder(num_classes, **options)


def architecture(name: str) -> Architecture:
    """Look an architecture up, also `timm:NAME` and `torchvision:NAME`; `ValueError` naming those that exist."""
    if name.split(":")[0] in EXTERNAL_SOURCES and ":" in name:
        return _external(name)
    if name.startswith(builders.PREFIX):
        return _built(name)
    if name not in ARCHITECTURES:
        raise ValueError(
            f"there is no architecture {name!r}; allowed are {', '.join(ARCHITECTURES)}, and timm:NAME and "
            "torchvision:NAME."
        )
    return ARCHITECTURES[name]


@functools.cache
def _external(name: str) -> Architecture:
    return _entry(name, functools.partial(external.build, name), external.look(name))


def _built(name: str) -> Architecture:
    """An architecture that somebody's own function builds; its module is imported where that is allowed."""
    builders.check_allowed(name)  # every time, for what was allowed may no longer be
    return _entry(name, functools.partial(builders.build, name), builders.look(name))


def _entry(name: str, build: Callable[..., nn.Module], facts: external.Facts) -> Architecture:
    return Architecture(
        name,
        facts.title,
        build,
        facts.head,
        facts.stages,
        facts.min_size,
        facts.default_size,
        facts.family,
        facts.source,
    )


def _register_all() -> None:
    _register_alexnets()
    _register_vggs()
    for stem in resnet.STEMS:
        _register_resnets(stem)
    _register_vits()


def _register_alexnets() -> None:
    family, title = "AlexNet", "AlexNet (small input)"
    weird = "Krizhevsky, One weird trick, arXiv 1404.5997, 2014"
    imagenet = "Krizhevsky et al., ImageNet classification with deep CNNs, NeurIPS 2012"
    batch = "Ioffe & Szegedy, Batch normalization, ICML 2015"
    woo = "Woo et al., CBAM, ECCV 2018"
    zhao = "Zhao & Zhang, A improved pooling method for CNNs, Scientific Reports 2024"
    register(
        Architecture(
            "alexnet_224", "AlexNet", alexnet.alexnet_224, "flatten_mlp", _RELUS, 63, 224, family, weird
        )
    )
    small: tuple[tuple[str, str, Callable[..., nn.Module], tuple[int, ...], str], ...] = (
        ("alexnet", "", functools.partial(alexnet.alexnet_small, norm="none"), (1, 4, 7, 9, 11), imagenet),
        ("alexnet_bn", " + BN", functools.partial(alexnet.alexnet_small, norm="batch"), (2, 6, 10, 13, 16), batch),
        ("alexnet_lrn", " + LRN", functools.partial(alexnet.alexnet_small, norm="lrn"), (1, 5, 9, 11, 13), imagenet),
        ("alexnet_cbam", " + CBAM", alexnet.alexnet_cbam, (1, 4, 7, 9, 11, 12), woo),
        ("alexnet_tmaxavg", " + T-Max-Avg", alexnet.alexnet_tmaxavg, (1, 4, 7, 9, 11), zhao),
    )  # fmt: skip
    for name, extra, build, layers, source in small:
        stages = tuple(f"features.{index}" for index in layers)
        register(Architecture(name, title + extra, build, "flatten_mlp", stages, 8, 32, family, source))


def _register_vggs() -> None:
    stages = tuple(f"features.{index}" for index in (5, 12, 22, 32, 42, 43))
    source = "Simonyan & Zisserman, Very deep CNNs, ICLR 2015"
    register(
        Architecture(
            "vgg16_bn",
            "VGG-16 + BN (small input)",
            vgg.vgg16_bn,
            "pool_linear",
            stages,
            32,
            32,
            "VGG",
            source,
        )
    )


def _register_resnets(stem: str) -> None:
    he = "He et al., Deep residual learning, CVPR 2016"
    for depth in (18, 34, 50, 101):
        _register_resnet(
            f"resnet{depth}", f"ResNet-{depth}", functools.partial(resnet.resnet, depth), stem, source=he
        )
    for name, title, stages, source in _VARIANTS:
        build = getattr(resnet_variants, name)
        family = "ResNeXt" if name.startswith("resnext") else "ResNet"
        _register_resnet(name, title, build, stem, family=family, stages=stages, source=source)


def _register_resnet(
    name: str,
    title: str,
    build: Callable[..., nn.Module],
    stem: str,
    *,
    source: str,
    family: str = "ResNet",
    stages: tuple[str, ...] = _RESNET_STAGES,
) -> None:
    small = stem == "cifar"
    name, title = name + ("_cifar" if small else ""), f"{title} ({'CIFAR' if small else 'ImageNet'} stem)"
    build, size = functools.partial(build, stem=stem), 32 if small else 224
    register(Architecture(name, title, build, "pool_linear", stages, 8, size, family, source))


def _register_vits() -> None:
    stages, source = ("grid1", "grid2", "grid3", "grid4"), "Dosovitskiy et al., ViT, ICLR 2021"
    register(
        Architecture("vit_small", "ViT (small)", vit.vit_small, "pool_linear", stages, 8, 32, "ViT", source)
    )


_register_all()


@dataclass
class Model:
    """A network ready for use, with everything a caller needs to know about it.

    The network is in evaluation mode and its weights need no gradient. It may be shared between threads: every
    hook, mode change, gradient or in-place change happens while `lock` is held.
    """

    name: str
    network: nn.Module
    classes: tuple[str, ...]
    input_size: int
    default_layer: str
    head: str
    stages: tuple[str, ...]
    card: Card
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.network.parameters()).device

    def predict(self, images: Tensor) -> Tensor:
        """Class probabilities `(N, K)` of images `(N, 3, H, W)` in [0, 1], on the model's own device."""
        with self.lock, torch.inference_mode():
            return self.network(images.to(self.device)).softmax(dim=1)


def layer_grids(network: nn.Module, input_size: int) -> dict[str, tuple[int, int]]:
    """Grid `(h, w)` of every named module whose output is a feature map, for a square input of `input_size` px.

    A feature map is a tensor `(1, C, h, w)`: modules that see several pictures of one image are left out. The
    network runs once on one black image, in evaluation mode, and must not be in use by another thread. Raises
    `ValueError` when the input is too small for the network.
    """
    grids: dict[str, tuple[int, int]] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.ndim == 4 and len(output) == 1:
                grids[name] = (output.shape[2], output.shape[3])

        return hook

    handles = [module.register_forward_hook(note(name)) for name, module in _tappable(network)]
    try:
        reference = next(network.parameters())
        with evaluation_mode(network), torch.inference_mode():
            network(torch.zeros(1, 3, input_size, input_size, device=reference.device))
    except RuntimeError as error:
        raise ValueError(
            f"an input of {input_size} x {input_size} px is too small for this network."
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return grids


def _tappable(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    skipped = ("normalize", "avgpool")
    for name, module in network.named_modules():
        if name and name.split(".")[0] not in skipped:
            yield name, module


def default_layer(network: nn.Module, stages: tuple[str, ...], input_size: int, least: int = 4) -> str:
    """The deepest of `stages` whose grid is at least `least` x `least`, else the one with the largest grid."""
    grids = layer_grids(network, input_size)
    for stage in reversed(stages):
        if min(grids[stage]) >= least:
            return stage
    return max(stages, key=lambda stage: min(grids[stage]))
