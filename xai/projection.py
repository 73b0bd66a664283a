"""Features as points in the plane: PCA, t-SNE and UMAP, and further features placed into the map that is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from data.datasets import Progress
from xai.attribution_types import ExplanationError
from xai.feature_blocks import Cancel, checked, largest, mean_of, spans
from xai.neighbours import Neighbours
from xai.projection_pca import Axes, principal_axes
from xai.projection_settings import METHODS, PARAMETERS, Job, Made, Parameter, Projecting, Steps
from xai.projection_tsne import needed
from xai.projection_umap import warm_up

__all__ = ["METHODS", "PARAMETERS", "Parameter", "Projecting", "Projection", "project", "warm_up"]
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Projection:
    """A map of N points: `coordinates` `(N, 2)` float32, the settings it was asked for, the program that made it, and
    sentences about what was not as asked."""

    coordinates: np.ndarray
    settings: Projecting
    engine: str
    notes: tuple[str, ...]
    width: int
    _place: Callable[[np.ndarray, Steps], np.ndarray] = field(repr=False)

    def place(
        self, vectors: np.ndarray, *, progress: Progress | None = None, cancelled: Cancel | None = None
    ) -> np.ndarray:
        """Where features `(M, D)` belong in this map: `(M, 2)` float32; the points that are there don't move.

        Each is drawn to its nearest neighbours among those. Raises `ExplanationError` for another D or for values that
        are not finite, and `Cancelled` when `cancelled` says so.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.width:
            raise ExplanationError(
                f"The features to be placed have the shape {vectors.shape}; allowed is (M, {self.width})."
            )
        if not len(vectors):
            return np.zeros((0, 2), np.float32)
        steps = Steps(progress, cancelled)
        placed = self._place(checked(vectors, "features to be placed"), steps)
        steps.tell(1, 1, "placed")
        return placed.astype(np.float32)


def project(
    vectors: np.ndarray,
    settings: Projecting,
    *,
    start: np.ndarray | None = None,
    neighbours: Neighbours | None = None,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> Projection:
    """Arrange features `(N, D)` of any float type in the plane; they may lie on disk and are read in blocks.

    `start` `(N, 2)` is where the points begin, instead of at their first two principal components; its place and size
    don't matter. PCA has no use for it. `neighbours` are those of `vectors`, if they are at hand; they are used where
    the features are not reduced and there are enough of them, and are found otherwise, with the same result. The same
    seed gives the same coordinates on one machine with one number of threads. `progress(done, total, what)` counts
    thousandths. Raises `ExplanationError` for features that are not finite, no features, or a start that does not fit,
    and `Cancelled` when `cancelled` says so.
    """
    checked(vectors)
    _check_start(start, len(vectors))
    steps = Steps(progress, cancelled)
    fitting, notes = _fitting(settings, len(vectors))
    if _all_equal(vectors):
        return _one_point(vectors, settings)
    space, plane, told = _reduced(vectors, fitting, steps.part(0, 150))
    points = space.apply(vectors)
    known = neighbours if space.axes is None and _enough(neighbours, fitting, len(vectors)) else None
    begin = plane if start is None or not np.ptp(start) else start
    made = METHODS[fitting.method].make(Job(points, np.asarray(begin, np.float64), fitting, known, steps))
    steps.tell(1, 1, "map")
    return _projection(made, settings, (*notes, *told), vectors.shape[1], space)


@dataclass(frozen=True)
class _Space:
    """The space a method works in: the features' own, or that of some axes."""

    axes: Axes | None

    def apply(self, vectors: np.ndarray) -> np.ndarray:
        return vectors if self.axes is None else self.axes.apply(vectors)


def _projection(
    made: Made, settings: Projecting, notes: tuple[str, ...], width: int, space: _Space
) -> Projection:
    return Projection(
        made.coordinates.astype(np.float32),
        settings,
        made.engine,
        notes,
        width,
        lambda vectors, steps: made.place(space.apply(vectors), steps),
    )


def _reduced(vectors: np.ndarray, settings: Projecting, steps: Steps) -> tuple[_Space, np.ndarray, list[str]]:
    """The space to work in, the points on the first two axes `(N, 2)`, and what to say of it."""
    width = vectors.shape[1]
    if settings.method == "pca":
        axes = _padded(principal_axes(vectors, 2, steps))
        note = f"The two axes hold {axes.shares.sum():.1%} of the features' variance."
        return _Space(axes), np.zeros((0, 2)), [note]
    kept = min(settings.pca, len(vectors) - 1)
    axes = principal_axes(vectors, max(kept, 2), steps)
    plane = _padded(axes).first(2).apply(vectors)
    if not 0 < kept < width:
        return _Space(None), plane, []
    axes = axes.first(kept)
    note = f"PCA reduced {width} dimensions to {kept}, which hold {axes.shares.sum():.1%} of the variance."
    return _Space(axes), plane, [note]


def _padded(axes: Axes) -> Axes:
    """Two axes at least, the second of length 0 where features have one dimension."""
    missing = max(0, 2 - axes.directions.shape[1])
    return Axes(axes.mean, np.pad(axes.directions, ((0, 0), (0, missing))), np.pad(axes.shares, (0, missing)))


def _fitting(settings: Projecting, count: int) -> tuple[Projecting, list[str]]:
    """The settings that so many points allow, and what was changed."""
    fewest = METHODS[settings.method].fewest
    if count < fewest:
        title = METHODS[settings.method].title
        note = f"{title} needs at least {fewest} images; these {count} are arranged by PCA."
        return replace(settings, method="pca"), [note]
    if settings.method == "tsne" and settings.perplexity > (most := (count - 1) / 3):
        note = f"The perplexity was reduced from {settings.perplexity:g} to {most:.3g}: there are {count} images."
        return replace(settings, perplexity=most), [note]
    if settings.method == "umap" and settings.neighbours > count - 1:
        note = f"The neighbours were reduced from {settings.neighbours} to {count - 1}: there are {count} images."
        return replace(settings, neighbours=count - 1), [note]
    return settings, []


def _enough(neighbours: Neighbours | None, settings: Projecting, count: int) -> bool:
    """Whether the neighbours are of these points and as many as the method asks for."""
    asked = needed(settings.perplexity, count) if settings.method == "tsne" else settings.neighbours - 1
    return neighbours is not None and len(neighbours.index) == count and neighbours.k >= asked


def _check_start(start: np.ndarray | None, count: int) -> None:
    if start is None:
        return
    if start.shape != (count, 2) or not np.isfinite(start).all():
        raise ExplanationError(
            f"The start has the shape {start.shape}; allowed are finite coordinates of the shape ({count}, 2)."
        )


def _all_equal(vectors: np.ndarray) -> bool:
    """Whether all features are the same, or differ by no more than double precision can tell."""
    if all(bool((vectors[rows] == vectors[:1]).all()) for rows in spans(len(vectors), vectors.shape[1])):
        return True
    mean = mean_of(vectors)
    return largest(vectors, mean) <= _ROUNDING * float(np.linalg.norm(mean))


def _one_point(vectors: np.ndarray, settings: Projecting) -> Projection:
    """All points at 0, and whatever is placed there too: nothing says where else."""
    count = len(vectors)
    one = "One image is one point."
    notes = [
        f"All {count} images have the same features, so that the map is one point." if count > 1 else one
    ]
    return Projection(
        np.zeros((count, 2), np.float32),
        settings,
        "none",
        tuple(notes),
        vectors.shape[1],
        lambda placed, _steps: np.zeros((len(placed), 2), np.float32),
    )
