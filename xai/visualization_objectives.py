"""What a visualisation makes large: plain functions of activations, and their short text forms.

An objective maps activations by layer, each `(B, C, h, w)`, and images `(B, 3, H, W)` to one number per picture.
"""

from __future__ import annotations

import hashlib
import math
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.registry import Model
from xai.attribution_types import ExplanationError
from xai.hooks import TapError, frozen
from xai.layer_calls import call_name, is_whole
from xai.visualization_network import OUTPUT, PrivateNetwork

Objective = Callable[[Mapping[str, Tensor], Tensor], Tensor]
"""`objective(activations, images) -> (B,)`, to be made large."""
Shape = tuple[int, int, int]
LEAST_COSINE = 0.1


@dataclass(frozen=True)
class Readout:
    """A weighted sum of a layer's channels `weights` `(C,)`, at one cell or as the mean over the grid.

    Many of them at one layer are computed together.
    """

    layer: str
    weights: Tensor
    cell: tuple[int, int] | None = None

    def __call__(self, activations: Mapping[str, Tensor], images: Tensor) -> Tensor:
        return read(activations[self.layer], self.weights[None], self.cell)


def read(maps: Tensor, weights: Tensor, cell: tuple[int, int] | None) -> Tensor:
    """Weighted sums `(B,)` of the channels of maps `(B, C, h, w)` by weights `(B, C)` or `(1, C)`."""
    vectors = maps.mean((2, 3)) if cell is None else maps[:, :, cell[0], cell[1]]
    # where, as a channel that is not asked for may be infinite or no number
    return torch.where(weights != 0, vectors * weights, 0).sum(1)


@dataclass(frozen=True)
class Goal:
    """An objective, the layers it needs and the text that names it.

    `scale` divides the value before penalties are taken off; None takes the largest value so far. Goals of one
    `seed_text` (the text itself unless given) start from the same noise.
    """

    text: str
    layers: tuple[str, ...]
    objective: Objective
    scale: float | None = None
    seed_text: str = ""


def evaluate(goals: Sequence[Goal], activations: Mapping[str, Tensor], images: Tensor) -> Tensor:
    """Each picture's value of its own goal, `(B,)`; all readouts of a layer in one go."""
    groups: dict[tuple[str, tuple[int, int] | None], list[int]] = {}
    values: dict[int, Tensor] = {}
    for row, goal in enumerate(goals):
        if isinstance(goal.objective, Readout):
            groups.setdefault((goal.objective.layer, goal.objective.cell), []).append(row)
        else:
            own = {layer: activations[layer][row : row + 1] for layer in goal.layers}
            values[row] = goal.objective(own, images[row : row + 1])[0]
    for (layer, cell), rows in groups.items():
        maps = activations[layer] if len(rows) == len(goals) else activations[layer][rows]
        weights = torch.stack([goals[row].objective.weights for row in rows]).to(maps)  # type: ignore[attr-defined]
        values.update(zip(rows, read(maps, weights, cell), strict=True))
    return torch.stack([values[row] for row in range(len(goals))])


def likeness(maps: Tensor) -> Tensor:
    """How alike each of B pictures is to the others, `(B,)`, as the mean cosine of the Gram matrices of maps
    `(B, C, h, w)`: its negative is the diversity of Olah et al., Feature Visualization, Distill 2017."""
    vectors = maps.flatten(2)
    grams = F.normalize((vectors @ vectors.transpose(1, 2)).flatten(1), dim=1)
    cosines = grams @ grams.T
    return (cosines.sum(1) - cosines.diagonal()) / max(1, len(maps) - 1)


_SHAPES: weakref.WeakKeyDictionary[nn.Module, dict[tuple[str, int], Shape]] = weakref.WeakKeyDictionary()
_SHAPES_LOCK = threading.Lock()


def layer_shape(model: Model, layer: str, size: int) -> Shape:
    """Channels and grid `(C, h, w)` of a layer for pictures of `size` px; `output` is the logits.

    Raises `ExplanationError` for a layer that is not there, not used or no feature map, and for a size too small.
    """
    with _SHAPES_LOCK:
        known = _SHAPES.setdefault(model.network, {})
    if (layer, size) not in known:
        known[layer, size] = _measure(model, layer, size)
    return known[layer, size]


@torch.no_grad()
def _measure(model: Model, layer: str, size: int) -> Shape:
    try:
        with model.lock, frozen(model.network):
            network = PrivateNetwork(model, [layer])
        maps = network.run(torch.full((1, 3, size, size), 0.5, device=model.device))[layer]
    except TapError as error:
        raise ExplanationError(
            f"{error} in {model.name}; allowed are its modules, such as {', '.join(model.stages)}."
        ) from error
    except (RuntimeError, ValueError) as error:
        if isinstance(error, ExplanationError):
            raise
        raise ExplanationError(f"{model.name} can't take a picture of {size} x {size} px.") from error
    return maps.shape[1], maps.shape[2], maps.shape[3]


Parser = Callable[[Model, str, int, Tensor | None], Goal]
OBJECTIVES: dict[str, Parser] = {}
"""Parsers of what follows `NAME:`, by name."""


def register(name: str) -> Callable[[Parser], Parser]:
    """Decorator that adds a text form; raises `ValueError` when the name is taken."""
    if name in OBJECTIVES:
        raise ValueError(f"the objective {name!r} is registered twice.")

    def add(parse: Parser) -> Parser:
        OBJECTIVES[name] = parse
        return parse

    return add


def parse_objective(text: str, model: Model, *, size: int | None = None, image: Tensor | None = None) -> Goal:
    """The goal that a text names, for pictures of `size` px (the network's own input size unless given).

    - `channel:LAYER:K`: mean of channel K over the layer's grid
    - `unit:LAYER:K` or `unit:LAYER:K:ROW,COL`: one cell of it, by default the central one
    - `class:NAME` or `class:INDEX`: a logit, before the softmax
    - `mix:LAYER:K*WEIGHT+K2*WEIGHT2`: a weighted sum of channels, weight 1 where none is given
    - `direction:LAYER:W,W,...`: the same for a whole direction, one number per channel, scaled to length 1
    - `caricature:LAYER` or `caricature:LAYER:POWER`: what `image` `(1, 3, H, W)` in [0, 1] excites there, more so

    A layer's second call is `LAYER#2`. Texts that say the same give goals of one text, which says it in one way:
    numbers as short as they can be, to the last bit of single precision. Raises `ExplanationError` with one
    sentence for what can't be read.
    """
    kind, colon, rest = text.partition(":")
    if kind not in OBJECTIVES or not colon:
        allowed = ", ".join(f"{name}:" for name in OBJECTIVES)
        raise ExplanationError(f"the objective is {text!r}; it must begin with one of {allowed}")
    return OBJECTIVES[kind](model, rest, size or model.input_size, image)


def channel(model: Model, layer: str, index: int, size: int) -> Goal:
    """The mean of one channel over the grid of `layer`."""
    layer = call_name(layer)
    weights = _one_hot(model, layer, index, size)
    return Goal(f"channel:{layer}:{index}", (layer,), Readout(layer, weights))


@register("channel")
def _channel(model: Model, rest: str, size: int, _image: Tensor | None) -> Goal:
    layer, index = _parts("channel:LAYER:K", rest, 2)
    return channel(model, layer, _whole(index), size)


@register("unit")
def _unit(model: Model, rest: str, size: int, _image: Tensor | None) -> Goal:
    parts = rest.split(":")
    layer, index, *place = _parts("unit:LAYER:K or unit:LAYER:K:ROW,COL", rest, 3 if len(parts) == 3 else 2)
    _, height, width = layer_shape(model, layer, size)
    row, column = _cell(place[0]) if place else (height // 2, width // 2)
    if not (0 <= row < height and 0 <= column < width):
        raise ExplanationError(
            f"the cell is {row},{column}; {layer} has a grid of {height} x {width}, so rows go from 0 to "
            f"{height - 1} and columns from 0 to {width - 1}."
        )
    layer, number = call_name(layer), _whole(index)
    weights = _one_hot(model, layer, number, size)
    return Goal(f"unit:{layer}:{number}:{row},{column}", (layer,), Readout(layer, weights, (row, column)))


@register("class")
def _class(model: Model, rest: str, size: int, _image: Tensor | None) -> Goal:
    if rest in model.classes:
        index = model.classes.index(rest)
    elif is_whole(rest) and int(rest) < len(model.classes):
        index = int(rest)
    else:
        named = ", ".join(model.classes[:12]) + (", ..." if len(model.classes) > 12 else "")
        raise ExplanationError(f"the class is {rest!r}; {model.name} knows {named}.")
    weights = _one_hot(model, OUTPUT, index, size)
    return Goal(f"class:{model.classes[index]}", (OUTPUT,), Readout(OUTPUT, weights))


@register("mix")
def _mix(model: Model, rest: str, size: int, _image: Tensor | None) -> Goal:
    layer, sum_ = _parts("mix:LAYER:K*WEIGHT+K2*WEIGHT2", rest, 2)
    weights = torch.zeros(layer_shape(model, layer, size)[0])
    for term in sum_.split("+"):
        index, _, weight = term.partition("*")
        weights += _number(weight or "1") * _one_hot(model, layer, _whole(index), size)
    _check_numbers(weights, f"the mix of channels of {layer}")
    layer = call_name(layer)
    terms = [(index, weights[index]) for index in weights.nonzero().flatten().tolist()]
    text = "+".join(f"{index}" if weight == 1 else f"{index}*{_written(weight)}" for index, weight in terms)
    return Goal(f"mix:{layer}:{text}", (layer,), Readout(layer, weights))


@register("direction")
def _direction(model: Model, rest: str, size: int, _image: Tensor | None) -> Goal:
    layer, numbers = _parts("direction:LAYER:W,W,...", rest, 2)
    return direction(model, layer, torch.tensor([_number(number) for number in numbers.split(",")]), size)


def direction(model: Model, layer: str, vector: Tensor, size: int) -> Goal:
    """The mean over the grid of a layer's product with `vector` `(C,)` over its length; `ExplanationError` if zero.

    The vector is taken, and written into the goal's text, in single precision.
    """
    layer, vector = call_name(layer), vector.detach().cpu().float() + 0.0  # -0 is 0
    channels = layer_shape(model, layer, size)[0]
    if vector.shape != (channels,):
        raise ExplanationError(
            f"the direction has {vector.numel()} numbers; {layer} has {channels} channels."
        )
    _check_numbers(vector, f"the direction in {layer}")
    text = f"direction:{layer}:" + ",".join(map(_written, vector))
    near = vector / vector.abs().max()  # squares of large and of small numbers are beyond single precision
    return Goal(text, (layer,), Readout(layer, near / near.norm()))


def _check_numbers(weights: Tensor, what: str) -> None:
    if not bool(weights.isfinite().all()):
        raise ExplanationError(f"{what} has numbers beyond single precision; allowed are finite ones.")
    if not bool(weights.any()):
        raise ExplanationError(f"{what} is zero in every channel; at least one must not be.")


def _written(number: Tensor | float) -> str:
    """The shortest decimal number that is read as the same: `0.1`, `-2`, `1e20` (a plus would begin another term)."""
    text = str(number.numpy()[()]) if isinstance(number, Tensor) else repr(number)
    return text.removesuffix(".0").replace("e+", "e")


@register("caricature")
def _caricature(model: Model, rest: str, size: int, image: Tensor | None) -> Goal:
    parts = rest.split(":")
    layer, *power = _parts("caricature:LAYER or caricature:LAYER:POWER", rest, 2 if len(parts) == 2 else 1)
    if image is None:
        raise ExplanationError(f"the objective caricature:{layer} needs an image.")
    return caricature(model, layer, image, _number(power[0]) if power else 2.0)


@torch.no_grad()
def caricature(model: Model, layer: str, image: Tensor, power: float = 2.0) -> Goal:
    """Reproduce and amplify an image's own activations at `layer`: product of the activations x their cosine^power.

    `image` is `(1, 3, S, S)` in [0, 1], of the size of the picture to be made. The cosine is kept at 0.1 at least, as
    in Lucid (`dot_compare`); the value is over the squared length of the image's own activations, so 1 is as excited
    as the image itself.
    """
    layer = call_name(layer)
    own = PrivateNetwork(model, [layer]).run(image.to(model.device))[layer]
    squared = own.square().sum()
    if not (torch.isfinite(squared) and squared > 0):
        raise ExplanationError(
            f"the image does not excite {layer} of {model.name}, so there is nothing to amplify."
        )

    def objective(activations: Mapping[str, Tensor], _images: Tensor) -> Tensor:
        maps = activations[layer]
        product = (maps * own).flatten(1).sum(1)
        cosine = product / (squared.sqrt() * maps.flatten(1).norm(dim=1)).clamp_min(1e-6)
        return product / squared * cosine.clamp_min(LEAST_COSINE) ** power

    digest = hashlib.sha256(image.detach().cpu().contiguous().numpy().tobytes()).hexdigest()[:12]
    return Goal(f"caricature:{layer}:{_written(float(power))}@{digest}", (layer,), objective)


def _parts(form: str, rest: str, count: int) -> list[str]:
    parts = rest.split(":")
    if len(parts) != count or not all(parts):
        raise ExplanationError(f"the objective ends in {rest!r}; its form is {form}.")
    return parts


def _whole(text: str) -> int:
    if not is_whole(text.strip()):
        raise ExplanationError(f"the channel is {text[:40]!r}; it must be a whole number from 0.")
    return int(text)


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ExplanationError(f"{text[:40]!r} is no finite number.")
    return number


def _cell(text: str) -> tuple[int, int]:
    parts = text.split(",")
    if len(parts) != 2 or not all(is_whole(part.strip()) for part in parts):
        raise ExplanationError(f"the cell is {text[:40]!r}; its form is ROW,COL in whole numbers from 0.")
    return int(parts[0]), int(parts[1])


def _one_hot(model: Model, layer: str, index: int, size: int) -> Tensor:
    channels = layer_shape(model, layer, size)[0]
    if index >= channels:
        raise ExplanationError(
            f"the channel is {index}; {layer} of {model.name} has the channels 0 to {channels - 1}."
        )
    weights = torch.zeros(channels)
    weights[index] = 1
    return weights
