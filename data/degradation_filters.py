"""Filters that the degradations share, written as fixed sums of shifted images.

Every pixel is the same sequence of separate multiplications and additions whatever stands beside it in the
batch. A library convolution picks its algorithm (and, on a GPU, its precision) from the batch size, which
would make an image's degraded copy depend on its neighbours in the last bit.
"""

import functools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

Offset = tuple[int, int]  # rows down, columns to the right
CACHED = 2**17
"""Values of which a few copies stay in a core's own cache from one step to the next."""


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
            head, tail = (
                images.index_select(dim, border_index(positions.to(images.device), size, border))
                for positions in (torch.arange(-before, 0), torch.arange(size, size + after))
            )
            images = torch.cat(
                [head, images, tail], dim=dim
            )  # the inside is copied in one piece, not gathered
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
    if images.ndim < 3 or images.device.type != "cpu":
        return _filter_columns(_filter_rows(images, taps, border), taps, border)
    result = torch.empty(images.shape, dtype=images.dtype)
    planes, blurred = images.reshape(-1, *images.shape[-2:]), result.view(-1, *images.shape[-2:])
    step = max(1, CACHED // planes[:1].numel())
    for source, target in zip(planes.split(step), blurred.split(step), strict=True):
        target.copy_(_filter_columns(_filter_rows(source, taps, border), taps, border))
    return result


def _filter_rows(images: Tensor, taps: Sequence[float], border: str) -> Tensor:
    radius, height = len(taps) - 1, images.shape[-2]
    padded = pad(images, (radius, radius), (0, 0), border)
    return _mirror_sum([padded.narrow(-2, start, height) for start in range(2 * radius + 1)], taps)


def _filter_columns(images: Tensor, taps: Sequence[float], border: str) -> Tensor:
    """As for rows, but the shifts run on over the ends of rows: one long row is much quicker than many short ones."""
    radius, width = len(taps) - 1, images.shape[-1]
    padded = pad(images, (0, 0), (radius, radius), border).contiguous()
    total = torch.empty_like(padded)
    flat, inside = padded.view(-1), padded.numel() - 2 * radius
    _mirror_sum(
        [flat.narrow(0, start, inside) for start in range(2 * radius + 1)], taps, total.view(-1)[:inside]
    )
    return total.narrow(-1, 0, width)


def _mirror_sum(shifted: Sequence[Tensor], taps: Sequence[float], out: Tensor | None = None) -> Tensor:
    """Sum of 2 r + 1 shifted copies with mirror-symmetric weights, given from the centre outwards."""
    radius = len(taps) - 1
    total = torch.mul(shifted[radius], taps[0], out=out)
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


def sparse_filters(images: Tensor, kernels: Sequence[Mapping[Offset, float]], border: str) -> Tensor:
    """Weighted sums of copies of (N, C, H, W), each image with its own weights: (dy, dx) is dy below, dx right.

    The shifts run on over the ends of rows and channels, as one long row is much quicker than many short ones.
    """
    top, left = (max([0, *(-offset[axis] for kernel in kernels for offset in kernel)]) for axis in (0, 1))
    bottom, right = (max([0, *(offset[axis] for kernel in kernels for offset in kernel)]) for axis in (0, 1))
    height, width = images.shape[-2:]
    padded = pad(images, (top, bottom), (left, right), border).contiguous()
    row = padded.shape[-1]
    inside = padded[:1].numel() - (top + bottom) * row - left - right
    result, part = torch.empty_like(images, memory_format=torch.contiguous_format), images.new_empty(inside)
    sums = torch.zeros(padded.shape[1:], dtype=images.dtype, device=images.device)
    total = sums.view(-1)[:inside]
    for image, kernel, target in zip(padded.flatten(1), kernels, result, strict=True):
        total.zero_()
        for (dy, dx), weight in kernel.items():
            torch.mul(image.narrow(0, (top + dy) * row + left + dx, inside), weight, out=part)
            total.add_(part)
        target.copy_(sums[:, :height, :width])
    return result


Plan = tuple[tuple[np.ndarray, np.ndarray | None], ...]
"""Pairs of source indices and their weights (None: all 1), each with one entry for every row or column to be made."""


def resample(images: Tensor, dim: int, plan: Plan, out: Tensor | None = None) -> Tensor:
    """Make each row (``dim=-2``) or column (``dim=-1``) a weighted sum of source rows or columns, in ``out`` if given.

    The i-th of them is the sum of source ``sources[i]`` times ``weights[i]`` over the plan's pairs, in their order.
    """
    total: Tensor | None = None
    spare: Tensor | None = None
    for sources, weights in plan:
        part = _select(images, dim, sources, out if total is None else spare)
        if weights is not None:
            part.mul_(_plane(weights, dim, part))
        if total is None:
            total = part
        else:
            total.add_(part)
            spare = part
    assert total is not None
    return total


def _plane(weights: np.ndarray, dim: int, images: Tensor) -> Tensor:
    """Weights of rows or columns for all pixels of a plane: PyTorch is quicker at that than at short rows."""
    line = torch.as_tensor(weights, dtype=images.dtype, device=images.device)
    return line.view((-1, 1) if dim == -2 else (1, -1)).expand(images.shape[-2:]).contiguous()


def _select(images: Tensor, dim: int, sources: np.ndarray, out: Tensor | None) -> Tensor:
    """Rows or columns in another order. NumPy takes columns twice as fast as PyTorch on a CPU, when not checking."""
    if dim == -2 or images.device.type != "cpu":
        indices = torch.from_numpy(sources).to(images.device)
        return torch.index_select(images, dim, indices, out=out)
    result = torch.empty((*images.shape[:-1], len(sources)), dtype=images.dtype) if out is None else out
    np.take(images.numpy(), sources, axis=-1, out=result.numpy(), mode="clip")
    return result


def _plan(sources: Sequence[Sequence[int]], weights: Sequence[Sequence[float]]) -> Plan:
    return tuple(
        (np.array(source, dtype=np.int64), None if set(weight) == {1.0} else np.array(weight))
        for source, weight in zip(sources, weights, strict=True)
    )


def box_resize(images: Tensor, height: int, width: int, out: Tensor | None = None) -> Tensor:
    """Resize (..., H, W) as Pillow's ``BOX``, but not rounded to bytes: area means down, repetition up."""
    steps = [(-2, height), (-1, width)]
    if height >= images.shape[-2] and width >= images.shape[-1]:
        steps.reverse()  # mere copies, in any order, and rows are copied faster than columns
    (first, size), (last, other) = steps
    images = resample(images, first, _box_plan(images.shape[first], size))
    return resample(images, last, _box_plan(images.shape[last], other), out)


@functools.lru_cache(64)
def _box_plan(source: int, target: int) -> Plan:
    """Pillow's box filter: pixels whose centre lies in the window (low end open)."""
    support = 0.5 * max(1.0, source / target)
    windows = []
    for position in range(target):
        centre = (position + 0.5) * source / target
        near = range(max(0, int(centre - support)), min(source, int(centre + support) + 1))
        windows.append([pixel for pixel in near if -support < pixel + 0.5 - centre <= support])
    longest = max(len(window) for window in windows)
    sources = [[window[min(j, len(window) - 1)] for window in windows] for j in range(longest)]
    weights = [[1 / len(window) if j < len(window) else 0.0 for window in windows] for j in range(longest)]
    return _plan(sources, weights)


def central_zoom(images: Tensor, factor: float) -> Tensor:
    """Enlarge the centre of (..., H, W) by ``factor`` >= 1 and cut it to the old size.

    Linear interpolation with corners aligned, as ``clipped_zoom`` of the ImageNet-C generator through
    ``scipy.ndimage.zoom(order=1)``; both axes by their own length.
    """
    for dim in (-2, -1):
        images = resample(images, dim, _zoom_plan(images.shape[dim], factor))
    return images


@functools.lru_cache(256)
def _zoom_plan(size: int, factor: float) -> Plan:
    crop = math.ceil(size / factor)
    enlarged = round(crop * factor)
    start, trim = (size - crop) // 2, (enlarged - size) // 2
    scale = (crop - 1) / (enlarged - 1) if enlarged > 1 else 0.0
    positions = [(trim + i) * scale for i in range(size)]
    lower = [min(int(position), max(crop - 2, 0)) for position in positions]
    upper = [min(i + 1, crop - 1) for i in lower]
    weight = [position - i for position, i in zip(positions, lower, strict=True)]
    return _plan([[start + i for i in lower], [start + i for i in upper]], [[1 - w for w in weight], weight])


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
