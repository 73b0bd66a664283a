"""The intake reads every odd file right or refuses it in one sentence, and resizing agrees with Pillow."""

from __future__ import annotations

import hashlib
import io
import threading
import tracemalloc
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from PIL import ImageFile

from data.image_headers import FORMATS, MAX_PNG_CHUNKS, sniff_format
from data.images import (
    MAX_NAME_LENGTH,
    Image,
    ImageError,
    Limits,
    display_name,
    read_image,
    to_float,
)
from data.resizing import (
    DEFAULT_RESIZE_MODE,
    RESIZE_MODES,
    describe_resize,
    register_resize,
    resize,
    resize_pixels,
)
from tests.hostile_encoders import HEIGHT, SCENE, WIDTH, HostileFile, encode, noise, png, scene
from tests.hostile_files import HOSTILE_NAMES, hostile_files

FILES = hostile_files()
GOOD = [file for file in FILES if file.expectation == "ok"]
BAD = [file for file in FILES if file.expectation == "refused"]


def by_topic(file: HostileFile) -> str:
    """Name of a parametrised test."""
    return file.topic


def corner_colours(image: Image) -> list[tuple[int, ...]]:
    """Colours in the middle of the quadrants: top left, top right, bottom left, bottom right."""
    rows = image.height // 4, image.height - 1 - image.height // 4
    columns = image.width // 4, image.width - 1 - image.width // 4
    return [tuple(image.pixels[:, row, column].tolist()) for row in rows for column in columns]


def assert_one_sentence(message: str, name: str) -> None:
    shown = display_name(name)
    assert message.startswith(shown + " ")
    rest = message.removeprefix(shown)
    assert message.isprintable()
    assert rest.endswith(".")
    assert ". " not in rest
    assert len(rest) < 200
    for leak in ("<", "Traceback", "Error", " object ", " at 0x", "/", "\\", "None"):
        assert leak not in rest


def test_there_are_at_least_200_files_with_their_own_topics() -> None:
    topics = [file.topic for file in FILES]
    assert len(topics) >= 200
    assert len(set(topics)) == len(topics)
    assert min(len(GOOD), len(BAD)) >= 100


@pytest.mark.parametrize("file", GOOD, ids=by_topic)
def test_good_files_are_read_right(file: HostileFile) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = read_image(file.content, file.name)
    assert image.pixels.dtype == torch.uint8
    assert image.pixels.is_contiguous()
    assert (image.width, image.height) == file.size
    assert image.pixels.shape == (3, image.height, image.width)
    assert image.sha256 == hashlib.sha256(file.content).hexdigest()
    assert image.name == display_name(file.name)
    assert image.format in FORMATS
    for found, expected in zip(corner_colours(image), file.quadrants or (), strict=False):
        assert np.abs(np.subtract(found, expected)).max() <= file.tolerance
    assert file.note is None or any(file.note in note for note in image.notes)


@pytest.mark.parametrize("file", BAD, ids=by_topic)
def test_bad_files_are_refused_in_one_sentence(file: HostileFile) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError) as caught:
            read_image(file.content, file.name)
    assert_one_sentence(str(caught.value), file.name)


def read_images(files: Iterable[tuple[str, bytes]]) -> tuple[list[Image], list[str]]:
    """The good ones of (name, bytes) pairs in order, and what is said of the bad ones."""
    images, problems = [], []
    for name, content in files:
        try:
            images.append(read_image(content, name))
        except ImageError as error:
            problems.append(str(error))
    return images, problems


def test_a_batch_goes_on_after_bad_files() -> None:
    images, problems = read_images((file.name, file.content) for file in FILES)
    assert [image.name for image in images] == [display_name(file.name) for file in GOOD]
    assert len(problems) == len(BAD)
    for problem, file in zip(problems, BAD, strict=True):
        assert_one_sentence(problem, file.name)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"text", "is not a picture in one of the formats PNG, JPEG, WebP, BMP, TIFF and GIF"),
        (bytes(11 * 2**20), "is 11.0 MiB large, more than the allowed 10.0 MiB"),
        (encode(PillowImage.new("L", (1, 1)), "PNG"), "is 1x1 pixels, less than the 2x2 that are needed"),
        (png(0, 5, 8, 0, b""), "is 0x5 pixels, less than the 2x2 that are needed"),
        (
            png(3000, 2, 8, 0, b""),
            "is 3000x2 pixels, more than the allowed 5,000 pixels and 65,535 on a side",
        ),
        (encode(noise(), "PNG")[:-100], "is a PNG file that is cut short"),
        (encode(noise(), "JPEG")[:-900], "is a JPEG file that is damaged or cut short"),
    ],
)
def test_sentences_say_what_was_given_and_what_is_allowed(content: bytes, words: str) -> None:
    limits = Limits(max_bytes=10 * 2**20, max_pixels=5000 if len(content) < 100 else 40_000)
    with pytest.raises(ImageError) as caught:
        read_image(content, "cat.png", limits=limits)
    assert str(caught.value) == f"cat.png {words}."


def test_limits_are_inclusive() -> None:
    content = encode(scene(), "PNG")
    exact = Limits(max_bytes=len(content), max_pixels=WIDTH * HEIGHT, min_side=HEIGHT, max_side=WIDTH)
    assert read_image(content, "a.png", limits=exact).pixels.shape == (3, HEIGHT, WIDTH)
    for tighter in (
        Limits(max_bytes=len(content) - 1),
        Limits(max_pixels=WIDTH * HEIGHT - 1),
        Limits(min_side=HEIGHT + 1),
        Limits(max_side=WIDTH - 1),
    ):
        with pytest.raises(ImageError):
            read_image(content, "a.png", limits=tighter)


@pytest.mark.parametrize(("name", "shown"), HOSTILE_NAMES.values(), ids=list(HOSTILE_NAMES))
def test_names_are_made_safe(name: str, shown: str) -> None:
    assert display_name(name) == shown
    assert len(shown) <= MAX_NAME_LENGTH
    assert display_name(shown) == shown


@pytest.mark.parametrize("name", ["IMG_2041 (1).JPG", "my-photo_v2.png", "Hund, groß & klein.webp"])
def test_ordinary_names_stay_readable(name: str) -> None:
    assert display_name(name) == name.replace("&", "_")


def test_lossless_formats_keep_every_pixel() -> None:
    expected = torch.from_numpy(np.array(noise())).permute(2, 0, 1)
    for file_format, options in {"PNG": {}, "BMP": {}, "TIFF": {}, "WEBP": {"lossless": True}}.items():
        content = encode(noise(), file_format, **options)
        assert torch.equal(read_image(content, "noise").pixels, expected)


def test_upright_picture_equals_the_original_for_every_orientation() -> None:
    # Exact on lossless files, with a picture in which every pixel differs.
    original = read_image(encode(noise(), "PNG"), "a.png").pixels
    turned = PillowImage.Transpose
    stored = {2: turned.FLIP_LEFT_RIGHT, 3: turned.ROTATE_180, 4: turned.FLIP_TOP_BOTTOM, 5: turned.TRANSPOSE}
    stored |= {6: turned.ROTATE_90, 7: turned.TRANSVERSE, 8: turned.ROTATE_270}
    for orientation, turn in stored.items():
        exif = PillowImage.Exif()
        exif[0x0112] = orientation
        for file_format in ("PNG", "TIFF"):
            image = read_image(encode(noise().transpose(turn), file_format, exif=exif), "a.png")
            assert torch.equal(image.pixels, original)


@pytest.mark.parametrize("background", [(255, 255, 255), (0, 0, 0), (10, 120, 240)])
def test_alpha_is_blended_over_the_background(background: tuple[int, int, int]) -> None:
    rgba = np.random.default_rng(3).integers(0, 256, (40, 50, 4), np.uint8)
    image = read_image(encode(PillowImage.fromarray(rgba), "PNG"), "a.png", background=background)
    alpha = rgba[..., 3:].astype(np.float64) / 255
    expected = rgba[..., :3] * alpha + np.array(background) * (1 - alpha)
    assert np.abs(image.pixels.permute(1, 2, 0).numpy() - expected).max() <= 0.5 + 1e-9
    shown = "white" if background == (255, 255, 255) else f"RGB {background}"
    assert image.notes == (f"transparent pixels shown over {shown}",)


@pytest.mark.parametrize("background", [(256, 0, 0), (-1, 0, 0), (1, 2)])
def test_a_background_that_is_no_colour_is_an_error(background: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="three values from 0 to 255"):
        read_image(encode(scene(), "PNG"), "a.png", background=background)


def test_an_opaque_alpha_channel_leaves_no_note() -> None:
    assert read_image(encode(scene("RGBA"), "PNG"), "a.png").notes == ()


def test_16_bit_grey_is_scaled_exactly() -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    image = read_image(encode(PillowImage.fromarray(values), "PNG"), "a.png")
    assert np.array_equal(image.pixels[0].numpy(), np.rint(values * (255 / 65535)))
    assert torch.equal(image.pixels[0], image.pixels[2])


def test_wide_gamut_profile_is_converted_to_srgb() -> None:
    # scikit-image's rocket carries an Adobe RGB (1998) profile; reference: its published matrix and gamma.
    path = Path(pytest.importorskip("skimage").__file__).parent / "data" / "rocket.jpg"
    image = read_image(path.read_bytes(), path.name)
    assert image.notes == ("embedded colour profile converted to sRGB",)
    stored = np.asarray(PillowImage.open(path)) / 255
    to_xyz = [[0.57667, 0.18556, 0.18823], [0.29734, 0.62736, 0.07529], [0.02703, 0.07069, 0.99134]]
    from_xyz = [[3.24045, -1.53714, -0.49853], [-0.96927, 1.87601, 0.04156], [0.05564, -0.20403, 1.05723]]
    linear = (stored**2.19922 @ np.transpose(to_xyz) @ np.transpose(from_xyz)).clip(0, 1)
    expected = 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    difference = np.abs(image.pixels.permute(1, 2, 0).numpy() - expected)
    assert np.median(difference) <= 1
    assert np.percentile(difference, 99) <= 4


def test_pillow_settings_are_left_alone() -> None:
    before = PillowImage.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)
    read_images((file.name, file.content) for file in FILES[::9])
    assert before == (PillowImage.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))


def test_threads_agree_with_one_thread() -> None:
    files = [(file.name, file.content) for file in FILES[::5]]
    alone, problems = read_images(files)
    results: list[tuple[list[Image], list[str]]] = []
    threads = [threading.Thread(target=lambda: results.append(read_images(files))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    for images, found in results:
        assert found == problems
        assert all(torch.equal(a.pixels, b.pixels) for a, b in zip(images, alone, strict=True))


@pytest.mark.parametrize("file", [f for f in BAD if len(f.content) < 4 * 2**20], ids=by_topic)
def test_refusing_takes_little_memory(file: HostileFile) -> None:
    # Python's and NumPy's share; Pillow's own buffers are bounded by the size checks that come first.
    tracemalloc.start()
    with pytest.raises(ImageError):
        read_image(file.content, file.name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * 2**20


def test_png_chunk_limit_spares_honest_files() -> None:
    # The smallest chunks that libpng writes by default hold 8 KiB, so 25 MiB make 3,200.
    assert Limits().max_bytes / 8192 < MAX_PNG_CHUNKS


def test_formats_are_told_by_content() -> None:
    for file_format in FORMATS:
        assert sniff_format(encode(scene(), file_format)) == file_format


# Floats and resizing


def test_to_float_is_value_over_255() -> None:
    values = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(2, 3, 16, 16)
    assert torch.equal(to_float(values), values.float() / 255)
    assert to_float(values).dtype == torch.float32
    with pytest.raises(ValueError, match="uint8"):
        to_float(values.float())


def reference_resize(picture: PillowImage.Image, size: int, mode: str) -> PillowImage.Image:
    """The three modes written with Pillow alone."""
    bilinear = PillowImage.Resampling.BILINEAR
    width, height = picture.size
    if mode == "squash":
        return picture.resize((size, size), bilinear)
    if mode == "crop":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        return picture.crop((left, top, left + side, top + side)).resize((size, size), bilinear)
    inner = (
        max(1, round(width * size / max(width, height))),
        max(1, round(height * size / max(width, height))),
    )
    canvas = PillowImage.new("RGB", (size, size), (128, 128, 128))
    canvas.paste(picture.resize(inner, bilinear), ((size - inner[0]) // 2, (size - inner[1]) // 2))
    return canvas


@pytest.mark.parametrize("mode", RESIZE_MODES)
@pytest.mark.parametrize("size", [32, 64, 224, 500])
@pytest.mark.parametrize("name", ["coffee.png", "astronaut.png"])
def test_resize_agrees_with_pillow(mode: str, size: int, name: str) -> None:
    path = Path(pytest.importorskip("skimage").__file__).parent / "data" / name
    with PillowImage.open(path) as picture:
        expected = np.asarray(reference_resize(picture.convert("RGB"), size, mode)) / 255
    images = to_float(read_image(path.read_bytes(), name).pixels[None])
    resized = resize(images, size, mode)
    assert resized.shape == (1, 3, size, size)
    assert resized.dtype == torch.float32
    assert np.abs(resized[0].permute(1, 2, 0).numpy() - expected).max() <= 2 / 255


@pytest.mark.parametrize("mode", RESIZE_MODES)
def test_resize_to_the_same_size_is_the_identity(mode: str) -> None:
    images = torch.rand((2, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    assert resize(images, 32, mode) is images


@pytest.mark.parametrize("mode", RESIZE_MODES)
@pytest.mark.parametrize("shape", [(2, 2), (3, 7), (33, 32), (2, 60_000), (60_000, 2)])
def test_resize_takes_any_shape(mode: str, shape: tuple[int, int]) -> None:
    images = torch.ones((1, 3, *shape))
    resized = resize(images, 32, mode)
    assert resized.shape == (1, 3, 32, 32)
    assert float(resized.min()) >= 0
    assert float(resized.max()) <= 1
    if mode != "pad":
        assert torch.allclose(resized, torch.ones(()))


def test_pad_shows_the_whole_picture_on_mid_grey() -> None:
    resized = resize(torch.ones((1, 3, 8, 32)), 32, "pad")
    assert torch.equal(resized[..., 12:20, :], torch.ones((1, 3, 8, 32)))
    assert float(resized[..., :12, :].unique()) == float(resized[..., 20:, :].unique()) == 0.5


def test_crop_keeps_the_centre() -> None:
    images = torch.zeros((1, 3, 4, 8))
    images[..., 2:6] = 1
    assert torch.equal(resize(images, 4, "crop"), torch.ones((1, 3, 4, 4)))


def test_resize_pixels_equals_resize_of_floats() -> None:
    pixels = read_image(encode(noise(), "PNG"), "a.png").pixels
    for mode in RESIZE_MODES:
        assert torch.equal(resize_pixels(pixels, 40, mode), resize(to_float(pixels[None]), 40, mode))
    square = pixels[:, :32, :32]
    assert torch.equal(resize_pixels(square, 32), to_float(square[None]))


def test_resizing_is_described() -> None:
    assert DEFAULT_RESIZE_MODE == "crop"
    assert describe_resize(384, 512, 224) == (
        "512x384 -> 224x224: aspect kept, shorter side to 224, centre crop (bilinear, antialiased)"
    )
    assert describe_resize(32, 32, 32) == "32x32: already the network's size, used as it is"
    assert len({describe_resize(384, 512, 224, mode) for mode in RESIZE_MODES}) == len(RESIZE_MODES)


def test_wrong_resizing_is_named() -> None:
    with pytest.raises(ValueError, match="crop, pad, squash, not stretch"):
        resize(torch.zeros((1, 3, 4, 4)), 8, "stretch")
    with pytest.raises(ValueError, match="at least 1 pixel, not 0"):
        describe_resize(4, 4, 0)
    with pytest.raises(ValueError, match="already registered"):
        register_resize("crop", "")(lambda images, size: images)


def test_images_of_the_scene_know_their_size() -> None:
    image = read_image(io.BytesIO(encode(scene(), "PNG")).getvalue(), "a.png")
    assert (image.width, image.height) == (WIDTH, HEIGHT)
    assert tuple(corner_colours(image)) == SCENE
