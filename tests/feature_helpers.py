"""Small hand-built networks whose feature maps can be worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from models.cards import Card
from models.registry import Model

CLASSES = ("red", "green", "blue")


def wrap(network: nn.Module, size: int = 8, name: str = "hand", stages: tuple[str, ...] = ("conv",)) -> Model:
    """A hand-built network as a model of three classes, with its first stage as default layer."""
    card = Card(name, "hand-built", "none", CLASSES, size, 0, "cpu", {}, sha256="0" * 64)
    return Model(name, network.eval(), CLASSES, size, stages[0], "pool_linear", stages, card)


class Colours(nn.Module):
    """Three channels that each see one colour above one half, one that is dead, averaged into logits."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(4, 3, bias=False)
        with torch.no_grad():
            self.conv.weight[:] = torch.eye(4, 3)[..., None, None]
            self.conv.bias[:] = torch.tensor([-0.5, -0.5, -0.5, -1.0])  # type: ignore[index]
            self.fc.weight[:] = torch.eye(3, 4) * torch.tensor([[2.0], [3.0], [4.0]])

    def forward(self, images: Tensor) -> Tensor:
        """Logits `(N, 3)`."""
        features = self.drop(self.relu(self.conv(images)))
        return self.fc(features.mean(dim=(2, 3)))


class Giving(nn.Module):
    """A layer that gives whatever a function makes of its input."""

    def __init__(self, make: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.make = make

    def forward(self, images: Tensor) -> Any:
        """What the function makes."""
        return self.make(images)


class Odd(nn.Module):
    """A network around a layer of any output: `conv`, then `odd`, whose first tensor goes into `head`."""

    def __init__(self, make: Callable[[Tensor], Any], take: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.conv, self.odd, self.take = nn.Conv2d(3, 3, 1, bias=False), Giving(make), take
        with torch.no_grad():
            self.conv.weight[:] = torch.eye(3)[..., None, None]

    def forward(self, images: Tensor) -> Tensor:
        """Logits `(N, 3)`."""
        return self.take(self.odd(self.conv(images))).mean(dim=(2, 3))
