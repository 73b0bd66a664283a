"""Profiles of channels: planted truths, brute force, and figures that show all they should."""

import math
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from data.datasets import ImageSet
from data.degradations import degrade
from models.registry import Model
from tests.conftest import TinyModel
from tests.feature_helpers import Odd, wrap
from tests.test_responses import images, model_of
from xai import channel_classes
from xai.attribution_types import ExplanationError
from xai.channel_profile import (
    TopImage,
    box_words,
    boxes,
    class_itself,
    classes_for,
    linear_head,
    ratio_interval,
    severity_response,
    silence,
    silent_share,
    top_images,
)
from xai.figure_channel import classes_figure, severity_figure, top_images_figure
from xai.figures import Style, render
from xai.receptive_field import Box
from xai.responses import Responses, collect

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAI_CACHE", str(tmp_path / "cache"))


class Colours(nn.Module):
    """Channel 0 is the mean red of 4 x 4 px, channel 1 green less blue above 1 (never), channel 2 blue.

    The head averages the maps and reads them linearly.
    """

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 3, 4, stride=4, bias=True)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(3, 3)
        self.patch.weight.data.zero_()
        for channel, colour in ((0, 0), (1, 1), (2, 2)):
            self.patch.weight.data[channel, colour] = 1 / 16
        self.patch.bias.data = torch.tensor([0.0, -1.0, 0.0])  # type: ignore[union-attr]
        self.fc.weight.data = torch.tensor([[2.0, 0.0, -1.0], [0.5, 3.0, 0.0], [-1.0, 0.0, 1.0]])

    def forward(self, pixels: Tensor) -> Tensor:
        return self.fc(self.pool(self.relu(self.patch(pixels))).flatten(1))


@pytest.fixture
def model() -> Model:
    return model_of(Colours())


@pytest.fixture
def data() -> ImageSet:
    return images(50)


def test_the_top_images_of_a_channel_for_red_are_the_reddest(model: Model, data: ImageSet) -> None:
    red = data.float_images()[:, 0].reshape(50, 2, 4, 2, 4).mean(dim=(2, 4)).flatten(1)
    found = collect(model, data, ["relu"])["relu"]
    tops = top_images(found, 0, 10)
    assert [top.row for top in tops] == red.amax(dim=1).argsort(descending=True)[:10].tolist()
    assert [top.cell for top in tops] == [divmod(int(red[top.row].argmax()), 2) for top in tops]
    for top, box in zip(tops, boxes(model, found, tops, 8), strict=True):
        assert top.value == pytest.approx(float(red[top.row].max()), abs=1e-6)
        assert (top.id, top.label) == (data.ids[top.row], int(data.labels[top.row]))
        assert box == Box(4 * top.cell[0], 4 * top.cell[1], 4 * top.cell[0] + 4, 4 * top.cell[1] + 4)


def responses(maximum: Tensor, labels: Tensor | None = None) -> Responses:
    count = len(maximum)
    ids = tuple(f"image {row}" for row in range(count))
    named = torch.zeros(count, dtype=torch.int64) if labels is None else labels
    return Responses("layer", (2, 3), ids, named, maximum / 2, maximum, torch.full(maximum.shape, 4))


def brute_force(values: list[float], labels: list[int], count: int, per_class: int | None) -> list[int]:
    taken: list[int] = []
    for row in sorted(range(len(values)), key=lambda row: (-values[row], row)):
        same = sum(labels[other] == labels[row] for other in taken)
        if per_class is None or same < per_class:
            taken.append(row)
    return taken[:count]


@pytest.mark.parametrize("per_class", [None, 1, 3])
def test_top_images_equal_brute_force_with_ties_by_row(per_class: int | None) -> None:
    generator = torch.Generator().manual_seed(3)
    maximum = torch.randint(-4, 5, (200, 6), generator=generator).float()
    labels = torch.randint(0, 4, (200,), generator=generator)
    found = responses(maximum, labels)
    for channel in range(6):
        tops = top_images(found, channel, 15, per_class=per_class)
        expected = brute_force(maximum[:, channel].tolist(), labels.tolist(), 15, per_class)
        assert [top.row for top in tops] == expected
        assert {top.cell for top in tops} == {(1, 1)}


def test_values_that_are_no_numbers_are_never_on_top() -> None:
    maximum = torch.tensor([[1.0], [math.nan], [-math.inf], [math.inf], [2.0]])
    assert [top.row for top in top_images(responses(maximum), 0)] == [3, 4, 0, 2]
    assert top_images(responses(torch.full((3, 1), math.nan)), 0) == ()


def test_a_dead_channel_is_said_to_be_dead(model: Model, data: ImageSet) -> None:
    found = collect(model, data, ["relu", "patch"])
    assert silent_share(found["relu"]).tolist() == [0.0, 1.0, 0.0]
    assert silent_share(found["patch"]).tolist() == [0.0, 0.0, 0.0]  # below zero is not silent
    assert (
        silence(found["relu"], 1) == "Channel 1 of relu is dead here: it is zero everywhere on all 50 images."
    )
    assert silence(found["relu"], 0) == "Channel 0 of relu is zero everywhere on none of 50 images."
    half = responses(torch.tensor([[0.0], [0.0], [1.0], [2.0], [3.0]]))
    assert silence(half, 0) == "Channel 0 of layer is zero everywhere on 2 of 5 images (40.0 %)."


def test_classes_are_the_linear_weights_where_a_linear_layer_reads_the_means(model: Model) -> None:
    weights: Any = model.network
    for layer in ("relu", "pool"):
        for channel in range(3):
            found = classes_for(model, layer, channel)
            assert found.kind == "weight"
            assert found.values == tuple(weights.fc.weight[:, channel].tolist())
    assert classes_for(model, "relu", 0).order == (0, 1, 2)


@pytest.mark.parametrize(
    ("name", "linear", "other"),
    [
        ("resnet18_cifar", "layer4", "layer3"),
        ("vgg16_bn", "features.43", "features.42"),
        ("alexnet", "classifier.5", "features.11"),
        ("fpn_resnet50_cifar", "fuse", "layer4"),
        ("vit_small", "grid4", "grid3"),
    ],
)
def test_which_layers_are_read_linearly(name: str, linear: str, other: str, tiny_model: TinyModel) -> None:
    model = tiny_model(name)
    last: Any = model.network.classifier if hasattr(model.network, "classifier") else model.network.fc
    last = last[-1] if isinstance(last, nn.Sequential) else last
    weights = linear_head(model, linear)
    assert weights is not None
    assert torch.equal(weights, last.weight)
    assert linear_head(model, other) is None


def test_gradient_times_activation_is_worked_out_by_hand(model: Model, data: ImageSet) -> None:
    """Before the ReLU the logit is `weight * mean` wherever the channel is above zero, which for red is everywhere."""
    found = classes_for(model, "patch", 0, data, images=50)
    red = data.float_images()[:, 0].mean(dim=(1, 2))
    weights: Any = model.network
    assert (found.kind, found.n) == ("gradient x activation", 50)
    expected = weights.fc.weight[:, 0] * red.mean()
    assert found.values == pytest.approx(expected.tolist(), rel=1e-5)
    interval = stats.t.interval(0.95, 49, loc=2 * float(red.mean()), scale=stats.sem(2 * red.numpy()))
    assert found.low is not None
    assert found.high is not None
    assert (found.low[0], found.high[0]) == pytest.approx(interval, rel=1e-4)


@pytest.mark.parametrize(
    ("name", "layer"), [("resnet18_cifar", "layer2"), ("alexnet_lrn", "features.5"), ("vit_small", "grid2")]
)
def test_both_ways_to_the_derivatives_agree(name: str, layer: str, tiny_model: TinyModel) -> None:
    model = tiny_model(name)
    pixels = images(3, model.input_size).float_images()
    each = channel_classes._class_by_class(model.network, pixels, layer, 2)
    assert float(each.abs().max()) > 0
    try:
        together = channel_classes._along_channel(model.network, pixels, layer, 2)
    except RuntimeError:
        assert name == "vit_small"  # its attention has no derivative in forward mode
    else:
        assert torch.allclose(together, each, rtol=1e-3, atol=1e-6)


class Kinds(NamedTuple):
    """Maps, and something beside them."""

    maps: Tensor
    other: int


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize(
    ("make", "take"),
    [
        (lambda maps: (1, maps.relu()), lambda given: given[1]),
        (lambda maps: Kinds(maps.relu(), 1), lambda given: given.maps),
        (lambda maps: {"other": 1, "maps": maps.relu()}, lambda given: given["maps"]),
    ],
)
def test_layers_that_give_more_than_maps(
    make: Any, take: Any, many: bool, data: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The peer gives the maps alone; the last operation is not linear, so that images are needed."""
    monkeypatch.setattr(channel_classes, "_FEW", 0 if many else 32)
    networks = (
        Odd(make, lambda given: take(given) ** 2),
        Odd(lambda maps: maps.relu(), lambda maps: maps**2),
    )
    found, peer = (classes_for(wrap(network), "odd", 1, data) for network in networks)
    assert found.kind == "gradient x activation"
    assert found.values[1] > 0.1
    assert found == peer


def test_a_layer_that_images_pass_by_is_said(monkeypatch: pytest.MonkeyPatch, data: ImageSet) -> None:
    """As where a network of one's own takes another way for other images: zeros would look like an answer."""
    model = wrap(FewTimes(), 32)
    for few in (32, 0):
        monkeypatch.setattr(channel_classes, "_FEW", few)
        with pytest.raises(ExplanationError, match="relu#2 gives no maps for these images"):
            classes_for(model, "relu#2", 0, data)


class FewTimes(nn.Module):
    """Calls `relu` twice for black images, and once for others."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 3, 1), nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        """Logits `(N, 3)`."""
        maps = self.relu(self.conv(images)) ** 2
        return (maps if images.any() else self.relu(maps)).mean(dim=(2, 3))


def test_classes_of_layers_and_channels_that_are_not_there(model: Model) -> None:
    for layer, channel, words in (
        ("relu", 3, "the channel is 3; relu has 0 to 2"),
        ("other", 0, "small offers no channels of 'other'"),
        ("relu#2", 0, "relu of small has the calls 1 to 1; 2 was asked for"),
        ("patch", 0, "patch of small is not read linearly, so images are needed"),
    ):
        with pytest.raises(ExplanationError, match=words):
            classes_for(model, layer, channel)
    assert class_itself(model, "class 1").values == (0.0, 1.0, 0.0)
    with pytest.raises(ExplanationError, match="small has no class 'x'"):
        class_itself(model, "x")


def test_severity_0_is_clean_and_others_are_degraded_as_in_a_sweep(model: Model, data: ImageSet) -> None:
    told: list[tuple[int, int]] = []
    points = severity_response(
        model,
        data,
        "relu",
        [2, 0],
        ["brightness", "gaussian_noise"],
        [3, 1],
        scale="cifar-c",
        seed=5,
        progress=lambda done, total, _what: told.append((done, total)),
    )
    assert [(point.channel, point.degradation, point.severity) for point in points] == [
        (channel, name, level)
        for channel in (2, 0)
        for name in ("brightness", "gaussian_noise")
        for level in (0.0, 1.0, 3.0)
    ]
    clean = collect(model, data, ["relu"])["relu"].maximum[:, 0]
    for point in points[6::3]:
        assert point.response == float(clean.double().mean())
        assert (point.relative, point.relative_low, point.relative_high, point.n) == (1, 1, 1, 50)
    pixels = degrade(data.float_images(), "gaussian_noise", 3, scale="cifar-c", image_ids=data.ids, seed=5)
    network: Any = model.network
    with torch.no_grad():
        expected = network.patch(pixels).relu()[:, 0].flatten(1).amax(dim=1).double()
    last = points[-1]
    low, high = stats.t.interval(0.95, 49, loc=float(expected.mean()), scale=stats.sem(expected.numpy()))
    assert (last.response, last.low, last.high) == pytest.approx(
        (float(expected.mean()), low, high), rel=1e-5
    )
    assert last.relative == pytest.approx(float(expected.mean() / clean.double().mean()), rel=1e-5)
    assert told[-1] == (300, 300)
    assert told == sorted(told)


def test_images_without_numbers_are_left_out_of_the_curve(model: Model, data: ImageSet) -> None:
    network: Any = model.network
    network.patch.bias[2] = torch.nan
    points = severity_response(model, data, "patch", [2, 0], ["brightness"], [1], scale="cifar-c")
    assert [point.n for point in points] == [0, 0, 50, 50]
    assert math.isnan(points[0].response)


def test_the_ratio_of_means_has_the_interval_of_resampled_images() -> None:
    random = np.random.default_rng(0)
    before = random.gamma(4, 1, 400)
    after = 0.5 * before + random.gamma(2, 0.2, 400)
    rows = random.integers(0, 400, (4000, 400))
    drawn = after[rows].mean(axis=1) / before[rows].mean(axis=1)
    ratio, low, high = ratio_interval(torch.from_numpy(before), torch.from_numpy(after))
    assert ratio == pytest.approx(after.mean() / before.mean())
    assert (low, high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.003)
    assert all(map(math.isnan, ratio_interval(torch.zeros(5), torch.ones(5))))


def words_of(figure: Any) -> str:
    """All that is written in a figure."""
    svg = render(figure, "svg").decode()
    return svg.replace("&#215;", "×")


def test_the_figure_of_top_images_shows_values_labels_and_frames(model: Model, data: ImageSet) -> None:
    found = collect(model, data, ["relu"])["relu"]
    tops = top_images(found, 0, 5)
    frames = boxes(model, found, tops, 8)
    pictures = data.float_images()[[top.row for top in tops]]
    figure = top_images_figure(
        tops,
        pictures,
        frames,
        data.classes,
        grid=found.grid,
        title="small · relu",
        notes=[box_words(frames, 8)],
    )
    drawn = [axes for axes in figure.axes if axes.get_images()]
    assert len(drawn) == 5
    shown = np.asarray(drawn[0].get_images()[0].get_array())
    top, left, bottom, right = frames[0].top, frames[0].left, frames[0].bottom, frames[0].right
    expected = pictures[0].permute(1, 2, 0).numpy()
    assert np.allclose(shown[top:bottom, left:right], expected[top:bottom, left:right])
    dimmed = np.ones((8, 8), dtype=bool)
    dimmed[top:bottom, left:right] = False
    assert np.allclose(shown[dimmed], 0.6 * expected[dimmed])
    frame = drawn[0].patches[0].get_bbox()  # type: ignore[attr-defined]
    assert (frame.x0, frame.y0, frame.x1, frame.y1) == (left - 0.5, top - 0.5, right - 0.5, bottom - 0.5)
    text = words_of(figure)
    for words in ("small · relu", f"{tops[0].value:.3g}", "class ", "at most 4 x 4 px"):
        assert words in text
    with pytest.raises(ValueError, match="no images"):
        top_images_figure((), pictures[:0], (), data.classes, grid=(1, 1))


def test_a_frame_that_is_the_whole_picture_is_not_drawn() -> None:
    tops = (TopImage(0, "a", 0, 1.0, (1, 1)),)
    whole = (Box(0, 0, 8, 8, exact=False),)
    figure = top_images_figure(
        tops, torch.rand(1, 3, 8, 8), whole, ("thing",), grid=(2, 2), style=Style("one-column")
    )
    assert [len(axes.patches) for axes in figure.axes if axes.get_images()] == [0]
    assert box_words(whole, 8).startswith(
        "The cells look at the whole image, so no part of it is marked. An operation"
    )


def test_figures_of_classes_and_severities_name_their_axes(model: Model, data: ImageSet) -> None:
    text = words_of(classes_figure(classes_for(model, "patch", 0, data), title="patch · channel 0"))
    for words in ("mean of 50 images with its 95 % interval", "class 0", "class 2", "patch · channel 0"):
        assert words in text
    assert "weight of the channel" in words_of(classes_figure(classes_for(model, "relu", 0)))
    few = words_of(classes_figure(classes_for(model, "relu", 0), count=2))
    assert "class 1" not in few
    points = severity_response(model, data, "relu", 0, ["gaussian_blur", "pixelate"], [1, 3], scale="paper")
    text = words_of(severity_figure(points, title="relu · channel 0"))
    for words in (
        "clean",
        "low",
        "high",
        "Gaussian blur",
        "mean maximum response",
        "paper grid",
        "50 images",
    ):
        assert words in text
    assert "(share of clean)" in words_of(severity_figure(points, relative=True, style=Style("one-column")))
    with pytest.raises(ValueError, match="points of 0 channels"):
        severity_figure(())
