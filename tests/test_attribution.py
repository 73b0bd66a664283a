"""Every registered method against identities, against captum and grad-cam, and against odd requests."""

from __future__ import annotations

import copy
import functools
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.registry import Model
from tests.explain_helpers import SMALL, TARGETS, drawn, make_model, photographs, relative_gap
from tests.explain_helpers import SMALL_SIZE as SIZE
from tests.explain_helpers import explain_fast as _explain
from tests.explain_helpers import small_model as _model
from xai import attribution_gradient, folding, perturbation
from xai.attribution import METHODS
from xai.attribution_types import Call, register
from xai.hooks import count_hooks


def test_the_registry_holds_all_methods_in_their_order() -> None:
    names = (
        "gradcam gradcam++ xgradcam layercam hirescam eigencam elementwise_gradcam saliency input_x_gradient "
        "integrated_gradients smoothgrad guided_backprop deeplift gradient_shap occlusion scorecam ablationcam rise"
    )
    assert list(METHODS) == names.split()
    with pytest.raises(ValueError, match="registered twice"):
        register("rise", "RISE", "perturbation", "", signed=True, layered=False)


@pytest.mark.parametrize("architecture", SMALL)
@pytest.mark.parametrize("name", METHODS)
def test_every_method_gives_finite_maps_and_leaves_no_trace(name: str, architecture: str) -> None:
    model, entry = _model(architecture), METHODS[name]
    attributes = [set(module.__dict__) for module in model.network.modules()]
    heatmap = _explain(model, name)
    assert heatmap.values.shape == (2, *heatmap.tap.grid)
    assert heatmap.values.dtype == torch.float32
    assert bool(heatmap.values.isfinite().all())
    assert entry.signed or float(heatmap.values.min()) >= 0
    assert heatmap.tap.grid == ((4, 4) if entry.layered else (SIZE, SIZE))
    assert (heatmap.tap.layers == ("input",)) != entry.layered
    assert heatmap.targets.tolist() == TARGETS
    assert (heatmap.method, heatmap.model, heatmap.model_sha256) == (name, architecture, "0" * 64)
    assert heatmap.settings.keys() == entry.defaults.keys() | ({"seed"} if entry.seeded else set())
    assert count_hooks(model.network) == 0
    assert attributes == [set(module.__dict__) for module in model.network.modules()]


@pytest.mark.parametrize("name", METHODS)
def test_an_image_has_one_map_in_every_batch(name: str) -> None:
    model = _model("alexnet_bn")
    both = _explain(model, name).values
    for index in range(2):
        one = _explain(model, name, photographs(SIZE)[index : index + 1], targets=TARGETS[index]).values
        assert relative_gap(one, both[index : index + 1]) < 1e-5


@pytest.mark.parametrize("name", METHODS)
def test_identical_weights_give_a_difference_of_exactly_zero(name: str) -> None:
    first, second = (make_model("resnet18", SIZE, width=8) for _ in range(2))
    assert torch.equal(_explain(first, name).values, _explain(second, name).values)


@pytest.mark.parametrize("name", [name for name, entry in METHODS.items() if entry.seeded])
def test_the_seed_decides_and_the_global_random_state_does_not(name: str) -> None:
    model = _model("alexnet")
    torch.manual_seed(1)
    first, state = _explain(model, name, seed=5), torch.random.get_rng_state()
    torch.manual_seed(2)
    assert torch.equal(first.values, _explain(model, name, seed=5).values)
    assert first.settings["seed"] == 5
    assert not torch.equal(first.values, _explain(model, name, seed=6).values)
    torch.manual_seed(1)
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("name", METHODS)
def test_no_target_means_the_predicted_class(name: str) -> None:
    model = _model("alexnet")
    predicted = model.predict(photographs(SIZE)).argmax(dim=1)
    heatmap = _explain(model, name, targets=None)
    assert torch.equal(heatmap.targets, predicted)
    assert torch.equal(heatmap.values, _explain(model, name, targets=predicted).values)


@pytest.mark.parametrize("name", METHODS)
def test_a_failure_leaves_no_trace_either(name: str) -> None:
    class Broken(nn.Module):
        def forward(self, _images: Tensor) -> Tensor:
            raise RuntimeError("broken on purpose")

    model = copy.copy(make_model("alexnet", SIZE, hidden=64))
    model.network.classifier[3] = Broken()  # type: ignore[index, operator, assignment]
    model.network.train()
    model.network.classifier[1].weight.requires_grad_(True)  # type: ignore[index, union-attr]
    attributes = [set(module.__dict__) for module in model.network.modules()]
    with pytest.raises(RuntimeError, match="on purpose"):
        _explain(model, name)
    assert count_hooks(model.network) == 0
    assert attributes == [set(module.__dict__) for module in model.network.modules()]
    assert all(module.training for module in model.network.modules())
    assert [weight.requires_grad for weight in model.network.parameters()].count(True) == 1


def test_training_mode_and_learning_weights_change_no_map_and_come_back() -> None:
    model = make_model("alexnet_bn", SIZE, hidden=64)
    expected = _explain(model, "saliency").values
    model.network.train().requires_grad_(True)
    assert torch.equal(_explain(model, "saliency").values, expected)
    assert all(module.training for module in model.network.modules())
    assert all(weight.requires_grad and weight.grad is None for weight in model.network.parameters())


def test_maps_can_be_asked_for_in_inference_mode() -> None:
    model = _model("alexnet")
    expected = {name: _explain(model, name).values for name in METHODS}
    fresh = make_model("alexnet", SIZE, **SMALL["alexnet"])
    with torch.inference_mode():
        images = photographs(SIZE).clone()
        for name in METHODS:
            assert torch.equal(_explain(fresh, name, images).values, expected[name])


# identities and captum


@pytest.mark.usefixtures("one_thread")  # two may add in another order each time
def test_smoothgrad_with_one_sample_and_no_noise_is_the_gradient() -> None:
    model, image = _model("resnet18"), photographs(SIZE)[:1]
    smooth = _explain(model, "smoothgrad", image, targets=3, samples=1, noise=0.0)
    plain = _explain(model, "saliency", image, targets=3)
    assert torch.equal(smooth.values, plain.values)


@pytest.mark.parametrize("architecture", SMALL)
def test_integrated_gradients_share_out_the_change_of_the_score(architecture: str) -> None:
    model, images = _model(architecture), photographs(SIZE)
    with torch.no_grad():
        rows, targets = torch.arange(2), torch.tensor(TARGETS)
        change = (model.network(images) - model.network(torch.zeros_like(images)))[rows, targets]
    total = _explain(model, "integrated_gradients", steps=400).values.sum(dim=(1, 2))
    assert torch.allclose(total, change, rtol=0.02, atol=0.02 * float(change.abs().max()))


@pytest.mark.parametrize("architecture", SMALL)
def test_deeplift_shares_out_the_change_of_the_score(architecture: str) -> None:
    model, images = _model(architecture), photographs(SIZE)
    with torch.no_grad():
        rows, targets = torch.arange(2), torch.tensor(TARGETS)
        change = (model.network(images) - model.network(torch.zeros_like(images)))[rows, targets]
    total = _explain(model, "deeplift").values.sum(dim=(1, 2))
    assert torch.allclose(total, change, rtol=1e-3, atol=1e-3 * float(change.abs().max()))


def test_deeplift_equals_captum_where_pooling_windows_do_not_overlap_nor_follow_an_activation() -> None:
    model = copy.copy(_model("alexnet"))
    torch.manual_seed(0)
    body = (
        nn.Conv2d(3, 8, 3),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3),
        nn.ReLU(),
        nn.Conv2d(8, 8, 1),
        nn.MaxPool2d(3),
    )
    model.network = nn.Sequential(*body, nn.Flatten(), nn.Linear(128, 10)).eval()
    image = photographs(SIZE)[:1]
    theirs = _captum("deeplift", model, image, torch.tensor([3])).detach().sum(dim=1)
    assert relative_gap(_explain(model, "deeplift", image, targets=3).values, theirs) < 1e-4


def _captum(name: str, model: Model, images: Tensor, target: Tensor) -> Tensor:
    """Captum's attributions as people call it, `(N, 3, H, W)`."""
    import captum.attr

    network = copy.deepcopy(model.network)
    images = images.clone().requires_grad_()
    if name == "saliency":
        return captum.attr.Saliency(network).attribute(images, target, abs=False)
    if name == "input_x_gradient":
        return captum.attr.InputXGradient(network).attribute(images, target)
    if name == "integrated_gradients":
        return captum.attr.IntegratedGradients(network).attribute(images, target=target)
    if name == "guided_backprop":
        return captum.attr.GuidedBackprop(network).attribute(images, target)
    assert name == "deeplift"
    return captum.attr.DeepLift(network).attribute(images, target=target)


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        *itertools.product(
            ("saliency", "input_x_gradient", "integrated_gradients", "guided_backprop"), SMALL
        ),
        # captum's DeepLIFT is not complete behind max-pooling with overlapping windows; this one has none
        ("deeplift", "resnet18_cifar"),
    ],
)
def test_equals_captum(name: str, architecture: str) -> None:
    model = _model(architecture)
    options = {"steps": 50} if name == "integrated_gradients" else {}
    for image, target in zip(photographs(SIZE).split(1), torch.tensor(TARGETS).split(1), strict=True):
        ours = _explain(model, name, image, targets=target, **options).values
        theirs = _captum(name, model, image, target).detach().sum(dim=1)
        assert theirs.abs().max() > 0
        assert relative_gap(ours, theirs) < 1e-4
        assert (drawn(ours) - drawn(theirs)).abs().max() < 1e-4


def test_smoothgrad_is_captums_gradient_averaged_over_the_same_noise() -> None:
    model, images = _model("resnet18"), photographs(SIZE)[:1]
    noise = torch.randn(4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(9))
    theirs = _captum("saliency", model, images + 0.15 * noise, torch.full((4,), 3)).mean(dim=0, keepdim=True)
    ours = _explain(model, "smoothgrad", images, targets=3, seed=9)
    assert relative_gap(ours.values, theirs.sum(dim=1)) < 1e-4


def test_gradient_shap_is_captums_with_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    from captum.attr._core.gradient_shap import InputBaselineXGradient

    model, images = _model("resnet18"), photographs(SIZE)[:1]
    call = Call(model, images, torch.tensor([3]), ("input",), 9, {})
    noise, alphas, references = attribution_gradient.shap_draws(call, 4, 0.05)
    # captum draws the places on the path here, the noise and the references before
    monkeypatch.setattr(np.random, "uniform", lambda *_: alphas.flatten().numpy())
    inputs = (images + noise).requires_grad_()
    method = InputBaselineXGradient(copy.deepcopy(model.network))
    theirs = method.attribute(inputs, references.expand_as(inputs), target=3).mean(dim=0, keepdim=True)
    ours = _explain(model, "gradient_shap", images, targets=3, seed=9)
    assert relative_gap(ours.values, theirs.detach().sum(dim=1)) < 1e-4


@pytest.mark.parametrize(("window", "stride"), [(4, 2), (8, 8), (9, 4), (32, 1)])
def test_occlusion_equals_captum(window: int, stride: int) -> None:
    import captum.attr

    model = _model("resnet18")
    images = photographs(SIZE)[:1]
    theirs = captum.attr.Occlusion(model.network).attribute(
        images, (3, window, window), (3, stride, stride), target=3, perturbations_per_eval=16
    )
    ours = _explain(model, "occlusion", images, targets=3, window=window, stride=stride)
    assert relative_gap(ours.values, theirs[:, 0].float()) < 1e-4


# grad-cam's forward-only methods, RISE


@pytest.mark.parametrize(
    ("architecture", "layer"),
    [
        ("alexnet", "features.4"),
        ("alexnet_bn", "features.16"),
        ("resnet18", "layer2"),
        ("resnet50", "layer2"),
    ],
)
@pytest.mark.parametrize(("name", "peer"), [("scorecam", "ScoreCAM"), ("ablationcam", "AblationCAM")])
def test_equals_grad_cam(name: str, peer: str, architecture: str, layer: str) -> None:
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    model = _model(architecture)
    raw: list[Any] = []
    with getattr(pytorch_grad_cam, peer)(copy.deepcopy(model.network), [nn.Identity()]) as method:
        method.target_layers = [method.model.get_submodule(layer)]
        method.activations_and_grads = type(method.activations_and_grads)(
            method.model, method.target_layers, None
        )
        compute = method.get_cam_image

        def record(*args: Any, **kwargs: Any) -> Any:
            raw.append(compute(*args, **kwargs))
            return raw[-1]

        method.get_cam_image = record
        method(photographs(SIZE).clone(), [ClassifierOutputTarget(target) for target in TARGETS])
    theirs = torch.as_tensor(np.asarray(raw[0])).float()
    ours = _explain(model, name, layers=[layer]).values
    assert relative_gap(ours, theirs) < 1e-4
    assert (drawn(ours) - drawn(theirs)).abs().max() < 1e-4


def _first(value: Tensor, _other: Tensor) -> Tensor:
    return value


@pytest.mark.parametrize("layer", ["features.0", "features.1", "features.3", "features.13", "features.16"])
def test_ablation_is_setting_a_channel_to_zero(layer: str) -> None:
    """Also at a convolution whose batch norm is folded in the fast copy."""
    from xai.hooks import recorded, replaced

    model, image = _model("alexnet_bn"), photographs(SIZE)[:1]
    with recorded(model.network, [layer]) as outputs, torch.no_grad():
        score = float(model.network(image)[0, 3])
    activation = outputs[layer]
    total = torch.zeros(activation.shape[2:])
    for channel in range(activation.shape[1]):
        without = activation.clone()
        without[:, channel] = 0
        with replaced(model.network, layer, functools.partial(_first, without)), torch.no_grad():
            total += (score - float(model.network(image)[0, 3])) / score * activation[0, channel]
    ours = _explain(model, "ablationcam", image, targets=3, layers=[layer])
    assert relative_gap(ours.values, total[None]) < 1e-3


def test_rise_is_the_mean_of_masks_weighted_by_probability() -> None:
    model, image = _model("alexnet"), photographs(SIZE)[:1]
    settings = {"samples": 24, "cells": 4, "visible": 0.5}
    masks = perturbation.rise_masks(Call(model, image, torch.tensor([3]), ("input",), 0, settings))
    assert masks.shape == (24, SIZE, SIZE)
    assert 0.35 < float(masks.mean()) < 0.65
    total = torch.zeros(SIZE, SIZE)
    for mask in masks:
        total += float(model.predict(image * mask)[0, 3]) * mask
    ours = _explain(model, "rise", image, targets=3)
    assert relative_gap(ours.values, total[None] / 12) < 1e-4


@pytest.mark.parametrize("architecture", SMALL)
def test_the_folded_copy_has_the_same_scores_and_fewer_steps(architecture: str) -> None:
    model = make_model(architecture, SIZE, **SMALL[architecture])
    copied = folding.folded(model)
    norms = [module for module in copied.network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms == []
    with torch.no_grad():
        scores, expected = copied.network(photographs(SIZE)), model.network(photographs(SIZE))
    assert torch.allclose(scores, expected, atol=1e-4 * float(expected.abs().max()))
    assert folding.folded(model) is copied
    with torch.no_grad():
        next(model.network.parameters()).mul_(0.5)
    assert folding.folded(model) is not copied


def test_nothing_is_folded_where_a_convolution_serves_twice() -> None:
    class Reuses(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.fc = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 10)

        def forward(self, images: Tensor) -> Tensor:
            values = self.conv(images)
            return self.fc((values + self.norm(values)).mean(dim=(2, 3)))

    model = copy.copy(_model("alexnet"))
    model.network = Reuses().eval()
    model.network.norm.running_mean.fill_(0.7)  # type: ignore[union-attr, operator]
    copied = folding.folded(model)
    assert copied.convolutions == frozenset()
    assert torch.allclose(copied.network(photographs(SIZE)), model.network(photographs(SIZE)), atol=1e-6)
