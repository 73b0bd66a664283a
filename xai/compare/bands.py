"""Filters on the radial frequency of an image, in cycles per image: bands an octave wide, and all below or above.

Edges are hard, the mean of each channel is kept by every filter, and filters work on each channel alone. The Fourier
transform is of an image that repeats: what is near one border leaks to the opposite one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

LEAST_SIZE = 8
"""Pixels of the smallest side for which there are two bands."""


@dataclass(frozen=True)
class Filter:
    """What an image keeps beside its mean: frequencies f with `low` <= f < `high`, or with `stop` all others.

    In cycles per image; `high` is infinite for the band that has the corners of the spectrum too.
    """

    kind: str
    low: float
    high: float
    stop: bool = False

    @property
    def title(self) -> str:
        """The range of frequencies, such as `4–8` or, up to the highest, `8 and more`."""
        return f"{self.low:g} and more" if math.isinf(self.high) else f"{self.low:g}–{self.high:g}"

    def kept(self, radius: Tensor) -> Tensor:
        """Which frequencies pass, bool in the shape of `radius`."""
        inside = (radius >= self.low) & (radius < self.high)
        return (~inside if self.stop else inside) | (radius == 0)


def edges(size: int) -> tuple[float, ...]:
    """Where bands begin in images `size` px wide: 1, 2, 4 ... cycles per image, below the Nyquist frequency."""
    return tuple(float(2**k) for k in range(math.ceil(math.log2(size / 2))))


def bands(size: int) -> tuple[tuple[float, float], ...]:
    """Ends of the bands, from coarse to fine; the last one goes on to the corners of the spectrum."""
    starts = edges(size)
    return tuple(zip(starts, (*starts[1:], math.inf), strict=True))


def filters(size: int) -> tuple[Filter, ...]:
    """All filters, in the order of their numbers in stored rows: none, each band passed, each stopped, then all
    below and all above each edge where that is no single band and no stopped one."""
    ends, inner = bands(size), edges(size)[2:-1]
    return (
        Filter("none", 0, math.inf),
        *(Filter("pass", *band) for band in ends),
        *(Filter("stop", *band, stop=True) for band in ends),
        *(Filter("low", 1, edge) for edge in inner),
        *(Filter("high", edge, math.inf) for edge in inner),
    )


def radius(height: int, width: int) -> Tensor:
    """Radial frequency in cycles per image of each entry of `rfft2`, float64 `(height, width // 2 + 1)`."""
    rows = torch.fft.fftfreq(height, dtype=torch.float64) * height
    columns = torch.fft.rfftfreq(width, dtype=torch.float64) * width
    # Whole numbers again, so that a frequency on an edge is in the band that begins there.
    return torch.hypot(rows.round()[:, None], columns.round()[None])


def apply(images: Tensor, chosen: Filter) -> Tensor:
    """Images `(n, 3, H, W)` through a filter, in the same unit and not clipped; without a filter the very same."""
    if chosen.kind == "none":
        return images
    height, width = images.shape[-2:]
    kept = chosen.kept(radius(height, width)).to(images.device)
    return torch.fft.irfft2(torch.fft.rfft2(images) * kept, s=(height, width))
