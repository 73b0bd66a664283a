"""Answers and maps on disk, in the cache folder: a folder for each network, set of images and condition, in it one for
each layer, methods and targets.

A file is written whole or not at all, so that work that was stopped goes on with the condition that it was at. One that
can't be read, or whose numbers are others than when it was written, is made again. What was used longest ago is removed
when all outgrow `LIMIT`. Nothing breaks when files are deleted, or can't be written.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from data import storage
from data.datasets import DatasetError, ImageSource, Progress
from models.registry import Model
from xai import passes, responses_store
from xai.compare import maps as heatmaps
from xai.compare.maps import Columns, Maps
from xai.compare.shown import Shown
from xai.results import Condition

LIMIT = 1 * 2**30
"""Bytes that all maps may take on disk: some 800 conditions of 2,000 images."""
ALGORITHM = 1
"""To be raised when the same pass no longer gives the same maps, so that those kept before are not taken."""
_FORMAT = "xai-compare-maps-1"
_CHECK = "check"


def folder() -> Path:
    """Where maps are kept."""
    return storage.cache_folder() / "maps"


def stored(
    model: Model,
    data: ImageSource,
    condition: Condition,
    data_digest: str,
    *,
    layer: str = "",
    methods: Sequence[str] = ("gradcam",),
    targets: np.ndarray | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    shown: Shown | None = None,
) -> Maps:
    """What `maps.compute` gives, found or else computed and kept; raises what that raises.

    `data_digest` is the `evaluation_store.data_sha256` of the images.
    """
    layer = layer or model.default_layer
    heatmaps.check(model, data, layer, methods, targets)
    place = _place(model, data, data_digest, condition, seed, (layer, methods, targets))
    found = _read(place)
    if found is not None:
        responses_store.mark_used([place])
        return heatmaps.assembled(model, data, condition, layer, found)
    made = heatmaps.compute(
        model,
        data,
        condition,
        layer=layer,
        methods=methods,
        targets=targets,
        seed=seed,
        progress=progress,
        cancelled=cancelled,
        shown=shown,
    )
    _write(place, heatmaps.columns_of(made))
    return made


def _place(
    model: Model,
    data: ImageSource,
    data_digest: str,
    condition: Condition,
    seed: int,
    asked: tuple[str, Sequence[str], np.ndarray | None],
) -> Path:
    """The folder of the maps: a name for everything that they depend on."""
    cell = passes.cell_of(model, data, condition.degradation, condition.scale, condition.severity, seed)
    key = responses_store.condition_key(model, data_digest, cell, _FORMAT, ALGORITHM)
    layer, methods, targets = asked
    classes = "" if targets is None else hashlib.sha256(targets.astype(np.int64).tobytes()).hexdigest()
    digest = hashlib.sha256(json.dumps([layer, *methods, classes]).encode()).hexdigest()
    return folder() / key / digest[:32]


def _read(place: Path) -> Columns | None:
    """The columns in a folder; None where there are none that are sound."""
    path = place / "maps.safetensors"
    if not path.is_file():
        return None
    try:
        found = storage.read_tensors(path)
        check = found.pop(_CHECK)
        return found if int(check) == responses_store.checksum(found) else None
    except (DatasetError, KeyError, ValueError, RuntimeError):
        return None


def _write(place: Path, columns: Columns) -> None:
    """Write columns by rename; nothing happens where that can't be, as on a full disk."""
    with contextlib.suppress(OSError):
        check = torch.tensor(responses_store.checksum(columns))
        storage.write_tensors(place / "maps.safetensors", {**columns, _CHECK: check})
        responses_store.trim([place], LIMIT, folder())
