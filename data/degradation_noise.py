"""Noise degradations: independent random changes of every channel of every pixel."""

import numpy as np
import torch
from torch import Tensor

from data.degradation_registry import Constants, Generators, register


def _fields(draws: list[np.ndarray], images: Tensor) -> Tensor:
    return torch.from_numpy(np.stack(draws)).to(images.device, images.dtype)


def _standard_normal(images: Tensor, generators: Generators) -> Tensor:
    return _fields([rng.standard_normal(images.shape[1:], dtype=np.float32) for rng in generators], images)


@register(
    "gaussian_noise", "Gaussian noise", "x + N(0, sigma^2), clipped: sensor noise in poor light.", random=True
)
def gaussian_noise(images: Tensor, constants: Constants, generators: Generators) -> Tensor:
    return images + _standard_normal(images, generators).mul_(constants["sigma"])


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
    means = images.cpu().double().numpy() * rate
    return _fields([rng.poisson(mean) / rate for mean, rng in zip(means, generators, strict=True)], images)


@register(
    "impulse_noise",
    "Salt-and-pepper noise",
    "A share `amount` of the channel values becomes 0 or 1, by even chance: defective sensor cells.",
    random=True,
    aliases=("salt_pepper",),
)
def impulse_noise(images: Tensor, constants: Constants, generators: Generators) -> Tensor:
    amount = constants["amount"]
    draw = _fields([rng.random(images.shape[1:], dtype=np.float32) for rng in generators], images)
    return images.masked_fill(draw < amount, 1.0).masked_fill(draw < amount / 2, 0.0)


@register(
    "speckle_noise",
    "Speckle noise",
    "x + x * N(0, sigma^2), clipped: noise proportional to brightness.",
    random=True,
    aliases=("speckle",),
)
def speckle_noise(images: Tensor, constants: Constants, generators: Generators) -> Tensor:
    return images + _standard_normal(images, generators).mul_(constants["sigma"]).mul_(images)
