"""PSNR and SSIM against numbers worked out by hand and an independent implementation."""

import math

import numpy as np
import pytest
import torch

from data.quality import psnr, ssim, ssim_window


def test_psnr_of_a_constant_difference() -> None:
    clean = torch.full((2, 3, 8, 8), 0.5)
    other = clean + torch.tensor([0.1, 0.01]).view(2, 1, 1, 1)
    assert psnr(clean, other).tolist() == pytest.approx([20, 40], abs=1e-3)


def test_equal_images_have_infinite_psnr_and_full_similarity() -> None:
    images = torch.rand(2, 3, 9, 12, generator=torch.Generator().manual_seed(0))
    assert psnr(images, images.clone()).tolist() == [math.inf, math.inf]
    assert ssim(images, images.clone()).tolist() == pytest.approx([1, 1])


def test_ssim_of_two_flat_images_is_the_luminance_term() -> None:
    """Without variance only (2 a b + C1) / (a^2 + b^2 + C1) is left, C1 = 0.01^2."""
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    flat = torch.ones(1, 3, 5, 5)
    assert float(ssim(flat * 0.2, flat * 0.6)) == pytest.approx(expected, abs=1e-6)


def test_ssim_agrees_with_its_formula_on_a_photograph() -> None:
    from scipy.ndimage import uniform_filter
    from skimage.data import astronaut

    clean = torch.from_numpy(astronaut()[:64, 200:264].copy()).permute(2, 0, 1).float()[None] / 255
    other = (clean * 0.8 + 0.05 * torch.rand(clean.shape, generator=torch.Generator().manual_seed(1))).clamp(
        0, 1
    )
    x, y = (images[0].double().numpy() for images in (clean, other))

    def mean(field: np.ndarray) -> np.ndarray:
        return uniform_filter(field, (1, 7, 7))[:, 3:-3, 3:-3]

    mx, my, unbias = mean(x), mean(y), 49 / 48
    vx, vy, vxy = (unbias * v for v in (mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my))
    similarity = (2 * mx * my + 1e-4) * (2 * vxy + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))
    assert float(ssim(clean, other)) == pytest.approx(similarity.mean(), abs=1e-5)


@pytest.mark.parametrize("size", [(64, 64), (5, 40), (224, 224)])
def test_both_agree_with_scikit_image_on_a_photograph(size: tuple[int, int]) -> None:
    from skimage.data import astronaut
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    pixels = torch.from_numpy(astronaut()[: size[0], 100 : 100 + size[1]].copy()).permute(2, 0, 1)
    clean = pixels.float()[None] / 255
    other = (clean + 0.2 * torch.rand(clean.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    x, y = (images[0].double().numpy() for images in (clean, other))
    window = ssim_window(*size)
    expected = structural_similarity(x, y, win_size=window, data_range=1.0, channel_axis=0)
    assert float(ssim(clean, other)) == pytest.approx(expected, abs=1e-6)
    assert float(psnr(clean, other)) == pytest.approx(peak_signal_noise_ratio(x, y, data_range=1.0), abs=1e-4)


@pytest.mark.parametrize(
    ("size", "window"), [((224, 224), 7), ((32, 6), 5), ((4, 4), 3), ((3, 9), 3), ((2, 9), 1), ((1, 1), 1)]
)
def test_the_window_fits_the_image(size: tuple[int, int], window: int) -> None:
    assert ssim_window(*size) == window
    value = ssim(torch.zeros(1, 3, *size), torch.ones(1, 3, *size))
    assert bool(value.isnan()) == (window < 3)


@pytest.mark.parametrize("measure", [psnr, ssim])
def test_different_shapes_are_refused(measure: object) -> None:
    with pytest.raises(ValueError, match=r"\(1, 3, 8, 8\) and \(1, 3, 8, 9\)"):
        measure(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 9))  # type: ignore[operator]
