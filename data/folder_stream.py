"""Pictures of a folder, decoded by other processes while they are used: a set of any size in little memory.

`examine` looks at every picture once and remembers, in the cache folder, whether it is readable and the hash of its
pixels; a picture is looked at again when its size or times change, or another version of a decoder is installed. So
a stream knows what it will give before it decodes anything, and refuses a picture that has become another one since.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from data.datasets import DatasetError, ImageSet, Progress
from data.folder_copies import LOOK_BYTES, look_of
from data.folder_masks import read_mask
from data.images import DEFAULT_LIMITS, ImageError, display_name, read_image, resize_pixels
from data.storage import cache_folder, read_tensors, write_tensors

HELD_BYTES = 192 * 2**20
"""Pixels of a stream that are kept once they are decoded, if that is all of them: all of CIFAR-10 is less."""
READ_AHEAD = 2
"""Batches that each process holds ready."""
MAX_WORKERS = 8
FEW = 128
"""Up to so many pictures are decoded in this process, as starting others takes longer."""
_CHUNK = 32
_DIGEST_BYTES = 32
_UNOPENED = "can't be opened"


class Outcome(NamedTuple):
    """What a picture turned out to be: SHA-256 of its square's pixels, or the rest of a sentence that says why not.

    `look` is what nearly equal pictures are found by (see `data.folder_copies`), `width` and `height` are px of the
    upright picture.
    """

    digest: bytes
    reason: str
    look: bytes = b""
    width: int = 0
    height: int = 0


def _read(path: Path, size: int) -> tuple[Tensor, int, int]:
    """One picture as uint8 `(3, size, size)`, and its own width and height; raises `ImageError` or `OSError`."""
    with path.open("rb") as stream:
        content = stream.read(DEFAULT_LIMITS.max_bytes + 1)
    picture = read_image(content, path.name)
    square = (resize_pixels(picture.pixels, size)[0] * 255).round().to(torch.uint8)
    return square, picture.width, picture.height


def read_square(path: Path, size: int) -> Tensor:
    """One picture as uint8 `(3, size, size)`; raises `ImageError` or `OSError`."""
    return _read(path, size)[0]


def look_at(path: Path, size: int) -> tuple[Tensor | None, Outcome]:
    """One picture as uint8 `(3, size, size)`, None where it can't be read, and what it turned out to be."""
    try:
        square, width, height = _read(path, size)
    except (ImageError, OSError) as error:
        return None, Outcome(b"", refusal(path, error))
    return square, Outcome(digest_of(square), "", look_of(square), width, height)


def digest_of(pixels: Tensor) -> bytes:
    """SHA-256 of the pixels of one picture, uint8 of any shape."""
    return hashlib.sha256(pixels.contiguous().numpy().data).digest()


def is_small(count: int, size: int) -> bool:
    """Whether so many pictures stay in memory once they are decoded."""
    return 3 * size**2 * count <= HELD_BYTES


def refusal(path: Path, error: ImageError | OSError) -> str:
    """Why a picture can't be used, as the rest of a sentence that begins with its name."""
    if isinstance(error, OSError):
        return _UNOPENED
    return str(error).removeprefix(display_name(path.name)).strip(" .")


@dataclass(frozen=True)
class _Examiner:
    """What a worker gives of the pictures in the rows that are asked for."""

    paths: Sequence[Path]
    size: int

    def __getitems__(self, rows: Sequence[int]) -> list[Outcome]:
        return [look_at(self.paths[row], self.size)[1] for row in rows]


@dataclass(frozen=True)
class _Decoder:
    """What a worker gives of the pictures in the rows that are asked for: pixels, or what is wrong with one."""

    paths: Sequence[Path]
    size: int
    digests: Sequence[bytes]

    def __getitems__(self, rows: Sequence[int]) -> np.ndarray | str:
        # An array is sent through a pipe: tensors go through shared memory, of which containers have little.
        pixels = np.empty((len(rows), 3, self.size, self.size), np.uint8)
        for place, row in enumerate(rows):
            try:
                picture = read_square(self.paths[row], self.size)
            except (ImageError, OSError) as error:
                return f"{display_name(self.paths[row].name)} {refusal(self.paths[row], error)}"
            if digest_of(picture) != self.digests[row]:
                return f"{display_name(self.paths[row].name)} is another picture"
            pixels[place] = picture
        return pixels


def _loader(source: Any, batches: Any, count: int, workers: int | None) -> DataLoader:
    """Batches of a source of `count` pictures, in order, from as many processes as that is worth."""
    processes = (
        workers if workers is not None else 0 if count <= FEW else min(MAX_WORKERS, os.cpu_count() or 1)
    )
    return DataLoader(
        source,
        batch_sampler=batches,
        num_workers=processes,
        prefetch_factor=READ_AHEAD if processes else None,
        collate_fn=_as_it_is,
        worker_init_fn=_ignore_interrupts,
        generator=torch.Generator(),  # or each loader would draw from the global one
    )


def _as_it_is(batch: Any) -> Any:
    return batch


def _ignore_interrupts(_worker: int) -> None:
    """Ctrl-C reaches the workers as well; it is for the process that started them to end them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


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
    chunks = [range(start, min(start + _CHUNK, len(unknown))) for start in range(0, len(unknown), _CHUNK)]
    loader = _loader(_Examiner([paths[row] for row in unknown], size), chunks, len(unknown), None)
    try:
        for chunk, outcomes in zip(chunks, loader, strict=True):
            known.update(zip((keys[unknown[place]] for place in chunk), outcomes, strict=True))
            if progress:
                progress(chunk.stop, len(unknown), what)
    finally:
        if unknown:
            lasting = (key for key in keys if key in known and known[key].reason != _UNOPENED)
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


class _Cycle:
    """Batches of rows from one on, in order, over and over: the next pass is decoded while this one ends."""

    def __init__(self, count: int, start: int, size: int) -> None:
        self.count, self.start, self.size = count, start, size

    def __iter__(self) -> Iterator[range]:
        passes = itertools.chain([self.start], itertools.repeat(0))
        for begin in passes:
            for start in range(begin, self.count, self.size):
                yield range(start, min(start + self.size, self.count))


@dataclass
class _Reading:
    """Where the reading of a stream stands: batches under way, and the rows that come next."""

    batches: Iterator[np.ndarray | str]
    size: int
    next: range


class _Held:
    """The pixels of a small stream, `(N, 3, size, size)`, as far as they were decoded yet."""

    def __init__(self, count: int, size: int) -> None:
        self.pixels = torch.empty(count, 3, size, size, dtype=torch.uint8)
        self.rows: set[int] = set()

    def __contains__(self, rows: range) -> bool:
        return self.rows.issuperset(rows)

    def keep(self, rows: range, pixels: Tensor) -> None:
        """Add the pixels of these rows."""
        self.pixels[rows.start : rows.stop] = pixels
        self.rows.update(rows)


@dataclass(eq=False)
class ImageStream:
    """One split of a folder, whose pixels are decoded when they are asked for; see `data.datasets.ImageSource`.

    `labels` is int64 `(N,)`, `digests` the hashes of the pixels that a picture must have. `workers` is the number of
    processes that decode, 0 for this one alone, None for what suits the number of pictures. `mask_ids` are paths of the
    masks, where every picture has one, and `sizes` width and height of its picture. For one thread at a time.
    """

    name: str
    split: str
    labels: Tensor
    classes: tuple[str, ...]
    ids: tuple[str, ...]
    root: Path
    digests: tuple[bytes, ...]
    size: int
    notes: tuple[str, ...] = ()
    workers: int | None = None
    mask_ids: tuple[str, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ()
    _reading: _Reading | None = field(default=None, repr=False)
    _held: _Held | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if is_small(len(self), self.size):
            self._held = _Held(len(self), self.size)

    def __len__(self) -> int:
        return len(self.ids)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_reading": None, "_held": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__post_init__()

    @property
    def is_kept(self) -> bool:
        """Whether the pixels stay in memory once they are decoded, as they are few."""
        return self._held is not None

    def take(self, indices: Tensor) -> ImageStream:
        """The images at `indices`, an int64 `(M,)`, in that order."""
        rows = indices.tolist()
        return replace(
            self,
            labels=self.labels[indices],
            ids=tuple(self.ids[row] for row in rows),
            digests=tuple(self.digests[row] for row in rows),
            mask_ids=tuple(self.mask_ids[row] for row in rows) if self.mask_ids else (),
            sizes=tuple(self.sizes[row] for row in rows) if self.sizes else (),
            _reading=None,
            _held=None,
        )

    @property
    def masks(self) -> Tensor | None:
        """Masks of the object, bool `(N, size, size)`, read anew each time; None where there are none or they are many.

        Raises `DatasetError` when one can't be used.
        """
        if not self.mask_ids or not is_small(len(self), self.size):
            return None
        try:
            pairs = zip(self.mask_ids, self.sizes, strict=True)
            return torch.stack([read_mask(self.root / mask, picture, self.size) for mask, picture in pairs])
        except (ImageError, OSError) as error:
            raise DatasetError(f"a mask can't be used: {error}") from error

    def in_memory(self, masks: Tensor | None = None) -> ImageSet:
        """The same with all pixels decoded, and these masks."""
        rows = [slice(start, start + _CHUNK) for start in range(0, len(self), _CHUNK)]
        images = torch.cat([self.pixels(each) for each in rows])
        return ImageSet(
            self.name, self.split, images, self.labels, self.classes, self.ids, masks, notes=self.notes
        )

    def content(self) -> Iterator[bytes]:
        """What tells these pixels from others: the hash of each picture."""
        return iter(self.digests)

    def pixels(self, rows: slice) -> Tensor:
        """The images of consecutive rows, uint8 `(n, 3, size, size)`; quick when they are asked for in order.

        Raises `DatasetError` when a picture is no longer what it was.
        """
        asked = range(len(self))[rows]
        if not asked:
            return torch.empty(0, 3, self.size, self.size, dtype=torch.uint8)
        if self._held is None:
            return self._decoded(asked)
        if asked not in self._held:
            self._held.keep(asked, self._decoded(asked))
        if len(self._held.rows) == len(self):
            self._reading = None  # ends the workers
        return self._held.pixels[asked.start : asked.stop]

    def _decoded(self, asked: range) -> Tensor:
        if self._reading is None or self._reading.next != asked:
            self._reading = self._start(asked)
        found = self._next(self._reading)
        if isinstance(found, str):
            raise DatasetError(f"{found}, unlike when the folder was first looked at; start again.")
        return torch.from_numpy(found)

    def _start(self, asked: range) -> _Reading:
        decoder = _Decoder([self.root / path for path in self.ids], self.size, self.digests)
        batches = _Cycle(len(self), asked.start, len(asked))
        return _Reading(iter(_loader(decoder, batches, len(self), self.workers)), len(asked), asked)

    def _next(self, reading: _Reading) -> np.ndarray | str:
        try:
            found = next(reading.batches)
        except Exception:
            self._reading = None  # a worker died, and the others with it
            raise
        start = reading.next.stop % len(self)
        reading.next = range(start, min(start + reading.size, len(self)))
        return found
