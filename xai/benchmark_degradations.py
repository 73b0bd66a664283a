"""What degradations are measured against: one picture after another with Pillow, NumPy and scikit-image.

The loops are those of the ImageNet-C generators (Hendrycks & Dietterich, `make_imagenet_c.py`), with the same constants
but random numbers of their own, and without writing files.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from data.degradation_registry import Constants
from data.degradations import degrade, parameters
from xai.benchmark_rows import Work

Loop = Callable[[Any, Constants], np.ndarray]
CASES = (
    ("gaussian_noise", 32, "cifar-c", 256),
    ("speckle_noise", 32, "cifar-c", 256),
    ("impulse_noise", 32, "cifar-c", 256),
    ("shot_noise", 32, "cifar-c", 256),
    ("pixelate", 32, "cifar-c", 256),
    ("jpeg_compression", 32, "cifar-c", 256),
    ("gaussian_noise", 224, "imagenet-c", 16),
    ("speckle_noise", 224, "imagenet-c", 16),
    ("impulse_noise", 224, "imagenet-c", 16),
    ("shot_noise", 224, "imagenet-c", 16),
    ("pixelate", 224, "imagenet-c", 16),
    ("gaussian_blur", 224, "imagenet-c", 16),
    ("gaussian_blur", 224, "paper-literal", 16),
)
"""Degradation, side in px, scale and images at a time, each at severity 3."""
_SEVERITY = 3
_RANDOM = np.random.RandomState(0)
LOOPS: dict[str, Loop] = {}
"""What is done to one picture, by the name of the degradation."""


def _loop(function: Loop) -> Loop:
    LOOPS[function.__name__] = function
    return function


def _floats(picture: Any) -> np.ndarray:
    return np.array(picture) / 255.0


def _clipped(values: np.ndarray) -> np.ndarray:
    return np.clip(values, 0, 1) * 255


@_loop
def gaussian_noise(picture: Any, constants: Constants) -> np.ndarray:
    x = _floats(picture)
    return _clipped(x + _RANDOM.normal(size=x.shape, scale=constants["sigma"]))


@_loop
def speckle_noise(picture: Any, constants: Constants) -> np.ndarray:
    x = _floats(picture)
    return _clipped(x + x * _RANDOM.normal(size=x.shape, scale=constants["sigma"]))


@_loop
def shot_noise(picture: Any, constants: Constants) -> np.ndarray:
    return _clipped(_RANDOM.poisson(_floats(picture) * constants["rate"]) / constants["rate"])


@_loop
def impulse_noise(picture: Any, constants: Constants) -> np.ndarray:
    from skimage.util import random_noise

    return _clipped(random_noise(_floats(picture), mode="s&p", amount=constants["amount"]))


@_loop
def gaussian_blur(picture: Any, constants: Constants) -> np.ndarray:
    from skimage.filters import gaussian

    return _clipped(gaussian(_floats(picture), sigma=constants["sigma"], channel_axis=-1))


@_loop
def pixelate(picture: Any, constants: Constants) -> np.ndarray:
    from PIL.Image import Resampling

    small = [int(side * constants["factor"]) for side in picture.size]
    return np.asarray(picture.resize(small, Resampling.BOX).resize(picture.size, Resampling.BOX))


@_loop
def jpeg_compression(picture: Any, constants: Constants) -> np.ndarray:
    from PIL import Image

    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=int(constants["quality"]))
    return np.asarray(Image.open(stream))


def pairs(quick: bool) -> Iterator[tuple[str, Work, Work]]:
    """What is compared, our degradation of a batch, and the loop over its pictures; the quick ones at 32 px."""
    for name, size, scale, count in CASES:
        if not quick or size == 32:
            what = (
                f"degradations: {name} {_SEVERITY} of {scale}, {size} px, batch {count} / loop over pictures"
            )
            yield what, *_pair(name, size, scale, count)


def _pair(name: str, size: int, scale: str, count: int) -> tuple[Work, Work]:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().float() / 255
    pictures, ids = [Image.fromarray(each) for each in pixels], [f"test/{k}" for k in range(count)]
    constants = parameters(name, _SEVERITY, scale, size)
    return (
        lambda: degrade(images, name, _SEVERITY, scale=scale, image_ids=ids),
        lambda: np.stack([LOOPS[name](picture, constants) for picture in pictures]),
    )
