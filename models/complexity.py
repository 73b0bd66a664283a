"""Parameters and multiply-accumulates of a network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from models.layers import meta_copy


def count_parameters(network: nn.Module) -> int:
    """Number of trainable weights (buffers such as running means are not counted)."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_macs(network: nn.Module, input_size: int) -> int:
    """Multiply-accumulates of convolutions, linear layers and attention for one `(3, input_size, input_size)` image.

    `nn.Conv2d`, `nn.Linear` and the two products of self-attention modules in timm's manner (queries with keys,
    weights with values); other functions that multiply matrices, such as torchvision's attention, are not seen.
    One multiply and one add count as one; biases, normalisation, activations and pooling are left out, as is
    usual: ResNet-50 has 4.09 G at 224 px. Nothing is computed: shapes run through a copy on the meta device.
    """
    # torch's FlopCounterMode hooks the modules of the whole process, which breaks autograd in other threads
    copied, counts = meta_copy(network).eval(), list[int]()

    def note(module: nn.Module, _inputs: Any, output: Tensor) -> None:
        counts.append(output.numel() * _macs_per_number(module))

    def note_attention(module: nn.Module, inputs: Any, _output: Any) -> None:
        counts.append(_attention_macs(module.qkv, *inputs[:1]))  # type: ignore[arg-type]

    for module in copied.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(note)
        elif isinstance(getattr(module, "qkv", None), nn.Linear):
            module.register_forward_hook(note_attention)
    with torch.no_grad():
        copied(torch.zeros(1, 3, input_size, input_size, device="meta"))
    return sum(counts)


def _attention_macs(qkv: nn.Linear, tokens: Tensor | None = None) -> int:
    """Products of queries with keys and of weights with values, for tokens `(B, L, C)`."""
    if tokens is None or tokens.ndim != 3:
        return 0
    return 2 * tokens.shape[0] * tokens.shape[1] ** 2 * (qkv.out_features // 3)


def _macs_per_number(module: nn.Module) -> int:
    """Products summed for one number of the output: the weights of one filter or one row."""
    if isinstance(module, nn.Conv2d):
        return module.in_channels // module.groups * module.kernel_size[0] * module.kernel_size[1]
    return module.in_features  # type: ignore[return-value]
