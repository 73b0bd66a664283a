"""How far an image is from its clean original: PSNR and SSIM, for display.

Written out in torch because the page shows them live, and importing them from scikit-image takes as long as a
second of other work; the tests hold them to scikit-image's numbers.
"""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

_C1, _C2 = 0.01**2, 0.03**2


def psnr(clean: Tensor, other: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of each image, (N,) float32 on the CPU; infinite where the two are
    equal.

    Both (N, 3, H, W) in [0, 1]; 10 log10(1 / mean squared error). ValueError when the shapes differ.
    """
    left, right = _pair(clean, other)
    return (-10 * (left - right).square().flatten(1).mean(dim=1).log10()).float()


def ssim(clean: Tensor, other: Tensor) -> Tensor:
    """Mean structural similarity of each image, (N,) float32 in [-1, 1] on the CPU; 1 where the two are
    equal.

    Both (N, 3, H, W) in [0, 1]; Wang et al. 2004 with unbiased variances, mean over channels and over the windows
    of :func:`ssim_window` pixels that lie inside the image. NaN for images under 3 px, which hold no window.
    ValueError when shapes differ.
    """
    x, y = _pair(clean, other)
    window = ssim_window(*clean.shape[-2:])
    if window < 3:
        return torch.full((len(clean),), torch.nan)
    unbias = window**2 / (window**2 - 1)
    mean_x, mean_y, xx, yy, xy = (avg_pool2d(field, window, 1) for field in (x, y, x * x, y * y, x * y))
    var_x, var_y = unbias * (xx - mean_x**2), unbias * (yy - mean_y**2)
    covariance = unbias * (xy - mean_x * mean_y)
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    structure = (2 * covariance + _C2) / (var_x + var_y + _C2)
    return (luminance * structure).flatten(1).mean(dim=1).float()


def ssim_window(height: int, width: int) -> int:
    """Side of SSIM's window: 7 px (scikit-image's default), or the largest odd side that fits the image."""
    side = min(7, height, width)
    return side - 1 + side % 2


def _pair(clean: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    if clean.shape != other.shape or clean.ndim != 4:
        shapes = f"{tuple(clean.shape)} and {tuple(other.shape)}"
        raise ValueError(f"images are {shapes}; allowed are two equal shapes (N, 3, H, W)")
    return clean.detach().cpu().double(), other.detach().cpu().double()
