"""Files that the intake must refuse, beside their harmless look-alikes."""

from __future__ import annotations

import pickle
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from tests.hostile_encoders import (
    HEIGHT,
    SCENE,
    WIDTH,
    HostileFile,
    encode,
    gif,
    grey_tiff_tags,
    noise,
    png,
    png_chunk,
    rle_bmp,
    scene,
    tiff,
    uniform,
    zip_archive,
)


def truncated_files() -> Iterator[HostileFile]:
    """Each format cut at every quarter."""
    whole = {
        "png": encode(noise(), "PNG"),
        "jpg": encode(noise(), "JPEG"),
        "jpeg": encode(noise(), "JPEG", progressive=True),
        "webp": encode(noise(), "WEBP"),
        "lossless.webp": encode(noise(), "WEBP", lossless=True),
        "animated.webp": encode(scene(), "WEBP", save_all=True, append_images=[noise(WIDTH, HEIGHT)]),
        "bmp": encode(noise(), "BMP"),
        "tif": encode(noise(), "TIFF"),
        "lzw.tif": encode(noise(), "TIFF", compression="tiff_lzw"),
        "deflate.tif": encode(noise(), "TIFF", compression="tiff_adobe_deflate"),
        "gif": encode(noise(), "GIF"),
    }
    for ending, content in whole.items():
        for quarter in (1, 2, 3):
            topic = f"{ending} cut at {quarter}/4"
            yield HostileFile(
                topic, f"cut{quarter}.{ending}", content[: len(content) * quarter // 4], "refused"
            )


class _Marker:
    """Unpickling this would leave a trace; nothing here may unpickle."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('a pickle was loaded')",))


def _foreign_contents() -> dict[str, bytes]:
    """Contents that are no picture in one of the six formats, by what they are."""
    return {
        "text": b"just some text\n" * 20,
        "UTF-16 text": "just some text".encode("utf-16"),
        "HTML": b"<!DOCTYPE html><script>alert(1)</script>",
        "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
        "Python": b"#!/usr/bin/env python\nimport os\nos.system('true')\n",
        "pickle": pickle.dumps(_Marker()),
        "ZIP": zip_archive(),
        "gzip": b"\x1f\x8b\x08\0" + b"\0" * 60,
        "PDF": b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n%%EOF",
        "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
        "PPM": b"P6 2 2 255\n" + b"\0" * 12,
        "XBM": b"#define x_width 8\n#define x_height 1\nstatic char x_bits[] = {0xff};\n",
        "TGA": struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, 2, 2, 24, 0) + b"\0" * 12,
        "PSD": b"8BPS\0\1" + b"\0" * 6 + struct.pack(">HIIHH", 3, 2, 2, 8, 3) + b"\0" * 40,
        "ICO": encode(scene(), "ICO"),
        "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0" * 40,
        "AVIF": b"\0\0\0\x1cftypavif" + b"\0" * 40,
        "HEIC": b"\0\0\0\x18ftypheic" + b"\0" * 40,
        "MP4": b"\0\0\0\x18ftypmp42" + b"\0" * 40,
        "WAV": b"RIFF\x24\0\0\0WAVEfmt " + b"\0" * 40,
        "NumPy": b"\x93NUMPY\1\0v\0" + b" " * 100,
        "ELF": b"\x7fELF\2\1\1" + b"\0" * 60,
        "zeros": bytes(1000),
        "random bytes": np.random.default_rng(1).bytes(1000),
        "one byte": b"\x89",
        "nothing": b"",
        "a space": b" ",
    }


def foreign_files() -> Iterator[HostileFile]:
    """Anything that is not one of the six formats, whatever its name; and pictures with a wrong ending."""
    contents = _foreign_contents()
    for label, content in contents.items():
        yield HostileFile(f"{label} named .png", f"{label.lower()}.png", content, "refused")
    for label in ("SVG", "HTML", "pickle", "nothing", "EPS"):
        yield HostileFile(f"{label} named .jpg", f"{label.lower()}.jpg", contents[label], "refused")
    for signature in (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"BM", b"II*\0", b"MM\0*", b"II+\0"):
        yield HostileFile(f"only {signature!r}", "signature.png", signature, "refused")
        yield HostileFile(f"text after {signature!r}", "text.png", signature + b"alert(1);" * 30, "refused")
    yield HostileFile("only RIFF WEBP", "signature.webp", b"RIFF\4\0\0\0WEBP", "refused")
    for file_format, ending in {
        "PNG": "jpg",
        "JPEG": "png",
        "GIF": "bmp",
        "BMP": "tif",
        "TIFF": "webp",
    }.items():
        content = encode(scene(), file_format)
        topic = f"{file_format} named .{ending}"
        yield HostileFile(
            topic, f"wrong.{ending}", content, quadrants=SCENE, tolerance=6, note="in spite of its name"
        )
    yield HostileFile("PNG without an ending", "picture", encode(scene(), "PNG"), quadrants=SCENE)


def odd_sizes() -> Iterator[HostileFile]:
    """Too small, too thin, and as small and thin as allowed."""
    for file_format in ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"):
        for size in ((1, 1), (1, 9), (9, 1)):
            content = encode(Image.new("RGB", size), file_format)
            topic, name = f"{file_format} of {size[0]}x{size[1]}", f"tiny.{file_format.lower()}"
            yield HostileFile(topic, name, content, "refused")
        content = encode(Image.new("RGB", (2, 2), (255, 255, 255)), file_format)
        yield HostileFile(f"{file_format} of 2x2", "two.png", content, "ok", (2, 2), uniform((255,) * 3))
    for width, height in ((0, 9), (9, 0), (0, 0)):
        name = f"zero{width}{height}"
        yield HostileFile(f"PNG {name}", f"{name}.png", png(width, height, 8, 0, b"\0"), "refused")
        yield HostileFile(
            f"TIFF {name}", f"{name}.tif", tiff(grey_tiff_tags(width, height), b"\0" * 9), "refused"
        )
        yield HostileFile(f"GIF {name}", f"{name}.gif", gif(width, height), "refused")
        yield HostileFile(f"BMP {name}", f"{name}.bmp", rle_bmp(width, height, b"\0\1"), "refused")
    strip = encode(Image.new("L", (30_000, 2), 77), "PNG")
    yield HostileFile("PNG of 30000x2", "strip.png", strip, "ok", (30_000, 2), uniform((77,) * 3))
    yield HostileFile("PNG of 70000x2", "long.png", encode(Image.new("L", (70_000, 2)), "PNG"), "refused")


def bombs() -> Iterator[HostileFile]:
    """Small files that ask for gigabytes or minutes."""
    huge = 100_000
    header = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", huge, huge, 8, 2, 0, 0, 0))
    yield HostileFile("PNG header of 100000x100000", "bomb.png", header, "refused")
    yield HostileFile("PNG of 100000x100000", "bomb2.png", png(huge, huge, 8, 2, b"\0" * 999), "refused")
    yield HostileFile("PNG of 2^31-1", "bomb3.png", png(2**31 - 1, 2**31 - 1, 1, 0, b"\0"), "refused")
    rows = (b"\0" + bytes(800)) * 6251
    yield HostileFile("PNG just over the limit", "over.png", png(6400, 6251, 1, 0, rows), "refused")
    zeros = zlib.compress(bytes(50 * 2**20))
    for kind, prefix in ((b"zTXt", b"k\0\0"), (b"iCCP", b"k\0\0"), (b"iTXt", b"k\0\1\0\0\0")):
        content = png(2, 2, 8, 0, b"\0\0\0" * 2, png_chunk(kind, prefix + zeros))
        yield HostileFile(f"PNG {kind.decode()} bomb", f"{kind.decode()}.png", content, "refused")
    many = png(2, 2, 8, 0, b"\0\0\0" * 2, png_chunk(b"abCd", b"") * 60_000)
    yield HostileFile("PNG of 60000 chunks", "chunks.png", many, "refused")
    yield HostileFile("GIF screen of 65535x65535", "screen.gif", gif(2, 2, screen=(65535, 65535)), "refused")
    yield HostileFile("GIF frame of 65535x65535", "frame.gif", gif(65535, 65535, screen=(2, 2)), "refused")
    yield from _webp_bombs()
    yield from _tiff_bombs()
    jpeg = bytearray(encode(noise(), "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 65500, 65500)
    yield HostileFile("JPEG of 65500x65500", "bomb.jpg", bytes(jpeg), "refused")
    progressive = encode(noise(), "JPEG", progressive=True)
    scan = progressive[progressive.index(b"\xff\xda") : -2]
    yield HostileFile(
        "JPEG of many scans", "scans.jpg", progressive[:-2] + scan * 200 + b"\xff\xd9", "refused"
    )
    yield HostileFile("BMP of 100000x100000", "bomb.bmp", rle_bmp(huge, huge, b"\0\1"), "refused")
    yield HostileFile("BMP of -2^31", "negative.bmp", rle_bmp(2, -(2**31), b"\0\1"), "refused")
    yield HostileFile(
        "BMP run-length wide", "wide.bmp", rle_bmp(19_000_000, 2, b"\0\2\xff\xff" * 9), "refused"
    )
    yield HostileFile("BMP run-length long", "rle.bmp", rle_bmp(6000, 6000, b"\1\1" * 2_200_000), "refused")
    yield HostileFile("26 MiB", "large.png", encode(scene(), "PNG") + bytes(26 * 2**20), "refused")


def _webp_bombs() -> Iterator[HostileFile]:
    side = (16_383).to_bytes(3, "little")
    small = encode(scene(), "WEBP", lossless=True)
    extended = b"VP8X\x0a\0\0\0" + b"\2\0\0\0" + side + side
    body = b"WEBP" + extended + small[12:]
    content = b"RIFF" + struct.pack("<I", len(body)) + body
    yield HostileFile("WebP canvas of 16384x16384", "canvas.webp", content, "refused")
    lossless = bytearray(small)
    lossless[21:25] = struct.pack("<I", 16_382 | 16_382 << 14)
    yield HostileFile("WebP lossless 16383x16383", "lossless.webp", bytes(lossless), "refused")
    lossy = bytearray(encode(scene(), "WEBP", exact=False))
    lossy[26:30] = struct.pack("<HH", 16_383, 16_383)
    yield HostileFile("WebP lossy 16383x16383", "lossy.webp", bytes(lossy), "refused")


def _tiff_bombs() -> Iterator[HostileFile]:
    data, huge = bytes(64), 100_000
    tags = grey_tiff_tags(8, 8)
    yield HostileFile("TIFF of 100000x100000", "bomb.tif", tiff(grey_tiff_tags(huge, huge), data), "refused")
    tile = tags | {322: (4, 1, 60_000), 323: (4, 1, 60_000), 324: (4, 1, 8), 325: (4, 1, 64), 259: (3, 1, 8)}
    for tag in (273, 278, 279):
        del tile[tag]
    squeezed = zlib.compress(bytes(20 * 2**20))
    yield HostileFile("TIFF tile of 60000x60000", "tile.tif", tiff(tile, squeezed), "refused")
    values = tags | {273: (4, 2**31, 8)}
    yield HostileFile("TIFF of 2^31 strips", "strips.tif", tiff(values, data), "refused")
    samples = tags | {277: (4, 1, 2**31)}
    yield HostileFile("TIFF of 2^31 samples per pixel", "samples.tif", tiff(samples, data), "refused")
    entries = struct.pack("<2sHLH", b"II", 42, 8, 65535) + bytes(100)
    yield HostileFile("TIFF of 65535 entries", "entries.tif", entries, "refused")
    shared = tags | {40_000 + index: (7, 2**20, 8) for index in range(5000)}
    yield HostileFile(
        "TIFF with 5000 tags of the same megabyte",
        "shared.tif",
        tiff(shared, data + bytes(2**20)),
        "ok",
        (8, 8),
    )
    yield HostileFile(
        "TIFF that starts in its header", "self.tif", struct.pack("<2sHL", b"II", 42, 0), "refused"
    )


def damaged_files() -> Iterator[HostileFile]:
    """Complete files with wrong bytes inside."""
    good = encode(noise(), "PNG")
    for label, position in {
        "header": 20,
        "data": len(good) // 2,
        "checksum": 30,
        "end": len(good) - 2,
    }.items():
        content = bytearray(good)
        content[position] ^= 0xFF
        yield HostileFile(f"PNG wrong byte in the {label}", f"{label}.png", bytes(content), "refused")
    short = png(8, 8, 8, 2, b"\0" * 30)
    yield HostileFile("PNG with too few rows", "rows.png", short, "refused")
    yield HostileFile("PNG without a palette", "palette.png", png(2, 2, 8, 3, b"\0\0\0" * 2), "refused")
    yield HostileFile("PNG of 3 bits", "bits.png", png(2, 2, 3, 0, b"\0\0" * 2), "refused")
    yield HostileFile("PNG colour type 5", "type.png", png(2, 2, 8, 5, b"\0" * 9), "refused")
    broken = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IEND", b"")
    yield HostileFile("PNG without a header", "headless.png", broken, "refused")
    jpeg = encode(noise(), "JPEG")
    start = jpeg.index(b"\xff\xda")
    yield HostileFile("JPEG without data", "empty.jpg", jpeg[: start + 2], "refused")
    tables = jpeg.replace(b"\xff\xc4", b"\xff\xfe")
    yield HostileFile("JPEG scan before its frame", "order.jpg", jpeg[:2] + jpeg[start:], "refused")
    yield HostileFile("JPEG without Huffman tables", "tables.jpg", tables, "ok", (96, 64))
    yield HostileFile("GIF without a frame", "no.gif", gif(2, 2)[:19] + b";", "refused")
    yield HostileFile("GIF with broken codes", "codes.gif", gif(9, 9, pixels=b"\xff\xff\xff"), "refused")
    bmp = bytearray(encode(scene(), "BMP"))
    bmp[28:30] = struct.pack("<H", 7)
    yield HostileFile("BMP of 7 bits", "bits.bmp", bytes(bmp), "refused")
    lzw = bytearray(encode(noise(), "TIFF", compression="tiff_lzw"))
    lzw[200:4000] = b"\xff" * 3800
    yield HostileFile("TIFF with broken codes", "codes.tif", bytes(lzw), "refused")


GROUPS = (truncated_files, foreign_files, odd_sizes, bombs, damaged_files)
