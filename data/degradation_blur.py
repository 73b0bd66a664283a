"""Blur degradations. All work on floats; the generators' detour over bytes (PNG, uint8) is left out."""

import math

import numpy as np
import torch
from torch import Tensor

from data.degradation_filters import (
    Offset,
    central_zoom,
    gaussian_filter,
    sparse_filters,
    symmetric_filter,
)
from data.degradation_registry import Constants, Generators, register

MOTION_ANGLES = (-45.0, 45.0)


@register("gaussian_blur", "Gaussian blur", "Convolution with a Gaussian: out of focus, smoothly.")
def gaussian_blur(images: Tensor, constants: Constants, generators: Generators) -> Tensor:
    """With ``kernel``: OpenCV's ``GaussianBlur`` (cut to kernel x kernel, reflect-101 border). Without:
    scikit-image's ``gaussian`` (cut at 4 sigma, edge repeated), as the ImageNet-C generator calls it."""
    if "kernel" in constants:
        return gaussian_filter(images, constants["sigma"], int(constants["kernel"]) // 2, "reflect101")
    return _scikit_gaussian(images, constants["sigma"])


def _scikit_gaussian(images: Tensor, sigma: float) -> Tensor:
    return gaussian_filter(images, sigma, int(4 * sigma + 0.5), "replicate")


@register("defocus_blur", "Defocus blur", "Convolution with an antialiased disk: a lens out of focus.")
def defocus_blur(images: Tensor, constants: Constants, generators: Generators) -> Tensor:
    """By `disk_kernel` of `radius` px and `alias_sigma`, with a reflect-101 border."""
    return symmetric_filter(images, disk_kernel(constants["radius"], constants["alias_sigma"]), "reflect101")


def disk_kernel(radius: float, alias_sigma: float) -> np.ndarray:
    """The generator's disk: pixels within ``radius``, normalised, then smoothed by a Gaussian of
    ``alias_sigma``.

    The smoothing kernel is 3x3 up to radius 8 and 5x5 above, with OpenCV's reflect-101 border on the disk's
    own grid, so the sum can differ slightly from 1, as it does there.
    """
    half = 8 if radius <= 8 else math.ceil(radius)
    offsets = np.arange(-half, half + 1)
    disk = (offsets[:, None] ** 2 + offsets[None, :] ** 2 <= radius**2).astype(np.float64)
    disk /= disk.sum()
    smooth = gaussian_filter(torch.from_numpy(disk), alias_sigma, 1 if radius <= 8 else 2, "reflect101")
    return smooth.numpy().astype(np.float32)


@register(
    "glass_blur",
    "Glass blur",
    "Gaussian blur, then pixels copied from random places nearby, then blurred again: frosted glass.",
    random=True,
)
def glass_blur(images: Tensor, constants: Constants, generators: Generators) -> Tensor:
    """Blurred with `sigma`, shuffled `iterations` times by up to `max_delta` px (`shuffle_sources`), blurred again.

    The moves are drawn per image, on the CPU, before any is made."""
    blurred = _scikit_gaussian(images, constants["sigma"])
    shape = (int(constants["iterations"]), 2, *images.shape[-2:])
    reach = int(constants["max_delta"])
    moves = torch.from_numpy(
        np.stack([rng.integers(-reach, reach, shape, dtype=np.int8) for rng in generators])
    )
    for iteration in range(shape[0]):
        sources = shuffle_sources(moves[:, iteration].long(), reach).to(images.device)
        flat = blurred.flatten(2)
        blurred = flat.gather(2, sources[:, None].expand_as(flat)).view_as(images)
    return _scikit_gaussian(blurred, constants["sigma"])


def shuffle_sources(moves: Tensor, reach: int) -> Tensor:
    """Flat indices (N, H*W) of where each pixel's value comes from in one pass of the generator's shuffle.

    ``moves`` (N, 2, H, W) holds the offsets (rows, columns) drawn in [-reach, reach). The generator walks
    rows and columns downwards from H - reach to reach + 1 and means to swap each pixel with the one at its
    offset, but its swap of two array views only copies that pixel here; the published images were made so,
    and it is kept. A copy from a pixel already visited takes that pixel's new value, so chains are followed
    to their end, by doubling.
    """
    n, _, height, width = moves.shape
    here = torch.arange(height * width).view(height, width)
    inside = torch.zeros(height, width, dtype=torch.bool)
    inside[reach + 1 : height - reach + 1, reach + 1 : width - reach + 1] = True
    there = torch.where(inside, here + moves[:, 0] * width + moves[:, 1], here).view(n, -1)
    follow = (there > here.view(-1)) & inside.view(-1).expand(n, -1).gather(1, there)
    # Twice the pixels: the first half stands for values after the pass, the second for values before it.
    size = height * width
    originals = torch.arange(size, 2 * size).expand(n, -1)
    chain = torch.cat([torch.where(follow, there, there + size), originals], dim=1)
    while bool((chain < size).any()):
        chain = chain.gather(1, chain)
    return chain[:, :size] - size


def draw_angle(generator: np.random.Generator, low: float, high: float) -> float:
    """Direction of motion in degrees, drawn first; 0 is to the right, positive is clockwise on the screen."""
    return float(generator.uniform(low, high))


def trail_weights(radius: float, sigma: float, angle: float) -> dict[Offset, float]:
    """ImageMagick's ``MotionBlurImage``: 2 ceil(radius) + 1 steps along the angle under half a Gaussian."""
    width = 2 * math.ceil(radius) + 1
    taps = np.exp(-0.5 * (np.arange(width) / sigma) ** 2) if sigma > 0 else np.eye(1, width)[0]
    dy, dx = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    weights: dict[Offset, float] = {}
    for step, weight in enumerate(taps / taps.sum()):
        offset = math.ceil(step * dy - 0.5), math.ceil(step * dx - 0.5)
        weights[offset] = weights.get(offset, 0.0) + float(weight)
    return weights


def line_weights(length: float, angle: float) -> dict[Offset, float]:
    """A centred line of points 1 px apart, each 1/length, spread bilinearly on the grid.

    An odd length has that many points; between two odd lengths the outermost points weigh less.
    """
    dy, dx = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    weights: dict[Offset, float] = {}
    reach = math.ceil((length - 1) / 2)
    for step in range(-reach, reach + 1):
        share = min(1.0, (length + 1) / 2 - abs(step)) / length
        top, left = math.floor(step * dy), math.floor(step * dx)
        low, right = step * dy - top, step * dx - left
        for row, row_weight in ((top, 1 - low), (top + 1, low)):
            for column, column_weight in ((left, 1 - right), (left + 1, right)):
                offset = row, column
                weights[offset] = weights.get(offset, 0.0) + share * row_weight * column_weight
    return {offset: weight for offset, weight in weights.items() if weight}


@register(
    "motion_blur",
    "Motion blur",
    "A trail along a line at a seeded angle between -45 and 45 degrees: a moving camera.",
    random=True,
)
def motion_blur(images: Tensor, constants: Constants, generators: Generators) -> Tensor:
    """With ``length``: a uniform centred line and reflect-101 border. Without: ImageMagick's one-sided
    Gaussian
    trail with repeated edge, as the ImageNet-C generator calls it."""
    angles = [draw_angle(generator, *MOTION_ANGLES) for generator in generators]
    if "length" in constants:
        kernels = [line_weights(constants["length"], angle) for angle in angles]
        return sparse_filters(images, kernels, "reflect101")
    return blur_along(images, constants["radius"], constants["sigma"], angles)


def blur_along(images: Tensor, radius: float, sigma: float, angles: list[float]) -> Tensor:
    """ImageMagick's motion blur of (N, C, H, W), each image along its own angle in degrees."""
    return sparse_filters(images, [trail_weights(radius, sigma, angle) for angle in angles], "replicate")


@register("zoom_blur", "Zoom blur", "Mean of ever larger copies: a camera rushing towards the scene.")
def zoom_blur(images: Tensor, constants: Constants, generators: Generators) -> Tensor:
    """The mean of the image and of its copies enlarged by 1 to below `end` in steps of `step`, cropped to its size."""
    factors = np.arange(
        1, constants["end"], constants["step"]
    )  # its rounding decides how many; kept on purpose
    total = images.clone()
    for factor in factors.tolist():
        total.add_(central_zoom(images, factor))
    return total / (len(factors) + 1)
