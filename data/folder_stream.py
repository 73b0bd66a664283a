"""Pictures of a folder, decoded by other processes while they are used: a set of any size in little memory.

A stream knows what it will give before it decodes anything (see `data.folder_examination`), and refuses a picture that
has become another one since.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data.datasets import DatasetError, ImageSet
from data.folder_masks import read_mask
from data.folder_reading import CHUNK, digest_of, loader, read_square, refusal
from data.images import ImageError, display_name

HELD_BYTES = 192 * 2**20
"""Pixels of a stream that are kept once they are decoded, if that is all of them: all of CIFAR-10 is less."""


def is_small(count: int, size: int) -> bool:
    """Whether so many pictures stay in memory once they are decoded."""
    return 3 * size**2 * count <= HELD_BYTES


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
        rows = [slice(start, start + CHUNK) for start in range(0, len(self), CHUNK)]
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
        return _Reading(iter(loader(decoder, batches, len(self), self.workers)), len(asked), asked)

    def _next(self, reading: _Reading) -> np.ndarray | str:
        try:
            found = next(reading.batches)
        except Exception:
            self._reading = None  # a worker died, and the others with it
            raise
        start = reading.next.stop % len(self)
        reading.next = range(start, min(start + reading.size, len(self)))
        return found
