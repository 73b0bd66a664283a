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

from models import alexnet, resnet
from models.cards import Card
from models.layers import evaluation_mode


@dataclass(frozen=True)
class Architecture:
    """One entry of the registry.

    `build(num_classes, **options)` returns a network whose first child is its normalisation and which maps
    images `(N, 3, H, W)` in [0, 1] to logits `(N, num_classes)`. `stages` are the layers offered first for
    heatmaps, shallow to deep. `head` is `pool_linear` (global average pooling, then one linear layer: Grad-CAM
    equals HiResCAM there) or `flatten_mlp`. `min_size` is the least side of an image, in px: below it
    `alexnet_224` can't run at all, and the others would have a 1x1 grid from the first stages on.
    """

    name: str
    title: str
    build: Callable[..., nn.Module]
    head: str
    stages: tuple[str, ...]
    min_size: int
    default_size: int


ARCHITECTURES: dict[str, Architecture] = {}
_RESNET_STAGES = ("layer1", "layer2", "layer3", "layer4")


def register(architecture: Architecture) -> Architecture:
    """Add an architecture; raises `ValueError` when the name is taken."""
    if architecture.name in ARCHITECTURES:
        raise ValueError(f"the architecture {architecture.name!r} is registered twice.")
    ARCHITECTURES[architecture.name] = architecture
    return architecture


def build(name: str, num_classes: int, **options: Any) -> nn.Module:
    """Build an untrained network; raises `ValueError` for an unknown architecture or option."""
    builder = architecture(name).build
    allowed = [option for option in inspect.signature(builder).parameters if option != "num_classes"]
    for option in options:
        if option not in allowed:
            listed = ", ".join(allowed) or "none"
            raise ValueError(f"{name} has no option {option!r}; allowed are {listed}.")
    return builder(num_classes, **options)


def architecture(name: str) -> Architecture:
    """Look an architecture up; raises `ValueError` naming those that exist."""
    if name not in ARCHITECTURES:
        raise ValueError(f"there is no architecture {name!r}; allowed are {', '.join(ARCHITECTURES)}.")
    return ARCHITECTURES[name]


def _register_all() -> None:
    relus = ("features.1", "features.4", "features.7", "features.9", "features.11")
    register(Architecture("alexnet_224", "AlexNet", alexnet.alexnet_224, "flatten_mlp", relus, 63, 224))
    small = (
        ("alexnet", "AlexNet (small input)", "none", relus),
        (
            "alexnet_bn",
            "AlexNet (small input) + BN",
            "batch",
            tuple(f"features.{i}" for i in (2, 6, 10, 13, 16)),
        ),
        (
            "alexnet_lrn",
            "AlexNet (small input) + LRN",
            "lrn",
            tuple(f"features.{i}" for i in (1, 5, 9, 11, 13)),
        ),
    )
    builder: Callable[..., nn.Module]
    for name, title, norm, stages in small:
        builder = functools.partial(alexnet.alexnet_small, norm=norm)
        register(Architecture(name, title, builder, "flatten_mlp", stages, 8, 32))
    for depth in (18, 34, 50, 101):
        for stem in resnet.STEMS:
            name = f"resnet{depth}" + ("_cifar" if stem == "cifar" else "")
            title = f"ResNet-{depth} ({'CIFAR' if stem == 'cifar' else 'ImageNet'} stem)"
            builder = functools.partial(resnet.resnet, depth, stem=stem)
            size = 32 if stem == "cifar" else 224
            register(Architecture(name, title, builder, "pool_linear", _RESNET_STAGES, 8, size))


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

    The network runs once on one black image, in evaluation mode, and must not be in use by another thread.
    Raises `ValueError` when the input is too small for the network.
    """
    grids: dict[str, tuple[int, int]] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.ndim == 4:
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
