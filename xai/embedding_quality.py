"""How far a picture of an embedding can be trusted: every measure of it, and warnings in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from xai.embedding import Quality, judged_k
from xai.embedding_classes import centres, class_distances, counts_of, silhouette
from xai.embedding_metrics import SAMPLE, continuity, knn_accuracy, near_of, trustworthiness, undefined
from xai.feature_blocks import Cancel, not_finite
from xai.neighbours import Neighbours

TRUSTED = 0.9
"""The least trustworthiness of a picture that gets no warning.

1 - T is, but for a term of k / N, how many places too far down the true order of neighbours the k that a picture
shows stand on average, as a share of all images. At 0.9 it is a tenth of all images: as far as a whole class when
there are ten. A picture that puts the points anywhere gets 0.5.
"""
FEW_PER_CLASS, FEW_PER_NEIGHBOUR = 10, 5
"""Fewer images than this in a class, or than this for each neighbour that is counted, are too few to go by."""


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
    yield from _class_warnings(counts_of(labels, len(classes)), classes)


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
