"""Inversion: what a layer keeps is found again, what it drops is not, and errors are those of the pictures."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from models.registry import Model
from tests.conftest import TinyModel
from tests.visualization_helpers import SIZE, small_model
from xai.attribution_types import ExplanationError
from xai.hooks import recorded
from xai.inversion import INVERSION, invert
from xai.visualization_image import total_variation

pytestmark = pytest.mark.usefixtures("one_thread")
SETTINGS = replace(INVERSION, steps=160, strip=0, total_variation=0.1)


@pytest.fixture(scope="module")
def image() -> Tensor:
    """A red disc on a green ramp, `(1, 3, SIZE, SIZE)`."""
    down, across = torch.meshgrid(torch.linspace(-1, 1, SIZE), torch.linspace(-1, 1, SIZE), indexing="ij")
    disc = (down.square() + across.square() < 0.3).float()
    return torch.stack([0.2 + 0.6 * disc, 0.5 + 0.3 * across, torch.full_like(disc, 0.4)])[None]


def small(weight: Tensor) -> Model:
    """A network whose only convolution has this weight; `conv` is inverted, so that no ReLU drops anything."""
    return small_model(weight)


def correlation(first: Tensor, second: Tensor) -> float:
    """Pearson correlation of two pictures' numbers."""
    return float(torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1])


def test_what_a_layer_keeps_is_found_again(image: Tensor) -> None:
    keeps_all = small(torch.eye(3).view(3, 3, 1, 1))
    found = invert(keeps_all, image, "conv", SETTINGS)
    assert correlation(found.images[0], image[0]) > 0.97
    assert float(found.errors[0]) < 0.05


def test_what_a_layer_drops_is_not_found_again(image: Tensor) -> None:
    """Of a layer that sees red alone, red comes back and green does not, though the layer can't tell them apart."""
    red_only = small(torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1))
    found = invert(red_only, image, "conv", SETTINGS)
    assert correlation(found.images[0, 0], image[0, 0]) > 0.97
    assert abs(correlation(found.images[0, 1], image[0, 1])) < 0.5
    assert float(found.errors[0]) < 0.05


def test_errors_are_relative_distances_of_the_activations(tiny_model: TinyModel, image: Tensor) -> None:
    model = tiny_model("resnet18_cifar", SIZE)
    found = invert(model, image, "layer2", replace(SETTINGS, steps=20))
    with torch.inference_mode(), recorded(model.network, ["layer2"]) as outputs:
        model.network(torch.cat([image, found.images]))
    own, again = outputs["layer2"]
    assert float(found.errors[0]) == pytest.approx(float((again - own).norm() / own.norm()), rel=1e-3)


def test_equal_images_give_equal_pictures_and_smoothness_is_as_asked(
    tiny_model: TinyModel, image: Tensor
) -> None:
    model, few = tiny_model("resnet18_cifar", SIZE), replace(SETTINGS, steps=40)
    twice = invert(model, torch.cat([image, image]), "layer1", few).images
    assert torch.allclose(twice[0], twice[1], atol=2e-3)
    smooth = invert(model, image, "layer1", replace(few, total_variation=20.0)).images
    assert float(total_variation(smooth)) < float(total_variation(twice[:1]))


def test_silent_layers_and_odd_images_are_told(image: Tensor) -> None:
    silent = small_model(torch.zeros(1, 3, 1, 1))
    with pytest.raises(ExplanationError, match=r"conv of built by hand is silent or no number for an image"):
        invert(silent, image, "conv", SETTINGS)
    with pytest.raises(ExplanationError, match=r"allowed is \(N, 3, S, S\) with N >= 1"):
        invert(silent, image[:, :, :-1], "conv", SETTINGS)
    with pytest.raises(ExplanationError, match="nowhere"):
        invert(silent, image, "nowhere", SETTINGS)
