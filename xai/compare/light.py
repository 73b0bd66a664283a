"""Reports in little space: rows in coarse steps, and small pictures."""

from __future__ import annotations

import io
import math

import numpy as np

from xai.compare.sections import Measured

STEPS = 16
"""Steps in which a column is rounded in its spread (half the range that holds the middle 68 % of its values), at
least: a value is off by at most 1/32 of that, and a mean of n by some 1 / (55 sqrt(n))."""
DPI = 100
LEVEL = 19
"""Of zstd, for rows."""
COLOURS = 128
MOST_PICTURES = 2
"""Figures of images that a light report shows of each section."""


EXACT = ("before", "after")
"""Columns that stay as they are: ends of brackets around flips, which are few different numbers already and of which
equal ones are ties."""


def rows(measured: Measured) -> Measured:
    """The same rows with numbers float32 rounded to few different ones, which compress well, but those in `EXACT`.

    What is 0, 1, a half or a quarter stays so as far as the spread is not many times that; what is not finite stays.
    """
    return {
        name: {column: values if column in EXACT else _coarse(values) for column, values in table.items()}
        for name, table in measured.items()
    }


def step(values: np.ndarray) -> float:
    """The step of a column `(n,)`: the power of two that is `STEPS` times or more in its spread, 0 for no spread."""
    finite = values[np.isfinite(values)].astype(np.float64)
    if not len(finite):
        return 0.0
    low, high = np.quantile(finite, (0.16, 0.84))
    spread = min(float(finite.std()), (high - low) / 2 or math.inf)
    return 2.0 ** math.floor(math.log2(spread / STEPS)) if spread > 0 else 0.0


def _coarse(values: np.ndarray) -> np.ndarray:
    """A column in its steps; one of other things than fractions as it is."""
    if values.dtype.kind != "f":
        return values
    single, width = values.astype(np.float32), step(values)
    if not width:
        return single
    return np.where(np.isfinite(single), np.round(single / width) * width, single).astype(np.float32)


def png(content: bytes) -> bytes:
    """A PNG with `COLOURS` colours and as small as it gets."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as picture:
        few = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    few.save(buffer, "png", optimize=True)
    return buffer.getvalue()
