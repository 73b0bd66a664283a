"""Degradations: identities, seeding, constants, and agreement with independent implementations."""

import hashlib
import math
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from data.corruption_constants import CIFAR_C, FIELDS, IMAGENET_C, SCALES
from data.degradation_blur import line_weights
from data.degradations import (
    DEGRADATIONS,
    MISSING,
    default_scale,
    degradations_in,
    degrade,
    describe,
    image_generator,
    max_severity,
    motion_blur_angle,
    parameters,
    register,
    severity_levels,
)
from data.quality import psnr
from tests.degradation_references import REFERENCES

ROOT = Path(__file__).parents[1]
LOSSLESS_CIFAR = ROOT.parent / "shared" / "data" / "cifar10-lossless-4000.npz"
CASES = [(name, scale) for name, entry in DEGRADATIONS.items() for scale in entry.scales]
RANDOM = [name for name, entry in DEGRADATIONS.items() if entry.random]
# Elsewhere the reference works in at least our precision. Pillow rounds to bytes after each of two passes, OpenCV
# keeps the corners in float32, and two builds of libjpeg round alike within a step or two.
TOLERANCE = {"pixelate": 1.01 / 255, "elastic_transform": 1e-4, "jpeg_compression": 2.01 / 255}
# Severities 1 to 5 keep getting stronger; the others are ordered by how they are seen, not by PSNR.
NOISES = ("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise")
BLURS = ("gaussian_blur", "defocus_blur", "zoom_blur")
MONOTONE = (*NOISES, *BLURS, "brightness", "contrast", "pixelate", "jpeg_compression")


def photographs(size: int) -> Tensor:
    """Three photographs of scikit-image as (3, 3, size, size), with byte values."""
    from skimage import data, transform

    pictures = [data.astronaut(), data.chelsea()[:, 75:375], data.coffee()[:, 100:500]]
    small = [transform.resize(picture, (size, size), anti_aliasing=True) for picture in pictures]
    return torch.from_numpy(np.round(np.stack(small) * 255).astype(np.float32) / 255).permute(0, 3, 1, 2)


PHOTOS = {size: photographs(size) for size in (32, 224)}
IDS = ("astronaut", "cat", "coffee")


def fitting(scale: str) -> Tensor:
    return PHOTOS[224 if scale == "imagenet-c" else 32]


@pytest.mark.parametrize(("name", "scale"), CASES)
def test_severity_zero_is_the_identity_in_a_new_tensor(name: str, scale: str) -> None:
    images = PHOTOS[32]
    result = degrade(images, name, 0, scale=scale, image_ids=IDS)
    assert torch.equal(result, images)
    assert result.data_ptr() != images.data_ptr()


@pytest.mark.parametrize(("name", "scale"), CASES)
@pytest.mark.parametrize("share", [0.13, 0.5, 1.0])
def test_shape_type_and_range_are_kept(name: str, scale: str, share: float) -> None:
    severity = share * max_severity(name, scale)
    images = PHOTOS[32][:, :, :, :27]
    result = degrade(images, name, severity, scale=scale, image_ids=IDS)
    assert (result.shape, result.dtype) == (images.shape, torch.float32)
    assert result.min() >= 0
    assert result.max() <= 1


@pytest.mark.parametrize(("name", "scale"), CASES)
def test_a_trace_of_severity_hardly_changes_the_image(name: str, scale: str) -> None:
    result = degrade(PHOTOS[32], name, 1e-3, scale=scale, image_ids=IDS)
    # 31 of 32 pixels, one salted value and JPEG quality 100 are the mildest there is.
    assert psnr(PHOTOS[32], result).min() > {"pixelate": 20, "impulse_noise": 30, "jpeg_compression": 28}.get(
        name, 40
    )


@pytest.mark.parametrize(("name", "scale"), CASES)
def test_an_image_does_not_depend_on_its_batch(name: str, scale: str) -> None:
    images, severity = fitting(scale), max_severity(name, scale)
    together = degrade(images, name, severity, scale=scale, image_ids=IDS)
    order = [2, 0, 1]
    shuffled = degrade(images[order], name, severity, scale=scale, image_ids=[IDS[i] for i in order])
    alone = degrade(images[1:2].contiguous(), name, severity, scale=scale, image_ids=IDS[1:2])
    assert torch.equal(shuffled, together[order])
    assert torch.equal(alone, together[1:2])


def digest(threads: int) -> str:
    """Hash of every degradation's result on 32 px photographs."""
    torch.set_num_threads(threads)
    total = hashlib.sha256()
    for name, scale in CASES:
        total.update(degrade(PHOTOS[32], name, 2.5, scale=scale, image_ids=IDS, seed=7).numpy().tobytes())
    return total.hexdigest()


def test_a_fresh_process_with_one_thread_gives_the_same_bits() -> None:
    code = "from tests.test_degradations import digest; print(digest(1))"
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert run.stdout.strip() == digest(torch.get_num_threads()), run.stderr


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(("name", "scale"), CASES)
def test_a_gpu_gives_the_same_image(name: str, scale: str) -> None:
    severity = max_severity(name, scale)
    expected = degrade(PHOTOS[32], name, severity, scale=scale, image_ids=IDS)
    result = degrade(PHOTOS[32].cuda(), name, severity, scale=scale, image_ids=IDS)
    assert result.device.type == "cuda"
    assert torch.allclose(result.cpu(), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", RANDOM)
def test_random_degradations_follow_seed_id_and_severity(name: str) -> None:
    image = PHOTOS[32][:1]

    def made(image_id: str = "a", seed: int = 0) -> Tensor:
        return degrade(image, name, 3, scale="cifar-c", image_ids=[image_id], seed=seed)

    assert torch.equal(made(), made())
    assert not torch.equal(made(), made("b"))
    assert not torch.equal(made(), made(seed=1))
    draws = [image_generator(0, "a", name, severity).random() for severity in (1, 1.5, 2)]
    assert len(set(draws)) == 3


@pytest.mark.parametrize("name", sorted(set(DEGRADATIONS) - set(RANDOM)))
def test_deterministic_degradations_ignore_seed_and_id(name: str) -> None:
    first = degrade(PHOTOS[32], name, 3, scale="cifar-c", image_ids=IDS)
    assert torch.equal(
        first, degrade(PHOTOS[32], name, 3, scale="cifar-c", image_ids=["x", "y", "z"], seed=9)
    )


def test_global_random_state_is_left_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    for name in RANDOM:
        degrade(PHOTOS[32], name, 3, scale="cifar-c", image_ids=IDS)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("name", "scale"), CASES)
def test_agrees_with_an_independent_implementation(name: str, scale: str) -> None:
    image = fitting(scale)[:1]
    pixels = image[0].permute(1, 2, 0).double().numpy()
    severities = (
        range(1, max_severity(name, scale) + 1) if image.shape[-1] == 32 else (1, max_severity(name, scale))
    )
    for severity in severities:
        values = parameters(name, severity, scale, image.shape[-1])
        expected = REFERENCES[name](pixels, values, image_generator(0, "astronaut", name, severity))
        result = degrade(image, name, severity, scale=scale, image_ids=["astronaut"])
        difference = result[0].permute(1, 2, 0).double().numpy() - np.clip(expected, 0, 1)
        assert np.abs(difference).max() < TOLERANCE.get(name, 2e-5), severity


@pytest.mark.parametrize("size", [32, 224])
@pytest.mark.parametrize("name", ["gaussian_blur", "motion_blur"])
def test_the_literal_paper_grid_at_both_sizes(name: str, size: int) -> None:
    image = PHOTOS[size][:1]
    values = parameters(name, 3, "paper-literal", size)
    generator = image_generator(0, "astronaut", name, 3)
    expected = REFERENCES[name](image[0].permute(1, 2, 0).double().numpy(), values, generator)
    result = degrade(image, name, 3, scale="paper-literal", image_ids=["astronaut"])
    assert np.abs(result[0].permute(1, 2, 0).numpy() - expected).max() < 2e-5


@pytest.mark.parametrize(("severity", "sigma"), [(1, 0.74), (2, 2.23), (3, 3.71)])
def test_the_paper_blur_is_as_wide_as_its_cut_kernel(severity: int, sigma: float) -> None:
    point = torch.zeros(1, 3, 31, 31)
    point[:, :, 15, 15] = 1
    profile = degrade(point, "gaussian_blur", severity, scale="paper-literal", image_ids=["p"])[0, 0].sum(
        dim=0
    )
    distance = torch.arange(31) - 15
    assert float((profile * distance**2).sum().sqrt()) == pytest.approx(sigma, abs=0.005)
    assert float(profile.sum()) == pytest.approx(1)


def test_noise_has_the_stated_statistics() -> None:
    """On flat grey of 0.5: n = 4 * 3 * 128 * 128 samples, tolerances of five standard errors."""
    grey, n = torch.full((4, 3, 128, 128), 0.5), 4 * 3 * 128 * 128

    def noise(name: str, severity: int) -> Tensor:
        return degrade(grey, name, severity, scale="cifar-c", image_ids=list("abcd")) - 0.5

    deviations = {"gaussian_noise": 0.1, "speckle_noise": 0.5 * 0.2, "shot_noise": math.sqrt(0.5 / 50)}
    for name, deviation in deviations.items():
        field = noise(name, 5)
        assert float(field.mean()) == pytest.approx(0, abs=5 * deviation / math.sqrt(n))
        assert float(field.std()) == pytest.approx(deviation, rel=5 / math.sqrt(2 * n))
    salted = noise("impulse_noise", 5)
    error = 5 * math.sqrt(0.035 * 0.965 / n)
    for value in (0.5, -0.5):
        assert float((salted == value).float().mean()) == pytest.approx(0.035, abs=error)
    assert float((salted == 0).float().mean()) == pytest.approx(0.93, abs=2 * error)


def test_salt_and_pepper_is_as_frequent_as_scikit_images() -> None:
    from skimage.util import random_noise

    picture = PHOTOS[224][:1] * 0.9 + 0.05  # nothing is 0 or 1 beforehand
    ours = degrade(picture, "salt_pepper", 5, scale="imagenet-c", image_ids=["a"])
    theirs = random_noise(picture[0].numpy(), mode="s&p", amount=0.27, rng=0)
    for value in (0.0, 1.0):
        share = 0.135
        error = 5 * math.sqrt(2 * share * (1 - share) / theirs.size)
        assert float((ours == value).float().mean()) == pytest.approx((theirs == value).mean(), abs=error)


@pytest.mark.parametrize("name", sorted(set(DEGRADATIONS) - {"elastic_transform", "saturate"}))
def test_strength_grows_with_severity(name: str) -> None:
    for scale in DEGRADATIONS[name].scales:
        images, levels = fitting(scale), range(max_severity(name, scale) + 1)
        quality = [
            float(psnr(images, degrade(images, name, level, scale=scale, image_ids=IDS)).mean())
            for level in levels
        ]
        assert quality[0] == math.inf
        assert quality[-1] < quality[1]
        if name in MONOTONE and (name, scale) != ("gaussian_blur", "paper-relative"):
            assert all(stronger < weaker for weaker, stronger in pairwise(quality))


@pytest.mark.skipif(not LOSSLESS_CIFAR.exists(), reason=f"{LOSSLESS_CIFAR.name} is not there")
def test_real_cifar_images_lose_quality_as_expected() -> None:
    """Sigma 0.10 alone would be 20 dB; clipping can only take noise away."""
    pixels = np.load(LOSSLESS_CIFAR)["images"][:64]
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    ids = [f"train/{i}" for i in range(64)]
    noisy = psnr(images, degrade(images, "gaussian_noise", 5, scale="cifar-c", image_ids=ids))
    assert 20 < float(noisy.mean()) < 21.5
    for name in MONOTONE:
        mild, strong = (
            psnr(images, degrade(images, name, s, scale="cifar-c", image_ids=ids)) for s in (1, 5)
        )
        assert (strong < mild).all()


@pytest.mark.parametrize(
    ("name", "severity", "scale", "width", "expected"),
    [
        ("gaussian_noise", 0, "cifar-c", 32, {"sigma": 0}),
        ("gaussian_noise", 0.5, "cifar-c", 32, {"sigma": 0.02}),
        ("gaussian_noise", 1.5, "cifar-c", 32, {"sigma": 0.05}),
        ("gaussian_noise", 5, "imagenet-c", 224, {"sigma": 0.38}),
        ("shot_noise", 0.5, "cifar-c", 32, {"rate": 1000}),
        ("shot_noise", 4.5, "imagenet-c", 224, {"rate": 4}),
        ("glass_blur", 2.5, "imagenet-c", 224, {"sigma": 0.95, "max_delta": 2, "iterations": 2}),
        ("elastic_transform", 2, "cifar-c", 32, {"alpha": 1.6, "sigma": 6.4, "affine": 2.24}),
        ("elastic_transform", 1, "imagenet-c", 224, {"alpha": 488, "sigma": 170.8, "affine": 24.4}),
        ("gaussian_blur", 3, "paper-literal", 32, {"kernel": 15, "sigma": 5}),
        ("gaussian_blur", 3, "paper", 224, {"kernel": 15, "sigma": 5}),
        ("gaussian_blur", 3, "paper-relative", 32, {"kernel": 3, "sigma": 5 / 7}),
        ("gaussian_blur", 1.5, "paper-literal", 32, {"kernel": 7, "sigma": 2}),
        ("motion_blur", 3, "paper-relative", 32, {"length": 5}),
        ("motion_blur", 1, "paper-relative", 32, {"length": 1}),
        ("motion_blur", 1.5, "paper-relative", 32, {"length": 2}),
        ("motion_blur", 2, "paper-relative", 448, {"length": 31}),
        ("jpeg", 2, "paper", 32, {"quality": 40}),
        ("jpeg", 0.5, "paper", 32, {"quality": 85}),
        ("salt_pepper", 2, "paper", 32, {"amount": 0.03}),
        ("salt_pepper", 2, "paper", 224, {"amount": 0.09}),
        ("low_resolution", 3, "paper-literal", 224, {"factor": 0.25}),
        ("low_contrast", 1.5, "paper", 32, {"factor": 0.575}),
    ],
)
def test_constants_worked_out_by_hand(
    name: str, severity: float, scale: str, width: int, expected: dict[str, float]
) -> None:
    assert parameters(name, severity, scale, width) == pytest.approx(expected)


@pytest.mark.parametrize("table", [CIFAR_C, IMAGENET_C])
def test_the_table_is_complete(table: dict[str, tuple[tuple[float, ...], ...]]) -> None:
    assert set(table) == set(FIELDS) == set(DEGRADATIONS)
    assert not set(MISSING) & set(DEGRADATIONS)
    assert all(
        len(levels) == 5 and {len(level) for level in levels} == {len(FIELDS[n])}
        for n, levels in table.items()
    )


def test_levels_scales_and_names() -> None:
    assert severity_levels("jpeg", "paper") == ("low", "medium", "high")
    assert severity_levels("fog", "cifar-c") == ("1", "2", "3", "4", "5")
    assert {scale: len(degradations_in(scale)) for scale in SCALES} == {
        "paper-relative": 9,
        "paper-literal": 9,
        "cifar-c": 17,
        "imagenet-c": 17,
    }
    assert (default_scale(64, 64), default_scale(32, 65)) == ("cifar-c", "imagenet-c")


def test_descriptions_name_constants_scale_and_severity() -> None:
    assert (
        describe("gaussian_noise", 5, "cifar-c", 32) == "Gaussian noise, sigma 0.10 (CIFAR-10-C severity 5)"
    )
    blur = "Gaussian blur, kernel 3, sigma 0.714 (paper grid, relative lengths, severity high)"
    assert describe("gaussian_blur", 3, "paper", 32) == blur
    assert describe("jpeg", 0, "imagenet-c", 224) == "JPEG compression, none (ImageNet-C severity 0)"
    assert describe("fog", 2.5, "cifar-c", 32).endswith("(CIFAR-10-C severity 2.5 of 5)")


def test_the_shown_motion_angle_is_the_one_used() -> None:
    angles = [motion_blur_angle(str(i), 3, seed=4) for i in range(200)]
    assert all(-45 <= angle < 45 for angle in angles)
    assert np.std(angles) == pytest.approx(90 / math.sqrt(12), rel=0.2)
    bar = torch.zeros(1, 3, 33, 33)
    bar[:, :, 16, 16] = 1
    trail = degrade(bar, "motion_blur", 3, scale="paper-literal", image_ids=["5"], seed=4)[0, 0]
    y, x = (axis.float() - 16 for axis in torch.meshgrid(torch.arange(33), torch.arange(33), indexing="ij"))
    slope = float((trail * x * y).sum() / (trail * x * x).sum())
    assert slope == pytest.approx(math.tan(math.radians(angles[5])), abs=0.02)


def test_a_level_line_is_a_box() -> None:
    assert line_weights(5, 0) == {(0, dx): 0.2 for dx in range(-2, 3)}
    assert line_weights(4, 0) == {(0, -2): 0.125, (0, -1): 0.25, (0, 0): 0.25, (0, 1): 0.25, (0, 2): 0.125}


def test_memory_layout_does_not_matter() -> None:
    images = PHOTOS[32].contiguous()
    for name in DEGRADATIONS:
        results = [
            degrade(layout, name, 3, scale="cifar-c", image_ids=IDS)
            for layout in (images, images.contiguous(memory_format=torch.channels_last))
        ]
        assert torch.equal(*results), name


@pytest.mark.parametrize(("name", "scale"), CASES)
@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (0, 8, 8)])
def test_tiny_narrow_and_empty_batches(name: str, scale: str, shape: tuple[int, ...]) -> None:
    count, size = (0, shape[1:]) if len(shape) == 3 else (2, shape)
    images = torch.full((count, 3, *size), 0.25)
    result = degrade(images, name, max_severity(name, scale), scale=scale, image_ids=["a", "b"][:count])
    assert result.shape == images.shape
    assert result.isfinite().all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "frost"}, "degradation 'frost' is unknown; allowed are gaussian_blur, "),
        ({"scale": "mnist-c"}, "scale 'mnist-c' is unknown; allowed are paper-relative, "),
        (
            {"name": "fog", "scale": "paper"},
            "fog has no constants on scale 'paper-relative'; allowed are cifar-c, ",
        ),
        ({"severity": 5.1}, "severity 5.1 is out of range; gaussian_noise on scale 'cifar-c' takes 0 to 5"),
        ({"severity": -1}, "severity -1 is out of range"),
        ({"severity": math.nan}, "severity nan is out of range"),
        ({"image_ids": ["a"]}, "3 images came with image_ids"),
        ({"image_ids": "abc"}, "one id per image is needed"),
        ({"images": torch.zeros(3, 1, 8, 8)}, r"images are \(3, 1, 8, 8\) torch.float32"),
        ({"images": torch.zeros(3, 3, 8, 8, dtype=torch.uint8)}, "torch.uint8"),
        ({"images": torch.full((3, 3, 8, 8), 1.5)}, "image values span 1.5 to 1.5; allowed is 0 to 1"),
        ({"images": torch.full((3, 3, 8, 8), math.nan)}, "image values span nan"),
    ],
)
def test_what_is_not_allowed_is_said(change: dict[str, object], message: str) -> None:
    given = {
        "images": PHOTOS[32],
        "name": "gaussian_noise",
        "severity": 1,
        "scale": "cifar-c",
        "image_ids": IDS,
    }
    with pytest.raises(ValueError, match=message):
        degrade(**{**given, **change})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["gaussian_noise", "jpeg"])
def test_a_taken_name_cannot_be_registered_again(name: str) -> None:
    with pytest.raises(ValueError, match="registered already"):
        register(name, "Twin", "Never entered.")(lambda images, constants, generators: images)
