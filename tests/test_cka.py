"""CKA: identities, an independent implementation in feature space, and matrices of real networks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from data import cue10
from data.datasets import ImageSet
from models.cards import Card
from models.registry import Model
from tests.conftest import TinyModel
from tests.feature_helpers import Giving
from xai import evaluation
from xai.attribution_types import ExplanationError
from xai.cka import Side, cka_matrices, cka_matrix, panels
from xai.cka_formulas import linear_cka, minibatch_cka, u_centred, unbiased_hsic
from xai.feature_layers import layer_table
from xai.hooks import count_hooks, recorded

pytestmark = pytest.mark.usefixtures("one_thread")


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def feature_space_cka(x: np.ndarray, y: np.ndarray) -> float:
    """`|Y'X|^2 / (|X'X| |Y'Y|)` of centred columns, as it is written."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    own = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    return float(np.linalg.norm(y.T @ x) ** 2 / own)


def song_hsic(x: np.ndarray, y: np.ndarray) -> float:
    """Song et al.'s unbiased HSIC, term by term."""
    n, ones = len(x), np.ones(len(x))
    k, l = x @ x.T, y @ y.T  # noqa: E741
    np.fill_diagonal(k, 0)
    np.fill_diagonal(l, 0)
    outer = (ones @ k @ ones) * (ones @ l @ ones) / ((n - 1) * (n - 2))
    return float((np.trace(k @ l) + outer - 2 / (n - 2) * (ones @ k @ l @ ones)) / (n * (n - 3)))


def quadruple_hsic(x: np.ndarray, y: np.ndarray) -> float:
    """HSIC as the average over all quadruples of different images: the definition that the estimate is unbiased for."""
    k, l = x @ x.T, y @ y.T  # noqa: E741
    terms = [
        k[a, b] * (l[a, b] + l[c, d] - 2 * l[a, c])
        for a in range(len(x))
        for b in range(len(x))
        for c in range(len(x))
        for d in range(len(x))
        if len({a, b, c, d}) == 4
    ]
    return float(np.mean(terms))


def test_the_formula_in_feature_space() -> None:
    x, y = drawn(30, 8), drawn(30, 4, 3, 2, seed=1) + drawn(30, 1, 1, 1, seed=2)
    expected = feature_space_cka(x.double().numpy(), y.flatten(1).double().numpy())
    assert linear_cka(x, y) == pytest.approx(expected, rel=1e-9)
    assert 0.05 < expected < 0.95


def test_worked_out_by_hand() -> None:
    """One feature each: CKA is the squared correlation, here of (0, 1, 2, 3) and (0, 0, 0, 4), 36 / 60."""
    x, y = torch.tensor([[0.0], [1.0], [2.0], [3.0]]), torch.tensor([[0.0], [0.0], [0.0], [4.0]])
    assert linear_cka(x, y) == pytest.approx(0.6)


@pytest.mark.parametrize(
    "cka", [linear_cka, lambda x, y: minibatch_cka([(x, y)])], ids=["biased", "unbiased"]
)
def test_identities(cka: Any) -> None:
    x, y = drawn(40, 12), drawn(40, 7, seed=1)
    y[:, 0] += x[:, 0] * 3
    turn = torch.linalg.qr(drawn(12, 12, seed=2))[0]
    assert cka(x, x) == pytest.approx(1)
    assert cka(x, 5 - 3 * x @ turn) == pytest.approx(1, abs=1e-5)
    assert cka(x @ turn, y) == pytest.approx(cka(x, y), abs=1e-5)
    assert cka(x, y) == pytest.approx(cka(y, x))
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    assert cka(x[order], y[order]) == pytest.approx(cka(x, y))
    stretched = x * torch.linspace(0.1, 5, 12)
    assert cka(x, stretched) < 0.9  # not invariant to what changes which images are alike
    assert math.isnan(cka(torch.full((40, 3), 0.1), y))


def test_unbiased_hsic_is_songs_and_the_mean_over_quadruples() -> None:
    x, y = drawn(7, 3) + 2, drawn(7, 2, seed=1) - 1
    arrays = x.double().numpy(), y.double().numpy()
    assert unbiased_hsic(x, y) == pytest.approx(song_hsic(*arrays), rel=1e-6)
    assert unbiased_hsic(x, y) == pytest.approx(quadruple_hsic(*arrays), rel=1e-6)
    centred = u_centred(x.double() @ x.double().T)
    torch.testing.assert_close(centred.sum(dim=0), torch.zeros(7, dtype=torch.float64))


def test_unrelated_features_are_near_0_without_bias() -> None:
    x, y = drawn(64, 2000), drawn(64, 2000, seed=1)
    assert linear_cka(x, y) > 0.9  # why the biased form misleads for wide layers
    batches = list(zip(x.split(16), y.split(16), strict=True))
    assert abs(minibatch_cka(batches)) < 0.15
    assert minibatch_cka(batches[::-1]) == pytest.approx(minibatch_cka(batches))


@pytest.mark.parametrize("batches", [[], [(drawn(3, 2), drawn(3, 2))], [(drawn(5, 2), drawn(4, 2))]])
def test_what_is_no_batch(batches: list[tuple[Tensor, Tensor]]) -> None:
    with pytest.raises(ValueError, match="at least"):
        minibatch_cka(batches)


def scenes(count: int = 21) -> ImageSet:
    images, _masks, labels, _textures = cue10.draw("test", 0, count)
    return ImageSet(
        "cue10", "test", images, labels, cue10.CLASSES, tuple(f"cue10/test/{k:05d}" for k in range(count))
    )


@pytest.fixture(scope="module")
def models(tiny_model: TinyModel) -> tuple[Model, Model]:
    return tiny_model("resnet18_cifar", 64), tiny_model("alexnet", 64)


LAYERS_A, LAYERS_B = ("conv1", "layer2", "layer4"), ("features.1", "features.9", "classifier")


def brute(side: Side, layers: tuple[str, ...], images: Tensor) -> dict[str, np.ndarray]:
    with torch.inference_mode(), recorded(side.model.network, layers) as taps:
        side.model.network(images)
    return {name: taps[name].flatten(1).double().numpy() for name in layers}


def test_a_matrix_is_brute_force(models: tuple[Model, Model]) -> None:
    """Every entry as from all features at once and Song's formula, over the same batches."""
    data = scenes()
    found = cka_matrix(*models, data, LAYERS_A, LAYERS_B, seed=5, batch=7)
    order = torch.randperm(21, generator=torch.Generator().manual_seed(5))
    sums: dict[tuple[str, str, str], float] = {}
    for rows in order.split(7):
        x, y = (
            brute(Side(model), layers, data.take(rows).float_images())
            for model, layers in zip(models, (LAYERS_A, LAYERS_B), strict=True)
        )
        for a in LAYERS_A:
            for b in LAYERS_B:
                triple = {
                    "ab": song_hsic(x[a], y[b]),
                    "aa": song_hsic(x[a], x[a]),
                    "bb": song_hsic(y[b], y[b]),
                }
                for kind, value in triple.items():
                    sums[a, b, kind] = sums.get((a, b, kind), 0) + value
    for row, a in enumerate(LAYERS_A):
        for column, b in enumerate(LAYERS_B):
            expected = sums[a, b, "ab"] / math.sqrt(sums[a, b, "aa"] * sums[a, b, "bb"])
            assert float(found.values[row, column]) == pytest.approx(expected, abs=1e-4)
    assert [(layer.name, layer.channels, layer.grid) for layer in found.layers_b][-1] == (
        "classifier",
        10,
        (1, 1),
    )
    assert found.layers_a[1].grid == (32, 32)
    assert (found.images, found.batches, found.condition_a, found.notes) == (21, 3, "clean", ())


def test_a_network_with_itself(models: tuple[Model, Model]) -> None:
    found = cka_matrix(models[0], models[0], scenes(), batch=7)
    torch.testing.assert_close(found.values.diagonal(), torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(found.values, found.values.T)
    assert tuple(layer.name for layer in found.layers_a) == models[0].stages
    assert float(found.values[0, 3]) < 0.99


def test_conditions_share_one_pass(models: tuple[Model, Model], monkeypatch: pytest.MonkeyPatch) -> None:
    """The four matrices of a page are those asked for one by one, and each network sees each batch twice, not more."""
    data, seen = scenes(), []
    for model in models:
        layer_table(model, 64)  # kept from now on
    asked = panels(*models, "gaussian_noise", 3)
    assert [(first.condition, second.condition) for first, second in asked] == [
        ("clean", "clean"),
        ("gaussian_noise 3", "gaussian_noise 3"),
        ("clean", "gaussian_noise 3"),
        ("clean", "gaussian_noise 3"),
    ]
    handles = [m.network.register_forward_pre_hook(lambda *_: seen.append(1)) for m in models]
    together = cka_matrices(asked, data, scale="paper-relative", seed=2, batch=7)
    for handle in handles:
        handle.remove()
    assert len(seen) == 3 * 4
    for (first, second), matrix in zip(asked, together, strict=True):
        alone = cka_matrix(
            first.model,
            second.model,
            data,
            degradation_a=first.degradation,
            severity_a=first.severity,
            degradation_b=second.degradation,
            severity_b=second.severity,
            scale="paper-relative",
            seed=2,
            batch=7,
        )
        torch.testing.assert_close(matrix.values, alone.values)
    assert float(together[2].values[0, 0]) < 0.99
    assert len(panels(*models, "none", 0)) == 1
    assert len(panels(models[0], models[0], "gaussian_noise", 3)) == 3


def test_degraded_images_are_those_of_a_sweep(models: tuple[Model, Model]) -> None:
    """A network that passes its input on: CKA of clean and degraded pixels is that of `degrade` by image id."""
    from data.degradations import degrade

    data, network = scenes(8), models[0]
    found = cka_matrix(
        network,
        network,
        data,
        ["conv1"],
        ["conv1"],
        degradation_b="gaussian_noise",
        severity_b=2,
        scale="paper-relative",
        seed=9,
        batch=8,
    )
    images = data.float_images()
    worse = degrade(images, "gaussian_noise", 2, scale="paper-relative", image_ids=data.ids, seed=9)
    x, y = (brute(Side(network), ("conv1",), each)["conv1"] for each in (images, worse))
    expected = song_hsic(x, y) / math.sqrt(song_hsic(x, x) * song_hsic(y, y))
    assert float(found.values) == pytest.approx(expected, abs=1e-4)


class Strange(nn.Module):
    """Calls a layer twice, returns a tuple from one, gives NaN from one, and leaves one unused."""

    def __init__(self) -> None:
        super().__init__()
        self.normalize = nn.Identity()
        self.conv = nn.Conv2d(3, 4, 3)
        self.relu = nn.ReLU()
        self.broken, self.dead, self.pair, self.unused = nn.Identity(), Zero(), Two(), nn.Identity()
        self.bare = Giving(lambda maps: {"maps": 1})
        self.fc = nn.Linear(4, 10)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.relu(self.conv(self.normalize(images)))
        maps = self.relu(self.pair(maps)[1])
        self.bare(maps)
        self.broken(maps / 0 * 0)
        self.dead(maps)
        return self.fc(maps.mean(dim=(2, 3)) + images.mean())


class Zero(nn.Module):
    """Answers 0.1 to everything."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps * 0 + 0.1


class Two(nn.Module):
    """Two outputs."""

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        return maps, (9 * maps).sin()


@pytest.fixture(scope="module")
def strange() -> Model:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Strange().eval()
    card = Card("strange", "resnet18", "none", cue10.CLASSES, 64, 0, "cpu", {}, {})
    return Model("strange", network, cue10.CLASSES, 64, "conv", "pool_linear", ("conv",), card)


def test_layers_that_run_twice_or_say_nothing(strange: Model) -> None:
    found = cka_matrix(strange, strange, scenes(8), ["relu", "relu#2", "broken", "dead"], ["relu#2", "fc"])
    assert float(found.values[1, 0]) == pytest.approx(1)
    assert float(found.values[0, 0]) < 0.99
    assert found.values[2:].isnan().all()
    assert found.notes == (
        "relu of strange runs 2 times; call 1 is compared.",
        "relu of strange runs 2 times; call 2 is compared.",
        "Without CKA, as they answer the same to every image or NaN: broken, dead of A.",
    )


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ("nothing", "nothing of strange can't be compared"),
        ("unused", "unused of strange can't be compared"),
        ("relu#3", "it runs 2 times; allowed are .*conv"),
        ("bare", "bare of strange can't be compared: its output is a dict without a tensor"),
    ],
)
def test_layers_that_are_not_there(strange: Model, layer: str, words: str) -> None:
    with pytest.raises(ExplanationError, match=words):
        cka_matrix(strange, strange, scenes(8), [layer], ["conv"])
    assert count_hooks(strange.network) == 0


def test_of_several_tensors_the_first_is_compared(strange: Model) -> None:
    found = cka_matrix(strange, strange, scenes(8), ["pair"], ["relu", "relu#2"])
    assert float(found.values[0, 0]) == pytest.approx(1)
    assert float(found.values[0, 1]) < 0.99


def test_too_few_images_and_unknown_degradations(strange: Model) -> None:
    with pytest.raises(ExplanationError, match="at least 4"):
        cka_matrix(strange, strange, scenes(3))
    with pytest.raises(ValueError, match="fog of war"):
        cka_matrix(strange, strange, scenes(8), degradation_b="fog of war", severity_b=1)
    five = cka_matrix(strange, strange, scenes(6), batch=4)
    assert (five.batches, five.images) == (1, 6)  # two batches of three would be too small


def test_progress_and_cancelling(strange: Model) -> None:
    told: list[tuple[int, int]] = []

    def cancelled() -> bool:
        return len(told) == 2

    with pytest.raises(evaluation.Cancelled):
        cka_matrix(
            strange,
            strange,
            scenes(20),
            batch=5,
            progress=lambda done, total, _what: told.append((done, total)),
            cancelled=cancelled,
        )
    assert told == [(5, 20), (10, 20)]
    assert count_hooks(strange.network) == 0
