"""One picture of a folder read from disk, and many of them by other processes."""

from __future__ import annotations

import hashlib
import os
import signal
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from data.folder_copies import look_of
from data.images import DEFAULT_LIMITS, ImageError, display_name, read_image
from data.resizing import resize_pixels

READ_AHEAD = 2
"""Batches that each process holds ready."""
MAX_WORKERS = 8
FEW = 128
"""Up to so many pictures are decoded in this process, as starting others takes longer."""
CHUNK = 32
"""Pictures that a process is given at once where nobody asks for more."""
UNOPENED = "can't be opened"


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


def refusal(path: Path, error: ImageError | OSError) -> str:
    """Why a picture can't be used, as the rest of a sentence that begins with its name."""
    if isinstance(error, OSError):
        return UNOPENED
    return str(error).removeprefix(display_name(path.name)).strip(" .")


def loader(source: Any, batches: Any, count: int, workers: int | None) -> DataLoader:
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
