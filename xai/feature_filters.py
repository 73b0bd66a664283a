"""First filters: the weights of the first convolution that sees the picture, as pictures."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from models.registry import Model
from xai.attribution_types import ExplanationError
from xai.feature_layers import (
    layer_table,
)


@dataclass(frozen=True)
class Filters:
    """The first convolution's weights, raw and signed, `(K, 3, kh, kw)`, with red, green and blue in this order.

    They act on pixels after the network's own normalisation.
    """

    model: str
    sha256: str
    layer: str
    weights: Tensor

    @property
    def peak(self) -> float:
        """The common scale of all filters: the largest absolute value."""
        return float(self.weights.abs().max())

    @property
    def pictures(self) -> Tensor:
        """RGB `(K, 3, kh, kw)` in [0, 1]: zero is mid grey, and the peak is 0 or 1, in all filters alike."""
        return (0.5 + 0.5 * self.weights / (self.peak or 1.0)).clamp(0, 1)


def first_filters(model: Model) -> Filters:
    """The filters of the first convolution that runs and sees the three colours.

    Raises `ExplanationError` for a network without one.
    """
    with model.lock:
        modules = dict(model.network.named_modules())
        for info in layer_table(model, model.input_size):
            module = modules[info.name]
            if isinstance(module, nn.Conv2d) and module.in_channels == 3 and module.groups == 1:
                weights = module.weight.detach().float().cpu().clone()
                return Filters(model.name, model.card.sha256, info.name, weights)
    raise ExplanationError(f"{model.name} has no convolution that sees the three colours of the picture.")
