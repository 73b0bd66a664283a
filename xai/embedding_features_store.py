"""Features on disk: one file for each network, set of images, condition and layer, filled part by part.

The file begins with what it holds (JSON) and one checksum for each part of `PART` images; columns follow, each whole,
so that they can be mapped into memory as they are. A part counts when its checksum is written, which happens last:
work that is killed at any moment loses at most one part, and a damaged part is made again. One process at a time
fills a file. What was used longest ago is removed when all files together outgrow `LIMIT`.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from data import storage
from models.files import write_bytes
from models.registry import Model
from xai import responses_store
from xai.evaluation_grid import Cell
from xai.zoo_state import take_lock

PART = 256
"""Images in a part: two batches of 32 px, and half a megabyte to a megabyte of features."""
LIMIT = 8 * 2**30
"""Bytes that all features may take on disk: some twenty sets of 100,000 images by 2,048 numbers."""
_FORMAT = "xai-features-1"
_HEADER = 4096
_ALIGNED = 64
_WRITTEN = 1 << 32
"""Added to a part's checksum, as a part that is missing has 0."""

Part = dict[str, Tensor]
"""By column the rows of a part: `vectors`, `probabilities`, `predicted` and `state`."""


@dataclass(frozen=True)
class Facts:
    """What a file holds: N images, D features, K classes; how often the layer runs; what the features are."""

    count: int
    width: int
    classes: int
    calls: int
    origin: str

    @property
    def parts(self) -> int:
        """Number of parts, the last of which may be smaller."""
        return -(-self.count // PART)

    def rows(self, number: int) -> slice:
        """The images of a part."""
        return slice(number * PART, min((number + 1) * PART, self.count))

    @property
    def columns(self) -> dict[str, tuple[np.dtype, tuple[int, ...], int]]:
        """Type, shape and place in the file of every column."""
        shapes: dict[str, tuple[type, tuple[int, ...]]] = {
            "vectors": (np.float16, (self.count, self.width)),
            "probabilities": (np.float16, (self.count, self.classes)),
            "predicted": (np.int32, (self.count,)),
            "state": (np.uint8, (self.count,)),
        }
        found, place = {}, _HEADER + 8 * self.parts
        for name, (kind, shape) in shapes.items():
            place = -(-place // _ALIGNED) * _ALIGNED
            found[name] = (np.dtype(kind), shape, place)
            place += math.prod(shape) * np.dtype(kind).itemsize
        return found

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        kind, shape, place = self.columns["state"]
        return place + math.prod(shape) * kind.itemsize


class Kept:
    """An open file of features."""

    def __init__(self, stream: BinaryIO, facts: Facts) -> None:
        self.stream, self.facts = stream, facts

    def missing(self) -> list[int]:
        """Numbers of the parts that are not there, or not as they were written."""
        self.stream.seek(_HEADER)
        table = np.frombuffer(self.stream.read(8 * self.facts.parts), np.int64)
        return [
            number
            for number in range(self.facts.parts)
            if number >= len(table) or not table[number] or table[number] != self._check(number)
        ]

    def _check(self, number: int) -> int:
        rows, found = self.facts.rows(number), {}
        for name, (kind, shape, place) in self.facts.columns.items():
            width = kind.itemsize * math.prod(shape[1:])
            self.stream.seek(place + rows.start * width)
            content = self.stream.read((rows.stop - rows.start) * width)
            found[name] = torch.frombuffer(bytearray(content or b"\0"), dtype=torch.uint8)
        return _WRITTEN + responses_store.checksum(found)

    def write(self, number: int, part: Part) -> None:
        """Write a part, and last of all its checksum; raises `OSError` where that can't be."""
        rows = self.facts.rows(number)
        for name, (kind, shape, place) in self.facts.columns.items():
            self.stream.seek(place + rows.start * kind.itemsize * math.prod(shape[1:]))
            self.stream.write(np.ascontiguousarray(part[name].numpy()).data)
        self.stream.flush()
        self.stream.seek(_HEADER + 8 * number)
        self.stream.write((_WRITTEN + responses_store.checksum(part)).to_bytes(8, "little"))
        self.stream.flush()

    def arrays(self) -> dict[str, np.ndarray]:
        """All columns, mapped into memory for reading; they stay readable when the file is removed."""
        return {
            name: np.memmap(self.stream, kind, "r", place, shape)
            for name, (kind, shape, place) in self.facts.columns.items()
        }


def folder() -> Path:
    """Where features are kept."""
    return storage.cache_folder() / "features"


def place_of(model: Model, data_digest: str, cell: Cell, layer: str) -> Path:
    """The folder of the features of a layer."""
    key = responses_store.condition_key(model, data_digest, cell, _FORMAT, PART)
    return folder() / key / responses_store.layer_key(layer)


def claim(place: Path) -> BinaryIO | None:
    """The lock of a folder, held until it is closed; None while another process or thread has it.

    It lies elsewhere, so that the folder can be removed under it. Raises `OSError` where nothing can be written.
    """
    return take_lock(storage.cache_folder() / "features-locks" / place.parent.name / place.name)


def opened(place: Path, *, writable: bool = False) -> Kept | None:
    """The file of a folder; None when there is none that can be read."""
    try:
        stream = (place / "features").open("r+b" if writable else "rb")
    except OSError:
        return None
    try:
        facts = _facts(stream.read(_HEADER))
    except (ValueError, TypeError, KeyError):
        stream.close()
        return None
    return Kept(stream, facts)


def created(place: Path, facts: Facts) -> Kept:
    """A new file without parts, its room on the disk taken; raises `OSError` where there is none."""
    write_bytes(place / "features", _header(facts))
    found = Kept((place / "features").open("r+b"), facts)
    _take_room(found)
    return found


def unnamed(facts: Facts) -> Kept:
    """A new file for this process alone, gone when it is no longer used; raises `OSError` where there is no room."""
    stream = tempfile.TemporaryFile("w+b")  # noqa: SIM115 (whoever maps it closes it)
    found = Kept(stream, facts)  # type: ignore[arg-type]
    found.stream.write(_header(facts))
    found.stream.flush()
    _take_room(found)
    return found


def _header(facts: Facts) -> bytes:
    said = json.dumps(asdict(facts))
    return json.dumps({"facts": said, "check": zlib.crc32(said.encode())}).encode().ljust(_HEADER)


def _facts(header: bytes) -> Facts:
    """What a header says; raises `ValueError`, `TypeError` or `KeyError` for a damaged one."""
    found = json.loads(header)
    if zlib.crc32(found["facts"].encode()) != found["check"]:
        raise ValueError("the header is damaged")
    return Facts(**json.loads(found["facts"]))


def _take_room(kept: Kept) -> None:
    """Let the file have its whole length, so that a full disk is met before the work and not within it."""
    number, size = kept.stream.fileno(), kept.facts.size
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(number, 0, size)
        else:
            os.truncate(number, size)
    except OSError:
        kept.stream.close()
        raise


def trim(keep: Path) -> None:
    """Remove what was used longest ago until all features take at most `LIMIT` bytes; what is being filled stays."""
    responses_store.trim([keep], LIMIT, folder(), claim)
