"""Embeddings made by hand, without networks: groups of points with answers that are mostly right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xai.embedding import Between, Degraded, Embedding, EmbeddingRequest, Map, Quality, Said, Share
from xai.projection import Projecting

BAD = "The picture is poor: only 62 % of what lies together in it lies together in feature space."


def embedding(
    n: int = 60,
    classes: int = 3,
    models: Sequence[str] = ("a", "b"),
    severities: Sequence[float] = (1.0, 3.0),
    *,
    k: int = 5,
    seed: int = 0,
    warnings: Sequence[str] = (),
    method: str = "tsne",
) -> Embedding:
    """`n` images of `classes` classes in turn, arranged in groups by each of the networks."""
    draw = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    request = EmbeddingRequest(
        tuple(models),
        "cue10",
        limit=n,
        projecting=Projecting(method=method),
        degradation="gaussian_noise" if severities else "none",
        scale="cifar-c" if severities else "",
        severities=tuple(severities),
        k=k,
    )
    maps = tuple(_map(name, labels, classes, severities, k, draw, tuple(warnings)) for name in models)
    between = _between(n, k, draw) if len(maps) > 1 else None
    names = tuple(f"class {number}" for number in range(classes))
    return Embedding(request, tuple(f"test/{row:05d}" for row in range(n)), labels, names, maps, between)


def share(value: float, n: int) -> Share:
    """A share with a made-up interval."""
    return Share(value, value - 0.01, value + 0.01, n)


def _between(n: int, k: int, draw: np.random.Generator) -> Between:
    overlap = draw.integers(0, k + 1, n) / k
    return Between(overlap, share(float(overlap.mean()), n), k / (n - 1), 0.41, 0.62)


def answers(labels: np.ndarray, classes: int, wrong: float, draw: np.random.Generator) -> Said:
    """Three classes and probabilities in eighths of 255, a share `wrong` of them wrong."""
    missed = draw.random(len(labels)) < wrong
    first = np.where(missed, (labels + 1) % classes, labels)
    found = np.stack([first, (first + 1) % classes, (first + 2) % classes], axis=1).astype(np.int16)
    if classes < 3:
        found[:, classes:] = -1
    steps = np.stack([draw.integers(100, 256, len(labels)), *draw.integers(0, 50, (2, len(labels)))], axis=1)
    return Said(found, (np.sort(steps)[:, ::-1] / 255).astype(np.float32))


def _map(
    name: str,
    labels: np.ndarray,
    classes: int,
    severities: Sequence[float],
    k: int,
    draw: np.random.Generator,
    warnings: tuple[str, ...],
) -> Map:
    n, round_ = len(labels), 2 * np.pi * np.arange(classes) / classes
    middles = 40 * np.sqrt(classes / 10) * np.stack([np.cos(round_), np.sin(round_)], axis=1)
    points = (middles[labels] + draw.normal(0, 6, (n, 2))).astype(np.float32)
    steps = (np.arange(n)[:, None] + np.stack([draw.permutation(n - 1)[:k] + 1 for _ in range(n)])) % n
    quality = Quality(
        0.953,
        0.961,
        min(n, 2000),
        share(0.81, n),
        share(0.79, n),
        draw.random(classes),
        0.31,
        np.linalg.norm(middles[:, None] - middles[None], axis=2),
        warnings,
    )
    degraded = tuple(
        Degraded(
            severity,
            (points * (1 - severity / 8) + draw.normal(0, severity, (n, 2))).astype(np.float32),
            answers(labels, classes, 0.15 * severity, draw),
            draw.integers(0, k + 1, n) / k,
            share(0.7, n),
            draw.random(classes),
        )
        for severity in severities
    )
    return Map(
        name,
        "0" * 63 + name[0],
        "penultimate",
        128,
        points,
        steps.astype(np.int32),
        answers(labels, classes, 0.1, draw),
        quality,
        degraded,
        "openTSNE",
        ("A note.",),
    )
