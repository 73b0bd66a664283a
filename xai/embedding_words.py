"""What is said below a map, as sentences: what was measured, how the picture is read, and what is drawn."""

from __future__ import annotations

import math

import numpy as np

from data.degradations import DEGRADATIONS, SCALES, resolve_name, resolve_scale
from xai.embedding import Embedding, Map, Share

_READING = {
    "pca": "PCA: the two directions in which the features vary most.",
    "tsne": "t-SNE; the axes have no unit.",
    "umap": "UMAP; the axes have no unit.",
}
FAR = "Distances between far clusters mean little, and so do the sizes of clusters."
"""Of t-SNE and UMAP."""


def percent(one: Share) -> str:
    """A share with its interval and n, such as `81.2 % (80.4 to 82.0, n = 10,000)`."""
    if not math.isfinite(one.value):
        return "not defined"
    return f"{100 * one.value:.1f} % ({100 * one.low:.1f} to {100 * one.high:.1f}, n = {one.n:,})"


def measure(value: float) -> str:
    """A measure with three decimals."""
    return f"{value:.3f}" if math.isfinite(value) else "not defined"


def map_lines(found: Embedding, one: Map) -> list[str]:
    """What is measured of one map, as lines."""
    quality, k = one.quality, one.neighbours.shape[1]
    lines = [
        f"{one.layer}, {one.dimensions:,} features of {len(found.labels):,} images",
        f"trustworthiness {measure(quality.trustworthiness)}, continuity {measure(quality.continuity)} "
        f"(k = {k}, {quality.judged:,} images)",
        f"label by {k} neighbours: {percent(quality.knn_accuracy)}; in the picture "
        f"{percent(quality.knn_accuracy_2d)}",
    ]
    for each in one.degraded:
        kept = f"{100 * each.overlap.mean():.1f} %" if np.isfinite(each.overlap).all() else "not defined"
        lines.append(
            f"severity {each.severity:g}: label by neighbours {percent(each.knn_accuracy)}; "
            f"neighbours kept {kept}"
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
    if one is None:
        return []
    k = found.maps[0].neighbours.shape[1]
    residuals = [
        f"{value:.2f} {of}"
        for value, of in ((one.residual, "of the features"), (one.residual_2d, "of the pictures"))
        if math.isfinite(value)
    ]
    words = [
        f"Of the {k} nearest neighbours of an image, A and B share {percent(one.mean)}; by chance "
        f"{100 * one.chance:.2g} %."
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
    return words
