"""How far an image is from its clean original: PSNR and SSIM, for display."""

import numpy as np
import torch
from torch import Tensor


def psnr(clean: Tensor, other: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of each image, (N,) float32 on the CPU; infinite where the two are
    equal.

    Both (N, 3, H, W) in [0, 1]; 10 log10(1 / mean squared error) through scikit-image. ValueError when the
    shapes differ.
    """
    from skimage.metrics import peak_signal_noise_ratio

    pairs = _pairs(clean, other)
    return torch.tensor(
        [np.inf if np.array_equal(a, b) else peak_signal_noise_ratio(a, b, data_range=1.0) for a, b in pairs],
        dtype=torch.float32,
    )


def ssim(clean: Tensor, other: Tensor) -> Tensor:
    """Mean structural similarity of each image, (N,) float32 in [-1, 1] on the CPU; 1 where the two are
    equal.

    Both (N, 3, H, W) in [0, 1]; Wang et al. 2004 through scikit-image, mean over channels, with a uniform
    window of :func:`ssim_window` pixels. NaN for images under 3 px, which hold no window. ValueError when
    shapes differ.
    """
    from skimage.metrics import structural_similarity

    pairs = _pairs(clean, other)
    window = ssim_window(*clean.shape[-2:])
    if window < 3:
        return torch.full((len(clean),), torch.nan)
    values = [structural_similarity(a, b, win_size=window, data_range=1.0, channel_axis=0) for a, b in pairs]
    return torch.tensor(values, dtype=torch.float32)


def ssim_window(height: int, width: int) -> int:
    """Side of SSIM's window: 7 px (scikit-image's default), or the largest odd side that fits the image."""
    side = min(7, height, width)
    return side - 1 + side % 2


def _pairs(clean: Tensor, other: Tensor) -> list[tuple[np.ndarray, np.ndarray]]:
    if clean.shape != other.shape or clean.ndim != 4:
        shapes = f"{tuple(clean.shape)} and {tuple(other.shape)}"
        raise ValueError(f"images are {shapes}; allowed are two equal shapes (N, 3, H, W)")
    left, right = clean.detach().cpu().double().numpy(), other.detach().cpu().double().numpy()
    return list(zip(left, right, strict=True))
