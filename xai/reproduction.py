"""Draws the figure of any manifest again, whatever kind of figure it is: the manifest's `format` says which."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

Reproducer = Callable[[bytes, Path | None], dict[str, bytes]]
"""A manifest's bytes, and the picture's file where it was uploaded -> the files of the bundle by name."""

REPRODUCERS: dict[str, Reproducer] = {}
"""By the manifest's `format`, as text. Each imports what it needs when it is called."""


def register(manifest_format: str) -> Callable[[Reproducer], Reproducer]:
    """Decorator that adds a kind of manifest; raises `ValueError` when its format is taken."""
    if manifest_format in REPRODUCERS:
        raise ValueError(f"manifests of the format {manifest_format!r} are registered twice.")

    def add(reproducer: Reproducer) -> Reproducer:
        REPRODUCERS[manifest_format] = reproducer
        return reproducer

    return add


def reproduce_files(content: bytes, image: Path | None) -> dict[str, bytes]:
    """The bundle of a manifest of any registered format, computed again: files by name.

    Raises `ManifestError` with one sentence for what is no manifest of this program, or when the picture or a network
    is not the one that it names.
    """
    from xai.manifests import ManifestError

    reproducer = REPRODUCERS.get(_format(content))
    if reproducer is None:
        raise ManifestError("The manifest is not one that this program wrote, or of another version of it.")
    return reproducer(content, image)


def _format(content: bytes) -> str:
    try:
        found = json.loads(content)
        return str(found["format"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


@register("1")
def _heatmaps(content: bytes, image: Path | None) -> dict[str, bytes]:
    """Heatmaps, of the command `explain` and the page Explain."""
    from xai.export import bundle, reproduce

    comparison, style = reproduce(content, image)
    return bundle(comparison, style, every_width=False)


@register("xai-features-1")
def _features(content: bytes, image: Path | None) -> dict[str, bytes]:
    """Feature maps, of the command `features` and the page Features."""
    from xai.feature_export import reproduce_features

    return reproduce_features(content, image)


@register("xai-visualization-1")
def _visualizations(content: bytes, image: Path | None) -> dict[str, bytes]:
    """Feature visualisations, of the command `visualize` and the page Channel."""
    from xai.visualization_export import reproduce_files

    return reproduce_files(content, image)


@register("xai-inversion-1")
def _inversions(content: bytes, image: Path | None) -> dict[str, bytes]:
    """Inversions of layers, of the command `visualize --invert`."""
    from xai.inversion_export import reproduce_files

    return reproduce_files(content, image)


@register("xai-embedding-1")
def _embeddings(content: bytes, image: Path | None) -> dict[str, bytes]:
    """Embeddings, of the command `embed` and the page Embeddings."""
    from xai.embedding_reproduction import reproduce_files

    return reproduce_files(content, image)


@register("xai-compare-1")
def _comparisons(content: bytes, image: Path | None) -> dict[str, bytes]:
    """Reports of two networks compared, of the command `compare` and the page Compare."""
    from xai.compare.story_again import reproduce_files

    return reproduce_files(content, image)
