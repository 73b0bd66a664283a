"""Image intake: any uploaded file becomes an RGB tensor, or one sentence that says why not.

Every byte and every name is treated as hostile. Pillow decodes the six formats of FORMATS and nothing else;
its process-wide settings are never changed.
"""

from __future__ import annotations

import hashlib
import io
import struct
import threading
import unicodedata
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import torch
from PIL import Image as PillowImage
from torch import Tensor

from data.image_headers import (
    FORMATS,
    MAX_COUNTED_FRAMES,
    Refusal,
    check_structure,
    claimed_size,
    count_frames,
    sniff_format,
)
from data.image_modes import UnusableValues, bits_per_channel, to_rgb

MAX_NAME_LENGTH = 80
UNNAMED = "unnamed image"
# Characters that mean something in HTML, Markdown, a shell or a file system; a display name never needs them.
_UNSAFE_IN_NAMES = str.maketrans(dict.fromkeys("<>[]{}&\"'`$*|~^:;?!%\\/", "_"))

# What Pillow's decoders raise on damaged input (seen in its sources or in fuzzing); a real bug of ours in
# the list below is caught by the pixel tests, since a refused good file fails them.
DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    IndexError,
    KeyError,
    AttributeError,
    AssertionError,
    OverflowError,
    ZeroDivisionError,
    RuntimeError,
    struct.error,
    zlib.error,
)

# EXIF 2.32, table 6: how the stored picture is turned to stand upright.
_UPRIGHT = {
    2: PillowImage.Transpose.FLIP_LEFT_RIGHT,
    3: PillowImage.Transpose.ROTATE_180,
    4: PillowImage.Transpose.FLIP_TOP_BOTTOM,
    5: PillowImage.Transpose.TRANSPOSE,
    6: PillowImage.Transpose.ROTATE_270,
    7: PillowImage.Transpose.TRANSVERSE,
    8: PillowImage.Transpose.ROTATE_90,
}
_ORIENTATION_TAG = 0x0112

# One decode at a time: bounds the memory when several visitors upload at once, and keeps
# warnings.catch_warnings, which is not thread-safe, to one thread.
_DECODING = threading.Lock()


class ImageError(ValueError):
    """A file that cannot be used; the message is one sentence that names the file."""


@dataclass(frozen=True)
class Limits:
    """What an upload may be: bytes of the file, pixels of the picture, and its shortest and longest side."""

    max_bytes: int = 25 * 2**20
    max_pixels: int = 40_000_000
    min_side: int = 2
    max_side: int = 65_535


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, eq=False)
class Image:
    """One picture, ready for use.

    `pixels` is uint8 (3, H, W), RGB, upright; `name` is safe to display; `sha256` is of the original bytes in
    hexadecimal; `format` and `mode` are those of the file; `notes` says what was done to the picture.
    """

    name: str
    pixels: Tensor
    sha256: str
    format: str
    mode: str
    notes: tuple[str, ...] = ()

    @property
    def height(self) -> int:
        """Height in pixels."""
        return self.pixels.shape[1]

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self.pixels.shape[2]


def read_image(
    content: bytes,
    name: str,
    *,
    limits: Limits = DEFAULT_LIMITS,
    background: tuple[int, int, int] = (255, 255, 255),
) -> Image:
    """Decode one untrusted file to RGB; transparent parts are shown over `background` (0 to 255 each).

    Raises `ImageError` with one sentence for anything that is not a sound picture within `limits`.
    """
    if len(background) != 3 or any(not 0 <= value <= 255 for value in background):
        raise ValueError(f"The background is three values from 0 to 255, not {background}.")
    shown = display_name(name)
    try:
        with _DECODING, _pillow_warnings_ignored():
            return _decode(content, shown, limits, background)
    except (Refusal, UnusableValues) as refusal:
        raise ImageError(f"{shown} {refusal}.") from None
    except PillowImage.DecompressionBombError:
        raise ImageError(f"{shown} has more than the allowed {limits.max_pixels:,} pixels.") from None
    except MemoryError:
        raise ImageError(f"{shown} needs more memory than there is.") from None
    except DECODER_ERRORS as error:
        file_format = sniff_format(content)
        raise ImageError(f"{shown} is a {file_format} file that is damaged or cut short.") from error


def display_name(name: str) -> str:
    """A file name without folders, control, bidirectional or markup characters, of limited length."""
    last = str(name).replace("\\", "/").rstrip("/").rpartition("/")[2]
    # Categories C*: control, format (bidirectional overrides, joiners), surrogate and unassigned characters.
    kept = "".join(
        " " if c.isspace() else c for c in last if c.isspace() or unicodedata.category(c)[0] != "C"
    )
    clean = " ".join(kept.translate(_UNSAFE_IN_NAMES).split()).lstrip(" .-").rstrip(" .")
    if len(clean) > MAX_NAME_LENGTH:
        suffix = PurePosixPath(clean).suffix[-10:]
        clean = clean[: MAX_NAME_LENGTH - 1 - len(suffix)] + "…" + suffix
    return clean or UNNAMED


@contextmanager
def _pillow_warnings_ignored() -> Iterator[None]:
    """What Pillow warns about is either refused or noted here; nobody reads the server's stderr."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def _decode(content: bytes, name: str, limits: Limits, background: tuple[int, int, int]) -> Image:
    file_format = _check_file(content, limits)
    notes = _name_notes(name, file_format) + _frame_notes(content, file_format)
    with PillowImage.open(io.BytesIO(content), formats=[file_format]) as picture:
        _check_size(picture.size, limits)
        mode = picture.mode
        orientation, orientation_notes = _orientation(picture)
        frames = getattr(picture, "n_frames", 1) if file_format in ("PNG", "WebP") else 1
        picture.load()
        _check_size(picture.size, limits)
        rgb, mode_notes = to_rgb(picture, background, bits_per_channel(picture, content, file_format))
    if frames > 1:
        notes += (f"{file_format}: first of {frames} frames used",)
    if orientation in _UPRIGHT and file_format != "TIFF":  # Pillow turns TIFF files itself
        rgb = rgb.transpose(_UPRIGHT[orientation])
    return Image(
        name=name,
        pixels=_to_tensor(rgb),
        sha256=hashlib.sha256(content).hexdigest(),
        format=file_format,
        mode=mode,
        notes=(*notes, *orientation_notes, *mode_notes),
    )


def _check_file(content: bytes, limits: Limits) -> str:
    """Everything that can be refused before the decoder sees the file; returns the format."""
    if not content:
        raise Refusal("is empty")
    if len(content) > limits.max_bytes:
        allowed, given = limits.max_bytes / 2**20, len(content) / 2**20
        raise Refusal(f"is {given:.1f} MiB large, more than the allowed {allowed:.1f} MiB")
    file_format = sniff_format(content)
    if file_format is None:
        raise Refusal(f"is not a picture in one of the formats {', '.join(FORMATS[:-1])} and {FORMATS[-1]}")
    size = claimed_size(content, file_format)
    if size is not None:
        _check_size(size, limits)
    check_structure(content, file_format, limits.max_pixels)
    return file_format


def _check_size(size: tuple[int, int], limits: Limits) -> None:
    width, height = size
    if min(size) < limits.min_side:
        least = f"{limits.min_side}x{limits.min_side}"
        raise Refusal(f"is {width}x{height} pixels, less than the {least} that are needed")
    if max(size) > limits.max_side or width * height > limits.max_pixels:
        most = f"{limits.max_pixels:,} pixels and {limits.max_side:,} on a side"
        raise Refusal(f"is {width}x{height} pixels, more than the allowed {most}")


_SUFFIXES = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "WebP": (".webp",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "GIF": (".gif",),
}


def _name_notes(name: str, file_format: str) -> tuple[str, ...]:
    suffix = PurePosixPath(name).suffix.lower()
    if not suffix or suffix in _SUFFIXES[file_format]:
        return ()
    return (f"a {file_format} file in spite of its name",)


def _frame_notes(content: bytes, file_format: str) -> tuple[str, ...]:
    frames = count_frames(content, file_format)
    if frames == 1:
        return ()
    number = f"more than {MAX_COUNTED_FRAMES}" if frames > MAX_COUNTED_FRAMES else str(frames)
    return (f"{file_format}: first of {number} {'pages' if file_format == 'TIFF' else 'frames'} used",)


def _orientation(picture: PillowImage.Image) -> tuple[int, tuple[str, ...]]:
    """EXIF orientation, 1 (upright) to 8, and a note where it will be applied."""
    try:
        orientation = picture.getexif().get(_ORIENTATION_TAG, 1)
    except DECODER_ERRORS:  # the picture itself may be sound
        return 1, ("EXIF data unreadable, taken as upright",)
    if orientation not in _UPRIGHT:
        return 1, ()
    return orientation, (f"EXIF orientation {orientation} applied",)


def _to_tensor(rgb: PillowImage.Image) -> Tensor:
    """uint8 (3, H, W), one channel at a time to keep the peak memory low."""
    pixels = np.empty((3, rgb.height, rgb.width), np.uint8)
    for index in range(3):
        pixels[index] = np.asarray(rgb.getchannel(index))
    return torch.from_numpy(pixels)


def to_float(images: Tensor) -> Tensor:
    """uint8 (..., 3, H, W) to float32 in [0, 1], exactly value / 255."""
    if images.dtype != torch.uint8:
        raise ValueError(f"Images to convert are uint8, not {images.dtype}.")
    return images.to(torch.float32).div_(255)
