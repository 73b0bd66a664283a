"""CIFAR-10 and CIFAR-100 from torchvision, and CIFAR-10 re-encoded as JPEG from an archive.

In every one of them the validation split is the first 4,000 training images of the original order, so that a
network never sees in training what another encoding of the same picture is validated on.
"""

from __future__ import annotations

import io
import lzma
import re
import tarfile
import zlib
from functools import partial
from http.client import HTTPException
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from data import storage
from data.datasets import Dataset, DatasetError, ImageSet, Progress, register, split_rows

ARCHIVE = "cifar10-jpeg.tar.xz"
LOSSLESS = "cifar10-lossless-4000.npz"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SPLITS = ("train", "validation", "test")
VALIDATION_PER_CLASS = (396, 366, 420, 384, 422, 393, 414, 385, 407, 413)
"""How many of the first 4,000 CIFAR-10 training images belong to each class."""

_MEMBER = re.compile(r"^(train|test)/([a-z]+)/(\d{4})\.jpg$")
_MAX_MEMBER_BYTES = 20_000
_JPEG_COUNTS = {"train": 50_000, "test": 10_000}

_Row = tuple[int, int, np.ndarray]


def _unpacked() -> Path:
    return storage.cache_folder() / "cifar10-jpeg.safetensors"


def _decode(content: bytes) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as picture:
            pixels = np.asarray(picture.convert("RGB")) if picture.size == (32, 32) else None
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError) as error:
        raise DatasetError("the archive holds a file that is not a readable JPEG picture.") from error
    if pixels is None:
        raise DatasetError("the archive holds a picture that is not 32 x 32 px.")
    return pixels


def _members(archive: Path, progress: Progress | None) -> dict[str, list[_Row]]:
    """Rows (class, number, pixels) of each split. Members are decoded in memory; none is written to disk."""
    rows: dict[str, list[_Row]] = {split: [] for split in _JPEG_COUNTS}
    with tarfile.open(archive, "r:*") as stream:
        for member in stream:
            if member.size > _MAX_MEMBER_BYTES:
                raise DatasetError(
                    f"{archive.name} holds a file of {member.size:,} bytes; allowed are {_MAX_MEMBER_BYTES:,}."
                )
            match = _MEMBER.match(member.name)
            if not match or not member.isfile() or match[2] not in CLASSES:
                continue
            handle = stream.extractfile(member)
            assert handle is not None
            rows[match[1]].append((CLASSES.index(match[2]), int(match[3]), _decode(handle.read())))
            done = len(rows["train"]) + len(rows["test"])
            if progress and done % 500 == 0:
                progress(done, 60_000, "unpacking cifar10-jpeg")
    return rows


def unpack_archive(archive: Path, progress: Progress | None = None) -> Path:
    """Decode an archive of `train|test/<class>/<nnnn>.jpg` into the cache and return the file written.

    Raises `DatasetError` with one sentence when the archive is missing, damaged or not that data set.
    """
    try:
        rows = _members(archive, progress)
    except (OSError, EOFError, tarfile.TarError, lzma.LZMAError, zlib.error) as error:
        raise DatasetError(f"{archive.name} is missing or is not a complete tar archive.") from error
    tensors: dict[str, Tensor] = {}
    for split, total in _JPEG_COUNTS.items():
        entries = sorted(rows[split], key=lambda row: row[:2])
        expected = [(k, number) for k in range(len(CLASSES)) for number in range(total // len(CLASSES))]
        if [row[:2] for row in entries] != expected:
            raise DatasetError(
                f"{archive.name} should hold {total // len(CLASSES):,} numbered {split} pictures of each class."
            )
        pixels = torch.from_numpy(np.stack([row[2] for row in entries]))
        tensors[f"{split}_images"] = pixels.permute(0, 3, 1, 2).contiguous()
        tensors[f"{split}_labels"] = torch.tensor([row[0] for row in entries])
    storage.write_tensors(_unpacked(), tensors)
    return _unpacked()


def _numbers(labels: Tensor) -> Tensor:
    """Number of each image within its class, in the order given."""
    numbers = torch.zeros_like(labels)
    for class_index in labels.unique().tolist():
        rows = labels == class_index
        numbers[rows] = torch.arange(int(rows.sum()))
    return numbers


def _load_jpeg(split: str, progress: Progress | None) -> ImageSet:
    if not _unpacked().is_file():
        archive = storage.find_archive(ARCHIVE)
        if archive is None:
            raise DatasetError(
                f"cifar10-jpeg is not here; run `python -m xai data unpack {ARCHIVE}` on its archive."
            )
        unpack_archive(archive, progress)
    tensors = storage.read_tensors(_unpacked())
    part = "test" if split == "test" else "train"
    images, labels = tensors[f"{part}_images"], tensors[f"{part}_labels"]
    names = [
        f"{part}/{CLASSES[k]}/{n:04d}"
        for k, n in zip(labels.tolist(), _numbers(labels).tolist(), strict=True)
    ]
    rows = _rows(split, labels, VALIDATION_PER_CLASS)
    ids = tuple(names[row] for row in rows.tolist())
    return ImageSet("cifar10-jpeg", split, images[rows], labels[rows], CLASSES, ids)


def _rows(split: str, labels: Tensor, per_class: tuple[int, ...]) -> Tensor:
    validation, train = split_rows(labels, per_class)
    return {"validation": validation, "train": train, "test": torch.arange(len(labels))}[split]


def load_lossless_validation() -> ImageSet:
    """The 4,000 CIFAR-10 validation images without JPEG artefacts, when their file is on this machine."""
    path = storage.find_archive(LOSSLESS)
    if path is None:
        raise DatasetError(f"{LOSSLESS} is not on this machine.")
    with np.load(path, allow_pickle=False) as content:
        images = torch.from_numpy(content["images"]).permute(0, 3, 1, 2).contiguous()
        labels = torch.from_numpy(content["labels"].astype(np.int64))
        ids = tuple(str(name).removesuffix(".jpg") for name in content["train_files"])
    return ImageSet("cifar10", "validation", images, labels, CLASSES, ids)


def _torchvision_folder() -> Path:
    return storage.cache_folder() / "torchvision"


def _load_torchvision(name: str, split: str, progress: Progress | None) -> ImageSet:
    from torchvision import datasets

    kind = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    try:
        source = kind(str(_torchvision_folder()), train=split != "test", download=False)
    except RuntimeError as error:
        raise DatasetError(f"{name} is not here; run `python -m xai data fetch {name}` (170 MB).") from error
    labels = torch.tensor(source.targets)
    images = torch.from_numpy(source.data).permute(0, 3, 1, 2)
    part = "test" if split == "test" else "train"
    order = torch.arange(len(labels))
    rows = {"validation": order[:4000], "train": order[4000:], "test": order}[split]
    ids = tuple(f"{part}/{row:05d}" for row in rows.tolist())
    return ImageSet(name, split, images[rows].contiguous(), labels[rows], tuple(source.classes), ids)


def _fetch_torchvision(name: str, progress: Progress | None) -> None:
    from torchvision import datasets

    kind = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    try:
        _torchvision_folder().mkdir(parents=True, exist_ok=True)
        kind(str(_torchvision_folder()), download=True)
    except (OSError, RuntimeError, HTTPException) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DatasetError(
            f"{name} could not be downloaded ({reason}); it needs an internet connection."
        ) from error


register(Dataset("cifar10-jpeg", "CIFAR-10 as JPEG (quality 75)", SPLITS, CLASSES, 32, _load_jpeg))
for _name, _title in (("cifar10", "CIFAR-10"), ("cifar100", "CIFAR-100")):
    register(
        Dataset(
            _name,
            _title,
            SPLITS,
            CLASSES if _name == "cifar10" else (),
            32,
            partial(_load_torchvision, _name),
            partial(_fetch_torchvision, _name),
        )
    )
