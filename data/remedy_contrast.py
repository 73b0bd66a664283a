"""The remedy against lost contrast: contrast-limited adaptive histogram equalisation of the lightness."""

import numpy as np

from data.remedy_registry import Constants, Known, register

BINS = 256
USUAL_LIMIT = 2.0
"""How many times contrast is amplified at most when nothing is known: the clip limit that is usual with OpenCV."""
MOST_TILES = 8
"""Tiles along the image's longer side (Zuiderveld's 8 x 8), fewer where one would be under `LEAST_TILE` pixels."""
LEAST_TILE = 16
LEAST_SPREAD = 1.0
"""Of L (0 to 100): a more even image has nothing to equalise but rounding."""


def _constants(size: int, known: Known | None) -> dict[str, float]:
    """Side of a tile in pixels, and the clip limit: told, contrast is amplified as many times as it was divided."""
    tile = max(LEAST_TILE, -(-size // MOST_TILES))
    return {"tile": tile, "limit": USUAL_LIMIT if known is None else lost_contrast(known)}


def lost_contrast(known: Known) -> float:
    """How many times contrast was divided: by fog at an image whose brightest value is 1."""
    values = known.constants
    return 1 + values["amplitude"] if known.degradation == "fog" else 1 / values["factor"]


@register(
    "clahe",
    "CLAHE",
    "The lightness (L of Lab) is equalised tile by tile with a limit to the gain of contrast; colours stay.",
    told_for=("contrast", "fog"),
    choose=_constants,
)
def clahe(image: np.ndarray, constants: Constants, known: Known | None) -> np.ndarray:
    """scikit-image's ``equalize_adapthist`` (Zuiderveld, "Contrast limited adaptive histogram equalization",
    Graphics Gems IV, 1994) on L, whose limit is a share of a tile's pixels in one of `BINS` bins.

    L is spread over its whole range before. Told, what that amplifies is taken off the limit, and nothing is left to
    equalise where that is all.
    """
    from skimage.color import lab2rgb, rgb2lab
    from skimage.exposure import equalize_adapthist

    lab = rgb2lab(image)
    low, spread = float(lab[..., 0].min()), float(np.ptp(lab[..., 0]))
    if spread < LEAST_SPREAD or constants["limit"] <= 1:
        return image
    limit = constants["limit"] if known is None else constants["limit"] * spread / 100
    lab[..., 0] = (lab[..., 0] - low) / spread
    if limit > 1:
        tile = [min(int(constants["tile"]), side) for side in image.shape[:2]]
        lab[..., 0] = equalize_adapthist(lab[..., 0], tile, limit / BINS, BINS)
    lab[..., 0] *= 100
    highest = 200 * (lab[..., 0] + 16) / 116  # the yellowest that there is at that lightness
    lab[..., 2] = np.minimum(lab[..., 2], 0.999 * highest)
    found: np.ndarray = lab2rgb(lab)
    return found
