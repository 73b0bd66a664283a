"""The grids and channels of a network's stages, from its card alone: nothing is computed or loaded."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor

from models import registry, zoo
from models.cards import Card
from models.layers import evaluation_mode
from xai import hooks


@dataclass(frozen=True)
class Stage:
    """A feature map `(channels, height, width)` on the way through a network; `tapped` for the default of heatmaps."""

    name: str
    channels: int
    height: int
    width: int
    tapped: bool = False

    @property
    def words(self) -> str:
        """Grid and channels, as `16 × 16 × 256`."""
        return f"{self.height} × {self.width} × {self.channels}"


def stages(card: Card) -> tuple[Stage, ...]:
    """The input and the registered stages of the card's network at its own input size, shallow to deep.

    Raises `ValueError` with one sentence when such a network can't be built or its stages have no grid.
    """
    key = json.dumps([card.architecture, len(card.classes), card.input_size, card.options], sort_keys=True)
    if key not in _KNOWN:
        _KNOWN[key] = _stages(card)
        while len(_KNOWN) > MOST_KNOWN:
            _KNOWN.popitem(last=False)
    return _KNOWN[key]


MOST_KNOWN = 256
_KNOWN: OrderedDict[str, tuple[Stage, ...]] = OrderedDict()


def _grid(output: Tensor) -> tuple[int, int, int]:
    _count, channels, height, width = output.shape
    return channels, height, width


def _stages(card: Card) -> tuple[Stage, ...]:
    network, names = zoo.sketch(card), registry.architecture(card.architecture).stages
    size = card.input_size
    try:
        tapped = registry.default_layer(network, names, size)
        with evaluation_mode(network), torch.inference_mode(), hooks.recorded(network, names) as outputs:
            network(torch.zeros(1, 3, size, size, device="meta"))
        shapes = {name: _grid(outputs[name]) for name in names}
    except (RuntimeError, KeyError, ValueError) as error:
        raise ValueError(f"the stages of {card.name} can't be drawn: they have no grid.") from error
    found = [Stage(name, c, h, w, tapped=name == tapped) for name, (c, h, w) in shapes.items()]
    return (Stage("input", 3, size, size), *found)
