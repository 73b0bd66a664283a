"""The registry of datasets, their interface, and CIFAR-10 as JPEG."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data import cifar, storage
from data.catalogue import DATASETS, DatasetError, ImageSet, dataset, load_dataset
from data.datasets import evenly_spread, register, split_rows

SOURCE = storage.find_archive(cifar.ARCHIVE)
needs_archive = pytest.mark.skipif(
    SOURCE is None and not cifar._unpacked().is_file(),
    reason=f"{cifar.ARCHIVE} is neither unpacked nor in shared/data beside the project",
)
needs_lossless = pytest.mark.skipif(
    storage.find_archive(cifar.LOSSLESS) is None, reason=f"{cifar.LOSSLESS} is not in shared/data"
)


# The registry and the interface


def test_registry_refuses_a_second_entry_of_the_same_name() -> None:
    with pytest.raises(ValueError, match="the dataset 'cue10' is registered twice"):
        register(DATASETS["cue10"])


def test_unknown_dataset_and_split_name_the_allowed() -> None:
    with pytest.raises(DatasetError) as caught:
        dataset("mnist")
    allowed = f"{', '.join(DATASETS)}, folder:PATH, upload:HASH"
    assert str(caught.value) == f"there is no dataset 'mnist'; allowed are {allowed}."
    for name, entry in DATASETS.items():
        with pytest.raises(DatasetError) as caught:
            load_dataset(name, "holdout")
        assert str(caught.value) == f"{name} has no split 'holdout'; allowed are {', '.join(entry.splits)}."


def test_taking_keeps_rows_together() -> None:
    numbers = torch.arange(5)
    images = numbers.to(torch.uint8).view(5, 1, 1, 1).expand(5, 3, 2, 2)
    names = tuple("abcde")
    whole = ImageSet("s", "test", images, numbers, names, names, images[:, 0] > 2, {"double": numbers * 2})
    some = whole.take(torch.tensor([4, 0]))
    assert some.ids == ("e", "a")
    assert some.images[:, 0, 0, 0].tolist() == some.labels.tolist() == [4, 0]
    assert some.attributes["double"].tolist() == [8, 0]
    assert some.masks is not None
    assert some.masks[:, 0, 0].tolist() == [True, False]
    assert (len(some), some.classes) == (2, names)


def test_fewer_images_are_spread_over_the_classes_however_these_are_ordered() -> None:
    """Every second image of classes that take turns would be of every second class."""
    turns = torch.arange(20) % 10
    for labels in (turns, turns.sort().values):
        ids = tuple(str(row) for row in range(20))
        classes = tuple("abcdefghij")
        data = ImageSet("set", "test", torch.zeros(20, 3, 4, 4, dtype=torch.uint8), labels, classes, ids)
        some = evenly_spread(data, 10)
        assert torch.bincount(some.labels, minlength=10).tolist() == [1] * 10
        assert [int(image) for image in some.ids] == sorted(int(image) for image in some.ids)
    many = ImageSet("many", "test", torch.zeros(50_000, 3, 1, 1, dtype=torch.uint8), torch.zeros(50_000).long(),
                    classes, tuple(map(str, range(50_000))))  # fmt: skip
    assert len(set(evenly_spread(many, 49_998).ids)) == 49_998, "single precision would repeat one"
    assert evenly_spread(data, None) is evenly_spread(data, 20) is data
    with pytest.raises(DatasetError, match="0 images were asked for; allowed are 1 and more"):
        evenly_spread(data, 0)


def test_float_images_are_in_zero_to_one() -> None:
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    whole = ImageSet("s", "test", images, torch.tensor([0]), ("a",), ("x",))
    assert whole.float_images().flatten().tolist() == pytest.approx([0, 0.2, 1])


def test_split_rows_by_hand() -> None:
    first, rest = split_rows(torch.tensor([1, 0, 1, 1, 0, 2]), (1, 2, 0))
    assert (first.tolist(), rest.tolist()) == ([0, 1, 2], [3, 4, 5])
    first, rest = split_rows(torch.tensor([1, 0, 1, 1, 0, 2]), (2, 1, 1))
    assert (first.tolist(), rest.tolist()) == ([0, 1, 4, 5], [2, 3])


def test_cache_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAI_CACHE", str(tmp_path / "cache"))
    assert storage.cache_folder() == tmp_path / "cache"
    monkeypatch.setenv("XAI_CACHE", "")
    assert storage.cache_folder() == Path.home() / ".cache" / "xai-workbench"


def test_archives_are_found_in_the_named_folder_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XAI_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XAI_CACHE", str(tmp_path / "cache"))
    assert storage.find_archive("some.tar") is None
    for folder in ("cache", "data"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "some.tar").touch()
        assert storage.find_archive("some.tar") == tmp_path / folder / "some.tar"


# CIFAR-10 as JPEG


@pytest.fixture(scope="session")
def jpeg_sets() -> dict[str, ImageSet]:
    """The three splits; the archive is unpacked into the usual cache the first time."""
    return {split: load_dataset("cifar10-jpeg", split) for split in cifar.SPLITS}


@needs_archive
def test_jpeg_splits_have_their_sizes_and_do_not_overlap(jpeg_sets: dict[str, ImageSet]) -> None:
    sizes = {split: len(data) for split, data in jpeg_sets.items()}
    assert sizes == {"train": 46_000, "validation": 4_000, "test": 10_000}
    ids = [name for data in jpeg_sets.values() for name in data.ids]
    assert len(set(ids)) == 60_000
    for data in jpeg_sets.values():
        assert data.images.shape == (len(data), 3, 32, 32)
        assert data.images.dtype is torch.uint8
    assert jpeg_sets["test"].labels.bincount().tolist() == [1000] * 10


@needs_archive
def test_jpeg_labels_are_those_of_their_folder(jpeg_sets: dict[str, ImageSet]) -> None:
    for data in jpeg_sets.values():
        folders = [name.split("/")[1] for name in data.ids]
        assert folders == [cifar.CLASSES[label] for label in data.labels.tolist()]


@needs_archive
@needs_lossless
def test_jpeg_validation_holds_the_same_pictures_as_the_lossless_file(jpeg_sets: dict[str, ImageSet]) -> None:
    lossless, jpeg = cifar.load_lossless_validation(), jpeg_sets["validation"]
    assert set(lossless.ids) == set(jpeg.ids)
    where = {name: row for row, name in enumerate(jpeg.ids)}
    same = jpeg.take(torch.tensor([where[name] for name in lossless.ids]))
    assert torch.equal(same.labels, lossless.labels)
    difference = (same.float_images() - lossless.float_images()).abs().mean((1, 2, 3))
    assert float(difference.max()) < 0.1
    other = (same.float_images().roll(1, 0) - lossless.float_images()).abs().mean((1, 2, 3))
    assert float(other.median()) > 2 * float(difference.max())


@pytest.mark.skipif(SOURCE is None, reason=f"{cifar.ARCHIVE} is not in shared/data beside the project")
def test_jpeg_pixels_are_those_of_the_archive(jpeg_sets: dict[str, ImageSet]) -> None:
    assert SOURCE is not None
    found: dict[str, np.ndarray] = {}
    with tarfile.open(SOURCE) as stream:
        for member in stream:
            if member.isfile() and len(found) < 30:
                handle = stream.extractfile(member)
                assert handle is not None
                found[member.name.removesuffix(".jpg")] = np.asarray(Image.open(handle).convert("RGB"))
            elif found:
                break
    rows = {name: row for data in jpeg_sets.values() for name, row in zip(data.ids, data.images, strict=True)}
    for name, pixels in found.items():
        assert np.array_equal(rows[name].permute(1, 2, 0).numpy(), pixels)
