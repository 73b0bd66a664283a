"""Files of CIFAR: archives that are complete, damaged or hostile, and torchvision's batches."""

import io
import pickle
import tarfile
from collections.abc import Callable
from http.client import IncompleteRead
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from data import cifar, storage
from data.catalogue import DATASETS, DatasetError, load_dataset


def jpeg(colour: int = 0, size: tuple[int, int] = (32, 32), mode: str = "RGB") -> bytes:
    """A one-coloured JPEG file."""
    stream = io.BytesIO()
    Image.new(mode, size, (colour,) * len(mode) if len(mode) > 1 else colour).save(stream, "JPEG")
    return stream.getvalue()


def add(archive: tarfile.TarFile, name: str, content: bytes = b"", **fields: Any) -> None:
    """Add one member with odd fields, if any."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for key, value in fields.items():
        setattr(member, key, value)
    archive.addfile(member, io.BytesIO(content))


def small_set(archive: tarfile.TarFile, skip: str = "") -> None:
    """Two training pictures and one test picture of each class; their grey level tells number and class."""
    for split, count in (("train", 2), ("test", 1)):
        for k, name in reversed(list(enumerate(cifar.CLASSES))):
            for number in range(count):
                path = f"{split}/{name}/{number:04d}.jpg"
                if path != skip:
                    add(archive, path, jpeg(20 * k + 5 * number))


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache and a data folder of its own; an archive there is complete with 20 and 10 pictures."""
    monkeypatch.setenv("XAI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XAI_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(storage, "_ROOT", tmp_path / "project")
    monkeypatch.setattr(cifar, "_JPEG_COUNTS", {"train": 20, "test": 10})
    monkeypatch.setattr(cifar, "VALIDATION_PER_CLASS", (1,) * 10)
    (tmp_path / "data").mkdir()
    return tmp_path


def archive_of(workplace: Path, fill: Callable[[tarfile.TarFile], None], kind: str = "xz") -> Path:
    """Write the archive into the data folder."""
    path = workplace / "data" / cifar.ARCHIVE
    modes: dict[str, Any] = {name: f"w:{name}" for name in ("xz", "gz", "bz2", "")}
    with tarfile.open(path, modes[kind]) as stream:
        fill(stream)
    return path


@pytest.mark.parametrize("kind", ["xz", "gz", "bz2", ""])
def test_a_complete_archive_is_loaded(kind: str, workplace: Path) -> None:
    archive_of(workplace, small_set, kind)
    sets = {split: load_dataset("cifar10-jpeg", split) for split in cifar.SPLITS}
    for split, part, number in (("validation", "train", 0), ("train", "train", 1), ("test", "test", 0)):
        data = sets[split]
        assert data.ids == tuple(f"{part}/{name}/{number:04d}" for name in cifar.CLASSES)
        assert data.labels.tolist() == list(range(10))
        expected = torch.arange(10) * 20 + 5 * number
        assert int((data.images.int() - expected.view(10, 1, 1, 1)).abs().max()) <= 1
    assert [path.name for path in (workplace / "cache").iterdir()] == ["cifar10-jpeg.safetensors"]


def test_strange_members_of_a_complete_archive_are_passed_over(workplace: Path) -> None:
    def fill(archive: tarfile.TarFile) -> None:
        for name in (
            "../outside.jpg",
            "/tmp/outside.jpg",
            "train/../../outside.jpg",
            "train/dragon/0000.jpg",
        ):
            add(archive, name, jpeg(9))
        add(archive, "train/cat/0002.jpg", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        add(archive, "train/cat/0003.jpg", type=tarfile.LNKTYPE, linkname="../../outside.jpg")
        add(archive, "train/cat/0004.jpg", type=tarfile.FIFOTYPE)
        small_set(archive)

    before = _files(workplace.parent)
    archive_of(workplace, fill)
    assert len(load_dataset("cifar10-jpeg", "train")) == 10
    written = {path.relative_to(workplace).as_posix() for path in _files(workplace.parent) - before}
    assert written == {f"data/{cifar.ARCHIVE}", "cache/cifar10-jpeg.safetensors"}


def _files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if not path.is_dir()}


def _bad_picture(content: bytes) -> Callable[[tarfile.TarFile], None]:
    def fill(archive: tarfile.TarFile) -> None:
        add(archive, "train/cat/0000.jpg", content)
        small_set(archive, skip="train/cat/0000.jpg")

    return fill


def _png() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (32, 32)).save(stream, "PNG")
    return stream.getvalue()


def _huge_dimensions() -> bytes:
    """A JPEG file whose header claims 65,500 x 65,500 pixels."""
    content = bytearray(jpeg())
    start = content.index(b"\xff\xc0") + 5
    content[start : start + 4] = (65_500).to_bytes(2) * 2
    return bytes(content)


def _renamed(old: str, new: str) -> Callable[[tarfile.TarFile], None]:
    def fill(archive: tarfile.TarFile) -> None:
        small_set(archive, skip=old)
        add(archive, new, jpeg(1))

    return fill


BAD_MEMBERS: dict[str, tuple[Callable[[tarfile.TarFile], None], str]] = {
    "empty": (lambda archive: None, "should hold 2 numbered train pictures of each class"),
    "one missing": (
        lambda a: small_set(a, skip="test/dog/0000.jpg"),
        "1 numbered test pictures of each class",
    ),
    "one twice": (_renamed("train/dog/0001.jpg", "train/dog/0000.jpg"), "2 numbered train pictures"),
    "gap in the numbers": (_renamed("train/dog/0001.jpg", "train/dog/0007.jpg"), "2 numbered train pictures"),
    "wrong class": (_renamed("train/dog/0001.jpg", "train/cat/0002.jpg"), "2 numbered train pictures"),
    "text": (_bad_picture(b"a cat"), "not a readable JPEG picture"),
    "nothing": (_bad_picture(b""), "not a readable JPEG picture"),
    "png": (_bad_picture(_png()), "not a readable JPEG picture"),
    "truncated picture": (_bad_picture(jpeg()[:300]), "not a readable JPEG picture"),
    "bomb": (_bad_picture(_huge_dimensions()), "not a readable JPEG picture"),
    "another size": (_bad_picture(jpeg(size=(64, 32))), "not 32 x 32 px"),
    "huge member": (_bad_picture(jpeg() + bytes(100_000)), "; allowed are 20,000"),
    "huge stranger": (lambda a: add(a, "readme", bytes(30_000_000)), "30,000,000 bytes; allowed are 20,000"),
}


@pytest.mark.parametrize("kind", BAD_MEMBERS)
def test_archives_with_bad_members_are_refused(kind: str, workplace: Path) -> None:
    fill, message = BAD_MEMBERS[kind]
    archive_of(workplace, fill)
    assert_refused(workplace, message)


def test_grey_pictures_become_rgb(workplace: Path) -> None:
    archive_of(workplace, _bad_picture(jpeg(77, mode="L")))
    data = load_dataset("cifar10-jpeg", "validation")
    assert data.images[cifar.CLASSES.index("cat")].unique().tolist() == [77]


def assert_one_sentence(error: BaseException) -> None:
    """A message for a person: one line, ending in a full stop."""
    assert "\n" not in str(error)
    assert str(error).endswith(".")


def assert_refused(workplace: Path, message: str) -> None:
    """Loading ends in one sentence, and nothing is left in the cache."""
    with pytest.raises(DatasetError) as caught:
        load_dataset("cifar10-jpeg", "train")
    assert message in str(caught.value)
    assert_one_sentence(caught.value)
    assert _files(workplace / "cache") == set()


@pytest.mark.parametrize(
    "content", [b"", b"no archive", bytes(range(256)) * 40, b"\xfd7zXZ\x00" + bytes(600)]
)
def test_files_that_are_no_archive_are_refused(content: bytes, workplace: Path) -> None:
    (workplace / "data" / cifar.ARCHIVE).write_bytes(content)
    assert_refused(workplace, "is missing or is not a complete tar archive.")


@pytest.mark.parametrize("kind", ["xz", "gz", "bz2", ""])
@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_truncated_and_damaged_archives_are_refused(kind: str, share: float, workplace: Path) -> None:
    path = archive_of(workplace, small_set, kind)
    content = path.read_bytes()
    at = int(len(content) * share)
    path.write_bytes(content[:at])
    assert_refused(workplace, ".")
    path.write_bytes(
        content[:at] + bytes(byte ^ 0x5A for byte in content[at : at + 600]) + content[at + 600 :]
    )
    assert_refused(workplace, ".")


def test_missing_archive_says_which_command_unpacks_it(workplace: Path) -> None:
    assert_refused(workplace, f"run `python -m xai data unpack {cifar.ARCHIVE}`")
    with pytest.raises(DatasetError, match=r"none\.tar is missing or is not a complete tar archive\.$"):
        cifar.unpack_archive(workplace / "none.tar")


# CIFAR-10 and CIFAR-100 in torchvision's files


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
@pytest.mark.parametrize("split", cifar.SPLITS)
def test_missing_download_says_which_command_fetches_it(name: str, split: str, workplace: Path) -> None:
    with pytest.raises(DatasetError, match=f"run `python -m xai data fetch {name}`") as caught:
        load_dataset(name, split)
    assert_one_sentence(caught.value)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
@pytest.mark.parametrize("failure", [URLError("no route"), ConnectionResetError(), IncompleteRead(b"half")])
def test_failed_download_is_said(
    name: str, failure: Exception, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: Any, **_options: Any) -> None:
        raise failure

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", fail)
    fetch = DATASETS[name].fetch
    assert fetch is not None
    with pytest.raises(DatasetError, match=f"{name} could not be downloaded") as caught:
        fetch(None)
    assert_one_sentence(caught.value)


def _fake_pixels(count: int, start: int) -> np.ndarray:
    """Rows as CIFAR stores them: 1024 red, then green, then blue; red tells the row's number, modulo 251."""
    rows = np.zeros((count, 3072), np.uint8)
    rows[:, :1024] = ((np.arange(count) + start) % 251)[:, None]
    rows[:, 2048:] = 7
    return rows


@pytest.fixture
def fake_cifar10(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CIFAR-10 of 4,500 training and 20 test pictures in torchvision's format."""
    folder = workplace / "cache" / "torchvision" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for batch in range(5):
        labels = [(batch * 900 + row) % 10 for row in range(900)]
        content = {"data": _fake_pixels(900, batch * 900), "labels": labels}
        (folder / f"data_batch_{batch + 1}").write_bytes(pickle.dumps(content))
    test = {"data": _fake_pixels(20, 100), "labels": [9 - row % 10 for row in range(20)]}
    (folder / "test_batch").write_bytes(pickle.dumps(test))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list(cifar.CLASSES)}))
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)


@pytest.mark.usefixtures("fake_cifar10")
@pytest.mark.parametrize(
    ("split", "first", "count", "part"),
    [("validation", 0, 4000, "train"), ("train", 4000, 500, "train"), ("test", 0, 20, "test")],
)
def test_torchvisions_files_are_split_by_row(split: str, first: int, count: int, part: str) -> None:
    data = load_dataset("cifar10", split)
    assert data.ids == tuple(f"{part}/{row:05d}" for row in range(first, first + count))
    numbers = torch.arange(first, first + count)
    red = (numbers + (100 if part == "test" else 0)) % 251
    assert torch.equal(data.labels, 9 - numbers % 10 if part == "test" else numbers % 10)
    assert_channels(data.images, red)
    assert data.classes == cifar.CLASSES


def assert_channels(images: Tensor, red: Tensor) -> None:
    """Red is the number given, green is 0 and blue 7, everywhere."""
    expected = torch.stack([red, torch.zeros_like(red), torch.full_like(red, 7)], 1).to(torch.uint8)
    assert torch.equal(images, expected[..., None, None].expand(-1, -1, 32, 32))
    assert images.is_contiguous()


def test_validation_counts_add_up() -> None:
    assert sum(cifar.VALIDATION_PER_CLASS) == 4000
