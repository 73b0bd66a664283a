"""From a request to an embedding: the same network twice, severity, progress, and what can not be asked."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from data.datasets import ImageSet
from models.registry import Model
from tests.conftest import TinyModel
from xai import embedding_export, embedding_features, embedding_metrics, embedding_words
from xai.attribution_types import ExplanationError
from xai.embedding import Embedding, EmbeddingRequest, levels_of
from xai.embedding_file import rounded
from xai.embedding_run import embed
from xai.evaluation import Cancelled
from xai.figure_embedding import MapStyle, embedding_figure
from xai.projection import Projecting
from xai.ui import embedding_numbers

pytestmark = pytest.mark.usefixtures("one_thread")
REQUEST = EmbeddingRequest(
    ("one", "two"),
    "set",
    projecting=Projecting("pca"),
    degradation="gaussian_noise",
    severities=(1.0, 3.0),
    k=5,
)
COUNT = 60


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAI_CACHE", str(tmp_path_factory.getbasetemp() / "embedding run"))


@pytest.fixture(scope="module")
def data() -> ImageSet:
    """Noise in three colours, which are the classes."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(COUNT) % 3
    noise = torch.randint(0, 100, (COUNT, 3, 16, 16), generator=generator)
    noise[torch.arange(COUNT), labels] += 150
    ids = tuple(f"set/{row}" for row in range(COUNT))
    return ImageSet("set", "test", noise.to(torch.uint8), labels, ("red", "green", "blue"), ids)


@pytest.fixture(scope="module")
def model(tiny_model: TinyModel) -> Model:
    return tiny_model("resnet18_cifar", 16)


def made(model: Model, data: ImageSet, request: EmbeddingRequest = REQUEST) -> Embedding:
    """An embedding in which every network is the same one."""
    return embed(request, load=lambda name: replace(model, name=name), data=data)


def test_the_same_network_twice_arranges_images_alike(model: Model, data: ImageSet) -> None:
    found = made(model, data)
    assert found.between is not None
    assert (found.between.overlap == 1).all()
    assert found.between.mean.value == 1
    assert found.between.residual == pytest.approx(0, abs=1e-6)
    assert found.between.residual_2d == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(found.maps[0].coordinates, found.maps[1].coordinates, atol=1e-4)
    np.testing.assert_allclose(
        found.maps[0].degraded[1].coordinates, found.maps[1].degraded[1].coordinates, atol=1e-4
    )


def test_numbers_are_those_of_the_networks_own_features(model: Model, data: ImageSet) -> None:
    found = made(model, data, replace(REQUEST, models=("one",)))
    (one,) = found.maps
    features = embedding_features.extract(model, data)
    vectors = np.asarray(features.vectors, np.float64)
    away = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    np.fill_diagonal(away, np.inf)
    nearest = np.sort(away, axis=1)[:, :5]
    np.testing.assert_allclose(
        np.take_along_axis(away, one.neighbours.astype(np.int64), 1), nearest, rtol=1e-5
    )
    assert one.answers.predicted.tolist() == [
        found.classes.index(model.classes[number]) for number in features.predicted
    ]
    assert found.classes[:3] == ("red", "green", "blue")
    assert found.ids == data.ids
    noisy = embedding_features.extract(
        model, data, degradation="gaussian_noise", severity=3.0, scale=found.request.scale
    )
    far = np.linalg.norm(np.asarray(noisy.vectors, np.float64)[:, None] - vectors[None], axis=2)
    np.fill_diagonal(far, np.inf)
    kept = [
        len(set(np.argsort(far[row])[:5].tolist()) & set(one.neighbours[row].tolist())) / 5
        for row in range(COUNT)
    ]
    np.testing.assert_allclose(one.degraded[1].overlap, kept)


def test_stronger_degradation_keeps_fewer_neighbours(model: Model, data: ImageSet) -> None:
    (one,) = made(model, data, replace(REQUEST, models=("one",), severities=(1.0, 5.0))).maps
    weak, strong = one.degraded
    assert strong.overlap.mean() < weak.overlap.mean() < 1
    assert np.nanmean(strong.drift) > np.nanmean(weak.drift) > 0


def test_the_scale_that_fits_is_named_and_used(model: Model, data: ImageSet) -> None:
    assert made(model, data).request.scale == "cifar-c"
    assert levels_of("gaussian_noise", "cifar-c") == (1, 3, 5)
    assert levels_of("gaussian_noise", "paper-relative") == (1, 2, 3)


@pytest.mark.parametrize(("limit", "kept"), [(COUNT - 1, COUNT - 1), (COUNT, None), (10_000, None)])
def test_a_limit_that_leaves_nothing_out_is_none(
    model: Model, data: ImageSet, limit: int, kept: int | None
) -> None:
    found = made(model, data, replace(REQUEST, models=("one",), severities=(1.0,), limit=limit))
    assert found.request.limit == kept
    assert len(found.ids) == min(limit, COUNT)


def test_a_severity_out_of_range_is_told_before_anything_is_computed(model: Model, data: ImageSet) -> None:
    told: list[str] = []
    with pytest.raises(
        ExplanationError, match=r"go up to 9; gaussian_noise on the scale cifar-c takes up to 5"
    ):
        embed(
            replace(REQUEST, severities=(1.0, 9.0)),
            load=lambda name: replace(model, name=name),
            data=data,
            progress=lambda _done, _total, what: told.append(what),
        )
    assert not told


def test_progress_rises_to_the_end_and_cancelling_stops(model: Model, data: ImageSet) -> None:
    calls: list[tuple[float, float]] = []
    embed(
        REQUEST,
        load=lambda name: replace(model, name=name),
        data=data,
        progress=lambda done, total, _what: calls.append((done, total)),
    )
    shares = [done / total for done, total in calls]
    assert shares == sorted(shares)
    assert 0 <= shares[0] < 0.2
    assert shares[-1] > 0.8
    asked: list[int] = []

    def cancelled() -> bool:
        asked.append(1)
        return len(asked) > 3

    with pytest.raises(Cancelled):
        embed(REQUEST, load=lambda name: replace(model, name=name), data=data, cancelled=cancelled)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"models": ()}, "0 networks were given"),
        ({"models": ("a", "a")}, "2 networks were given; allowed are one, or two that differ"),
        ({"layout": "joint"}, "the layout is 'joint'; allowed are separate, aligned, shared start"),
        ({"layers": ("layer1",)}, "1 layers were given for 2 networks"),
        ({"k": 0}, "0 neighbours were asked for; allowed are 1 to 100"),
        ({"severities": (3.0, 1.0)}, "the severities are 3, 1; they must rise and be above 0"),
        ({"degradation": "none"}, "severities were given, but no degradation"),
    ],
)
def test_what_can_not_be_asked_is_told(change: dict[str, object], words: str) -> None:
    with pytest.raises(ExplanationError, match=words):
        replace(REQUEST, **change)  # type: ignore[arg-type]


def test_requests_are_json_and_foreign_ones_are_refused() -> None:
    assert EmbeddingRequest.from_json(REQUEST.to_json()) == REQUEST
    sound = REQUEST.to_json()
    changes: list[dict[str, object]] = [
        {"colour": 1},
        {"k": 10.5},
        {"limit": "5"},
        {"limit": 1.5},
        {"limit": 0},
        {"dataset": 5},
        {"seed": float("inf")},
        {"seed": 10**40},
        {"severities": [float("inf")]},
        {"severities": list(range(1, 200))},
        {"layers": [1, 2]},
    ]
    for wrong in ({}, {"models": 3}, *({**sound, **change} for change in changes)):
        with pytest.raises(ExplanationError):
            EmbeddingRequest.from_json(wrong)


@pytest.mark.parametrize("rows", [[0, 1], [0], [0, 3, 6, 9, 12, 15, 18, 21]], ids=["two", "one", "one class"])
@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_two_images_one_image_and_one_class(
    rows: list[int], method: str, model: Model, data: ImageSet
) -> None:
    """Too few to arrange or to judge: an embedding with warnings that is kept and told of, not a failure."""
    few = data.take(torch.tensor(rows))
    found = rounded(made(model, few, replace(REQUEST, projecting=Projecting(method))))
    assert np.isfinite(found.maps[0].coordinates).all()
    assert found.maps[0].quality.warnings
    assert found.maps[0].neighbours.shape == (len(rows), min(5, len(rows) - 1))
    one, degraded = found.maps[0], found.maps[0].degraded[0]
    said = [
        *embedding_words.map_lines(found, one),
        *embedding_words.notes(found),
        *embedding_export.metrics_text(found),
        embedding_numbers.map_words(found, one),
        embedding_numbers.map_words(found, one, degraded),
        *(str(row) for row in embedding_numbers._quality_rows(found)),
        *(str(row) for row in embedding_numbers._severity_rows(found)),
    ]
    assert not [line for line in said if re.search(r"\bnan\b|e[+]|\b1 \w*\s?(neighbours|images)\b", line)]
    told = "Trustworthiness not defined, continuity not defined"
    assert any(told in line for line in said) == (len(rows) < 3)
    assert embedding_figure(found, MapStyle(arrows=True)).axes


@pytest.mark.parametrize(("count", "k", "judged"), [(21, 10, 10), (20, 10, 9), (8, 7, 3), (2, 1, 0)])
def test_what_is_counted_is_said_where_there_are_few_images(
    count: int, k: int, judged: int, model: Model, data: ImageSet
) -> None:
    few = data.take(torch.arange(count))
    request = replace(REQUEST, models=("one",), severities=(), degradation="none", k=10)
    found = made(model, few, request)
    (one,) = found.maps
    vectors = embedding_features.extract(model, few).vectors
    if judged:
        expected = embedding_metrics.trustworthiness(vectors, one.coordinates, judged)
        assert one.quality.trustworthiness == expected
    at = f"(k = {judged}, " if judged else "("
    assert f"{at}{count} images)" in embedding_words.map_lines(found, one)[1]
    said = " ".join(embedding_words.notes(found))
    fewer = f"There are {count} images, so that each has {k} neighbour{'s' * (k > 1)} instead of 10."
    assert (fewer in said) == (k < 10)
    assert (f"Trustworthiness and continuity are of {judged} neighbours" in said) == (0 < judged < k)


class Mute(nn.Module):
    """A network whose outputs are no numbers for pictures that begin with much."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: Tensor) -> Tensor:
        scores = self.network(pictures)
        return torch.where(pictures[:, :1, 0, 0] > 0.5, torch.nan, scores)


def test_answers_that_are_no_numbers_are_0_and_told(model: Model, data: ImageSet) -> None:
    mute = replace(model, network=Mute(model.network))
    found = made(mute, data, replace(REQUEST, models=("one",), layers=("network.layer1",)))
    (one,) = found.maps
    silent = data.images[:, 0, 0, 0] > 127
    assert 0 < silent.sum() < COUNT
    assert (one.answers.probabilities[silent] == 0).all()
    assert (one.answers.confidence[~silent] > 0).all()
    words = (
        f"{int(silent.sum())} of {COUNT} images get no probabilities, as an output is no number; 0 is shown"
    )
    assert [note for note in one.notes if note.startswith(words)]
    assert [note for note in one.notes if note.startswith("At severity 3: ") and "no probabilities" in note]
