"""What a layer of one or two networks shows for a picture, clean and degraded, channel by channel.

`examine` is the only entry of the Features page, its figure and its manifest: a pure function of a `FeatureRequest`,
a picture and the loaded models, which goes through a memo as `xai.comparison.compare` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from models.registry import Model
from xai.attribution_types import ExplanationError
from xai.comparison import (
    CONDITIONS,
    Answered,
    Cell,
    Picture,
    Request,
    View,
    answered,
    is_degraded,
    make_cell,
    make_views,
)
from xai.feature_layers import (
    Feature,
    LayerInfo,
    distinct_layers,
    gradient,
    layer_table,
    record,
    shown_layers,
)
from xai.feature_orders import ORDERS, ChannelMaps, ranked
from xai.layer_matching import layer_at_depth, matching_layer
from xai.memo import Memo, no_memo
from xai.tables import Row

__all__ = [
    "ORDERS",
    "Feature",
    "FeatureComparison",
    "FeatureRequest",
    "LayerInfo",
    "LayerResult",
    "distinct_layers",
    "examine",
    "layer_at_depth",
    "layer_table",
    "matching_layer",
    "record",
    "score_rows",
    "shown_layers",
]

MOST_SHOWN = 64
"""Channels on one figure."""


@dataclass(frozen=True)
class FeatureRequest:
    """Everything a user chooses that changes numbers or which channels are shown. Every field is JSON-able.

    `layers` maps a model's name to its layer (default: the model's own tapped layer, and for the second network the
    one that fits the first's). `target` as in `xai.comparison.Request`, for gradient x activation. `count` channels
    from place `start` of the `order` are shown.
    """

    models: tuple[str, ...]
    layers: dict[str, str] = field(default_factory=dict)
    target: str = "predicted"
    order: str = "index"
    degradation: str = "none"
    severity: float = 0.0
    scale: str = ""
    resize: str = "crop"
    seed: int = 0
    count: int = 16
    start: int = 0

    def __post_init__(self) -> None:
        _ = self.base  # raises for what no request allows
        if not set(self.layers) <= set(self.models):
            raise ExplanationError(
                f"Layers were named of {', '.join(self.layers)}; allowed are those of {', '.join(self.models)}."
            )
        if self.order not in ORDERS:
            raise ExplanationError(f"There is no order {self.order!r}; allowed are {', '.join(ORDERS)}.")
        if ORDERS[self.order].compares and not self.degraded:
            raise ExplanationError(f"The order {self.order!r} needs a degradation with a severity above 0.")
        if not isinstance(self.count, int) or not 1 <= self.count <= MOST_SHOWN:
            raise ExplanationError(f"{self.count!r} channels were asked for; allowed are 1 to {MOST_SHOWN}.")
        if not isinstance(self.start, int) or self.start < 0:
            raise ExplanationError(f"The first place is {self.start!r}; allowed are whole numbers from 0.")

    @property
    def base(self) -> Request:
        """What this has in common with a request for heatmaps."""
        layers: dict[str, tuple[str, ...]] = {name: (layer,) for name, layer in self.layers.items()}
        conditions: dict[str, Any] = {"degradation": self.degradation, "severity": self.severity}
        conditions |= {"scale": self.scale, "resize": self.resize, "seed": self.seed}
        return Request(self.models, (), self.target, layers, **conditions)

    @property
    def degraded(self) -> bool:
        """Whether a degradation of more than nothing was asked for."""
        return is_degraded(self.base)


@dataclass(frozen=True)
class LayerMaps:
    """A layer's maps `(C, h, w)` of one image, what was recorded in words, and what has to be known of them."""

    values: Tensor
    position: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class LayerResult(Answered):
    """One layer of one network: maps of all channels, their scores `(C,)` by order, and which channels are shown.

    `clean` and `degraded` are `(C, h, w)` float32, the same tensor where nothing is degraded; `dead` is bool `(C,)`.
    `order` holds all channels, `shown` those on the figure; `rank` is the place of the first of them.
    """

    layer: str
    position: str
    clean: Tensor
    degraded: Tensor
    scores: dict[str, Tensor]
    dead: Tensor
    order: tuple[int, ...]
    shown: tuple[int, ...]
    notes: tuple[str, ...]

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of a map, in cells."""
        return self.clean.shape[1], self.clean.shape[2]

    @property
    def channels(self) -> int:
        """How many channels the layer has."""
        return len(self.clean)

    def maps(self, condition: str) -> Tensor:
        """The maps `(C, h, w)` of `clean` or `degraded`."""
        return self.clean if condition == "clean" else self.degraded

    @property
    def scale(self) -> tuple[float, float]:
        """The common scale of the maps shown, clean and degraded, finite values only: from the least to the largest,
        and around zero where some are below it (`signed`)."""
        both = torch.stack([self.clean[list(self.shown)], self.degraded[list(self.shown)]])
        finite = both[both.isfinite()]
        low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
        return (low, high) if low >= 0 else (-max(-low, high), max(-low, high))

    @property
    def signed(self) -> bool:
        """Whether maps that are shown have values below zero, as they have before a ReLU."""
        return self.scale[0] < 0

    @property
    def difference(self) -> Tensor:
        """Clean - degraded, signed, `(C, h, w)`."""
        return self.clean - self.degraded

    @property
    def difference_peak(self) -> float:
        """The scale of the differences shown: the largest absolute value."""
        shown = self.difference[list(self.shown)]
        finite = shown[shown.isfinite()]
        return float(finite.abs().max()) if len(finite) else 0.0


@dataclass(frozen=True)
class FeatureComparison:
    """All that was computed for one picture."""

    request: FeatureRequest
    picture: Picture
    views: dict[int, View]
    results: tuple[LayerResult, ...]

    def view(self, result: LayerResult) -> View:
        """The picture as that network saw it."""
        return self.views[result.size]

    @property
    def degraded(self) -> bool:
        """Whether a degradation of more than nothing was asked for."""
        return self.request.degraded

    @property
    def conditions(self) -> tuple[str, ...]:
        """`clean`, and `degraded` where something is."""
        return CONDITIONS if self.degraded else CONDITIONS[:1]


def chosen_layers(request: FeatureRequest, models: Sequence[Model]) -> dict[str, str]:
    """The layer of each model: the one asked for, else one that fits the other's, else the model's default."""
    found = {model.name: request.layers[model.name] for model in models if model.name in request.layers}
    if not found:
        found[models[0].name] = models[0].default_layer
    for model in models:
        if model.name not in found:
            other = next(known for known in models if known.name in found)
            found[model.name] = matching_layer(other, found[other.name], model)
    return {model.name: found[model.name] for model in models}


def examine(
    request: FeatureRequest, picture: Picture, models: Sequence[Model], memo: Memo = no_memo
) -> FeatureComparison:
    """The channels of one layer of one or two networks for a picture, clean and degraded.

    Raises `ExplanationError` or `ValueError` with one sentence when something asked for does not exist or cannot
    serve this picture.
    """
    if not 1 <= len(models) <= 2:
        raise ExplanationError(f"{len(models)} models were given; one or two are allowed.")
    views = make_views(request.base, picture, models, memo)
    layers = chosen_layers(request, models)
    results = []
    for model in models:
        cell = make_cell(model, picture, views[model.input_size], request.base, memo)
        results.append(_examine_model(cell, picture, request, layers[model.name]))
    return FeatureComparison(request, picture, views, tuple(results))


def _examine_model(cell: Cell, picture: Picture, request: FeatureRequest, layer: str) -> LayerResult:
    model, answer = cell.model, answered(cell, picture, request.base)
    maps = cell.both(("feature maps", layer), lambda image: _layer_maps(model, image, layer))
    slopes = cell.memo(
        ("feature gradient", layer, answer.target, *cell.keys),
        lambda: gradient(model, cell.view.clean, layer, answer.target)[0],
    )
    both = ChannelMaps(maps["clean"].values, maps["degraded"].values, slopes)
    scores = {
        name: order.score(both) for name, order in ORDERS.items() if request.degraded or not order.compares
    }
    order = ranked(request.order, scores[request.order], both.dead)
    return LayerResult(
        **vars(answer),
        layer=layer,
        position=maps["clean"].position,
        clean=both.clean,
        degraded=both.degraded,
        scores=scores,
        dead=both.dead,
        order=order,
        shown=_shown(request, model, layer, order),
        notes=_notes(layer, maps, both, request),
    )


def _layer_maps(model: Model, image: Tensor, layer: str) -> LayerMaps:
    feature = record(model, image, [layer])[layer]
    return LayerMaps(feature.values[0].contiguous(), feature.position, feature.notes)


def _shown(request: FeatureRequest, model: Model, layer: str, order: Sequence[int]) -> tuple[int, ...]:
    """The channels on the page: the last ones where the page lies behind them, if another network has more."""
    if len(request.models) == 1 and request.start >= len(order):
        raise ExplanationError(
            f"{layer} of {model.name} has {len(order):,} channels; the first place is {request.start}, allowed are 0 "
            f"to {len(order) - 1}."
        )
    start = min(request.start, max(0, len(order) - request.count))
    return tuple(order[start : start + request.count])


def _notes(
    layer: str, maps: dict[str, LayerMaps], both: ChannelMaps, request: FeatureRequest
) -> tuple[str, ...]:
    words = list(dict.fromkeys(maps["clean"].notes))
    words += [
        f"Degraded: {note}" for note in maps["degraded"].notes if note not in words and request.degraded
    ]
    where = "on this picture, clean and degraded" if request.degraded else "on this picture"
    if dead := int(both.dead.sum()):
        verb = "is" if dead == 1 else "are"
        words.append(
            f"{dead:,} of {len(both.dead):,} channels of {layer} {verb} dead {where}: zero in every cell."
        )
    if wakes := int(((both.clean == 0).flatten(1).all(dim=1) & ~both.dead).sum()):
        verb = (
            "is dead on the clean picture and wakes"
            if wakes == 1
            else "are dead on the clean picture and wake"
        )
        words.append(f"{wakes:,} of {len(both.dead):,} {verb} under the degradation.")
    return tuple(words)


def score_rows(result: LayerResult) -> list[Row]:
    """A row per channel in the order chosen, with its place from 1, all scores (None where not defined), whether it is
    dead and whether the figure shows it."""
    shown, columns = set(result.shown), {name: column.tolist() for name, column in result.scores.items()}
    rows: list[Row] = []
    for place, channel in enumerate(result.order, start=1):
        row: Row = {"network": result.model, "layer": result.layer}
        row |= {"place": place, "channel": channel}
        values = {name: column[channel] for name, column in columns.items() if name != "index"}
        row |= {name: value if value == value else None for name, value in values.items()}
        rows.append(row | {"dead": int(result.dead[channel]), "shown": int(channel in shown)})
    return rows
