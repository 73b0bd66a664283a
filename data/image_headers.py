"""What an image file's own bytes claim, read without decoding a pixel.

Everything here looks at untrusted bytes, allocates nothing that the file's header could ask for, and
raises `Refusal` with a phrase that follows the file's name ("is cut short").
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

FORMATS = ("PNG", "JPEG", "WebP", "BMP", "TIFF", "GIF")

# Bounds on what an honest encoder never reaches; beyond them a small file keeps a decoder busy for minutes.
MAX_PNG_CHUNKS = 50_000
MAX_JPEG_SCANS = 100
MAX_TIFF_VALUES = 200_000
MAX_BMP_RLE_BYTES = 4 * 2**20
MAX_COUNTED_FRAMES = 1000

_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 16: 8, 17: 8, 18: 8}
_TIFF_INTEGERS = {1: "B", 3: "H", 4: "L", 16: "Q"}
_TILE_WIDTH, _TILE_LENGTH = 322, 323


class Refusal(ValueError):
    """Why a file is refused, as a phrase that follows its name."""


class TiffDirectory(NamedTuple):
    """Entries of one TIFF directory, tag -> (type, number of values, raw bytes), and the next offset."""

    entries: dict[int, tuple[int, int, bytes]]
    next_offset: int


def sniff_format(content: bytes) -> str | None:
    """The one of FORMATS whose signature the bytes carry, or None; the file's name plays no part."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if content.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "WebP"
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if content.startswith(_TIFF_SIGNATURES):
        return "TIFF"
    return "BMP" if content.startswith(b"BM") else None


def claimed_size(content: bytes, file_format: str) -> tuple[int, int] | None:
    """(width, height) in pixels from a fixed place in the header; None where the format has none."""
    try:
        if file_format == "PNG":
            return struct.unpack_from(">II", content, 16)
        if file_format == "BMP":
            return _bmp_size(content)
        return _webp_size(content) if file_format == "WebP" else None
    except (struct.error, IndexError):
        raise Refusal(f"is a {file_format} file that is cut short") from None


def _bmp_size(content: bytes) -> tuple[int, int]:
    if struct.unpack_from("<I", content, 14)[0] == 12:
        return struct.unpack_from("<HH", content, 18)
    width, height = struct.unpack_from("<ii", content, 18)
    return abs(width), abs(height)  # a negative height means rows from top to bottom


def _webp_size(content: bytes) -> tuple[int, int] | None:
    """Size of the canvas (RFC 9649); the decoder allocates it as soon as it is created."""
    kind = content[12:16]
    if kind == b"VP8X":
        return (
            int.from_bytes(content[24:27], "little") + 1,
            int.from_bytes(content[27:30], "little") + 1,
        )
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", content, 21)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", content, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def check_structure(content: bytes, file_format: str, max_pixels: int) -> None:
    """Raise `Refusal` for files that are damaged, or built to make a decoder slow or greedy."""
    if file_format == "PNG":
        _check_png(content)
    elif file_format == "JPEG" and content.count(b"\xff\xda") > MAX_JPEG_SCANS:
        raise Refusal(
            f"is a JPEG file with more than {MAX_JPEG_SCANS} scans, which no camera or editor writes"
        )
    elif file_format == "TIFF":
        _check_tiff(content, max_pixels)
    elif file_format == "BMP" and content[30:31] in (b"\1", b"\2") and len(content) > MAX_BMP_RLE_BYTES:
        # Pillow decodes run lengths in Python, byte by byte.
        raise Refusal(f"is a run-length-coded BMP file of more than {MAX_BMP_RLE_BYTES // 2**20} MiB")


def _check_png(content: bytes) -> None:
    """Every chunk is complete and its checksum right, up to IEND."""
    view, position = memoryview(content), 8
    for _ in range(MAX_PNG_CHUNKS):
        if position + 12 > len(content):
            raise Refusal("is a PNG file that is cut short")
        length, kind = struct.unpack_from(">I4s", content, position)
        end = position + 8 + length
        if end + 4 > len(content):
            raise Refusal("is a PNG file that is cut short")
        if zlib.crc32(view[position + 4 : end]) != struct.unpack_from(">I", content, end)[0]:
            raise Refusal("is a damaged PNG file: a checksum is wrong")
        if kind == b"IEND":
            return
        position = end + 4
    raise Refusal(f"is a PNG file with more than {MAX_PNG_CHUNKS} chunks")


def _check_tiff(content: bytes, max_pixels: int) -> None:
    """The first directory can be read and asks for no absurd tables or tiles."""
    directory = _tiff_directory(content, _first_tiff_offset(content))
    if directory is None:
        raise Refusal("is a TIFF file that is damaged or cut short")
    for kind, count, _ in directory.entries.values():
        if _TIFF_SIZES.get(kind, 1) > 1 and count > MAX_TIFF_VALUES:
            raise Refusal(f"is a damaged TIFF file: a table claims {count} values")
    order = _tiff_order(content)
    width = _tiff_integer(directory, _TILE_WIDTH, order) or 0
    length = _tiff_integer(directory, _TILE_LENGTH, order) or 0
    if width * length > max_pixels:
        raise Refusal(
            f"is a TIFF file with tiles of {width}x{length} pixels, more than the allowed {max_pixels}"
        )


def _tiff_order(content: bytes) -> str:
    return "<" if content[:2] == b"II" else ">"


def _is_big_tiff(content: bytes) -> bool:
    return b"+" in content[2:4]


def _first_tiff_offset(content: bytes) -> int:
    layout, position = ("Q", 8) if _is_big_tiff(content) else ("L", 4)
    if len(content) < position + struct.calcsize("=" + layout):
        return 0
    return struct.unpack_from(_tiff_order(content) + layout, content, position)[0]


def _tiff_directory(content: bytes, offset: int) -> TiffDirectory | None:
    """The directory at that offset (TIFF 6.0, section 2), or None where the file ends inside it."""
    order = _tiff_order(content)
    counter, entry, pointer = ("Q", "HHQ8s", "Q") if _is_big_tiff(content) else ("H", "HHL4s", "L")
    try:
        number = struct.unpack_from(order + counter, content, offset)[0]
        start = offset + struct.calcsize("=" + counter)
        size = struct.calcsize("=" + entry)
        next_offset = struct.unpack_from(order + pointer, content, start + number * size)[0]
    except (struct.error, OverflowError):
        return None
    if offset == 0 or number > 65_535:
        return None
    rows = struct.iter_unpack(order + entry, content[start : start + number * size])
    return TiffDirectory({tag: (kind, count, raw) for tag, kind, count, raw in rows}, next_offset)


def _tiff_integer(directory: TiffDirectory, tag: int, order: str) -> int | None:
    kind, count, raw = directory.entries.get(tag, (0, 0, b""))
    layout = _TIFF_INTEGERS.get(kind)
    if layout is None or count != 1 or struct.calcsize("=" + layout) > len(raw):
        return None
    return struct.unpack_from(order + layout, raw)[0]


def count_frames(content: bytes, file_format: str) -> int:
    """Number of frames of a GIF or pages of a TIFF, counted up to MAX_COUNTED_FRAMES + 1; 1 for the rest."""
    if file_format == "GIF":
        return _count_gif_frames(content)
    return _count_tiff_pages(content) if file_format == "TIFF" else 1


def _count_tiff_pages(content: bytes) -> int:
    """Length of the chain of directories; a chain that bites its tail ends where it starts to repeat."""
    seen: set[int] = set()
    offset = _first_tiff_offset(content)
    while offset and offset not in seen and len(seen) <= MAX_COUNTED_FRAMES:
        directory = _tiff_directory(content, offset)
        if directory is None:
            break
        seen.add(offset)
        offset = directory.next_offset
    return max(1, len(seen))


def _count_gif_frames(content: bytes) -> int:
    """Number of image descriptors (GIF89a, section 20) before the trailer or the end of the file."""
    frames = 0
    try:
        position = 13 + _gif_palette_bytes(content[10])
        while frames <= MAX_COUNTED_FRAMES and content[position] != 0x3B:
            if content[position] == 0x2C:
                frames += 1
                position += 11 + _gif_palette_bytes(content[position + 9])
            else:
                position += 2
            while content[position]:  # data sub-blocks: a length byte, then that many bytes; 0 ends them
                position += 1 + content[position]
            position += 1
    except IndexError:
        pass  # the file ends in mid-frame; what was complete has been counted
    return max(1, frames)


def _gif_palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0
