"""cue10: ten classes of drawn 64 x 64 scenes with exact object masks and separable cues.

Every scene has one object with a *shape* and a *texture*, each of which alone gives the class away, in random
colours, at a random size, place and rotation, on a 1/f-noise background cluttered with plain ellipses. Split
`conflict` pairs the shape of one class with the texture of another (Geirhos et al., ICLR 2019: which cue does a
network follow?); its label is the shape's class and both are in `attributes`. Split `shortcut` adds a corner tag
whose colour betrays the class. Scene i of a split depends on (seed, split, i) alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from data import storage
from data.datasets import Dataset, DatasetError, ImageSet, Progress, register

SIZE = 64
SEED = 20261
VERSION = 1
SPLITS = {"train": 12_000, "validation": 2_000, "test": 2_000, "conflict": 2_000, "shortcut": 2_000}
TAG = 8
"""Side of the corner tag of split `shortcut`, in pixels."""

_CHUNK = 500
_ELLIPSES = 5
_NUMBERS = 17 + 8 * _ELLIPSES
_SPLIT_CODES = {name: code for code, name in enumerate(SPLITS)}

Shape = Callable[[Tensor, Tensor], Tensor]


def _polygon(u: Tensor, v: Tensor, sides: int) -> Tensor:
    """Signed distance to a regular polygon of unit circumradius."""
    angle = torch.atan2(v, u)
    step = 2 * math.pi / sides
    folded = torch.remainder(angle, step) - step / 2
    return torch.hypot(u, v) * torch.cos(folded) - math.cos(step / 2)


def _star(u: Tensor, v: Tensor) -> Tensor:
    angle = torch.remainder(torch.atan2(v, u), 2 * math.pi / 5) - math.pi / 5
    radius = torch.hypot(u, v)
    slope = angle.abs() / (math.pi / 5)
    return (radius - (0.42 + 0.68 * slope**1.4)) * 0.6


def _heart(u: Tensor, v: Tensor) -> Tensor:
    x, y = u * 1.15, -v * 1.15 + 0.15
    return (
        ((x**2 + y**2 - 0.75) ** 3 - x**2 * y**3).clamp(-1, 1).sign()
        * (((x**2 + y**2 - 0.75) ** 3 - x**2 * y**3).abs().clamp_min(1e-9) ** (1 / 3))
        * 0.4
    )


def _cross(u: Tensor, v: Tensor) -> Tensor:
    a, b = u.abs(), v.abs()
    bar = torch.minimum(torch.maximum(a - 1, b - 0.36), torch.maximum(a - 0.36, b - 1))
    return bar


SHAPES: dict[str, Shape] = {
    "disc": lambda u, v: torch.hypot(u, v) - 0.9,
    "triangle": partial(_polygon, sides=3),
    "square": partial(_polygon, sides=4),
    "hexagon": partial(_polygon, sides=6),
    "star": _star,
    "cross": _cross,
    "ring": lambda u, v: (torch.hypot(u, v) - 0.68).abs() - 0.28,
    "heart": _heart,
    "bar": lambda u, v: torch.maximum(u.abs() - 1.0, v.abs() - 0.4),
    "crescent": lambda u, v: torch.maximum(torch.hypot(u, v) - 0.95, 0.75 - torch.hypot(u - 0.5, v)),
}
"""Signed distance in object units (negative inside), of coordinates in which the object has radius one."""


def _wave(x: Tensor) -> Tensor:
    return torch.sin(2 * math.pi * x)


def _cell(x: Tensor) -> Tensor:
    return torch.remainder(x, 1.0) - 0.5


def _bricks(p: Tensor, q: Tensor) -> Tensor:
    row = torch.floor(q)
    joint = torch.minimum(0.5 - _cell(p / 2 + 0.5 * row).abs(), 0.5 * (0.5 - _cell(q).abs()))
    return 24 * (joint - 0.07)


TEXTURES: dict[str, Shape] = {
    "plain": lambda p, q: torch.ones_like(p),
    "stripes": lambda p, q: 2 * _wave(p),
    "checks": lambda p, q: 3 * _wave(p / 2) * _wave(q / 2),
    "dots": lambda p, q: 8 * (0.3 - torch.hypot(_cell(p), _cell(q))),
    "zigzag": lambda p, q: 2 * _wave(p + 0.9 * _cell(q / 2).abs()),
    "rings": lambda p, q: 2 * _wave(torch.hypot(p, q)),
    "bricks": _bricks,
    "mesh": lambda p, q: 10 * (0.15 - torch.minimum(_cell(p).abs(), _cell(q).abs())),
    "gradient": lambda p, q: 0.28 * p,
    "crosses": lambda p, q: (
        10
        * (
            0.12
            - torch.maximum(
                torch.minimum(_cell(p).abs(), _cell(q).abs()),
                torch.maximum(_cell(p).abs(), _cell(q).abs()) - 0.24,
            )
        )
    ),
}
"""Mixing weight before clipping to [-1, 1], of coordinates in which the texture has period one."""

CLASSES = tuple(f"{shape}/{texture}" for shape, texture in zip(SHAPES, TEXTURES, strict=True))


def tag_colours() -> Tensor:
    """RGB in [0, 1] of the corner tag of each class, `(10, 3)`: hues a tenth of a circle apart."""
    hue = torch.arange(10) / 10 * 2 * math.pi
    return torch.stack([0.5 + 0.5 * torch.cos(hue - shift) for shift in (0.0, 2.0944, 4.1888)], dim=1)


def _draw_numbers(split: str, start: int, stop: int, seed: int) -> tuple[Tensor, Tensor]:
    """Per scene: uniform numbers `(n, _NUMBERS)` and white noise `(n, 3, SIZE, SIZE)`, from (seed, split, index)."""
    uniform = np.empty((stop - start, _NUMBERS), np.float32)
    noise = np.empty((stop - start, 3, SIZE, SIZE), np.float32)
    for row, index in enumerate(range(start, stop)):
        generator = np.random.Generator(np.random.SFC64([seed, _SPLIT_CODES[split], index]))
        uniform[row] = generator.random(_NUMBERS, dtype=np.float32)
        noise[row] = generator.standard_normal((3, SIZE, SIZE), dtype=np.float32)
    return torch.from_numpy(uniform), torch.from_numpy(noise)


def _background(numbers: Tensor, noise: Tensor) -> Tensor:
    """1/f noise in random colours, `(n, 3, SIZE, SIZE)` around a random mean."""
    frequency = torch.hypot(torch.fft.fftfreq(SIZE)[:, None], torch.fft.rfftfreq(SIZE)[None])
    frequency[0, 0] = math.inf
    field = torch.fft.irfft2(torch.fft.rfft2(noise) / frequency, s=(SIZE, SIZE))
    field = field / field.flatten(2).std(dim=2)[..., None, None]
    shared = 0.8 * field.mean(dim=1, keepdim=True) * 3**0.5 + 0.6 * field
    mean = 0.25 + 0.5 * numbers[:, 0:3, None, None]
    return mean + (0.08 + 0.10 * numbers[:, 3, None, None, None]) * shared


def _grid() -> tuple[Tensor, Tensor]:
    axis = torch.arange(SIZE) + 0.5
    return axis[None, None, :].expand(1, SIZE, SIZE), axis[None, :, None].expand(1, SIZE, SIZE)


def _rotated(x0: Tensor, y0: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Pixel coordinates `(n, SIZE, SIZE)` around a centre, turned by `angle` radians."""
    x, y = _grid()
    dx, dy = x - x0[:, None, None], y - y0[:, None, None]
    c, s = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
    return c * dx + s * dy, c * dy - s * dx


def _blend(picture: Tensor, colour: Tensor, coverage: Tensor) -> Tensor:
    return picture + (colour - picture) * coverage[:, None]


def _clutter(picture: Tensor, numbers: Tensor) -> Tensor:
    """Lay a few plain ellipses over the background."""
    for n in numbers.unflatten(1, (_ELLIPSES, 8)).unbind(1):
        u, v = _rotated(n[:, 0] * SIZE, n[:, 1] * SIZE, n[:, 2] * math.pi)
        a, b = 3 + 8 * n[:, 3, None, None], 2 + 4 * n[:, 4, None, None]
        distance = (torch.hypot(u / a, v / b) - 1) * torch.minimum(a, b)
        picture = _blend(picture, n[:, 5:8, None, None], 0.75 * (0.5 - distance).clamp(0, 1))
    return picture


def _object(numbers: Tensor, shapes: Tensor, textures: Tensor) -> tuple[Tensor, Tensor]:
    """Signed distance in pixels and texture weight in [0, 1], both `(n, SIZE, SIZE)`."""
    radius = 13 + 9 * numbers[:, 0]
    margin = 0.8 * radius
    x0, y0 = (margin + (SIZE - 2 * margin) * numbers[:, k] for k in (1, 2))
    u, v = _rotated(x0, y0, numbers[:, 3] * 2 * math.pi)
    p, q = _rotated(x0, y0, numbers[:, 4] * 2 * math.pi)
    period = (5.5 + 2.5 * numbers[:, 5])[:, None, None]
    distance, weight = torch.empty_like(u), torch.empty_like(u)
    for k, (shape, texture) in enumerate(zip(SHAPES.values(), TEXTURES.values(), strict=True)):
        rows, scale = shapes == k, radius[shapes == k, None, None]
        distance[rows] = shape(u[rows] / scale, v[rows] / scale) * scale
        rows = textures == k
        weight[rows] = texture(p[rows] / period[rows], q[rows] / period[rows]).clamp(-1, 1) * 0.5 + 0.5
    return distance, weight


def _paint(picture: Tensor, numbers: Tensor, distance: Tensor, weight: Tensor) -> Tensor:
    """Paint the object in two random colours of clearly different lightness."""
    dark = 0.45 * numbers[:, 0:3]
    light = 0.55 + 0.45 * numbers[:, 3:6]
    swap = (numbers[:, 6] < 0.5)[:, None]
    first, second = torch.where(swap, dark, light), torch.where(swap, light, dark)
    mixed = first[..., None, None] * weight[:, None] + second[..., None, None] * (1 - weight[:, None])
    return _blend(picture, mixed, (0.5 - distance).clamp(0, 1))


def _pairing(split: str, start: int, stop: int) -> tuple[Tensor, Tensor]:
    """Class of the shape and class of the texture of each scene: balanced, equal except in `conflict`."""
    index = torch.arange(start, stop)
    shapes = index % 10
    if split != "conflict":
        return shapes, shapes
    return shapes, (shapes + 1 + (index // 10) % 9) % 10


def draw(
    split: str, start: int, stop: int, seed: int = SEED, *, tag: bool = True
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw scenes `start` to `stop` of a split.

    Returns images uint8 `(n, 3, 64, 64)`, masks bool `(n, 64, 64)`, and the classes of shape and texture, int64
    `(n,)`. The mask holds the visible pixels whose centre is inside the object. Without `tag`, scenes of `shortcut`
    show what their tags hide.
    """
    shapes, textures = _pairing(split, start, stop)
    numbers, noise = _draw_numbers(split, start, stop, seed)
    picture = _clutter(_background(numbers[:, :4], noise), numbers[:, 17:])
    distance, weight = _object(numbers[:, 4:10], shapes, textures)
    picture = _paint(picture, numbers[:, 10:17], distance, weight)
    mask = distance < 0
    if split == "shortcut" and tag:
        picture[:, :, :TAG, :TAG] = tag_colours()[shapes][..., None, None]
        mask[:, :TAG, :TAG] = False
    return (picture.clamp(0, 1) * 255).round().to(torch.uint8), mask, shapes, textures


def _draw_split(split: str, progress: Progress | None) -> dict[str, Tensor]:
    total = SPLITS[split]
    parts = []
    for start in range(0, total, _CHUNK):
        parts.append(draw(split, start, min(start + _CHUNK, total)))
        if progress:
            progress(min(start + _CHUNK, total), total, f"drawing cue10 {split}")
    names = ("images", "masks", "shape", "texture")
    return {name: torch.cat(column) for name, column in zip(names, zip(*parts, strict=True), strict=True)}


def _load(split: str, progress: Progress | None) -> ImageSet:
    path = storage.cache_folder() / f"cue10-v{VERSION}-{SEED}-{split}.safetensors"
    if path.is_file():
        tensors = storage.read_tensors(path)
    else:
        tensors = _draw_split(split, progress)
        storage.write_tensors(path, tensors)
    ids = tuple(f"cue10/{split}/{index:05d}" for index in range(SPLITS[split]))
    attributes = {"shape": tensors["shape"], "texture": tensors["texture"]}
    return ImageSet(
        "cue10", split, tensors["images"], tensors["shape"], CLASSES, ids, tensors["masks"], attributes
    )


def scene(split: str, index: int) -> ImageSet:
    """One scene on its own, drawn without drawing the rest of its split."""
    if split not in SPLITS:
        raise DatasetError(f"cue10 has no scene {split}/{index}; splits are {', '.join(SPLITS)}.")
    if not 0 <= index < SPLITS[split]:
        last = SPLITS[split] - 1
        raise DatasetError(f"cue10 has no scene {split}/{index}; allowed are {split}/0 to {split}/{last}.")
    images, masks, shapes, textures = draw(split, index, index + 1)
    attributes = {"shape": shapes, "texture": textures}
    return ImageSet(
        "cue10", split, images, shapes, CLASSES, (f"cue10/{split}/{index:05d}",), masks, attributes
    )


def untagged(data: ImageSet) -> ImageSet:
    """The same scenes of split `shortcut` with what their tags hide; all other pixels are those of `data`.

    Raises `DatasetError` for other images.
    """
    _check_tagged(data)
    images, masks = data.images.clone(), data.masks
    masks = None if masks is None else masks.clone()
    for row, name in enumerate(data.ids):
        index = int(name.rsplit("/", 1)[1])
        scenes, objects, *_ = draw(data.split, index, index + 1, tag=False)
        images[row, :, :TAG, :TAG] = scenes[0, :, :TAG, :TAG]
        if masks is not None:
            masks[row, :TAG, :TAG] = objects[0, :TAG, :TAG]
    return replace(data, images=images, masks=masks)


def retagged(data: ImageSet, classes: Tensor) -> ImageSet:
    """The same scenes of split `shortcut` with the tags of other classes, int64 `(N,)`.

    Raises `DatasetError` for other images.
    """
    _check_tagged(data)
    images = data.images.clone()
    images[:, :, :TAG, :TAG] = (tag_colours()[classes] * 255).round().to(torch.uint8)[..., None, None]
    return replace(data, images=images)


def _check_tagged(data: ImageSet) -> None:
    if (data.name, data.split) != ("cue10", "shortcut"):
        raise DatasetError(f"{data.name} {data.split} has no tags; allowed are scenes of cue10 shortcut.")


register(Dataset("cue10", "cue10 (drawn scenes)", tuple(SPLITS), CLASSES, SIZE, _load, counts=SPLITS))
