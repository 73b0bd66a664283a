"""Noise degradations: independent random changes of every channel of every pixel."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from data.degradation_filters import CACHED
from data.degradation_registry import Constants, Generators, register

Draw = Callable[[np.ndarray, np.ndarray, np.random.Generator], None]
"""Fills the first array with something drawn for the image that is the second, both `(3, H, W)` float32."""
Finish = Callable[[np.ndarray, np.ndarray], None]
"""Makes of what was drawn for images, and of them, both `(n, 3, H, W)` float32, the degraded images in its place."""


def _each(images: Tensor, generators: Generators, draw: Draw, finish: Finish | None = None) -> Tensor:
    """Degraded copies, in float32, made by `draw` for each image and then by `finish` for several of them.

    It goes by a few images at a time, so that what was drawn is still in the processor's cache.
    """
    fields = np.empty(images.shape, np.float32)
    pixels, count = images.cpu().numpy(), max(1, CACHED // images[0].numel())
    for start in range(0, len(images), count):
        part = slice(start, start + count)
        for each in zip(fields[part], pixels[part], generators[part], strict=True):
            draw(*each)
        if finish:
            finish(fields[part], pixels[part])
    return torch.from_numpy(fields).to(images.device)


def _normal(field: np.ndarray, _pixels: np.ndarray, generator: np.random.Generator) -> None:
    generator.standard_normal(out=field, dtype=np.float32)


def _uniform(field: np.ndarray, _pixels: np.ndarray, generator: np.random.Generator) -> None:
    generator.random(out=field, dtype=np.float32)


@register(
    "gaussian_noise", "Gaussian noise", "x + N(0, sigma^2), clipped: sensor noise in poor light.", random=True
)
def gaussian_noise(images: Tensor, constants: Constants, generators: Generators) -> Tensor:
    sigma = np.float32(constants["sigma"])

    def add(fields: np.ndarray, pixels: np.ndarray) -> None:
        fields *= sigma
        fields += pixels

    return _each(images, generators, _normal, add)


@register(
    "shot_noise",
    "Shot noise",
    "Poisson(x * rate) / rate, clipped: noise of counting few photons.",
    random=True,
)
def shot_noise(images: Tensor, constants: Constants, generators: Generators) -> Tensor:
    rate = min(
        constants["rate"], 1e12
    )  # above, the noise is below float32's resolution and NumPy's limit is near

    def count(field: np.ndarray, pixels: np.ndarray, generator: np.random.Generator) -> None:
        np.divide(generator.poisson(pixels.astype(np.float64) * rate), rate, out=field, casting="same_kind")

    return _each(images, generators, count)


@register(
    "impulse_noise",
    "Salt-and-pepper noise",
    "A share `amount` of the channel values becomes 0 or 1, by even chance: defective sensor cells.",
    random=True,
    aliases=("salt_pepper",),
)
def impulse_noise(images: Tensor, constants: Constants, generators: Generators) -> Tensor:
    amount, half = np.float32(constants["amount"]), np.float32(constants["amount"] / 2)

    def replace(fields: np.ndarray, pixels: np.ndarray) -> None:
        salt, pepper = fields < amount, fields < half
        np.copyto(fields, pixels)
        np.copyto(fields, np.float32(1), where=salt)
        np.copyto(fields, np.float32(0), where=pepper)

    return _each(images, generators, _uniform, replace)


@register(
    "speckle_noise",
    "Speckle noise",
    "x + x * N(0, sigma^2), clipped: noise proportional to brightness.",
    random=True,
    aliases=("speckle",),
)
def speckle_noise(images: Tensor, constants: Constants, generators: Generators) -> Tensor:
    sigma = np.float32(constants["sigma"])

    def add(fields: np.ndarray, pixels: np.ndarray) -> None:
        fields *= sigma
        fields *= pixels
        fields += pixels

    return _each(images, generators, _normal, add)
