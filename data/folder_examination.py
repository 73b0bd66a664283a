"""Every picture of a folder looked at once, and what was found remembered in the cache folder.

A picture is looked at again when its size or times change, or another version of a decoder is installed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from data.datasets import DatasetError, Progress
from data.folder_copies import LOOK_BYTES
from data.folder_reading import CHUNK, UNOPENED, Outcome, loader, look_at
from data.storage import cache_folder, read_tensors, write_tensors

_DIGEST_BYTES = 32


@dataclass(frozen=True)
class _Examiner:
    """What a worker gives of the pictures in the rows that are asked for."""

    paths: Sequence[Path]
    size: int

    def __getitems__(self, rows: Sequence[int]) -> list[Outcome]:
        return [look_at(self.paths[row], self.size)[1] for row in rows]


def examine(
    paths: Sequence[Path], size: int, memory: str, progress: Progress | None, what: str
) -> list[Outcome]:
    """What each picture is at `size` px a side; those that the cache's file `memory` knows are not looked at.

    What was found out is remembered, also when `progress` raises.
    """
    file = cache_folder() / "folders" / f"{memory}.safetensors"
    known = _remembered(file)
    keys = [_key(path, size) for path in paths]
    unknown = [row for row, key in enumerate(keys) if key not in known]
    chunks = [range(start, min(start + CHUNK, len(unknown))) for start in range(0, len(unknown), CHUNK)]
    found = loader(_Examiner([paths[row] for row in unknown], size), chunks, len(unknown), None)
    try:
        for chunk, outcomes in zip(chunks, found, strict=True):
            known.update(zip((keys[unknown[place]] for place in chunk), outcomes, strict=True))
            if progress:
                progress(chunk.stop, len(unknown), what)
    finally:
        if unknown:
            lasting = (key for key in keys if key in known and known[key].reason != UNOPENED)
            _remember(file, {key: known[key] for key in lasting})
    return [known[key] for key in keys]


def _key(path: Path, size: int) -> bytes:
    """Changes with everything that a picture's pixels depend on, without reading it."""
    import PIL

    try:
        facts = path.stat()
        # The time of the last change can't be set by a program, as that of the last modification can.
        stamp = [facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino]
    except OSError:
        stamp = []
    text = json.dumps([str(path), *stamp, size, PIL.__version__, torch.__version__])
    return hashlib.sha256(text.encode()).digest()


def _remembered(file: Path) -> dict[bytes, Outcome]:
    """What earlier calls found out; nothing where the file is missing or damaged."""
    try:
        tensors = {name: tensor.numpy() for name, tensor in read_tensors(file).items()}
        keys = tensors["keys"].reshape(-1, _DIGEST_BYTES)
        digests, looks = (
            tensors[name].reshape(len(keys), count)
            for name, count in (("digests", _DIGEST_BYTES), ("looks", LOOK_BYTES))
        )
        rest = json.loads(tensors["rest"].tobytes())
        return {
            key.tobytes(): Outcome(b"", reason)
            if reason
            else Outcome(digest.tobytes(), "", look.tobytes(), *size)
            for key, digest, look, (reason, *size) in zip(keys, digests, looks, rest, strict=True)
        }
    except (DatasetError, KeyError, ValueError, TypeError):
        return {}


def _remember(file: Path, known: dict[bytes, Outcome]) -> None:
    found = known.values()
    parts = {
        "keys": b"".join(known),
        "digests": b"".join(each.digest or bytes(_DIGEST_BYTES) for each in found),
        "looks": b"".join(each.look or bytes(LOOK_BYTES) for each in found),
        "rest": json.dumps([(each.reason, each.width, each.height) for each in found]).encode(),
    }
    tensors = {name: torch.from_numpy(np.frombuffer(part, np.uint8).copy()) for name, part in parts.items()}
    write_tensors(file, tensors)
