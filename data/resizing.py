"""Ways to bring a picture to a square of another size: cropped, padded or squashed, each with words that say so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from data.images import to_float


@dataclass(frozen=True)
class ResizeMode:
    """A way to bring a picture to a square: `apply(images, size)`, and its words for `describe_resize`."""

    apply: Callable[[Tensor, int], Tensor]
    words: str


RESIZE_MODES: dict[str, ResizeMode] = {}
DEFAULT_RESIZE_MODE = "crop"
PAD_VALUE = 0.5


def register_resize(name: str, words: str) -> Callable[[Callable[[Tensor, int], Tensor]], Callable]:
    """Add a function (images, size) -> (N, 3, size, size) to RESIZE_MODES; raises on a name already taken."""

    def register(function: Callable[[Tensor, int], Tensor]) -> Callable:
        if name in RESIZE_MODES:
            raise ValueError(f"The resize mode {name} is already registered.")
        RESIZE_MODES[name] = ResizeMode(function, words)
        return function

    return register


def _interpolate(images: Tensor, height: int, width: int) -> Tensor:
    if images.shape[-2:] == (height, width):
        return images
    resized = F.interpolate(images, (height, width), mode="bilinear", align_corners=False, antialias=True)
    return resized.clamp_(0, 1)  # weights sum to 1 only within rounding


def centre_square(images: Tensor) -> Tensor:
    """The middle of images or masks `(..., H, W)`, `(..., S, S)` with S the shorter side; a view of them."""
    side = min(images.shape[-2:])
    top, left = ((length - side) // 2 for length in images.shape[-2:])
    return images[..., top : top + side, left : left + side]


@register_resize("crop", "aspect kept, shorter side to {size}, centre crop")
def _crop(images: Tensor, size: int) -> Tensor:
    # Cropped before scaling: the same picture, and a 2x60000 strip never becomes a gigantic one on the way.
    return _interpolate(centre_square(images), size, size)


@register_resize("pad", "aspect kept, longer side to {size}, the rest filled with mid-grey")
def _pad(images: Tensor, size: int) -> Tensor:
    height, width = images.shape[-2:]
    scale = size / max(height, width)
    inner_height, inner_width = max(1, round(height * scale)), max(1, round(width * scale))
    top, left = (size - inner_height) // 2, (size - inner_width) // 2
    padding = (left, size - inner_width - left, top, size - inner_height - top)
    return F.pad(_interpolate(images, inner_height, inner_width), padding, value=PAD_VALUE)


@register_resize("squash", "aspect ignored, both sides to {size}")
def _squash(images: Tensor, size: int) -> Tensor:
    return _interpolate(images, size, size)


def resize(images: Tensor, size: int, mode: str = DEFAULT_RESIZE_MODE) -> Tensor:
    """float32 (N, 3, H, W) in [0, 1] to (N, 3, size, size), bilinear and antialiased.

    Images that already have that size are returned as they are. `mode` is a key of RESIZE_MODES.
    """
    chosen = _resize_mode(size, mode)
    if images.shape[-2:] == (size, size):
        return images
    return chosen.apply(images, size)


def resize_pixels(pixels: Tensor, size: int, mode: str = DEFAULT_RESIZE_MODE) -> Tensor:
    """uint8 (3, H, W) to float32 (1, 3, size, size): `resize(to_float(...))` with a third of the memory."""
    channels = [resize(to_float(channel[None, None]), size, mode) for channel in pixels]
    return torch.cat(channels, dim=1)


def describe_resize(height: int, width: int, size: int, mode: str = DEFAULT_RESIZE_MODE) -> str:
    """What `resize` does to a picture of that height and width, for the page (sizes as width x height)."""
    chosen = _resize_mode(size, mode)
    if (height, width) == (size, size):
        return f"{width}x{height}: already the network's size, used as it is"
    return f"{width}x{height} -> {size}x{size}: {chosen.words.format(size=size)} (bilinear, antialiased)"


def _resize_mode(size: int, mode: str) -> ResizeMode:
    if size < 1:
        raise ValueError(f"The size to resize to is at least 1 pixel, not {size}.")
    if mode not in RESIZE_MODES:
        raise ValueError(f"The resize mode is one of {', '.join(RESIZE_MODES)}, not {mode}.")
    return RESIZE_MODES[mode]
