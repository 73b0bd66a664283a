"""Pictures as spectra of decorrelated colours, and penalties on them.

The parameterisation of Olah et al., Feature Visualization, Distill 2017: the numbers that are optimised are Fourier
coefficients, scaled by 1/f, of colours whose covariance is that of natural images.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_SMALLEST = 1e-8  # keeps the slope of a square root finite
_MAGIC = 4.0  # Lucid's divisor, which keeps the sigmoid from saturating


@dataclass(frozen=True)
class Canvas:
    """What turns spectra into pictures of `size` px: the scale of each frequency `(S, S // 2 + 1)`, the basis of
    colours `(3, 3)` with directions as columns, and the colour `(3,)` before the sigmoid where a spectrum is zero."""

    size: int
    scale: Tensor
    basis: Tensor
    centre: Tensor

    def picture(self, spectra: Tensor) -> Tensor:
        """Pictures `(B, 3, S, S)` in (0, 1) of spectra `(B, 3, S, S // 2 + 1, 2)`."""
        waves = torch.view_as_complex(spectra) * self.scale
        planes = torch.fft.irfft2(waves, s=(self.size, self.size), norm="ortho").flatten(2)
        colours = torch.baddbmm(self.centre[:, None], self.basis.expand(len(planes), 3, 3), planes)
        return colours.view(-1, 3, self.size, self.size).sigmoid()


def frequencies(size: int) -> Tensor:
    """Length of each spatial frequency of a real picture in cycles per px, `(S, S // 2 + 1)`, from 0 to 0.71."""
    return torch.hypot(torch.fft.fftfreq(size)[:, None], torch.fft.rfftfreq(size)[None])


def make_canvas(size: int, decay: float, basis: Tensor, mean: Tensor, device: torch.device) -> Canvas:
    """A canvas whose frequencies are scaled by `1 / f^decay`, whose zero spectrum has the colour `mean` `(3,)`."""
    scale = frequencies(size).clamp_min(1 / size) ** -decay / _MAGIC
    return Canvas(size, scale.to(device), basis.to(device), mean.logit().to(device))


def first_spectrum(size: int, contrast: float, generator: torch.Generator) -> Tensor:
    """Noise `(3, S, S // 2 + 1, 2)` of standard deviation `contrast` to start from, made on the CPU."""
    return torch.randn(3, size, size // 2 + 1, 2, generator=generator) * contrast


def total_variation(images: Tensor) -> Tensor:
    """Mean absolute step between neighbours, `(B,)`: across plus down (anisotropic; Mahendran & Vedaldi 2015)."""
    across = (images[..., 1:] - images[..., :-1]).abs().mean((1, 2, 3))
    down = (images[..., 1:, :] - images[..., :-1, :]).abs().mean((1, 2, 3))
    return across + down


def high_frequency(images: Tensor) -> Tensor:
    """Size of the fine detail, `(B,)` from 0 to 0.5: root mean square of a picture each of whose frequencies is
    multiplied by its share of the highest one."""
    size = images.shape[-1]
    weight = (frequencies(size) / 0.5**0.5).square().to(images.device)
    weight[:, 1 : (size + 1) // 2] *= 2  # the half of the spectrum that a real picture's transform leaves out
    power = torch.view_as_real(torch.fft.rfft2(images, norm="ortho")).square().sum(-1)
    energy = (power * weight).sum((1, 2, 3)) / (3 * size * size)
    return (energy + _SMALLEST).sqrt()
