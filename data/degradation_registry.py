"""The registry of degradations: one dictionary, one decorator, one signature for all members."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from data.corruption_constants import SCALES, names_in_scale

Constants = Mapping[str, float]
Generators = Sequence[np.random.Generator]
# (images (N, 3, H, W) in [0, 1], constants, one generator per image) -> images, not necessarily clipped.
# Degradations that draw nothing get no generators.
Operation = Callable[[Tensor, Constants, Generators], Tensor]


@dataclass(frozen=True)
class Degradation:
    """One degradation: names, what it does, whether it draws random numbers, the scales that have it.

    `version` is raised whenever the pixels of any severity change, so that results on the old ones are not mixed in.
    """

    name: str
    title: str
    description: str
    random: bool
    scales: tuple[str, ...]
    aliases: tuple[str, ...]
    operation: Operation
    version: int = 1


DEGRADATIONS: dict[str, Degradation] = {}


def register(
    name: str,
    title: str,
    description: str,
    *,
    random: bool = False,
    aliases: tuple[str, ...] = (),
    version: int = 1,
) -> Callable[[Operation], Operation]:
    """Decorator that enters an operation into ``DEGRADATIONS``; raises ValueError when a name is taken."""

    def add(operation: Operation) -> Operation:
        taken = {known for entry in DEGRADATIONS.values() for known in (entry.name, *entry.aliases)}
        for new in (name, *aliases):
            if new in taken:
                raise ValueError(f"a degradation named {new!r} is registered already")
        scales = tuple(scale for scale in SCALES if name in names_in_scale(scale))
        DEGRADATIONS[name] = Degradation(
            name, title, description, random, scales, aliases, operation, version
        )
        return operation

    return add


def image_generator(seed: int, image_id: str, name: str, severity: float) -> np.random.Generator:
    """The CPU generator of one image's random numbers, a function of the four arguments alone.

    The state is the SHA-256 of their JSON, so neighbouring seeds or ids share nothing, and neither batch,
    order, process nor device enters.
    """
    key = json.dumps([int(seed), str(image_id), name, float(severity)])
    return np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(key.encode()).digest(), "big")))
