"""Pictures in folders as a dataset: classes, splits that stay, sizes, and files that are left out and said so."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as skimage_data

from data import cue10, folder, folder_listing, folder_reading
from data.catalogue import DATASETS, DatasetError, ImageSet, dataset, file_stem, load_dataset
from data.datasets import FAMILIES, register_family
from data.folder_listing import list_folder
from data.images import read_image, to_float
from data.resizing import resize
from xai.training import default_recipe

Make = Callable[[dict[str, int]], Path]


def scenes(count: int, start: int = 0) -> np.ndarray:
    """Drawn scenes, uint8 `(count, 64, 64, 3)`."""
    return cue10.draw("train", start, start + count)[0].permute(0, 2, 3, 1).numpy()


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes a folder of drawn scenes as PNG, so many in each of the sub-folders named."""

    def build(counts: dict[str, int]) -> Path:
        (tmp_path / "set").mkdir()
        pictures = iter(scenes(max(2, sum(counts.values()))))
        for name, count in counts.items():
            (tmp_path / "set" / name).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                Image.fromarray(next(pictures)).save(tmp_path / "set" / name / f"{number:03}.png")
        return tmp_path / "set"

    return build


def splits_of(name: str) -> dict[str, ImageSet]:
    return {split: load_dataset(name, split) for split in folder.SPLITS}


def membership(name: str) -> dict[str, str]:
    """Split of every picture."""
    return {image_id: split for split, data in splits_of(name).items() for image_id in data.ids}


def test_splits_cover_every_picture_once_in_equal_shares_of_each_class(make: Make) -> None:
    root = make({"cats": 20, "dogs": 40, "dogs/puppies": 20})
    sets = splits_of(f"folder:{root}")
    assert sets["train"].classes == ("cats", "dogs")
    counts = {split: data.labels.bincount().tolist() for split, data in sets.items()}
    assert counts == {"train": [14, 42], "validation": [3, 9], "test": [3, 9]}
    ids = [image_id for data in sets.values() for image_id in data.ids]
    assert sorted(ids) == sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    for data in sets.values():
        assert [image_id.split("/")[0] for image_id in data.ids] == [data.classes[k] for k in data.labels]
        assert data.images.dtype is torch.uint8
        assert data.notes == ()


def test_pictures_of_the_datasets_size_keep_their_pixels(make: Make) -> None:
    root = make({"a": 4, "b": 4})
    for data in splits_of(f"folder:{root}").values():
        for image_id, pixels in zip(data.ids, data.images, strict=True):
            assert np.array_equal(pixels.permute(1, 2, 0).numpy(), np.asarray(Image.open(root / image_id)))


def test_a_new_file_moves_at_most_two_others_and_only_of_its_class(make: Make) -> None:
    root = make({"a": 30, "b": 30})
    before = membership(f"folder:{root}")
    for number in range(100, 106):
        Image.fromarray(scenes(2)[0]).save(root / "a" / f"{number}.png")
        after = membership(f"folder:{root}")
        moved = [image_id for image_id in before if before[image_id] != after[image_id]]
        assert len(moved) <= 2
        assert all(image_id.startswith("a/") for image_id in moved)
        assert after.keys() - before.keys() == {f"a/{number}.png"}
        before = after


def test_copies_of_a_picture_stay_in_one_split(make: Make) -> None:
    """Ten pictures, each six times under other names: split by file they would be all over the place."""
    root = make({"a": 10, "b": 10})
    for path in sorted(root.rglob("*.png")):
        for copy in range(5):
            shutil.copy(path, path.with_name(f"{path.stem}-{copy}.png"))
    places = membership(f"folder:{root}")
    assert len(places) == 120
    assert all(places[name] == places[f"{name[:5]}.png"] for name in places)
    sets = splits_of(f"folder:{root}")
    assert {split: len(data) for split, data in sets.items()} == {"train": 72, "validation": 24, "test": 24}
    assert all(data.notes == () for data in sets.values())


def test_copies_in_two_splits_of_the_folders_own_are_said(make: Make) -> None:
    root = make({"train/a": 4, "train/b": 4, "test/a": 2, "test/b": 2})
    shutil.copy(root / "train" / "a" / "000.png", root / "test" / "a" / "copy.png")
    for data in splits_of(f"folder:{root}").values():
        assert data.notes == (
            "2 pictures have an exact copy in another split: test/a/copy.png and train/a/000.png.",
        )


def test_splits_that_the_folder_has_are_taken_as_they_are(make: Make) -> None:
    parts = {"train/a": 6, "train/b": 5, "val/a": 2, "val/b": 1, "test/a": 1, "test/b": 3}
    root = make(parts)
    for split, data in splits_of(f"folder:{root}").items():
        place = "val" if split == "validation" else split
        assert data.classes == ("a", "b")
        assert data.labels.bincount().tolist() == [parts[f"{place}/a"], parts[f"{place}/b"]]
        assert {image_id.split("/")[0] for image_id in data.ids} == {place}


def test_a_missing_split_is_taken_from_the_training_pictures_alone(make: Make) -> None:
    root = make({"train/a": 20, "train/b": 20, "test/a": 4, "test/b": 4})
    sets = splits_of(f"folder:{root}")
    assert {split: len(data) for split, data in sets.items()} == {"train": 34, "validation": 6, "test": 8}
    assert all(image_id.startswith("test/") for image_id in sets["test"].ids)
    assert all(image_id.startswith("train/") for image_id in sets["validation"].ids)


def test_a_class_that_was_never_trained_is_refused(make: Make) -> None:
    root = make({"train/a": 3, "train/b": 3, "test/a": 1, "test/zebra": 1})
    with pytest.raises(DatasetError, match=r"the class zebra of .* is in test but not in train"):
        dataset(f"folder:{root}")


def test_photos_of_every_format_become_squares(tmp_path: Path) -> None:
    photos = {"animal": skimage_data.chelsea(), "person": skimage_data.astronaut()}
    suffixes = ("png", "jpg", "webp", "gif", "bmp", "tiff")
    for name, pixels in photos.items():
        (tmp_path / name).mkdir()
        for shift, suffix in enumerate(suffixes):
            Image.fromarray(np.roll(pixels, 9 * shift, 1)[::2, ::2]).save(tmp_path / name / f"photo.{suffix}")
    sets = splits_of(f"folder:{tmp_path}@96")
    assert {split: len(data) for split, data in sets.items()} == {"train": 8, "validation": 2, "test": 2}
    assert {path for data in sets.values() for path in data.ids} == {
        f"{name}/photo.{suffix}" for name in photos for suffix in suffixes
    }
    assert dataset(f"folder:{tmp_path}@96").image_size == 96
    for data in sets.values():
        assert data.images.shape[1:] == (3, 96, 96)
        for path, pixels in zip(data.ids, data.images, strict=True):
            whole = to_float(read_image((tmp_path / path).read_bytes(), path).pixels)[None]
            assert torch.equal(pixels, (resize(whole, 96)[0] * 255).round().to(torch.uint8))


def test_what_can_not_be_used_is_left_out_and_said(make: Make, tmp_path: Path) -> None:
    root = make({"a": 8, "b": 8})
    clean = membership(f"folder:{root}")
    (root / "a" / "broken.png").write_bytes((root / "a" / "000.png").read_bytes()[:200])
    (root / "b" / "notes.txt").write_text("not a picture")
    (root / "readme.md").write_text("belongs to no class")
    (root / "a" / ".hidden.png").write_bytes(b"x")
    outside = tmp_path / "outside.png"
    Image.fromarray(scenes(2)[0]).save(outside)
    (root / "a" / "link.png").symlink_to(outside)
    (root / "b" / "elsewhere").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(root / "b" / "pipe.png")
    assert membership(f"folder:{root}") == clean
    notes = load_dataset(f"folder:{root}", "test").notes
    assert [note.split(": ")[0] for note in notes] == [
        "link.png was skipped",
        "elsewhere was skipped",
        "pipe.png was skipped",
        "readme.md was skipped",
        "broken.png was skipped",
        "notes.txt was skipped",
    ]
    assert notes[0] == "link.png was skipped: it is a link that leads out of the folder."
    listing = list_folder(folder.place_of(root))
    assert sorted(listing.skipped) == [
        ("elsewhere", "is a link to a folder"),
        ("link.png", "is a link that leads out of the folder"),
        ("pipe.png", "is not a regular file"),
        ("readme.md", "is in no class's folder"),
    ]
    assert load_dataset(f"folder:{root}", "test").take(torch.tensor([0])).notes == notes


def test_every_kind_of_problem_is_one_sentence_with_a_count(make: Make) -> None:
    root = make({"a": 6, "b/deep/deeper": 6})
    for number in range(4):
        Image.fromarray(scenes(2)[0][: 1 + number % 2, :1]).save(root / "a" / f"tiny{number}.png")
    for name in ("broken", "cut"):
        (root / "b" / f"{name}.png").write_bytes((root / "a" / "000.png").read_bytes()[:200])
    (root / "nothing").mkdir()
    (root / "hidden").mkdir()
    (root / "hidden" / ".DS_Store").write_bytes(b"x")
    data = load_dataset(f"folder:{root}", "test")
    assert data.classes == ("a", "b")
    assert data.notes == (
        "2 files or folders were skipped: hidden is a folder without files, and 1 more like it.",
        "4 files or folders were skipped: tiny0.png is 1x1 pixels, less than the 2x2 that are needed, "
        "and 3 more like it.",
        "2 files or folders were skipped: broken.png is a PNG file that is cut short, and 1 more like it.",
    )


@pytest.mark.parametrize(("count", "given"), [(1, "has 1 sub-folder"), (1001, "has 1,001 sub-folders")])
def test_too_few_and_too_many_classes_are_told(count: int, given: str, tmp_path: Path) -> None:
    for number in range(count):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}" / "picture.png").touch()
    with pytest.raises(DatasetError, match=f"{given} with files, one for each class; allowed are 2 to 1,000"):
        dataset(f"folder:{tmp_path}")


def test_classes_without_a_readable_picture_are_counted(make: Make) -> None:
    root = make({"a": 2, "b": 2})
    for name in ("c", "d", "e"):
        (root / name).mkdir()
        (root / name / "picture.png").write_bytes(b"none")
    with pytest.raises(
        DatasetError, match=r"the class c of .* has no readable picture, nor have 2 other classes"
    ):
        load_dataset(f"folder:{root}", "test")


def test_three_splits_decode_each_picture_once(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make({"a": 5, "b": 5})
    reads: list[str] = []

    def count(content: bytes, name: str) -> object:
        reads.append(name)
        return read_image(content, name)

    monkeypatch.setattr(folder_reading, "read_image", count)
    steps: list[tuple[int, int, str]] = []
    for split in folder.SPLITS:
        load_dataset(f"folder:{root}", split, lambda *step: steps.append(step))
    assert (len(reads), steps) == (10, [(10, 10, "reading set")])
    picture = root / "a" / "000.png"
    os.utime(picture, ns=(1, 1))  # a file that was written anew is read anew
    load_dataset(f"folder:{root}", "train")
    assert len(reads) == 20


def test_all_pictures_are_a_split_of_their_own(make: Make) -> None:
    name = f"folder:{make({'a': 5, 'b': 7})}"
    parts = [load_dataset(name, split).ids for split in folder.SPLITS]
    assert set(load_dataset(name, "all").ids) == {each for ids in parts for each in ids}
    assert len(load_dataset(name, "all")) == 12 == sum(map(len, parts))


def test_names_and_registry(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make({"a": 3, "b": 3})
    names = set(DATASETS)
    monkeypatch.chdir(root.parent)
    assert dataset("folder:set").name == dataset(f"folder:{root}/@64").name == f"folder:{root}"
    assert dataset("folder:set@32").name == f"folder:{root}@32"
    assert load_dataset("folder:set@32", "test").name == f"folder:{root}@32"
    assert set(DATASETS) == names
    stem = file_stem("folder:set")
    assert stem == file_stem(f"folder:{root}")
    assert stem.startswith("folder-set-")
    assert file_stem("folder:set@32") == f"{stem}-32px"
    assert "/" not in stem
    assert file_stem("cue10") == "cue10"
    assert not default_recipe("resnet18", "folder:set").flip
    with pytest.raises(ValueError, match="registered twice"):
        register_family("folder", folder.folder_dataset, folder.file_stem)
    assert set(FAMILIES) == {"folder", "upload"}


@pytest.mark.parametrize(
    ("counts", "name", "message"),
    [
        (
            {"a": 1},
            "folder:{}",
            "{} has 1 sub-folder with files, one for each class; allowed are 2 to 1,000.",
        ),
        ({"a": 1, "b": 1}, "folder:{}@4", "the size after @ is 4 px; allowed are 8 to 512."),
        ({"a": 1}, "folder:{}x", "there is no folder '{}x'; a dataset of pictures is named folder:PATH."),
        ({}, "folder:", "there is no folder ''; a dataset of pictures is named folder:PATH."),
        ({}, "folder:\0", "there is no folder '\\x00'; a dataset of pictures is named folder:PATH."),
    ],
)
def test_impossible_folders_are_refused(counts: dict[str, int], name: str, message: str, make: Make) -> None:
    root = make(counts)
    with pytest.raises(DatasetError) as caught:
        dataset(name.format(root))
    assert str(caught.value) == message.format(root)


def test_too_few_or_only_damaged_pictures_are_refused(make: Make) -> None:
    root = make({"a": 1, "b": 1})
    assert len(load_dataset(f"folder:{root}", "train")) == 2
    with pytest.raises(DatasetError, match="too few readable pictures for a test split"):
        load_dataset(f"folder:{root}", "test")
    (root / "b" / "000.png").write_bytes(b"broken")
    with pytest.raises(DatasetError, match=r"the class b of .* has no readable picture"):
        load_dataset(f"folder:{root}", "train")


def test_limits_hold(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make({"a": 4, "b": 4, "a/1/2/3": 1})
    monkeypatch.setattr(folder_listing, "MAX_DEPTH", 2)
    assert list_folder(folder.place_of(root)).skipped == (("1", "holds folders deeper than 2 levels"),)
    monkeypatch.setattr(folder, "MAX_MEMORY", 8 * 3 * 64**2 - 1)
    with pytest.raises(DatasetError, match="8 pictures of 64 px take more than the allowed"):
        load_dataset(f"folder:{root}", "test")
    monkeypatch.setattr(folder_listing, "MAX_FILES", 9)
    with pytest.raises(DatasetError, match="more than the allowed 9 files and folders"):
        dataset(f"folder:{root}")
