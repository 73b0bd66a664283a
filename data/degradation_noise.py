"""Noise degradations: independent random changes of every channel of every pixel."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from data.degradation_filters import CACHED
from data.degradation_registry import Constants, Generators, register

Draw = Callable[[np.random.Generator, np.ndarray], None]
"""Fills an array `(3, H, W)` float32 with what is drawn for one image."""
Finish = Callable[[Tensor, Tensor], None]
"""Makes of what was drawn for images, and of them, both `(n, 3, H, W)` float32, the degraded images in its place."""


def _each(images: Tensor, generators: Generators, draw: Draw, finish: Finish) -> Tensor:
    """Degraded copies, in float32: `draw` for each image on the CPU, then `finish` for several on their device.

    On the CPU it goes by a few images at a time, so that what was drawn is still in the processor's cache.
    """
    drawn = np.empty(images.shape, np.float32)
    fields, on_cpu = torch.from_numpy(drawn), images.device.type == "cpu"
    count = max(1, CACHED // images[0].numel()) if on_cpu else len(images)
    for start in range(0, len(images), count):
        part = slice(start, start + count)
        for field, generator in zip(drawn[part], generators[part], strict=True):
            draw(generator, field)
        if on_cpu:
            finish(fields[part], images[part])
    if not on_cpu:
        fields = fields.to(images.device)
        finish(fields, images)
    return fields


def _normal(generator: np.random.Generator, field: np.ndarray) -> None:
    generator.standard_normal(out=field, dtype=np.float32)


def _uniform(generator: np.random.Generator, field: np.ndarray) -> None:
    generator.random(out=field, dtype=np.float32)


@register(
    "gaussian_noise", "Gaussian noise", "x + N(0, sigma^2), clipped: sensor noise in poor light.", random=True
)
def gaussian_noise(images: Tensor, constants: Constants, generators: Generators) -> Tensor:
    """Noise of standard deviation `sigma`, in units of the range [0, 1], added to every channel of every pixel."""

    def add(fields: Tensor, pixels: Tensor) -> None:
        fields.mul_(constants["sigma"]).add_(pixels)

    return _each(images, generators, _normal, add)


@register(
    "shot_noise",
    "Shot noise",
    "Poisson(x * rate) / rate, clipped: noise of counting few photons.",
    random=True,
)
def shot_noise(images: Tensor, constants: Constants, generators: Generators) -> Tensor:
    """Photons are counted: Poisson of the value times `rate`, in double precision, divided by `rate` again."""
    rate = min(
        constants["rate"], 1e12
    )  # above, the noise is below float32's resolution and NumPy's limit is near

    fields = np.empty(images.shape, np.float32)
    for field, pixels, generator in zip(fields, images.cpu().numpy(), generators, strict=True):
        np.divide(generator.poisson(pixels.astype(np.float64) * rate), rate, out=field, casting="same_kind")
    return torch.from_numpy(fields).to(images.device)


@register(
    "impulse_noise",
    "Salt-and-pepper noise",
    "A share `amount` of the channel values becomes 0 or 1, by even chance: defective sensor cells.",
    random=True,
    aliases=("salt_pepper",),
)
def impulse_noise(images: Tensor, constants: Constants, generators: Generators) -> Tensor:
    """Each channel value is 1 or 0 with probability `amount` / 2 each; one draw per value decides both."""
    amount = constants["amount"]

    def replace(fields: Tensor, pixels: Tensor) -> None:
        salt, pepper = fields < amount, fields < amount / 2
        fields.copy_(pixels).masked_fill_(salt, 1).masked_fill_(pepper, 0)

    return _each(images, generators, _uniform, replace)


@register(
    "speckle_noise",
    "Speckle noise",
    "x + x * N(0, sigma^2), clipped: noise proportional to brightness.",
    random=True,
    aliases=("speckle",),
)
def speckle_noise(images: Tensor, constants: Constants, generators: Generators) -> Tensor:
    """Noise of standard deviation `sigma` times the value itself: black stays black."""

    def add(fields: Tensor, pixels: Tensor) -> None:
        fields.mul_(constants["sigma"]).mul_(pixels).add_(pixels)

    return _each(images, generators, _normal, add)
