"""Architectures that somebody's own function builds: `builder:package.module:function`.

To build one, Python imports the module, which runs it. So a card that names one does nothing by itself: it is refused
unless the environment variable `XAI_ALLOW_BUILDERS` is 1, which the command `import --builder` sets for itself.
Such a network can be loaded only while its function can be imported.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from models.external import External, Facts, stages_and_head
from models.layers import IMAGENET_MEAN, IMAGENET_STD

PREFIX = "builder:"
ALLOWED = "XAI_ALLOW_BUILDERS"
_FORM = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_SIZES = (224, 64, 32, 128, 96, 299, 384, 512, 28)
"""Sides of an image, in px, at which a network is looked at: the first that it takes."""


class BuilderError(ValueError):
    """A function that can't be used to build a network; the message is one sentence."""


def check_allowed(name: str) -> None:
    """Raise `BuilderError` unless `name` is `builder:package.module:function` and such functions are allowed here."""
    if not _FORM.fullmatch(name.removeprefix(PREFIX)):
        raise BuilderError(f"the builder is {name!r}; allowed is package.module:function.")
    if os.environ.get(ALLOWED) != "1":
        raise BuilderError(
            f"{name.removeprefix(PREFIX)} would have to be imported and run to build this network; "
            f"that is allowed only where the environment variable {ALLOWED} is 1."
        )


def _function(name: str) -> Callable[..., Any]:
    module_name, _, function_name = name.removeprefix(PREFIX).partition(":")
    try:
        function = getattr(importlib.import_module(module_name), function_name, None)
    except Exception as error:  # anybody's module may fail in any way
        raise BuilderError(f"the module {module_name} can't be imported ({_reason(error)}).") from error
    if not callable(function):
        raise BuilderError(f"the module {module_name} has no function {function_name}.")
    return function


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def build(name: str, num_classes: int, **options: Any) -> External:
    """Call the function and wrap its network: images `(N, 3, H, W)` in [0, 1] in, logits `(N, num_classes)` out.

    It is called with `num_classes` where it has a parameter of that name, and with `options`; what it gives takes
    normalised images, and ImageNet's normalisation stands before it until weights bring another. Raises
    `BuilderError` when builders are not allowed here or the function does not give a network.
    """
    check_allowed(name)
    function = _function(name)
    try:
        with torch.device("cpu"):  # on the meta device many can't be built
            network = function(**_arguments(function, num_classes), **options)
    except Exception as error:  # anybody's function may fail in any way
        raise BuilderError(
            f"{name.removeprefix(PREFIX)} can't build a network ({_reason(error)})."
        ) from error
    if not isinstance(network, nn.Module):
        raise BuilderError(
            f"{name.removeprefix(PREFIX)} gives a {type(network).__name__}; needed is a torch.nn.Module."
        )
    wrapped = External(name.removeprefix(PREFIX), network, IMAGENET_MEAN, IMAGENET_STD)
    return wrapped.to(torch.get_default_device())


def _arguments(function: Callable[..., Any], num_classes: int) -> dict[str, Any]:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}
    open_to_all = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())
    return {"num_classes": num_classes} if "num_classes" in parameters or open_to_all else {}


@functools.cache
def look(name: str) -> Facts:
    """What the registry says of such a network; raises `BuilderError` when it can't be used or offers no map."""
    with torch.device("meta"):
        network = build(name, 2)
    taken = [size for size in _SIZES if _takes(network, size)]
    if not taken:
        sizes = ", ".join(map(str, _SIZES))
        raise BuilderError(f"{name.removeprefix(PREFIX)} takes images (1, 3, S, S) of none of {sizes} px.")
    try:
        stages, head = stages_and_head(network.name, network, taken[0])
    except ValueError as error:
        raise BuilderError(str(error)) from error
    source = f"built by {network.name}"
    return Facts(network.name, head, stages, min(taken), taken[0], "other", source)


@functools.cache
def outputs(name: str) -> int:
    """Classes that the network tells apart where its function does not ask; raises as `look` does."""
    size = look(name).default_size
    with torch.device("meta"), torch.no_grad():
        return int(build(name, 2).eval()(torch.zeros(1, 3, size, size)).shape[1])


def _takes(network: nn.Module, size: int) -> bool:
    """Whether the network gives logits for an image of that side, in px."""
    try:
        with torch.no_grad():
            output = network.eval()(torch.zeros(1, 3, size, size, device="meta"))
    except Exception:  # anybody's network may fail in any way
        return False
    return isinstance(output, Tensor) and output.ndim == 2
