"""How the classes lie in the features: silhouettes, centres, the distances between them, and how they drift."""

from __future__ import annotations

import math

import numpy as np
import torch

from xai.attribution_types import ExplanationError
from xai.embedding_metrics import SAMPLE
from xai.feature_blocks import Cancel, checked, spans, squared_distances


def silhouette(
    vectors: np.ndarray,
    labels: np.ndarray,
    classes: int,
    sample: int = SAMPLE,
    seed: int = 0,
    *,
    cancelled: Cancel | None = None,
) -> tuple[np.ndarray, float]:
    """Silhouette of each class `(C,)` and its mean over images, in [-1, 1].

    An image's is `(b - a) / max(a, b)` of its mean distance a to the others of its class and b to the nearest other
    class (Rousseeuw 1987). All images are judged when there are at most `sample`, which is scikit-learn's
    `silhouette_samples`; of more, equally many of each class, drawn with `seed` and weighted by its size. Classes of
    fewer than two images get NaN and are not in the mean; all is NaN when there is but one class.
    """
    checked(vectors)
    counts = counts_of(labels, classes)
    by_class = np.full(classes, math.nan)
    if (counts > 0).sum() < 2 or counts.max() < 2:
        return by_class, math.nan
    judged = _of_each_class(labels, counts, sample, seed)
    values, kept = _silhouettes(vectors, labels, counts, judged, cancelled), labels[judged]
    known = np.flatnonzero(counts > 1)
    by_class[known] = [values[kept == number].mean() for number in known]
    return by_class, float(by_class[known] @ counts[known] / counts[known].sum())


def counts_of(labels: np.ndarray, classes: int) -> np.ndarray:
    """Images of each class `(C,)`."""
    wrong = labels[(labels < 0) | (labels >= classes)]
    if len(wrong):
        raise ExplanationError(f"A label is {wrong[0]}; allowed are 0 to {classes - 1}.")
    return np.bincount(labels, minlength=classes)


def _of_each_class(labels: np.ndarray, counts: np.ndarray, sample: int, seed: int) -> np.ndarray:
    """Rows to judge: all, or of each class of at least two as many as keep to `sample`, but at least five."""
    known, rng = np.flatnonzero(counts > 1), np.random.default_rng(seed)
    rows = [np.flatnonzero(labels == number) for number in known]
    if len(labels) <= sample:
        return np.concatenate(rows)
    most = max(5, sample // len(known))
    return np.concatenate([np.sort(rng.permutation(own)[:most]) for own in rows])


def _silhouettes(
    vectors: np.ndarray, labels: np.ndarray, counts: np.ndarray, judged: np.ndarray, cancelled: Cancel | None
) -> np.ndarray:
    """Silhouettes `(n,)` of the judged rows; 0 where all distances are."""
    member = torch.zeros(len(labels), len(counts), dtype=torch.float64)
    member[torch.arange(len(labels)), torch.from_numpy(labels.astype(np.int64))] = 1
    values = np.empty(len(judged))
    for rows, squared in squared_distances(vectors, judged, cancelled):
        sums = (squared.sqrt_() @ member).numpy()
        here, own = np.arange(len(sums)), labels[judged[rows]]
        inside = sums[here, own] / (counts[own] - 1)
        means = np.where(counts > 0, sums / np.maximum(counts, 1), math.inf)
        means[here, own] = math.inf
        outside = means.min(axis=1)
        larger = np.maximum(inside, outside)
        values[rows] = (outside - inside) / np.where(larger > 0, larger, 1)
    return values


def centres(vectors: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Mean features of each class, float64 `(C, D)`; NaN for a class without images."""
    checked(vectors)
    counts = counts_of(labels, classes)
    sums = np.zeros((classes, vectors.shape[1]))
    for rows in spans(len(vectors), 2 * vectors.shape[1]):
        member = (labels[rows] == np.arange(classes)[:, None]).astype(np.float64)
        sums += member @ vectors[rows].astype(np.float64)
    return np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], math.nan)


def class_distances(middles: np.ndarray) -> np.ndarray:
    """Distances between class centres `(C, D)` in units of their mean, float64 `(C, C)`, 0 on the diagonal.

    NaN for classes without images, and throughout where the centres of fewer than two classes differ.
    """
    between = np.stack([np.linalg.norm(middles - middle, axis=1) for middle in middles])
    return between / _unit(middles)


def drift(vectors: np.ndarray, degraded: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """How far the centre of each class moves from `vectors` to `degraded`, both `(N, D)` of the same images.

    `(C,)`, from 0, in the unit of `class_distances`: the mean distance between clean centres. NaN for a class without
    images, and where there is no such unit.
    """
    if vectors.shape != degraded.shape:
        raise ExplanationError(
            f"The features are tables of {vectors.shape} and {degraded.shape}; allowed are equal ones."
        )
    clean, moved = (centres(part, labels, classes) for part in (vectors, degraded))
    return np.linalg.norm(moved - clean, axis=1) / _unit(clean)


def _unit(middles: np.ndarray) -> float:
    """Mean distance between two different class centres; NaN where there are no two or all are one."""
    known = middles[~np.isnan(middles).any(axis=1)]
    pairs = np.concatenate(
        [np.linalg.norm(known[k + 1 :] - middle, axis=1) for k, middle in enumerate(known)] or [[]]
    )
    return float(pairs.mean()) if pairs.any() else math.nan
