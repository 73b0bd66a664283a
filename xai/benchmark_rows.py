"""What a benchmark is made of: a row sets our work beside a peer's, on a network and images of one size."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models import registry, zoo
from models.cards import Card
from models.registry import Model

Work = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """One comparison: `ours` against `peer`, and how large the quotient of their times may be (None: no target)."""

    what: str
    ours: Work
    peer: Work
    target: float | None
    rounds: int


@dataclass(frozen=True)
class Subject:
    """A model, a batch, and a copy of its network as people use it with other libraries."""

    label: str
    model: Model
    images: Tensor
    layer: str
    plain: nn.Module

    @property
    def targets(self) -> Tensor:
        """Class 0 for every image."""
        return torch.zeros(len(self.images), dtype=torch.int64)


def subject(architecture: str, size: int, batch: int, layer: str | None = None) -> Subject:
    """An untrained network of the architecture and a batch of noise; the layer is the last stage unless named."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = registry.build(architecture, 10)
    card = Card(architecture, architecture, "none", tuple("0123456789"), size, 0, "cpu", {}, sha256="0" * 64)
    model = zoo.wrap(network, card)
    plain = copy.deepcopy(model.network).to(memory_format=torch.contiguous_format).requires_grad_(True)  # type: ignore[call-overload]
    images = torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(0))
    layer = layer or model.stages[-1]
    return Subject(f"{architecture}, {size} px, batch {batch}", model, images, layer, plain)
