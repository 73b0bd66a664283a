"""Which layer of one network to set beside a layer of another: by grid, or by relative depth."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from models.registry import Model
from xai.feature_layers import LayerInfo, not_called, shown_layers, unknown_layer
from xai.layer_calls import call_name, split_call


def matching_layer(a: Model, layer: str, b: Model) -> str:
    """The layer of `b` to set beside `layer` of `a`: that of the same name and call if it has the same grid, as in
    networks of one architecture, else a stage with the same grid, else with the nearest one.

    Nearest in the ratio of their areas; of several such stages the one at most nearly the same relative depth, the
    deeper of two. Each network is taken at its own input size. Raises `ExplanationError` for a
    layer or call that `a` does not have.
    """
    name, call = split_call(layer)
    own, depth = _placed(a, layer)
    grid = own.at(call).grid
    rows = shown_layers(b, b.input_size)
    if any(info.name == name and info.calls >= call and info.at(call).grid == grid for info in rows):
        return call_name(layer)
    area = max(1, math.prod(grid))  # a call that gives no maps has none, which is said when it is recorded
    distances = {info.name: abs(math.log(math.prod(info.grid) / area)) for info, _depth in _stages(b)}
    nearest = min(distances.values())
    return _at_depth(depth, [(info, deep) for info, deep in _stages(b) if distances[info.name] == nearest])


def layer_at_depth(a: Model, layer: str, b: Model) -> str:
    """The stage of `b` at most nearly the same relative depth as `layer` of `a`, the deeper of two; the layer of the
    same name in networks of the same layers. Raises `ExplanationError` for a layer that `a` does not have."""
    names = [[info.name for info in shown_layers(model, model.input_size)] for model in (a, b)]
    return call_name(layer) if names[0] == names[1] else _at_depth(_placed(a, layer)[1], _stages(b))


def _at_depth(depth: float, stages: Sequence[tuple[LayerInfo, float]]) -> str:
    return min(reversed(stages), key=lambda stage: round(abs(stage[1] - depth), 9))[0].name


def _placed(model: Model, layer: str) -> tuple[LayerInfo, float]:
    """A layer, and its place among those that can be shown as a share in [0, 1]."""
    (name, call), rows = split_call(layer), shown_layers(model, model.input_size)
    for place, info in enumerate(rows):
        if info.name == name and call > info.calls:
            raise not_called(model, name, call, info.calls)
        if info.name == name:
            return info, place / max(1, len(rows) - 1)
    raise unknown_layer(model, torch.empty(1, 3, model.input_size, model.input_size), [name])


def _stages(model: Model) -> list[tuple[LayerInfo, float]]:
    """The stages of a network with their relative depth, shallow to deep; all layers of one without stages."""
    rows = shown_layers(model, model.input_size)
    placed = [(info, place / max(1, len(rows) - 1)) for place, info in enumerate(rows)]
    return [each for each in placed if each[0].name in model.stages] or placed
