"""How long what embeddings are made of takes, beside bare forward passes and the reference libraries."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from data.datasets import DatasetError, ImageSet, evenly_spread, load_dataset
from models import zoo
from models.registry import Model
from xai.benchmark_rows import Work
from xai.embedding_features import PENULTIMATE, extract
from xai.evaluation import forward_batch_size, shares
from xai.projection import Projecting, project

Comparison = tuple[str, Work, Work, float | None, int]
"""What a row of `xai.benchmark` says: its name, ours, the peer, the target of the ratio, and the rounds."""

NETWORKS = (
    "resnet18-cue10-s0",
    "alexnet-cue10-s0",
    "resnet18_cifar-w16-cifar10-jpeg-s0",
    "alexnet-cifar10-jpeg-s0",
)


def extraction(quick: bool) -> Iterator[Comparison]:
    """Features into an empty cache, of the default layer and of the last stage, beside forward passes of the same
    batches."""
    for name in NETWORKS:
        model = zoo.load(name)
        try:
            data = evenly_spread(load_dataset(model.card.dataset, "test"), 512 if quick else 2048)
        except DatasetError:  # not on this machine
            continue
        what, ours, bare = (
            f"features of {len(data):,} images, {name}",
            _extracted(model, data),
            _forward(model, data),
        )
        yield f"{what} / bare forward", ours, bare, 1.10, 5
        yield f"{what} / forward of a sweep", ours, _swept(model, data), 1.10, 5
        stage = model.stages[-1]
        yield f"{what}, {stage} / bare forward", _extracted(model, data, stage), bare, 1.10, 5


def _extracted(model: Model, data: ImageSet, layer: str = PENULTIMATE) -> Work:
    def work() -> None:
        with tempfile.TemporaryDirectory() as folder, _cache(folder):
            extract(model, data, layer)

    return work


@contextlib.contextmanager
def _cache(folder: str) -> Iterator[None]:
    """Let another folder be the cache."""
    before = os.environ.get("XAI_CACHE")
    os.environ["XAI_CACHE"] = folder
    try:
        yield
    finally:
        del os.environ["XAI_CACHE"]
        if before is not None:
            os.environ["XAI_CACHE"] = before


def _batches(data: ImageSet) -> tuple[Tensor, ...]:
    images = data.float_images()
    return images.split(forward_batch_size(images, images.device))


def _forward(model: Model, data: ImageSet) -> Work:
    batches = _batches(data)

    def work() -> None:
        with torch.inference_mode():
            for batch in batches:
                model.network(batch).softmax(dim=1)

    return work


def _swept(model: Model, data: ImageSet) -> Work:
    batches = _batches(data)
    return lambda: [shares(model, batch, "fp32") for batch in batches]


def projections(quick: bool) -> Iterator[Comparison]:
    """Maps of a ResNet-18's 512 features beside scikit-learn's t-SNE and umap-learn, both by their defaults.

    UMAP comes last: numba's threads, which umap-learn's own call starts, slow down any t-SNE after them.
    """
    model = zoo.load("resnet18-cifar10-jpeg-s0")
    try:
        data = evenly_spread(load_dataset(model.card.dataset, "test"), 2000 if quick else None)
    except DatasetError:  # not on this machine
        return
    vectors = extract(model, data).vectors
    cases = ((2000, 0.70),) if quick else ((2000, 0.70), (10_000, 0.35))
    for count, target in cases:
        few = vectors[:count]
        yield f"t-SNE of {len(few):,} x 512 / scikit-learn", _ours(few, "tsne"), _tsne(few), target, 1
    for count, _target in cases:
        few = vectors[:count]
        yield f"UMAP of {len(few):,} x 512, warm / umap-learn", _ours(few, "umap"), _umap(few), 1.00, 1


def _ours(vectors: np.ndarray, method: str) -> Work:
    return lambda: project(vectors, Projecting(method))


def _tsne(vectors: np.ndarray) -> Work:
    from sklearn.manifold import TSNE

    return lambda: TSNE(random_state=0).fit_transform(vectors.astype(np.float32))


def _umap(vectors: np.ndarray) -> Work:
    from umap import UMAP

    return lambda: UMAP(random_state=0).fit_transform(vectors.astype(np.float32))


MAKERS: tuple[Callable[[bool], Iterator[Comparison]], ...] = (extraction, projections)


def rows(quick: bool) -> Iterator[Comparison]:
    """All comparisons; the quick ones are of fewer images."""
    for make in MAKERS:
        yield from make(quick)
