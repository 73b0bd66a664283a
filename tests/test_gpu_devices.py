"""The GPU's way without a GPU: with tensors that have a device and no numbers, PyTorch refuses to mix devices.

The networks, the changes of training pictures, the losses and the degradations run on such tensors. What needs
numbers (seeds, JPEG) or the card itself (the backward pass) is left to a machine that has one.
"""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call

from data import degradations
from models import augmentation, registry
from models.distillation import loss_of
from models.recipes import Recipe
from tests.conftest import TinyModel
from xai.degraded_training import MIXTURE

GPU = torch.device("cuda", 0)
NEED_NUMBERS = ("defocus_blur", "jpeg_compression")
"""Degradations that pass through NumPy, which tensors without numbers can't."""

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def no_numbers() -> Iterator[FakeTensorMode]:
    """Inside, every new tensor is one without numbers."""
    with FakeTensorMode() as mode, torch.no_grad():
        yield mode


def on_gpu(tensor: Tensor) -> Tensor:
    return torch.empty(tensor.shape, dtype=tensor.dtype, device=GPU)


def test_tensors_of_two_devices_are_refused(no_numbers: FakeTensorMode) -> None:
    """Else the tests below could not fail."""
    with pytest.raises(RuntimeError, match="device"):
        torch.zeros(2, device=GPU) + torch.zeros(2)


@pytest.mark.parametrize("name", registry.ARCHITECTURES)
def test_every_network_in_training_stays_on_its_device(name: str, tiny_model: TinyModel) -> None:
    model = tiny_model(name)
    network, stored = model.network.train(), model.network.state_dict()
    with FakeTensorMode(), torch.no_grad():
        state = {key: on_gpu(tensor) for key, tensor in stored.items()}
        images = torch.empty(2, 3, model.input_size, model.input_size, device=GPU)
        scores = functional_call(network, state, (images,))
    assert (scores.device, scores.shape) == (GPU, (2, 10))


def test_changes_of_pictures_stay_on_their_device(no_numbers: FakeTensorMode) -> None:
    """The numbers are drawn on the CPU and moved; nothing else may stay there."""
    recipe = Recipe(rotation=15.0, colour_jitter=0.2)
    draws = augmentation.draw(4, recipe, torch.Generator())
    images = torch.empty(4, 3, 32, 32, dtype=torch.uint8, device=GPU)
    assert augmentation.apply(images, draws.to(GPU), recipe).device == GPU
    with pytest.raises(RuntimeError, match="device"):
        augmentation.apply(images, draws, recipe)


@pytest.mark.parametrize("taught", [True, False])
def test_losses_stay_on_their_device(taught: bool, no_numbers: FakeTensorMode) -> None:
    scores = torch.empty(4, 10, device=GPU, dtype=torch.bfloat16)
    labels = torch.empty(4, device=GPU, dtype=torch.int64)
    loss = loss_of(scores, scores if taught else None, labels, Recipe(teacher_weight=0.5))
    assert (loss.device, loss.dtype, loss.ndim) == (GPU, torch.float32, 0)


@pytest.mark.parametrize("name", sorted(set(MIXTURE) - set(NEED_NUMBERS)))
def test_degradations_in_training_stay_on_their_device(name: str, no_numbers: FakeTensorMode) -> None:
    entry, scale = degradations.DEGRADATIONS[name], degradations.default_scale(32, 32)
    generators = [degradations.image_generator(0, str(k), name, 2.0) for k in range(4 * entry.random)]
    images = torch.empty(4, 3, 32, 32, device=GPU)
    changed = entry.operation(images, degradations.constants(name, 2.0, scale, 32), generators)
    assert (changed.device, changed.shape) == (GPU, images.shape)
