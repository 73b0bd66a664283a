"""The calls of a network's layers: how they are named, and how they are heard while the network runs."""

from __future__ import annotations

import weakref
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.layers import InputSizeError
from models.registry import Model
from xai import taps
from xai.attribution_types import ExplanationError
from xai.hooks import frozen, listening

_FRAGILE: weakref.WeakKeyDictionary[nn.Module, set[str]] = weakref.WeakKeyDictionary()
"""Layers whose output is changed in place by what comes after them, and so has to be copied."""
MOST_DIGITS = 9
COPIED = -1
"""In place of a tensor's version where a copy was taken, which nothing can change."""
Modules = Mapping[str, nn.Module]
Heard = tuple[str, nn.Module, type, Tensor | None, int]
"""One call of a layer as it was heard: its name, module, kind of output, first tensor and this one's version.

Plain tuples: they are made while the network runs, for every layer.
"""


def first_tensor(output: Any) -> Tensor | None:
    """What a layer gives, or the first tensor of a tuple, list or dictionary that it gives."""
    if isinstance(output, Tensor):
        return output
    parts = output.values() if isinstance(output, Mapping) else output
    if isinstance(output, Sequence | Mapping) and not isinstance(output, str):
        return next((part for part in parts if isinstance(part, Tensor)), None)
    return None


def _hear(
    network: nn.Module, modules: Modules, images: Tensor, layers: Collection[str] | None
) -> list[Heard]:
    """Run the network and hear every call of the layers; for a network in evaluation mode, under its lock."""
    fragile = _FRAGILE.setdefault(network, set())
    heard = _run(network, modules, images, layers, fragile)
    changed = [layer for layer, _, _, tensor, version in heard if version >= 0 and tensor._version != version]  # type: ignore[union-attr]
    if changed:
        fragile.update(changed)  # known from now on, so that this second run is needed once for a network
        heard = _run(network, modules, images, layers, fragile)
    return heard


def _run(
    network: nn.Module,
    modules: Modules,
    images: Tensor,
    layers: Collection[str] | None,
    fragile: Collection[str],
) -> list[Heard]:
    heard: list[Heard] = []

    def hear(layer: str, module: nn.Module, _inputs: Any, output: Any) -> None:
        kind, tensor = type(output), output
        if kind is not Tensor:
            tensor = first_tensor(output)
        if tensor is None or layer in fragile or tensor.is_inference():  # these don't count their changes
            heard.append((layer, module, kind, None if tensor is None else tensor.clone(), COPIED))
        else:
            heard.append((layer, module, kind, tensor, tensor._version))

    with torch.no_grad(), listening(network, layers, hear, modules):
        network(images)
    return heard


def heard_by(model: Model, images: Tensor, layers: Collection[str] | None) -> list[Heard]:
    try:
        with model.lock, frozen(model.network) as modules:
            return _hear(model.network, modules, images.to(model.device), layers)
    except InputSizeError as error:
        raise ExplanationError(f"{model.name}: {error}") from error
    except RuntimeError as error:
        height, width = images.shape[-2:]
        if min(height, width) >= taps.least_size(model):
            raise
        raise taps.too_small(model, height, width) from error


def split_call(name: str) -> tuple[str, int]:
    """A layer's dotted name and the number of the call, from 1: `relu#2` -> `("relu", 2)`."""
    layer, _, number = name.rpartition("#")
    return (layer, int(number)) if layer and is_whole(number) and int(number) else (name, 1)


def is_whole(text: str) -> bool:
    """Whether a text is a whole number from 0, in digits and of a length that counts something."""
    return text.isdecimal() and text.isascii() and len(text) <= MOST_DIGITS


def call_name(name: str) -> str:
    """The one name of a layer's call among those that `split_call` reads alike: `relu#1` -> `relu`."""
    layer, call = split_call(name)
    return layer if call == 1 else f"{layer}#{call}"


def call_note(layer: str, calls: int) -> tuple[str, ...]:
    """A sentence about a layer that runs several times in one forward pass, none about others."""
    name, call = split_call(layer)
    words = f"{name} runs {calls} times in one forward pass; this is call {call}."
    return (words,) if calls > 1 else ()
