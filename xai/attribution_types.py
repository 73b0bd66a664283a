"""What an explanation is made of, and the registry of methods; `xai.attribution` is the way in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from models.registry import Model
from xai.shares import Told, untold

FAMILIES = ("gradient CAM", "gradient", "perturbation")
INPUT_LAYERS = ("input",)


class ExplanationError(ValueError):
    """Something asked for does not exist or can't serve this image; the message is one sentence for the user."""


@dataclass(frozen=True)
class Tap:
    """Which tensor an explanation looked at: the layers by dotted name (`("input",)` for pixels), its position in
    words, the grid `(h, w)` of the map and the kind of head behind it (`pool_linear` or `flatten_mlp`)."""

    layers: tuple[str, ...]
    position: str
    grid: tuple[int, int]
    head: str


@dataclass(frozen=True)
class Heatmap:
    """Raw, signed maps of a batch.

    `values` float32 on the CPU `(N, h, w)`, finite, on the tap's own grid; `targets` int64 `(N,)`; `settings` is
    what the numbers depend on (seed, steps, samples ...). `no_evidence` bool `(N,)` marks maps that say nothing:
    constant, nowhere above zero, or behind a gradient that is zero everywhere.
    """

    values: Tensor
    targets: Tensor
    method: str
    model: str
    model_sha256: str
    tap: Tap
    settings: dict[str, Any]
    no_evidence: Tensor


@dataclass(frozen=True)
class Call:
    """One call of a method: a frozen, locked model, images `(N, 3, H, W)` and targets `(N,)` on its device.

    `targets` is empty where the predicted class is asked for; only gradient CAMs get that, as they find it anyway.
    `told` hears how far methods are that run the network many times.
    """

    model: Model
    images: Tensor
    targets: Tensor
    layers: tuple[str, ...]
    seed: int
    settings: dict[str, Any]
    told: Told = untold


@dataclass(frozen=True)
class Result:
    """What a method gives back: maps `(N, h, w)`, the position of the tap in words, the targets where it chose them."""

    values: Tensor
    position: str = "input"
    targets: Tensor | None = None


@dataclass(frozen=True)
class Method:
    """One entry of the registry.

    `signed`: values below zero speak against the class. `layered`: it looks at a tapped layer, else at pixels.
    `defaults` are the settings that `explain` takes for it; `seeded` says whether the seed matters.
    """

    name: str
    title: str
    family: str
    signed: bool
    layered: bool
    description: str
    compute: Callable[[Call], Result]
    defaults: dict[str, Any] = field(default_factory=dict)
    seeded: bool = False


METHODS: dict[str, Method] = {}


def register(
    name: str,
    title: str,
    family: str,
    description: str,
    *,
    signed: bool,
    layered: bool,
    seeded: bool = False,
    **defaults: Any,
) -> Callable[[Callable[[Call], Result]], Callable[[Call], Result]]:
    """Decorator that adds a method; raises `ValueError` when the name is taken or the family unknown."""
    if name in METHODS:
        raise ValueError(f"the method {name!r} is registered twice.")
    if family not in FAMILIES:
        raise ValueError(f"the family is {family!r}; allowed are {', '.join(FAMILIES)}.")

    def add(compute: Callable[[Call], Result]) -> Callable[[Call], Result]:
        METHODS[name] = Method(name, title, family, signed, layered, description, compute, defaults, seeded)
        return compute

    return add
