"""What one channel stands for: the images that excite it most, the classes it speaks for, and what degrading does.

All but the classes (`channel_classes`) is read from `Responses`, so one pass over the images serves any channel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from data.datasets import ImageSource, Progress
from data.degradations import resolve_scale
from models.registry import Model
from xai.channel_classes import Classes, class_itself, classes_for, linear_head, mean_interval
from xai.receptive_field import Box, fields
from xai.responses import Responses, collect

__all__ = [
    "Classes",
    "SeverityPoint",
    "TopImage",
    "box_words",
    "boxes",
    "class_itself",
    "classes_for",
    "linear_head",
    "ratio_interval",
    "severity_response",
    "silence",
    "silent_share",
    "top_images",
]


@dataclass(frozen=True)
class TopImage:
    """An image that excites a channel: its row in the dataset, id, label, the channel's maximum and the cell of it."""

    row: int
    id: str
    label: int
    value: float
    cell: tuple[int, int]


def top_images(
    responses: Responses, channel: int, count: int = 12, *, per_class: int | None = None
) -> tuple[TopImage, ...]:
    """The images with the highest maximum of a channel, the highest first, equal ones by row.

    With `per_class` at most so many of each class. Images with values that are no numbers are never among them.
    Raises `ExplanationError` for a channel that does not exist.
    """
    values = responses.column(channel)
    order = torch.sort(values.nan_to_num(nan=-math.inf), descending=True, stable=True).indices
    rows = order[~values.isnan()[order]]
    if per_class is not None:
        rows = rows[_rank_in_class(responses.labels[rows]) < per_class]
    return tuple(
        TopImage(
            row,
            responses.ids[row],
            int(responses.labels[row]),
            float(values[row]),
            responses.cell(row, channel),
        )
        for row in rows[:count].tolist()
    )


def _rank_in_class(labels: Tensor) -> Tensor:
    """How many earlier ones have the same label, `(N,)`."""
    order = torch.sort(labels, stable=True).indices
    counts = torch.bincount(labels)
    starts = (counts.cumsum(0) - counts).repeat_interleave(counts)
    rank = torch.empty_like(labels)
    rank[order] = torch.arange(len(labels)) - starts
    return rank


def boxes(
    model: Model, responses: Responses, images: Sequence[TopImage], input_size: int | tuple[int, int]
) -> tuple[Box, ...]:
    """The part of each image that its cell looks at; `input_size` is that of the dataset's images, px."""
    with model.lock:
        found = fields(model.network, [responses.layer], input_size)[responses.layer]
    return tuple(found.box(image.cell) for image in images)


def box_words(found: Sequence[Box], input_size: int | tuple[int, int]) -> str:
    """What the frames in the pictures are, in one sentence."""
    exact = all(box.exact for box in found)
    unsure = "" if exact else " An operation of the network is not known here, so frames may be too large."
    if all(box.share(input_size) == 1 for box in found):
        return f"The cells look at the whole image, so no part of it is marked.{unsure}"
    high, wide = (max(side) for side in zip(*(box.size for box in found), strict=True))
    some = ", where that is not the whole image" if any(box.share(input_size) == 1 for box in found) else ""
    return f"Framed is all that the strongest cell looks at, at most {wide} x {high} px{some}.{unsure}"


def silent_share(responses: Responses) -> Tensor:
    """For each channel the share of images on which it is zero everywhere, float32 `(C,)` in [0, 1]."""
    share = torch.empty(responses.channels)
    for start in range(0, responses.channels, 256):  # in parts: all at once would take as much memory again
        part = slice(start, start + 256)
        silent = (responses.maximum[:, part] == 0) & (responses.mean[:, part] == 0)
        share[part] = silent.float().mean(dim=0)
    return share


def silence(responses: Responses, channel: int) -> str:
    """One sentence on how many images leave the channel at zero everywhere."""
    silent = int(((responses.column(channel) == 0) & (responses.mean[:, channel] == 0)).sum())
    total, name = len(responses), f"Channel {channel} of {responses.layer}"
    if silent == total:
        return f"{name} is dead here: it is zero everywhere on all {total:,} images."
    if not silent:
        return f"{name} is zero everywhere on none of {total:,} images."
    return f"{name} is zero everywhere on {silent:,} of {total:,} images ({100 * silent / total:.1f} %)."


@dataclass(frozen=True)
class SeverityPoint:
    """A channel's response to images under one condition, over `n` images.

    `response` is the mean of the maximum over the grid with its t interval at 95 % over the images, `relative` its
    ratio to that of the same images clean with a paired interval (NaN where the clean mean is not above zero).
    """

    layer: str
    channel: int
    degradation: str
    scale: str
    severity: float
    n: int
    response: float
    low: float
    high: float
    relative: float
    relative_low: float
    relative_high: float


def severity_response(
    model: Model,
    data: ImageSource,
    layer: str,
    channels: int | Sequence[int],
    degradations: Sequence[str],
    severities: Sequence[float],
    *,
    scale: str,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> tuple[SeverityPoint, ...]:
    """How channels answer to every degradation at every severity, a point for each, channel by channel.

    Severity 0, the clean images, is always among them. All `data` is used, so give as much of it as is to be waited
    for; what was computed before is read from disk. Raises as `collect` does.
    """
    levels = sorted({0.0, *map(float, severities)})
    conditions = [(name, level) for name in degradations for level in levels]
    watched = _Watched(progress, len(conditions), len(data))
    chosen = [channels] if isinstance(channels, int) else list(channels)
    points, full = list[SeverityPoint](), resolve_scale(scale)
    clean: Responses | None = None
    for done, (name, level) in enumerate(conditions):
        found = collect(
            model,
            data,
            [layer],
            degradation=name,
            severity=level,
            scale=full,
            seed=seed,
            progress=watched.at(done),
            cancelled=cancelled,
        )[layer]
        clean = found if clean is None else clean
        points += [_point(clean, found, channel, name, full, level) for channel in chosen]
    return tuple(sorted(points, key=lambda point: chosen.index(point.channel)))


@dataclass(frozen=True)
class _Watched:
    """The progress of several passes as one."""

    progress: Progress | None
    passes: int
    images: int

    def at(self, done: int) -> Progress | None:
        """What the pass after `done` others tells."""
        progress = self.progress
        if progress is None:
            return None
        return lambda part, _total, what: progress(done * self.images + part, self.passes * self.images, what)


def _point(
    clean: Responses, found: Responses, channel: int, degradation: str, scale: str, severity: float
) -> SeverityPoint:
    before, after = clean.column(channel), found.column(channel)
    both = before.isfinite() & after.isfinite()
    before, after = before[both].double(), after[both].double()
    relative = ratio_interval(before, after)
    numbers = (len(after), *mean_interval(after), *relative)
    return SeverityPoint(found.layer, channel, degradation, scale, severity, *numbers)


def ratio_interval(before: Tensor, after: Tensor) -> tuple[float, float, float]:
    """Ratio of the means of two paired `(N,)` and the ends of its t interval, to first order (the delta method)."""
    base = float(before.mean()) if len(before) else math.nan
    if not base > 0:
        return math.nan, math.nan, math.nan
    ratio = float(after.mean()) / base
    _, low, high = mean_interval((after - ratio * before) / base)
    return ratio, ratio + low, ratio + high
