"""Filters that the degradations share, written as fixed sums of shifted images.

Every pixel is the same sequence of separate multiplications and additions whatever stands beside it in the
batch. A library convolution picks its algorithm (and, on a GPU, its precision) from the batch size, which
would make an image's degraded copy depend on its neighbours in the last bit.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

Offset = tuple[int, int]  # rows down, columns to the right


def border_index(positions: Tensor, size: int, border: str) -> Tensor:
    """Fold integer positions outside [0, size) back inside.

    ``replicate`` repeats the edge pixel; ``reflect101`` mirrors about its centre (dcb|abcd|cba, OpenCV's
    default); ``symmetric`` mirrors about its outer edge (cba|abcd|dcb, SciPy's ``reflect``). Any distance is
    allowed.
    """
    if border == "replicate":
        return positions.clamp(0, size - 1)
    if border == "symmetric":
        positions = positions % (2 * size)
        return torch.minimum(positions, 2 * size - 1 - positions)
    if border == "reflect101":
        period = max(1, 2 * (size - 1))
        positions = positions % period
        return torch.minimum(positions, period - positions) if size > 1 else positions
    raise ValueError(f"border {border!r} is unknown; allowed are replicate, reflect101 and symmetric")


def pad(images: Tensor, rows: tuple[int, int], columns: tuple[int, int], border: str) -> Tensor:
    """Extend (..., H, W) by (before, after) rows and columns, by any amount."""
    for dim, (before, after) in ((-2, rows), (-1, columns)):
        if before or after:
            size = images.shape[dim]
            positions = torch.arange(-before, size + after, device=images.device)
            images = images.index_select(dim, border_index(positions, size, border))
    return images


def gaussian_taps(sigma: float, radius: int) -> list[float]:
    """Weights at distance 0 to radius of a normalised Gaussian exp(-d^2 / (2 sigma^2)) cut off at radius."""
    if sigma <= 0 or radius == 0:
        return [1.0]
    half = [math.exp(-0.5 * (distance / sigma) ** 2) for distance in range(radius + 1)]
    total = half[0] + 2 * math.fsum(half[1:])
    return [weight / total for weight in half]


def gaussian_filter(images: Tensor, sigma: float, radius: int, border: str) -> Tensor:
    """Separable Gaussian blur of (..., H, W) with the kernel cut off at ``radius`` pixels."""
    taps = gaussian_taps(sigma, radius)
    return _filter_columns(_filter_rows(images, taps, border), taps, border)


def _filter_rows(images: Tensor, taps: Sequence[float], border: str) -> Tensor:
    radius, height = len(taps) - 1, images.shape[-2]
    padded = pad(images, (radius, radius), (0, 0), border)
    return _mirror_sum([padded.narrow(-2, start, height) for start in range(2 * radius + 1)], taps)


def _filter_columns(images: Tensor, taps: Sequence[float], border: str) -> Tensor:
    radius, width = len(taps) - 1, images.shape[-1]
    padded = pad(images, (0, 0), (radius, radius), border)
    return _mirror_sum([padded.narrow(-1, start, width) for start in range(2 * radius + 1)], taps)


def _mirror_sum(shifted: Sequence[Tensor], taps: Sequence[float]) -> Tensor:
    """Sum of 2 r + 1 shifted copies with mirror-symmetric weights, given from the centre outwards."""
    radius = len(taps) - 1
    total = shifted[radius] * taps[0]
    pair = torch.empty_like(total)
    for distance in range(1, radius + 1):
        torch.add(shifted[radius - distance], shifted[radius + distance], out=pair)
        total.add_(pair.mul_(taps[distance]))
    return total


def symmetric_filter(images: Tensor, kernel: np.ndarray, border: str) -> Tensor:
    """Filter (..., H, W) with an odd square kernel mirror-symmetric in both axes; zeros cost nothing."""
    half = len(kernel) // 2
    reach = int(np.abs(np.argwhere(kernel) - half).max())
    height, width = images.shape[-2:]
    padded = pad(images, (reach, reach), (reach, reach), border)
    total = torch.zeros_like(images)
    for dx in range(reach + 1):
        columns = padded.narrow(-1, reach - dx, width)
        columns = columns + padded.narrow(-1, reach + dx, width) if dx else columns
        for dy in range(reach + 1):
            weight = float(kernel[half + dy, half + dx])
            if weight:
                rows = columns.narrow(-2, reach - dy, height)
                rows = rows + columns.narrow(-2, reach + dy, height) if dy else rows
                total.add_(rows * weight)
    return total


def sparse_filter(image: Tensor, weights: Mapping[Offset, float], border: str) -> Tensor:
    """Weighted sum of copies of (..., H, W): weight (dy, dx) is that of the pixel dy below, dx right."""
    height, width = image.shape[-2:]
    top, left = (max(0, -min(offset[axis] for offset in weights)) for axis in (0, 1))
    bottom, right = (max(0, max(offset[axis] for offset in weights)) for axis in (0, 1))
    padded = pad(image, (top, bottom), (left, right), border)
    total = torch.zeros_like(image)
    for (dy, dx), weight in weights.items():
        total.add_(padded.narrow(-2, top + dy, height).narrow(-1, left + dx, width) * weight)
    return total


def resample(
    images: Tensor, dim: int, sources: Sequence[Sequence[int]], weights: Sequence[Sequence[float]]
) -> Tensor:
    """Make each row (``dim=-2``) or column (``dim=-1``) a weighted sum of source rows or columns.

    ``sources[j][i]`` and ``weights[j][i]`` are the j-th source and its weight for output i.
    """
    shape = (-1, 1) if dim == -2 else (-1,)
    total: Tensor | None = None
    for source, weight in zip(sources, weights, strict=True):
        part = images.index_select(dim, torch.as_tensor(source, device=images.device))
        part.mul_(torch.as_tensor(weight, dtype=images.dtype, device=images.device).view(shape))
        total = part if total is None else total.add_(part)
    assert total is not None
    return total


def box_resize(images: Tensor, height: int, width: int) -> Tensor:
    """Resize (..., H, W) as Pillow's ``BOX``, but not rounded to bytes: area means down, repetition up."""
    for dim, size in ((-2, height), (-1, width)):
        images = resample(images, dim, *_box_plan(images.shape[dim], size))
    return images


def _box_plan(source: int, target: int) -> tuple[list[list[int]], list[list[float]]]:
    """Sources and weights of Pillow's box filter: pixels whose centre lies in the window (low end open)."""
    support = 0.5 * max(1.0, source / target)
    windows = []
    for position in range(target):
        centre = (position + 0.5) * source / target
        near = range(max(0, int(centre - support)), min(source, int(centre + support) + 1))
        windows.append([pixel for pixel in near if -support < pixel + 0.5 - centre <= support])
    longest = max(len(window) for window in windows)
    sources = [[window[min(j, len(window) - 1)] for window in windows] for j in range(longest)]
    weights = [[1 / len(window) if j < len(window) else 0.0 for window in windows] for j in range(longest)]
    return sources, weights


def central_zoom(images: Tensor, factor: float) -> Tensor:
    """Enlarge the centre of (..., H, W) by ``factor`` >= 1 and cut it to the old size.

    Linear interpolation with corners aligned, as ``clipped_zoom`` of the ImageNet-C generator through
    ``scipy.ndimage.zoom(order=1)``; both axes by their own length.
    """
    for dim in (-2, -1):
        images = resample(images, dim, *_zoom_plan(images.shape[dim], factor))
    return images


def _zoom_plan(size: int, factor: float) -> tuple[list[list[int]], list[list[float]]]:
    crop = math.ceil(size / factor)
    enlarged = round(crop * factor)
    start, trim = (size - crop) // 2, (enlarged - size) // 2
    scale = (crop - 1) / (enlarged - 1) if enlarged > 1 else 0.0
    positions = [(trim + i) * scale for i in range(size)]
    lower = [min(int(position), max(crop - 2, 0)) for position in positions]
    upper = [min(i + 1, crop - 1) for i in lower]
    weight = [position - i for position, i in zip(positions, lower, strict=True)]
    return [[start + i for i in lower], [start + i for i in upper]], [[1 - w for w in weight], weight]


def sample_bilinear(images: Tensor, rows: Tensor, columns: Tensor, border: str) -> Tensor:
    """Read (N, C, H, W) at fractional ``rows`` and ``columns``, each (N, H, W) on the CPU, in pixels."""
    n, channels, height, width = images.shape
    top, left = rows.floor(), columns.floor()
    row_weights, column_weights = _corner_weights(rows - top, images), _corner_weights(columns - left, images)
    flat = images.reshape(n, channels, height * width)
    total = torch.zeros_like(images)
    for dy, row_weight in enumerate(row_weights):
        row = border_index(top.long() + dy, height, border) * width
        for dx, column_weight in enumerate(column_weights):
            index = (row + border_index(left.long() + dx, width, border)).to(images.device)
            corner = flat.gather(2, index.view(n, 1, -1).expand(n, channels, -1)).view_as(images)
            total.add_(corner.mul_(row_weight * column_weight))
    return total


def _corner_weights(fraction: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
    second = fraction.unsqueeze(1).to(images.device, images.dtype)
    return 1 - second, second
