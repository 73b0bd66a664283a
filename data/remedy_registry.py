"""The registry of remedies: what is done to an image before the network sees it, to undo a degradation.

One dictionary, one decorator, one signature for all members. Every member has two forms: *blind* knows nothing of the
degradation and takes every image, *told* knows which degradation it was, and its constants.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from data.degradation_registry import Constants


@dataclass(frozen=True)
class Known:
    """What a told remedy knows: the degradation, its constants (lengths in pixels), and the angle of motion blur.

    `angle` is in degrees as `data.degradations.motion_blur_angle` gives it, 0 for all other degradations.
    """

    degradation: str
    constants: Constants = field(default_factory=dict)
    angle: float = 0.0


# (longer side in pixels, what is known or None when blind) -> the remedy's own constants.
Choice = Callable[[int, Known | None], dict[str, float]]
# (image (H, W, 3) float32 in [0, 1], its constants, what is known or None) -> image, not necessarily clipped.
Operation = Callable[[np.ndarray, Constants, Known | None], np.ndarray]


@dataclass(frozen=True)
class Remedy:
    """One remedy: names, what it does, the degradations that its told form can use, and how its constants are chosen.

    `version` is raised whenever the pixels of either form change, so that results on the old ones are not mixed in.
    """

    name: str
    title: str
    description: str
    told_for: tuple[str, ...]
    choose: Choice
    operation: Operation
    version: int = 1


REMEDIES: dict[str, Remedy] = {}


def register(
    name: str,
    title: str,
    description: str,
    *,
    told_for: tuple[str, ...],
    choose: Choice,
    version: int = 1,
) -> Callable[[Operation], Operation]:
    """Decorator that enters an operation into ``REMEDIES``; raises ValueError when the name is taken."""

    def add(operation: Operation) -> Operation:
        if name in REMEDIES:
            raise ValueError(f"a remedy named {name!r} is registered already")
        REMEDIES[name] = Remedy(name, title, description, told_for, choose, operation, version)
        return operation

    return add
