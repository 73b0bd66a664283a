"""The remedy against low resolution: back to the small picture, and enlarged smoothly."""

import numpy as np
from PIL import Image

from data.remedy_registry import Constants, Known, register

NEARLY_WHOLE = 0.8
"""Told of a larger factor, nothing is done: most pixels are in place then, and an even grid would displace them."""


def _constants(size: int, known: Known | None) -> dict[str, float]:
    """The factor of the small picture's size when told; blind, it is read from the image."""
    return {} if known is None else {"factor": known.constants["factor"]}


@register(
    "lanczos",
    "Lanczos super-sampling",
    "Repeated pixels are made one again and the small picture is enlarged by Lanczos' windowed sinc.",
    told_for=("pixelate",),
    choose=_constants,
)
def lanczos(image: np.ndarray, constants: Constants, known: Known | None) -> np.ndarray:
    """Pillow's ``LANCZOS`` with 3 lobes (Duchon, "Lanczos filtering in one and two dimensions", J. Appl. Meteorology
    18, 1979) on floats. Blind, a row or column equal to the one before is a repetition, so others are left alone."""
    height, width = image.shape[:2]
    if known is None:
        rows, columns = (repetitions(image, axis) for axis in (0, 1))
    else:
        rows, columns = (_sources(side, constants["factor"]) for side in (height, width))
    kept = known is not None and constants["factor"] > NEARLY_WHOLE
    if kept or (len(rows), len(columns)) == (height, width):
        return image
    small = image[rows][:, columns]
    channels = [Image.fromarray(np.ascontiguousarray(small[..., k])) for k in range(3)]
    large = [np.asarray(channel.resize((width, height), Image.Resampling.LANCZOS)) for channel in channels]
    return np.stack(large, axis=-1)


def repetitions(image: np.ndarray, axis: int) -> np.ndarray:
    """Numbers of the rows (axis 0) or columns (1) of (H, W, 3) that are not the same as the one before."""
    others = tuple(other for other in range(3) if other != axis)
    changes = (np.diff(image, axis=axis) != 0).any(axis=others)
    return np.flatnonzero(np.concatenate([[True], changes]))


def _sources(side: int, factor: float) -> np.ndarray:
    """For every pixel of the small picture, one that repeats it: the one at its centre."""
    small = max(1, int(side * factor))
    return ((np.arange(small) + 0.5) * side / small).astype(int)
