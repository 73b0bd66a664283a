"""Masks beside pictures: found by name, cut as the picture is, all or none, and never pictures themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data import folder_masks, folder_stream
from data.catalogue import load_dataset
from data.datasets import ImageSet, open_dataset
from data.folder import place_of
from data.folder_listing import list_folder
from data.folder_stream import ImageStream
from data.images import ImageError

Name = Callable[[str], str]
PLACES: dict[str, Name] = {
    "beside": lambda path: path.replace(".png", "_mask.png"),
    "with a dot": lambda path: path.replace(".png", ".mask.png"),
    "mirrored": lambda path: f"masks/{path}",
}
WIDE, HIGH = 48, 24


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAI_CACHE", str(tmp_path / "cache"))


def drawn(number: int) -> np.ndarray:
    """Where the object of a picture of 48 x 24 px is: a box of its own place, bool `(24, 48)`."""
    mask = np.zeros((HIGH, WIDE), bool)
    top, left = 2 * (number % 5), 12 + 2 * (number % 7)
    mask[top : top + 10, left : left + 8] = True
    return mask


def build(root: Path, name: Name, parts: tuple[str, ...] = ("a", "b"), masks: int = 100) -> Path:
    """Ten pictures in each folder, white where the object is, and masks of the first so many."""
    for place, part in enumerate(parts):
        for number in range(10):
            path, mask = f"{part}/{number}.png", drawn(10 * place + number)
            for target, pixels in ((path, 255 * mask), (name(path), (1 + number) * mask)):
                if target == path or masks > 10 * place + number:
                    (root / target).parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(pixels.astype(np.uint8)).save(root / target)
    return root


@pytest.mark.parametrize("size", [24, 12])
@pytest.mark.parametrize("name", PLACES)
def test_masks_are_cut_as_their_pictures(name: str, size: int, tmp_path: Path) -> None:
    root = build(tmp_path / "set", PLACES[name])
    for split in ("train", "test", "all"):
        for data in (
            load_dataset(f"folder:{root}@{size}", split),
            open_dataset(f"folder:{root}@{size}", split),
        ):
            assert isinstance(data, ImageSet)
            assert data.masks is not None
            assert data.masks.dtype is torch.bool
            assert torch.equal(data.masks, data.images[:, 0] > 127)
            assert (data.classes, data.notes) == (("a", "b"), ())
            assert data.masks.any()
    assert len(load_dataset(f"folder:{root}@{size}", "all")) == 20


def test_masks_of_splits_that_the_folder_has(tmp_path: Path) -> None:
    root = build(tmp_path / "set", PLACES["mirrored"], ("train/a", "train/b", "test/a", "test/b"))
    data = load_dataset(f"folder:{root}@24", "test")
    assert data.masks is not None
    assert torch.equal(data.masks, data.images[:, 0] > 127)
    assert {path.split("/")[0] for path in data.ids} == {"test"}


def test_a_large_set_has_its_masks_when_some_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = build(tmp_path / "set", PLACES["beside"])
    monkeypatch.setattr(folder_stream, "HELD_BYTES", 3 * 24**2 * 5)
    stream = open_dataset(f"folder:{root}@24", "all")
    assert isinstance(stream, ImageStream)
    assert stream.masks is None
    some = stream.take(torch.tensor([7, 2, 11]))
    assert some.masks is not None
    assert torch.equal(some.masks, some.pixels(slice(None))[:, 0] > 127)
    (root / some.mask_ids[0]).unlink()
    with pytest.raises(ValueError, match="a mask can't be used"):
        _ = some.masks


@pytest.mark.parametrize("load", [load_dataset, open_dataset])
def test_some_masks_are_told_and_left_out(load: Callable, tmp_path: Path) -> None:
    root = build(tmp_path / "set", PLACES["beside"], masks=13)
    data = load(f"folder:{root}@24", "all")
    assert getattr(data, "masks", None) is None
    assert len(data) == 20
    assert data.notes == (
        "13 of 20 pictures have a mask that can be used; masks are used only where all have one.",
    )


def test_masks_that_can_not_be_used_are_told(tmp_path: Path) -> None:
    root = build(tmp_path / "set", PLACES["beside"])
    Image.new("L", (WIDE, HIGH - 1)).save(root / "a" / "3_mask.png")
    Image.fromarray(np.ones((HIGH, WIDE), np.uint16)).save(root / "a" / "4_mask.png")
    Image.new("L", (WIDE, HIGH)).save(root / "a" / "5_mask.png", "JPEG")
    (root / "a" / "6_mask.png").write_bytes(b"none")
    data = load_dataset(f"folder:{root}@24", "all")
    assert data.masks is None
    assert len(data) == 20
    assert data.notes == (
        "3_mask.png was skipped: it is a mask of 48x23 pixels for a picture of 48x24.",
        "2 files or folders were skipped: 4_mask.png is a mask, but no PNG file of 1 or 8 bits, and 1 more like it.",
        "6_mask.png was skipped: it is not a picture in one of the formats PNG, JPEG, WebP, BMP, TIFF and GIF.",
        "16 of 20 pictures have a mask that can be used; masks are used only where all have one.",
    )


def test_masks_without_a_picture_are_neither_pictures_nor_classes(tmp_path: Path) -> None:
    root = build(tmp_path / "set", PLACES["beside"])
    (root / "a" / "0.png").unlink()
    assert len(load_dataset(f"folder:{root}@24", "all")) == 19
    mirrored = build(tmp_path / "other", PLACES["mirrored"])
    (mirrored / "a" / "0.png").unlink()
    Image.new("L", (WIDE, HIGH)).save(mirrored / "masks" / "b" / "9.jpg")
    data = load_dataset(f"folder:{mirrored}@24", "all")
    assert (len(data), data.classes) == (19, ("a", "b"))
    assert data.masks is not None
    assert data.notes == (
        "0.png was skipped: it is a mask without its picture.",
        "9.jpg was skipped: it is a mask, but no PNG file.",
    )


def test_a_class_may_be_called_masks_and_a_picture_too(tmp_path: Path) -> None:
    root = build(tmp_path / "set", lambda path: path, ("hats", "masks", "hats/old", "masks/old"))
    Image.new("L", (WIDE, HIGH)).save(root / "masks" / "party_mask.png")
    for path in (root / "hats" / "old").iterdir():
        path.rename(path.with_name(f"hat{path.name}"))
    data = load_dataset(f"folder:{root}@24", "all")
    assert (data.classes, data.labels.bincount().tolist(), data.masks) == (("hats", "masks"), [20, 21], None)
    assert list_folder(place_of(root)).skipped == ()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA"])
def test_what_is_not_zero_is_the_object_in_every_mode(mode: str, tmp_path: Path) -> None:
    mask = drawn(3)
    if mode == "P":
        picture = Image.fromarray(mask.astype(np.uint8), "L").copy()
        picture.putpalette([0, 0, 0, 0, 0, 128])
        picture = picture.convert("P") if picture.mode != "P" else picture
    else:
        picture = Image.fromarray((255 * mask).astype(np.uint8)).convert(mode)
    if mode in ("RGBA", "LA"):  # the rest is transparent, as drawing programs save it
        picture.putalpha(Image.fromarray((255 * mask).astype(np.uint8)))
    picture.save(tmp_path / "mask.png")
    found = folder_masks.read_mask(tmp_path / "mask.png", (WIDE, HIGH), HIGH)
    assert np.array_equal(found.numpy(), mask[:, 12:36])
    with pytest.raises(ImageError, match="for a picture of 24x48"):
        folder_masks.read_mask(tmp_path / "mask.png", (HIGH, WIDE), HIGH)
