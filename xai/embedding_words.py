"""What is said below a map, as sentences: what was measured, how the picture is read, and what is drawn."""

from __future__ import annotations

import math

import numpy as np

from data.degradations import DEGRADATIONS, SCALES, resolve_name, resolve_scale
from xai.embedding import Embedding, Map, Share, judged_k
from xai.projection_umap import PLACED_NEAR

_READING = {
    "pca": "PCA: the two directions in which the features vary most.",
    "tsne": "t-SNE; the axes have no unit.",
    "umap": "UMAP; the axes have no unit.",
}
UNDEFINED = "not defined"
FAR = "Distances between far clusters mean little, and so do the sizes of clusters."
"""Of t-SNE and UMAP."""


def percent(one: Share) -> str:
    """A share with its interval and n, such as `81.2 % (80.4 to 82.0, n = 10,000)`."""
    if not math.isfinite(one.value):
        return UNDEFINED
    return f"{100 * one.value:.1f} % ({100 * one.low:.1f} to {100 * one.high:.1f}, n = {one.n:,})"


def measure(value: float, digits: int = 3) -> str:
    """A measure with so many decimals."""
    return f"{value:.{digits}f}" if math.isfinite(value) else UNDEFINED


def mean_percent(shares: np.ndarray) -> str:
    """The mean of shares in percent."""
    return f"{100 * shares.mean():.1f} %" if len(shares) and np.isfinite(shares).all() else UNDEFINED


def chance_percent(share: float) -> str:
    """What chance gives, in percent with two digits."""
    return f"{float(f'{100 * share:.2g}'):g} %" if math.isfinite(share) else UNDEFINED


def counted(number: int, word: str) -> str:
    """`10 images`, `1 image`: a number of things."""
    return f"{number:,} {word}{'s' * (number != 1)}"


def map_lines(found: Embedding, one: Map) -> list[str]:
    """What is measured of one map, as lines."""
    quality, k = one.quality, one.neighbours.shape[1]
    judged = judged_k(len(found.labels), k)
    at = f"k = {judged}, " if judged else ""
    lines = [
        f"{one.layer}, {one.dimensions:,} features of {counted(len(found.labels), 'image')}",
        f"trustworthiness {measure(quality.trustworthiness)}, continuity {measure(quality.continuity)} "
        f"({at}{counted(quality.judged, 'image')})",
        f"label by {counted(k, 'neighbour')}: {percent(quality.knn_accuracy)}; in the picture "
        f"{percent(quality.knn_accuracy_2d)}",
    ]
    for each in one.degraded:
        lines.append(
            f"severity {each.severity:g}: label by neighbours {percent(each.knn_accuracy)}; "
            f"neighbours kept {mean_percent(each.overlap)}"
        )
    return lines


def notes(found: Embedding) -> list[str]:
    """Sentences on the whole: between the maps, the method, the layout, and the degradation."""
    request = found.request
    words = [*_between_words(found), *reading_words(found)]
    if request.severities and found.maps[0].degraded:
        title = DEGRADATIONS[resolve_name(request.degradation)].title
        words.append(f"Degraded by {title} ({SCALES[resolve_scale(request.scale)]}).")
    return words


def _between_words(found: Embedding) -> list[str]:
    one = found.between
    if one is None or not math.isfinite(one.mean.value):
        return []
    k = found.maps[0].neighbours.shape[1]
    residuals = [
        f"{value:.2f} {of}"
        for value, of in ((one.residual, "of the features"), (one.residual_2d, "of the pictures"))
        if math.isfinite(value)
    ]
    words = [
        f"Of the {counted(k, 'nearest neighbour')} of an image, A and B share {percent(one.mean)}; by chance "
        f"{chance_percent(one.chance)}."
    ]
    return words + ([f"Procrustes residual {' and '.join(residuals)}."] if residuals else [])


def reading_words(found: Embedding) -> list[str]:
    """How the picture is to be read, in sentences."""
    method, layout = found.request.projecting.method, found.request.layout
    words = [_READING[method], *([FAR] if method != "pca" else [])]
    if len(found.maps) > 1:
        words.append(
            "The two maps were laid out separately and can't be compared place by place."
            if layout == "separate"
            else "B is turned, mirrored and scaled onto A."
        )
    if method == "umap" and found.maps[0].degraded:
        words.append(
            f"Placed into it anew, nine of ten clean images land within {100 * PLACED_NEAR:.2g} % of the map's width "
            "of their points: shorter arrows are noise."
        )
    return [*words, *fewer_words(found)]


def fewer_words(found: Embedding) -> list[str]:
    """What is said where there are too few images for the neighbours that were asked for."""
    count, asked, k = len(found.labels), found.request.k, found.maps[0].neighbours.shape[1]
    words = []
    if 0 < k < asked:
        words.append(
            f"There are {count} images, so that each has {counted(k, 'neighbour')} instead of {asked}."
        )
    if 0 < (judged := judged_k(count, k)) < k:
        words.append(
            f"Trustworthiness and continuity are of {counted(judged, 'neighbour')}, as these must be fewer than half "
            f"of the {count} images."
        )
    return words
