"""Parameters and multiply-accumulates of a network."""

from __future__ import annotations

import copy

import torch
from torch import nn


def count_parameters(network: nn.Module) -> int:
    """Number of trainable weights (buffers such as running means are not counted)."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_macs(network: nn.Module, input_size: int) -> int:
    """Multiply-accumulates of convolutions and matrix products for one `(3, input_size, input_size)` image.

    One multiply and one add count as one; biases, normalisation, activations and pooling are left out, as is
    usual: ResNet-50 has 4.09 G at 224 px. Nothing is computed: shapes run through a copy on the meta device.
    """
    from torch.utils.flop_counter import FlopCounterMode  # imports triton where that is installed

    copied = copy.deepcopy(network).to("meta").eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        copied(torch.zeros(1, 3, input_size, input_size, device="meta"))
    return counter.get_total_flops() // 2
