"""Numbers of flips: the severities by which shares of answers have flipped, and whose flip later on the same images.

An answer that does not flip up to the highest severity flips "beyond" it: larger than any severity, equal to each
other. Quantiles and the sign test need no more than that order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xai.compare.resampling import LEVEL, resampled
from xai.compare.sections import Table
from xai.compare.study import LETTERS
from xai.statistics import Difference, holm, paired_difference, wilson

IMAGES, MOST_IMAGES, PIXELS = 200, 500, 512_000
"""Images that are asked, at most: at least the first, where they are small up to the second, as many as have so many
pixels together."""
STEP, TOLERANCE = 0.25, 1 / 64
"""Step of the scan and greatest length of the bracket around a flip, in levels of the scale."""
STEPS = {"gaussian_noise": 0.5, "gaussian_blur": 0.5, "motion_blur": 0.5}
"""Steps of degradations whose answers seldom go back and forth."""
JPEG = "jpeg_compression"
SURE, STRIDE = 0.8, 4
"""Under JPEG every quality makes other errors, so that answers go back and forth and steps of 0.125 levels miss a
quarter of first flips. There every whole quality is asked about, and only every `STRIDE`-th of those that follow an
answer of a probability of `SURE` or more."""
MISSED = {
    "against steps four times as fine, at most 3 % of first flips under blur, motion blur and noise": (
        "gaussian_noise",
        "gaussian_blur",
        "motion_blur",
    ),
    "against finer steps, 8 % under low resolution": ("pixelate",),
    "against asking always, under JPEG 0 of 116 on cue10 and 4 of 81 on cifar10-jpeg": (JPEG,),
}
"""How many first flips a scan misses, as measured with two networks and 50 to 120 images of cue10 or cifar10-jpeg, and
under what."""
ALPHA = 0.05
SHARES = {"quarter": 0.25, "half": 0.5}
"""Shares of answers that have flipped by the severities that are told."""


def most_images(size: int) -> int:
    """How many images of `size` px a side are asked, at most."""
    return max(IMAGES, min(MOST_IMAGES, PIXELS // size**2))


@dataclass(frozen=True)
class Reached:
    """The least severity by which a share of answers have flipped, with its 95 % interval; inf: beyond the highest."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Fate:
    """Flips of one network on `n` images under one degradation.

    `quarter` and `half` say by which severity those shares of the answers have flipped. `beyond` answers never flip,
    `share_low` to `share_high` is Wilson's interval of `beyond / n`; `returned` answers flip and are back later on.
    """

    n: int
    quarter: Reached
    half: Reached
    beyond: int
    share_low: float
    share_high: float
    returned: int

    def to_json(self) -> dict[str, float | None]:
        """As JSON has it; a severity that is None is beyond the highest."""
        reached = {
            f"{name} {end}".removesuffix(" value"): getattr(getattr(self, name), end)
            for name in SHARES
            for end in ("value", "low", "high")
        }
        return {
            **{name: value if math.isfinite(value) else None for name, value in reached.items()},
            "n": self.n,
            "beyond": self.beyond,
            "beyond low": self.share_low,
            "beyond high": self.share_high,
            "returned": self.returned,
        }


@dataclass(frozen=True)
class Pair:
    """The same images under one degradation: how many flip later with A, with B, and in one bracket (`tied`, of which
    `both_beyond` with neither). `difference` is the share of A later less that of B later, with its sign test."""

    a_later: int
    b_later: int
    tied: int
    both_beyond: int
    difference: Difference
    p_holm: float

    @property
    def later(self) -> int | None:
        """The network that is shown to flip later: 0 for A, 1 for B, None for neither."""
        if not self.p_holm < ALPHA:
            return None
        return 0 if self.difference.difference > 0 else 1

    def to_json(self) -> dict[str, float]:
        """As JSON has it."""
        d = self.difference
        return {
            "A later": self.a_later,
            "B later": self.b_later,
            "tied": self.tied,
            "both beyond": self.both_beyond,
            "difference": d.difference,
            "difference low": d.low,
            "difference high": d.high,
            "p": d.p_value,
            "p (Holm)": self.p_holm,
        }


@dataclass(frozen=True)
class Fates:
    """A and B under one degradation, and both on the same images."""

    networks: tuple[Fate, Fate]
    pair: Pair

    def to_json(self) -> dict[str, object]:
        """As JSON has it."""
        each = {letter: fate.to_json() for letter, fate in zip(LETTERS, self.networks, strict=True)}
        return {**each, **self.pair.to_json()}


def step_of(name: str) -> float:
    """Step of the scan along a degradation, in levels of the scale."""
    return STEPS.get(name, STEP)


def severities(flips: Table, name: str) -> np.ndarray:
    """Severities of the flips of n images under a degradation, float64 `(2, n)` for A and B: the middles of brackets,
    inf where there is no flip. Images are in the same, ascending order."""
    here = flips["degradation"] == name
    middle = (flips["before"].astype(np.float64) + flips["after"]) / 2
    found = np.where(flips["flipped"], middle, np.inf)
    return np.stack([_by_image(found, flips["image"], here & (flips["network"] == k)) for k in range(2)])


def _by_image(values: np.ndarray, images: np.ndarray, here: np.ndarray) -> np.ndarray:
    ordered: np.ndarray = values[here][np.argsort(images[here], kind="stable")]
    return ordered


def reached(values: np.ndarray, share: float, seed: int = 0) -> Reached:
    """The least of `(n,)` that at least a share of them do not exceed, with its 95 % percentile interval over resamples
    of the images; inf is allowed, and of no value it is NaN."""
    if not len(values):
        return Reached(math.nan, math.nan, math.nan)
    points = np.unique(values)
    below = (values[:, None] <= points).astype(np.float64)
    drawn = points[(resampled(below, seed) >= share).argmax(axis=1)]
    low, high = np.quantile(drawn, ((1 - LEVEL) / 2, (1 + LEVEL) / 2), method="inverted_cdf")
    return Reached(float(points[(below.mean(axis=0) >= share).argmax()]), float(low), float(high))


def fate(values: np.ndarray, returned: int, seed: int = 0) -> Fate:
    """Flips of one network from their severities `(n,)`, inf for none; `returned` of them are back later on."""
    beyond = int(np.isinf(values).sum())
    low, high = wilson(beyond, len(values)) if len(values) else (math.nan, math.nan)
    quarter, half = (reached(values, share, seed) for share in SHARES.values())
    return Fate(len(values), quarter, half, beyond, low, high, returned)


def pairs(found: Sequence[np.ndarray], seed: int = 0) -> list[Pair]:
    """A against B for each degradation, from severities `(2, n)`, n at least 1; Holm over the degradations.

    The sign test is exact: of the images that are no tie, each as likely flips later with A as with B.
    """
    differences = [paired_difference(a > b, b > a, seed) for a, b in found]
    adjusted = holm([each.p_value for each in differences])
    return [_pair(both, each, p) for both, each, p in zip(found, differences, adjusted, strict=True)]


def _pair(both: np.ndarray, difference: Difference, p: float) -> Pair:
    a, b = both
    neither = int(np.isinf(both).all(axis=0).sum())
    return Pair(int((a > b).sum()), int((b > a).sum()), int((a == b).sum()), neither, difference, p)


def fates(flips: Table, names: Sequence[str], seed: int = 0) -> dict[str, Fates]:
    """What became of the answers under each of the degradations, from rows of at least one image."""
    found = {name: severities(flips, name) for name in names}
    both = dict(zip(names, pairs(list(found.values()), seed), strict=True))
    return {
        name: Fates(
            (_fate(flips, name, 0, found[name], seed), _fate(flips, name, 1, found[name], seed)), both[name]
        )
        for name in names
    }


def _fate(flips: Table, name: str, network: int, found: np.ndarray, seed: int) -> Fate:
    here = (flips["degradation"] == name) & (flips["network"] == network)
    return fate(found[network], int((flips["returns"][here] > 0).sum()), seed)
