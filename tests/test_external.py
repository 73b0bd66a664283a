"""Networks of timm and torchvision by name: found without a download, with honest stages and head."""

import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from models import external, registry, zoo
from models.complexity import count_macs, count_parameters
from models.layers import InputSizeError, Normalize
from models.registry import Model
from xai import attribution
from xai.hooks import tapped
from xai.taps import least_size

pytestmark = pytest.mark.usefixtures("one_thread", "no_network")
TinyModel = Callable[..., Model]


@pytest.fixture(scope="module")
def no_network() -> Iterator[None]:
    """Any attempt to reach another machine fails the test."""

    def connect(*_arguments: Any) -> None:
        raise AssertionError("a network was asked for")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect)
        yield


@pytest.fixture(scope="module")
def resnet10t(tiny_model: TinyModel) -> Model:
    """The smallest ResNet of timm, for 64 px."""
    return tiny_model("timm:resnet10t", 64)


@pytest.mark.parametrize(
    ("name", "head", "stages", "least", "usual"),
    [
        ("timm:resnet10t", "pool_linear", ("act1", "layer1", "layer2", "layer3", "layer4"), 32, 176),
        ("torchvision:resnet18", "pool_linear", ("relu", "layer1", "layer2", "layer3", "layer4"), 32, 224),
        ("timm:regnety_002", "pool_linear", ("stem", "s1", "s2", "s3", "s4"), 32, 224),
        (
            "torchvision:alexnet",
            "flatten_mlp",
            ("features.1", "features.4", "features.11", "features"),
            64,
            224,
        ),
        ("timm:vit_tiny_patch16_224", "flatten_mlp", ("patch_embed.proj",), 32, 224),
    ],
)
def test_what_is_found_out_about_a_network(
    name: str, head: str, stages: tuple[str, ...], least: int, usual: int
) -> None:
    entry = registry.architecture(name)
    assert (entry.head, entry.min_size, entry.default_size) == (head, least, usual)
    assert entry.stages == tuple(f"model.{stage}" for stage in stages)


@pytest.mark.parametrize(
    ("name", "family"),
    [("torchvision:resnet18", "ResNet"), ("timm:vit_tiny_patch16_224", "ViT"), ("timm:regnety_002", "other")],
)
def test_families_go_by_name(name: str, family: str) -> None:
    assert registry.architecture(name).family == family


@pytest.mark.parametrize(
    ("name", "linear"),
    [("timm:resnet10t", True), ("timm:regnety_002", True), ("torchvision:alexnet", False)],
)
def test_the_head_is_what_the_gradient_says(name: str, linear: bool) -> None:
    """Behind average pooling and a linear layer a logit has the same gradient at every position."""
    entry = registry.architecture(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = registry.build(name, 3).eval().requires_grad_(False)
    stage = entry.stages[-1]
    with tapped(network, [stage]) as taps:
        scores = network(torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0)))
    gradient = torch.autograd.grad(scores[0, 0], taps[stage])[0]
    spread = gradient.std(dim=(2, 3)).max() / gradient.abs().max()
    assert (float(spread) < 1e-5) == (entry.head == "pool_linear") == linear


def test_a_network_is_wrapped_as_the_others_are(resnet10t: Model) -> None:
    """Timm's own constants come first, nothing works in place, and the weights are timm's."""
    import timm

    peer, facts = timm.create_model("resnet10t", num_classes=10), timm.get_pretrained_cfg("resnet10t")
    assert facts is not None
    first = next(resnet10t.network.children())
    assert isinstance(first, Normalize)
    assert first.mean.flatten().tolist() == pytest.approx(facts.mean)
    assert not [module for module in resnet10t.network.modules() if getattr(module, "inplace", False)]
    assert count_parameters(resnet10t.network) == count_parameters(peer)
    assert count_macs(resnet10t.network, 64) > 0
    assert resnet10t.default_layer == "model.layer3"
    assert least_size(resnet10t) == 32


def test_a_stored_network_comes_back(resnet10t: Model, tmp_path: Path) -> None:
    card = zoo.save(resnet10t.network, replace(resnet10t.card, name="stored"), tmp_path)
    loaded = zoo.load_checkpoint(tmp_path / "stored.safetensors", card)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(loaded.predict(images), resnet10t.predict(images), atol=0.05, rtol=0)


def test_heatmaps_of_a_library_network(resnet10t: Model) -> None:
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    maps = attribution.explain_all_cams(resnet10t, images, ("gradcam", "hirescam"), layers=["model.layer4"])
    torch.testing.assert_close(maps["gradcam"].values, maps["hirescam"].values, atol=1e-6, rtol=1e-4)
    with pytest.raises(attribution.ExplanationError, match="its smallest input is 32 px"):
        attribution.explain(resnet10t, images[..., :16, :16], "gradcam")


def test_a_transformer_is_built_for_the_size_that_is_asked_for() -> None:
    small = registry.build("timm:vit_tiny_patch16_224", 3, image_size=32).eval()
    with torch.no_grad():
        assert small(torch.rand(1, 3, 32, 32)).shape == (1, 3)
        with pytest.raises(InputSizeError, match="can't take an image of 64 x 64 px as it is built"):
            small(torch.rand(1, 3, 64, 64))


def test_macs_count_the_attention_of_timm() -> None:
    """DeiT-Tiny, published as 1.3 G: 197 tokens of width 192, twelve blocks of qkv 3, projection 1 and MLP 8."""
    with torch.device("meta"):
        network = registry.build("timm:vit_tiny_patch16_224", 1000)
    tokens, width = 14 * 14 + 1, 192
    linear = 12 * tokens * width * width * (3 + 1 + 8) + 14 * 14 * width * 768 + width * 1000
    assert count_macs(network, 224) == linear + 12 * 2 * tokens * tokens * width
    assert round(count_macs(network, 224) / 1e9, 1) == 1.3


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("timm:resnet10", "timm has no network 'resnet10'; similar names are resnet10"),
        ("timm:hf_hub:someone/thing", "timm has no network 'hf_hub:someone/thing'; similar names are none"),
        ("torchvision:resnet", "torchvision has no network 'resnet'; similar names are resnet"),
        ("keras:resnet50", "there is no architecture 'keras:resnet50'; allowed are alexnet_224,"),
    ],
)
def test_unknown_names_give_one_sentence(name: str, expected: str) -> None:
    with pytest.raises(ValueError) as caught:
        registry.architecture(name)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    if "names are resnet" in expected:
        assert str(caught.value).count(",") == 2


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"image_size": 32}, "torchvision:resnet18 can't be built for images of 32 px."),
        ({"image_size": -1}, "image_size is -1; allowed is 1 to 1024."),
        ({"width": 8}, "torchvision:resnet18 has no option 'width'; allowed are image_size."),
        ({"num_classes": 3}, "torchvision:resnet18 has no option 'num_classes'; allowed are image_size."),
    ],
)
def test_impossible_options_give_one_sentence(options: dict[str, int], expected: str) -> None:
    with pytest.raises(ValueError) as caught:
        registry.build("torchvision:resnet18", 3, **options)
    assert str(caught.value) == expected


def test_networks_that_compute_their_widths_are_sketched_without_weights() -> None:
    """Torchvision's RegNets can't be made under `torch.device("meta")` as they are; here no weight is allocated."""
    with torch.device("meta"):
        network = registry.build("torchvision:regnet_x_400mf", 3)
    assert {parameter.device.type for parameter in network.parameters()} == {"meta"}
    assert isinstance(network, external.External)
    assert registry.architecture("torchvision:regnet_x_400mf").head == "pool_linear"
    assert next(registry.build("torchvision:regnet_x_400mf", 3).parameters()).device.type == "cpu"


def test_a_network_without_feature_maps_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 176 * 176, 2, device="meta"))
    monkeypatch.setattr(external, "_sketch", lambda _name: flat)
    with pytest.raises(ValueError, match="has no layer whose output is a feature map"):
        external.look("timm:resnet10t")
