"""The corruptions once more, independently: OpenCV, SciPy, scikit-image and Pillow, by the formulas of the
ImageNet-C and CIFAR-10-C generators. Images are (H, W, 3) float64 in [0, 1]; a generator gives the fields."""

import io
import math
from collections.abc import Callable, Mapping
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import map_coordinates, zoom
from skimage.color import hsv2rgb, rgb2hsv
from skimage.filters import gaussian

Array = NDArray[np.float64]
Constants = Mapping[str, float]
Reference = Callable[[Array, Constants, np.random.Generator], Array]


def as_bytes(image: Array) -> NDArray[np.uint8]:
    return np.round(image * 255).astype(np.uint8)


def gaussian_noise(x: Array, c: Constants, rng: np.random.Generator) -> Array:
    return x + c["sigma"] * channels_last(rng.standard_normal((3, *x.shape[:2]), dtype=np.float32))


def speckle_noise(x: Array, c: Constants, rng: np.random.Generator) -> Array:
    return x + x * c["sigma"] * channels_last(rng.standard_normal((3, *x.shape[:2]), dtype=np.float32))


def shot_noise(x: Array, c: Constants, rng: np.random.Generator) -> Array:
    mean = x.astype(np.float32).astype(np.float64).transpose(2, 0, 1) * c["rate"]
    return channels_last(rng.poisson(mean) / c["rate"])


def impulse_noise(x: Array, c: Constants, rng: np.random.Generator) -> Array:
    draw = channels_last(rng.random((3, *x.shape[:2]), dtype=np.float32))
    return np.where(draw < c["amount"] / 2, 0.0, np.where(draw < c["amount"], 1.0, x))


def channels_last(field: NDArray[np.floating]) -> Array:
    return field.transpose(1, 2, 0).astype(np.float64)


def gaussian_blur(x: Array, c: Constants, rng: np.random.Generator) -> Array:
    if "kernel" in c:
        size = int(c["kernel"])
        return cv2.GaussianBlur(x, (size, size), c["sigma"]).astype(np.float64)
    return gaussian(x, sigma=c["sigma"], channel_axis=-1)


def defocus_blur(x: Array, c: Constants, rng: np.random.Generator) -> Array:
    radius, size = c["radius"], (3, 3) if c["radius"] <= 8 else (5, 5)
    line = np.arange(-8, 9) if radius <= 8 else np.arange(-radius, radius + 1)
    across, down = np.meshgrid(line, line)
    disk = np.array(across**2 + down**2 <= radius**2, dtype=np.float32)
    disk /= disk.sum()
    return cv2.filter2D(x, -1, cv2.GaussianBlur(disk, size, c["alias_sigma"])).astype(np.float64)


def glass_blur(x: Array, c: Constants, rng: np.random.Generator) -> Array:
    x = gaussian(x, sigma=c["sigma"], channel_axis=-1)
    height, width, reach = x.shape[0], x.shape[1], int(c["max_delta"])
    moves = rng.integers(-reach, reach, (int(c["iterations"]), 2, height, width), dtype=np.int8)
    for dy, dx in moves:
        for h in range(height - reach, reach, -1):
            for w in range(width - reach, reach, -1):
                there = h + int(dy[h, w]), w + int(dx[h, w])
                x[h, w], x[there] = x[there], x[h, w]  # the generator's line: views, so it copies
    return gaussian(x, sigma=c["sigma"], channel_axis=-1)


def image_magick_motion_blur(x: Array, radius: float, sigma: float, angle: float) -> Array:
    width = 2 * math.ceil(radius) + 1
    taps = [math.exp(-i * i / (2 * sigma * sigma)) for i in range(width)]
    kernel = np.zeros((2 * width + 1, 2 * width + 1))
    y, x_ = width * math.sin(math.radians(angle)), width * math.cos(math.radians(angle))
    for i, tap in enumerate(taps):
        down, right = (math.ceil(i * part / math.hypot(x_, y) - 0.5) for part in (y, x_))
        kernel[width + down, width + right] += tap / sum(taps)
    return cv2.filter2D(x, -1, kernel, borderType=cv2.BORDER_REPLICATE).astype(np.float64)


def motion_blur(x: Array, c: Constants, rng: np.random.Generator) -> Array:
    angle = rng.uniform(-45, 45)
    if "radius" in c:
        return image_magick_motion_blur(x, c["radius"], c["sigma"], angle)
    rows, columns = np.mgrid[: x.shape[0], : x.shape[1]].astype(float)
    steps = np.arange(c["length"]) - (c["length"] - 1) / 2
    dy, dx = np.sin(np.deg2rad(angle)), np.cos(np.deg2rad(angle))
    return np.mean([read_at(x, rows + s * dy, columns + s * dx, "mirror") for s in steps], axis=0)


def read_at(x: Array, rows: Array, columns: Array, mode: Literal["mirror", "reflect"]) -> Array:
    channels = [map_coordinates(x[..., i], [rows, columns], order=1, mode=mode) for i in range(x.shape[2])]
    return np.stack(channels, axis=-1)


def clipped_zoom(x: Array, factor: float) -> Array:
    size = x.shape[0]
    crop = math.ceil(size / factor)
    top = (size - crop) // 2
    large = zoom(x[top : top + crop, top : top + crop], (factor, factor, 1), order=1)
    trim = (large.shape[0] - size) // 2
    return large[trim : trim + size, trim : trim + size]


def zoom_blur(x: Array, c: Constants, rng: np.random.Generator) -> Array:
    factors = np.arange(1, c["end"], c["step"])
    return (x + sum(clipped_zoom(x, factor) for factor in factors)) / (len(factors) + 1)


def snow(x: Array, c: Constants, rng: np.random.Generator) -> Array:
    angle = rng.uniform(-135, -45)
    flakes = clipped_zoom(rng.normal(c["mean"], c["deviation"], x.shape[:2])[..., None], c["zoom"])[..., 0]
    flakes[flakes < c["threshold"]] = 0
    streaks = image_magick_motion_blur(np.clip(flakes, 0, 1), c["radius"], c["sigma"], angle)[..., None]
    grey = cv2.cvtColor(x.astype(np.float32), cv2.COLOR_RGB2GRAY)[..., None]
    x = c["mix"] * x + (1 - c["mix"]) * np.maximum(x, grey * 1.5 + 0.5)
    return x + streaks + np.rot90(streaks, k=2)


def plasma(size: int, decay: float, rng: np.random.Generator) -> Array:
    noise = iter(rng.uniform(-1, 1, size * size - 1))
    field, step, wibble = np.zeros((size, size)), size, 100.0

    def fill(top: int, left: int, around: list[tuple[int, int]]) -> None:
        for y in range(top, size, step):
            for x in range(left, size, step):
                corners = sum(field[(y + dy) % size, (x + dx) % size] for dy, dx in around)
                field[y, x] = corners / 4 + wibble**2 * next(noise)

    while step >= 2:
        half = step // 2
        fill(half, half, [(-half, -half), (-half, half), (half, -half), (half, half)])
        for top, left in ((0, half), (half, 0)):
            fill(top, left, [(-half, 0), (half, 0), (0, -half), (0, half)])
        step, wibble = half, wibble / decay
    field -= field.min()
    return field / field.max()


def fog(x: Array, c: Constants, rng: np.random.Generator) -> Array:
    height, width = x.shape[:2]
    cloud = plasma(2 ** math.ceil(math.log2(max(height, width))), c["decay"], rng)[:height, :width, None]
    return (x + c["amplitude"] * cloud) * x.max() / (x.max() + c["amplitude"])


def brightness(x: Array, c: Constants, rng: np.random.Generator) -> Array:
    hsv = rgb2hsv(x)
    hsv[..., 2] = np.clip(hsv[..., 2] + c["shift"], 0, 1)
    return hsv2rgb(hsv)


def contrast(x: Array, c: Constants, rng: np.random.Generator) -> Array:
    mean = x.mean(axis=(0, 1), keepdims=True)
    return (x - mean) * c["factor"] + mean


def saturate(x: Array, c: Constants, rng: np.random.Generator) -> Array:
    hsv = rgb2hsv(x)
    hsv[..., 1] = np.clip(hsv[..., 1] * c["factor"] + c["shift"], 0, 1)
    return hsv2rgb(hsv)


def elastic_transform(x: Array, c: Constants, rng: np.random.Generator) -> Array:
    height, width = x.shape[:2]
    centre, arm = np.array([width // 2, height // 2]), min(height, width) // 3
    corners = np.array([centre + arm, [centre[0] + arm, centre[1] - arm], centre - arm], dtype=np.float32)
    moved = (corners + rng.uniform(-c["affine"], c["affine"], (3, 2))).astype(np.float32)
    back = cv2.invertAffineTransform(cv2.getAffineTransform(corners, moved))
    rows, columns = np.mgrid[:height, :width].astype(float)
    at = [back[axis, 0] * columns + back[axis, 1] * rows + back[axis, 2] for axis in (0, 1)]
    x = read_at(x, at[1], at[0], "mirror")
    if c["alpha"] == 0:
        return x
    down, right = (
        c["alpha"] * gaussian(field, c["sigma"], mode="reflect", truncate=3)
        for field in rng.uniform(-1, 1, (2, height, width))
    )
    return read_at(x, rows + down, columns + right, "reflect")


def pixelate(x: Array, c: Constants, rng: np.random.Generator) -> Array:
    height, width = x.shape[:2]
    small = Image.fromarray(as_bytes(x)).resize(
        (int(width * c["factor"]), int(height * c["factor"])), Image.Resampling.BOX
    )
    return np.array(small.resize((width, height), Image.Resampling.BOX)) / 255


def jpeg_compression(x: Array, c: Constants, rng: np.random.Generator) -> Array:
    """Encoded by OpenCV, decoded by Pillow."""
    options = [cv2.IMWRITE_JPEG_QUALITY, int(c["quality"])]
    encoded = cv2.imencode(".jpg", as_bytes(x)[..., ::-1], options)[1]
    return np.array(Image.open(io.BytesIO(encoded.tobytes()))) / 255


REFERENCES: dict[str, Reference] = {
    function.__name__: function
    for function in (
        gaussian_blur,
        defocus_blur,
        glass_blur,
        motion_blur,
        zoom_blur,
        gaussian_noise,
        shot_noise,
        impulse_noise,
        speckle_noise,
        snow,
        fog,
        brightness,
        contrast,
        saturate,
        elastic_transform,
        pixelate,
        jpeg_compression,
    )
}
