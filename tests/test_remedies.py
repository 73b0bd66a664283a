"""Remedies: each keeps shape and range, leaves alone what needs no repair, and repairs what it is told of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from data import cue10, degradation_blur
from data.degradation_registry import image_generator
from data.degradations import DEGRADATIONS, degrade, motion_blur_angle, parameters
from data.quality import psnr
from data.remedies import CLEAN, NAMES, TOLD, is_current, refusal, remedy, resolve, title, versioned
from data.remedies import parameters as remedy_parameters
from data.remedy_deblurring import blur_kernel
from data.remedy_denoising import best_window, clipped_level, noise_level, true_noise_level
from data.remedy_registry import REMEDIES, Known, register
from data.remedy_resolution import repetitions
from tests.test_degradations import photographs
from xai import evaluation_grid

pytestmark = pytest.mark.usefixtures("one_thread")

IDS = ("a", "b", "c")
PHOTOS = photographs(64)
CASES = [
    (name, degradation)
    for name in NAMES
    for degradation in (*DEGRADATIONS, CLEAN)
    if not refusal(name, degradation)
]
TOLD_CASES = [(name, degradation) for name, degradation in CASES if name.endswith(TOLD)]


def asked(degradation: str, severity: float = 3, scale: str = "cifar-c") -> dict[str, Any]:
    """What both `degrade` and `remedy` are told, but for the degradation's name."""
    known = (severity, scale) if degradation != CLEAN else (0, "")
    return {"severity": known[0], "scale": known[1], "image_ids": IDS, "seed": 4}


def pair(
    name: str, degradation: str, images: Tensor = PHOTOS, severity: float = 3, scale: str = "cifar-c"
) -> tuple[Tensor, Tensor]:
    """Degraded images, and the same repaired."""
    known = asked(degradation, severity, scale)
    bad = images if degradation == CLEAN else degrade(images, degradation, **known)
    return bad, remedy(bad, name, degradation=degradation, **known)


@pytest.mark.parametrize(("name", "degradation"), CASES)
def test_shape_type_and_range_are_kept(name: str, degradation: str) -> None:
    bad, repaired = pair(name, degradation, PHOTOS[..., :24, :32])
    assert (repaired.shape, repaired.dtype, repaired.device) == (bad.shape, bad.dtype, bad.device)
    assert 0 <= float(repaired.min()) <= float(repaired.max()) <= 1
    assert repaired.data_ptr() != bad.data_ptr()


@pytest.mark.parametrize(("name", "degradation"), [*TOLD_CASES, *((name, CLEAN) for name in REMEDIES)])
def test_an_image_does_not_depend_on_its_batch(name: str, degradation: str) -> None:
    known = asked(degradation)
    bad, repaired = pair(name, degradation, PHOTOS[..., :32, :32])
    before = bad.clone()
    turned = bad.flip(0).contiguous(memory_format=torch.channels_last)
    others = remedy(turned, name, degradation=degradation, **{**known, "image_ids": IDS[::-1]})
    assert torch.equal(others.flip(0), repaired)
    alone = remedy(bad[1:2], name, degradation=degradation, **{**known, "image_ids": IDS[1:2]})
    assert torch.equal(alone[0], repaired[1])
    assert torch.equal(bad, before)


@pytest.mark.parametrize(("name", "degradation"), TOLD_CASES)
def test_told_of_severity_zero_nothing_is_done(name: str, degradation: str) -> None:
    for scale in DEGRADATIONS[degradation].scales:
        bad, repaired = pair(name, degradation, PHOTOS[..., :16, :16], severity=0, scale=scale)
        if degradation == "impulse_noise":  # its own 0s and 1s can't be told from salt and pepper
            inside = (bad > 0) & (bad < 1)
            assert torch.equal(repaired[inside], bad[inside])
        else:
            assert torch.equal(repaired, bad)


@pytest.mark.parametrize("name", REMEDIES)
@pytest.mark.parametrize("value", [0.0, 0.4, 1.0])
def test_an_even_image_stays_even(name: str, value: float) -> None:
    even = torch.full((1, 3, 20, 30), value)
    torch.testing.assert_close(remedy(even, name), even, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", REMEDIES)
@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (1, 3, 1, 1), (1, 3, 1, 9), (2, 3, 2, 2), (1, 3, 3, 40)])
def test_tiny_narrow_and_empty_batches(name: str, shape: tuple[int, ...]) -> None:
    images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    assert remedy(images, name).shape == shape
    ids = [str(k) for k in range(len(images))]
    for degradation in REMEDIES[name].told_for:
        known = {**asked(degradation), "image_ids": ids}
        assert remedy(images, name + TOLD, degradation=degradation, **known).shape == shape


RAISED = {
    ("nlm", "gaussian_noise"): 1.5,
    ("nlm", "shot_noise"): 1.5,
    ("nlm", "speckle_noise"): 1.0,
    ("median", "impulse_noise"): 10.0,
    ("wiener", "gaussian_blur"): 5.0,
    ("wiener", "defocus_blur"): 5.0,
    ("wiener", "motion_blur"): 5.0,
    ("clahe", "contrast"): 2.0,
}
"""By how many dB of PSNR the told form at least raises photographs of 64 px at severity 3 of `cifar-c`."""


@pytest.mark.parametrize(("name", "degradation"), RAISED)
def test_told_of_a_degradation_a_remedy_repairs_it(name: str, degradation: str) -> None:
    bad, repaired = pair(name + TOLD, degradation)
    raised = psnr(PHOTOS, repaired) - psnr(PHOTOS, bad)
    assert float(raised.mean()) > RAISED[name, degradation]
    _, blind = pair(name, degradation)
    assert float(psnr(PHOTOS, repaired).mean()) >= float(psnr(PHOTOS, blind).mean()) - 0.05


def test_strong_noise_and_low_resolution_are_repaired_on_the_paper_scale() -> None:
    for name, degradation in (
        ("median", "gaussian_noise"),
        ("lanczos", "pixelate"),
        ("wiener", "motion_blur"),
    ):
        bad, repaired = pair(name + TOLD, degradation, scale="paper-relative")
        assert float((psnr(PHOTOS, repaired) - psnr(PHOTOS, bad)).mean()) > 0.5


@pytest.mark.parametrize("scale", ["cifar-c", "paper-literal", "imagenet-c"])
@pytest.mark.parametrize("degradation", REMEDIES["wiener"].told_for)
def test_the_kernel_is_what_the_blur_makes_of_one_bright_pixel(degradation: str, scale: str) -> None:
    if scale not in DEGRADATIONS[degradation].scales:
        pytest.skip(f"{degradation} has no {scale}")
    values = parameters(degradation, 3, scale, 64)
    known = Known(degradation, values, motion_blur_angle("a", 3, seed=2))
    bright = torch.zeros(1, 3, 129, 129)
    bright[..., 64, 64] = 1
    generators = [image_generator(2, "a", degradation, 3)] if degradation == "motion_blur" else []
    answer = DEGRADATIONS[degradation].operation(bright, values, generators)[0, 0].numpy()
    kernel = blur_kernel(known)
    reach = len(kernel) // 2
    np.testing.assert_allclose(answer[64 - reach : 65 + reach, 64 - reach : 65 + reach], kernel, atol=1e-6)
    assert kernel.sum() == pytest.approx(answer.sum(), abs=1e-5)


def test_an_even_line_along_a_row_is_known_by_hand() -> None:
    assert degradation_blur.line_weights(3, 0) == {(0, -1): 1 / 3, (0, 0): 1 / 3, (0, 1): 1 / 3}
    np.testing.assert_allclose(
        blur_kernel(Known("motion_blur", {"length": 3}, 0.0)), np.array([[0, 0, 0], [1, 1, 1], [0, 0, 0]]) / 3
    )


def test_without_noise_a_weak_blur_is_undone_but_for_the_wrong_angle() -> None:
    known = asked("motion_blur", 1)
    bad = degrade(PHOTOS, "motion_blur", **known)
    right = remedy(bad, "wiener+told", degradation="motion_blur", **known)
    wrong = remedy(bad, "wiener+told", degradation="motion_blur", **{**known, "seed": 5})
    assert float(psnr(PHOTOS, right).min()) > 30
    assert bool((psnr(PHOTOS, right) > psnr(PHOTOS, wrong) + 3).all())


def test_the_median_of_salt_and_pepper_is_that_of_the_sound_neighbours() -> None:
    image = torch.tensor([[0.1, 0.2, 0.3], [0.4, 1.0, 0.6], [0.0, 0.8, 0.9]]).expand(1, 3, 3, 3).clone()
    known = asked("impulse_noise")
    repaired = remedy(image, "median+told", degradation="impulse_noise", **{**known, "image_ids": ["a"]})
    expected = image.clone()
    expected[..., 1, 1] = 0.4  # of .1 .2 .3 .4 .6 .8 .9
    expected[..., 2, 0] = 0.6  # of .4 .8
    torch.testing.assert_close(repaired, expected)
    blind = remedy(image, "median")
    assert blind[0, :, 1, 1].tolist() == pytest.approx([0.4] * 3)


def test_noise_levels() -> None:
    image = np.full((200, 200, 3), 0.5, np.float32)
    noisy = image + np.random.default_rng(0).normal(0, 0.05, image.shape).astype(np.float32)
    assert noise_level(noisy) == pytest.approx(0.05, rel=0.02)
    assert noise_level(image) == 0
    assert clipped_level(0) == 0
    assert clipped_level(1e-3) == pytest.approx(1e-3, rel=0.02)
    assert clipped_level(1e6) == pytest.approx(0.5, abs=2e-3)  # each value is 0 or 1
    shot = Known("shot_noise", {"rate": 0.5 / 0.01**2})
    assert true_noise_level(image, shot) == pytest.approx(clipped_level(0.01))
    speckle = Known("speckle_noise", {"sigma": 0.1})
    assert true_noise_level(image, speckle) == pytest.approx(clipped_level(0.05 / 1.01**0.5))


@pytest.mark.parametrize(
    ("size", "sigma", "window"), [(32, 0.04, 1), (32, 0.1, 3), (64, 0.5, 7), (224, 0.04, 3)]
)
def test_the_window_follows_the_noise(size: int, sigma: float, window: int) -> None:
    image = np.zeros((size, size, 3), np.float32)
    assert best_window(image, Known("gaussian_noise", {"sigma": sigma})) == window


def test_repetitions_by_hand() -> None:
    rows = np.array([0.0, 0.0, 0.5, 0.5, 0.5, 0.2])[:, None, None] * np.ones((6, 4, 3))
    assert repetitions(rows, 0).tolist() == [0, 2, 5]
    assert repetitions(rows, 1).tolist() == [0]


def test_the_grid_of_low_resolution_is_read_from_the_image() -> None:
    blind, told = (
        pair(name, "pixelate", scale="imagenet-c", severity=2)[1] for name in ("lanczos", "lanczos+told")
    )
    torch.testing.assert_close(blind, told)
    assert torch.equal(remedy(PHOTOS, "lanczos"), PHOTOS)


def test_clahe_changes_lightness_and_not_colour() -> None:
    from skimage.color import rgb2lab

    image = PHOTOS[:1] * 0.3 + 0.35  # far from the colours that there are not
    before, after = (rgb2lab(each[0].permute(1, 2, 0).numpy()) for each in (image, remedy(image, "clahe")))
    coloured = (after[..., 0] > 20) & (after[..., 0] < 85)  # near black and white there are no strong colours
    np.testing.assert_allclose(after[coloured, 1:], before[coloured, 1:], atol=0.1)
    assert after[..., 0].std() > 1.5 * before[..., 0].std()


def test_told_clahe_gives_back_the_contrast_that_was_lost() -> None:
    bad, repaired = pair("clahe+told", "contrast")
    spread = [float(each.std(dim=(1, 2, 3)).mean()) for each in (PHOTOS, bad, repaired)]
    assert spread[1] < 0.65 * spread[0] < 0.95 * spread[0] < spread[2] < 1.05 * spread[0]


CHANGES = {
    "nlm": 0.074614,
    "median": 0.066391,
    "clahe": 0.205653,
    "wiener": 0.007775,
    "lanczos": 0.029493,
    "nlm+told": 0.064679,
    "median+told": 0.035529,
    "clahe+told": 0.144835,
    "wiener+told": 0.030521,
    "lanczos+told": 0.029493,
}
"""By remedy the mean change of two scenes' values, degraded by the first it is for at the highest of `cifar-c`."""


@pytest.mark.parametrize("name", NAMES)
def test_a_remedy_that_changes_its_pixels_needs_a_new_version(name: str) -> None:
    """Where this fails on purpose, raise `version` in the remedy's `register`, and note the new change here."""
    images = cue10.draw("test", 0, 2)[0].float() / 255
    entry, _ = resolve(name)
    known: dict[str, Any] = {"severity": 5, "scale": "cifar-c", "image_ids": ("a", "b"), "seed": 0}
    bad = degrade(images, entry.told_for[0], **known)
    repaired = remedy(bad, name, degradation=entry.told_for[0], **known)
    assert entry.version == 1
    assert float((repaired - bad).abs().mean()) == pytest.approx(CHANGES[name], abs=2e-5)


def test_names_carry_the_version() -> None:
    assert versioned("nlm") == "nlm.v1"
    assert versioned("nlm+told.v1") == "nlm+told.v1"
    assert title("nlm+told.v1") == "Non-local means (told)"
    assert [is_current(name) for name in ("", "nlm.v1", "nlm", "nlm.v2", "fog")] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert CLEAN == evaluation_grid.CLEAN


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REMEDIES, "nlm", replace(REMEDIES["nlm"], version=2))
    assert versioned("nlm") == "nlm.v2"
    with pytest.raises(ValueError, match=r"'nlm\.v1' is of another version; this program has nlm\.v2"):
        remedy(PHOTOS, "nlm.v1")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("fog", {}, "remedy 'fog' is unknown; allowed are clahe, nlm, median"),
        ("", {}, "remedy '' is unknown"),
        (
            "wiener+told",
            {"degradation": "gaussian_noise"},
            "wiener.told does not apply to gaussian_noise; allowed are",
        ),
        (
            "nlm+told",
            {},
            "nlm.told does not apply to clean; allowed are gaussian_noise, shot_noise, speckle_noise",
        ),
        ("nlm", {"degradation": "nothing"}, "degradation 'nothing' is unknown"),
        ("nlm+told", {"degradation": "shot_noise", "severity": 6.0}, "severity 6.0 is out of range"),
        (
            "wiener+told",
            {"degradation": "motion_blur", "image_ids": "abc"},
            "3 images came with image_ids 'abc'",
        ),
        ("nlm", {"images": PHOTOS[0]}, r"allowed is \(N, 3, H, W\) float32"),
        ("nlm", {"images": PHOTOS.double()}, r"float64; allowed is \(N, 3, H, W\) float32"),
    ],
)
def test_what_is_not_allowed_is_said(name: str, change: dict[str, Any], message: str) -> None:
    given = {"images": PHOTOS, "severity": 1.0, "scale": "cifar-c", **change}
    with pytest.raises(ValueError, match=message):
        remedy(given.pop("images"), name, **given)


def test_constants_follow_size_and_knowledge() -> None:
    assert remedy_parameters("nlm", CLEAN, 0, "", 32) == {"patch": 3, "reach": 5, "strength": 0.5}
    assert remedy_parameters("nlm", CLEAN, 0, "", 224)["patch"] == 5
    assert remedy_parameters("clahe+told", "contrast", 2, "cifar-c", 224) == {"tile": 28, "limit": 2.0}
    assert remedy_parameters("clahe", "contrast", 2, "cifar-c", 32) == {"tile": 16, "limit": 2.0}
    assert remedy_parameters("lanczos+told", "pixelate", 5, "cifar-c", 32) == {"factor": 0.65}


@pytest.mark.parametrize("name", REMEDIES)
def test_every_told_form_is_for_known_degradations(name: str) -> None:
    assert REMEDIES[name].told_for
    assert set(REMEDIES[name].told_for) <= set(DEGRADATIONS)


def test_a_taken_name_cannot_be_registered_again() -> None:
    with pytest.raises(ValueError, match="a remedy named 'nlm' is registered already"):
        register("nlm", "", "", told_for=(), choose=lambda size, known: {})(
            lambda image, constants, known: image
        )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", REMEDIES)
def test_a_gpu_gives_the_same_image(name: str) -> None:
    there = remedy(PHOTOS.cuda(), name)
    assert there.is_cuda
    assert torch.equal(there.cpu(), remedy(PHOTOS, name))
