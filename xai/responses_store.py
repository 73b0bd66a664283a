"""Responses on disk: one folder for each network, set of images and condition, in it one for each layer, in parts.

A part holds the responses to `PART` consecutive images and is written by rename, so that work that was stopped goes on
at the first part that is missing. A part that can't be read, or whose numbers are others than when it was written, is
made again. What was used longest ago is removed when all folders together outgrow `LIMIT`. Nothing breaks when files
are deleted, or can't be written.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import threading
import weakref
import zlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from data import storage
from data.datasets import DatasetError
from models.registry import Model
from xai.evaluation_grid import Cell

PART = 128
"""Images in a part; that of a layer with 4,096 channels takes 4.7 MB, so that little is held besides the arrays."""
LIMIT = 4 * 2**30
"""Bytes that all responses may take on disk."""
_FORMAT = "xai-responses-1"
_CHECK = "check"
_DIGESTS: weakref.WeakKeyDictionary[nn.Module, tuple[tuple[int, ...], str]] = weakref.WeakKeyDictionary()
_DIGESTS_LOCK = threading.Lock()


def folder() -> Path:
    """Where responses are kept."""
    return storage.cache_folder() / "responses"


def weights_sha256(network: nn.Module) -> str:
    """Hash of all weights and buffers with their names, kept until one changes: a card may be of other weights."""
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    state = tuple(number for each in tensors.values() for number in (each.data_ptr(), each._version))
    with _DIGESTS_LOCK:
        known = _DIGESTS.get(network)
    if known is None or known[0] != state:
        known = (state, _digest(tensors))
        with _DIGESTS_LOCK:
            _DIGESTS[network] = known
    return known[1]


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in tensors.items():
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(_bytes(tensor.detach().cpu()))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> Any:
    return np.ascontiguousarray(tensor.contiguous().view(-1).view(torch.uint8).numpy()).data


def condition_folder(model: Model, data_digest: str, cell: Cell) -> Path:
    """The folder of a network's responses to these images under the cell's condition."""
    return folder() / condition_key(model, data_digest, cell, _FORMAT, PART)


def condition_key(model: Model, data_digest: str, cell: Cell, *made_by: str | int) -> str:
    """A name for what a network says of these images under the cell's condition, stored in the form `made_by`."""
    shown = [cell.degradation, cell.scale, cell.severity, cell.seed, cell.degradation_version]
    machine = [torch.__version__, model.device.type, model.card.architecture]
    key = json.dumps([*made_by, *machine, weights_sha256(model.network), data_digest, *shown])
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def layer_key(layer: str) -> str:
    """A layer's name as the name of a folder."""
    return hashlib.sha256(layer.encode()).hexdigest()[:16]


def part_path(place: Path, layer: str, number: int) -> Path:
    """The file of one part of a layer's responses."""
    return place / layer_key(layer) / f"{number:05d}.safetensors"


def read_part(path: Path, count: int) -> dict[str, Tensor] | None:
    """The tensors of a part of `count` images; None when it is missing, damaged, or of another number of images."""
    if not path.is_file():
        return None
    try:
        found = storage.read_tensors(path)
        check = found.pop(_CHECK)
        sound = int(check) == checksum(found) and len(found["maximum"]) == count and "facts" in found
    except (DatasetError, KeyError, ValueError, RuntimeError):
        sound = False
    return found if sound else None


def write_part(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write a part by rename; nothing happens where that can't be, as on a full disk."""
    with contextlib.suppress(OSError):
        storage.write_tensors(path, {**tensors, _CHECK: torch.tensor(checksum(tensors))})


def checksum(tensors: dict[str, Tensor]) -> int:
    """CRC-32 of all tensors with their names, in the order of these."""
    total = 0
    for name in sorted(tensors):
        total = zlib.crc32(_bytes(tensors[name]), zlib.crc32(name.encode(), total))
    return total


def mark_used(places: Iterable[Path]) -> None:
    """Let layers' folders count as used now."""
    for place in places:
        with contextlib.suppress(OSError):
            os.utime(place)


def trim(
    keep: Iterable[Path],
    limit: int | None = None,
    root: Path | None = None,
    claim: Callable[[Path], AbstractContextManager[object] | None] | None = None,
) -> None:
    """Remove the layers' folders that were used longest ago until all take at most `limit` bytes, `keep` apart.

    `root` is where they lie, None for the responses. `claim` keeps other processes from a folder while it is removed,
    and gives None for one that is in use, which stays.
    """
    sizes = {place: _size(place) for place in (root or folder()).glob("*/*") if place.is_dir()}
    left, spared = sum(size for _, size in sizes.values()), set(keep)
    for place, (_, size) in sorted(sizes.items(), key=lambda entry: entry[1]):
        if left <= (LIMIT if limit is None else limit):
            return
        if place in spared:
            continue
        with contextlib.ExitStack() as held:
            claimed = claim(place) if claim else contextlib.nullcontext()
            if claimed is not None:
                held.enter_context(claimed)
                _remove(place)
                left -= size


def _remove(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    with contextlib.suppress(OSError):
        place.parent.rmdir()


def _size(place: Path) -> tuple[float, int]:
    """When a folder was used last, and the bytes in it."""
    try:
        return place.stat().st_mtime, sum(file.stat().st_size for file in place.iterdir())
    except OSError:  # another process removes it
        return 0.0, 0
