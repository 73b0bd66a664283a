"""Requests that can't be served, and edges of those that can."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.explain_helpers import SMALL_SIZE as SIZE
from tests.explain_helpers import TARGETS, make_model, photographs
from tests.explain_helpers import explain_fast as _explain
from tests.explain_helpers import small_model as _model
from xai import attribution
from xai.attribution import METHODS, ExplanationError
from xai.hooks import count_hooks


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "gradcamm"}, "there is no method 'gradcamm'; allowed are gradcam,"),
        (
            {"layers": ["layer9"]},
            r"resnet18: there is no layer 'layer9'; choose layer3 \(2x2\) or layer2 \(4x4\)",
        ),
        ({"layers": ["layer4"]}, r"layer4 of resnet18 offers a 1x1 grid for this image of 32 x 32 px"),
        ({"layers": ["layer4"]}, r"choose layer3 \(2x2\) or layer2 \(4x4\)"),
        ({"layers": ["fc"]}, "not a feature map"),
        ({"layers": []}, "one or more dotted names"),
        ({"layers": "layer1"}, "one or more dotted names"),
        ({"targets": 10}, "class 10 does not exist; resnet18 has classes 0 to 9"),
        ({"targets": [-1, 3]}, "class -1 does not exist"),
        ({"targets": [1, 2, 3]}, "allowed are one or 2"),
        ({"targets": 1.5}, "whole numbers"),
        ({"steps": 3}, "gradcam has no setting 'steps'; it has none"),
        ({"method": "rise", "step": 3}, "rise has no setting 'step'; allowed are samples, cells, visible"),
        ({"method": "rise", "samples": 0}, "samples is 0; allowed are whole numbers from 1"),
        ({"method": "rise", "visible": 1.0}, "visible is 1.0"),
        ({"method": "occlusion", "window": 33}, "window is 33; allowed are whole numbers from 1 to 32"),
        ({"method": "smoothgrad", "samples": 2.5}, "samples is 2.5"),
        ({"method": "saliency", "layers": ["layer1"]}, "takes no layer"),
        ({"images": torch.zeros(3, 32, 32)}, "allowed is torch.float32"),
        ({"images": torch.zeros(0, 3, 32, 32)}, "N at least 1"),
        ({"images": torch.zeros(1, 3, 32, 32, dtype=torch.uint8)}, "torch.uint8"),
        ({"images": torch.full((1, 3, 32, 32), 255.0), "targets": 0}, "allowed is 0 to 1"),
        ({"images": torch.full((1, 3, 32, 32), float("nan")), "targets": 0}, "allowed is 0 to 1"),
        ({"images": torch.zeros(1, 3, 4, 32), "targets": 0}, "can't take an image of 32 x 4 px"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_sentence(options: dict[str, Any], words: str) -> None:
    model = _model("resnet18")
    options = {"method": "gradcam", "targets": TARGETS, "images": photographs(SIZE), **options}
    with pytest.raises(ExplanationError, match=words) as caught:
        attribution.explain(model, options.pop("images"), options.pop("method"), **options)
    assert "\n" not in str(caught.value)
    assert count_hooks(model.network) == 0


def test_an_image_too_small_for_alexnet_is_refused() -> None:
    model = make_model("alexnet_224", 64)
    with pytest.raises(ExplanationError, match="smallest input is 63 px"):
        attribution.explain(model, photographs(SIZE), "gradcam")


@pytest.mark.parametrize("name", METHODS)
def test_a_black_image_gives_no_nan(name: str) -> None:
    heatmap = _explain(_model("alexnet"), name, torch.zeros(1, 3, SIZE, SIZE), targets=3)
    assert bool(heatmap.values.isfinite().all())
    if name in ("input_x_gradient", "integrated_gradients", "deeplift", "occlusion"):
        assert heatmap.no_evidence.tolist() == [True]


def test_usable_layers_are_maps_with_stages_first() -> None:
    layers = attribution.usable_layers(_model("resnet18"), SIZE)
    assert list(layers)[:3] == ["layer1", "layer2", "layer3"]
    assert layers["layer2"] == (4, 4)
    assert "layer4" not in layers
    assert "fc" not in layers
    assert "layer1.0.conv1" in layers


@pytest.mark.parametrize("name", [name for name, entry in METHODS.items() if entry.layered])
def test_every_usable_layer_serves_every_layered_method(name: str) -> None:
    model = _model("alexnet_bn")
    for layer, grid in attribution.usable_layers(model, SIZE).items():
        heatmap = _explain(model, name, photographs(SIZE)[:1], targets=3, layers=[layer])
        assert heatmap.tap.grid == grid
        assert bool(heatmap.values.isfinite().all())
