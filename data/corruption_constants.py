"""The one table of every degradation's constants, and how severities between its levels are filled in.

Sources: Hendrycks & Dietterich, "Benchmarking neural network robustness to common corruptions and
perturbations", ICLR 2019 (arXiv 1903.12261), constants of the authors' generators ``make_imagenet_c.py`` (224
px) and ``make_cifar_c.py`` (32 px); the paper scale is the low/medium/high grid of the comparison of AlexNet
with ResNet-50 on low-quality images. Lengths are pixels and stand as the source gives them, whatever the
image's size; only ``paper-relative`` scales them with the image's width.
"""

import math
from collections.abc import Mapping

SCALES: dict[str, str] = {
    "paper-relative": "paper grid, relative lengths",
    "paper-literal": "paper grid, literal lengths",
    "cifar-c": "CIFAR-10-C",
    "imagenet-c": "ImageNet-C",
}
SCALE_ALIASES: dict[str, str] = {"paper": "paper-relative"}
PAPER_LEVELS = ("low", "medium", "high")
PAPER_WIDTH = 224
MISSING = ("frost", "spatter")  # both generators know them; neither is implemented here

Levels = tuple[tuple[float, ...], ...]
# Each degradation's constants in table order, with the value at which they do nothing. None: the constant
# only shapes an effect that another constant switches off, so below level 1 it stays what it is at level 1.
Fields = Mapping[str, float | None]

FIELDS: dict[str, Fields] = {
    "gaussian_noise": {"sigma": 0.0},
    "shot_noise": {"rate": math.inf},
    "impulse_noise": {"amount": 0.0},
    "speckle_noise": {"sigma": 0.0},
    "gaussian_blur": {"sigma": 0.0},
    "defocus_blur": {"radius": 0.0, "alias_sigma": 0.0},
    "glass_blur": {"sigma": 0.0, "max_delta": None, "iterations": 0.0},
    "motion_blur": {"radius": 0.0, "sigma": 0.0},
    "zoom_blur": {"end": 1.0, "step": None},
    "snow": {
        "mean": 0.0,
        "deviation": 0.0,
        "zoom": None,
        "threshold": None,
        "radius": None,
        "sigma": None,
        "mix": 1.0,
    },
    "fog": {"amplitude": 0.0, "decay": None},
    "brightness": {"shift": 0.0},
    "contrast": {"factor": 1.0},
    "saturate": {"factor": 1.0, "shift": 0.0},
    "elastic_transform": {"alpha": 0.0, "sigma": None, "affine": 0.0},
    "pixelate": {"factor": 1.0},
    "jpeg_compression": {"quality": 100.0},
}
PAPER_FIELDS: dict[str, Fields] = {
    "gaussian_noise": {"sigma": 0.0},
    "gaussian_blur": {"kernel": 1.0, "sigma": 0.0},
    "motion_blur": {"length": 1.0},
    "jpeg_compression": {"quality": 100.0},
}
WHOLE = ("max_delta", "iterations", "quality")  # rounded half up between levels
ODD_LEVELS = ("kernel", "length")  # at each level the smallest odd number that is not below

PAPER: dict[str, Levels] = {
    "gaussian_noise": ((0.1,), (0.3,), (0.5,)),
    "gaussian_blur": ((3, 1), (9, 3), (15, 5)),
    "motion_blur": ((5,), (15,), (25,)),
    "jpeg_compression": ((70,), (40,), (10,)),
}
PAPER_LENGTHS = {"gaussian_blur": ("kernel", "sigma"), "motion_blur": ("length",)}
# The paper names these without constants: low/medium/high are severities 1, 3 and 5 of the table for that
# width.
PAPER_BORROWED = ("impulse_noise", "speckle_noise", "brightness", "contrast", "pixelate")
PAPER_BORROWED_SEVERITIES = (1, 3, 5)

IMAGENET_C: dict[str, Levels] = {
    "gaussian_noise": ((0.08,), (0.12,), (0.18,), (0.26,), (0.38,)),
    "shot_noise": ((60,), (25,), (12,), (5,), (3,)),
    "impulse_noise": ((0.03,), (0.06,), (0.09,), (0.17,), (0.27,)),
    "speckle_noise": ((0.15,), (0.2,), (0.35,), (0.45,), (0.6,)),
    "gaussian_blur": ((1,), (2,), (3,), (4,), (6,)),
    "defocus_blur": ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    "glass_blur": ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    "motion_blur": ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    "zoom_blur": ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    "snow": (
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    ),
    "fog": ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    "brightness": ((0.1,), (0.2,), (0.3,), (0.4,), (0.5,)),
    "contrast": ((0.4,), (0.3,), (0.2,), (0.1,), (0.05,)),
    "saturate": ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
    # 244 is the generator's own number (its authors note that 224 was meant).
    "elastic_transform": (
        (244 * 2, 244 * 0.7, 244 * 0.1),
        (244 * 2, 244 * 0.08, 244 * 0.2),
        (244 * 0.05, 244 * 0.01, 244 * 0.02),
        (244 * 0.07, 244 * 0.01, 244 * 0.02),
        (244 * 0.12, 244 * 0.01, 244 * 0.02),
    ),
    "pixelate": ((0.6,), (0.5,), (0.4,), (0.3,), (0.25,)),
    "jpeg_compression": ((25,), (18,), (15,), (10,), (7,)),
}

CIFAR_C: dict[str, Levels] = {
    "gaussian_noise": ((0.04,), (0.06,), (0.08,), (0.09,), (0.10,)),
    "shot_noise": ((500,), (250,), (100,), (75,), (50,)),
    "impulse_noise": ((0.01,), (0.02,), (0.03,), (0.05,), (0.07,)),
    "speckle_noise": ((0.06,), (0.1,), (0.12,), (0.16,), (0.2,)),
    "gaussian_blur": ((0.4,), (0.6,), (0.7,), (0.8,), (1,)),
    "defocus_blur": ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
    "glass_blur": ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    "motion_blur": ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
    "zoom_blur": ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
    "snow": (
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ),
    "fog": ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
    "brightness": ((0.05,), (0.1,), (0.15,), (0.2,), (0.3,)),
    "contrast": ((0.75,), (0.5,), (0.4,), (0.3,), (0.15,)),
    "saturate": ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
    "elastic_transform": (
        (32 * 0, 32 * 0, 32 * 0.08),
        (32 * 0.05, 32 * 0.2, 32 * 0.07),
        (32 * 0.08, 32 * 0.06, 32 * 0.06),
        (32 * 0.1, 32 * 0.04, 32 * 0.05),
        (32 * 0.1, 32 * 0.03, 32 * 0.03),
    ),
    "pixelate": ((0.95,), (0.9,), (0.85,), (0.75,), (0.65,)),
    "jpeg_compression": ((80,), (65,), (58,), (50,), (40,)),
}


TABLES: dict[str, dict[str, Levels]] = {"cifar-c": CIFAR_C, "imagenet-c": IMAGENET_C}


def default_scale(height: int, width: int) -> str:
    """The scale whose constants fit an image of that size in pixels.

    ``cifar-c`` (made for 32 px) when the longer side is at most 64 px, ``imagenet-c`` (made for 224 px)
    above.
    """
    return "cifar-c" if max(height, width) <= 64 else "imagenet-c"


def names_in_scale(scale: str) -> tuple[str, ...]:
    """Names of the degradations that have constants in the (full) scale name."""
    return (*PAPER, *PAPER_BORROWED) if scale.startswith("paper") else tuple(FIELDS)


def constants(name: str, severity: float, scale: str, width: int) -> dict[str, float]:
    """Constants of one degradation at a severity in [0, number of levels], by their field names.

    Whole severities give the table's numbers; between two levels each constant is interpolated linearly, below
    level 1 from the value that does nothing (an infinite rate falls as 1/severity: its reciprocal is linear).
    Iterations, offsets and JPEG quality are rounded half up, kernel sizes up to the next odd number. ``width``
    is the image's, in pixels; it matters to ``paper-relative`` and to what the paper scales borrow.
    """
    fields, levels = _table(name, scale, width)
    values = _interpolate(fields, levels, severity)
    return {field: _discrete(field, value) for field, value in values.items()}


def _table(name: str, scale: str, width: int) -> tuple[Fields, Levels]:
    if scale.startswith("paper") and name in PAPER:
        ratio = width / PAPER_WIDTH if scale == "paper-relative" else 1.0
        return PAPER_FIELDS[name], tuple(_scaled(name, level, ratio) for level in PAPER[name])
    if scale.startswith("paper"):
        levels = TABLES[default_scale(width, width)][name]
        return FIELDS[name], tuple(levels[severity - 1] for severity in PAPER_BORROWED_SEVERITIES)
    return FIELDS[name], TABLES[scale][name]


def _scaled(name: str, level: tuple[float, ...], ratio: float) -> tuple[float, ...]:
    values = dict(zip(PAPER_FIELDS[name], level, strict=True))
    for field in PAPER_LENGTHS.get(name, ()):
        length = values[field] * ratio
        values[field] = _odd(length) if field in ODD_LEVELS else length
    return tuple(values.values())


def _interpolate(fields: Fields, levels: Levels, severity: float) -> dict[str, float]:
    nothing = tuple(
        first if idle is None else idle for idle, first in zip(fields.values(), levels[0], strict=True)
    )
    steps = (nothing, *levels)
    below = min(int(severity), len(levels) - 1)
    weight = severity - below
    return {
        field: _between(lower, upper, weight)
        for field, lower, upper in zip(fields, steps[below], steps[below + 1], strict=True)
    }


def _between(lower: float, upper: float, weight: float) -> float:
    if weight in (0, 1):  # exactly the table's number, free of rounding
        return upper if weight else lower
    return upper / weight if math.isinf(lower) else lower + weight * (upper - lower)


def _discrete(field: str, value: float) -> float:
    if field in WHOLE:
        return math.floor(value + 0.5)
    return _odd(value) if field == "kernel" else value


def _odd(value: float) -> float:
    """The smallest odd number not below; a hair of slack keeps rounding from making 17 of 15 * 448 / 448."""
    return max(1, 2 * math.ceil((value - 1) / 2 - 1e-9) + 1)
