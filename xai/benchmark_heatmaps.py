"""How long heatmaps take beside bare forward passes, grad-cam and captum, for `xai.benchmark`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from xai import (
    attribution,
    cam,
)
from xai.benchmark_rows import Row, Subject, Work, subject

_PEERS = (
    "GradCAM",
    "GradCAMPlusPlus",
    "XGradCAM",
    "LayerCAM",
    "HiResCAM",
    "EigenCAM",
    "GradCAMElementWise",
)
_EVEN = 1.0


def _forward(case: Subject) -> Work:
    def work() -> Tensor:
        with torch.inference_mode():
            return case.model.network(case.images)

    return work


def _ours(case: Subject, method: str, **settings: Any) -> Work:
    layers = [case.layer] if attribution.METHODS[method].layered else None
    options = {"targets": case.targets, "layers": layers, **settings}
    return lambda: attribution.explain(case.model, case.images, method, **options)


def _all_cams(case: Subject) -> Work:
    return lambda: attribution.explain_all_cams(
        case.model, case.images, targets=case.targets, layers=[case.layer]
    )


def _grad_cam(case: Subject, names: Sequence[str]) -> Work:
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    classes = [getattr(pytorch_grad_cam, name) for name in names]

    def work() -> None:
        for kind in classes:
            with kind(case.plain, [case.plain.get_submodule(case.layer)]) as method:
                method(case.images, [ClassifierOutputTarget(0) for _ in case.images])

    return work


def _layer_gradcam(case: Subject) -> Work:
    from captum.attr import LayerGradCam

    method = LayerGradCam(case.plain, case.plain.get_submodule(case.layer))
    return lambda: method.attribute(case.images, target=case.targets)


def _captum_integrated(case: Subject) -> Work:
    from captum.attr import IntegratedGradients

    return lambda: IntegratedGradients(case.plain).attribute(case.images, target=0, n_steps=50)


def _captum_occlusion(case: Subject, window: int, stride: int) -> Work:
    from captum.attr import Occlusion

    method = Occlusion(case.plain)
    shapes = ((3, window, window), (3, stride, stride))
    return lambda: method.attribute(case.images, *shapes, target=0)


def _full_svd(case: Subject) -> tuple[Work, Work]:
    from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection

    taps, _, _ = cam.activations_and_gradients(
        case.model.network, case.images, case.targets, [case.layer], gradients=False
    )
    activation = taps[case.layer].contiguous()
    array = activation.numpy()
    return lambda: cam.eigencam(activation, activation), lambda: get_2d_projection(array)


def gradcam_rows(quick: bool) -> Iterator[Row]:
    """One Grad-CAM against a bare forward pass, grad-cam and captum."""
    cases: list[tuple[str, int, int, str | None, float | None]] = []
    for batch, target in ((1, 1.10), (32, 1.05)):
        cases += [("resnet18_cifar", 32, batch, None, target), ("alexnet", 32, batch, None, 1.85)]
        # with the ImageNet stem the last stage is 1 x 1 at 32 px, no map: shown for layer2, without a target
        cases += [("resnet18", 32, batch, "layer2", None)]
        if not quick:
            cases += [("resnet50_cifar", 32, batch, None, target)]
            cases += [("alexnet_224", 224, batch, None, 1.85)]
            cases += [(name, 224, batch, None, target) for name in ("resnet18", "resnet50")]
    for name, size, batch, layer, limit in cases:
        case = subject(name, size, batch, layer)
        rounds, ours = (15 if batch == 1 else 5), _ours(case, "gradcam")
        what = f"Grad-CAM at {case.layer}, {case.label}"
        yield Row(f"{what} / forward", ours, _forward(case), limit, rounds)
        if layer is None:
            yield Row(f"{what} / grad-cam", ours, _grad_cam(case, ["GradCAM"]), 1 / 2.5, rounds)
            yield Row(f"{what} / captum", ours, _layer_gradcam(case), _EVEN, rounds)


def family_rows(quick: bool) -> Iterator[Row]:
    """All seven gradient CAMs against forward passes and against grad-cam once per method; EigenCAM."""
    cases = [("resnet18_cifar", 32, 16, 9.0), ("resnet50_cifar", 32, 16, 20.0)]
    cases += [] if quick else [("resnet18", 224, 16, 9.0), ("resnet50", 224, 16, 20.0)]
    for name, size, batch, faster in cases:
        case = subject(name, size, batch)
        what = f"seven CAMs, {case.label}"
        yield Row(f"{what} / forward", _all_cams(case), _forward(case), 1.25, 3)
        yield Row(
            f"{what} / grad-cam", _all_cams(case), _grad_cam(case, _PEERS), 1 / faster, 1 if size > 32 else 2
        )
    for name, size, layer in (
        ("resnet50", 224, "layer4"),
        ("resnet18", 224, "layer2"),
        ("resnet18_cifar", 32, "layer4"),
    ):
        case = subject(name, size, 1, layer)
        yield Row(f"EigenCAM's component at {layer}, {case.label} / full SVD", *_full_svd(case), 1 / 20, 5)


def forward_rows(quick: bool) -> Iterator[Row]:
    """Score-CAM, occlusion and integrated gradients against grad-cam and captum."""
    cases = [("resnet18", 32, "layer2", 0.90, 0.36, 0.76)]
    cases += [] if quick else [("resnet18", 224, "layer4", 0.72, 0.57, 0.53)]
    for name, size, layer, score, occlude, integrate in cases:
        case = subject(name, size, 1, layer)
        rounds, window = (5, 4) if size == 32 else (1, 32)
        options = {"window": window, "stride": window // 2}
        peer = _captum_occlusion(case, window, window // 2)
        yield Row(
            f"occlusion, {case.label} / captum", _ours(case, "occlusion", **options), peer, occlude, rounds
        )
        ours = _ours(case, "integrated_gradients")
        yield Row(
            f"integrated gradients, {case.label} / captum", ours, _captum_integrated(case), integrate, rounds
        )
        peer = _grad_cam(case, ["ScoreCAM"])
        yield Row(
            f"Score-CAM at {layer}, {case.label} / grad-cam",
            _ours(case, "scorecam"),
            peer,
            score,
            min(rounds, 3),
        )
