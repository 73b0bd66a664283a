"""The registered architectures: documented sizes, torchvision's numbers, and the layers offered for heatmaps."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models import registry
from models.complexity import count_macs, count_parameters
from models.layers import Normalize, evaluation_mode, make_out_of_place, meta_copy
from models.registry import ARCHITECTURES, Model, default_layer, layer_grids
from models.resnet import resnet
from models.training import Recipe

pytestmark = pytest.mark.usefixtures("one_thread")
TinyModel = Callable[..., Model]
THEIRS = {
    "alexnet_224": "alexnet",
    "resnet18": "resnet18",
    "resnet34": "resnet34",
    "resnet50": "resnet50",
    "resnet101": "resnet101",
    "resnext50": "resnext50_32x4d",
    "wide_resnet50": "wide_resnet50_2",
}
"""Names here and in torchvision."""
DOCUMENTED = {
    "alexnet_224": (61.10, 0.714),
    "resnet18": (11.69, 1.814),
    "resnet34": (21.80, 3.66),
    "resnet50": (25.56, 4.09),
    "resnet101": (44.55, 7.80),
    "resnext50": (25.03, 4.23),
    "wide_resnet50": (68.88, 11.40),
}
"""Millions of parameters and G multiply-accumulates at 224 px and 1000 classes, as torchvision documents them."""


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request: pytest.FixtureRequest, tiny_model: TinyModel) -> Model:
    """A narrow untrained model of each architecture for small images, with seven classes."""
    return tiny_model(request.param, max(32, ARCHITECTURES[request.param].min_size), num_classes=7)


def randomised(network: nn.Module, seed: int = 0) -> nn.Module:
    """The network in evaluation mode with all weights and batch-norm statistics drawn anew."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5, generator=generator)
        elif tensor.is_floating_point() and not name.startswith("normalize."):
            tensor.normal_(0, 1 / max(1, tensor[0].numel()) ** 0.5, generator=generator)
    return network.eval()


def test_normalisation_comes_first_and_no_activation_is_in_place(model: Model) -> None:
    network = model.network
    assert isinstance(next(network.children()), Normalize)
    assert not [module for module in network.modules() if getattr(module, "inplace", False)]


def test_normalisation_uses_imagenets_mean_and_deviation() -> None:
    """Pixels equal to the mean become zero, one standard deviation above it becomes one."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = torch.stack([mean, mean + std]).view(2, 3, 1, 1)
    expected = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 1, 1)
    torch.testing.assert_close(Normalize()(pixels), expected, atol=1e-6, rtol=0)


def test_default_and_least_size_give_logits(model: Model) -> None:
    entry = ARCHITECTURES[model.card.architecture]
    images = torch.zeros(2, 3, entry.default_size, entry.default_size, device="meta")
    assert meta_copy(model.network)(images).shape == (2, 7)
    images = torch.rand(2, 3, entry.min_size, entry.min_size, generator=torch.Generator().manual_seed(0))
    probabilities = model.predict(images)
    assert probabilities.shape == (2, 7)
    assert probabilities.sum(1).tolist() == pytest.approx([1, 1], abs=1e-5)


def test_stages_have_a_grid_that_shrinks_with_depth(model: Model) -> None:
    grids = layer_grids(model.network, model.input_size)
    sides = [grids[stage][0] for stage in model.stages]
    if not model.card.architecture.startswith("fpn_"):  # there the last stage joins maps of all sizes
        assert sides == sorted(sides, reverse=True)
    assert all(isinstance(model.network.get_submodule(stage), nn.Module) for stage in grids)
    assert not any(stage.startswith(("normalize", "avgpool")) for stage in grids)


def test_stages_are_outputs_of_an_activation(model: Model) -> None:
    """A heatmap layer holds what the next layer reads: never a negative number, but for SiLU and for tokens."""
    lowest_possible = {"swish_resnet50": -0.279, "swish_resnet50_cifar": -0.279, "vit_small": -torch.inf}
    lowest: dict[str, float] = {}
    stages = {stage: model.network.get_submodule(stage) for stage in model.stages}
    handles = [
        module.register_forward_hook(
            lambda _m, _i, out, stage=stage: lowest.update({stage: float(out.min())})
        )
        for stage, module in stages.items()
    ]
    model.predict(torch.rand(1, 3, model.input_size, model.input_size))
    for handle in handles:
        handle.remove()
    assert min(lowest.values()) >= lowest_possible.get(model.card.architecture, 0)
    assert lowest.keys() == set(model.stages)


def test_grids_leave_no_hook_and_no_changed_mode(model: Model) -> None:
    first_stage = model.network.get_submodule(model.stages[0])
    first_stage.train()
    statistics = [buffer.clone() for buffer in model.network.buffers()]
    with pytest.raises(ValueError, match="0 x 0 px is too small"):
        layer_grids(model.network, 0)
    layer_grids(model.network, ARCHITECTURES[model.card.architecture].min_size)
    assert not [module for module in model.network.modules() if module._forward_hooks]
    assert first_stage.training
    assert not model.network.training
    first_stage.eval()
    assert all(torch.equal(a, b) for a, b in zip(statistics, model.network.buffers(), strict=True))


def test_alexnet_224_needs_63_pixels(tiny_model: TinyModel) -> None:
    network = tiny_model("alexnet_224").network
    assert layer_grids(network, 63)["features.12"] == (1, 1)
    with pytest.raises(ValueError, match="62 x 62 px is too small"):
        layer_grids(network, 62)


def test_grids_known_from_the_architecture(tiny_model: TinyModel) -> None:
    """At 32 px a ResNet with the ImageNet stem ends in 1x1 and one with the CIFAR stem in 4x4."""
    imagenet, cifar = tiny_model("resnet50", 32), tiny_model("resnet50_cifar", 32)
    assert [layer_grids(imagenet.network, 32)[stage][0] for stage in imagenet.stages] == [8, 4, 2, 1]
    assert [layer_grids(cifar.network, 32)[stage][0] for stage in cifar.stages] == [32, 16, 8, 4]
    assert imagenet.default_layer == "layer2"
    assert cifar.default_layer == "layer4"
    alexnet = tiny_model("alexnet")
    assert [layer_grids(alexnet.network, 32)[stage][0] for stage in alexnet.stages] == [16, 8, 4, 4, 4]
    assert [layer_grids(alexnet.network, 64)[stage][0] for stage in alexnet.stages][-1] == 8


def test_default_layer_is_the_deepest_with_four_by_four(model: Model) -> None:
    grids = layer_grids(model.network, model.input_size)
    large = [stage for stage in model.stages if min(grids[stage]) >= 4]
    expected = large[-1] if large else max(model.stages, key=lambda stage: min(grids[stage]))
    assert default_layer(model.network, model.stages, model.input_size) == expected == model.default_layer


def test_default_layer_without_a_large_grid_takes_the_largest(tiny_model: TinyModel) -> None:
    model = tiny_model("resnet18", 32)
    assert default_layer(model.network, model.stages, 32, least=99) == "layer1"


@pytest.mark.parametrize("name", DOCUMENTED)
def test_documented_parameters_and_macs(name: str) -> None:
    with torch.device("meta"):
        network = registry.build(name, 1000)
    parameters, macs = DOCUMENTED[name]
    assert round(count_parameters(network) / 1e6, 2) == parameters
    assert count_macs(network, 224) / 1e9 == pytest.approx(macs, abs=0.006)


def test_macs_of_a_convolution_and_a_linear_layer_by_hand() -> None:
    """4*3*9 per pixel of 8x8, then 256 inputs times 5 outputs."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(1), nn.Flatten(), nn.Linear(256, 5))
    assert count_macs(network, 8) == 4 * 27 * 64 + 256 * 5
    assert count_parameters(network) == 4 * 27 + 4 + 256 * 5 + 5
    assert network[0].weight.device.type == "cpu"


def test_macs_of_groups_shared_layers_and_uneven_kernels_by_hand() -> None:
    """4 outputs of 2/2*1*3 products on 8x6, twice 4 outputs of 4 products on 8x6."""
    shared = nn.Conv2d(4, 4, 1)
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Conv2d(2, 4, (1, 3), groups=2), shared, shared)
    assert count_macs(network, 8) == 2 * 3 * 64 + 4 * 3 * 48 + 2 * 4 * 4 * 48
    assert not any(module._forward_hooks for module in network.modules())


def test_counting_macs_hooks_no_module_but_its_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one network is counted, no hook stands on another or on the modules of the whole process."""
    seen: list[bool] = []

    class Watcher(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            hooks = nn.modules.module
            seen.append(bool(hooks._global_forward_hooks or hooks._global_forward_pre_hooks))
            return x

    count_macs(nn.Sequential(nn.Conv2d(3, 2, 1), Watcher()), 8)
    assert seen == [False]


@pytest.mark.parametrize("name", THEIRS)
def test_state_dict_has_torchvisions_names_and_shapes(name: str) -> None:
    import torchvision

    with torch.device("meta"):
        ours = registry.build(name, 1000).state_dict()
        theirs = getattr(torchvision.models, THEIRS[name])(weights=None).state_dict()
    own = {key: value.shape for key, value in ours.items() if not key.startswith("normalize.")}
    assert own == {key: value.shape for key, value in theirs.items()}


@pytest.mark.parametrize(
    ("name", "size"),
    [("alexnet_224", 96), ("resnet18", 64), ("resnet50", 64), ("resnext50", 32), ("wide_resnet50", 32)],
)
def test_logits_are_torchvisions_with_its_weights(name: str, size: int, photo: Tensor) -> None:
    import torchvision

    builder: Any = getattr(torchvision.models, THEIRS[name])
    peer = randomised(builder(weights=None, num_classes=20))
    network = registry.build(name, 20).eval()
    own = {key: value for key, value in network.state_dict().items() if key.startswith("normalize.")}
    network.load_state_dict({**own, **peer.state_dict()})
    images = photo[:, :, 100 : 100 + size, 200 : 200 + size]
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.inference_mode():
        expected = peer((images - mean.view(3, 1, 1)) / std.view(3, 1, 1))
        assert float(expected.std()) > 1e-3
        torch.testing.assert_close(network(images), expected, atol=1e-5, rtol=1e-5)


def test_small_alexnets_differ_by_their_normalisation_only(tiny_model: TinyModel) -> None:
    kinds = {
        norm: [type(module) for module in tiny_model(name).network.get_submodule("features").children()]
        for name, norm in (("alexnet", "none"), ("alexnet_bn", "batch"), ("alexnet_lrn", "lrn"))
    }
    assert kinds["batch"].count(nn.BatchNorm2d) == 5
    assert kinds["lrn"].count(nn.LocalResponseNorm) == 2
    assert [kind for kind in kinds["batch"] if kind is not nn.BatchNorm2d] == kinds["none"]
    assert [kind for kind in kinds["lrn"] if kind is not nn.LocalResponseNorm] == kinds["none"]


def test_registry_refuses_a_second_entry_of_the_same_name() -> None:
    with pytest.raises(ValueError, match="'resnet18' is registered twice"):
        registry.register(ARCHITECTURES["resnet18"])


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (
            lambda: registry.build("vgg", 10),
            "there is no architecture 'vgg'; allowed are alexnet_224, alexnet,",
        ),
        (lambda: registry.build("alexnet", 10, width=8), "no option 'width'; allowed are norm, hidden."),
        (lambda: registry.build("alexnet_224", 10, hidden=8), "no option 'hidden'; allowed are none."),
        (lambda: registry.build("alexnet", 10, norm="layer"), "norm is 'layer'; allowed are"),
        (lambda: registry.build("resnet18", 10, stem="vit"), "stem is 'vit'; allowed are imagenet, cifar."),
        (lambda: registry.build("resnet18", 10, width=-5), "width is -5; allowed is 1 to 512."),
        (
            lambda: registry.build("resnet50_cifar", 10, width=10**9),
            "width is 1000000000; allowed is 1 to 512.",
        ),
        (lambda: registry.build("resnet18", 10, width=True), "width is True; allowed is 1 to 512."),
        (lambda: registry.build("alexnet", 10, hidden=0), "hidden is 0; allowed is 1 to 8192."),
        (lambda: Recipe(learning_rate=0), "learning_rate is 0; allowed are numbers above 0."),
        (lambda: Recipe(learning_rate=float("nan")), "learning_rate is nan; allowed are"),
        (lambda: Recipe(weight_decay=-1e-4), "weight_decay is -0.0001; allowed are numbers from 0."),
        (lambda: Recipe(label_smoothing=1.0), "label_smoothing is 1.0; allowed are numbers in [0, 1)."),
        (lambda: Recipe(label_smoothing=-0.1), "label_smoothing is -0.1; allowed are numbers in [0, 1)."),
        (lambda: resnet(20, 10), "depth is 20; allowed are 18, 34, 50, 101."),
    ],
)
def test_unknown_names_and_options_give_one_sentence(build: Callable[[], Any], expected: str) -> None:
    with pytest.raises(ValueError) as caught:
        build()
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_evaluation_mode_restores_each_module_also_after_failure() -> None:
    network = nn.Sequential(nn.Dropout(), nn.Sequential(nn.BatchNorm2d(3), nn.ReLU())).train()
    network[1].eval()
    before = [module.training for module in network.modules()]
    seen: list[bool] = []
    with contextlib.suppress(ZeroDivisionError), evaluation_mode(network):
        seen += [module.training for module in network.modules()]
        raise ZeroDivisionError
    assert not any(seen)
    assert [module.training for module in network.modules()] == before
    assert len(set(before)) == 2


def test_make_out_of_place_changes_every_activation() -> None:
    network = make_out_of_place(nn.Sequential(nn.ReLU(inplace=True), nn.Sequential(nn.Dropout(inplace=True))))
    assert not [module for module in network.modules() if getattr(module, "inplace", False)]
