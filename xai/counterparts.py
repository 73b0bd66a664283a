"""Which channel of one network answers like which of another: correlations over images, matching, and chance.

A channel's response to an image is one number, such as the mean or the maximum of its map (`xai.responses`). Two
channels are counterparts as far as their responses to the same images rise and fall together.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

LEAST_IMAGES = 4
ROWS = 512
"""Channels of A at a time, so that what is held in double precision stays small beside the answer."""
_ROUNDING = 8 * torch.finfo(torch.float32).eps
"""A channel that varies by less than this share of its size varies by rounding alone."""
RESAMPLES = 1_000
SHUFFLES = 20
CHANCE_CHANNELS = 256


@dataclass(frozen=True)
class Correlations:
    """Pearson correlations of the channels of A with those of B.

    `values` is float32 `(Ca, Cb)` in [-1, 1], NaN in the rows and columns of channels without a correlation: those
    that answer the same to every image (`dead_a` bool `(Ca,)`, `dead_b` bool `(Cb,)`) and those that answer what is
    no number (`broken_a`, `broken_b`). `a` and `b` are the responses themselves.
    """

    values: Tensor
    a: Tensor
    b: Tensor
    dead_a: Tensor
    dead_b: Tensor
    broken_a: Tensor
    broken_b: Tensor

    @property
    def images(self) -> int:
        """How many images the correlations are over."""
        return len(self.a)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about the channels that have no correlation."""
        kinds = (
            ("A", self.dead_a, "answer the same to every image"),
            ("B", self.dead_b, "answer the same to every image"),
            ("A", self.broken_a, "answer with NaN or infinity"),
            ("B", self.broken_b, "answer with NaN or infinity"),
        )
        return tuple(
            f"{int(which.sum()):,} of {len(which):,} channels of {name} {words} and have no correlation."
            for name, which, words in kinds
            if which.any()
        )


@dataclass(frozen=True)
class Pair:
    """A channel of A, one of B, and the correlation of their responses."""

    a: int
    b: int
    r: float


@dataclass(frozen=True)
class Neighbour:
    """A channel of B with its correlation `r` to one of A, and the 95 % interval of it.

    The interval speaks of this pair on other images of the kind. It does not know that the pair was picked as the
    best of many: for that, compare with `chance`.
    """

    b: int
    r: float
    low: float
    high: float


@dataclass(frozen=True)
class Chance:
    """The best correlations that there are when nothing pairs the images of A with those of B.

    `best` is float32 `(shuffles, len(channels))`: for each shuffling and each of the `channels` of A (those asked
    for, or a seeded choice of them; those without a correlation are left out), its best correlation with any
    channel of B.
    """

    best: Tensor
    channels: tuple[int, ...]

    @property
    def level(self) -> float:
        """The best correlation that 95 % of the shuffled channels stay below; NaN when there are none."""
        return float(self.best.double().quantile(0.95)) if self.best.numel() else float("nan")


def correlations(a: Tensor, b: Tensor) -> Correlations:
    """Pearson correlations of the responses `(N, Ca)` and `(N, Cb)` of two layers to the same N images.

    Sums are in double precision; memory is that of the answer `(Ca, Cb)` and a few copies of the responses. Raises
    `ValueError` unless both have two dimensions and the same N >= 4.
    """
    _check(a, b)
    (x, dead_a, broken_a), (y, dead_b, broken_b) = _standardised(a), _standardised(b)
    values = torch.empty(a.shape[1], b.shape[1])
    for start in range(0, a.shape[1], ROWS):
        values[start : start + ROWS] = x[:, start : start + ROWS].T @ y
    values.clamp_(-1, 1)  # rounding; NaN stays
    return Correlations(values, a, b, dead_a, dead_b, broken_a, broken_b)


def _check(a: Tensor, b: Tensor) -> None:
    if a.ndim != 2 or b.ndim != 2 or len(a) != len(b) or len(a) < LEAST_IMAGES:
        raise ValueError(
            f"responses have the shapes {tuple(a.shape)} and {tuple(b.shape)}; allowed are (N, Ca) and (N, Cb) of "
            f"the same N images, at least {LEAST_IMAGES}."
        )


def _standardised(responses: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Columns of mean 0 and length 1 in double precision, NaN where there are none; which are dead, which broken."""
    values = responses.cpu().double()
    broken = ~values.isfinite().all(dim=0)
    values -= values.mean(dim=0)
    dead = (values.abs().amax(dim=0) <= _ROUNDING * responses.cpu().abs().amax(dim=0).double()) & ~broken
    values /= values.norm(dim=0)
    values[:, dead | broken] = torch.nan
    return values, dead, broken


def match(found: Correlations) -> tuple[Pair, ...]:
    """Pair channels one to one so that the sum of their correlations is the largest there is (Hungarian method).

    Channels without a correlation stay alone, as do those of the wider layer that are left over; the pairs come in
    the order of A's channels. Of a pair forced on what remains, `r` may be low or below 0. 4,096 to 4,096 channels
    take seconds (scipy.optimize.linear_sum_assignment).
    """
    from scipy.optimize import linear_sum_assignment

    usable = ~found.values.isnan()
    rows, columns = (usable.any(dim=side).nonzero().flatten() for side in (1, 0))
    part = found.values[rows][:, columns]
    first, second = map(torch.from_numpy, linear_sum_assignment(part.numpy(), maximize=True))
    strength = part[first, second].tolist()
    return tuple(map(Pair, rows[first].tolist(), columns[second].tolist(), strength))


def nearest(found: Correlations, channel: int, count: int = 5, *, seed: int = 0) -> tuple[Neighbour, ...]:
    """The `count` channels of B that answer most like `channel` of A, best first, with bootstrapped intervals.

    Empty when the channel has no correlation. The intervals are percentiles of `RESAMPLES` resamples of the images,
    which holds for the skewed responses behind a ReLU as Fisher's formula does not. Raises `ValueError` for a
    channel that A does not have.
    """
    if not 0 <= channel < len(found.values):
        raise ValueError(f"there is no channel {channel} in A; allowed are 0 to {len(found.values) - 1}.")
    row = found.values[channel]
    order = row.nan_to_num(-2).argsort(descending=True, stable=True)[:count]
    best = [other for other in order.tolist() if not row[other].isnan()]
    if not best:
        return ()
    low, high = _intervals(found.a[:, channel], found.b[:, best], seed)
    return tuple(map(Neighbour, best, row[best].tolist(), low.tolist(), high.tolist()))


def _intervals(x: Tensor, y: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Percentile intervals of the correlation of `x` `(N,)` with each column of `y` `(N, K)`."""
    drawn = torch.randint(len(x), (RESAMPLES, len(x)), generator=torch.Generator().manual_seed(seed))
    weights = torch.zeros(RESAMPLES, len(x), dtype=torch.float64)
    weights.scatter_add_(1, drawn, torch.ones(1, dtype=torch.float64).expand_as(drawn))
    weights /= len(x)
    x, y = (values.cpu().double() - values.cpu().double().mean(dim=0) for values in (x[:, None], y))
    mean_x, mean_y = weights @ x, weights @ y
    together = weights @ (x * y) - mean_x * mean_y
    spread = (weights @ x.square() - mean_x.square()) * (weights @ y.square() - mean_y.square())
    drawn_r = (together / spread.sqrt()).clamp(-1, 1)
    return drawn_r.nanquantile(0.025, dim=0), drawn_r.nanquantile(0.975, dim=0)


def chance(
    found: Correlations,
    channels: tuple[int, ...] | None = None,
    *,
    shuffles: int = SHUFFLES,
    seed: int = 0,
    labels: Tensor | None = None,
) -> Chance:
    """What the best correlation is when the images of B are shuffled, so that no channel has a counterpart.

    `channels` of A, or at most `CHANCE_CHANNELS` of them drawn by the seed. With `labels`, the classes `(N,)` of the
    images, they are shuffled within each class only: what two channels share that know the class and no more. The
    same seed gives the same numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    alive = (~(found.dead_a | found.broken_a)).nonzero().flatten()
    if channels is None:
        drawn = torch.randperm(len(alive), generator=generator)[:CHANCE_CHANNELS]
        channels = tuple(alive[drawn].sort().values.tolist())
    answering = set(alive.tolist())
    channels = tuple(channel for channel in channels if channel in answering)
    x = _standardised(found.a[:, list(channels)])[0].float()
    y = _standardised(found.b)[0].float()
    y = y[:, ~y[0].isnan()]
    if not channels or not y.shape[1]:
        return Chance(torch.empty(shuffles, 0), ())
    orders = [_shuffled(len(x), labels, generator) for _ in range(shuffles)]
    return Chance(torch.stack([(x[order].T @ y).amax(dim=1) for order in orders]), channels)


def _shuffled(count: int, labels: Tensor | None, generator: torch.Generator) -> Tensor:
    """An order of the images, one within each class where `labels` are given."""
    order = torch.randperm(count, generator=generator)
    if labels is None:
        return order
    places, by_class = labels.cpu().argsort(stable=True), order[labels.cpu()[order].argsort(stable=True)]
    return torch.empty_like(order).scatter_(0, places, by_class)
