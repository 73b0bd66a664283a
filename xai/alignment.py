"""Two arrangements of the same images, one turned onto the other, and how much of it then still differs.

Procrustes: the rotation or reflection, scale and shift that bring the points of one as close as can be to those of the
other, by least squares (Gower & Dijksterhuis, Procrustes Problems, 2004).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from xai.attribution_types import ExplanationError
from xai.feature_blocks import checked, doubles, mean_of, spans

_ROUNDING = 1e-12
"""Share of its size by which a constant arrangement may seem to vary through rounding."""


@dataclass(frozen=True)
class Aligned:
    """One layout laid onto another: `apply` is `(points - centre) @ rotation * scale + target`.

    `rotation` `(2, 2)` is orthogonal (it may mirror), `centre` and `target` are `(2,)`. `coordinates` `(N, 2)` float32
    are those of the layout moved. `residual` in [0, 1] is the share of the other layout's spread that is left between
    the two (scipy's disparity); NaN where a layout is a single place.
    """

    rotation: np.ndarray
    scale: float
    centre: np.ndarray
    target: np.ndarray
    coordinates: np.ndarray
    residual: float

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Further points `(M, 2)` of the moved layout, such as degraded images, moved as it was; float32."""
        return _placed(points, self.rotation, self.scale, self.centre, self.target)


def procrustes(a: np.ndarray, b: np.ndarray) -> Aligned:
    """The layout `b` `(N, 2)` laid onto `a` `(N, 2)`, point by point: turned, mirrored, scaled and moved.

    A layout whose points are all in one place is only moved to the other's centre. Raises `ExplanationError` for
    shapes that differ or values that are not finite.
    """
    if a.shape != b.shape:
        raise ExplanationError(f"The layouts are {a.shape} and {b.shape}; allowed are two of the same shape.")
    checked(a, "coordinates"), checked(b, "coordinates")
    target, centre = mean_of(a), mean_of(b)
    x, y = a.astype(np.float64) - target, b.astype(np.float64) - centre
    rotation, scale, residual = np.eye(a.shape[1]), 1.0, math.nan
    if not (_is_constant(x, target) or _is_constant(y, centre)):
        left, singular, right = np.linalg.svd(y.T @ x)
        own, other = float((y**2).sum()), float((x**2).sum())
        rotation, scale = left @ right, float(singular.sum()) / own
        residual = _left_over(float(singular.sum()), own, other)
    return Aligned(rotation, scale, centre, target, _placed(b, rotation, scale, centre, target), residual)


def overlaid(a: np.ndarray, b: np.ndarray) -> Aligned:
    """The layout `b` `(N, 2)` turned, mirrored and moved onto `a` `(N, 2)` as `procrustes` does, and made as large.

    The scale of least squares shrinks a layout the more, the less the two agree; here the root mean square distances
    from the centres become equal. Raises as `procrustes` does.
    """
    found = procrustes(a, b)
    own = float(((b - found.centre) ** 2).sum())
    if math.isnan(found.residual) or not own:
        return found
    scale = math.sqrt(float(((a - found.target) ** 2).sum()) / own)
    laid = _placed(b, found.rotation, scale, found.centre, found.target)
    return replace(found, scale=scale, coordinates=laid)


def _placed(
    points: np.ndarray, rotation: np.ndarray, scale: float, centre: np.ndarray, target: np.ndarray
) -> np.ndarray:
    moved = (points.astype(np.float64) - centre) @ rotation * scale + target
    return moved.astype(np.float32)


def _is_constant(moved: np.ndarray, mean: np.ndarray) -> bool:
    return bool(np.abs(moved).max() <= _ROUNDING * np.abs(mean).max())


def _left_over(singular: float, own: float, other: float) -> float:
    """`1 - (sum of singular values)^2 / (|X|^2 |Y|^2)`, in [0, 1] but for rounding, which is cut off."""
    return min(1.0, max(0.0, 1 - singular**2 / (own * other)))


def feature_residual(x: np.ndarray, y: np.ndarray) -> float:
    """How much of two networks' features `(N, Dx)` and `(N, Dy)` of the same images no rotation and scale explains.

    `1 - (sum of the singular values of Y'X)^2 / (|X|^2 |Y|^2)` of centred features, the narrower ones filled up with
    zeros: 0 for a rotated, scaled, shifted copy, 1 for features that have nothing in common. Fewer images than
    features make it too small, as few points can be turned onto almost anything. Computed from `(Dy, Dx)` products in
    double precision, a block of images at a time. NaN where either is constant; raises `ExplanationError` for
    different numbers of images or values that are not finite.
    """
    if len(x) != len(y):
        raise ExplanationError(
            f"The features are of {len(x)} and {len(y)} images; allowed are the same images."
        )
    means = mean_of(checked(x)), mean_of(checked(y))
    product, sizes = np.zeros((y.shape[1], x.shape[1])), np.zeros(2)
    largest = np.zeros(2)
    for rows in spans(len(x), 2 * max(x.shape[1], y.shape[1])):
        first, second = (doubles(part[rows], mean).numpy() for part, mean in zip((x, y), means, strict=True))
        product += second.T @ first
        sizes += (first**2).sum(), (second**2).sum()
        largest = np.maximum(largest, [np.abs(first).max(), np.abs(second).max()])
    if any(most <= _ROUNDING * np.abs(mean).max() for most, mean in zip(largest, means, strict=True)):
        return math.nan
    return _left_over(float(np.linalg.svd(product, compute_uv=False).sum()), *sizes.tolist())
