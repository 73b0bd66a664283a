"""What a table or figure of stored answers rests on, as a JSON file: images, cells, weights, versions, and choices."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from importlib import metadata
from itertools import product
from typing import Any

from xai.results import Board, Condition

FORMAT = "xai-result-1"
PACKAGES = ("numpy", "scipy", "statsmodels", "scikit-learn", "matplotlib", "torch", "pyarrow")
"""What the numbers and figures are computed and drawn with."""
Asked = tuple[str, Condition]
"""A network, and the condition under which it was asked."""


def every(models: Iterable[str], conditions: Iterable[Condition]) -> tuple[Asked, ...]:
    """All networks under all conditions."""
    return tuple(product(models, conditions))


def manifest(board: Board, cells: Iterable[Asked], choices: Mapping[str, Any]) -> bytes:
    """Everything needed to make the same table or figure of the same answers again, as a JSON file.

    `cells` are the answers that were used, each named once; those that are not stored are listed as missing.
    `choices` is what was chosen (JSON-able; a condition is written as its name). The same arguments give the same
    bytes on the same machine.
    """
    asked = tuple(dict.fromkeys(cells))
    content = {
        "format": FORMAT,
        "images": {**asdict(board.setting), "n": len(board), "classes": list(board.classes)},
        "choices": dict(choices),
        "cells": [_cell(board, *pair) for pair in asked if board.has(*pair)],
        "missing": [_missing(*pair) for pair in asked if not board.has(*pair)],
        "versions": versions(),
    }
    return (json.dumps(content, indent=2, allow_nan=False, default=_word) + "\n").encode()


def versions() -> dict[str, str]:
    """Versions of what derives and draws, here and now; packages that are not installed are left out."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _cell(board: Board, model: str, condition: Condition) -> dict[str, Any]:
    """One cell as its file says it: all its fields, the degradation's constants, and with what it was computed."""
    facts = board.entries[model, condition].facts
    made = {name: json.loads(facts[name]) for name in ("constants", "versions") if name in facts}
    cell = board.cell(model, condition)
    return {"file": f"{cell.key}.parquet", **asdict(cell), **made}


def _missing(model: str, condition: Condition) -> dict[str, str]:
    return {"model": model, "condition": condition.name, "scale": condition.scale}


def _word(value: object) -> object:
    """Conditions as their names, and sets of choices as lists."""
    if isinstance(value, Condition):
        return value.name
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(f"{value!r} is no part of a manifest; allowed are what JSON knows, and conditions.")
