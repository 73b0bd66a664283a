"""Channels of a layer: their scores and order by hand, and a network that is known to look at colours."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.registry import Model
from tests.conftest import TinyModel
from tests.feature_helpers import Colours, wrap
from xai import feature_orders
from xai.attribution_types import ExplanationError
from xai.comparison import Picture, Request, compare
from xai.feature_filters import first_filters
from xai.feature_maps import FeatureRequest, examine, score_rows
from xai.feature_orders import ORDERS, ChannelMaps, ranked, relative_l2
from xai.ui.memo import Memo

pytestmark = pytest.mark.usefixtures("one_thread")
CLEAN = torch.tensor([[[3.0, 4.0]], [[0.0, 1.0]], [[-2.0, 0.0]], [[0.0, 0.0]], [[0.0, 0.0]]])
DEGRADED = torch.tensor([[[0.0, 4.0]], [[0.0, 1.0]], [[-2.0, 0.5]], [[0.0, 2.0]], [[0.0, 0.0]]])
GRADIENT = torch.tensor([[[1.0, -1.0]], [[5.0, 2.0]], [[-1.0, 7.0]], [[1.0, 1.0]], [[1.0, 1.0]]])
MAPS = ChannelMaps(CLEAN, DEGRADED, GRADIENT)
BY_HAND = {
    "index": [0, 1, 2, 3, 4],
    "mean": [3.5, 0.5, -1, 0, 0],
    "maximum": [4, 1, 0, 0, 0],
    "sparsity": [0, 0.5, 1, 1, 1],
    "gradient_x_activation": [-1, 2, 2, 0, 0],
    "change": [3 / 5, 0, 0.5 / 2, 2 / 2, 0],  # the lengths of clean are 5, 1, 2, 0 and 0
}
RANKED = {
    "index": (0, 1, 2, 3, 4),
    "mean": (0, 1, 3, 2, 4),
    "maximum": (0, 1, 2, 3, 4),
    "sparsity": (2, 3, 1, 0, 4),
    "gradient_x_activation": (1, 2, 3, 0, 4),
    "change": (3, 0, 2, 1, 4),
}


@pytest.mark.parametrize("name", ORDERS)
def test_scores_and_orders_by_hand(name: str) -> None:
    """Channel 3 is dead on clean and wakes, channel 4 is dead in both and so comes last."""
    scores = ORDERS[name].score(MAPS)
    assert scores.tolist() == pytest.approx(BY_HAND[name], nan_ok=True)
    assert MAPS.dead.tolist() == [False, False, False, False, True]
    assert ranked(name, scores, MAPS.dead) == RANKED[name]


def test_an_order_can_be_registered_once() -> None:
    with pytest.raises(ValueError, match="'mean' is registered twice"):
        feature_orders.register("mean", "", "")


def test_what_is_no_number_does_not_count() -> None:
    clean = torch.tensor([[[1.0, math.nan, -1.0]], [[math.nan, math.inf, math.nan]]])
    scores = {
        name: order.score(ChannelMaps(clean, clean, torch.ones_like(clean))) for name, order in ORDERS.items()
    }
    assert scores["mean"].tolist() == pytest.approx([0, math.nan], nan_ok=True)
    assert scores["maximum"].tolist() == pytest.approx([1, math.nan], nan_ok=True)
    assert scores["sparsity"].tolist() == pytest.approx([0.5, math.nan], nan_ok=True)
    assert scores["gradient_x_activation"].tolist() == pytest.approx([0, math.nan], nan_ok=True)
    assert ranked("mean", scores["mean"], torch.tensor([False, False])) == (0, 1)


def test_a_channel_next_to_nothing_is_not_what_changes_most() -> None:
    """Its change is measured by what the layer's channels are like; where none answers, there is no measure."""
    clean = torch.tensor([[[1e-6]], [[1.0]], [[1.0]]])
    degraded = torch.tensor([[[2e-3]], [[0.5]], [[1.0]]])
    maps = ChannelMaps(clean, degraded, clean)
    scores = ORDERS["change"].score(maps)
    assert scores.tolist() == pytest.approx([2e-3, 0.5, 0], rel=1e-2)
    assert ranked("change", scores, maps.dead) == (1, 0, 2)
    silent = ORDERS["change"].score(ChannelMaps(0 * clean, degraded, clean))
    assert silent.isnan().all()


def test_relative_l2_of_equal_rows_is_exactly_nothing() -> None:
    rows = torch.tensor([[1e-30, 3e7], [0.0, 0.0]])
    assert relative_l2(rows, rows.clone()).tolist() == [0, 0]


def picture(red: float, green: float, blue: float, label: str | None = None) -> Picture:
    """One colour on the left half of 8 x 8 px, black on the right."""
    pixels = torch.zeros(3, 8, 8, dtype=torch.uint8)
    pixels[:, :, :4] = (torch.tensor([red, green, blue]) * 255).round().to(torch.uint8)[:, None, None]
    return Picture("flat", pixels, f"{red}{green}{blue}", label=label)


@pytest.fixture(scope="module")
def model() -> Model:
    return wrap(Colours(), stages=("drop",))


def test_the_channel_that_sees_the_pictures_colour_comes_first(model: Model) -> None:
    request = FeatureRequest(("hand",), order="mean")
    (result,) = examine(request, picture(0, 1, 0), [model]).results
    assert result.order == (1, 0, 2, 3)
    assert result.dead.tolist() == [True, False, True, True]
    assert result.notes == ("3 of 4 channels of drop are dead on this picture: zero in every cell.",)
    expected = torch.zeros(8, 8)
    expected[:, :4] = 0.5
    assert torch.equal(result.clean[1], expected)
    assert result.scale == (0, 0.5)
    assert (result.layer, result.grid, result.channels, result.shown) == ("drop", (8, 8), 4, (1, 0, 2, 3))
    assert result.degraded is not None
    assert torch.equal(result.degraded, result.clean)
    assert "change" not in result.scores


@pytest.mark.parametrize(("target", "channel"), [("predicted", 1), ("true", 2), ("red", 0)])
def test_gradient_x_activation_is_the_channels_part_of_the_logit(
    model: Model, target: str, channel: int
) -> None:
    """Without biases above the layer the parts add up to the logit."""
    shown = picture(0.8, 1, 0.6, "blue")
    request = FeatureRequest(("hand",), target=target, order="gradient_x_activation")
    (result,) = examine(request, shown, [model]).results
    parts = result.scores["gradient_x_activation"]
    with torch.inference_mode():
        logits = model.network(shown.pixels[None].float() / 255)[0]
    assert parts.nonzero().flatten().tolist() == [channel]
    assert float(parts.sum()) == pytest.approx(float(logits[channel]), rel=1e-5)
    assert result.order[0] == channel


def test_change_is_clean_less_degraded(model: Model) -> None:
    request = FeatureRequest(("hand",), order="change", degradation="contrast", severity=2.0, scale="cifar-c")
    done = examine(request, picture(1, 1, 0), [model])
    (result,) = done.results
    clean, degraded = done.view(result).clean, done.view(result).degraded
    seen = [(image[0] - 0.5).clamp_min(0) for image in (clean, degraded)]
    for channel in (0, 1):
        assert torch.allclose(result.difference[channel], seen[0][channel] - seen[1][channel])
        share = (seen[0][channel] - seen[1][channel]).norm() / seen[0][channel].norm()
        assert float(result.scores["change"][channel]) == pytest.approx(float(share))
    assert result.difference_peak == pytest.approx(float((seen[0] - seen[1]).abs().max()))


def test_scales_leave_out_what_is_no_number_and_channels_not_shown() -> None:
    network = Colours()
    with torch.no_grad():
        network.conv.bias[3] = math.nan  # type: ignore[index]
    request = FeatureRequest(("hand",), count=2, start=2)
    (result,) = examine(request, picture(1, 0, 1), [wrap(network, stages=("conv",))]).results
    assert result.shown == (2, 3)
    assert result.scale == (-0.5, 0.5)
    assert "64 of 256 values of conv are not finite (NaN or infinite)." in result.notes
    rows = {row["channel"]: row for row in score_rows(result)}
    assert rows[3]["mean"] is None
    assert rows[2]["maximum"] == 0.5
    assert [row["shown"] for row in rows.values()] == [0, 0, 1, 1]
    assert result.signed


def test_zero_is_in_the_middle_of_a_scale_with_values_below_it() -> None:
    request = FeatureRequest(("hand",), count=2)
    (result,) = examine(request, picture(0.2, 0.9, 0), [wrap(Colours(), stages=("conv",))]).results
    assert float(result.clean[:2].max()) < 0.45
    assert result.scale == (-0.5, 0.5)
    assert result.signed


def test_results_go_through_the_memo_and_are_shared_with_heatmaps(tiny_model: TinyModel) -> None:
    model = tiny_model("resnet18_cifar", 32)
    shown = Picture("flat", torch.randint(0, 255, (3, 32, 32), dtype=torch.uint8), "x")
    memo, calls = Memo(10**8), []

    def counted(key: Any, compute: Any) -> Any:
        def compute_and_count() -> Any:
            calls.append(key[0])
            return compute()

        return memo(key, compute_and_count)

    request = FeatureRequest((model.name,), degradation="gaussian_noise", severity=1.0, scale="cifar-c")
    first = examine(request, shown, [model], counted)
    assert sorted(calls) == ["feature gradient", "feature maps", "feature maps", "predict", "predict", "view"]
    examine(FeatureRequest(**{**asdict(request), "order": "change"}), shown, [model], counted)
    assert len(calls) == 6
    compare(Request(**{**asdict(request.base), "methods": ("gradcam",)}), shown, [model], counted)
    assert set(calls[6:]) == {"cams"}
    assert not torch.equal(first.results[0].clean, first.results[0].degraded)


def test_two_networks_stand_at_one_grid(tiny_model: TinyModel) -> None:
    pair = [tiny_model("alexnet", 32), tiny_model("resnet18_cifar", 32)]
    names = tuple(model.name for model in pair)
    shown = Picture("flat", torch.randint(0, 255, (3, 40, 30), dtype=torch.uint8), "x")
    done = examine(FeatureRequest(names, {names[0]: "features.4"}, count=10, start=60), shown, pair)
    assert [result.layer for result in done.results] == ["features.4", "layer3"]
    assert [result.grid for result in done.results] == [(8, 8), (8, 8)]
    assert done.results[1].channels == 32
    assert done.results[1].shown == tuple(range(22, 32))  # its last ones, as it has no more
    backwards = examine(FeatureRequest(names, {names[1]: "layer4"}), shown, pair)
    assert [result.layer for result in backwards.results] == ["features.11", "layer4"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"order": "beauty"}, "no order 'beauty'; allowed are index"),
        ({"order": "change"}, "needs a degradation"),
        ({"count": 0}, "0 channels"),
        ({"count": 65}, "65 channels"),
        ({"start": -1}, "first place is -1"),
        ({"start": 4}, "has 4 channels; the first place is 4, allowed are 0 to 3"),
        ({"layers": {"hand": "bogus"}}, "no layer 'bogus'"),
        ({"target": "yellow"}, "no class 'yellow'"),
        ({"seed": -1}, "seed is -1"),
        ({"layers": {"hand": 3}}, "as text"),
    ],
)
def test_what_does_not_exist_is_refused_in_one_sentence(
    model: Model, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ExplanationError, match=words):
        examine(FeatureRequest(("hand",), **options), picture(1, 0, 0), [model])


def test_one_or_two_networks(model: Model) -> None:
    with pytest.raises(ExplanationError, match="3 models were given"):
        examine(FeatureRequest(("hand",) * 3), picture(1, 0, 0), [model] * 3)


def test_a_request_is_json() -> None:
    request = FeatureRequest(("a", "b"), {"a": "conv"}, order="change", degradation="jpeg", severity=2.0)
    found = json.loads(json.dumps(asdict(request)))
    assert FeatureRequest(**{**found, "models": tuple(found["models"])}) == request


def test_filters_are_raw_and_their_zero_is_grey(model: Model) -> None:
    found = first_filters(model)
    assert found.layer == "conv"
    assert torch.equal(found.weights, torch.eye(4, 3)[..., None, None])
    assert found.peak == 1
    assert torch.equal(found.pictures[3], torch.full((3, 1, 1), 0.5))
    assert found.pictures[0].flatten().tolist() == [1, 0.5, 0.5]


class Brightness(nn.Module):
    """Averages the colours before its only convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)

    def forward(self, images: Tensor) -> Tensor:
        """Logits `(N, 3)`."""
        return self.conv(images.mean(dim=1, keepdim=True)).mean(dim=(2, 3))


def test_a_network_without_colour_filters_says_so() -> None:
    with pytest.raises(ExplanationError, match="no convolution that sees the three colours"):
        first_filters(wrap(Brightness()))
