"""In which order a layer's channels are shown: a registry of scores, one number per channel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ChannelMaps:
    """What a layer gives for one picture, each `(C, h, w)` float32: clean and degraded maps (the same where nothing is
    degraded), and the gradient of the chosen class's logit with respect to the clean ones."""

    clean: Tensor
    degraded: Tensor
    gradient: Tensor

    @property
    def dead(self) -> Tensor:
        """Bool `(C,)`: channels that are zero in every cell, clean and degraded."""
        return ~((self.clean != 0) | (self.degraded != 0)).flatten(1).any(dim=1)


@dataclass(frozen=True)
class Order:
    """One entry of the registry: `score(maps)` gives `(C,)` float32, NaN where it is not defined.

    The largest score comes first, but for the channels' own order, where the smallest does. `compares`: it says
    something of a degradation. `unit` is what the number is, in the few words that stand before it on a card.
    """

    name: str
    title: str
    description: str
    score: Callable[[ChannelMaps], Tensor]
    compares: bool = False
    unit: str = ""

    @property
    def words(self) -> str:
        """What stands before a score."""
        return self.unit or self.title


ORDERS: dict[str, Order] = {}


def register(
    name: str, title: str, description: str, *, compares: bool = False, unit: str = ""
) -> Callable[[Callable[[ChannelMaps], Tensor]], Callable[[ChannelMaps], Tensor]]:
    """Decorator that adds an order; raises `ValueError` when its name is taken."""
    if name in ORDERS:
        raise ValueError(f"the order {name!r} is registered twice.")

    def add(score: Callable[[ChannelMaps], Tensor]) -> Callable[[ChannelMaps], Tensor]:
        ORDERS[name] = Order(name, title, description, score, compares, unit)
        return score

    return add


def ranked(name: str, scores: Tensor, dead: Tensor) -> tuple[int, ...]:
    """All channels, the largest of `scores` `(C,)` first; those without a score after them, dead ones last.

    Equal ones stay in their own order, and in the order `index` all do.
    """
    if name == "index":
        return tuple(range(len(scores)))
    value, missing, out = scores.tolist(), scores.isnan().tolist(), dead.tolist()
    keys = [(out[k], missing[k], 0.0 if missing[k] else -value[k]) for k in range(len(value))]
    return tuple(sorted(range(len(value)), key=keys.__getitem__))


def _cells(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Cells `(C, h * w)`, and which of them are finite; only those count."""
    cells = maps.flatten(1)
    return cells, cells.isfinite()


@register("index", "channel number", "The network's own order.")
def _index(maps: ChannelMaps) -> Tensor:
    return torch.arange(len(maps.clean), dtype=torch.float32)


@register("mean", "mean", "Mean activation over the cells of the clean picture.")
def _mean(maps: ChannelMaps) -> Tensor:
    cells, finite = _cells(maps.clean)
    return cells.where(finite, 0).sum(dim=1) / finite.sum(dim=1)


@register("maximum", "maximum", "Largest activation in any cell of the clean picture.")
def _maximum(maps: ChannelMaps) -> Tensor:
    cells, finite = _cells(maps.clean)
    largest = cells.where(finite, -torch.inf).amax(dim=1)
    return largest.where(finite.any(dim=1), torch.nan)


@register("sparsity", "sparsity", "Share of the cells of the clean picture that are zero or below.")
def _sparsity(maps: ChannelMaps) -> Tensor:
    cells, finite = _cells(maps.clean)
    return ((cells <= 0) & finite).sum(dim=1) / finite.sum(dim=1)


@register(
    "gradient_x_activation",
    "gradient × activation",
    "Gradient of the chosen class's logit times activation, summed over the cells of the clean picture: how much of "
    "the logit the channel accounts for, to first order. Negative where it speaks against the class.",
)
def _gradient_x_activation(maps: ChannelMaps) -> Tensor:
    cells, finite = _cells(maps.clean * maps.gradient)
    return cells.where(finite, 0).sum(dim=1).where(finite.any(dim=1), torch.nan)


@register(
    "change",
    "change under the degradation",
    "Length of clean − degraded as a share of the length of clean (relative L2), over the channel's cells. Of a "
    "channel that hardly answers to the clean picture, as a share of the median length of the layer's channels that "
    "answer at all: next to nothing, any change is large.",
    compares=True,
    unit="relative L2",
)
def _change(maps: ChannelMaps) -> Tensor:
    """|clean - degraded| / max(|clean|, m), m the median of |clean| over the channels where it is above 0."""
    clean, degraded = maps.clean.flatten(1), maps.degraded.flatten(1)
    lengths = clean.norm(dim=1)
    answering = lengths[lengths.isfinite() & (lengths > 0)]
    floor = float(answering.median()) if len(answering) else 0.0
    return relative_l2(clean, degraded, floor)


def relative_l2(clean: Tensor, degraded: Tensor, floor: float = 0.0) -> Tensor:
    """|clean - degraded| / |clean| of rows `(..., K)` -> `(...)`: 0 for equal rows, NaN where only clean is 0.

    Lengths of clean below `floor` count as `floor`.
    """
    difference = (clean - degraded).norm(dim=-1)
    share = difference / clean.norm(dim=-1).clamp_min(floor)  # 0 / 0 is NaN, x / 0 infinite
    share = share.where(share.isfinite(), torch.nan)
    return share.where((clean != degraded).any(dim=-1), 0.0)
