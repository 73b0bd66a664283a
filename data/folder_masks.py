"""Masks beside pictures: where the object is, for scores that say whether a heatmap lands on it.

For `IMAGE.jpg` the mask is `IMAGE_mask.png` or `IMAGE.mask.png` in the same folder, or the same path with `.png` below
a top-level folder `masks`. Values other than zero are the object; a transparent pixel is none. As soon as one
file so named has its picture, all files so named are masks, and never pictures or classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from data.images import ImageError, display_name, read_image
from data.resizing import centre_square

TOP = "masks"
"""The folder that mirrors the others."""
_ENDINGS = ("_mask", ".mask")
_SUFFIX = ".png"


class Paired(NamedTuple):
    """Files told apart: pictures, pairs (path of a picture, path of its mask), and masks that are of no use."""

    pictures: tuple[PurePosixPath, ...]
    masks: tuple[tuple[str, str], ...]
    unused: tuple[PurePosixPath, ...]


def pair(paths: Sequence[PurePosixPath]) -> Paired:
    """Which of the files, given by their paths from the root, are masks, and of what."""
    stems = {path.with_suffix("") for path in paths}
    masks: dict[PurePosixPath, PurePosixPath] = {}  # to the picture's path without its ending
    for targets in ({path: _mirrored(path) for path in paths}, {path: _beside(path) for path in paths}):
        named = {path: target for path, target in targets.items() if target is not None}
        if any(target in stems for target in named.values()):
            masks |= named
    pictures = tuple(path for path in paths if path not in masks)
    # What lies beside the picture comes last, and so counts where there are both.
    usable = {target: path for path, target in masks.items() if path.suffix.lower() == _SUFFIX}
    pairs = [(path, usable[path.with_suffix("")]) for path in pictures if path.with_suffix("") in usable]
    used = {mask for _picture, mask in pairs}
    unused = tuple(path for path in paths if path in masks and path not in used)
    return Paired(pictures, tuple((str(path), str(mask)) for path, mask in pairs), unused)


def _mirrored(path: PurePosixPath) -> PurePosixPath | None:
    parts = path.parts
    return PurePosixPath(*parts[1:]).with_suffix("") if parts[0] == TOP and len(parts) > 2 else None


def _beside(path: PurePosixPath) -> PurePosixPath | None:
    for ending in _ENDINGS:
        stem = path.stem.removesuffix(ending)
        if path.suffix.lower() == _SUFFIX and stem and stem != path.stem:
            return path.with_name(stem)
    return None


def unused(path: PurePosixPath) -> str:
    """Why a mask is of no use, as the rest of a sentence that begins with its name."""
    return "is a mask without its picture" if path.suffix.lower() == _SUFFIX else "is a mask, but no PNG file"


def read_mask(path: Path, picture: tuple[int, int], size: int) -> Tensor:
    """The mask of a picture of `(width, height)` px as bool `(size, size)`, cropped as the picture is.

    Raises `ImageError` when it is no PNG file of 1 or 8 bits of that size, `OSError` when it can't be opened.
    """
    image = read_image(path.read_bytes(), path.name, background=(0, 0, 0))
    shown = display_name(path.name)
    if image.format != "PNG" or image.mode.startswith("I"):  # 16 bits: small values would be lost
        raise ImageError(f"{shown} is a mask, but no PNG file of 1 or 8 bits.")
    if (image.width, image.height) != picture:
        given, allowed = f"{image.width}x{image.height}", "x".join(map(str, picture))
        raise ImageError(f"{shown} is a mask of {given} pixels for a picture of {allowed}.")
    middle = centre_square(image.pixels.any(dim=0))
    # As `data.resizing.resize` by "crop", but each pixel is that of the nearest place and stays true or false.
    return F.interpolate(middle[None, None].float(), (size, size), mode="nearest-exact")[0, 0] > 0
