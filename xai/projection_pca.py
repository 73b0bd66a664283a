"""Principal components, exact and without a copy of the features: means and covariances are summed block by block."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from xai.feature_blocks import doubles, largest, mean_of, spans
from xai.projection_settings import Job, Made, Steps, method

_RANK = 1e-12
"""Of the largest variance: below this share a direction is rounding and no direction of the features."""


@dataclass(frozen=True)
class Axes:
    """Directions of largest variance: `mean` `(D,)`, `directions` `(D, k)` of length 1 (0 beyond the features' rank),
    and `shares` `(k,)` of the whole variance, all float64."""

    mean: np.ndarray
    directions: np.ndarray
    shares: np.ndarray

    def first(self, count: int) -> Axes:
        """The first `count` of them."""
        return Axes(self.mean, self.directions[:, :count], self.shares[:count])

    def apply(self, vectors: np.ndarray, steps: Steps | None = None) -> np.ndarray:
        """Coordinates `(M, k)` float32 of features `(M, D)`."""
        found = np.empty((len(vectors), self.directions.shape[1]), np.float32)
        directions = torch.from_numpy(self.directions)
        for rows in spans(len(vectors), 2 * vectors.shape[1]):
            found[rows] = (doubles(vectors[rows], self.mean) @ directions).numpy()
            if steps:
                steps.tell(rows.stop, len(vectors), "PCA")
        return found


def principal_axes(vectors: np.ndarray, count: int, steps: Steps | None = None) -> Axes:
    """The first `count` principal axes of features `(N, D)`, at most D, by an eigendecomposition in double precision.

    Each is turned so that its largest entry is positive, which makes the result one and the same everywhere. Where
    there are fewer points than features, the points' own products are decomposed instead, which is equivalent.
    """
    steps = steps or Steps()
    count = min(count, vectors.shape[1])
    mean = mean_of(vectors)
    unit = largest(vectors, mean)
    wide = len(vectors) < vectors.shape[1]
    products = (_between_points if wide else _between_features)(vectors, mean, unit, steps)
    values, directions = _leading(products, min(count, len(products)))
    if wide:
        directions = _to_features(vectors, mean, directions)
    good = values > _RANK * max(values[0], 0)
    axes, shares = np.zeros((vectors.shape[1], count)), np.zeros(count)
    axes[:, : len(values)] = np.where(good, _turned(directions), 0)
    shares[: len(values)] = np.where(good, values, 0) / max(float(products.trace()), np.finfo(float).tiny)
    return Axes(mean, axes, shares)


def _between_features(vectors: np.ndarray, mean: np.ndarray, unit: float, steps: Steps) -> Tensor:
    """Sum over points of the products of centred features, `(D, D)`."""
    found = torch.zeros(vectors.shape[1], vectors.shape[1], dtype=torch.float64)
    for rows in spans(len(vectors), 2 * vectors.shape[1]):
        block = doubles(vectors[rows], mean).div_(unit)
        found.addmm_(block.T, block)
        steps.tell(rows.stop, len(vectors), "PCA")
    return found


def _between_points(vectors: np.ndarray, mean: np.ndarray, unit: float, steps: Steps) -> Tensor:
    """Products of centred points, `(N, N)`, summed over blocks of features."""
    count, width = vectors.shape
    found = torch.zeros(count, count, dtype=torch.float64)
    for columns in spans(width, 2 * count):
        block = doubles(vectors[:, columns], mean[columns]).div_(unit)
        found.addmm_(block, block.T)
        steps.tell(columns.stop, width, "PCA")
    return found


def _leading(products: Tensor, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest eigenvalues `(k,)`, falling, and their eigenvectors `(n, k)`."""
    from scipy.linalg import eigh

    size = len(products)
    values, directions = eigh(products.numpy(), subset_by_index=[size - count, size - 1])
    return values[::-1], directions[:, ::-1]


def _to_features(vectors: np.ndarray, mean: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Axes `(D, k)` of length 1 from eigenvectors `(N, k)` of the points' products."""
    found = np.empty((vectors.shape[1], weights.shape[1]))
    for columns in spans(len(found), 2 * len(vectors)):
        found[columns] = doubles(vectors[:, columns], mean[columns]).numpy().T @ weights
    lengths = np.linalg.norm(found, axis=0)
    return found / np.where(lengths > 0, lengths, 1)


def _turned(directions: np.ndarray) -> np.ndarray:
    """The same axes, each with its largest entry positive."""
    strongest = np.abs(directions).argmax(axis=0)
    return directions * np.where(directions[strongest, np.arange(directions.shape[1])] < 0, -1, 1)


@method(
    "pca",
    "PCA",
    "The two directions in which the features vary most: straight, fast and without chance, but groups overlap.",
    (),
    1,
)
def pca(job: Job) -> Made:
    """The first two principal components; `job.points` are these already."""
    return Made(job.points, "PCA (exact)", lambda points, _steps: points)
