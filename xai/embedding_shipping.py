"""Makes the embeddings that come with the project: `python -m xai.embedding_shipping`, some minutes on two cores.

Every shipped network of `cifar10-jpeg` on the whole test split, as t-SNE and as UMAP; the two that the page opens with
under every degradation of the papers. The images themselves are not part of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import torch
from tqdm import tqdm

from data.datasets import open_dataset
from data.degradations import default_scale
from models import zoo
from xai import embedding_store
from xai.alignment import feature_residual
from xai.embedding import EmbeddingRequest, levels_of
from xai.embedding_features import extract
from xai.evaluation_grid import PAPER
from xai.projection import Projecting

DATASET, SPLIT, SIZE = "cifar10-jpeg", "test", 32
FIRST = ("alexnet-cifar10-jpeg-s0", "resnet18_cifar-w16-cifar10-jpeg-s0")
"""The networks that the page opens with."""
DEGRADED = "gaussian_noise"
"""The degradation that the page opens with: shipped for UMAP, too."""


def requests(models: Sequence[str]) -> Iterator[EmbeddingRequest]:
    """Everything that is shipped, one network and one degradation at a time."""
    scale = default_scale(SIZE, SIZE)
    for model in models:
        for method in ("tsne", "umap"):
            blank = EmbeddingRequest(
                (model,), DATASET, SPLIT, projecting=Projecting(method), layout="separate"
            )
            if model not in FIRST:
                yield blank
                continue
            for degradation in PAPER if method == "tsne" else (DEGRADED,):
                levels = levels_of(degradation, scale)
                yield replace(blank, degradation=degradation, severities=levels, scale=scale)


def residuals(models: Sequence[str]) -> dict[tuple[str, str], float]:
    """The Procrustes residual of the features of every two networks."""
    data = open_dataset(DATASET, SPLIT)
    features = {name: extract(zoo.load(name), data).vectors for name in models}
    pairs = tqdm(list(combinations(models, 2)), "residuals")
    return {pair: feature_residual(features[pair[0]], features[pair[1]]) for pair in pairs}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files; exit status 0."""
    parser = argparse.ArgumentParser(prog="python -m xai.embedding_shipping", description=__doc__)
    parser.add_argument("--out", type=Path, default=embedding_store.SHIPPED)
    parser.add_argument("--models", nargs="+", metavar="NAME", help="these networks instead of all")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    models = chosen.models or [name for name, card in zoo.cards().items() if card.dataset == DATASET]
    wanted = tqdm(list(requests(models)), "embeddings")
    paths = embedding_store.ship(
        [embedding_store.stored(each) for each in wanted], residuals(models), chosen.out
    )
    total = sum(path.stat().st_size for path in paths)
    print(f"{len(paths)} files, {total / 1e6:.2f} MB in {chosen.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
