"""Repair images before the network sees them: the papers' remedies against noise, blur, haze and low resolution.

`nlm` is the blind form of a remedy, which knows nothing of the degradation and takes any image; `nlm+told` knows the
degradation, its constants and an image's own angle of motion. In results a name carries its version, `nlm+told.v1`,
so that those of another version are never mixed in. An image's repaired copy is a function of that image, the
degradation and (for its angle of motion) id and seed alone: neither batch nor order nor device enters.
"""

import re
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from data import (  # noqa: F401  (importing registers)
    remedy_contrast,
    remedy_deblurring,
    remedy_denoising,
    remedy_resolution,
)
from data.degradations import motion_blur_angle, resolve_name
from data.degradations import parameters as degradation_parameters
from data.remedy_registry import REMEDIES, Known, Remedy

TOLD = "+told"
CLEAN = "clean"
"""What a degradation is called where there is none."""
MADE_BY = ("scikit-image", "scipy")
"""Packages whose versions matter to repaired pixels, besides NumPy and Pillow."""
NAMES = tuple(name + form for form in ("", TOLD) for name in REMEDIES)
"""Every remedy, first the blind forms, then the told ones."""


def resolve(name: str) -> tuple[Remedy, bool]:
    """The remedy of a name with or without its version, and whether it is the told form.

    ValueError for a name that is not known, or another version than this program's.
    """
    found = re.fullmatch(r"(.+?)(\.v\d+)?", name)
    plain = found.group(1) if found else ""
    if plain not in NAMES:
        raise ValueError(f"remedy {name!r} is unknown; allowed are {', '.join(NAMES)}.")
    entry = REMEDIES[plain.removesuffix(TOLD)]
    if found and found.group(2) not in (None, f".v{entry.version}"):
        raise ValueError(f"remedy {name!r} is of another version; this program has {versioned(plain)}")
    return entry, plain.endswith(TOLD)


def versioned(name: str) -> str:
    """The name as results carry it, such as `nlm+told.v1`; ValueError as :func:`resolve`."""
    entry, told = resolve(name)
    return f"{entry.name}{TOLD if told else ''}.v{entry.version}"


def is_current(name: str) -> bool:
    """Whether a remedy's name as results carry it is of this program's version; the empty name, of none, is."""
    return not name or name in map(versioned, NAMES)


def title(name: str) -> str:
    """A remedy in words, such as "Non-local means (blind)"; ValueError as :func:`resolve`."""
    entry, told = resolve(name)
    return f"{entry.title} ({'told' if told else 'blind'})"


def refusal(name: str, degradation: str) -> str:
    """Why the remedy does not apply to a degradation, in one sentence; empty where it does.

    Blind forms take everything, clean images too. ValueError for a remedy or degradation that is not known.
    """
    entry, told = resolve(name)
    full = CLEAN if degradation == CLEAN else resolve_name(degradation)
    if not told or full in entry.told_for:
        return ""
    return f"remedy {entry.name}{TOLD} does not apply to {full}; allowed are {', '.join(entry.told_for)}"


def parameters(
    name: str, degradation: str, severity: float, scale: str, width: int, height: int = 0
) -> dict[str, float]:
    """The remedy's own constants for images of that size in pixels (square, if no height is given).

    What is estimated from an image, or is each image's own, is not among them. ValueError where it does not apply.
    """
    entry, known = _known(name, degradation, severity, scale, width)
    return entry.choose(max(width, height), known)


@torch.no_grad()
def remedy(
    images: Tensor,
    name: str,
    *,
    degradation: str = CLEAN,
    severity: float = 0.0,
    scale: str = "",
    image_ids: Sequence[str] = (),
    seed: int = 0,
) -> Tensor:
    """Repaired copies of images, (N, 3, H, W) float32 in [0, 1], on the same device.

    Degradation, severity, scale and seed are those the images were degraded with, and matter to told remedies alone;
    so do the ids, one for each image, and those only for motion blur. ValueError for a remedy that is not known or
    does not apply to the degradation, and for images or a number of ids that are not allowed.
    """
    entry, known = _known(name, degradation, severity, scale, images.shape[-1])
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != torch.float32:
        given = f"{tuple(images.shape)} {images.dtype}"
        raise ValueError(f"images are {given}; allowed is (N, 3, H, W) float32")
    knowledge = _each_known(known, len(images), image_ids, severity, seed)
    if not len(images):
        return images.clone()
    constants = entry.choose(max(images.shape[-2:]), known)
    pixels = images.cpu().permute(0, 2, 3, 1).contiguous().numpy()
    repaired = [
        entry.operation(image, constants, each) for image, each in zip(pixels, knowledge, strict=True)
    ]
    stacked = torch.from_numpy(np.stack(repaired).astype(np.float32, copy=False))
    return stacked.permute(0, 3, 1, 2).contiguous().clamp_(0, 1).to(images.device)


def _known(
    name: str, degradation: str, severity: float, scale: str, width: int
) -> tuple[Remedy, Known | None]:
    """The remedy, and what it knows of all images; ValueError where it does not apply."""
    if sentence := refusal(name, degradation):
        raise ValueError(sentence)
    entry, told = resolve(name)
    if not told:
        return entry, None
    full = resolve_name(degradation)
    return entry, Known(full, degradation_parameters(full, severity, scale, width))


def _each_known(
    known: Known | None, count: int, image_ids: Sequence[str], severity: float, seed: int
) -> list[Known | None]:
    """What is known of each image: of motion blur its own angle, too."""
    if known is None or known.degradation != remedy_deblurring.MOTION:
        return [known] * count
    if isinstance(image_ids, str) or len(image_ids) != count:
        raise ValueError(f"{count} images came with image_ids {image_ids!r:.80}; one id per image is needed")
    angles = [motion_blur_angle(image_id, severity, seed=seed) for image_id in image_ids]
    return [Known(known.degradation, known.constants, angle) for angle in angles]
