"""The remedy against blur: Wiener's filter with the kernel of the blur, or with a usual one when nothing is known.

Balances were chosen by PSNR on training pictures (see `data.remedy_denoising`) that were blurred and rounded to bytes,
as a file of them would be: with floats a smaller one would restore more than any camera's picture allows.
"""

import numpy as np

from data.degradation_blur import disk_kernel, line_weights, trail_weights
from data.degradation_filters import Offset, gaussian_taps
from data.remedy_denoising import SMALL
from data.remedy_registry import Constants, Known, register

MOTION = "motion_blur"
BALANCE = 1e-3
LINE_BALANCE = {True: 3e-3, False: 3e-2}
"""For motion along an even line, which has frequencies that are lost wholly; by whether the image is small."""
BLIND_SIGMA = {True: 0.7, False: 1.0}
BLIND_BALANCE = 3e-2
"""The usual kernel's width in pixels, by whether the image is small, and the balance: wider costs clean images more."""
LEAST_SIDE = 3
"""Smaller images have no room for the prior's Laplacian, and are left alone."""


def _constants(size: int, known: Known | None) -> dict[str, float]:
    """The weight of smoothness against sharpness, and when blind the width of the Gaussian in pixels."""
    if known is None:
        return {"sigma": BLIND_SIGMA[size <= SMALL], "balance": BLIND_BALANCE}
    even_line = known.degradation == MOTION and "length" in known.constants
    return {"balance": LINE_BALANCE[size <= SMALL] if even_line else BALANCE}


def blur_kernel(known: Known) -> np.ndarray:
    """What the blur makes of one bright pixel: float64, square, of odd side, centred on that pixel."""
    values = known.constants
    if known.degradation == MOTION:
        if "length" in values:
            return _dense(line_weights(values["length"], known.angle))
        return _dense(trail_weights(values["radius"], values["sigma"], known.angle))
    if known.degradation == "defocus_blur":
        return disk_kernel(values["radius"], values["alias_sigma"]).astype(np.float64)
    radius = int(values["kernel"]) // 2 if "kernel" in values else int(4 * values["sigma"] + 0.5)
    return _gaussian(values["sigma"], radius)


def _gaussian(sigma: float, radius: int) -> np.ndarray:
    half = gaussian_taps(sigma, radius)
    return np.outer([*half[:0:-1], *half], [*half[:0:-1], *half])


def _dense(weights: dict[Offset, float]) -> np.ndarray:
    """The kernel whose pixels take their values from the offsets: it spreads the other way."""
    reach = max(abs(step) for offset in weights for step in offset)
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    for (dy, dx), weight in weights.items():
        kernel[reach - dy, reach - dx] += weight
    return kernel


@register(
    "wiener",
    "Wiener deblurring",
    "The blur is divided out where it left enough, and smoothness is preferred elsewhere; the kernel is known or a "
    "small Gaussian.",
    told_for=("gaussian_blur", "defocus_blur", MOTION),
    choose=_constants,
)
def wiener(image: np.ndarray, constants: Constants, known: Known | None) -> np.ndarray:
    """scikit-image's ``wiener`` (Orieux, Giovannelli & Rodet, JOSA A 27, 2010: Laplacian prior) on each channel.

    It takes images for periodic. A blur that is the same mirrored leaves mirrored images periodic; for motion the
    border is widened and tapered (Reeves, "Fast image restoration without boundary artifacts", IEEE TIP 14, 2005).
    """
    kernel = blur_kernel(known) if known else _gaussian(constants["sigma"], int(4 * constants["sigma"] + 0.5))
    if np.count_nonzero(kernel) == 1 or min(image.shape[:2]) < LEAST_SIDE:
        return image
    height, width = image.shape[:2]
    one_way = known is not None and known.degradation == MOTION
    widened, (top, left) = _tapered(image, kernel) if one_way else _mirrored(image)
    sharp = _divided(widened, kernel, constants["balance"])
    return sharp[top : top + height, left : left + width].astype(np.float32)


def _divided(image: np.ndarray, kernel: np.ndarray, balance: float) -> np.ndarray:
    from skimage.restoration import wiener as restore

    spread = periodic_kernel(kernel, image.shape[:2])
    channels = [restore(image[..., k], spread, balance, clip=False) for k in range(3)]
    return np.stack(channels, axis=-1)


def periodic_kernel(kernel: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The kernel on a periodic grid of that shape, its centre at the middle (half the side, rounded down)."""
    grid, steps = np.zeros(shape), np.arange(len(kernel)) - len(kernel) // 2
    rows, columns = ((steps + side // 2) % side for side in shape)
    np.add.at(grid, (rows[:, None], columns[None, :]), kernel)
    return grid


def _mirrored(image: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """The image and its mirror image, which together are periodic without a step, and where the image starts."""
    rows, columns = (max(side - 2, 0) for side in image.shape[:2])
    return np.pad(image.astype(np.float64), ((0, rows), (0, columns), (0, 0)), mode="reflect"), (0, 0)


def _tapered(image: np.ndarray, kernel: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """The image with a mirrored margin as wide as the kernel reaches, blurred around the edge, and where it starts.

    Twice, the weight of the blurred copy being the kernel's autocorrelation along each axis (MATLAB's ``edgetaper``).
    """
    rows, columns = (min(len(kernel) // 2, side - 1) for side in image.shape[:2])
    wide = np.pad(image.astype(np.float64), ((rows, rows), (columns, columns), (0, 0)), mode="reflect")
    shape = wide.shape[:2]
    spread = periodic_kernel(kernel, shape)
    inside = np.outer(_fading(spread.sum(axis=1)), _fading(spread.sum(axis=0)))[..., None]
    response = np.fft.rfft2(np.fft.ifftshift(spread))[..., None]
    for _ in range(2):
        blurred = np.fft.irfft2(response * np.fft.rfft2(wide, axes=(0, 1)), s=shape, axes=(0, 1))
        wide = inside * wide + (1 - inside) * blurred
    return wide, (rows, columns)


def _fading(profile: np.ndarray) -> np.ndarray:
    """1 less the normalised autocorrelation of a periodic profile: 0 at both ends of (size,), 1 inside."""
    correlation = np.fft.irfft(np.abs(np.fft.rfft(profile)) ** 2, len(profile))
    return 1 - correlation / correlation.max()
