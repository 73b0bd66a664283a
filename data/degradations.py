"""Degrade image quality on purpose: noise, blur, weather, colour, geometry, compression.

Random degradations draw from one CPU generator per image, seeded by (seed, image id, degradation, severity),
so a picture's degraded copy does not depend on batch size, order, process or device; `drawn_at` names another
severity to be seeded by. Constants come from ``data.corruption_constants``; a missing constant or a name that is
not known raises ValueError.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from data import degradation_blur, degradation_noise, degradation_scene  # noqa: F401  (importing registers)
from data.corruption_constants import MISSING, PAPER_LEVELS, SCALE_ALIASES, SCALES, constants, default_scale
from data.degradation_registry import DEGRADATIONS, Degradation, image_generator, register
from data.degradation_seeds import image_generators

__all__ = [
    "DEGRADATIONS",
    "MISSING",
    "SCALES",
    "SCALE_ALIASES",
    "Degradation",
    "default_scale",
    "degradations_in",
    "degrade",
    "describe",
    "image_generator",
    "max_severity",
    "motion_blur_angle",
    "parameters",
    "register",
    "resolve_name",
    "resolve_scale",
    "severity_levels",
]


def resolve_name(name: str) -> str:
    """The degradation's own name for a name or alias; ValueError for any other."""
    for entry in DEGRADATIONS.values():
        if name in (entry.name, *entry.aliases):
            return entry.name
    raise ValueError(f"degradation {name!r} is unknown; allowed are {', '.join(DEGRADATIONS)}")


def resolve_scale(scale: str) -> str:
    """The scale's full name for a name or alias; ValueError for any other."""
    full = SCALE_ALIASES.get(scale, scale)
    if full not in SCALES:
        raise ValueError(f"scale {scale!r} is unknown; allowed are {', '.join((*SCALES, *SCALE_ALIASES))}")
    return full


def degradations_in(scale: str) -> tuple[str, ...]:
    """Names of the degradations that the scale has, in registry order."""
    full = resolve_scale(scale)
    return tuple(entry.name for entry in DEGRADATIONS.values() if full in entry.scales)


def severity_levels(name: str, scale: str) -> tuple[str, ...]:
    """Labels of the severities 1, 2, ...: low, medium and high on the paper scales, else "1" to "5"."""
    _, full = _resolve(name, scale)
    return PAPER_LEVELS if full.startswith("paper") else ("1", "2", "3", "4", "5")


def max_severity(name: str, scale: str) -> int:
    """The highest severity: 3 on the paper scales, 5 on the others."""
    return len(severity_levels(name, scale))


def parameters(name: str, severity: float, scale: str, width: int) -> dict[str, float]:
    """The constants in force for images of that width, e.g. ``{"sigma": 0.1}``; lengths are in pixels.

    At severity 0 they are the values that do nothing. ValueError as for :func:`degrade`.
    """
    name, scale = _resolve(name, scale)
    return constants(name, _checked_severity(name, severity, scale), scale, width)


def describe(name: str, severity: float, scale: str, width: int) -> str:
    """One line for figures, e.g. "Gaussian noise, sigma 0.10 (CIFAR-10-C severity 5)"."""
    values = parameters(name, severity, scale, width)
    name, scale = _resolve(name, scale)
    comma = "," if scale.startswith("paper") else ""
    source = f"{SCALES[scale]}{comma} severity {_level(severity, severity_levels(name, scale))}"
    if severity == 0:
        return f"{DEGRADATIONS[name].title}, none ({source})"
    listed = ", ".join(f"{field.replace('_', ' ')} {_number(value)}" for field, value in values.items())
    return f"{DEGRADATIONS[name].title}, {listed} ({source})"


def motion_blur_angle(image_id: str, severity: float, *, seed: int = 0) -> float:
    """The angle in degrees in [-45, 45) of that image's motion blur; 0 is horizontal, positive clockwise."""
    generator = image_generator(seed, image_id, "motion_blur", severity)
    return degradation_blur.draw_angle(generator, *degradation_blur.MOTION_ANGLES)


@torch.no_grad()
def degrade(
    images: Tensor,
    name: str,
    severity: float,
    *,
    scale: str,
    image_ids: Sequence[str],
    seed: int = 0,
    drawn_at: float | None = None,
) -> Tensor:
    """Degraded copies of images, (N, 3, H, W) float32 in [0, 1], on the same device.

    Severity 0 gives equal values; whole severities use the scale's constants exactly, others what lies
    between them. One image id per image seeds its random numbers. Results are floats, not rounded to bytes
    (but for JPEG, which is made of bytes). ``drawn_at`` is the severity whose random numbers are used (None:
    ``severity`` itself); held fixed, one draw of noise or one angle grows with the severity instead of being
    drawn anew at each. ValueError for a name, scale, severity, shape, type, range or number of ids that is not
    allowed.
    """
    name, scale = _resolve(name, scale)
    severity = _checked_severity(name, severity, scale)
    drawn_at = severity if drawn_at is None else _checked_severity(name, drawn_at, scale)
    _check_images(images, image_ids)
    if severity == 0 or len(images) == 0:
        return images.clone()
    entry = DEGRADATIONS[name]
    generators = image_generators(seed, image_ids, name, drawn_at) if entry.random else []
    values = constants(name, severity, scale, images.shape[-1])
    return entry.operation(images.detach(), values, generators).clamp_(0, 1)


def _resolve(name: str, scale: str) -> tuple[str, str]:
    name, scale = resolve_name(name), resolve_scale(scale)
    allowed = DEGRADATIONS[name].scales
    if scale not in allowed:
        raise ValueError(f"{name} has no constants on scale {scale!r}; allowed are {', '.join(allowed)}")
    return name, scale


def _checked_severity(name: str, severity: float, scale: str) -> float:
    highest = max_severity(name, scale)
    if not 0 <= severity <= highest:
        raise ValueError(
            f"severity {severity} is out of range; {name} on scale {scale!r} takes 0 to {highest}"
        )
    return float(severity)


def _check_images(images: Tensor, image_ids: Sequence[str]) -> None:
    if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape[2:] or images.dtype != torch.float32:
        given = f"{tuple(images.shape)} {images.dtype}"
        raise ValueError(f"images are {given}; allowed is (N, 3, H, W) float32 with at least one pixel")
    if isinstance(image_ids, str) or len(image_ids) != len(images):
        raise ValueError(
            f"{len(images)} images came with image_ids {image_ids!r:.80}; one id per image is needed"
        )
    if images.numel():
        low, high = (float(bound) for bound in images.aminmax())
        if not (low >= 0 and high <= 1):
            raise ValueError(f"image values span {low:.3g} to {high:.3g}; allowed is 0 to 1")


def _level(severity: float, levels: tuple[str, ...]) -> str:
    if severity != int(severity):
        return f"{severity:.3g} of {len(levels)}"
    return levels[int(severity) - 1] if severity else "0"


def _number(value: float) -> str:
    if value == int(value) and not math.isinf(value):
        return str(int(value))
    return f"{value:.2f}" if math.isclose(value, round(value, 2)) else f"{value:.3g}"
