"""Odd files that the intake must read, in every format and mode."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from tests.hostile_encoders import (
    BLACK_WHITE,
    GREYS,
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


def png_files() -> Iterator[HostileFile]:
    for mode, expected in {
        "1": BLACK_WHITE,
        "L": GREYS,
        "P": SCENE,
        "RGB": SCENE,
        "RGBA": SCENE,
        "LA": GREYS,
    }.items():
        yield HostileFile(
            f"PNG {mode}", f"{mode}.png", encode(scene(mode), "PNG"), quadrants=expected, tolerance=1
        )
    yield from _png_alpha()
    yield from _png_deep()
    interlaced = png(2, 2, 8, 0, b"\0\x32" + b"\0\x32" + b"\0\x32\x32", interlace=1)
    yield HostileFile("PNG interlaced", "i.png", interlaced, size=(2, 2), quadrants=uniform((50,) * 3))
    for bits, byte, value in ((1, 0x80, 255), (2, 0x40, 85), (4, 0x30, 51)):
        rows = (b"\0" + bytes([byte])) * 2
        expected = ((value,) * 3, (0,) * 3, (value,) * 3, (0,) * 3)
        yield HostileFile(
            f"PNG {bits}-bit grey", "g.png", png(2, 2, bits, 0, rows), size=(2, 2), quadrants=expected
        )
    palette = png_chunk(b"PLTE", bytes((255, 0, 0, 0, 255, 0)))
    rows = b"\0\0\xff" * 2
    yield HostileFile("PNG palette index out of range", "p.png", png(2, 2, 8, 3, rows, palette), size=(2, 2))
    yield HostileFile(
        "PNG text after the end", "t.png", encode(scene(), "PNG") + b"<?php ?>" * 9, quadrants=SCENE
    )
    frames = [scene(), noise(WIDTH, HEIGHT), noise(WIDTH, HEIGHT)]
    animated = encode(frames[0], "PNG", save_all=True, append_images=frames[1:])
    yield HostileFile("PNG animated", "a.png", animated, quadrants=SCENE, note="first of")


def _png_alpha() -> Iterator[HostileFile]:
    over_white = uniform((227, 177, 127))  # 255 + (x - 255) * 128 / 255 for x = 200, 100, 0
    half = Image.new("RGBA", (8, 8), (200, 100, 0, 128))
    yield HostileFile(
        "PNG half transparent", "h.png", encode(half, "PNG"), "ok", (8, 8), over_white, 0, "over white"
    )
    grey = Image.new("LA", (8, 8), (200, 128))
    expected = uniform((227,) * 3)
    yield HostileFile("PNG LA half", "la.png", encode(grey, "PNG"), "ok", (8, 8), expected, 0, "over white")
    clear = Image.new("RGBA", (8, 8), (9, 9, 9, 0))
    yield HostileFile("PNG invisible", "c.png", encode(clear, "PNG"), "ok", (8, 8), uniform((255,) * 3))
    palette = png_chunk(b"PLTE", bytes((200, 100, 0, 0, 255, 0)))
    half_palette = png(2, 2, 8, 3, b"\0\0\0" * 2, palette, png_chunk(b"tRNS", b"\x80"))
    yield HostileFile("PNG palette alpha", "pa.png", half_palette, "ok", (2, 2), over_white, 0, "over white")
    keyed = encode(scene(), "PNG", transparency=(255, 0, 0))
    yield HostileFile("PNG key colour", "k.png", keyed, quadrants=((255,) * 3, *SCENE[1:]), note="over white")
    keyed_grey = encode(scene("L"), "PNG", transparency=76)
    yield HostileFile(
        "PNG key grey", "kg.png", keyed_grey, quadrants=((255,) * 3, *GREYS[1:]), note="over white"
    )


def _png_deep() -> Iterator[HostileFile]:
    values = (0, 32768, 1000, 65535)  # 255 / 65535 = 1 / 257: 0, 127.5, 3.9, 255
    rows = b"\0" + struct.pack(">2H", *values[:2]) + b"\0" + struct.pack(">2H", *values[2:])
    expected = ((0,) * 3, (128,) * 3, (4,) * 3, (255,) * 3)
    yield HostileFile(
        "PNG 16-bit grey", "16.png", png(2, 2, 16, 0, rows), "ok", (2, 2), expected, 0, "16-bit"
    )
    key = png_chunk(b"tRNS", struct.pack(">H", 1000))
    yield HostileFile(
        "PNG 16-bit key", "16k.png", png(2, 2, 16, 0, rows, key), "ok", (2, 2), expected, 0, "ignored"
    )
    row = b"\0" + struct.pack(">3H", 1000, 30000, 65535) * 2
    colour = uniform((4, 117, 255))
    yield HostileFile(
        "PNG 16-bit colour", "48.png", png(2, 2, 16, 2, row * 2), "ok", (2, 2), colour, 1, "16-bit"
    )
    key = png_chunk(b"tRNS", struct.pack(">3H", 3, 117, 255))  # must not match the reduced values
    keyed = png(2, 2, 16, 2, row * 2, key)
    yield HostileFile("PNG 16-bit colour key", "48k.png", keyed, "ok", (2, 2), colour, 1, "ignored")
    row = b"\0" + struct.pack(">4H", 65535, 0, 0, 32896) * 2  # 32896 is 128 * 257
    half = uniform((255, 127, 127))
    yield HostileFile(
        "PNG 16-bit alpha", "64.png", png(2, 2, 16, 6, row * 2), "ok", (2, 2), half, 1, "over white"
    )
    row = b"\0" + struct.pack(">2H", 0, 32896) * 2
    half = uniform((127,) * 3)
    yield HostileFile("PNG 16-bit grey alpha", "32.png", png(2, 2, 16, 4, row * 2), "ok", (2, 2), half, 1)


def jpeg_files() -> Iterator[HostileFile]:
    for subsampling in (0, 1, 2):
        content = encode(scene(), "JPEG", quality=95, subsampling=subsampling)
        yield HostileFile(f"JPEG subsampling {subsampling}", "s.jpg", content, quadrants=SCENE, tolerance=6)
    content = encode(scene(), "JPEG", quality=95, progressive=True)
    yield HostileFile("JPEG progressive", "p.jpeg", content, quadrants=SCENE, tolerance=6)
    content = encode(scene("L"), "JPEG", quality=95)
    yield HostileFile("JPEG grey", "g.jpg", content, quadrants=GREYS, tolerance=3)
    content = encode(scene("CMYK"), "JPEG", quality=95)  # written inverted, with Adobe's marker
    yield HostileFile("JPEG CMYK", "cmyk.jpg", content, quadrants=SCENE, tolerance=6, note="CMYK converted")
    content = encode(scene(), "JPEG", quality=95, keep_rgb=True)
    yield HostileFile("JPEG stored as RGB", "rgb.jpg", content, quadrants=SCENE, tolerance=6)
    content = encode(scene(), "JPEG", quality=95, comment=b"<script>alert(1)</script>\0" * 9)
    yield HostileFile("JPEG with a comment", "c.jpg", content, quadrants=SCENE, tolerance=6)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    content = encode(scene(), "JPEG", quality=95, icc_profile=srgb)
    yield HostileFile("JPEG sRGB profile", "icc.jpg", content, quadrants=SCENE, tolerance=6)
    for label, profile in {
        "garbage": b"\xff" * 300,
        "cut": srgb[:200],
        "oversized": bytes(5 * 2**20),
    }.items():
        content = encode(scene(), "JPEG", quality=95, icc_profile=profile)
        yield HostileFile(
            f"JPEG {label} profile", "bad.jpg", content, quadrants=SCENE, tolerance=6, note="ignored"
        )
    zipped = encode(scene(), "JPEG", quality=95) + zip_archive()
    yield HostileFile("JPEG and ZIP in one", "polyglot.jpg", zipped, quadrants=SCENE, tolerance=6)
    two = encode(scene(), "MPO", quality=95, save_all=True, append_images=[noise(WIDTH, HEIGHT)])
    yield HostileFile("JPEG with a second picture (MPO)", "m.jpg", two, quadrants=SCENE, tolerance=6)


def webp_files() -> Iterator[HostileFile]:
    content = encode(scene(), "WEBP", quality=95)
    yield HostileFile("WebP lossy", "l.webp", content, quadrants=SCENE, tolerance=30)
    content = encode(scene(), "WEBP", lossless=True)
    yield HostileFile("WebP lossless", "ll.webp", content, quadrants=SCENE)
    half = Image.new("RGBA", (8, 8), (200, 100, 0, 128))
    content = encode(half, "WEBP", lossless=True)
    yield HostileFile(
        "WebP alpha", "a.webp", content, "ok", (8, 8), uniform((227, 177, 127)), 0, "over white"
    )
    frames = [noise(WIDTH, HEIGHT), scene("RGB").rotate(180)]
    content = encode(scene(), "WEBP", lossless=True, save_all=True, append_images=frames)
    yield HostileFile("WebP animated", "an.webp", content, quadrants=SCENE, note="first of 3 frames")


def bmp_files() -> Iterator[HostileFile]:
    for mode, expected in {"1": BLACK_WHITE, "L": GREYS, "P": SCENE, "RGB": SCENE}.items():
        yield HostileFile(
            f"BMP {mode}", f"{mode}.bmp", encode(scene(mode), "BMP"), quadrants=expected, tolerance=1
        )
    yield HostileFile("BMP RGBA", "rgba.bmp", encode(scene("RGBA"), "BMP"), quadrants=SCENE)
    flipped = bytearray(encode(scene().transpose(Image.Transpose.FLIP_TOP_BOTTOM), "BMP"))
    flipped[22:26] = struct.pack("<i", -HEIGHT)
    yield HostileFile("BMP top down", "down.bmp", bytes(flipped), quadrants=SCENE)
    rows = bytes((30, 20, 10) * 2) + b"\0\0"
    old = b"BM" + struct.pack("<IHHIIHHHH", 26 + 16, 0, 0, 26, 12, 2, 2, 1, 24) + rows * 2
    yield HostileFile("BMP OS/2", "os2.bmp", old, size=(2, 2), quadrants=uniform((10, 20, 30)))
    yield HostileFile("BMP run-length", "rle.bmp", rle_bmp(4, 2, b"\4\1\0\0\4\1\0\1"), size=(4, 2))


def tiff_files() -> Iterator[HostileFile]:
    expected = {
        "1": BLACK_WHITE,
        "L": GREYS,
        "LA": GREYS,
        "P": SCENE,
        "RGB": SCENE,
        "RGBA": SCENE,
        "RGBX": SCENE,
    }
    for mode, colours in (expected | {"CMYK": SCENE, "YCbCr": SCENE}).items():
        content = encode(scene(mode), "TIFF")
        yield HostileFile(f"TIFF {mode}", f"{mode}.tif", content, quadrants=colours, tolerance=2)
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd", "lzma", "jpeg"):
        content = encode(scene(), "TIFF", compression=compression)
        yield HostileFile(f"TIFF {compression}", "c.tiff", content, quadrants=SCENE, tolerance=6)
    for compression in ("group3", "group4"):
        content = encode(scene("1"), "TIFF", compression=compression)
        yield HostileFile(f"TIFF {compression}", "fax.tif", content, quadrants=BLACK_WHITE)
    yield HostileFile("TIFF big", "big.tif", encode(scene(), "TIFF", big_tiff=True), quadrants=SCENE)
    lab = Image.merge("LAB", [Image.new("L", (8, 8), v) for v in (255, 128, 128)])
    yield HostileFile("TIFF LAB", "lab.tif", encode(lab, "TIFF"), "ok", (8, 8), uniform((255,) * 3), 4, "LAB")
    pages = encode(scene(), "TIFF", save_all=True, append_images=[noise(), noise()])
    yield HostileFile("TIFF of three pages", "m.tif", pages, quadrants=SCENE, note="first of 3 pages")
    yield from _deep_tiff_files()
    data = bytes((0, 255, 0, 255))
    inverted = tiff(grey_tiff_tags(2, 2, t262=(3, 1, 0)), data)
    white_black = ((255,) * 3, (0,) * 3, (255,) * 3, (0,) * 3)
    yield HostileFile("TIFF 0 is white", "inv.tif", inverted, size=(2, 2), quadrants=white_black)
    for label, next_directory in {"itself": 12, "the header": 1, "beyond the end": 10**6}.items():
        content = tiff(grey_tiff_tags(2, 2), data, next_directory)
        topic = f"TIFF next directory is {label}"
        yield HostileFile(topic, "cycle.tif", content, size=(2, 2), quadrants=BLACK_WHITE)


def _deep_tiff_files() -> Iterator[HostileFile]:
    values = np.array([[0, 32768], [1000, 65535]])
    sixteen = ((0,) * 3, (128,) * 3, (4,) * 3, (255,) * 3)
    for label, order in (("little", "<u2"), ("big", ">u2")):
        content = encode(Image.fromarray(values.astype(order)), "TIFF")
        yield HostileFile(
            f"TIFF 16-bit {label} endian", "16.tif", content, "ok", (2, 2), sixteen, 0, "16-bit grey"
        )
    data = values.astype("<u2").tobytes()
    inverted = tiff(grey_tiff_tags(2, 2, t258=(3, 1, 16), t262=(3, 1, 0), t279=(4, 1, 8)), data)
    expected = ((255,) * 3, (127,) * 3, (251,) * 3, (0,) * 3)
    yield HostileFile(
        "TIFF 16-bit, 0 is white", "16i.tif", inverted, "ok", (2, 2), expected, 0, "16-bit grey"
    )
    twelve = tiff(grey_tiff_tags(2, 2, t258=(3, 1, 12), t279=(4, 1, 6)), bytes((0, 0x0F, 0xFF)) * 2)
    yield HostileFile("TIFF 12-bit", "12.tif", twelve, "ok", (2, 2), BLACK_WHITE, 0, "12-bit grey")
    stretched = Image.fromarray(np.array([[-100, 900], [400, 900]], np.int32))  # 400 lies half way
    halves = ((0,) * 3, (255,) * 3, (128,) * 3, (255,) * 3)
    yield HostileFile(
        "TIFF 32-bit", "32.tif", encode(stretched, "TIFF"), "ok", (2, 2), halves, 1, "-100 to 900"
    )
    unit = Image.fromarray(np.array([[0.2, 0.4], [0.6, 0.8]], np.float32))
    fifths = ((51,) * 3, (102,) * 3, (153,) * 3, (204,) * 3)
    yield HostileFile(
        "TIFF float in [0, 1]", "f.tif", encode(unit, "TIFF"), "ok", (2, 2), fifths, 0, "0 to 1"
    )
    wide = Image.fromarray(np.array([[-1e6, 1e6], [0, 1e6]], np.float32))
    yield HostileFile("TIFF float", "wide.tif", encode(wide, "TIFF"), "ok", (2, 2), halves, 1, "stretched")
    for value in (np.nan, np.inf, -np.inf):
        content = encode(Image.fromarray(np.array([[0, 1], [2, value]], np.float32)), "TIFF")
        yield HostileFile(f"TIFF float with {value}", "nan.tif", content, "refused")
    constant = Image.fromarray(np.full((2, 2), 7.0, np.float32))
    yield HostileFile(
        "TIFF constant float", "k.tif", encode(constant, "TIFF"), "ok", (2, 2), uniform((0,) * 3)
    )


def gif_files() -> Iterator[HostileFile]:
    for mode, expected in {"1": BLACK_WHITE, "L": GREYS, "P": SCENE, "RGB": SCENE}.items():
        yield HostileFile(
            f"GIF {mode}", f"{mode}.gif", encode(scene(mode), "GIF"), quadrants=expected, tolerance=1
        )
    frames = [scene().rotate(90 * turn) for turn in range(1, 12)]
    content = encode(scene(), "GIF", save_all=True, append_images=frames)
    yield HostileFile("GIF animated", "a.gif", content, quadrants=SCENE, note="first of 12 frames used")
    content = encode(scene("P"), "GIF", interlace=1)
    yield HostileFile("GIF interlaced", "i.gif", content, quadrants=SCENE)
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    yield HostileFile("GIF transparent", "t.gif", encode(clear, "GIF"), "ok", (8, 8), uniform((255,) * 3))
    many = gif(2, 2, frames=5000)
    yield HostileFile("GIF of 5000 frames", "many.gif", many, "ok", (2, 2), note="more than 1000 frames")
    commented = gif(2, 2, extension=b"!\xfe" + (b"\xff" + b"A" * 255) * 4000 + b"\0")
    yield HostileFile("GIF with a comment of a megabyte", "comment.gif", commented, "ok", (2, 2))
    yield HostileFile(
        "GIF palette index out of range", "p.gif", gif(2, 2, pixels=b"\xd4\x34\x05"), "ok", (2, 2)
    )
    yield HostileFile(
        "GIF frame larger than its screen", "screen.gif", gif(2, 2, screen=(1, 1)), "ok", (2, 2)
    )


def oriented_files() -> Iterator[HostileFile]:
    """EXIF orientations 1 to 8 in the formats that carry EXIF: all must come out upright."""
    turns = Image.Transpose
    stored = {
        1: None,
        2: turns.FLIP_LEFT_RIGHT,
        3: turns.ROTATE_180,
        4: turns.FLIP_TOP_BOTTOM,
        5: turns.TRANSPOSE,
    }
    stored |= {6: turns.ROTATE_90, 7: turns.TRANSVERSE, 8: turns.ROTATE_270}
    options: dict[str, dict[str, Any]] = {
        "JPEG": {"quality": 95},
        "PNG": {},
        "WEBP": {"lossless": True},
        "TIFF": {},
    }
    for orientation, turn in stored.items():
        picture = scene() if turn is None else scene().transpose(turn)
        exif = Image.Exif()
        exif[0x0112] = orientation
        note = None if turn is None else f"EXIF orientation {orientation} applied"
        for file_format, extra in options.items():
            content = encode(picture, file_format, exif=exif, **extra)
            topic, name = f"{file_format} orientation {orientation}", f"o{orientation}.{file_format.lower()}"
            yield HostileFile(topic, name, content, quadrants=SCENE, tolerance=6, note=note)


def exif_files() -> Iterator[HostileFile]:
    """Strange EXIF must not stop a sound picture."""
    directory = struct.pack("<2sHLH", b"II", 42, 8, 1)
    blocks = {
        "garbage": b"Exif\0\0" + b"\xff" * 64,
        "empty": b"Exif\0\0",
        "orientation 0": b"Exif\0\0" + directory + struct.pack("<HHLLL", 0x112, 3, 1, 0, 0),
        "orientation 9": b"Exif\0\0" + directory + struct.pack("<HHLLL", 0x112, 3, 1, 9, 0),
        "orientation as text": b"Exif\0\0" + directory + struct.pack("<HHL4sL", 0x112, 2, 4, b"six\0", 0),
        "many orientations": b"Exif\0\0" + directory + struct.pack("<HHLLL", 0x112, 3, 2**31, 6, 0),
        "directory of itself": b"Exif\0\0" + directory + struct.pack("<HHLLL", 0x8769, 4, 1, 8, 8),
        "65535 entries": b"Exif\0\0" + struct.pack("<2sHLH", b"II", 42, 8, 65535),
    }
    for label, block in blocks.items():
        content = encode(scene(), "JPEG", quality=95, exif=block)
        yield HostileFile(f"JPEG EXIF {label}", "exif.jpg", content, quadrants=SCENE, tolerance=6)
        content = encode(scene(), "PNG", exif=block)
        yield HostileFile(f"PNG EXIF {label}", "exif.png", content, quadrants=SCENE)


GROUPS = (png_files, jpeg_files, webp_files, bmp_files, tiff_files, gif_files, oriented_files, exif_files)
