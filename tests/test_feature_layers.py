"""All layers from one forward pass: each as it was at that moment, whatever the network does with it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.registry import Model
from tests.conftest import TinyModel
from tests.feature_helpers import Colours, Odd, wrap
from xai import hooks
from xai.attribution_types import ExplanationError
from xai.feature_layers import distinct_layers, gradient, layer_table, record
from xai.layer_calls import call_name, split_call
from xai.layer_matching import layer_at_depth, matching_layer

pytestmark = pytest.mark.usefixtures("one_thread")
IMAGES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def beside(make: Callable[[Tensor], Any]) -> Odd:
    """A network with a layer that gives what `make` does and that the logits don't depend on."""
    kept: dict[str, Tensor] = {}

    def keeping(images: Tensor) -> Any:
        kept["images"] = images
        return make(images)

    return Odd(keeping, lambda _output: kept["images"])


def forwards(model: Model, images: Tensor) -> int:
    """How often recording all layers runs the network."""
    calls: list[int] = []
    handle = model.network.register_forward_hook(lambda *_: calls.append(1))
    try:
        record(model, images)
    finally:
        handle.remove()
    return len(calls)


@pytest.mark.parametrize("name", ["alexnet_bn", "resnet18_cifar", "vit_small"])
def test_every_layer_is_what_the_network_computes(name: str, tiny_model: TinyModel) -> None:
    """The peer copies every output on its own, one layer in a pass of its own."""
    model = tiny_model(name, 32)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    found = record(model, images)
    assert forwards(model, images) == 1
    once = [info for info in layer_table(model, 32) if info.calls == 1 and not info.note]
    assert [layer for layer in found if "#" not in layer] == [
        info.name for info in layer_table(model, 32) if not info.note
    ]
    for info in once:
        with torch.inference_mode(), hooks.recorded(model.network, [info.name]) as outputs:
            model.network(images)
        expected = outputs[info.name]
        values = found[info.name].values
        assert values.shape == (2, info.channels, *info.grid)
        assert torch.equal(values.reshape(expected.shape), expected)


def test_layers_named_come_in_their_order_and_equal_those_of_all(tiny_model: TinyModel) -> None:
    model = tiny_model("alexnet")
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    every, some = record(model, images), record(model, images, ["classifier.4", "features.0"])
    assert list(some) == ["classifier.4", "features.0"]
    assert all(torch.equal(some[name].values, every[name].values) for name in some)


class InPlace(nn.Module):
    """Changes what its layers gave twice: an activation in place, and an addition."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 3, 1), nn.ReLU(inplace=True)
        with torch.no_grad():
            self.conv.weight[:] = -torch.eye(3)[..., None, None]
            nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        """Logits `(N, 3)`."""
        features = self.relu(self.conv(images))
        features += 1
        return features.mean(dim=(2, 3))


def test_what_is_changed_in_place_afterwards_is_recorded_as_it_was() -> None:
    model = wrap(InPlace())
    found = record(model, IMAGES)
    assert torch.equal(found["conv"].values, -IMAGES)
    assert torch.equal(found["relu"].values, torch.zeros_like(IMAGES))
    assert forwards(model, IMAGES) == 1  # known by now


def test_a_network_in_inference_mode_of_its_own_is_recorded() -> None:
    network = InPlace()
    network.forward = torch.inference_mode()(network.forward)  # type: ignore[method-assign]
    found = record(wrap(network), IMAGES)
    assert torch.equal(found["conv"].values, -IMAGES)


class Repeated(nn.Module):
    """One module that adds nothing is called three times, on x, x + 1 and x + 2."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.same = nn.Conv2d(3, 3, 1), nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        """Logits `(N, 3)`."""
        return self.same(self.same(self.same(images) + 1) + 1).mean(dim=(2, 3))


def test_calls_of_one_layer_are_told_apart() -> None:
    model = wrap(Repeated(), stages=("same",))
    found = record(model, IMAGES)
    assert list(found) == ["same", "same#2", "same#3"]
    for number, name in enumerate(found):
        assert torch.equal(found[name].values, IMAGES + 1 + 1 if number == 2 else IMAGES + number)
    assert torch.equal(record(model, IMAGES, ["same#3"])["same#3"].values, found["same#3"].values)
    assert torch.equal(record(model, IMAGES, ["same"], call=1)["same"].values, found["same#2"].values)
    (info,) = layer_table(model, 8)
    assert (info.name, info.calls) == ("same", 3)
    with pytest.raises(ExplanationError, match="called 3 times, so there is no call 4"):
        record(model, IMAGES, ["same#4"])
    with pytest.raises(ExplanationError, match="'conv' is not used"):
        record(model, IMAGES, ["conv"])


def test_names_of_calls() -> None:
    assert split_call("a.b") == ("a.b", 1)
    assert split_call("a.b#2") == ("a.b", 2)
    assert split_call("a#0") == ("a#0", 1)
    for strange in ("a#²", "a#٣", "a#-1", "a#", "#2", "a#" + 5_000 * "9"):
        assert split_call(strange) == (strange, 1)
    assert [call_name(name) for name in ("a", "a#1", "a#02")] == ["a", "a", "a#2"]
    with pytest.raises(ExplanationError, match="has no layer 'same#²'"):
        record(wrap(Repeated(), stages=("same",)), IMAGES, ["same#²"])


class Twice(nn.Module):
    """Calls one layer on maps of 6 x 6 cells and then of 2 x 2."""

    def __init__(self, between: int = 3) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 4, 3), nn.ReLU()
        self.narrow = nn.Conv2d(4, 5, between, stride=2)

    def forward(self, images: Tensor) -> Tensor:
        """Logits `(N, 3)`."""
        return self.relu(self.narrow(self.relu(self.conv(images))))[:, :3].mean(dim=(2, 3))


def test_what_is_known_of_a_later_call() -> None:
    info = {info.name: info for info in layer_table(wrap(Twice()), 8)}["relu"]
    assert (info.channels, info.grid) == (4, (6, 6))
    assert (info.at(2).channels, info.at(2).grid, info.at(1)) == (5, (2, 2), info)


def test_a_layer_that_is_called_twice_says_which_call_is_shown() -> None:
    model, note = wrap(Twice()), "relu runs 2 times in one forward pass; this is call"
    for name, call in (("relu", 1), ("relu#2", 2)):
        assert record(model, IMAGES, [name])[name].notes == (f"{note} {call}.",)
        assert record(model, IMAGES)[name].notes == (f"{note} {call}.",)
    assert record(model, IMAGES)["conv"].notes == ()


def test_a_call_is_set_beside_the_same_call() -> None:
    a, b, other = wrap(Twice()), wrap(Twice()), wrap(Twice(2))
    assert matching_layer(a, "relu#2", b) == "relu#2"
    assert matching_layer(a, "relu", b) == matching_layer(a, "relu#1", b) == "relu"
    assert matching_layer(a, "relu#2", other) == "conv", "its call has another grid, and conv is the stage"
    with pytest.raises(ExplanationError, match="called 2 times, so there is no call 3"):
        matching_layer(a, "relu#3", b)


def test_of_a_tuple_the_first_tensor_is_taken_and_that_is_said() -> None:
    model = wrap(Odd(lambda x: (None, 2 * x, x), lambda parts: parts[1]))
    feature = record(model, IMAGES)["odd"]
    assert torch.equal(feature.values, 2 * IMAGES)
    assert feature.notes == ("odd returns a tuple; its first tensor is shown.",)
    expected = torch.full((2, 3, 8, 8), 1 / 64)
    expected[:, [0, 2]] = 0
    assert torch.allclose(gradient(model, IMAGES, "odd", 1), expected)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda x: {"word": 1, "map": x}, ""),
        (lambda x: ["no", "tensor", x][:2], "is a list without a tensor"),
        (lambda x: x.flatten(2), r"has the shape \(N, 3, 64\)"),
        (lambda x: x.sum(), r"has the shape \(\)"),
        (lambda x: x.flatten(0, 1)[:, None], r"has the shape \(6, 1, 8, 8\)"),
    ],
)
def test_outputs_that_are_no_maps_are_left_out_and_say_why(make: Callable[[Tensor], Any], words: str) -> None:
    model = wrap(beside(make))
    info = {info.name: info for info in layer_table(model, 8)}["odd"]
    if not words:
        assert info.note == ""
        assert torch.equal(record(model, IMAGES)["odd"].values, IMAGES)
        return
    with pytest.raises(ExplanationError, match=words):
        record(model, IMAGES, ["odd"])
    assert "no map" in info.note
    assert list(record(model, IMAGES)) == ["conv"]


def test_what_is_no_number_is_counted() -> None:
    def spoil(x: Tensor) -> Tensor:
        x = x.clone()
        x[:, 0, 0, :3] = torch.nan
        x[:, 1, 0, 0] = -torch.inf
        return x

    feature = record(wrap(Odd(spoil, lambda x: x)), IMAGES[:1])["odd"]
    assert feature.notes == ("4 of 192 values of odd are not finite (NaN or infinite).",)


def test_vectors_are_grids_of_one_cell_however_many_channels() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 4096), nn.ReLU(), nn.Linear(4096, 3))
    model = wrap(network, stages=("1",))
    found = record(model, IMAGES)
    assert {name: feature.values.shape[1:] for name, feature in found.items()} == {
        "0": (192, 1, 1),
        "1": (4096, 1, 1),
        "2": (4096, 1, 1),
        "3": (3, 1, 1),
    }
    assert "shown as a 1x1 grid" in found["2"].notes[0]
    assert found["2"].position == "after ReLU"


def test_layers_that_pass_on_what_they_got_are_known() -> None:
    model = wrap(Colours(), stages=("drop",))
    assert {info.name: info.same_as for info in layer_table(model, 8)} == {
        "conv": "",
        "relu": "",
        "drop": "relu",
        "fc": "",
    }
    assert [info.name for info in distinct_layers(model, 8)] == ["conv", "drop", "fc"]


def test_nothing_is_left_behind_even_after_an_error() -> None:
    network = Colours()
    model = wrap(network)
    network.train()
    record(model, IMAGES)
    assert hooks.count_hooks(network) == 0
    with pytest.raises(RuntimeError):
        record(model, torch.rand(1, 2, 8, 8))
    assert hooks.count_hooks(network) == 0
    assert all(module.training for module in network.modules())
    assert all(weight.requires_grad for weight in network.parameters())


def test_an_unknown_layer_is_refused_with_those_there_are() -> None:
    with pytest.raises(
        ExplanationError, match=r"hand has no layer 'bogus'; allowed are conv, relu, drop, fc\."
    ):
        record(wrap(Colours()), IMAGES, ["bogus"])


def test_an_image_too_small_for_the_network_is_refused(tiny_model: TinyModel) -> None:
    model = tiny_model("alexnet_224", num_classes=3)
    with pytest.raises(ExplanationError, match="smallest input is 63 px"):
        record(model, torch.rand(1, 3, 16, 16))
    with pytest.raises(ExplanationError, match="smallest input is 63 px"):
        layer_table(model, 16)


def test_the_gradient_is_that_of_the_logit() -> None:
    """Logit k is the mean of channel k times k + 2: each cell's gradient is (k + 2) / 64, and 0 in other channels."""
    model = wrap(Colours())
    for target in range(3):
        expected = torch.zeros(2, 4, 8, 8)
        expected[:, target] = (target + 2) / 64
        assert torch.allclose(gradient(model, IMAGES, "drop", target), expected)
    assert gradient(model, IMAGES, "fc", 1)[0].flatten().tolist() == [0, 1, 0]


def test_the_gradient_is_that_of_the_call_asked_for() -> None:
    model = wrap(Repeated(), stages=("same",))
    positive = IMAGES + 0.5
    assert torch.allclose(gradient(model, positive, "same#3", 0)[:, 0], torch.full((2, 8, 8), 1 / 64))
    with pytest.raises(ExplanationError, match="'same#4' gives no maps"):
        gradient(model, positive, "same#4", 0)


def test_a_layer_that_the_logits_do_not_depend_on_has_no_gradient() -> None:
    model = wrap(beside(lambda x: x * 0))
    assert not gradient(model, IMAGES, "odd", 0).any()


def test_the_second_networks_layer_has_the_firsts_grid(tiny_model: TinyModel) -> None:
    a, b = tiny_model("alexnet", 32), tiny_model("resnet18_cifar", 32)
    grids = {info.name: info.grid for info in layer_table(b, 32)}
    assert [grids[f"layer{number}"] for number in (1, 2, 3, 4)] == [(32, 32), (16, 16), (8, 8), (4, 4)]
    at_a = {info.name: info.grid for info in layer_table(a, 32)}
    assert [at_a[layer] for layer in ("features.1", "features.4", "features.11")] == [
        (16, 16),
        (8, 8),
        (4, 4),
    ]
    matched = [matching_layer(a, layer, b) for layer in ("features.1", "features.4", "features.11")]
    assert matched == ["layer2", "layer3", "layer4"]
    assert matching_layer(a, "classifier.5", b) == "layer4"  # the nearest to one cell
    assert matching_layer(b, "layer1.0.conv1", b) == "layer1.0.conv1"  # one architecture, one name
    with pytest.raises(ExplanationError, match="no layer 'layer9'"):
        matching_layer(b, "layer9", a)


def _chain(letter: str, count: int) -> Model:
    """Layers of one grid, one after the other, each a stage."""
    names = [f"{letter}{place}" for place in range(count)]
    network = nn.Sequential(OrderedDict((name, nn.Conv2d(3, 3, 1)) for name in names))
    return wrap(network, name=letter, stages=tuple(names))


def test_equal_depth_decides_between_layers_of_one_grid(tiny_model: TinyModel) -> None:
    a, b = _chain("a", 7), _chain("b", 4)
    for match in (matching_layer, layer_at_depth):
        assert [match(a, f"a{place}", b) for place in range(7)] == ["b0", "b1", "b1", "b2", "b2", "b3", "b3"]
        assert match(a, "a2", a) == "a2"
        with pytest.raises(ExplanationError, match="no layer 'a9'"):
            match(a, "a9", b)
    resnet, alexnet = tiny_model("resnet18_cifar", 64), tiny_model("alexnet", 64)
    assert matching_layer(resnet, "layer2", alexnet) == "features.1"  # the nearest grid is at another depth
    assert layer_at_depth(resnet, "relu", alexnet) == alexnet.stages[0]
