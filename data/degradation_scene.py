"""Weather, colour, geometric and compression degradations."""

import functools
import io
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from data.degradation_blur import blur_along, draw_angle
from data.degradation_filters import (
    CACHED,
    border_index,
    box_resize,
    central_zoom,
    gaussian_taps,
    sample_bilinear,
)
from data.degradation_registry import Constants, Generators, register

SNOW_ANGLES = (-135.0, -45.0)
GREY_WEIGHTS = (0.299, 0.587, 0.114)  # ITU-R BT.601, as OpenCV's RGB2GRAY


@register(
    "snow", "Snow", "Flakes streaked by motion blur over a scene that is whitened a little.", random=True
)
def snow(images: Tensor, constants: Constants, generators: Generators) -> Tensor:
    """Flakes are not rounded to bytes on their way through the motion blur, as the generator's are."""
    angles = [draw_angle(generator, *SNOW_ANGLES) for generator in generators]
    mean, deviation, size = constants["mean"], constants["deviation"], images.shape[-2:]
    flakes = torch.from_numpy(np.stack([rng.normal(mean, deviation, (1, *size)) for rng in generators]))
    # In double precision on the CPU up to the threshold, so that no device rounds a flake into or out of the
    # scene.
    flakes = central_zoom(flakes, constants["zoom"])
    flakes = flakes.masked_fill(flakes < constants["threshold"], 0.0).clamp(0, 1)
    flakes = blur_along(
        flakes.to(images.device, images.dtype), constants["radius"], constants["sigma"], angles
    )
    red, green, blue = (images[:, i : i + 1] * weight for i, weight in enumerate(GREY_WEIGHTS))
    whitened = torch.maximum(images, (red + green + blue) * 1.5 + 0.5)
    mixed = images * constants["mix"] + whitened * (1 - constants["mix"])
    return mixed + flakes + flakes.flip(-2, -1)


@register(
    "fog", "Fog", "A bright cloud of plasma-fractal texture is added and the range rescaled.", random=True
)
def fog(images: Tensor, constants: Constants, generators: Generators) -> Tensor:
    """A cloud of `plasma_fractal` with `decay`, up to `amplitude` thick, is added, and the image scaled so that its
    brightest value would stay as it is under the thickest cloud."""
    height, width = images.shape[-2:]
    size = 1 << max(1, (max(height, width) - 1).bit_length())
    cloud = plasma_fractal(size, constants["decay"], generators)[:, None, :height, :width]
    amplitude = constants["amplitude"]
    brightest = images.amax(dim=(1, 2, 3), keepdim=True)
    hazy = images + torch.from_numpy(cloud * amplitude).to(images.device, images.dtype)
    return hazy * brightest / (brightest + amplitude)


def plasma_fractal(size: int, decay: float, generators: Generators) -> np.ndarray:
    """Periodic height maps (N, size, size) in [0, 1] by the diamond-square algorithm; ``size`` is a power of
    two.

    The noise added at each halving of the step is uniform in +-wibble^2, and wibble is divided by ``decay``.
    """
    noise = iter(_plasma_noise(size, generators))
    heights = np.zeros((len(generators), size, size))
    step, wibble = size, 100.0
    while step >= 2:
        half, amplitude = step // 2, wibble * wibble
        corners = heights[:, ::step, ::step]
        pairs = corners + np.roll(corners, -1, axis=1)
        centres = (pairs + np.roll(pairs, -1, axis=2)) / 4 + amplitude * next(noise)
        across = centres + np.roll(centres, 1, axis=1) + corners + np.roll(corners, -1, axis=2)
        down = centres + np.roll(centres, 1, axis=2) + corners + np.roll(corners, -1, axis=1)
        heights[:, half::step, half::step] = centres
        heights[:, ::step, half::step] = across / 4 + amplitude * next(noise)
        heights[:, half::step, ::step] = down / 4 + amplitude * next(noise)
        step, wibble = half, wibble / decay
    heights -= heights.min(axis=(1, 2), keepdims=True)
    return heights / heights.max(axis=(1, 2), keepdims=True)


def _plasma_noise(size: int, generators: Generators) -> list[np.ndarray]:
    """Three fields (N, k, k) in [-1, 1) for k = 1, 2, 4, ... size/2, cut from one draw per image."""
    flat = np.stack([rng.uniform(-1, 1, size * size - 1) for rng in generators])
    fields, start = [], 0
    for k in (2**i for i in range(size.bit_length() - 1)):
        for _ in range(3):
            fields.append(flat[:, start : start + k * k].reshape(-1, k, k))
            start += k * k
    return fields


@register("brightness", "Brightness", "The HSV value is raised: overexposure.")
def brightness(images: Tensor, constants: Constants, generators: Generators) -> Tensor:
    """`shift` is added to the HSV value, in [0, 1]."""
    value = images.amax(dim=1, keepdim=True)
    raised = (value + constants["shift"]).clamp(0, 1)
    # Hue and saturation are ratios, so a new value scales all channels alike; black has none and turns grey.
    return torch.where(value > 0, images * (raised / value.clamp(min=1e-12)), raised)


@register(
    "contrast",
    "Contrast",
    "Each channel is drawn towards its mean: haze, weak light.",
    aliases=("low_contrast",),
)
def contrast(images: Tensor, constants: Constants, generators: Generators) -> Tensor:
    """`factor` is the share of each channel's distance from its mean over the image that is kept."""
    # One image at a time: how a reduction is split over threads depends on the batch.
    means = torch.stack([image.double().mean(dim=(1, 2), keepdim=True) for image in images]).to(images.dtype)
    return (images - means) * constants["factor"] + means


@register("saturate", "Saturation", "The HSV saturation is scaled and shifted: grey to garish.")
def saturate(images: Tensor, constants: Constants, generators: Generators) -> Tensor:
    """In closed form: each channel's distance below the maximum scales with saturation at constant hue."""
    value, lowest = images.amax(dim=1, keepdim=True), images.amin(dim=1, keepdim=True)
    spread = value - lowest
    saturation = spread / value.clamp(min=1e-12)
    target = (saturation * constants["factor"] + constants["shift"]).clamp(0, 1)
    # A grey pixel has no hue; scikit-image's conversion calls it red, which shows where a shift is added.
    red = torch.tensor([0.0, 1.0, 1.0], device=images.device).view(1, 3, 1, 1)
    distance = torch.where(spread > 0, (value - images) / spread.clamp(min=1e-12), red)
    return value - value * target * distance


@register(
    "elastic_transform",
    "Elastic transform",
    "A random affine map, then a smooth random displacement of every pixel.",
    random=True,
)
def elastic_transform(images: Tensor, constants: Constants, generators: Generators) -> Tensor:
    """By `affine_map` of up to `affine` px with a reflect-101 border, then by `smooth_noise` of `sigma` px, times
    `alpha` px, with a symmetric border; both bilinear."""
    height, width = images.shape[-2:]
    maps = [affine_map(height, width, constants["affine"], rng) for rng in generators]
    rows, columns = (torch.from_numpy(np.stack(axis)) for axis in zip(*maps, strict=True))
    warped = sample_bilinear(images, rows, columns, "reflect101")
    if constants["alpha"] == 0:
        return warped
    shifts = constants["alpha"] * smooth_noise(height, width, constants["sigma"], generators)
    grid = np.mgrid[:height, :width].astype(np.float64)
    rows, columns = torch.from_numpy(grid + shifts).unbind(dim=1)
    return sample_bilinear(warped, rows, columns, "symmetric")


def affine_map(
    height: int, width: int, reach: float, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Source rows and columns (H, W) of the affine map that moves three points by up to ``reach`` pixels.

    The points are three corners of a square of two thirds of the image around its centre.
    """
    centre, arm = np.array([width // 2, height // 2], dtype=float), max(1, min(height, width) // 3)
    points = centre + arm * np.array([[1, 1], [1, -1], [-1, -1]])
    moved = points + generator.uniform(-reach, reach, (3, 2))
    matrix = np.linalg.solve(np.column_stack([moved, np.ones(3)]), points)  # destination (x, y, 1) -> source
    y, x = np.mgrid[:height, :width]
    source = np.clip(x[..., None] * matrix[0] + y[..., None] * matrix[1] + matrix[2], -1e6, 1e6)
    return source[..., 1], source[..., 0]


def smooth_noise(height: int, width: int, sigma: float, generators: Generators) -> np.ndarray:
    """Fields (N, 2, H, W), rows first, of uniform noise in [-1, 1) smoothed by ``smoothing_matrix``."""
    down, across = smoothing_matrix(height, sigma), smoothing_matrix(width, sigma).T
    return np.stack([down @ rng.uniform(-1, 1, (2, height, width)) @ across for rng in generators])


def smoothing_matrix(size: int, sigma: float) -> np.ndarray:
    """Matrix (size, size) of a Gaussian filter cut at 3 sigma, border mirrored; sigma may exceed the size."""
    taps = gaussian_taps(sigma, int(3 * sigma + 0.5))
    reach = len(taps) - 1
    offsets = torch.arange(-reach, reach + 1)
    sources = border_index(torch.arange(size)[:, None] + offsets, size, "symmetric").numpy()
    matrix = np.zeros((size, size))
    np.add.at(matrix, (np.arange(size)[:, None], sources), np.array(taps)[offsets.abs().numpy()])
    return matrix


@register(
    "pixelate",
    "Low resolution",
    "Shrunk by area means to `factor` of the size and enlarged by repeating pixels.",
    aliases=("low_resolution",),
)
def pixelate(images: Tensor, constants: Constants, generators: Generators) -> Tensor:
    """Down to sides of `factor` times the image's, rounded down and at least 1 px, and up again by `box_resize`."""
    height, width = images.shape[-2:]
    factor = constants["factor"]
    low = max(1, int(height * factor)), max(1, int(width * factor))
    step = max(1, CACHED // images[0].numel()) if images.device.type == "cpu" else len(images)
    result = torch.empty(images.shape, dtype=images.dtype, device=images.device)
    for part, target in zip(images.split(step), result.split(step), strict=True):
        box_resize(box_resize(part, *low), height, width, target)
    return result


@register(
    "jpeg_compression",
    "JPEG compression",
    "Encoded as baseline JPEG with 4:2:0 chroma and decoded again.",
    aliases=("jpeg",),
)
def jpeg_compression(images: Tensor, constants: Constants, generators: Generators) -> Tensor:
    """At `quality`, rounded down, 1 to 100; from bytes to bytes, as files are."""
    pixels = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    quality, codec = math.floor(constants["quality"]), _codec()
    decoded = torch.from_numpy(np.stack([codec(image, quality) for image in pixels]))
    decoded = decoded.permute(0, 3, 1, 2).to(
        images.device, images.dtype, memory_format=torch.contiguous_format
    )
    return decoded.div_(255)


@functools.cache
def _codec() -> Callable[[np.ndarray, int], np.ndarray]:
    """OpenCV's JPEG, five times as fast as Pillow's at 32 px, where it is there and gives the same pixels."""
    y, x = np.mgrid[:37, :45]
    picture = np.stack([x * y % 256, x * 5 % 256, (x - y) ** 2 % 256], axis=-1).astype(np.uint8)
    try:
        same = all(
            np.array_equal(_through_opencv(picture, quality), _through_pillow(picture, quality))
            for quality in range(5, 100, 10)
        )
    except ImportError:
        same = False
    return _through_opencv if same else _through_pillow


def _through_opencv(pixels: np.ndarray, quality: int) -> np.ndarray:
    import cv2

    encoded = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))[..., ::-1]


def _through_pillow(pixels: np.ndarray, quality: int) -> np.ndarray:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    buffer.seek(0)
    with Image.open(buffer) as decoded:
        return np.array(decoded)
