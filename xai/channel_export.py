"""What a user takes home of a channel's figures: their numbers as rows, and a manifest that says what they rest on."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from models.registry import Model
from xai.channel_classes import Classes
from xai.channel_profile import SeverityPoint, TopImage
from xai.cka import CkaMatrix
from xai.counterparts import Neighbour, Pair
from xai.manifests import package_versions
from xai.receptive_field import Box
from xai.tables import Row
from xai.visualization_store import model_facts

FORMAT = "xai-channel-1"


def manifest(figure: str, models: Sequence[Model], asked: Mapping[str, Any]) -> bytes:
    """What a figure rests on, as a JSON file: networks with the hashes of their weights, choices, and versions."""
    content = {
        "format": FORMAT,
        "figure": figure,
        "models": [model_facts(model) for model in models],
        "asked": dict(asked),
        "versions": package_versions(),
    }
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()


def top_rows(images: Sequence[TopImage], boxes: Sequence[Box], classes: Sequence[str]) -> list[Row]:
    """A row for each image, the highest response first: the cell that gave it, and the pixels that this cell sees."""
    return [
        {
            "place": place,
            "image": image.id,
            "class": classes[image.label],
            "response": image.value,
            "cell_row": image.cell[0],
            "cell_column": image.cell[1],
            **{side: getattr(box, side) for side in ("top", "left", "bottom", "right")},
        }
        for place, (image, box) in enumerate(zip(images, boxes, strict=True), start=1)
    ]


def class_rows(classes: Classes) -> list[Row]:
    """A row for each class, the one that the channel speaks for most first."""
    ends = [each or (math.nan,) * len(classes.names) for each in (classes.low, classes.high)]
    return [
        _plain(
            {
                "class": classes.names[number],
                classes.kind: classes.values[number],
                "low": ends[0][number],
                "high": ends[1][number],
                "n": classes.n or None,
            }
        )
        for number in classes.order
    ]


def severity_rows(points: Iterable[SeverityPoint]) -> list[Row]:
    """A row for each degradation and severity."""
    return [_plain(asdict(point)) for point in points]


def counterpart_rows(channel: int, nearest: Sequence[Neighbour], pairs: Sequence[Pair]) -> list[Row]:
    """The channels of B nearest to one of A with their intervals, then all channels that are matched one to one."""
    near: list[Row] = [
        {"kind": "nearest", "a": channel, "b": each.b, "r": each.r, "low": each.low, "high": each.high}
        for each in nearest
    ]
    matched: list[Row] = [
        {"kind": "matched", "a": pair.a, "b": pair.b, "r": pair.r, "low": None, "high": None}
        for pair in pairs
    ]
    return near + matched


def cka_rows(matrices: Iterable[CkaMatrix]) -> list[Row]:
    """A row for each pair of layers under each pair of conditions."""
    return [row for matrix in matrices for row in _cka_rows(matrix)]


def _cka_rows(matrix: CkaMatrix) -> Iterator[Row]:
    names = ("model_a", "condition_a", "model_b", "condition_b", "images", "batches")
    facts: Row = {name: getattr(matrix, name) for name in names}
    for layer_a, line in zip(matrix.layers_a, matrix.values.tolist(), strict=True):
        for layer_b, value in zip(matrix.layers_b, line, strict=True):
            yield _plain({"layer_a": layer_a.name, "layer_b": layer_b.name, "cka": value, **facts})


def _plain(row: Row) -> Row:
    """Nothing where there is no number."""
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()
    }
