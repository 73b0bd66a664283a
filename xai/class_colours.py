"""Colours and marker shapes of points: for classes, right and wrong answers, confidence, severity and transition.

The same looks serve the page, which draws with plotly, and figures: colours are `#rrggbb`, markers have plotly's
names, and `MARKERS` gives matplotlib's letter for each. Nothing here needs either library.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MARKERS = {
    "circle": "o",
    "triangle-up": "^",
    "square": "s",
    "cross": "P",
    "diamond": "D",
    "triangle-down": "v",
    "star": "*",
    "x": "X",
    "pentagon": "p",
    "hexagon": "h",
}
"""plotly's names of filled markers -> matplotlib's letters, those easiest to tell apart first."""
HUES = (
    "#0000f0",
    "#c3d200",
    "#870069",
    "#87d2f0",
    "#00785a",
    "#e15a96",
    "#78871e",
    "#8787ff",
    "#ffb4b4",
    "#3c4b00",
)
"""Ten colours, no two of which look alike (CIEDE2000 of at least 17) to anybody, also without red, green or blue
cones (Machado et al. 2009), found by searching sRGB for the largest least difference; none is too light for white."""
SHADES = (
    "#e1a5f0",
    "#78875a",
    "#a53cff",
    "#0f7887",
    "#3ca5a5",
    "#a5002d",
    "#f0c30f",
    "#8700c3",
    "#e14b1e",
    "#78e196",
)
"""Ten more, found the same way: all twenty differ (by 10 or more) for most readers, these ten (by 12) for all."""
TRANSITIONS = ("right -> right", "wrong -> right", "right -> wrong", "wrong -> wrong")
"""What a degradation does to an answer: clean, then degraded."""
NONE_COLOUR = "#b8b8b8"
"""Of what has no value, such as an answer that is not known."""


@dataclass(frozen=True)
class Look:
    """How a kind of point looks: `colour` `#rrggbb`, `marker` one of `MARKERS`."""

    colour: str
    marker: str = "circle"


CORRECTNESS = {"right": Look("#3c96d8"), "wrong": Look("#a5280a", "x")}
TRANSITION = dict(
    zip(
        TRANSITIONS,
        (
            Look("#9ecae8"),
            Look("#009e73", "triangle-up"),
            Look("#d24b00", "triangle-down"),
            Look("#333333", "x"),
        ),
        strict=True,
    )
)


@dataclass(frozen=True)
class Scale:
    """Colours of numbers from `low` to `high`, evenly spaced and even in lightness; `words` for the colour bar."""

    colours: tuple[str, ...]
    low: float
    high: float
    words: str

    def at(self, values: np.ndarray) -> list[str]:
        """The colours of numbers `(N,)`; beyond an end that end's, and `NONE_COLOUR` for NaN."""
        shares = (np.asarray(values, float) - self.low) / ((self.high - self.low) or 1.0)
        known = np.isfinite(shares)
        mixed = _mixed(self.colours, np.where(known, shares, 0.0))
        return [as_hex(colour) if sound else NONE_COLOUR for colour, sound in zip(mixed, known, strict=True)]

    def for_plotly(self) -> list[tuple[float, str]]:
        """The scale as plotly takes it: places in [0, 1] and colours."""
        last = len(self.colours) - 1
        return [(place / last, colour) for place, colour in enumerate(self.colours)]


_CIVIDIS = (
    "#00224e",
    "#123570",
    "#3b496c",
    "#575d6d",
    "#707173",
    "#8a8678",
    "#a59c74",
    "#c3b369",
    "#e1cc55",
    "#fee838",
)
_FLAME = ("#ffdf9e", "#ffbe6b", "#f99b45", "#e9782f", "#d15426", "#b03022", "#88141f", "#5c0519")


def confidence_scale() -> Scale:
    """Colours of the probability of the predicted class, in [0, 1]; dark is unsure."""
    return Scale(_CIVIDIS, 0.0, 1.0, "confidence")


def severity_scale(highest: float) -> Scale:
    """Colours of a severity from 0, light, to the highest one, dark."""
    return Scale(_FLAME, 0.0, highest, "severity (0: clean)")


def class_looks(count: int) -> tuple[Look, ...]:
    """A look for each of `count` classes; class k's depends on `count` only in whether that is above 20.

    Up to 10 classes differ in colour for every reader, up to 20 in colour or marker for every reader and in colour for
    most, up to 200 in colour or marker for most; those beyond begin again.
    """
    palette, names = (*HUES, *SHADES), list(MARKERS)
    step = len(HUES) if count <= len(palette) else len(palette)
    return tuple(Look(palette[k % len(palette)], names[k // step % len(names)]) for k in range(count))


def as_hex(colour: np.ndarray) -> str:
    """`(3,)` in [0, 1] -> `#rrggbb`."""
    return "#" + "".join(f"{round(255 * float(part)):02x}" for part in colour)


def as_rgb(colour: str) -> np.ndarray:
    """`#rrggbb` -> `(3,)` in [0, 1]."""
    return np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])


def _mixed(colours: tuple[str, ...], shares: np.ndarray) -> np.ndarray:
    """Colours `(N, 3)` in [0, 1] at places `(N,)`, 0 the first and 1 the last, straight lines in between."""
    known = np.stack([as_rgb(colour) for colour in colours])
    places = np.linspace(0, 1, len(colours))
    return np.stack([np.interp(shares, places, channel) for channel in known.T], axis=1)


def transitions(clean_right: np.ndarray, degraded_right: np.ndarray) -> np.ndarray:
    """Rows of `TRANSITIONS` `(N,)` from whether the clean and the degraded answers `(N,)` are right."""
    return np.where(clean_right, np.where(degraded_right, 0, 2), np.where(degraded_right, 1, 3))
