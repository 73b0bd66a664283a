"""Many small pictures as one file, so that a page of them is sent and decoded at once."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from data.datasets import DatasetError, ImageSource

SIDE = 64
"""Larger pictures are averaged down to this many pixels a side."""
_COMPRESSION = 1  # the page is waiting: a higher level saves a tenth and takes ten times as long


def images_of(data: ImageSource, rows: Sequence[int]) -> Tensor:
    """The images of any rows, in that order, uint8 `(n, 3, H, W)`; raises `DatasetError` if they can't be had."""
    chosen = torch.tensor(list(rows), dtype=torch.int64)
    if not len(chosen):
        return data.pixels(slice(0))
    return data.take(chosen).pixels(slice(0, len(chosen)))


def small(pictures: Tensor) -> Tensor:
    """Pictures `(n, 3, H, W)`, uint8 or float32 in [0, 1], as uint8 `(n, 3, h, w)` of at most `SIDE` px a side."""
    floats = pictures.float() / 255 if pictures.dtype == torch.uint8 else pictures
    if max(pictures.shape[-2:]) > SIDE and len(pictures):
        floats = adaptive_avg_pool2d(floats, SIDE)
    return (floats * 255).round().to(torch.uint8)


def framed(pictures: Tensor, boxes: Sequence[tuple[int, int, int, int]], size: Sequence[int]) -> Tensor:
    """Small pictures uint8 `(n, 3, h, w)` of images of `size` `(H, W)`, with a line of a pixel just outside each box.

    Boxes are those of `outside_dimmed`, px of the image. The line is black and white in turns, so that it is seen on
    any picture, and runs along the sides that do not lie at the border.
    """
    found = pictures.clone()
    height, width = pictures.shape[-2:]
    places = torch.arange(height)[:, None] + torch.arange(width)
    line = (((places // 2) % 2) * 255).to(torch.uint8)
    for picture, (top, left, bottom, right) in zip(found, boxes, strict=True):
        up, down = round(top * height / size[0]) - 1, round(bottom * height / size[0])
        first, last = round(left * width / size[1]) - 1, round(right * width / size[1])
        ring = torch.zeros(height, width, dtype=torch.bool)
        ring[max(up, 0) : down + 1, max(first, 0) : last + 1] = True
        ring[up + 1 : down, first + 1 : last] = False
        picture[:, ring] = line[ring]
    return found


def enlarged(picture: Tensor, least: int) -> np.ndarray:
    """A picture `(3, H, W)` in [0, 1] as uint8 `(h, w, 3)`: one of less than `least` px a side with every pixel a
    square of as many as fit."""
    pixels = (picture.permute(1, 2, 0).cpu().numpy() * 255).round().astype(np.uint8)
    times = max(1, least // pixels.shape[0])
    return pixels.repeat(times, axis=0).repeat(times, axis=1)


def sheet(lines: Sequence[Tensor]) -> bytes:
    """PNG of lines of pictures, one below the other: each uint8 `(n, 3, h, w)`, all of the same shape.

    Raises `DatasetError` when there is no picture.
    """
    if not lines or not len(lines[0]):
        raise DatasetError("there is no picture to show.")
    rows = [line.permute(2, 0, 3, 1).reshape(line.shape[2], -1, 3) for line in lines]
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(torch.cat(rows).numpy())).save(
        buffer, "PNG", compress_level=_COMPRESSION
    )
    return buffer.getvalue()


def outside_dimmed(pictures: Tensor, boxes: Sequence[tuple[int, int, int, int]]) -> Tensor:
    """Pictures uint8 `(n, 3, H, W)`, each paler outside its box `(top, left, bottom, right)`, half-open, px."""
    pale = (pictures.float() * 0.35 + 255 * 0.65 * 0.85).round().to(torch.uint8)
    for picture, original, (top, left, bottom, right) in zip(pale, pictures, boxes, strict=True):
        picture[:, top:bottom, left:right] = original[:, top:bottom, left:right]
    return pale
