"""Gradient CAMs against grad-cam, against numbers worked out by hand, and against themselves."""

from __future__ import annotations

import copy
import functools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.registry import Model
from tests.explain_helpers import drawn, make_model, photographs, relative_gap
from xai import attribution, cam
from xai.hooks import count_hooks

PEERS = {
    "gradcam": "GradCAM",
    "gradcam++": "GradCAMPlusPlus",
    "xgradcam": "XGradCAM",
    "layercam": "LayerCAM",
    "hirescam": "HiResCAM",
    "eigencam": "EigenCAM",
    "elementwise_gradcam": "GradCAMElementWise",
}
SIZE = 64
PLACES = [
    ("alexnet_224", "features.1"),
    ("alexnet_224", "features.6"),
    ("alexnet_224", "features.11"),
    ("alexnet", "features.4"),
    ("alexnet", "features.11"),
    ("resnet18", "layer1"),
    ("resnet18", "layer3.0.conv2"),
    ("resnet18", "layer4"),
    ("resnet50", "layer2"),
    ("resnet50", "layer4"),
]
TARGETS = torch.tensor([3, 7])


@functools.cache
def _model(architecture: str) -> Model:
    return make_model(architecture, SIZE)


@functools.cache
def _in_place_twin(architecture: str) -> Model:
    twin = copy.copy(_model(architecture))
    twin.network = copy.deepcopy(twin.network)
    for module in twin.network.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = True
    return twin


_PEER_NETWORKS: dict[int, nn.Module] = {}


def _peer_network(model: Model) -> nn.Module:
    """A copy to be called as people call grad-cam: with weights that need gradients."""
    if id(model) not in _PEER_NETWORKS:
        _PEER_NETWORKS[id(model)] = copy.deepcopy(model.network).requires_grad_(True)
    return _PEER_NETWORKS[id(model)]


def peer_maps(model: Model, images: Tensor, name: str, layer: str, **options: Any) -> Tensor:
    """Raw maps of grad-cam's class for the method, before its clipping, scaling and enlarging."""
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    network = _peer_network(model)
    raw: list[Any] = []
    with getattr(pytorch_grad_cam, name)(network, [network.get_submodule(layer)], **options) as peer:
        compute = peer.get_cam_image

        def record(*args: Any, **kwargs: Any) -> Any:
            raw.append(compute(*args, **kwargs))
            return raw[-1]

        peer.get_cam_image = record
        peer(images.clone(), [ClassifierOutputTarget(int(target)) for target in TARGETS])
    return torch.as_tensor(np.asarray(raw[0])).float()


@pytest.mark.parametrize(("architecture", "layer"), PLACES)
@pytest.mark.parametrize("name", cam.CAMS)
def test_equals_grad_cam(name: str, architecture: str, layer: str) -> None:
    model = _model(architecture)
    images = photographs(SIZE)
    ours = attribution.explain(model, images, name, targets=TARGETS, layers=[layer]).values
    theirs = peer_maps(model, images, PEERS[name], layer)
    if name == "eigencam":  # the sign of a principal component is a convention
        theirs = theirs * (ours * theirs).sum(dim=(1, 2), keepdim=True).sign()
    assert theirs.abs().amax(dim=(1, 2)).min() > 0
    assert relative_gap(ours, theirs) < 1e-4
    assert (drawn(ours) - drawn(theirs)).abs().max() < 1e-4


@pytest.mark.parametrize("layer", ["features.0", "features.3", "features.10"])
@pytest.mark.parametrize("name", cam.CAMS)
def test_in_place_activations_do_not_change_a_map(name: str, layer: str) -> None:
    model, twin = _model("alexnet_224"), _in_place_twin("alexnet_224")
    images = photographs(SIZE)
    expected, values = (
        attribution.explain(which, images, name, targets=TARGETS, layers=[layer]).values
        for which in (model, twin)
    )
    assert expected.abs().max() > 0
    assert torch.equal(values, expected)


def test_grad_cam_is_wrong_on_in_place_activations_where_ours_is_right() -> None:
    model, twin = _model("alexnet_224"), _in_place_twin("alexnet_224")
    right = peer_maps(model, photographs(SIZE), "GradCAM", "features.0")
    wrong = peer_maps(twin, photographs(SIZE), "GradCAM", "features.0")
    ours = attribution.explain(
        twin, photographs(SIZE), "gradcam", targets=TARGETS, layers=["features.0"]
    ).values
    assert relative_gap(wrong, right) > 1e-2
    assert relative_gap(ours, right) < 1e-4


@pytest.mark.parametrize("name", cam.CAMS)
def test_an_image_has_one_map_in_every_batch(name: str) -> None:
    model = _model("resnet18")
    images = photographs(SIZE)
    both = attribution.explain(model, images, name, targets=TARGETS, layers=["layer2"]).values
    for index in range(2):
        target = int(TARGETS[index])
        one = attribution.explain(
            model, images[index : index + 1], name, targets=target, layers=["layer2"]
        ).values
        assert relative_gap(one, both[index : index + 1]) < 1e-5


def test_all_together_equal_each_alone() -> None:
    model = _model("alexnet")
    together = attribution.explain_all_cams(model, photographs(SIZE))
    assert tuple(together) == tuple(cam.CAMS)
    for name, heatmap in together.items():
        alone = attribution.explain(model, photographs(SIZE), name)
        assert torch.equal(heatmap.values, alone.values)
        assert torch.equal(heatmap.targets, model.predict(photographs(SIZE)).argmax(dim=1))
        assert heatmap.tap == alone.tap


@pytest.mark.parametrize("architecture", ["resnet18", "resnet50", "resnet18_cifar"])
def test_gradcam_is_hirescam_under_average_pooling_and_a_linear_head(architecture: str) -> None:
    options = {"width": 8} if architecture.endswith("cifar") else {}
    model = make_model(architecture, SIZE, **options)
    maps = attribution.explain_all_cams(model, photographs(SIZE), ["gradcam", "hirescam"], layers=["layer4"])
    assert maps["gradcam"].values.abs().max() > 0
    assert relative_gap(maps["gradcam"].values, maps["hirescam"].values) < 1e-5


def test_gradcam_is_not_hirescam_under_a_flattening_head() -> None:
    maps = attribution.explain_all_cams(_model("alexnet"), photographs(SIZE), ["gradcam", "hirescam"])
    assert relative_gap(maps["gradcam"].values, maps["hirescam"].values) > 1e-2


ACTIVATION = torch.tensor([[[[1.0, 0.0], [2.0, 3.0]], [[4.0, 0.0], [0.0, 0.0]]]])
GRADIENT = torch.tensor([[[[1.0, -1.0], [2.0, 2.0]], [[-4.0, 0.0], [0.0, 0.0]]]])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # channel weights 1 and -1
        ("gradcam", [[-3.0, 0.0], [2.0, 3.0]]),
        # weights (1*1 + 2*2 + 2*3) / 6 and -4*4/4
        ("xgradcam", [[11 / 6 - 16, 0.0], [22 / 6, 33 / 6]]),
        ("layercam", [[1.0, 0.0], [4.0, 6.0]]),
        ("hirescam", [[-15.0, 0.0], [4.0, 6.0]]),
        ("elementwise_gradcam", [[1.0, 0.0], [4.0, 6.0]]),
        # alpha g^2 / (2 g^2 + 6 g^3) = 1/8, 1/14, 1/14; times g: 1/8 + 1/7 + 1/7; the second has no positive gradient
        ("gradcam++", [[23 / 56, 0.0], [46 / 56, 69 / 56]]),
    ],
)
def test_numbers_worked_out_by_hand(name: str, expected: list[list[float]]) -> None:
    values = cam.CAMS[name](ACTIVATION, GRADIENT)
    assert torch.allclose(values[0], torch.tensor(expected), atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 40, 3, 4), (2, 5, 7, 6), (1, 9, 3, 3)])
def test_eigencam_is_the_first_principal_component(shape: tuple[int, ...]) -> None:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(1)) + 2
    ours = cam.eigencam(values, values)
    for activation, projection in zip(values, ours, strict=True):
        rows = activation.flatten(1).T
        rows = rows - rows.mean(dim=0)
        expected = rows @ torch.linalg.svd(rows)[2][0]
        expected = expected * (expected @ projection.flatten()).sign()
        assert torch.allclose(projection.flatten(), expected, atol=1e-4)
        assert float(projection.flatten() @ rows.mean(dim=1)) >= 0


def test_the_sign_of_eigencam_is_positive_where_activations_are_high() -> None:
    activation = torch.zeros(1, 3, 2, 2)
    activation[0, :, 0, 0] = torch.tensor([1.0, 2.0, 3.0])
    assert cam.eigencam(activation, activation)[0].argmax() == 0
    # a component orthogonal to the mean: the largest value decides
    activation = torch.tensor([[[[3.0, -1.0], [-1.0, -1.0]], [[-3.0, 1.0], [1.0, 1.0]]]])
    assert cam.eigencam(activation, activation)[0].argmax() == 0


@pytest.mark.parametrize("name", cam.CAMS)
@pytest.mark.parametrize("case", ["zero", "constant", "negative", "no gradient", "pole"])
def test_maps_without_evidence_are_finite_and_flagged(name: str, case: str) -> None:
    shape = (1, 4, 3, 3)
    activation, gradient = torch.rand(shape, generator=torch.Generator().manual_seed(0)), torch.ones(shape)
    if case == "zero":
        activation = torch.zeros(shape)
    elif case == "constant":
        activation = torch.full(shape, 0.3)
    elif case == "negative":
        gradient = -gradient
    elif case == "no gradient":
        gradient = torch.zeros(shape)
    else:  # denominators of Grad-CAM++ and XGrad-CAM vanish
        activation, gradient = torch.full(shape, 2 / 9), torch.full(shape, -1.0)
    values = torch.nan_to_num(cam.CAMS[name](activation, gradient), 0.0, 0.0, 0.0)
    assert bool(cam.CAMS[name](activation, gradient).isfinite().all())
    flagged = bool(attribution.no_evidence(values)[0])
    # the principal component knows nothing of gradients
    expected = not (name == "eigencam" and case in ("negative", "no gradient"))
    assert flagged == expected


def test_a_map_with_evidence_is_not_flagged() -> None:
    values = torch.tensor([[[0.0, 1.0]], [[-1.0, 1e-3]], [[-2.0, -1.0]], [[0.5, 0.5]], [[0.5, 0.5 + 1e-8]]])
    assert attribution.no_evidence(values).tolist() == [False, False, True, True, True]


def test_several_layers_are_scaled_brought_to_the_largest_grid_and_averaged() -> None:
    small, large = torch.tensor([[[4.0]]]), torch.tensor([[[1.0, -2.0], [0.0, 2.0]]])
    assert torch.equal(cam.fuse([small]), small)
    assert torch.equal(cam.fuse([small, large]), torch.tensor([[[0.75, 0.0], [0.5, 1.0]]]))
    assert torch.equal(cam.fuse([small, 0 * large]), torch.full((1, 2, 2), 0.5))


@pytest.mark.parametrize("name", cam.CAMS)
def test_fused_layers_are_those_tapped_alone(name: str) -> None:
    model = _model("resnet18")
    layers = ["layer1", "layer3", "layer4"]
    images = photographs(SIZE)
    alone = [
        attribution.explain(model, images, name, layers=[layer], targets=TARGETS).values for layer in layers
    ]
    fused = attribution.explain(model, images, name, layers=layers, targets=TARGETS)
    assert fused.tap.layers == tuple(layers)
    assert fused.tap.grid == (16, 16)
    assert relative_gap(fused.values, cam.fuse(alone)) < 1e-4


def test_what_was_tapped_is_said_in_words() -> None:
    model = _model("alexnet_224")
    words = {"features.0": "convolution output", "features.1": "after ReLU", "features.2": "pooling output"}
    for layer, expected in words.items():
        assert (
            attribution.explain(model, photographs(SIZE), "gradcam", layers=[layer]).tap.position == expected
        )
    tap = attribution.explain(
        _model("resnet18"), photographs(SIZE), "gradcam", layers=["layer3.0.bn1", "layer2"]
    ).tap
    assert (tap.position, tap.grid, tap.head) == ("batch norm output; after ReLU", (8, 8), "pool_linear")
    assert count_hooks(model.network) == 0
