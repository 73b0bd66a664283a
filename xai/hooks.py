"""Hooks, evaluation mode and gradients, only ever inside a `with` that puts everything back.

None of these takes a lock: whoever shares a network between threads holds its `Model.lock` around them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_HOOK_FLAGS = ("_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks_with_kwargs")


class TapError(ValueError):
    """A layer that can't be tapped, with the reason in one sentence."""


def find_layer(network: nn.Module, name: str) -> nn.Module:
    """The submodule with the dotted `name`; raises `TapError` when there is none."""
    try:
        module = network.get_submodule(name) if name else None
    except AttributeError:
        module = None
    if module is None:
        raise TapError(f"there is no layer {name!r}")
    return module


def count_hooks(network: nn.Module) -> int:
    """How many forward and backward hooks the network carries, on all its modules together."""
    return sum(len(getattr(module, kind)) for module in network.modules() for kind in _HOOKS)


def modules_by_name(network: nn.Module) -> dict[str, nn.Module]:
    """What `network.named_modules()` gives, without the network itself, in a third of the time: it counts where every
    layer is looked at beside a small forward pass."""
    found: dict[str, nn.Module] = {}
    _walk(network, "", {network}, found)
    return found


def _walk(module: nn.Module, prefix: str, seen: set[nn.Module], found: dict[str, nn.Module]) -> None:
    for name, child in module._modules.items():
        if child is not None and child not in seen:
            seen.add(child)
            found[prefix + name] = child
            if child._modules:
                _walk(child, f"{prefix}{name}.", seen, found)


@contextmanager
def frozen(network: nn.Module) -> Iterator[dict[str, nn.Module]]:
    """Evaluation mode and weights that need no gradient; each module and weight is as it was afterwards.

    Gives the network's modules by name.
    """
    named = modules_by_name(network)
    modules = [network, *named.values()]
    training = [module for module in modules if module.training]
    learning = [
        weight
        for module in modules
        for weight in module._parameters.values()
        if weight is not None and weight.requires_grad
    ]
    try:
        for module in training:
            module.training = False
        for weight in learning:
            weight.requires_grad_(False)
        yield named
    finally:
        for module in training:
            module.training = True
        for weight in learning:
            weight.requires_grad_(True)


@contextmanager
def out_of_place(network: nn.Module) -> Iterator[None]:
    """Activations that make a new tensor, for methods that look at an activation's input after it ran."""
    modules = [module for module in network.modules() if getattr(module, "inplace", False) is True]
    try:
        for module in modules:
            module.inplace = False  # type: ignore[assignment]
        yield
    finally:
        for module in modules:
            module.inplace = True  # type: ignore[assignment]


@contextmanager
def restored(network: nn.Module) -> Iterator[None]:
    """Put hooks and module attributes back as they were, for libraries that leave them behind on an exception."""
    before = [(module, _snapshot(module)) for module in network.modules()]
    try:
        yield
    finally:
        for module, (attributes, hooks) in before:
            for name in module.__dict__.keys() - attributes:
                delattr(module, name)
            for kind, entries in hooks.items():
                getattr(module, kind).clear()
                getattr(module, kind).update(entries)


def _snapshot(module: nn.Module) -> tuple[set[str], dict[str, dict[int, Any]]]:
    hooks = {kind: dict(module.__dict__[kind]) for kind in (*_HOOKS, *_HOOK_FLAGS) if kind in module.__dict__}
    return set(module.__dict__), hooks


@contextmanager
def _forward_hooks(network: nn.Module, layers: Sequence[str], make: Callable[[str], Any]) -> Iterator[None]:
    modules = {name: find_layer(network, name) for name in layers}
    handles = []
    try:
        for name, module in modules.items():
            handles.append(module.register_forward_hook(make(name)))
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def listening(
    network: nn.Module,
    layers: Collection[str] | None,
    hear: Callable[[str, nn.Module, Any, Any], Any],
    modules: Mapping[str, nn.Module] | None = None,
) -> Iterator[None]:
    """Call `hear(layer, module, inputs, output)` after every call of each of `layers`, or of all for None.

    What it returns, if not None, stands in for the output. `modules` are the network's by name, where the caller has
    them from `frozen`. Raises `TapError` for an unknown layer.
    """
    modules = modules_by_name(network) if modules is None else modules
    for name in layers or ():
        if name not in modules:
            raise TapError(f"there is no layer {name!r}")
    chosen = {name: modules[name] for name in (modules if layers is None else dict.fromkeys(layers))}
    key = (
        object()
    )  # straight into the modules' own lists: handles for all layers take as long as a small forward
    try:
        for name, module in chosen.items():
            module._forward_hooks[key] = partial(hear, name)  # type: ignore[index]
        yield
    finally:
        for module in chosen.values():
            module._forward_hooks.pop(key, None)  # type: ignore[call-overload]


@contextmanager
def tapped(network: nn.Module, layers: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Tap feature maps so that a score can be differentiated with respect to them, and to nothing below them.

    Run the network inside; the dict then holds, per layer, its output `(N, C, h, w)` as it was at that moment,
    a tensor that requires a gradient. What the network goes on with is a copy, so an activation that works in
    place on it does not change what was tapped. Of several taps in a row, the upper ones keep their dependence
    on the lower ones. Raises `TapError` for an unknown layer, and while the network runs for an output that is
    no feature map and for a layer that is called more than once.
    """
    taps: dict[str, Tensor] = {}

    def make(name: str) -> Callable[..., Tensor]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> Tensor:
            _check_output(name, output, taps)
            taps[name] = output.clone() if output.requires_grad else output.detach().requires_grad_()
            return taps[name].clone()

        return hook

    with _forward_hooks(network, layers, make):
        yield taps


@contextmanager
def recorded(network: nn.Module, layers: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Record the outputs of layers, whatever their shape: copies without gradient, on the network's device.

    Raises `TapError` for an unknown layer, and while the network runs for one that is called more than once.
    """
    outputs: dict[str, Tensor] = {}

    def make(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            _check_calls(name, outputs)
            outputs[name] = output.detach().clone()

        return hook

    with _forward_hooks(network, layers, make):
        yield outputs


@contextmanager
def replaced(network: nn.Module, layer: str, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Let `change(output)` stand in for the output of `layer`."""

    def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        return change(output)

    with _forward_hooks(network, [layer], lambda _name: hook):
        yield


def _check_calls(name: str, outputs: dict[str, Tensor]) -> None:
    if name in outputs:
        raise TapError(
            f"the layer {name!r} is called more than once in one forward pass, so it has no one output"
        )


def _check_output(name: str, output: Any, taps: dict[str, Tensor]) -> None:
    _check_calls(name, taps)
    if not isinstance(output, Tensor) or output.ndim != 4:
        shape = (
            f"a tensor of shape {tuple(output.shape)}"
            if isinstance(output, Tensor)
            else type(output).__name__
        )
        raise TapError(f"the output of layer {name!r} is {shape}, not a feature map (N, C, h, w)")
