"""Weights of one network as the start of another, and which layer of a network is its classifier."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from models import registry
from models.layers import evaluation_mode

_NAMED = 3


def build_seeded(architecture: str, classes: int, seed: int, options: dict[str, Any]) -> nn.Module:
    """A network with random weights that follow from `seed`; the global generator stays as it was.

    Raises `ValueError` with one sentence when there is no such architecture, or it can't be built with the options.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return registry.build(architecture, classes, **options)
        except (TypeError, RuntimeError) as error:
            raise ValueError(f"{architecture} can't be built with the options {options}: {error}") from error


def class_weights(architecture: str, options: dict[str, Any]) -> frozenset[str]:
    """Names of the weights whose shape depends on the number of classes."""
    few, more = (_blank(architecture, classes, options).state_dict() for classes in (2, 3))
    return frozenset(name for name, tensor in few.items() if tensor.shape != more[name].shape)


def classifier(architecture: str, options: dict[str, Any]) -> str:
    """Name of the linear layer that makes the logits; raises `ValueError` when there is not exactly one.

    A spare classifier, which is never called and therefore not trained, is not meant.
    """
    network, names = _blank(architecture, 2, options), class_weights(architecture, options)
    found = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and f"{name}.weight" in names and module.weight.requires_grad
    ]
    if len(found) != 1:
        raise ValueError(f"{architecture} has {len(found)} linear classifiers; needed is exactly one.")
    return found[0]


def _blank(architecture: str, classes: int, options: dict[str, Any]) -> nn.Module:
    with torch.device("meta"):
        return build_seeded(architecture, classes, 0, options)


def start_from(network: nn.Module, weights: dict[str, Tensor], fresh: frozenset[str], name: str) -> nn.Module:
    """Fill `network` in place with `weights`, those of the network `name`, but for the `fresh` ones; returns it.

    Raises `ValueError` with one sentence that names the weights that are missing, superfluous or of another shape.
    """
    own = network.state_dict()
    given = {key: tensor for key, tensor in weights.items() if key not in fresh}
    needed = {key: tensor for key, tensor in own.items() if key not in fresh}
    problems = [f"{key} is missing" for key in needed if key not in given]
    problems += [f"{key} has no place" for key in given if key not in needed]
    problems += [
        f"{key} is {_shape(given[key])}, needed is {_shape(tensor)}"
        for key, tensor in needed.items()
        if key in given and given[key].shape != tensor.shape
    ]
    if problems:
        more = f", and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
        raise ValueError(f"the weights of {name} do not fit: {'; '.join(problems[:_NAMED])}{more}.")
    network.load_state_dict({**own, **given})
    return network


def learn_only(
    network: nn.Module, architecture: str, options: dict[str, Any], learn: str, size: int
) -> nn.Module:
    """Let only some weights of `network` take part in a training, in place, and return it.

    `all` leaves it as it is. `last` are the weights used after the last but one of the architecture's stages, as an
    image of `size` px passes through, and `head` those whose shape depends on the number of classes. Raises
    `ValueError` for another `learn`, or when no weight would learn.
    """
    if learn == "all":
        return network
    if learn not in ("last", "head"):
        raise ValueError(f"learn is {learn!r}; allowed are all, last, head.")
    chosen = set(class_weights(architecture, options))
    if learn == "last":
        chosen |= _late_weights(network, registry.architecture(architecture).stages, size)
    weights = dict(network.named_parameters())
    if not chosen & weights.keys():
        raise ValueError(f"{architecture} has no weights that depend on the classes; allowed is learn all.")
    for name, weight in weights.items():
        weight.requires_grad_(weight.requires_grad and name in chosen)
    return network


def _late_weights(network: nn.Module, stages: tuple[str, ...], size: int) -> set[str]:
    """Names of the weights of modules that run after the last but one stage, or with the only one and after it."""
    late: dict[str, None] = {}
    passed = not stages

    def note(name: str, module: nn.Module) -> None:
        if passed:
            late.update(dict.fromkeys(f"{name}.{key}" for key, _ in module.named_parameters(recurse=False)))

    def reach(*_given: Any) -> None:
        nonlocal passed
        passed = True

    modules = dict(network.named_modules())
    handles = [modules[name].register_forward_hook(reach) for name in stages[-2:-1]]
    handles += [modules[name].register_forward_pre_hook(reach) for name in stages if len(stages) == 1]
    for name, module in modules.items():
        handles.append(module.register_forward_pre_hook(lambda own, _x, name=name: note(name, own)))
    try:
        with evaluation_mode(network), torch.no_grad():
            network(torch.zeros(1, 3, size, size))
    finally:
        for handle in handles:
            handle.remove()
    return set(late)


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "one number"
