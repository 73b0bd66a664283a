"""A faster copy of a network for work that only runs it forward or differentiates its input.

Batch norm in evaluation mode is an affine map, so it is folded into the convolution before it. Which batch norm
follows which convolution is seen by running a copy once, not by tracing: `torch.fx` replaces methods of all modules
in the process while it traces, which breaks other threads.
"""

from __future__ import annotations

import copy
import threading
import weakref
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.registry import Model

_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Folded:
    """A network with the same logits. `convolutions` are those that now include their batch norm, so their own
    output is another one than in the original."""

    network: nn.Module
    convolutions: frozenset[str]
    state: tuple[int, ...]


_CACHE: weakref.WeakKeyDictionary[nn.Module, Folded] = weakref.WeakKeyDictionary()
_CACHE_LOCK = threading.Lock()


def folded(model: Model) -> Folded:
    """The folded copy of a model's network, made once and again when its weights change; hold `model.lock`."""
    state = _state(model.network)
    with _CACHE_LOCK:
        cached = _CACHE.get(model.network)
    if cached is None or cached.state != state:
        cached = _fold(model, state)
        with _CACHE_LOCK:
            _CACHE[model.network] = cached
    return cached


def _state(network: nn.Module) -> tuple[int, ...]:
    tensors = [*network.parameters(), *network.buffers()]
    return tuple(number for tensor in tensors for number in (tensor.data_ptr(), tensor._version))


@torch.inference_mode(False)
@torch.no_grad()
def _fold(model: Model, state: tuple[int, ...]) -> Folded:
    network = _copy(model.network)
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, model.input_size, model.input_size, generator=generator).to(model.device)
    pairs = _pairs(network, image)
    expected = network(image)
    for convolution, norm in pairs:
        found: tuple[Any, Any] = (network.get_submodule(convolution), network.get_submodule(norm))
        network.set_submodule(convolution, fuse_conv_bn_eval(*found).requires_grad_(False))
        network.set_submodule(norm, nn.Identity())
    if not equal_logits(
        network(image), expected, _TOLERANCE
    ):  # a convolution's output was also used elsewhere
        network, pairs = _copy(model.network), []
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Folded(network, frozenset(name for name, _ in pairs), state)


def _copy(network: nn.Module) -> nn.Module:
    return copy.deepcopy(network).eval().requires_grad_(False)


def _pairs(network: nn.Module, image: Tensor) -> list[tuple[str, str]]:
    """Names of convolutions and of the batch norms that take their output, each called once."""
    outputs: dict[str, list[Tensor]] = {}
    inputs: dict[str, list[Tensor]] = {}

    def note(name: str, kept: dict[str, list[Tensor]], index: int) -> Any:
        return lambda _module, taken, given: kept.setdefault(name, []).append((taken[0], given)[index])

    handles = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            handles.append(module.register_forward_hook(note(name, outputs, 1)))
        elif isinstance(module, nn.BatchNorm2d) and module.track_running_stats:
            handles.append(module.register_forward_hook(note(name, inputs, 0)))
    network(image)
    for handle in handles:
        handle.remove()
    sources = {id(calls[0]): name for name, calls in outputs.items() if len(calls) == 1}
    found = [(sources.get(id(calls[0])), name) for name, calls in inputs.items() if len(calls) == 1]
    return [(convolution, norm) for convolution, norm in found if convolution is not None]


def equal_logits(logits: Tensor, expected: Tensor, tolerance: float) -> bool:
    """Whether no logit is off by more than `tolerance` times the largest one expected; False when one is no number."""
    scale = float(expected.abs().max().clamp_min(1e-6))
    return logits.shape == expected.shape and bool((logits - expected).abs().max() <= tolerance * scale)
