"""What every registered architecture must do: taps, heatmaps, a training step, storage; and the papers' modules by
hand-worked numbers."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models import registry, zoo
from models.attention import ChannelAttention, MultiScale, PixelGate, cbam, squeeze_excitation
from models.cards import Card
from models.complexity import count_macs, count_parameters
from models.layers import InputSizeError
from models.pooling import TMaxAvgPool2d
from models.registry import ARCHITECTURES, Model, layer_grids
from models.second_picture import SECOND_PICTURES, second_picture
from models.vit import _maps, _tokens
from xai import attribution
from xai.faithfulness import gradcam_hirescam_agreement
from xai.folding import folded
from xai.hooks import count_hooks, tapped

pytestmark = pytest.mark.usefixtures("one_thread")
TinyModel = Callable[..., Model]
SMALL_INPUT = {
    *("alexnet_224", "alexnet", "alexnet_bn", "alexnet_lrn", "alexnet_cbam", "alexnet_tmaxavg"),
    *("vgg16_bn", "vit_small"),
}
TWO_STEMS = {
    *("resnet18", "resnet34", "resnet50", "resnet101", "wide_resnet50", "resnext50", "resnext50_msff"),
    *("se_resnet50", "cbam_resnet50", "fpn_resnet50", "swish_resnet50", "dropout_resnet50"),
    *("hff_senet", "mmff_resnet50"),
}


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request: pytest.FixtureRequest, tiny_model: TinyModel) -> Model:
    """A narrow untrained model of each architecture for images that leave its last stage a grid."""
    entry = ARCHITECTURES[request.param]
    return tiny_model(request.param, max(entry.min_size, 64 if entry.default_size == 224 else 32))


def images_of(model: Model, count: int = 2) -> Tensor:
    """Seeded noise of the model's size, `(count, 3, H, W)`."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, 3, model.input_size, model.input_size, generator=generator)


def test_every_architecture_of_the_papers_is_there() -> None:
    assert set(ARCHITECTURES) == SMALL_INPUT | TWO_STEMS | {f"{name}_cifar" for name in TWO_STEMS}
    families = {entry.family for entry in ARCHITECTURES.values()}
    assert families == {"AlexNet", "VGG", "ResNet", "ResNeXt", "ViT"}
    assert all(entry.source and entry.title for entry in ARCHITECTURES.values())
    assert len({entry.title for entry in ARCHITECTURES.values()}) == len(ARCHITECTURES)


def test_every_stage_gives_one_feature_map_per_image(model: Model) -> None:
    images = images_of(model)
    with tapped(model.network, model.stages) as taps:
        model.network(images)
    assert taps.keys() == set(model.stages)
    assert all(tap.ndim == 4 and len(tap) == 2 for tap in taps.values())
    grids = layer_grids(model.network, model.input_size)
    assert {name: tuple(tap.shape[2:]) for name, tap in taps.items()} == {n: grids[n] for n in model.stages}


def test_no_module_changes_what_another_gave_out_and_each_activation_runs_once(model: Model) -> None:
    outputs: list[tuple[Tensor, int]] = []
    calls: dict[nn.Module, int] = {}

    def note(module: nn.Module, _inputs: object, output: Tensor) -> None:
        outputs.append((output, output._version))
        calls[module] = calls.get(module, 0) + 1

    network = copy.deepcopy(model.network)
    for module in network.modules():
        if not isinstance(module, nn.ModuleList) and not list(module.children()):
            module.register_forward_hook(note)
    with torch.no_grad():
        network(images_of(model))
    assert all(output._version == version for output, version in outputs)
    assert set(calls.values()) == {1}


def test_heatmaps_at_the_default_layer(model: Model) -> None:
    maps = attribution.explain_all_cams(model, images_of(model), ("gradcam", "hirescam"))
    side = min(layer_grids(model.network, model.input_size)[model.default_layer])
    for heatmap in maps.values():
        assert heatmap.tap.layers == (model.default_layer,)
        assert heatmap.values.shape == (2, side, side)
        assert bool(heatmap.values.isfinite().all())


def test_the_head_is_what_the_registry_says(model: Model) -> None:
    """Behind the last stage there is average pooling and one linear layer exactly where Grad-CAM equals HiResCAM."""
    size = 64 if model.head == "pool_linear" else 96
    images = torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(1))
    agreement = gradcam_hirescam_agreement(model, images, 1, model.stages[-1])
    agreement = agreement[~agreement.isnan()]
    assert len(agreement)
    assert bool((agreement > 1 - 1e-4).all()) == (model.head == "pool_linear")


def test_one_training_step_reaches_every_weight(model: Model) -> None:
    network = copy.deepcopy(model.network).train()
    spare = {f"spare_fc.{kind}" for kind in ("weight", "bias")}
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name not in spare)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        loss = nn.functional.cross_entropy(network(images_of(model, 4)), torch.arange(4))
    loss.backward()
    gradients = {name: p.grad for name, p in network.named_parameters() if name not in spare}
    assert [name for name, grad in gradients.items() if grad is None or not bool(grad.isfinite().all())] == []


def test_a_stored_network_answers_as_its_dequantised_weights_do(model: Model, tmp_path: Path) -> None:
    if model.name == "untrained-alexnet_224":
        pytest.skip("57 M weights; its checkpoints have tests of their own")
    card = replace(model.card, name="stored")
    card = zoo.save(model.network, card, tmp_path)
    loaded = zoo.load_checkpoint(tmp_path / "stored.safetensors", card)
    assert loaded.default_layer == model.default_layer
    before, after = model.network.state_dict(), loaded.network.state_dict()
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        scale = float(tensor.float().abs().max()) if tensor.numel() else 0.0
        torch.testing.assert_close(after[name], tensor, atol=scale / 127, rtol=0)
    assert bool(loaded.predict(images_of(model)).isfinite().all())


def test_the_folded_copy_has_the_same_logits(model: Model) -> None:
    copied, images = folded(model), images_of(model)
    assert bool(copied.convolutions) == any(isinstance(m, nn.BatchNorm2d) for m in model.network.modules())
    with torch.no_grad():
        expected = model.network(images)
        gap = (copied.network(images) - expected).abs().max() / expected.abs().max()
    assert float(gap) < 1e-3


@pytest.mark.parametrize(
    ("name", "classes", "millions"),
    [
        ("se_resnet50", 1000, 28.09),
        ("cbam_resnet50", 1000, 28.07),
        ("hff_senet", 1000, 86.12),
        ("mmff_resnet50", 1000, 27.00),
        ("vgg16_bn", 10, 14.73),
        ("vit_small", 10, 6.27),
    ],
)
def test_published_sizes(name: str, classes: int, millions: float) -> None:
    """SE and CBAM as published (28.09 M), HFF-SEnet 86.1 M and M-MFFnet 27.0 M; VGG and ViT as usual for CIFAR."""
    with torch.device("meta"):
        network = registry.build(name, classes)
    assert round(count_parameters(network) / 1e6, 2) == millions


@pytest.mark.parametrize("name", ["hff_senet", "mmff_resnet50"])
def test_the_spare_classifier_is_all_that_the_published_count_adds(name: str) -> None:
    with torch.device("meta"):
        whole, used = (registry.build(name, 1000, spare_classifier=spare) for spare in (True, False))
    assert count_parameters(whole) - count_parameters(used) == 2048 * 1000 + 1000
    assert count_macs(whole, 64) == count_macs(used, 64)
    assert not any(p.requires_grad for p in whole.get_submodule("spare_fc").parameters())


def test_vgg_has_torchvisions_convolutions() -> None:
    import torchvision

    with torch.device("meta"):
        ours = registry.build("vgg16_bn", 10).get_submodule("features").state_dict()
        theirs = torchvision.models.vgg16_bn().features.state_dict()
    assert {name: t.shape for name, t in ours.items()} == {name: t.shape for name, t in theirs.items()}


@pytest.mark.parametrize(("width", "groups"), [(64, 32), (16, 32), (8, 16), (5, 2)])
def test_narrow_resnexts_have_as_many_groups_as_divide(width: int, groups: int) -> None:
    with torch.device("meta"):
        network = registry.build("resnext50", 10, width=width)
    convolution = network.get_submodule("layer1.0.conv2")
    assert isinstance(convolution, nn.Conv2d)
    assert (convolution.groups, convolution.in_channels) == (groups, 2 * width)


# Pooling and attention by hand


def test_t_max_avg_pooling_by_hand() -> None:
    """Windows (1, 2, 3, 4), (.1, .8, .7, .9) and (.1, .8, .6, .9): the maximum where the three highest reach 0.7."""
    windows = torch.tensor([[1.0, 2, 3, 4], [0.1, 0.8, 0.7, 0.9], [0.1, 0.8, 0.6, 0.9]]).view(3, 1, 2, 2)
    pooled = TMaxAvgPool2d(2, 2, largest=3, threshold=0.7)(windows).flatten()
    assert pooled.tolist() == pytest.approx([4, 0.9, 2.3 / 3])


def test_t_max_avg_pooling_between_its_limits() -> None:
    x = torch.rand(2, 3, 9, 8, generator=torch.Generator().manual_seed(0)) - 0.5
    torch.testing.assert_close(TMaxAvgPool2d(3, 2, 1, 3, -9.0)(x), nn.MaxPool2d(3, 2, 1)(x))
    torch.testing.assert_close(TMaxAvgPool2d(3, 2, 1, 1, 9.0)(x), nn.MaxPool2d(3, 2, 1)(x))
    torch.testing.assert_close(TMaxAvgPool2d(2, 2, 0, 4, 9.0)(x), nn.AvgPool2d(2)(x))
    padded = TMaxAvgPool2d(3, 2, 1, 9, 9.0)(x)
    torch.testing.assert_close(padded, nn.AvgPool2d(3, 2, 1, count_include_pad=False)(x))


def test_gradients_of_t_max_avg_pooling_are_those_of_its_numbers() -> None:
    x = torch.rand(1, 2, 5, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert torch.autograd.gradcheck(TMaxAvgPool2d(3, 2, 1, 3, 0.7), x.requires_grad_())


def test_cbam_has_the_numbers_of_timms() -> None:
    from timm.layers.cbam import CbamModule

    ours, theirs = cbam(32).eval(), CbamModule(32).eval()
    source = theirs.state_dict()
    names = {"0.fc1.weight": "channel.fc1.weight", "0.fc2.weight": "channel.fc2.weight"}
    names |= {"1.conv.weight": "spatial.conv.conv.weight"}
    state = {key: source[name].reshape(ours.state_dict()[key].shape) for key, name in names.items()}
    state |= {
        key: source[key.replace("1.bn", "spatial.conv.bn")] for key in ours.state_dict() if "1.bn." in key
    }
    ours.load_state_dict(state)
    x = torch.randn(2, 32, 6, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours(x), theirs(x))
    assert not torch.allclose(ours(x), x, atol=0.05)


def test_gates_that_know_nothing_halve_what_they_see() -> None:
    """With all weights zero every gate is sigmoid(0) = 1/2."""
    x = torch.randn(2, 32, 4, 4, generator=torch.Generator().manual_seed(0))
    for gate in (ChannelAttention(32), PixelGate(32), squeeze_excitation(32)):
        for parameter in gate.parameters():
            nn.init.zeros_(parameter)
        torch.testing.assert_close(gate(x), x / 2)


def test_multi_scale_fusion_weighs_its_convolutions_by_the_softmax_of_alpha() -> None:
    """Identity kernels: with alpha = (0, log 3, -inf, -inf) the sum is x / 4 + 3 * 2 x / 4 for doubled 3x3 kernels."""
    fusion = MultiScale(4, groups=4).eval()
    with torch.no_grad():
        for convolution, factor in zip(fusion.convolutions, (1.0, 2.0, 5.0, 7.0), strict=True):
            middle = convolution.kernel_size[0] // 2  # type: ignore[index, operator]
            convolution.weight.zero_()  # type: ignore[operator]
            convolution.weight[:, :, middle, middle] = factor  # type: ignore[index, operator]
        fusion.alpha.copy_(torch.tensor([1.0, 3.0, 1.0, 1.0]).log())
        x = torch.rand(1, 4, 5, 5, generator=torch.Generator().manual_seed(0))
        expected = x * (1 / 4 + 3 * 2 / 4) / (1 + fusion.bn.eps) ** 0.5
        fusion.alpha[2:] = -torch.inf
        torch.testing.assert_close(fusion(x), expected)


# Pyramid, two pictures, tokens


def test_the_pyramid_ends_on_the_grid_of_stage_3(tiny_model: TinyModel) -> None:
    model = tiny_model("fpn_resnet50_cifar")
    grids = layer_grids(model.network, 32)
    assert [grids[name] for name in model.stages] == [(32, 32), (16, 16), (8, 8), (4, 4), (8, 8)]
    assert model.default_layer == "fuse"


def test_second_pictures_by_hand() -> None:
    """A flat image has no edges, and no neighbour brighter or darker; beside a step of one gx is 4 / 4 and gy 0; where
    all neighbours are brighter every bit is set."""
    flat = torch.full((1, 3, 4, 4), 0.3)
    assert float(second_picture("edges")(flat).max()) < 1e-6
    torch.testing.assert_close(second_picture("lbp")(flat), torch.full((1, 3, 4, 4), 0.5))
    step = torch.zeros(1, 3, 4, 4)
    step[..., 2:] = 1
    edges = second_picture("edges")(step)[0, 0, 1]
    assert edges.tolist() == pytest.approx([0, 0.5, 0.5, 0], abs=1e-6)
    hole = torch.ones(1, 3, 3, 3)
    hole[..., 1, 1] = 0
    assert float(second_picture("lbp")(hole)[0, 0, 1, 1]) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("name", SECOND_PICTURES)
def test_second_pictures_stay_in_range_and_have_a_gradient(name: str) -> None:
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).round().requires_grad_()
    picture = second_picture(name)(images)
    assert picture.shape == images.shape
    assert 0 <= float(picture.detach().min()) <= float(picture.detach().max()) <= 1
    gradient = torch.autograd.grad(picture.sum(), images)[0]
    assert bool(gradient.isfinite().all())
    assert float(gradient.abs().max()) > 0


def test_two_pictures_of_an_image_stay_together(tiny_model: TinyModel) -> None:
    """An image gets the same answer alone and in a batch, and both its pictures matter."""
    model = tiny_model("mmff_resnet50_cifar")
    images = images_of(model, 3)
    alone = torch.cat([model.predict(image[None]) for image in images])
    torch.testing.assert_close(model.predict(images), alone, atol=1e-5, rtol=1e-4)
    with tapped(model.network, ("reduce_image", "reduce_second")) as taps:
        score = model.network(images)[:, 0].sum()
    gradients = torch.autograd.grad(score, list(taps.values()))
    assert all(bool((gradient.flatten(1).abs().amax(dim=1) > 0).all()) for gradient in gradients)


def test_layers_that_see_both_pictures_are_not_offered_and_refused(tiny_model: TinyModel) -> None:
    model = tiny_model("mmff_resnet50_cifar")
    grids = layer_grids(model.network, 32)
    assert {"reduce_image", "reduce_second", "fuse"} <= grids.keys()
    assert not [name for name in grids if name.startswith(("layer", "conv1"))]
    with pytest.raises(attribution.ExplanationError, match="'layer4' gives 4 feature maps for 2 images"):
        attribution.explain(model, images_of(model), "gradcam", layers=["layer4"])


def test_tokens_come_back_to_their_place() -> None:
    maps = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(_maps(_tokens(maps), maps), maps)
    assert torch.equal(_tokens(maps)[1, 7], maps[1, :, 1, 2])


def test_a_vit_takes_other_sizes_that_its_patch_divides(tiny_model: TinyModel) -> None:
    model = tiny_model("vit_small")
    assert {model.predict(torch.rand(1, 3, size, size)).shape for size in (8, 32, 48)} == {(1, 10)}
    assert layer_grids(model.network, 48)["grid4"] == (12, 12)
    with pytest.raises(InputSizeError, match="30 x 32 px; allowed are multiples of the patch of 4 px"):
        model.network(torch.rand(1, 3, 32, 30))
    with pytest.raises(attribution.ExplanationError, match="multiples of the patch"):
        attribution.explain(model, torch.rand(1, 3, 32, 30), "gradcam")


def test_macs_of_a_vit_by_hand(tiny_model: TinyModel) -> None:
    """64 tokens of width 64: patches 48, per block qkv 3, projection 1 and MLP 2 times 64, attention twice 64 * 64."""
    model = tiny_model("vit_small", depth=3)
    linear, attention = 64 * 64 * 64 * (3 + 1 + 2), 2 * 64 * 64 * 64
    assert count_macs(model.network, 32) == 64 * 48 * 64 + 3 * (linear + attention) + 64 * 10


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("vit_small", {"width": 48}, "width is 48; allowed are multiples of 32."),
        ("vit_small", {"patch": 5}, "patch is 5; allowed are divisors of the image size 32."),
        ("vit_small", {"depth": 2}, "depth is 2; allowed is 3 to 48."),
        ("vit_small", {"image_size": 0}, "image_size is 0; allowed is 1 to 1024."),
        ("mmff_resnet50", {"second": "depth"}, "second is 'depth'; allowed are edges, lbp."),
        ("dropout_resnet50", {"dropout": 1.0}, "dropout is 1.0; allowed are numbers in [0, 1)."),
        ("dropout_resnet50", {"spatial_dropout": -1}, "the dropout of feature maps is -1; allowed"),
        ("alexnet_tmaxavg", {"largest": 10}, "largest is 10; allowed is 1 to 9."),
        ("alexnet_tmaxavg", {"threshold": "high"}, "threshold is 'high'; allowed are numbers."),
        ("vgg16_bn", {"width": 0}, "width is 0; allowed is 1 to 512."),
    ],
)
def test_impossible_options_give_one_sentence(name: str, options: dict[str, object], expected: str) -> None:
    with pytest.raises(ValueError) as caught:
        registry.build(name, 10, **options)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


# Every method on the new kinds of networks

METHODS_ON: dict[str, set[str]] = {
    "se_resnet50_cifar": {"deeplift"},
    "fpn_resnet50_cifar": set(),
    "vgg16_bn": set(),
    "mmff_resnet50_cifar": set(),
    "vit_small": {"deeplift", "guided_backprop"},
}
"""Networks with the methods that have to refuse them."""
QUICK: dict[str, dict[str, Any]] = {
    "integrated_gradients": {"steps": 4},
    "smoothgrad": {"samples": 2},
    "gradient_shap": {"samples": 2},
    "occlusion": {"window": 16, "stride": 16},
    "rise": {"samples": 8, "cells": 4},
}


def attempt(model: Model, method: str) -> str:
    """What a method says when it refuses; empty when its maps are fine."""
    try:
        heatmap = attribution.explain(model, images_of(model), method, targets=1, **QUICK.get(method, {}))
    except attribution.ExplanationError as error:
        return str(error)
    return "" if bool(heatmap.values.isfinite().all()) else "not finite"


@pytest.mark.parametrize("name", METHODS_ON)
def test_every_method_works_or_says_in_one_sentence_that_it_does_not(
    name: str, tiny_model: TinyModel
) -> None:
    model = tiny_model(name)
    answers = {method: attempt(model, method) for method in attribution.METHODS}
    refused = {method: answer for method, answer in answers.items() if answer}
    assert refused.keys() == METHODS_ON[name]
    assert all(name in answer and "\n" not in answer for answer in refused.values())
    assert count_hooks(model.network) == 0


@pytest.mark.parametrize(
    ("name", "method", "answer"),
    [
        (
            "cbam_resnet50_cifar",
            "deeplift",
            "DeepLIFT has no rule for some step of untrained-cbam_resnet50_cifar",
        ),
        (
            "swish_resnet50_cifar",
            "deeplift",
            "DeepLIFT has no rule for some step of untrained-swish_resnet50",
        ),
        ("swish_resnet50_cifar", "guided_backprop", "untrained-swish_resnet50_cifar has no ReLU module"),
        ("alexnet_tmaxavg", "deeplift", "DeepLIFT has no rule for some step of untrained-alexnet_tmaxavg"),
        ("alexnet_tmaxavg", "guided_backprop", ""),
    ],
)
def test_what_has_no_rule_is_refused(name: str, method: str, answer: str, tiny_model: TinyModel) -> None:
    found = attempt(tiny_model(name), method)
    assert found.startswith(answer)
    assert bool(found) == bool(answer)


def test_deeplift_of_two_pictures_is_complete_for_edges_and_refused_for_patterns(
    tiny_model: TinyModel,
) -> None:
    """The strength of edges grows in proportion to the contrast, so that the gradient is the rule that it needs; the
    steps of a binary pattern have none."""
    model = tiny_model("mmff_resnet50_cifar")
    images = images_of(model)
    total = attribution.explain(model, images, "deeplift", targets=1).values.sum(dim=(1, 2))
    with torch.no_grad():
        change = (model.network(images) - model.network(torch.zeros_like(images)))[:, 1]
    torch.testing.assert_close(total, change, rtol=1e-3, atol=1e-5)
    assert "no rule" in attempt(tiny_model("mmff_resnet50_cifar", second="lbp"), "deeplift")


@pytest.mark.parametrize(
    ("name", "layer"), [("mmff_resnet50_cifar", "reduce_second"), ("fpn_resnet50_cifar", "layer2")]
)
def test_ablation_cam_where_layers_are_joined(name: str, layer: str, tiny_model: TinyModel) -> None:
    """Against one forward pass per channel set to zero."""
    model = tiny_model(name)
    image = images_of(model, 1)
    heatmap = attribution.explain(model, image, "ablationcam", targets=1, layers=[layer])
    outputs: list[Tensor] = []
    module = model.network.get_submodule(layer)
    handle = module.register_forward_hook(lambda _m, _i, output: outputs.append(output.detach()))
    with torch.no_grad():
        score = model.network(image)[0, 1]
    handle.remove()
    activation = outputs[0][0]
    expected = torch.zeros(activation.shape[1:])
    for channel in range(len(activation)):
        keep = torch.ones(len(activation)).index_fill(0, torch.tensor(channel), 0).view(-1, 1, 1)
        handle = module.register_forward_hook(lambda _m, _i, output, keep=keep: output * keep)
        with torch.no_grad():
            expected += activation[channel] * (score - model.network(image)[0, 1]) / score
        handle.remove()
    gap = (heatmap.values[0] - expected).abs().max() / expected.abs().max()
    assert float(gap) < 1e-3


def test_a_gate_is_no_block_that_ends_in_an_activation(tiny_model: TinyModel) -> None:
    model = tiny_model("se_resnet50_cifar")
    words = [
        attribution.explain(model, images_of(model), "gradcam", targets=1, layers=[layer]).tap.position
        for layer in ("layer4", "layer4.2.refine.0")
    ]
    assert words == ["after ReLU", "block output"]


def test_card_of_every_architecture_says_what_it_is(model: Model) -> None:
    assert isinstance(model.card, Card)
    assert zoo.describe(model.network, model.card).parameters == count_parameters(model.network) > 0
