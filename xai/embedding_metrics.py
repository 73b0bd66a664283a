"""What can be said of an arrangement of images in numbers, computed in the space of the features.

Points are never compared all with all at once: at most some thousand judged images are compared with all images, a
block at a time. Up to `SAMPLE` images all are judged and the numbers are exact; of more, a seeded sample is, each
against all images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xai.attribution_types import ExplanationError
from xai.embedding import Quality, Share, judged_k
from xai.feature_blocks import Cancel, checked, doubles, mean_of, not_finite, spans, tell
from xai.neighbours import Neighbours, nearest
from xai.statistics import bca_of_counts, wilson

SAMPLE = 2000
"""How many images are judged at most."""
TRUSTED = 0.9
"""The least trustworthiness of a picture that gets no warning.

1 - T is, but for a term of k / N, how many places too far down the true order of neighbours the k that a picture
shows stand on average, as a share of all images. At 0.9 it is a tenth of all images: as far as a whole class when
there are ten. A picture that puts the points anywhere gets 0.5.
"""
FEW_PER_CLASS, FEW_PER_NEIGHBOUR = 10, 5
"""Fewer images than this in a class, or than this for each neighbour that is counted, are too few to go by."""
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
    for rows, squared in _squared_distances(vectors, judged, cancelled):
        for own, places, distances in zip(judged[rows], shown[rows], squared.numpy(), strict=True):
            wanted = distances[places]
            distances[own] = math.inf
            distances.sort()
            nearer = np.searchsorted(distances, wanted)  # fast, as numpy sorts with vector instructions
            excess += int(np.maximum(nearer + 1 - k, 0).sum())
    return 1 - 2 * excess / (len(judged) * k * (2 * len(vectors) - 3 * k - 1))


def _squared_distances(
    vectors: np.ndarray, judged: np.ndarray, cancelled: Cancel | None
) -> Iterator[tuple[slice, Tensor]]:
    """Squared distances `(n, N)` float64 of some of the judged rows at a time to all rows; equal rows have 0."""
    mean = mean_of(vectors)
    for rows in spans(len(judged), 2 * len(vectors)):
        ours = doubles(vectors[judged[rows]], mean)
        squared = torch.empty(len(ours), len(vectors), dtype=torch.float64)
        for span in spans(len(vectors), 2 * vectors.shape[1]):
            tell(None, cancelled, 0, 0, "")
            squared[:, span] = _between(ours, doubles(vectors[span], mean))
        yield rows, squared


def _between(x: Tensor, y: Tensor) -> Tensor:
    """Squared distances `(n, m)`; those that are no more than what rounding leaves are 0."""
    lengths = x.square().sum(dim=1)[:, None] + y.square().sum(dim=1)
    squared = torch.addmm(lengths, x, y.T, alpha=-2)
    return squared.masked_fill_(squared <= 4 * x.shape[1] * torch.finfo(x.dtype).eps * lengths, 0)


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
    counts = _counts(labels, classes)
    by_class = np.full(classes, math.nan)
    if (counts > 0).sum() < 2 or counts.max() < 2:
        return by_class, math.nan
    judged = _of_each_class(labels, counts, sample, seed)
    values, kept = _silhouettes(vectors, labels, counts, judged, cancelled), labels[judged]
    known = np.flatnonzero(counts > 1)
    by_class[known] = [values[kept == number].mean() for number in known]
    return by_class, float(by_class[known] @ counts[known] / counts[known].sum())


def _counts(labels: np.ndarray, classes: int) -> np.ndarray:
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
    for rows, squared in _squared_distances(vectors, judged, cancelled):
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
    counts = _counts(labels, classes)
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


def quality(
    vectors: np.ndarray,
    coordinates: np.ndarray,
    neighbours: Neighbours,
    labels: np.ndarray,
    classes: Sequence[str],
    *,
    sample: int = SAMPLE,
    seed: int = 0,
    cancelled: Cancel | None = None,
) -> Quality:
    """How far the picture `coordinates` `(N, 2)` of `vectors` `(N, D)` can be trusted, with warnings in words.

    `neighbours` are those of all vectors; their k is that of every number, made smaller for trustworthiness and
    continuity where the images are too few. `labels` `(N,)` are numbers of the named `classes`. Where a value is not
    finite nothing is judged: all is NaN, and a warning says so.
    """
    bad = not_finite(vectors), not_finite(coordinates)
    if any(bad):
        return _unjudged(len(classes), bad, len(vectors))
    k = judged_k(len(vectors), neighbours.k)
    middles = centres(vectors, labels, len(classes))
    silhouettes, mean = silhouette(vectors, labels, len(classes), sample, seed, cancelled=cancelled)
    trust = trustworthiness(vectors, coordinates, k, sample, seed, cancelled=cancelled)
    return Quality(
        trust,
        continuity(vectors, coordinates, k, sample, seed, neighbours=neighbours, cancelled=cancelled),
        min(len(vectors), sample),
        knn_accuracy(neighbours, labels),
        knn_accuracy(near_of(coordinates, neighbours.k, cancelled=cancelled), labels),
        silhouettes,
        mean,
        class_distances(middles),
        tuple(_warnings(vectors, trust, neighbours.k, labels, classes)),
    )


def _unjudged(classes: int, bad: tuple[int, int], images: int) -> Quality:
    """The quality of what can't be judged."""
    parts = zip(bad, ("features", "coordinates"), strict=True)
    words = [
        f"The {what} of {count} of {images} images hold NaN or infinite values, so nothing was judged."
        for count, what in parts
        if count
    ]
    nan, by_class = math.nan, np.full(classes, math.nan)
    distances = np.full((classes, classes), nan)
    return Quality(nan, nan, 0, undefined(), undefined(), by_class, nan, distances, tuple(words))


def _warnings(
    vectors: np.ndarray, trust: float, k: int, labels: np.ndarray, classes: Sequence[str]
) -> Iterator[str]:
    """Sentences for a badge."""
    if not k:
        yield "There is only one image, so nothing is said of neighbours and classes."
        return
    if not (vectors != vectors[:1]).any():
        yield "All images have the same features, so the picture says nothing."
    elif trust < TRUSTED:
        yield (
            f"The picture is poor: its trustworthiness is {trust:.3f}, below {TRUSTED:g}. Many points that lie close "
            f"together are not alike for the network."
        )
    if len(labels) < FEW_PER_NEIGHBOUR * k:
        near = f"{k} neighbour{'s' * (k > 1)}"
        yield f"The sample is small: {len(labels)} images for {near}; {FEW_PER_NEIGHBOUR * k} are needed."
    yield from _class_warnings(_counts(labels, len(classes)), classes)


def _class_warnings(counts: np.ndarray, classes: Sequence[str]) -> Iterator[str]:
    if (counts > 0).sum() == 1:
        only = classes[int(counts.argmax())]
        yield f"All images are of one class ({only}), so nothing is said of how classes lie apart."
    single = np.flatnonzero(counts == 1)
    if len(single):
        yield f"{_named(single, classes)} only one image, so no silhouette."
    few = np.flatnonzero((counts > 1) & (counts < FEW_PER_CLASS))
    if len(few):
        yield f"{_named(few, classes)} fewer than {FEW_PER_CLASS} images; numbers by class are not to be relied on."


def _named(numbers: np.ndarray, classes: Sequence[str]) -> str:
    """Up to three classes by name with their verb, more by their number."""
    if len(numbers) > 3:
        return f"{len(numbers)} classes have"
    names = ", ".join(classes[number] for number in numbers)
    return f"{'Class' if len(numbers) == 1 else 'Classes'} {names} {'has' if len(numbers) == 1 else 'have'}"
