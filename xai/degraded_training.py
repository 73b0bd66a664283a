"""Degraded pictures for training: a mixture of degradations at random severities."""

from __future__ import annotations

import torch
from torch import Tensor

from data.corruption_constants import default_scale
from data.degradations import degrade, max_severity

MIXTURE = (
    "gaussian_noise",
    "impulse_noise",
    "speckle_noise",
    "gaussian_blur",
    "defocus_blur",
    "motion_blur",
    "fog",
    "brightness",
    "contrast",
    "saturate",
    "pixelate",
    "jpeg_compression",
)
"""What is mixed. Shot noise, glass blur, zoom blur, snow and elastic transform are left out: they take one to four
milliseconds per picture of 64 px on one core, more than the training itself. They stay unseen in training."""
GROUPS = 4
"""Parts of a batch, each with one degradation and severity: what is done to many pictures at once is faster."""


def degrade_mixture(images: Tensor, generator: torch.Generator) -> Tensor:
    """Degraded copies of images `(N, 3, H, W)` in [0, 1]: each of `GROUPS` parts by one degradation of `MIXTURE`.

    Degradation, severity (even chance from above 0 to the highest of the size's default scale) and one seed per
    image come from the CPU `generator`.
    """
    scale = default_scale(*images.shape[-2:])
    parts = images.tensor_split(min(GROUPS, len(images)))
    return torch.cat([_degrade_part(part, scale, generator) for part in parts])


def _degrade_part(images: Tensor, scale: str, generator: torch.Generator) -> Tensor:
    name = MIXTURE[int(torch.randint(len(MIXTURE), (), generator=generator))]
    severity = (1 - float(torch.rand((), generator=generator))) * max_severity(name, scale)
    seeds = torch.randint(2**62, (len(images),), generator=generator)
    return degrade(images, name, severity, scale=scale, image_ids=[str(seed) for seed in seeds.tolist()])


def facts(size: int) -> dict[str, str]:
    """What a card says about the mixture for pictures of `size` px."""
    return {"degradations": ", ".join(MIXTURE), "degradation_scale": default_scale(size, size)}
