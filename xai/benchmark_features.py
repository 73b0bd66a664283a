"""How long recording all layers takes beside a bare forward pass, for `xai.benchmark`."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from models.registry import Model
from xai.benchmark_rows import Work
from xai.feature_maps import record

CASES = (("alexnet", 32), ("resnet18", 32), ("resnet18_cifar", 32), ("alexnet_224", 224), ("resnet18", 224))
"""Architectures and input sizes in px, one image each."""


def works(model: Model, images: Tensor) -> tuple[Work, Work]:
    """All layers of the images recorded, and the same forward pass with nothing recorded."""

    def bare() -> Tensor:
        with torch.inference_mode():
            return model.network(images)

    return lambda: record(model, images), bare


def cases(quick: bool) -> Iterator[tuple[str, int]]:
    """Architectures and sizes to be measured; the quick ones leave out 224 px."""
    return (case for case in CASES if not quick or case[1] < 224)
