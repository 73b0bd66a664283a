"""The embeddings that come with the project: small, of the shipped networks, and true where the images are here."""

from __future__ import annotations

import numpy as np
import pytest

from data import cifar
from data.catalogue import load_dataset
from data.degradations import default_scale
from models import zoo
from xai import embedding_store
from xai.embedding import Embedding, EmbeddingRequest, levels_of
from xai.embedding_features import extract
from xai.embedding_shipping import DATASET, FIRST, SPLIT, requests
from xai.evaluation_grid import PAPER
from xai.neighbours import nearest
from xai.projection import Projecting
from xai.result_folders import open_results
from xai.results import SHIPPED, Condition

MOST_BYTES = 5_000_000
NETWORKS = [name for name, card in zoo.cards().items() if card.dataset == DATASET and zoo.is_shipped(name)]
pytestmark = pytest.mark.skipif(not NETWORKS, reason="no network of the dataset ships with this checkout")
needs_images = pytest.mark.skipif(not cifar._unpacked().is_file(), reason=f"{DATASET} is not unpacked")


def shipped(request: EmbeddingRequest) -> Embedding | None:
    return embedding_store.shipped(request, [zoo.cards()[name].sha256 for name in request.models])


def found(request: EmbeddingRequest) -> Embedding:
    """A shipped embedding, which must be there."""
    one = shipped(request)
    assert one is not None, request
    return one


def test_they_take_little_room() -> None:
    files = [path for path in embedding_store.SHIPPED.rglob("*") if path.is_file()]
    assert len(files) == len(NETWORKS) + 1
    assert sum(path.stat().st_size for path in files) < MOST_BYTES


def test_everything_that_is_planned_is_there() -> None:
    for request in requests(NETWORKS):
        one = found(request)
        assert len(one.ids) == len(one.labels) == 10_000
        assert [each.severity for each in one.maps[0].degraded] == list(request.severities)


@pytest.mark.parametrize("degradation", PAPER)
def test_the_page_opens_with_two_networks_under_every_degradation_of_the_papers(degradation: str) -> None:
    scale = default_scale(32, 32)
    both = found(
        EmbeddingRequest(
            FIRST,
            DATASET,
            SPLIT,
            degradation=degradation,
            severities=levels_of(degradation, scale),
            scale=scale,
        )
    )
    assert both.between is not None
    assert both.between.chance < 0.01 < both.between.mean.low
    assert 0 < both.between.residual < 1
    for one in both.maps:
        assert one.quality.trustworthiness > 0.95
        weak, *_, strong = one.degraded
        assert strong.knn_accuracy.value < weak.knn_accuracy.value
        assert strong.overlap.mean() < weak.overlap.mean()


@pytest.mark.parametrize("name", NETWORKS)
def test_answers_are_those_of_the_stored_sweeps(name: str) -> None:
    (board,) = [
        board
        for setting, board in open_results([SHIPPED]).boards.items()
        if setting.dataset == DATASET
        and setting.split == SPLIT
        and not setting.limit
        and setting.precision == "fp32"
    ]
    stored = board.answers(name, Condition("clean", "", 0.0))
    one = found(EmbeddingRequest((name,), DATASET, SPLIT))
    assert stored is not None
    assert stored.ids == one.ids
    names = np.array(one.classes)[one.maps[0].answers.predicted]
    assert (names == np.array(board.classes)[stored.predicted]).mean() > 0.999


@needs_images
def test_neighbours_are_measured_again() -> None:
    """The nearest of some images among all, from features computed now."""
    model = zoo.load(FIRST[1])
    data = load_dataset(DATASET, SPLIT)
    (one,) = found(EmbeddingRequest((model.name,), DATASET, SPLIT, projecting=Projecting("umap"))).maps
    vectors = extract(model, data).vectors
    rows = np.arange(0, len(data), 500)
    near = nearest(vectors, one.neighbours.shape[1], queries=np.asarray(vectors[rows]), own=rows)
    same = [
        len(set(a) & set(b)) for a, b in zip(near.index.tolist(), one.neighbours[rows].tolist(), strict=True)
    ]
    assert np.mean(same) > 0.99 * one.neighbours.shape[1]
