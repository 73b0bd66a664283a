"""Features as points in the plane: PCA, t-SNE and UMAP."""

from __future__ import annotations

from dataclasses import dataclass

METHODS = ("pca", "tsne", "umap")


@dataclass(frozen=True)
class Projecting:
    """How features become points; JSON-able.

    `perplexity`: about how many neighbours t-SNE keeps together; `iterations` of t-SNE after its early exaggeration;
    `neighbours`: how many UMAP keeps together; `min_distance`: how tightly UMAP may pack points, 0 to 1; `pca`: to how
    many dimensions features are reduced first by PCA (0: not at all).
    """

    method: str = "tsne"
    perplexity: float = 30.0
    iterations: int = 500
    neighbours: int = 15
    min_distance: float = 0.1
    pca: int = 50
    seed: int = 0
