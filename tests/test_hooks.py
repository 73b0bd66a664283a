"""Hooks and modes exist inside a `with` only, and everything is as it was afterwards."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from xai import hooks


class Twice(nn.Module):
    """Calls one ReLU twice; the second output is a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.relu = nn.ReLU(inplace=True)
        self.unused = nn.Conv2d(3, 4, 1)
        self.fc = nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        """Logits `(N, 2)`."""
        return self.fc(self.relu(self.relu(self.conv(images)).mean(dim=(2, 3))))


@pytest.fixture
def network() -> Twice:
    torch.manual_seed(0)
    return Twice()


IMAGES = torch.linspace(0, 1, 2 * 3 * 6 * 6).view(2, 3, 6, 6)


def _state(network: nn.Module) -> list[object]:
    modes = [module.training for module in network.modules()]
    inplace = [getattr(module, "inplace", None) for module in network.modules()]
    attributes = [sorted(module.__dict__) for module in network.modules()]
    return [modes, inplace, attributes, [weight.requires_grad for weight in network.parameters()]]


@pytest.mark.parametrize("context", [hooks.frozen, hooks.out_of_place, hooks.restored])
def test_a_mixed_state_comes_back_after_an_exception(network: Twice, context: object) -> None:
    network.conv.eval()
    network.fc.bias.requires_grad_(False)
    before = _state(network)
    with pytest.raises(RuntimeError, match="on purpose"), context(network):  # type: ignore[operator]
        raise RuntimeError("on purpose")
    assert _state(network) == before


def test_frozen_switches_modes_and_gradients_off(network: Twice) -> None:
    with hooks.frozen(network):
        assert not any(module.training for module in network.modules())
        assert not any(weight.requires_grad for weight in network.parameters())
    assert all(module.training for module in network.modules())


def test_restored_removes_what_a_library_leaves_behind_and_keeps_older_hooks(network: Twice) -> None:
    network.conv.register_forward_hook(lambda *_: None)

    def leave_things_behind() -> None:
        network.fc.register_forward_hook(lambda *_: None)
        network.relu.register_full_backward_hook(lambda *_: None)
        network.relu.input = IMAGES
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"), hooks.restored(network):
        leave_things_behind()
    assert hooks.count_hooks(network) == 1
    assert len(network.conv._forward_hooks) == 1
    assert not hasattr(network.relu, "input")


def test_count_hooks_counts_every_kind(network: Twice) -> None:
    network.conv.register_forward_hook(lambda *_: None)
    network.conv.register_forward_pre_hook(lambda *_: None)
    network.fc.register_full_backward_hook(lambda *_: None)
    network.fc.register_full_backward_pre_hook(lambda *_: None)
    assert hooks.count_hooks(network) == 4


@pytest.mark.parametrize("layer", ["relu", "fc", "nowhere", ""])
def test_what_cannot_be_tapped_is_refused_without_a_trace(network: Twice, layer: str) -> None:
    words = {"relu": "more than once", "fc": "not a feature map"}.get(layer, "no layer")
    with pytest.raises(hooks.TapError, match=words), hooks.tapped(network, ["conv", layer]):
        network(IMAGES)
    assert hooks.count_hooks(network) == 0


def test_a_tap_is_what_the_layer_gave_even_if_an_activation_overwrites_it(network: Twice) -> None:
    expected = network.conv(IMAGES)
    assert expected.min() < 0
    with hooks.frozen(network), hooks.tapped(network, ["conv"]) as taps:
        logits = network(IMAGES)
    assert torch.equal(taps["conv"].detach(), expected.detach())
    assert taps["conv"].grad_fn is None, "the tap must not depend on anything below it"
    gradient = torch.autograd.grad(logits.sum(), taps["conv"])[0]
    assert bool((gradient[expected < 0] == 0).all())
    assert bool((gradient[expected > 0] != 0).any())


def test_recorded_copies_outputs_of_any_shape_and_replaced_changes_them(network: Twice) -> None:
    with hooks.recorded(network, ["conv", "fc"]) as outputs:
        logits = network(IMAGES)
    assert torch.equal(outputs["conv"], network.conv(IMAGES))
    assert torch.equal(outputs["fc"], logits)
    assert not outputs["fc"].requires_grad
    with hooks.replaced(network, "fc", lambda output: output + 1):
        assert torch.equal(network(IMAGES), logits + 1)
    assert torch.equal(network(IMAGES), logits)
    with pytest.raises(hooks.TapError, match="more than once"), hooks.recorded(network, ["relu"]):
        network(IMAGES)
    assert hooks.count_hooks(network) == 0
