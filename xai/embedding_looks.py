"""Which colour and marker each point of a map has, and what is drawn around points: the same for page and figure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from xai.attribution_types import ExplanationError
from xai.class_colours import (
    CORRECTNESS,
    TRANSITION,
    Look,
    Scale,
    class_looks,
    confidence_scale,
    severity_scale,
    transitions,
)
from xai.embedding import Degraded, Embedding, Map, Said

COLOURINGS = ("label", "prediction", "correctness", "confidence", "severity", "transition")
"""What points may be coloured by."""
HULL_SHARE = 0.9
"""A hull is drawn around this share of a class's points, those nearest to its centre: one stray would double it."""
DENSITY_SHARES = (0.5, 0.9)
"""Contours of density hold these shares of the points."""
_FILLED = 0.3
"""Share of a map's area that its points may take."""
_GRID = 96


@dataclass(frozen=True)
class Coloured:
    """The looks of N points: `kinds` names a look each, `rows` `(N,)` says which a point has; or a `scale` of `values`
    `(N,)` (then all are circles and `kinds` is empty)."""

    kinds: tuple[tuple[str, Look], ...]
    rows: np.ndarray
    scale: Scale | None = None
    values: np.ndarray | None = None

    @property
    def colours(self) -> np.ndarray:
        """`#rrggbb` of each point `(N,)`."""
        if self.scale is not None and self.values is not None:
            return np.array(self.scale.at(self.values))
        return np.array([look.colour for _, look in self.kinds], dtype="<U7")[self.rows]

    @property
    def markers(self) -> np.ndarray:
        """The marker of each point `(N,)`, by plotly's name."""
        if self.scale is not None:
            return np.full(len(self.rows), "circle")
        return np.array([look.marker for _, look in self.kinds])[self.rows]


def severity_of(one: Map, severity: float) -> Degraded:
    """The images at a severity; raises `ExplanationError` naming those that there are."""
    for each in one.degraded:
        if each.severity == severity:
            return each
    held = ", ".join(f"{each.severity:g}" for each in one.degraded) or "none"
    raise ExplanationError(f"severity {severity:g} was asked for; this embedding has {held}.")


def coloured(
    found: Embedding, one: Map, colouring: str, severity: float = 0.0, against: float | None = None
) -> Coloured:
    """The looks of the points of a map at a severity (0: the clean ones) by one of `COLOURINGS`.

    By transition, clean points are coloured by what severity `against` does to their answers, the strongest unless
    it is given. Raises `ExplanationError` for another colouring, or where nothing is degraded that must be.
    """
    if colouring not in COLOURINGS:
        raise ExplanationError(f"the colouring is {colouring!r}; allowed are {', '.join(COLOURINGS)}.")
    if colouring in ("severity", "transition") and not one.degraded:
        raise ExplanationError(
            f"points are to be coloured by {colouring}, but no degradation was asked for; allowed are "
            f"{', '.join(COLOURINGS[:4])}."
        )
    answers = severity_of(one, severity).answers if severity else one.answers
    if colouring == "severity":
        highest = max(each.severity for each in one.degraded)
        return _by_number(np.full(len(found.labels), severity), severity_scale(highest))
    if colouring == "confidence":
        return _by_number(answers.confidence, confidence_scale())
    if colouring == "transition":
        return _by_transition(found, one, severity or against)
    return _by_kind(found, answers, colouring)


def _by_number(values: np.ndarray, scale: Scale) -> Coloured:
    return Coloured((), np.zeros(len(values), np.int64), scale, values)


def _by_transition(found: Embedding, one: Map, severity: float | None) -> Coloured:
    after = severity_of(one, severity) if severity else one.degraded[-1]
    right = (answers.predicted == found.labels for answers in (one.answers, after.answers))
    return Coloured(tuple(TRANSITION.items()), transitions(*right))


def _by_kind(found: Embedding, answers: Said, colouring: str) -> Coloured:
    if colouring == "correctness":
        return Coloured(tuple(CORRECTNESS.items()), (answers.predicted != found.labels).astype(np.int64))
    kinds = tuple(zip(found.classes, class_looks(len(found.classes)), strict=True))
    return Coloured(kinds, found.labels if colouring == "label" else answers.predicted.astype(np.int64))


def diameter(points: int, area: float) -> float:
    """How wide a point is drawn, in the unit whose square `area` has: smaller for more points.

    All points together would take 30 % of the area, but one is at least 1/250 and at most 1/55 of its side wide.
    """
    side = math.sqrt(area)
    return min(max(math.sqrt(_FILLED * area / max(points, 1)), side / 250), side / 55)


def centroids(coordinates: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """The middle of each class's points `(classes, 2)`: medians of x and y, which strays don't move; NaN for none."""
    return np.stack(
        [
            np.median(coordinates[labels == number], axis=0) if (labels == number).any() else [np.nan, np.nan]
            for number in range(classes)
        ]
    ).astype(np.float64)


def hull(points: np.ndarray) -> np.ndarray:
    """The convex hull `(M, 2)`, in order, of the 90 % of points `(N, 2)` nearest to their median.

    Empty for fewer than three points and for points on one line.
    """
    from scipy.spatial import ConvexHull, QhullError

    distance = np.linalg.norm(points - np.median(points, axis=0), axis=1) if len(points) else np.zeros(0)
    kept = points[np.argsort(distance, kind="stable")[: max(3, math.ceil(HULL_SHARE * len(points)))]]
    if len(kept) < 3:
        return np.zeros((0, 2))
    try:
        return kept[ConvexHull(kept).vertices]
    except QhullError:
        return np.zeros((0, 2))


def density(points: np.ndarray, cells: int = _GRID) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[float]]:
    """How densely points `(N, 2)` lie: `x` and `y` of a grid, its values `(cells, cells)` (row y), contour levels.

    A Gaussian kernel of Scott's width on counts of cells; the levels, ascending, enclose 90 % and 50 % of the points.
    """
    from scipy.ndimage import gaussian_filter

    low, high = points.min(0).astype(float), points.max(0).astype(float)
    margin = 0.15 * np.maximum(high - low, 1e-6)
    edges = [np.linspace(low[axis] - margin[axis], high[axis] + margin[axis], cells + 1) for axis in (0, 1)]
    counts = np.histogram2d(points[:, 1], points[:, 0], bins=(edges[1], edges[0]))[0]
    spread = points.std(0) * len(points) ** (-1 / 6)  # Scott (1992), two dimensions
    width = [max(spread[axis] / (edges[axis][1] - edges[axis][0]), 0.7) for axis in (1, 0)]
    smooth = gaussian_filter(counts, width)
    own = np.sort(smooth[counts > 0].repeat(counts[counts > 0].astype(int)))[::-1]
    levels = sorted({float(own[min(int(share * len(own)), len(own) - 1)]) for share in DENSITY_SHARES})
    x, y = (0.5 * (edge[1:] + edge[:-1]) for edge in edges)
    return x, y, smooth, levels
