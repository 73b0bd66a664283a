"""Which layers a model offers for an image, and in which words to say what was tapped."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from models.layers import InputSizeError
from models.registry import Model, architecture, layer_grids
from xai.attribution_types import ExplanationError
from xai.hooks import find_layer, frozen

ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Hardswish, nn.Sigmoid, nn.Tanh)
"""Layers that bend what they get; a block or a stage commonly ends in one."""
_LOWEST = {nn.ReLU: 0.0, nn.ReLU6: 0.0, nn.SiLU: -0.279, nn.GELU: -0.171, nn.Hardswish: -0.376}
"""Activations that end blocks, with their smallest value; a sigmoid at the end of a block is a gate."""
_NORMS = (nn.BatchNorm2d, nn.GroupNorm, nn.InstanceNorm2d)
_POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
_GRIDS: weakref.WeakKeyDictionary[nn.Module, dict[int, dict[str, tuple[int, int]]]] = (
    weakref.WeakKeyDictionary()
)
_GRIDS_LOCK = threading.Lock()


def usable_layers(model: Model, image_size: int) -> dict[str, tuple[int, int]]:
    """Layers that can be tapped for square images of `image_size` px, with their grid `(h, w)`, stages first.

    Those whose output is a feature map of more than 1 x 1. Raises `ExplanationError` when the network can't take
    images that small.
    """
    grids = _grids(model, image_size)
    names = [*model.stages, *(name for name in grids if name not in model.stages)]
    return {name: grids[name] for name in names if name in grids and max(grids[name]) > 1}


def _grids(model: Model, image_size: int) -> dict[str, tuple[int, int]]:
    with _GRIDS_LOCK:
        known = _GRIDS.setdefault(model.network, {})
    if image_size not in known:
        with model.lock, frozen(model.network):
            try:
                known[image_size] = layer_grids(model.network, image_size)
            except InputSizeError as error:
                raise ExplanationError(f"{model.name}: {error}") from error
            except ValueError as error:
                raise too_small(model, image_size, image_size) from error
    return known[image_size]


def least_size(model: Model) -> int:
    """The smallest image side in pixels that the model's architecture can take, as its registry entry says."""
    try:
        return architecture(model.card.architecture).min_size
    except ValueError:
        return 1


def too_small(model: Model, height: int, width: int) -> ExplanationError:
    """The error for an image below the architecture's smallest size."""
    return ExplanationError(
        f"{model.name} can't take an image of {width} x {height} px; its smallest input is {least_size(model)} px."
    )


def offer(model: Model, image_size: int) -> str:
    """The stages that can be tapped, deepest first: "choose layer2 (4x4) or layer1 (8x8)"."""
    usable = usable_layers(model, image_size)
    stages = [name for name in model.stages if name in usable] or list(usable)
    names = [f"{name} ({usable[name][0]}x{usable[name][1]})" for name in reversed(stages)][:6]
    return f"choose {' or '.join(names)}" if names else "no layer of it has a larger one"


def check_grid(model: Model, images: Tensor, layers: Iterable[str], taps: Mapping[str, Tensor]) -> None:
    """Raise `ExplanationError` when a tapped layer did not run or has a grid of 1 x 1."""
    size = min(images.shape[-2:])
    for name in layers:
        if name not in taps:
            raise ExplanationError(f"the layer {name!r} is not used by {model.name}; {offer(model, size)}.")
        if max(taps[name].shape[-2:]) == 1:
            raise ExplanationError(
                f"{name} of {model.name} offers a 1x1 grid for this image of {images.shape[-1]} x "
                f"{images.shape[-2]} px, which is no map; {offer(model, size)}."
            )


def position(network: nn.Module, layers: Iterable[str], taps: Mapping[str, Any]) -> str:
    """What was tapped, in words, such as "after ReLU"; several different ones are joined."""
    words = [_words(find_layer(network, name), taps[name]) for name in layers]
    return "; ".join(dict.fromkeys(words))


def _may_end_in(activation: nn.Module, output: Tensor) -> bool:
    return bool((output >= _LOWEST[type(activation)]).all())  # type: ignore[index]


def _words(module: nn.Module, output: Tensor) -> str:
    last = module
    while isinstance(last, nn.Sequential) and len(last):
        last = last[-1]
    children = list(last.children())
    # a block that ends in an activation of its own: true of the blocks here, whose every ReLU is called once
    if children and isinstance(children[-1], tuple(_LOWEST)) and _may_end_in(children[-1], output):
        last = children[-1]
    for kinds, name in ((_NORMS, "batch norm output"), (_POOLS, "pooling output")):
        if isinstance(last, kinds):
            return name if not isinstance(last, nn.GroupNorm | nn.InstanceNorm2d) else "normalisation output"
    if isinstance(last, ACTIVATIONS):
        return f"after {type(last).__name__}"
    if isinstance(last, nn.Conv2d):
        return "convolution output"
    if isinstance(last, nn.LocalResponseNorm):
        return "after local response normalisation"
    sign = ", no negative values" if bool((output >= 0).all()) else ""
    return ("block output" if children else f"output of {type(last).__name__}") + sign
