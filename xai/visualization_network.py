"""A private copy of a network for long runs: it stops after the deepest layer that is needed.

A visualisation takes from seconds to minutes, and others use the same network meanwhile. So a run makes a copy of the
network's modules while it holds the model's lock, and works on that copy without the lock. The weights are shared, not
copied; nothing here changes them.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.registry import Model
from xai.attribution_types import ExplanationError
from xai.feature_layers import with_first
from xai.folding import folded
from xai.hooks import find_layer
from xai.layer_calls import first_tensor, split_call

OUTPUT = "output"
"""The name of the network's logits among the layers."""


class _Done(Exception):
    """Every layer that is needed has run."""


@dataclass
class _Recording:
    """What the hooks of one forward pass leave: calls so far by dotted name, and outputs by layer."""

    layers: tuple[str, ...]
    calls: dict[str, int] = field(default_factory=dict)
    found: dict[str, Tensor] = field(default_factory=dict)

    def hook(self, name: str) -> Callable[..., Any]:
        """A forward hook for the module `name`; it refers to this object and not to the network."""
        wanted = {split_call(layer)[1]: layer for layer in self.layers if split_call(layer)[0] == name}

        def record(_module: nn.Module, _inputs: Any, output: Any) -> Any:
            call = self.calls[name] = self.calls.get(name, 0) + 1
            if call not in wanted:
                return None
            self.found[wanted[call]] = _as_maps(wanted[call], output)
            if len(self.found) == len(self.layers):
                raise _Done
            # an activation that works in place must not change what was recorded
            tensor = first_tensor(output)
            return None if tensor is None else with_first(output, tensor, tensor.clone())

        return record


class PrivateNetwork:
    """A copy that records the outputs of `layers` and leaves the rest of the network out.

    Modules are its own and weights are the model's. `wake` lets a ReLU that blocks the whole gradient of a picture pass
    what would raise its input (Lucid's redirected ReLU), so that a channel that starts silent is found.
    """

    def __init__(self, model: Model, layers: Sequence[str]) -> None:
        self.name = model.name
        self.layers = tuple(dict.fromkeys(layers))
        self.device = model.device
        names = {split_call(layer)[0] for layer in self.layers} - {OUTPUT}
        self._network = _own_modules(model, names)
        self._relus = _wakeable(self._network)
        if self.device.type == "cpu":
            _compute_alike(self._network)
        self._recording = _Recording(self.layers)
        for name in names:
            find_layer(self._network, name).register_forward_hook(self._recording.hook(name))

    def wake(self, on: bool) -> None:
        """Whether silent channels are woken from now on."""
        for relu in self._relus:
            relu.wake = on

    def run(self, images: Tensor) -> dict[str, Tensor]:
        """Outputs `(B, C, h, w)` of the layers for images `(B, 3, H, W)` in [0, 1]; a flat vector has a 1 x 1 grid.

        Of a layer that gives several tensors, the first. On the CPU, with as many threads, the outputs of an image do
        not depend on how many others there are, as long as there are any. Raises `ExplanationError` for a layer that
        is not used or gives no feature map, and what the network raises for images that it can't take.
        """
        recording = self._recording
        recording.calls, recording.found = {}, {}
        try:
            output = self._network(images)
            if OUTPUT in self.layers:
                recording.found[OUTPUT] = _as_maps(OUTPUT, output)
        except _Done:
            pass
        found, recording.found = recording.found, {}
        for layer in self.layers:
            if layer not in found:
                raise ExplanationError(self._absent(layer))
        return found

    def _absent(self, layer: str) -> str:
        name, call = split_call(layer)
        calls = self._recording.calls.get(name, 0)
        if not calls:
            return f"the layer {name!r} is not used by {self.name}."
        return f"{self.name} calls the layer {name!r} {calls} times; call {call} was asked for."


def _as_maps(layer: str, output: Any) -> Tensor:
    tensor = first_tensor(output)
    if tensor is not None and tensor.ndim in (2, 4):
        return tensor if tensor.ndim == 4 else tensor[:, :, None, None]
    nothing = f"a {type(output).__name__} without a tensor"
    given = nothing if tensor is None else f"a tensor of shape {tuple(tensor.shape)}"
    raise ExplanationError(
        f"the output of layer {layer!r} is {given}, not a feature map (N, C, h, w) or a vector (N, C)."
    )


def _own_modules(model: Model, layers: Collection[str]) -> nn.Module:
    with model.lock:
        for layer in layers:
            find_layer(model.network, layer)
        quick = folded(model)
        source = model.network if quick.convolutions.intersection(layers) else quick.network
        memo: dict[int, Any] = {}
        for tensor in itertools.chain(source.parameters(), source.buffers()):
            memo[id(tensor)] = (
                nn.Parameter(tensor.detach(), False) if isinstance(tensor, nn.Parameter) else tensor.detach()
            )
        network = copy.deepcopy(source, memo).eval()
    for module in network.modules():
        if getattr(module, "inplace", False) is True:
            module.inplace = False  # type: ignore[assignment]
    return network


class _AlikeLinear(nn.Linear):
    """A linear layer that multiplies as many rows at a time whatever the batch.

    Which kernel multiplies matrices, and so the last bits, depends on their number of rows.
    """

    rows = 8

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 2:
            return super().forward(x)
        padded = F.pad(x, (0, 0, 0, -len(x) % self.rows))
        return torch.cat([super(_AlikeLinear, self).forward(part) for part in padded.split(self.rows)])[
            : len(x)
        ]


def _compute_alike(network: nn.Module) -> None:
    """Let the network's linear layers give an image the same to the bit in batches of any size."""
    for module in network.modules():
        if type(module) is nn.Linear:
            module.__class__ = _AlikeLinear


class _WakeableReLU(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wake = False

    def forward(self, x: Tensor) -> Tensor:
        return _Redirected.apply(x) if self.wake else F.relu(x)


def _wakeable(network: nn.Module) -> list[_WakeableReLU]:
    relus = [
        (name, module)
        for name, module in network.named_modules(remove_duplicate=False)
        if type(module) is nn.ReLU and name
    ]
    made = {id(module): _WakeableReLU() for _name, module in relus}
    for name, module in relus:
        network.set_submodule(name, made[id(module)])
    return list(made.values())


class _Redirected(torch.autograd.Function):
    """ReLU whose gradient, where it is zero for a whole picture, is what would raise inputs below zero."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return F.relu(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,), (gradient,) = ctx.saved_tensors, gradients
        usual = gradient * (x > 0)
        rising = gradient.clamp_max(0)
        silent = (usual == 0).flatten(1).all(1)
        return torch.where(silent.view(-1, *[1] * (x.ndim - 1)), rising, usual)


def bytes_per_picture(network: PrivateNetwork, size: int) -> int:
    """How much memory one picture's activations take until its gradient is known, in bytes."""
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    image = torch.full((1, 3, size, size), 0.5, device=network.device, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        found: Mapping[str, Tensor] = network.run(image)
    return sum(kept.values()) + sum(tensor.nbytes for tensor in found.values())
