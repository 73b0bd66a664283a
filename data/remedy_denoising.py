"""Remedies against noise: non-local means and the median.

Constants are by the image's longer side. They were chosen by PSNR on pictures that no test uses: of cifar10-jpeg's
training split (32 px), of cue10's (64 px), and four photographs that come with scikit-image (224 px).
"""

import math

import numpy as np

from data.remedy_registry import Constants, Known, register

NOISES = ("gaussian_noise", "shot_noise", "speckle_noise")
IMPULSE = "impulse_noise"
SMALL = 64
"""Up to this many pixels an image is small: patches are, and medians cost more than weak noise does."""
MEDIAN_WINDOWS = {True: ((0.075, 1), (0.2, 3), (0.3, 5)), False: ((0.02, 1), (0.07, 3), (0.2, 5))}
"""For small images and others: up to which noise level (standard deviation) which window is best; above, 7 px."""
WIDEST_WINDOW = 7
_GRID = 101


def noise_level(image: np.ndarray) -> float:
    """Standard deviation of the noise, estimated from the image (H, W, 3) alone.

    Median absolute value of the finest diagonal Haar coefficients over 0.6745 (Donoho & Johnstone, "Ideal spatial
    adaptation by wavelet shrinkage", Biometrika 81, 1994). Fine texture is taken for noise: too high on small images.
    """
    if min(image.shape[:2]) < 2:
        return 0.0
    diagonal = (image[:-1, :-1] - image[1:, :-1] - image[:-1, 1:] + image[1:, 1:]) / 2
    return float(np.median(np.abs(diagonal)) / 0.6745)


def true_noise_level(image: np.ndarray, known: Known) -> float:
    """Standard deviation of the known noise after clipping, from its mean variance over the noisy image's pixels.

    Shot noise has the variance x / rate, speckle noise (sigma x)^2, of which the noisy image shows (1 + sigma^2) x^2.
    """
    values = known.constants
    if known.degradation == "shot_noise":
        return clipped_level(math.sqrt(float(image.mean(dtype=np.float64)) / values["rate"]))
    if known.degradation == "speckle_noise":
        power = float(np.square(image, dtype=np.float64).mean()) / (1 + values["sigma"] ** 2)
        return clipped_level(values["sigma"] * math.sqrt(power))
    return clipped_level(values["sigma"])


def clipped_level(sigma: float) -> float:
    """Standard deviation that is left of Gaussian noise when values are clipped to [0, 1], all values being as likely.

    The root of the mean variance of clip(x + sigma n), over `_GRID` values x and as many quantiles of the normal law.
    """
    from scipy.special import ndtri

    steps = (np.arange(_GRID) + 0.5) / _GRID
    values = np.clip(steps[:, None] + sigma * ndtri(steps)[None, :], 0, 1)
    return math.sqrt(float(values.var(axis=1).mean())) if sigma else 0.0


def _means_constants(size: int, known: Known | None) -> dict[str, float]:
    """Sides of patch and search window in pixels, and h over the noise's standard deviation."""
    patch, reach = (3, 5) if size <= SMALL else (5, 6)
    return {"patch": patch, "reach": reach, "strength": 0.5}


@register(
    "nlm",
    "Non-local means",
    "Every pixel becomes the mean of those nearby whose surroundings look alike; the noise is estimated or known.",
    told_for=NOISES,
    choose=_means_constants,
)
def non_local_means(image: np.ndarray, constants: Constants, known: Known | None) -> np.ndarray:
    """scikit-image's ``denoise_nl_means`` (Buades, Coll & Morel, "Non-local means denoising", IPOL 1, 2011)."""
    from skimage.restoration import denoise_nl_means

    sigma = noise_level(image) if known is None else true_noise_level(image, known)
    if sigma <= 0 or min(image.shape[:2]) < constants["patch"]:
        return image
    patch, reach = int(constants["patch"]), int(constants["reach"])
    found: np.ndarray = denoise_nl_means(
        image, patch, reach, constants["strength"] * sigma, fast_mode=True, sigma=sigma, channel_axis=-1
    )
    return found


def _median_constants(size: int, known: Known | None) -> dict[str, float]:
    """Without knowledge the usual window of 3 px; for salt and pepper the same, as only its values are replaced."""
    return {"window": 3} if known is None or known.degradation == IMPULSE else {"small": float(size <= SMALL)}


@register(
    "median",
    "Median",
    "Every value becomes the median of its window; told of salt and pepper, only values of 0 and 1 are replaced.",
    told_for=(IMPULSE, *NOISES),
    choose=_median_constants,
)
def median(image: np.ndarray, constants: Constants, known: Known | None) -> np.ndarray:
    """Blind: 3 x 3. Told of noise: the window that is best for its level. Told of salt and pepper: see `_switched`."""
    from scipy.ndimage import median_filter

    if known is not None and known.degradation == IMPULSE:
        return _switched(image, int(constants["window"]))
    window = int(constants["window"]) if known is None else best_window(image, known)
    found: np.ndarray = median_filter(image, (window, window, 1), mode="mirror") if window > 1 else image
    return found


def best_window(image: np.ndarray, known: Known) -> int:
    """Side of the median's window in pixels for the known noise: 1 (nothing is done) to 7."""
    level = true_noise_level(image, known)
    rows = MEDIAN_WINDOWS[max(image.shape[:2]) <= SMALL]
    return next((window for limit, window in rows if level < limit), WIDEST_WINDOW)


def _switched(image: np.ndarray, window: int) -> np.ndarray:
    """Replace values of exactly 0 or 1 by the median of the others in a window of their channel, wider where it has
    none (switching median: Sun & Neuvo, Pattern Recognition Letters 15, 1994). What has none in 7 x 7 stays."""
    suspect = (image <= 0) | (image >= 1)
    sound, found = np.where(suspect, np.nan, image), image.copy()
    while window <= WIDEST_WINDOW and suspect.any():
        near = _windows(sound, window)[suspect]
        filled = ~np.isnan(near).all(axis=1)
        rows, columns, channels = (places[filled] for places in np.nonzero(suspect))
        found[rows, columns, channels] = np.nanmedian(near[filled], axis=1)
        suspect[rows, columns, channels] = False
        window += 2
    return found


def _windows(image: np.ndarray, window: int) -> np.ndarray:
    """What surrounds every value of (H, W, 3) in its channel, (H, W, 3, window^2); NaN beyond the border."""
    half = window // 2
    padded = np.pad(image, ((half, half), (half, half), (0, 0)), constant_values=np.nan)
    views = np.lib.stride_tricks.sliding_window_view(padded, (window, window), axis=(0, 1))
    return views.reshape(*image.shape, window * window)
