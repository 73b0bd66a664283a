"""Networks of timm and torchvision by name, untrained: `timm:resnet10t`, `torchvision:densenet121`.

Nothing is downloaded. What the registry must know of such a network (which layers offer a map, what comes after the
last of them, the least image) is found by running shapes through it on the meta device.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from models.layers import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    InputSizeError,
    Normalize,
    check_whole_number,
    evaluation_mode,
    make_out_of_place,
)

SOURCES = ("timm", "torchvision")
MOST_STAGES = 5
LARGEST_SIDE = 1024
_SIZES = (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 384, 448, 512)
_FAMILIES = (
    ("resnext", "ResNeXt"),
    ("resnet", "ResNet"),
    ("alexnet", "AlexNet"),
    ("vgg", "VGG"),
    ("^(vit|deit)_", "ViT"),
)
_POOLED = {"mean", "_adaptive_avg_pool2d", "adaptive_avg_pool2d", "avg_pool2d"}
_MULTIPLIED = {"addmm", "mm", "linear"}
_MOVED = {"view", "_unsafe_view", "reshape", "flatten", "squeeze", "t", "clone", "detach", "alias"}
_MOVED |= {"_to_copy", "as_strided_"}
_NO_STAGE = (nn.AdaptiveAvgPool2d, nn.AvgPool2d, nn.Dropout, nn.Identity, nn.Softmax)


@dataclass(frozen=True)
class Facts:
    """What the registry's entry says of such a network (see `registry.Architecture`)."""

    title: str
    head: str
    stages: tuple[str, ...]
    min_size: int
    default_size: int
    family: str
    source: str


class External(nn.Module):
    """A library's network, out of place, behind the normalisation that it is published with."""

    def __init__(self, name: str, model: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.normalize = Normalize(mean, std)
        self.model = make_out_of_place(model)
        self.name = name

    def forward(self, images: Tensor) -> Tensor:
        """Logits `(N, num_classes)` of images `(N, 3, H, W)` in [0, 1]."""
        try:
            return self.model(self.normalize(images))
        except AssertionError as error:
            raise InputSizeError(
                f"{self.name} can't take an image of {images.shape[-1]} x {images.shape[-2]} px as it is built; "
                f"its option image_size={images.shape[-1]} builds it for them."
            ) from error


def known(source: str) -> tuple[str, ...]:
    """Names of the classifiers that `timm` or `torchvision` has."""
    if source == "timm":
        import timm

        return tuple(timm.list_models())
    import torchvision

    return tuple(torchvision.models.list_models(module=torchvision.models))


def _split(name: str) -> tuple[str, str]:
    """Source and model; raises `ValueError` with up to three similar names."""
    source, _, model = name.partition(":")
    names = known(source)
    if model not in names:
        near = ", ".join(difflib.get_close_matches(model, names, n=3)) or "none"
        raise ValueError(f"{source} has no network {model!r}; similar names are {near}.")
    return source, model


def build(name: str, num_classes: int, *, image_size: int | None = None) -> External:
    """Build the untrained network `timm:NAME` or `torchvision:NAME`.

    `image_size` (px) is for transformers, which are built for one size (default: that of their published weights).
    Raises `ValueError` for an unknown name, and for a size that the network can't be built for.
    """
    source, model = _split(name)
    if image_size is not None:
        check_whole_number("image_size", image_size, LARGEST_SIDE)
    make = functools.partial(
        _timm if source == "timm" else _torchvision, name, model, num_classes, image_size
    )
    try:
        return _without_numbers(make) if torch.get_default_device().type == "meta" else make()
    except (TypeError, AssertionError, RuntimeError) as error:
        if image_size is None:
            raise
        raise ValueError(f"{name} can't be built for images of {image_size} px.") from error


class _MetaWeights(TorchFunctionMode):
    """Makes what is allocated without values, as weights are, on the meta device."""

    def __torch_function__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = dict(kwargs or {})
        return func(*args, **(given | {"device": "meta"} if func is torch.empty else given))


def _without_numbers(make: Callable[[], External]) -> External:
    """The network on the meta device, though some compute their widths with tensors, which needs numbers."""
    with torch.device("cpu"), _MetaWeights():
        return make().to("meta")


def _timm(name: str, model: str, num_classes: int, image_size: int | None) -> External:
    import timm

    options: dict[str, Any] = {} if image_size is None else {"img_size": image_size}
    network = timm.create_model(model, pretrained=False, num_classes=num_classes, **options)
    facts = timm.get_pretrained_cfg(model)
    return External(name, network, facts.mean, facts.std) if facts else External(name, network, *_IMAGENET)


def _torchvision(name: str, model: str, num_classes: int, image_size: int | None) -> External:
    import torchvision

    options: dict[str, Any] = {} if image_size is None else {"image_size": image_size}
    if model in ("googlenet", "inception_v3"):  # else they give several outputs in training
        options.update(aux_logits=False, init_weights=True)
    network = torchvision.models.get_model(model, weights=None, num_classes=num_classes, **options)
    return External(name, network, *_IMAGENET)


_IMAGENET = (IMAGENET_MEAN, IMAGENET_STD)


def _default_size(name: str) -> int:
    source, model = _split(name)
    if source == "timm":
        import timm

        facts = timm.get_pretrained_cfg(model)
        return facts.input_size[-1] if facts else 224
    import torchvision

    return min(weights.transforms().crop_size[0] for weights in torchvision.models.get_model_weights(model))


def look(name: str) -> Facts:
    """Find out about `timm:NAME` or `torchvision:NAME`; raises `ValueError` when it is unknown or offers no map."""
    size, network = _default_size(name), _sketch(name)
    stages, head = stages_and_head(name, network, size)
    source, model = _split(name)
    family = next((family for words, family in _FAMILIES if re.search(words, model)), "other")
    return Facts(
        f"{model} ({source})",
        head,
        stages,
        _least_size(name, network, size),
        size,
        family,
        f"{source}'s {model}, without its weights",
    )


def stages_and_head(name: str, network: nn.Module, size: int) -> tuple[tuple[str, ...], str]:
    """Stages and kind of head of a network on the meta device, for images of `size` px.

    Raises `ValueError` when it offers no map.
    """
    events = _events(network, size)
    stages = _stages(network, events)
    if not stages:
        raise ValueError(f"{name} has no layer whose output is a feature map (N, C, h, w).")
    return stages, _head(events, stages[-1])


def _sketch(name: str, image_size: int | None = None) -> External:
    with torch.device("meta"):
        return build(name, 2, image_size=image_size)


@dataclass(frozen=True)
class _Event:
    """Something that happened in a forward pass: an operator ran, or a module was left with an output of a shape."""

    name: str
    shape: tuple[int, ...] | None = None


class _Operators(TorchDispatchMode):
    """Notes every operator that runs inside a `with`, in this thread."""

    def __init__(self, events: list[_Event]) -> None:
        super().__init__()
        self.events = events

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.events.append(_Event(func.overloadpacket.__name__))
        return func(*args, **(kwargs or {}))


def _events(network: nn.Module, size: int) -> list[_Event]:
    events: list[_Event] = []

    def note(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                events.append(_Event(name, tuple(output.shape)))

        return hook

    handles = [module.register_forward_hook(note(name)) for name, module in network.named_modules() if name]
    try:
        with evaluation_mode(network), torch.no_grad(), _Operators(events):
            network(torch.zeros(1, 3, size, size, device="meta"))
    finally:
        for handle in handles:
            handle.remove()
    return events


def _stages(network: nn.Module, events: Sequence[_Event]) -> tuple[str, ...]:
    """Where each grid of 2x2 or more is left, shallow to deep: the last module of those that run once there and
    stand highest in the hierarchy (deeper ones are branches of the block that goes on to the next grid)."""
    calls = [event.name for event in events if event.shape]
    last: dict[int, str] = {}
    for event in events:
        if not _is_map(network, event) or calls.count(event.name) > 1:
            continue
        side = (event.shape or ())[2]
        if event.name.count(".") <= last.get(side, event.name).count("."):
            last.pop(side, None)  # so that the order is that of the last modules
            last[side] = event.name
    return tuple(last.values())[-MOST_STAGES:]


def _is_map(network: nn.Module, event: _Event) -> bool:
    shape = event.shape or ()
    if len(shape) != 4 or shape[0] != 1 or shape[2] != shape[3] or shape[2] < 2:
        return False
    return event.name != "normalize" and not isinstance(network.get_submodule(event.name), _NO_STAGE)


def _head(events: Sequence[_Event], stage: str) -> str:
    """`pool_linear` when all that follows `stage` is a mean over positions and at most one linear layer."""
    names = [event.name for event in events]
    rest = [event.name for event in events[names.index(stage) + 1 :] if event.shape is None]
    linear = sum(name in _MULTIPLIED for name in rest) <= 1 and any(name in _POOLED for name in rest)
    return "pool_linear" if linear and set(rest) <= _POOLED | _MULTIPLIED | _MOVED else "flatten_mlp"


def _least_size(name: str, network: External, default: int) -> int:
    """The smallest usual side in px that the network takes, be it with its option `image_size`."""
    return next((size for size in _SIZES if size < default and _takes(name, network, size)), default)


def _takes(name: str, network: External, size: int) -> bool:
    for make in (lambda: network, functools.partial(_sketch, name, size)):
        try:
            with evaluation_mode(make()) as ready, torch.no_grad():
                ready(torch.zeros(1, 3, size, size, device="meta"))
        except (ValueError, RuntimeError):
            continue
        return True
    return False
