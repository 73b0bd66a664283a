"""Counterparts: correlations as numpy has them, permuted copies matched back, chance and intervals."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from models.registry import Model
from tests.conftest import TinyModel
from xai import counterparts
from xai.counterparts import Pair, chance, correlations, match, nearest
from xai.hooks import recorded

pytestmark = pytest.mark.usefixtures("one_thread")


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_correlations_are_those_of_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counterparts, "ROWS", 3)  # in parts, the last one smaller
    a, b = drawn(50, 7), drawn(50, 4, seed=1) * 100 + 1e4
    expected = np.corrcoef(a.numpy(), b.numpy().astype(np.float64), rowvar=False)[:7, 7:]
    found = correlations(a, b)
    np.testing.assert_allclose(found.values.numpy(), expected, atol=1e-6)
    assert found.images == 50
    assert found.notes == ()


def test_worked_out_by_hand() -> None:
    """(0, 1, 2, 3) with (0, 0, 0, 4): covariances 6, squares 5 and 12."""
    a = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    b = torch.tensor([[0.0, 9.0], [0.0, 6.0], [0.0, 3.0], [4.0, 0.0]])
    values = correlations(a, b).values[0]
    assert values[0].item() == pytest.approx(6 / math.sqrt(5 * 12))
    assert values[1].item() == pytest.approx(-1)


def test_dead_and_broken_channels_are_left_alone_and_said() -> None:
    a, b = drawn(30, 4), drawn(30, 3, seed=1)
    a[:, 1] = 0.0
    a[:, 3] = 0.1 * (1 + 1e-7 * drawn(30, seed=2))  # the same but for rounding
    b[4, 2] = torch.nan
    found = correlations(a, b)
    assert found.values.isnan().tolist() == [
        [row in (1, 3) or column == 2 for column in range(3)] for row in range(4)
    ]
    assert found.notes == (
        "2 of 4 channels of A answer the same to every image and have no correlation.",
        "1 of 3 channels of B answer with NaN or infinity and have no correlation.",
    )
    assert sorted(pair.a for pair in match(found)) == [0, 2]
    assert {pair.b for pair in match(found)} == {0, 1}
    assert nearest(found, 1) == ()
    assert 2 not in {neighbour.b for neighbour in nearest(found, 0, count=3)}
    assert chance(found).channels == (0, 2)


def test_all_dead() -> None:
    found = correlations(torch.zeros(5, 3), drawn(5, 2))
    assert match(found) == ()
    assert math.isnan(chance(found).level)


@pytest.mark.parametrize("shapes", [((5, 3), (6, 3)), ((5,), (5, 3)), ((3, 2), (3, 2))])
def test_what_is_no_pair_of_responses(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="the same N images, at least 4"):
        correlations(drawn(*shapes[0]), drawn(*shapes[1]))


def test_matching_takes_the_best_sum_and_not_the_best_first() -> None:
    """0.9 + 0.1 is less than 0.8 + 0.7, though 0.9 is the best of all."""
    found = correlations(drawn(9, 2), drawn(9, 3, seed=1))
    found = replace(found, values=torch.tensor([[0.9, 0.8, -0.5], [0.7, 0.1, -0.5]]))
    assert [(pair.a, pair.b) for pair in match(found)] == [(0, 1), (1, 0)]
    assert [pair.r for pair in match(found)] == pytest.approx([0.8, 0.7])
    turned = replace(found, values=found.values.T, a=found.b, b=found.a)
    assert [(pair.a, pair.b) for pair in match(turned)] == [(0, 1), (1, 0)]


def permuted(model: Model, order: Tensor) -> None:
    """Reorder the channels inside the first block of layer1: it computes the same."""
    block = model.network.get_submodule("layer1.0")
    first, norm, second = (block.get_submodule(name) for name in ("conv1", "bn1", "conv2"))
    with torch.no_grad():
        first.weight.copy_(first.weight[order])  # type: ignore[operator, index]
        for name in ("weight", "bias", "running_mean", "running_var"):
            value = getattr(norm, name)
            value.copy_(value[order])
        second.weight.copy_(second.weight[:, order])  # type: ignore[operator, index]


def responses(model: Model, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, and the spatial mean and maximum of the reordered channels."""
    with torch.inference_mode(), recorded(model.network, ["layer1.0.bn1"]) as taps:
        logits = model.network(images)
    maps = taps["layer1.0.bn1"]
    return logits, maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))


def test_a_copy_with_permuted_channels_is_matched_back(tiny_model: TinyModel) -> None:
    model, images = tiny_model("resnet18_cifar"), drawn(40, 3, 32, 32).sigmoid()
    logits, *before = responses(model, images)
    order = torch.randperm(before[0].shape[1], generator=torch.Generator().manual_seed(3))
    assert order.tolist() != sorted(order.tolist())
    copy = tiny_model("resnet18_cifar")
    permuted(copy, order)
    other, *after = responses(copy, images)
    torch.testing.assert_close(other, logits)
    for first, second in zip(before, after, strict=True):
        pairs = match(correlations(first, second))
        assert [(pair.b, pair.a) for pair in sorted(pairs, key=lambda pair: pair.b)] == list(
            enumerate(order.tolist())
        )
        assert min(pair.r for pair in pairs) > 0.99999
        (best,) = nearest(correlations(first, second), int(order[2]), count=1)
        assert best.b == 2
        assert best.low > 0.9999


def test_nearest_is_sorted_and_its_interval_is_fishers_where_that_holds() -> None:
    """For normal responses the bootstrap comes to Fisher's interval: tanh(atanh r -+ 1.96 / sqrt(n - 3))."""
    a = drawn(1000, 2)
    b = torch.stack([-a[:, 0], a[:, 0] + 2 * drawn(1000, seed=1), a[:, 0] + drawn(1000, seed=2)], dim=1)
    found = correlations(a, b)
    best = nearest(found, 0, count=2)
    assert [neighbour.b for neighbour in best] == [2, 1]
    for neighbour in best:
        assert neighbour.r == pytest.approx(float(found.values[0, neighbour.b]))
        half = 1.96 / math.sqrt(997)
        assert neighbour.low == pytest.approx(math.tanh(math.atanh(neighbour.r) - half), abs=0.012)
        assert neighbour.high == pytest.approx(math.tanh(math.atanh(neighbour.r) + half), abs=0.012)
    assert nearest(found, 0, count=2) == best
    with pytest.raises(ValueError, match="no channel 2 in A; allowed are 0 to 1"):
        nearest(found, 2)


def test_chance_is_brute_force_and_seeded() -> None:
    a, b = drawn(40, 5), drawn(40, 6, seed=1)
    found = chance(correlations(a, b), shuffles=30, seed=4)
    assert found.best.shape == (30, 5)
    generator = torch.Generator().manual_seed(4)
    torch.randperm(5, generator=generator)
    for row in found.best[:2]:
        shuffled = a[torch.randperm(40, generator=generator)]
        expected = np.corrcoef(shuffled.numpy(), b.numpy(), rowvar=False)[:5, 5:].max(axis=1)
        np.testing.assert_allclose(row.numpy(), expected, atol=1e-5)
    assert torch.equal(chance(correlations(a, b), shuffles=30, seed=4).best, found.best)
    assert not torch.equal(chance(correlations(a, b), shuffles=30, seed=5).best, found.best)
    assert chance(correlations(a, b), (3,), shuffles=2).channels == (3,)


def test_chance_of_a_planted_counterpart_and_of_the_class_alone() -> None:
    """Two channels that know the class and no more stay alike when images are shuffled within classes only."""
    labels = torch.arange(200) % 4
    a = (labels.float()[:, None] + 0.3 * drawn(200, 1)).relu()
    b = (labels.float()[:, None] + 0.3 * drawn(200, 1, seed=1)).relu()
    found = correlations(a, b)
    assert found.values.item() > 0.85
    assert chance(found).level < 0.3
    assert chance(found, labels=labels).level == pytest.approx(found.values.item(), abs=0.03)


def test_shuffling_within_classes_keeps_each_image_in_its_class() -> None:
    labels = torch.tensor([0, 2, 1, 0, 2, 2, 1, 0])
    order = counterparts._shuffled(8, labels, torch.Generator().manual_seed(1))
    assert sorted(order.tolist()) == list(range(8))
    assert torch.equal(labels[order], labels)
    assert order.tolist() != list(range(8))


def test_as_wide_as_they_come() -> None:
    """4,096 channels against 300, in a different order: found again without a matrix of double precision."""
    a = drawn(64, 4096)
    order = torch.randperm(4096, generator=torch.Generator().manual_seed(1))[:300]
    pairs = match(correlations(a, a[:, order]))
    assert {pair.b: pair.a for pair in pairs} == dict(enumerate(order.tolist()))
    assert pairs[0] == Pair(pairs[0].a, pairs[0].b, 1.0)
