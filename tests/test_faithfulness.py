"""Measures of maps against numbers worked out by hand and against SciPy."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from models.layers import IMAGENET_MEAN
from models.registry import Model
from tests.explain_helpers import make_model, photographs
from xai import faithfulness
from xai.attribution import ExplanationError
from xai.hooks import count_hooks
from xai.statistics import wilson


def test_spearman_is_scipys_also_with_ties() -> None:
    from scipy.stats import spearmanr

    generator = torch.Generator().manual_seed(0)
    for levels in (3, 1000):
        a, b = (torch.randint(0, levels, (6, 7), generator=generator).float() for _ in range(2))
        assert faithfulness.spearman(a, b) == pytest.approx(spearmanr(a.flatten(), b.flatten()).statistic)
    assert faithfulness.spearman(a, a**3) == pytest.approx(1)
    assert faithfulness.spearman(a, -a) == pytest.approx(-1)
    assert math.isnan(faithfulness.spearman(a, torch.ones_like(a)))


def test_pearson_by_hand() -> None:
    a, b = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[1.0, 3.0, 2.0]])
    assert faithfulness.pearson(a, b) == pytest.approx(0.5)
    assert math.isnan(faithfulness.pearson(a, torch.full_like(a, 0.1)))
    with pytest.raises(ValueError, match="equal shapes"):
        faithfulness.pearson(a, b.T)


def test_top_k_overlap_by_hand() -> None:
    a = torch.tensor([[9.0, 8.0, 1.0, 0.0, 0.0]])
    b = torch.tensor([[9.0, 0.0, 8.0, 1.0, 0.0]])
    assert faithfulness.top_k_overlap(a, b, 0.2) == 1
    assert faithfulness.top_k_overlap(a, b, 0.4) == 0.5
    assert faithfulness.top_k_overlap(a, b, 0.6) == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="up to 1"):
        faithfulness.top_k_overlap(a, b, 0)


def test_centres_of_mass_by_hand() -> None:
    corner, other = torch.zeros(4, 4), torch.zeros(4, 4)
    corner[0, 0], other[0, 2], other[3, 3] = 2.0, 5.0, -7.0
    assert faithfulness.centre_of_mass(corner) == (0.125, 0.125)
    assert faithfulness.centre_of_mass(torch.ones(2, 6)) == (0.5, 0.5)
    assert faithfulness.centre_shift(corner, other) == pytest.approx(0.5)
    assert math.isnan(faithfulness.centre_shift(corner, -corner))


def test_mask_energy_and_pointing_game_by_hand() -> None:
    values = torch.tensor([[3.0, 1.0], [-5.0, 0.0]])
    mask = torch.tensor([[True, False], [True, False]])
    assert faithfulness.mask_energy(values, mask) == 0.75
    assert math.isnan(faithfulness.mask_energy(-values.abs(), mask))
    assert faithfulness.pointing_game(values, mask)
    assert not faithfulness.pointing_game(values, ~mask)
    assert not faithfulness.pointing_game(torch.ones(2, 2), mask)
    whole = torch.ones(8, 8, dtype=torch.bool)
    assert faithfulness.mask_energy(values, whole) == 1


def test_random_maps_point_at_an_object_in_the_middle_at_chance() -> None:
    """Where the highest point of the enlarged map would be drawn to the border."""
    mask = torch.zeros(32, 32, dtype=torch.bool)
    mask[8:24, 8:24] = True
    maps = torch.rand(1_500, 8, 8, generator=torch.Generator().manual_seed(1))
    found = [faithfulness.pointing_game(values, mask) for values in maps]
    low, high = wilson(sum(found), len(maps), 0.999)
    assert low < 0.25 < high
    enlarged = faithfulness.enlarge(maps, (32, 32)).flatten(1).argmax(dim=1)
    assert float(mask.flatten()[enlarged].float().mean()) < low


class CountsWhite(nn.Module):
    """Logits whose softmax gives class 0 a probability equal to the share of white pixels on the left."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits `(N, 2)`."""
        share = (images[:, 0, :, :2] == 1).float().mean(dim=(1, 2)).clamp(1e-6, 1 - 1e-6)
        return torch.stack([share.log(), (1 - share).log()], dim=1)


@pytest.fixture
def counting() -> Model:
    model = copy.copy(make_model("alexnet", 8, hidden=8))
    network = CountsWhite()
    network.weight = nn.Parameter(torch.zeros(1))
    model.network = network.eval()
    return model


def test_deletion_and_insertion_by_hand(counting: Model) -> None:
    """The left half decides, pixel by pixel: a map that knows it loses all in half the steps."""
    image = torch.ones(1, 3, 4, 4)
    knows = torch.tensor([[1.0, 1.0, 0.0, 0.0]]).expand(4, 4)
    curves = faithfulness.deletion_insertion(counting, image, knows, 0, steps=4)
    assert curves.fractions.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert curves.deletion.tolist() == pytest.approx([1, 0.5, 0, 0, 0], abs=1e-5)
    assert curves.deletion_auc == pytest.approx((0.75 + 0.25) / 4, abs=1e-5)
    opposite = faithfulness.deletion_insertion(counting, image, -knows, 0, steps=4)
    assert opposite.deletion.tolist() == pytest.approx([1, 1, 1, 0.5, 0], abs=1e-5)
    assert torch.equal(opposite.random_deletion, curves.random_deletion)
    # a white image blurred is white: nothing is left to insert
    assert curves.insertion.tolist() == pytest.approx([1] * 5, abs=1e-4)


def test_curves_begin_and_end_at_the_image_and_its_substitute() -> None:
    model, image = make_model("alexnet", 32, hidden=64), photographs(32)[:1]
    values = torch.rand(4, 4, generator=torch.Generator().manual_seed(1))
    curves = faithfulness.deletion_insertion(model, image, values, 3, steps=8)
    whole = float(model.predict(image)[0, 3])
    plain = torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1).expand_as(image)
    assert float(curves.deletion[0]) == pytest.approx(whole, abs=1e-5)
    assert float(curves.deletion[-1]) == pytest.approx(float(model.predict(plain)[0, 3]), abs=1e-5)
    assert float(curves.insertion[-1]) == pytest.approx(whole, abs=1e-5)
    assert float(curves.random_insertion[0]) == float(curves.insertion[0])
    again = faithfulness.deletion_insertion(model, image, values, 3, steps=8)
    assert torch.equal(curves.random_deletion, again.random_deletion)
    constant = faithfulness.deletion_insertion(model, image, torch.zeros(4, 4), 3, steps=8)
    assert bool(constant.deletion.isfinite().all())
    assert count_hooks(model.network) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target": 10}, "0 to 9"),
        ({"steps": 0}, "steps is 0"),
        ({"heatmap": torch.zeros(1, 4, 4)}, "allowed are"),
    ],
)
def test_odd_requests_for_curves(options: dict[str, object], words: str) -> None:
    model = make_model("alexnet", 32, hidden=64)
    request = {"heatmap": torch.zeros(4, 4), "target": 3, **options}
    with pytest.raises(ExplanationError, match=words):
        faithfulness.deletion_insertion(model, photographs(32)[:1], **request)  # type: ignore[arg-type]


def test_agreement_is_one_under_average_pooling_and_not_under_a_flattening_head() -> None:
    pooled, flat = make_model("resnet18_cifar", 32, width=8), make_model("alexnet", 32)
    one = faithfulness.gradcam_hirescam_agreement(pooled, photographs(32), [3, 7], "layer4")
    assert one.shape == (2,)
    assert one.tolist() == pytest.approx([1, 1], abs=1e-5)
    low = faithfulness.gradcam_hirescam_agreement(flat, photographs(32), [3, 7], "features.11")
    assert float(low.max()) < 0.95
