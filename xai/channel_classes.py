"""Which classes a channel speaks for: its weight where the network reads it linearly, else gradient x activation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from data.datasets import ImageSource, evenly_spread
from models.registry import Model
from xai.attribution_types import ExplanationError
from xai.evaluation import forward_batch_size
from xai.feature_layers import layer_table, with_first
from xai.folding import equal_logits
from xai.hooks import frozen, listening
from xai.layer_calls import first_tensor, split_call

SAMPLE = 64
"""Images that gradient x activation is averaged over where no other number is asked for."""
LEVEL = 0.95
_TOLERANCE = 1e-4
_FEW = 32
"""Up to so many classes a backward pass for each is quicker than making ready for derivatives in forward mode."""


@dataclass(frozen=True)
class Classes:
    """What a channel says for (above zero) or against each class.

    `kind` is `weight` (of the linear layer that reads the channel's mean), `gradient x activation` (mean over `n`
    images of the sum over the grid, in units of the logit, with a t interval at 95 % over the images) or `class` (what
    is looked at is the logit itself: 1 for it and 0 for the others).
    """

    kind: str
    names: tuple[str, ...]
    values: tuple[float, ...]
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    n: int = 0

    @property
    def order(self) -> tuple[int, ...]:
        """Numbers of the classes, the one that the channel speaks for most first; equal ones by number."""
        return tuple(sorted(range(len(self.values)), key=lambda number: -self.values[number]))

    @property
    def words(self) -> str:
        """What the numbers are, in one sentence."""
        if self.kind == "weight":
            return "Weight of the channel's mean in the logit of each class, which is a linear function of the means."
        if self.kind == "class":
            return "The class itself is looked at."
        return (
            f"Gradient x activation of each class's logit, summed over the grid; mean of {self.n:,} images with its "
            "95 % interval."
        )


def class_itself(model: Model, name: str) -> Classes:
    """What a class's own logit speaks for: the class; raises `ExplanationError` for one that the network lacks."""
    if name not in model.classes:
        shown = ", ".join(model.classes[:10])
        raise ExplanationError(f"{model.name} has no class {name!r}; allowed are {shown} ...")
    return Classes("class", model.classes, tuple(float(each == name) for each in model.classes))


def classes_for(
    model: Model, layer: str, channel: int, data: ImageSource | None = None, *, images: int = SAMPLE
) -> Classes:
    """What a channel of a layer says for and against each class.

    The weight where the network only averages the layer's maps and reads them by one linear layer (see
    `linear_head`), else gradient x activation over `images` images spread evenly over `data`. Raises
    `ExplanationError` for a layer or channel that does not exist, and where images are needed and none given.
    """
    _check_channel(model, layer, channel)
    weights = linear_head(model, layer)
    if weights is not None:
        return Classes("weight", model.classes, tuple(weights[:, channel].tolist()))
    if data is None or not len(data):
        raise ExplanationError(f"{layer} of {model.name} is not read linearly, so images are needed.")
    values = _evidence(model, layer, channel, evenly_spread(data, images))
    intervals = [mean_interval(column[column.isfinite()]) for column in values.T]
    mean, low, high = zip(*intervals, strict=True)
    return Classes("gradient x activation", model.classes, mean, low, high, len(values))


def _check_channel(model: Model, layer: str, channel: int) -> None:
    infos = {info.name: info for info in layer_table(model, model.input_size)}
    name, call = split_call(layer)
    info = infos.get(name)
    if info is not None and call > info.calls:
        raise ExplanationError(
            f"{name} of {model.name} has the calls 1 to {info.calls}; {call} was asked for."
        )
    info = info and info.at(call)
    if info is None or info.note:
        why = f": {info.note}" if info else ", or does not use it"
        raise ExplanationError(f"{model.name} offers no channels of {layer!r}{why}.")
    if not 0 <= channel < info.channels:
        raise ExplanationError(f"the channel is {channel}; {layer} has 0 to {info.channels - 1}.")


def _replaced(layer: str, change: Callable[[Tensor], Tensor]) -> Callable[..., Any]:
    """A listener that changes the first tensor of one call of a layer."""
    number, calls = split_call(layer)[1], 0

    def hear(_name: str, _module: nn.Module, _inputs: Any, output: Any) -> Any:
        nonlocal calls
        calls += 1
        tensor = first_tensor(output)
        if calls != number or tensor is None:
            return None
        return with_first(output, tensor, change(tensor))

    return hear


def linear_head(model: Model, layer: str) -> Tensor | None:
    """Weights `(K, C)` where the logits are a linear function of the means of the layer's maps, else None.

    Seen by putting noise in the layer's place: the logits must be those that one of the network's linear layers gives
    of the noise's means. So nothing but averaging and that layer comes after, whatever the network calls its parts.
    """
    put: list[Tensor] = []

    def noise(output: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(len(put))
        put.append(torch.randn(output.shape, generator=generator).to(output))
        return put[-1]

    size = model.input_size
    with model.lock, frozen(model.network), torch.no_grad():
        with listening(model.network, [split_call(layer)[0]], _replaced(layer, noise)):
            logits = model.network(torch.zeros(2, 3, size, size, device=model.device))
        if not put:
            return None
        means = put[0].flatten(2).mean(dim=2) if put[0].ndim > 2 else put[0]
        for weight, bias in _linear_layers(model.network, len(model.classes), means.shape[1]):
            if equal_logits(logits, nn.functional.linear(means, weight, bias), _TOLERANCE):
                return weight.float().cpu()
    return None


def _linear_layers(network: nn.Module, classes: int, channels: int) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Linear layers and 1x1 convolutions from so many channels to the classes."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and module.weight[0].numel() == channels:
            weight = module.weight.detach().flatten(1)
            if tuple(weight.shape) == (classes, channels):
                yield weight, module.bias


def _evidence(model: Model, layer: str, channel: int, data: ImageSource) -> Tensor:
    """Gradient x activation `(N, K)` of a channel for the logits of all classes, summed over the grid."""
    size = forward_batch_size(data.pixels(slice(0)), model.device)
    batches = []
    for start in range(0, len(data), size):
        images = data.pixels(slice(start, start + size)).to(model.device).float() / 255
        with model.lock, frozen(model.network):
            found = _derivatives(model.network, images, layer, channel, len(model.classes))
        batches.append(found.float().cpu())
    return torch.cat(batches)


def _derivatives(network: nn.Module, images: Tensor, layer: str, channel: int, classes: int) -> Tensor:
    if classes > _FEW:
        try:
            return _along_channel(network, images, layer, channel)
        except RuntimeError:  # an operation without forward derivative
            pass
    return _class_by_class(network, images, layer, channel)


def _along_channel(network: nn.Module, images: Tensor, layer: str, channel: int) -> Tensor:
    """For all classes from one forward pass: how logits change when the channel grows in proportion to itself."""
    taps = 0

    def dual(output: Tensor) -> Tensor:
        nonlocal taps
        taps += 1
        tangent = torch.zeros_like(output)
        tangent[:, channel] = output[:, channel]
        return forward_ad.make_dual(output.clone(), tangent)

    with torch.no_grad(), forward_ad.dual_level():
        with listening(network, [split_call(layer)[0]], _replaced(layer, dual)):
            logits = forward_ad.unpack_dual(network(images))
        _check_tapped(layer, taps)
        return torch.zeros_like(logits.primal) if logits.tangent is None else logits.tangent.clone()


def _class_by_class(network: nn.Module, images: Tensor, layer: str, channel: int) -> Tensor:
    """The same by one backward pass for each class."""
    taps: list[Tensor] = []

    def leaf(output: Tensor) -> Tensor:
        taps.append(output.detach().clone().requires_grad_())
        return taps[0].clone()

    with torch.enable_grad(), listening(network, [split_call(layer)[0]], _replaced(layer, leaf)):
        logits = network(images)
    _check_tapped(layer, len(taps))
    found = torch.zeros_like(logits)
    for number in range(logits.shape[1] if logits.requires_grad else 0):
        (gradient,) = torch.autograd.grad(logits[:, number].sum(), taps, retain_graph=True)
        product = (gradient * taps[0])[:, channel].detach()
        found[:, number] = product.reshape(len(images), -1).sum(dim=1)
    return found.detach()


def _check_tapped(layer: str, taps: int) -> None:
    """Zeros may be an answer, but not that of a layer which was never run."""
    if not taps:
        raise ExplanationError(f"{layer} gives no maps for these images, so no class depends on it.")


def mean_interval(values: Tensor, level: float = LEVEL) -> tuple[float, float, float]:
    """Mean of `(N,)` and the ends of its t interval; NaN for all of none, and for the ends of a single one."""
    from scipy.stats import t

    count = len(values)
    mean = float(values.double().mean())
    if count < 2:
        return mean, math.nan, math.nan
    half = float(t.ppf((1 + level) / 2, count - 1)) * float(values.double().std()) / math.sqrt(count)
    return mean, mean - half, mean + half
