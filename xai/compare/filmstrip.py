"""Chosen images just before and just after their flip, with what both networks answer and look at.

Everything here can be made again from the rows of flips, which have the severities, and the networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from data.degradations import degradations_in, resolve_name
from models.registry import Model
from xai.attribution import ExplanationError, Heatmap, explain_all_cams
from xai.compare.flip_statistics import severities
from xai.compare.flips import Path, paths, trace
from xai.compare.sections import Measured, Table
from xai.compare.study import LETTERS
from xai.evaluation import shares

if TYPE_CHECKING:
    from xai.compare.bench import Bench

MOST = 12
"""Images of one filmstrip, at most."""
SHOWN = 3
"""Images that are shown of each degradation where nobody chooses."""
MOMENTS = ("clean", "before", "after")


@dataclass(frozen=True)
class Frame:
    """An image float32 `(1, 3, H, W)` in [0, 1] at a severity, the answer to it with its probability, and the map
    `(1, h, w)` for the class that is the answer to the clean image."""

    severity: float
    image: Tensor
    answer: str
    probability: float
    heatmap: Heatmap


@dataclass(frozen=True)
class Strip:
    """One image with one network along a degradation: frames by `MOMENTS`.

    Without a flip `before` is at the highest severity and there is no `after`. `returns` counts later places of the
    scan at which the clean answer is back.
    """

    row: int
    image_id: str
    label: str
    network: str
    letter: str
    degradation: str
    scale: str
    highest: float
    frames: dict[str, Frame]
    returns: int


def filmstrip(
    bench: Bench, image_rows: Sequence[int], degradation: str, rows: Measured | None = None
) -> list[Strip]:
    """Strips of the study's images in `image_rows`, A's and B's of the first image, then of the next.

    Severities come from `rows` of the section where it asked these images, others are traced now. Raises
    `ExplanationError` for rows that there are not, more than `MOST` of them, or a degradation not on the scale.
    """
    wanted, name = _checked(bench, image_rows, degradation)
    flips = _found(bench, wanted, name, rows)
    path = paths(bench, wanted, [name])[0]
    both = [_strips(bench, place, path, wanted, flips) for place in range(2)]
    return [strip for pair in zip(*both, strict=True) for strip in pair]


def _checked(bench: Bench, image_rows: Sequence[int], degradation: str) -> tuple[np.ndarray, str]:
    count, scale = len(bench.data), bench.study.scale
    if not 1 <= len(image_rows) <= MOST or not all(0 <= row < count for row in image_rows):
        raise ExplanationError(
            f"The images are {list(image_rows)[:5]}; allowed are 1 to {MOST} rows from 0 to {count - 1}."
        )
    try:
        name = resolve_name(degradation)
    except ValueError as error:
        raise ExplanationError(f"{error}.") from error
    if name not in degradations_in(scale):
        raise ExplanationError(
            f"{name} is not on the scale {scale}; allowed are {', '.join(degradations_in(scale))}."
        )
    return np.array(image_rows, np.int64), name


def _found(bench: Bench, wanted: np.ndarray, name: str, rows: Measured | None) -> Table:
    """Rows of flips of these images under the degradation."""
    stored = rows["flips"] if rows else trace(bench, wanted[:0], [name])
    here = np.isin(stored["image"], wanted) & (stored["degradation"] == name)
    missing = np.setdiff1d(wanted, stored["image"][here])
    traced = trace(bench, missing, [name])
    return {column: np.concatenate([stored[column][here], traced[column]]) for column in traced}


def _strips(bench: Bench, place: int, path: Path, wanted: np.ndarray, flips: Table) -> list[Strip]:
    """Of one network, in the order of `wanted`."""
    found = []
    for number, row in enumerate(wanted):
        own = np.flatnonzero((flips["image"] == row) & (flips["network"] == place))[0]
        ends = [0.0, float(flips["before"][own]), float(flips["after"][own])]
        frames = _frames(
            bench, bench.models[place], path, number, ends if flips["flipped"][own] else ends[:2]
        )
        found.append(
            Strip(
                int(row),
                path.ids[number],
                bench.data.classes[int(bench.data.labels[row])],
                bench.facts.names[place],
                LETTERS[place],
                path.name,
                path.scale,
                path.highest,
                dict(zip(MOMENTS, frames, strict=False)),
                int(flips["returns"][own]),
            )
        )
    return found


def _frames(bench: Bench, model: Model, path: Path, number: int, at: Sequence[float]) -> list[Frame]:
    images = path.at(np.full(len(at), number), np.array(at)).to(model.device)
    answers, probabilities = shares(model, images, "fp32")
    targets = torch.full((len(at),), int(answers[0]))
    method = bench.study.method
    maps = explain_all_cams(model, images, [method], targets=targets, layers=[bench.layer(model)])[method]
    return [
        Frame(
            severity,
            images[k : k + 1].cpu(),
            model.classes[answers[k]],
            float(probabilities[k, answers[k]]),
            _single(maps, k),
        )
        for k, severity in enumerate(at)
    ]


def _single(maps: Heatmap, k: int) -> Heatmap:
    one = slice(k, k + 1)
    return replace(
        maps, values=maps.values[one], targets=maps.targets[one], no_evidence=maps.no_evidence[one]
    )


def spread_images(flips: Table, degradation: str, count: int = SHOWN) -> list[int]:
    """Rows of up to `count` images that flip with both networks, evenly spread over the order of their mean severity:
    of three, those in the middle of the early, the middle and the late third."""
    both = severities(flips, degradation)
    images = np.unique(flips["image"][flips["degradation"] == degradation])
    mean = both.mean(axis=0)
    order = np.argsort(mean, kind="stable")[: int(np.isfinite(mean).sum())]
    count = min(count, len(order))
    return [int(images[order[(2 * k + 1) * len(order) // (2 * count)]]) for k in range(count)]
