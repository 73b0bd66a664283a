"""Any of Pillow's modes to 8-bit RGB, with a note for everything that changed the picture.

Callers hold the intake's lock, have checked the picture's size, and catch what damaged data raises here.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageCms

MAX_PROFILE_BYTES = 4 * 2**20
_BITS_TAG, _PHOTOMETRIC_TAG = 258, 262
_PROFILE_SPACES = {"RGB": "RGB", "RGBA": "RGB", "CMYK": "CMYK"}

RgbAndNotes = tuple[PillowImage.Image, tuple[str, ...]]
_WIDE_MODES: dict[str, Callable[[PillowImage.Image], RgbAndNotes]] = {}


class UnusableValues(ValueError):
    """The picture's numbers cannot be shown; a phrase that follows the file's name."""


def to_rgb(picture: PillowImage.Image, background: tuple[int, int, int], bits: int) -> RgbAndNotes:
    """The loaded picture as 8-bit RGB over `background`, with notes; `bits` is the file's depth per channel.

    Raises `UnusableValues` for floating-point pictures with values that are not finite.
    """
    if picture.mode in _WIDE_MODES:
        return _WIDE_MODES[picture.mode](picture)
    notes: tuple[str, ...] = ()
    if bits == 16:
        # Pillow keeps the high byte of each channel, and the key colour no longer matches it.
        notes = ("16-bit colour reduced to 8 bit", *_drop_key_colour(picture))
    picture, profile_notes = _to_srgb(picture)
    notes += profile_notes
    if picture.has_transparency_data:
        flat, alpha_notes = _flatten(picture, background)
        return flat, notes + alpha_notes
    if picture.mode in ("CMYK", "LAB"):
        notes += (f"{picture.mode} converted to RGB",)
    if picture.mode == "LAB":
        return _lab_to_rgb(picture), notes
    return picture if picture.mode == "RGB" else picture.convert("RGB"), notes  # no second copy of RGB


def bits_per_channel(picture: PillowImage.Image, content: bytes, file_format: str) -> int:
    """Depth of the file's channels, which Pillow's mode does not tell for 16-bit colour."""
    if file_format == "PNG":
        return content[24]
    bits = getattr(picture, "tag_v2", {}).get(_BITS_TAG, 8)
    return int(bits[0] if isinstance(bits, tuple) else bits)


def _wide(*modes: str) -> Callable[[Callable[[PillowImage.Image], RgbAndNotes]], Callable]:
    """Register the converter of greyscale modes with more than 8 bits."""

    def register(converter: Callable[[PillowImage.Image], RgbAndNotes]) -> Callable:
        for mode in modes:
            if mode in _WIDE_MODES:
                raise ValueError(f"A converter for mode {mode} is already registered.")
            _WIDE_MODES[mode] = converter
        return converter

    return register


@_wide("I;16", "I;16L", "I;16B", "I;16N")
def _from_16_bit(picture: PillowImage.Image) -> RgbAndNotes:
    """value * 255 / (2^bits - 1), rounded to nearest; bits is 16, or 12 in some TIFF files."""
    notes = _drop_key_colour(picture)
    bits = 12 if bits_per_channel(picture, b"", "TIFF") == 12 else 16
    maximum = 2**bits - 1
    table = (
        ((np.arange(2**16, dtype=np.uint32) * 510 + maximum) // (2 * maximum)).clip(max=255).astype(np.uint8)
    )
    grey = table[np.asarray(picture)]
    return _grey_to_rgb(grey, picture), (f"{bits}-bit greyscale scaled to 8 bit", *notes)


@_wide("I", "F")
def _from_measurements(picture: PillowImage.Image) -> RgbAndNotes:
    """32-bit integers and floats: floats within [0, 1] as they are, anything else from minimum to maximum."""
    values = np.asarray(picture)
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise UnusableValues("has values that are not finite, so its brightness range is undefined")
    kind = "floating-point" if picture.mode == "F" else "32-bit"
    if picture.mode == "F" and low >= 0.0 and high <= 1.0:
        low, high, note = 0.0, 1.0, f"{kind} greyscale, 0 to 1 shown as black to white"
    else:
        note = f"{kind} greyscale, {low:g} to {high:g} stretched from black to white"
    span = (high - low) or 1.0
    grey = np.empty(values.shape, np.uint8)
    for row, source in zip(grey, values, strict=True):  # row by row: no second full-size float picture
        row[:] = np.rint((source.astype(np.float64) - low) * (255.0 / span))
    return _grey_to_rgb(grey, picture), (note,)


def _grey_to_rgb(grey: np.ndarray, picture: PillowImage.Image) -> PillowImage.Image:
    """Three equal channels; Pillow leaves "0 is white" pictures of these modes inverted."""
    white_is_zero = getattr(picture, "tag_v2", {}).get(_PHOTOMETRIC_TAG) == 0
    return PillowImage.fromarray(255 - grey if white_is_zero else grey).convert("RGB")


def _drop_key_colour(picture: PillowImage.Image) -> tuple[str, ...]:
    if picture.info.pop("transparency", None) is None:
        return ()
    return ("transparent colour of a 16-bit picture ignored",)


def _flatten(picture: PillowImage.Image, background: tuple[int, int, int]) -> RgbAndNotes:
    """Alpha over the background: round((alpha * colour + (255 - alpha) * background) / 255)."""
    picture = picture.convert("RGBA")
    alpha = picture.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return picture.convert("RGB"), ()
    flat = PillowImage.new("RGB", picture.size, background)
    flat.paste(picture, mask=alpha)
    shown = "white" if background == (255, 255, 255) else f"RGB {background}"
    return flat, (f"transparent pixels shown over {shown}",)


def _to_srgb(picture: PillowImage.Image) -> RgbAndNotes:
    """Apply an embedded colour profile other than sRGB; one that cannot be used is ignored and noted."""
    data = picture.info.get("icc_profile")
    if not data or picture.mode not in _PROFILE_SPACES or len(data) > MAX_PROFILE_BYTES:
        return picture, ("embedded colour profile ignored",) if data and picture.mode != "P" else ()
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        name = ImageCms.getProfileDescription(profile).strip()
        space = profile.profile.xcolor_space.strip()
        if "srgb" in name.lower() and space == "RGB":
            return picture, ()
        if space != _PROFILE_SPACES[picture.mode]:
            return picture, ("embedded colour profile does not fit the picture, ignored",)
        return _convert(picture, profile), ("embedded colour profile converted to sRGB",)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, AttributeError):
        return picture, ("embedded colour profile unreadable, ignored",)


def _convert(picture: PillowImage.Image, profile: ImageCms.ImageCmsProfile) -> PillowImage.Image:
    mode = "RGBA" if picture.mode == "RGBA" else "RGB"
    transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), picture.mode, mode)
    return transform.apply(picture)


def _lab_to_rgb(picture: PillowImage.Image) -> PillowImage.Image:
    source, target = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.buildTransform(source, target, "LAB", "RGB").apply(picture)
