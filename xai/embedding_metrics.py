"""What can be said of an arrangement of images in numbers, computed in the space of the features.

Points are never compared all with all at once: at most some thousand judged images are compared with all images, a
block at a time. Up to `SAMPLE` images all are judged and the numbers are exact; of more, a seeded sample is, each
against all images.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xai.attribution_types import ExplanationError
from xai.embedding import Share
from xai.feature_blocks import Cancel, checked, spans, squared_distances
from xai.neighbours import Neighbours, nearest
from xai.statistics import bca_of_counts, wilson

SAMPLE = 2000
"""How many images are judged at most."""
_DIGITS = 9


def undefined(n: int = 0) -> Share:
    """What stands where there is no share."""
    return Share(math.nan, math.nan, math.nan, n)


def knn_accuracy(neighbours: Neighbours, labels: np.ndarray, query_labels: np.ndarray | None = None) -> Share:
    """How often the vote of an image's k neighbours is its class, with Wilson's 95 % interval.

    `labels` `(N,)` are the classes of the points; `query_labels` `(M,)` those of the queries, by default the same:
    leave one out, as a point is not its own neighbour. See `votes`. NaN where there is no query or no neighbour.
    """
    truth = labels if query_labels is None else query_labels
    if len(truth) != len(neighbours.index):
        raise ExplanationError(f"{len(neighbours.index)} queries need as many labels, not {len(truth)}.")
    if not len(truth) or not neighbours.k:
        return undefined(len(truth))
    right = int((votes(neighbours, labels) == truth).sum())
    return Share(right / len(truth), *wilson(right, len(truth)), len(truth))


def near_of(vectors: np.ndarray, k: int, **more: Any) -> Neighbours:
    """`nearest` of up to k neighbours: as many as there are other images, none of a single one."""
    queries = more.get("queries", vectors)
    if len(vectors) == 1:
        return Neighbours(np.zeros((len(queries), 0), np.int32), np.zeros((len(queries), 0), np.float32))
    return nearest(vectors, min(k, len(vectors) - 1), **more)


def votes(neighbours: Neighbours, labels: np.ndarray) -> np.ndarray:
    """The class that most of the k neighbours have, `(M,)`; of equally many, that which has the nearest of them."""
    found = np.empty(len(neighbours.index), labels.dtype)
    for rows in spans(len(found), neighbours.k**2):
        named = labels[neighbours.index[rows]]
        counts = (named[:, :, None] == named[:, None, :]).sum(axis=2)
        found[rows] = np.take_along_axis(named, counts.argmax(axis=1)[:, None], 1)[:, 0]
    return found


def overlap(a: Neighbours, b: Neighbours) -> np.ndarray:
    """Share of an image's k neighbours that two tables have in common, `(N,)` float64 in [0, 1]; NaN for a k of 0.

    Both must be of the same images among the same points with the same k, or `ExplanationError` is raised.
    """
    if a.index.shape != b.index.shape:
        raise ExplanationError(
            f"The neighbours are tables of {a.index.shape} and {b.index.shape}; allowed are equal numbers."
        )
    found = np.full(len(a.index), math.nan)
    for rows in spans(len(found), a.k**2) if a.k else ():
        found[rows] = (a.index[rows, :, None] == b.index[rows, None, :]).any(axis=2).mean(axis=1)
    return found


def chance_overlap(images: int, k: int) -> float:
    """The overlap that tables of unrelated neighbours have on average: k / (N - 1); NaN for a single image."""
    return k / (images - 1) if images > 1 else math.nan


def mean_share(values: np.ndarray, seed: int = 0) -> Share:
    """Mean of shares `(N,)`, multiples of one over k, with its 95 % interval by bootstrap over images (BCa).

    NaN where there is none, or where one is not defined.
    """
    if not len(values) or np.isnan(values).any():
        return undefined(len(values))
    different, counts = np.unique(np.round(values.astype(np.float64), _DIGITS), return_counts=True)
    return Share(float(values.mean()), *bca_of_counts(different, counts, seed), len(values))


def trustworthiness(
    vectors: np.ndarray,
    coordinates: np.ndarray,
    k: int,
    sample: int = SAMPLE,
    seed: int = 0,
    *,
    cancelled: Cancel | None = None,
) -> float:
    """How far those that a picture shows as neighbours are neighbours in feature space, in [0, 1]; 1 is all of them.

    `1 - 2 / (n k (2N - 3k - 1)) * sum of (r - k)` over n judged images and those of the k nearest points in the
    picture `coordinates` `(N, 2)` whose rank r in feature space `vectors` `(N, D)` is beyond k (Venna & Kaski 2001).
    Rank is one more than the number of images that are strictly nearer. All images are judged when there are at most
    `sample`, which is scikit-learn's `trustworthiness`; of more, that many drawn with `seed`. NaN unless k is below
    N / 2, beyond which the scale is not defined.
    """
    judged = _judged(len(vectors), sample, seed)
    if not _is_defined(vectors, coordinates, k):
        return math.nan
    shown = nearest(coordinates, k, queries=coordinates[judged], own=judged, cancelled=cancelled)
    return _without_intruders(vectors, judged, shown.index, cancelled)


def continuity(
    vectors: np.ndarray,
    coordinates: np.ndarray,
    k: int,
    sample: int = SAMPLE,
    seed: int = 0,
    *,
    neighbours: Neighbours | None = None,
    cancelled: Cancel | None = None,
) -> float:
    """How far neighbours in feature space are shown as neighbours: trustworthiness with the two spaces swapped.

    `neighbours` are those of all `vectors` where they are known already, at least k of them.
    """
    if neighbours is None or neighbours.k < k:
        return trustworthiness(coordinates, vectors, k, sample, seed, cancelled=cancelled)
    judged = _judged(len(vectors), sample, seed)
    if not _is_defined(vectors, coordinates, k):
        return math.nan
    return _without_intruders(coordinates, judged, neighbours.index[judged, :k], cancelled)


def _is_defined(vectors: np.ndarray, coordinates: np.ndarray, k: int) -> bool:
    if len(vectors) != len(coordinates):
        raise ExplanationError(f"{len(vectors)} images need as many points, not {len(coordinates)}.")
    checked(vectors), checked(coordinates, "coordinates")
    return 1 <= k < len(vectors) / 2


def _judged(count: int, sample: int, seed: int) -> np.ndarray:
    """Rows that are judged, rising."""
    if count <= sample:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, sample, replace=False))


def _without_intruders(
    vectors: np.ndarray, judged: np.ndarray, shown: np.ndarray, cancelled: Cancel | None
) -> float:
    """The formula of `trustworthiness`: `shown` `(n, k)` are rows for each of the `judged` `(n,)`."""
    k, excess = shown.shape[1], 0
    for rows, squared in squared_distances(vectors, judged, cancelled):
        for own, places, distances in zip(judged[rows], shown[rows], squared.numpy(), strict=True):
            wanted = distances[places]
            distances[own] = math.inf
            distances.sort()
            nearer = np.searchsorted(distances, wanted)  # fast, as numpy sorts with vector instructions
            excess += int(np.maximum(nearer + 1 - k, 0).sum())
    return 1 - 2 * excess / (len(judged) * k * (2 * len(vectors) - 3 * k - 1))
