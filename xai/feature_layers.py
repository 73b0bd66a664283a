"""The layers of a network as they run, and what each gives for an image: all of them from one forward pass."""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from models.registry import Model
from xai import taps
from xai.attribution_types import ExplanationError
from xai.hooks import TapError, frozen, listening
from xai.layer_calls import COPIED, Heard, call_name, call_note, first_tensor, heard_by, split_call

_TABLES: weakref.WeakKeyDictionary[nn.Module, dict[int, tuple[LayerInfo, ...]]] = weakref.WeakKeyDictionary()
_LOCK = threading.Lock()


@dataclass(frozen=True)
class LayerInfo:
    """A layer as it ran for an image: its dotted name, kind of module, channels, grid `(h, w)` and number of calls.

    Of a layer that is called several times, channels and grid are those of its first call, and `later` holds those of
    the others, 0 where there are no maps: `at` tells of one call. A flat vector `(N, C)` is a grid of `(1, 1)`.
    `note` is empty, or says why the layer can't be shown; then channels and grid are 0. `same_as` names an earlier
    layer whose output this one passes on as it is (containers, dropout), empty where there is none.
    """

    name: str
    kind: str
    channels: int
    grid: tuple[int, int]
    calls: int
    note: str = ""
    same_as: str = ""
    later: tuple[tuple[int, tuple[int, int]], ...] = ()

    def at(self, call: int) -> LayerInfo:
        """The same of one call, from 1, of those that there were."""
        if call == 1:
            return self
        channels, grid = self.later[call - 2]
        note = "" if channels else f"call {call} of it gives no maps"
        return replace(self, channels=channels, grid=grid, note=note, same_as="")


@dataclass(eq=False)
class Feature:
    """What a layer gave in one call of `calls`.

    `layer` is its dotted name, with `#2` behind it for the second call and so on; `output` the tensor as it came, and
    `kind` what held it.
    """

    layer: str
    output: Tensor
    network: nn.Module
    kind: type = Tensor
    calls: int = 1

    @cached_property
    def values(self) -> Tensor:
        """The maps `(N, C, h, w)` float32 on the CPU, raw; shared between layers, so not to be changed."""
        values = self.output.float().cpu()
        return values[:, :, None, None] if values.ndim == 2 else values

    @property
    def position(self) -> str:
        """What was recorded, in words, such as "after ReLU"."""
        name = split_call(self.layer)[0]
        return taps.position(self.network, [name], {name: self.values})

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what has to be known of these values; counts those that are no numbers."""
        words = [*call_note(self.layer, self.calls)]
        if not issubclass(self.kind, Tensor):
            words.append(f"{self.layer} returns a {self.kind.__name__}; its first tensor is shown.")
        if self.output.ndim == 2:
            words.append(f"{self.layer} gives one value per channel, shown as a 1x1 grid.")
        if strange := int((~self.values.isfinite()).sum()):
            words.append(
                f"{strange:,} of {self.values.numel():,} values of {self.layer} are not finite (NaN or infinite)."
            )
        return tuple(words)


def _is_map(tensor: Tensor | None, batch: int) -> bool:
    if tensor is None:
        return False
    shape = tensor.shape
    return len(shape) in (2, 4) and shape[0] == batch and 0 not in shape


def _why_not(kind: type, tensor: Tensor | None, batch: int) -> str:
    """Why what a call gave can't be shown as maps, empty where it can."""
    if _is_map(tensor, batch):
        return ""
    if tensor is None:
        return f"its output is a {kind.__name__} without a tensor, which is no map"
    shape = tuple(tensor.shape)
    words = ", ".join(["N", *map(str, shape[1:])] if shape[:1] == (batch,) else map(str, shape))
    return f"its output has the shape ({words}), which is no map"


def layer_table(model: Model, size: int) -> tuple[LayerInfo, ...]:
    """Every layer that runs for a square image of `size` px, in the order in which they first end.

    Found by one forward pass of a black image, and kept with the network. Raises `ExplanationError` when the network
    can't take images that small.
    """
    with _LOCK:
        known = _TABLES.setdefault(model.network, {})
    if size not in known:
        known[size] = _table(heard_by(model, torch.zeros(1, 3, size, size), None))
    return known[size]


def _table(heard: Iterable[Heard]) -> tuple[LayerInfo, ...]:
    found: dict[str, LayerInfo] = {}
    first: dict[int, str] = {}
    for layer, module, kind, tensor, version in heard:
        if known := found.get(layer):
            later = (*known.later, _shape(tensor, kind))
            found[layer] = replace(known, calls=known.calls + 1, later=later)
            continue
        own = version == COPIED or kind is not Tensor
        original = layer if own else first.setdefault(id(tensor), layer)
        note, name = _why_not(kind, tensor, 1), type(module).__name__
        if tensor is None or note:
            found[layer] = LayerInfo(layer, name, 0, (0, 0), 1, note)
            continue
        same_as = "" if original == layer else original
        found[layer] = LayerInfo(layer, name, *_shape(tensor, kind), 1, "", same_as)
    return tuple(found.values())


def _shape(tensor: Tensor | None, kind: type) -> tuple[int, tuple[int, int]]:
    """Channels and grid of what a call gave, 0 where that is no maps."""
    if tensor is None or _why_not(kind, tensor, 1):
        return 0, (0, 0)
    channels, height, width = (*tensor.shape[1:], 1, 1)[:3]
    return channels, (height, width)


def record(
    model: Model, images: Tensor, layers: Collection[str] | None = None, *, call: int = 0
) -> dict[str, Feature]:
    """What layers give for images `(N, 3, H, W)` in [0, 1], each as it was at that moment, from one forward pass.

    All layers in the order in which they end, or those named, in that order. The second call of a layer is named
    `layer#2`; names without a number mean call number `call`, from 0. Layers that give no maps are left out of all
    layers, and if named raise `ExplanationError`, as do unknown and unused ones and images too small for the network.
    Values are not copied where nothing changes them, so that layers which pass on what they got share them. The
    network runs twice the first time that a network is found to change outputs in place.
    """
    if layers is None:
        batch, network, heard = len(images), model.network, heard_by(model, images, None)
        times = Counter(layer for layer, *_ in heard)
        return {
            name: Feature(name, tensor, network, kind, times[layer])
            for name, (layer, _, kind, tensor, _) in _named(heard).items()
            if tensor is not None and _is_map(tensor, batch)
        }
    wanted = {name: _with_call(name, call) for name in layers}
    bases = {split_call(name)[0] for name in wanted.values()}
    try:
        calls = _named(heard_by(model, images, bases))
    except TapError as error:
        raise unknown_layer(model, images, bases) from error
    return {name: _asked(model, len(images), full, calls) for name, full in wanted.items()}


def _with_call(name: str, call: int) -> str:
    return name if split_call(name)[0] != name or not call else f"{name}#{call + 1}"


def _named(heard: Iterable[Heard]) -> dict[str, Heard]:
    """The calls by name: the first by its layer's, the second with `#2` behind it."""
    named: dict[str, Heard] = {}
    count: dict[str, int] = {}
    for call in heard:
        name = call[0]
        if name in named:
            count[name] = count.get(name, 1) + 1
            name = f"{name}#{count[name]}"
        named[name] = call
    return named


def _asked(model: Model, batch: int, name: str, calls: Mapping[str, Heard]) -> Feature:
    layer, number = split_call(name)
    name, times = call_name(name), sum(split_call(known)[0] == layer for known in calls)
    if name not in calls:
        raise not_called(model, layer, number, times)
    _, _, kind, tensor, _ = calls[name]
    if tensor is None or not _is_map(tensor, batch):
        raise ExplanationError(f"{name} of {model.name} can't be shown: {_why_not(kind, tensor, batch)}.")
    return Feature(name, tensor, model.network, kind, times)


def not_called(model: Model, layer: str, number: int, times: int) -> ExplanationError:
    """The sentence on a call of a layer that there is not."""
    if not times:
        return ExplanationError(f"the layer {layer!r} is not used by {model.name} for this image.")
    words = "once" if times == 1 else f"{times} times"
    return ExplanationError(f"{layer} of {model.name} is called {words}, so there is no call {number}.")


def shown_layers(model: Model, size: int) -> tuple[LayerInfo, ...]:
    """The rows of `layer_table` that can be shown as maps."""
    return tuple(info for info in layer_table(model, size) if not info.note)


def distinct_layers(model: Model, size: int) -> tuple[LayerInfo, ...]:
    """Those of `shown_layers` that give something of their own: of several with the same output the stage, else the
    first. In the order in which they end."""
    chosen: dict[str, LayerInfo] = {}
    for info in shown_layers(model, size):
        original = info.same_as or info.name
        if original not in chosen or (
            info.name in model.stages and chosen[original].name not in model.stages
        ):
            chosen[original] = info
    return tuple(chosen.values())


def unknown_layer(model: Model, images: Tensor, names: Iterable[str]) -> ExplanationError:
    """The sentence on layers that a network does not have, with those that it has for such images."""
    modules = {name for name, _module in model.network.named_modules() if name}
    bad = ", ".join(repr(name) for name in names if name not in modules)
    allowed = ", ".join(info.name for info in shown_layers(model, min(images.shape[-2:])))
    return ExplanationError(f"{model.name} has no layer {bad}; allowed are {allowed}.")


def gradient(model: Model, images: Tensor, layer: str, target: int) -> Tensor:
    """How the logit of class `target` changes with what `layer` gives: `(N, C, h, w)` float32, signed.

    Zero where the logit does not depend on the layer. Raises `ExplanationError` for a layer that can't be shown.
    """
    base, number = split_call(layer)
    calls, leaves = 0, []

    def hear(_layer: str, _module: nn.Module, _inputs: Any, output: Any) -> Any:
        nonlocal calls
        calls += 1
        tensor = first_tensor(output)
        if calls != number or tensor is None:
            return None
        leaves.append(tensor.detach().clone().requires_grad_())
        return with_first(output, tensor, leaves[0].clone())

    with (
        model.lock,
        frozen(model.network) as modules,
        torch.enable_grad(),
        listening(model.network, [base], hear, modules),
    ):
        logits = model.network(images.to(model.device))
        if not leaves:
            raise ExplanationError(f"the layer {layer!r} gives no maps in {model.name} for this image.")
        score, found = logits[:, target].sum(), None
        if score.requires_grad:
            (found,) = torch.autograd.grad(score, leaves, allow_unused=True)
    found = torch.zeros_like(leaves[0]) if found is None else found
    return (found[:, :, None, None] if found.ndim == 2 else found).float().cpu()


def with_first(output: Any, old: Tensor, new: Tensor) -> Any:
    """The output with its first tensor replaced, of the same kind."""
    if isinstance(output, Tensor):
        return new
    if isinstance(output, Mapping):
        return type(output)({key: new if part is old else part for key, part in output.items()})  # type: ignore[call-arg]
    parts = [new if part is old else part for part in output]
    return output._make(parts) if hasattr(output, "_make") else type(output)(parts)
