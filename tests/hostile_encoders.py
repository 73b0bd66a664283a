"""Writers of picture files, sound and unsound, for tests; independent of the intake they test."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 48, 32
Colour = tuple[int, int, int]
Quadrants = tuple[Colour, Colour, Colour, Colour]
# Top left, top right, bottom left, bottom right: no turn or mirror image looks like the original.
SCENE: Quadrants = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255))
GREYS: Quadrants = ((76,) * 3, (150,) * 3, (29,) * 3, (255,) * 3)  # 0.299 R + 0.587 G + 0.114 B
BLACK_WHITE: Quadrants = ((0,) * 3, (255,) * 3, (0,) * 3, (255,) * 3)  # greys against 128


@dataclass(frozen=True)
class HostileFile:
    """One file: what is odd about it, its name and bytes, and what must come of it.

    `expectation` is "ok" or "refused"; for "ok", `size` is (width, height), `quadrants` the colours in the
    middle of the four quadrants within `tolerance`, and `note` a part of one of the notes.
    """

    topic: str
    name: str
    content: bytes
    expectation: str = "ok"
    size: tuple[int, int] | None = (WIDTH, HEIGHT)
    quadrants: Quadrants | None = None
    tolerance: int = 0
    note: str | None = None


def scene(mode: str = "RGB") -> Image.Image:
    """The four-quadrant picture in one of Pillow's modes."""
    array = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    for index, colour in enumerate(SCENE):
        row, column = divmod(index, 2)
        array[row * 16 : row * 16 + 16, column * 24 : column * 24 + 24] = colour
    picture = Image.fromarray(array)
    if mode == "1":
        return picture.convert("L").point(lambda value: 255 * (value >= 128)).convert("1")
    if mode == "P":
        return picture.quantize(4)
    return picture.convert(mode)


def noise(width: int = 96, height: int = 64) -> Image.Image:
    """A picture that hardly compresses, so that any cut goes through its data."""
    return Image.fromarray(np.random.default_rng(7).integers(0, 256, (height, width, 3), np.uint8))


def encode(picture: Image.Image, file_format: str, **options: Any) -> bytes:
    """The picture as the bytes of a file."""
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """One PNG chunk with its length and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    width: int, height: int, bits: int, colour_type: int, rows: bytes, *extra: bytes, interlace: int = 0
) -> bytes:
    """A PNG file from filtered rows (each starts with a filter byte); `extra` chunks come before the data."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, interlace)
    chunks = png_chunk(b"IHDR", header), *extra, png_chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + png_chunk(b"IEND", b"")


def tiff(tags: dict[int, tuple[int, int, int]], data: bytes, next_directory: int = 0) -> bytes:
    """A little-endian TIFF: header, data at offset 8, then one directory of tag -> (type, count, value)."""
    entries = b"".join(struct.pack("<HHLL", tag, *values) for tag, values in sorted(tags.items()))
    header = struct.pack("<2sHL", b"II", 42, 8 + len(data))
    return header + data + struct.pack("<H", len(tags)) + entries + struct.pack("<L", next_directory)


def grey_tiff_tags(
    width: int, height: int, **changes: tuple[int, int, int]
) -> dict[int, tuple[int, int, int]]:
    """Tags of an 8-bit greyscale TIFF in one strip; changes are given as t256=(type, count, value)."""
    tags = {
        256: (4, 1, width),
        257: (4, 1, height),
        258: (3, 1, 8),
        259: (3, 1, 1),
        262: (3, 1, 1),
        273: (4, 1, 8),
        277: (3, 1, 1),
        278: (4, 1, height),
        279: (4, 1, min(width * height, 2**32 - 1)),
    }
    return tags | {int(name[1:]): value for name, value in changes.items()}


def uniform(colour: Colour) -> Quadrants:
    """Four times the same colour."""
    return colour, colour, colour, colour


def rle_bmp(width: int, height: int, data: bytes) -> bytes:
    """An 8-bit run-length-coded BMP with a palette of black and white."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(data), 1, 1, 2, 2)
    palette = b"\0\0\0\0\xff\xff\xff\0"
    return b"BM" + struct.pack("<IHHI", 62 + len(data), 0, 0, 62) + header + palette + data


def gif(
    width: int,
    height: int,
    *,
    screen: tuple[int, int] | None = None,
    frames: int = 1,
    pixels: bytes = b"\x84\x51",
    extension: bytes = b"",
) -> bytes:
    """A GIF with a palette of black and white; `pixels` are LZW codes of 2 bits (default: four zeros)."""
    screen_width, screen_height = screen or (width, height)
    header = (
        b"GIF89a" + struct.pack("<HHBBB", screen_width, screen_height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    )
    frame = (
        b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\2" + bytes([len(pixels)]) + pixels + b"\0"
    )
    return header + extension + frame * frames + b";"


def zip_archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("a.txt"), b"text")
    return buffer.getvalue()
