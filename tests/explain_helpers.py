"""Networks, pictures and comparisons shared by the tests of explanations."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from models import registry, zoo
from models.cards import Card
from models.registry import Model
from xai import attribution
from xai.attribution import Heatmap

FAST: dict[str, dict[str, Any]] = {
    "integrated_gradients": {"steps": 8},
    "smoothgrad": {"samples": 4},
    "gradient_shap": {"samples": 4},
    "occlusion": {"window": 8, "stride": 8},
    "rise": {"samples": 24, "cells": 4},
}
"""Settings under which a method takes little time."""


def make_model(architecture: str, size: int, seed: int = 0, **options: Any) -> Model:
    """An untrained network with weights from `seed`, its batch norms with statistics of their own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = registry.build(architecture, 10, **options)
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.3)  # type: ignore[union-attr]
                module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
                module.bias.data.normal_(0, 0.2)
    classes = tuple(f"class {index}" for index in range(10))
    card = Card(architecture, architecture, "none", classes, size, seed, "cpu", {}, sha256="0" * 64)
    return zoo.wrap(network, card)


@functools.cache
def photographs(size: int) -> Tensor:
    """Two photographs of scikit-image, `(2, 3, size, size)` in [0, 1]."""
    from skimage import data

    pictures = []
    for picture in (data.astronaut(), data.chelsea()[:300, :300]):
        image = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255
        pictures.append(torch.nn.functional.interpolate(image, (size, size), mode="bilinear", antialias=True))
    return torch.cat(pictures).clamp(0, 1)


def drawn(values: Tensor) -> Tensor:
    """Maps `(N, h, w)` as they are drawn: clipped at zero, each scaled to [0, 1]."""
    positive = values.clamp_min(0)
    low, high = positive.amin(dim=(1, 2), keepdim=True), positive.amax(dim=(1, 2), keepdim=True)
    return (positive - low) / (high - low).clamp_min(1e-30)


def relative_gap(values: Tensor, expected: Tensor) -> float:
    """Largest difference of two sets of maps, each map in units of the largest absolute value expected."""
    scale = expected.abs().amax(dim=(1, 2), keepdim=True).clamp_min(1e-30)
    return float(((values - expected) / scale).abs().max())


SMALL_SIZE = 32
TARGETS = [3, 7]
SMALL: dict[str, dict[str, Any]] = {
    "alexnet": {"hidden": 64},
    "alexnet_bn": {"hidden": 64},
    "resnet18": {"width": 16},
    "resnet50": {"width": 8},
}
MORE = {"resnet18_cifar": {"width": 8}}


@functools.cache
def small_model(architecture: str) -> Model:
    """A narrow network for 32 px."""
    return make_model(architecture, SMALL_SIZE, **{**SMALL, **MORE}[architecture])


def explain_fast(model: Model, name: str, images: Tensor | None = None, **options: Any) -> Heatmap:
    """A heatmap with the settings of `FAST`, of two photographs and `TARGETS` unless others are given."""
    options = {"targets": TARGETS, **FAST.get(name, {}), **options}
    return attribution.explain(model, photographs(SMALL_SIZE) if images is None else images, name, **options)
