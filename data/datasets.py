"""One registry of datasets and one interface: uint8 images in memory with labels, names, ids and masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

Progress = Callable[[int, int, str], None]
"""Called as `progress(done, total, what)`."""


class DatasetError(ValueError):
    """A dataset or split that doesn't exist or isn't on this machine, with what to do about it."""


class ImageSource(Protocol):
    """One split of a dataset, in memory or not: an `ImageSet`, or what decodes its pixels when they are asked for."""

    @property
    def name(self) -> str:
        """The dataset's name."""

    @property
    def split(self) -> str:
        """Which split it is."""

    @property
    def labels(self) -> Tensor:
        """The right classes, int64 `(N,)` in `[0, len(classes))`."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Unique and stable names of the N images."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what was left out."""

    def __len__(self) -> int: ...

    def pixels(self, rows: slice) -> Tensor:
        """The images of consecutive rows, uint8 `(n, 3, H, W)`; raises `DatasetError` when they can't be had."""

    def content(self) -> Iterator[bytes | memoryview]:
        """Bytes, in parts, that are the same for the same pixels alone."""

    def take(self, indices: Tensor) -> Self:
        """The images at `indices`, an int64 `(M,)`, in that order."""


Source = TypeVar("Source", bound=ImageSource)


@dataclass(frozen=True)
class ImageSet:
    """One split of a dataset, in memory.

    `images` is uint8 `(N, 3, H, W)`, `labels` int64 `(N,)` in `[0, len(classes))`, `ids` are unique and stable,
    `masks` bool `(N, H, W)` where the object is known exactly, `attributes` further int64 `(N,)` columns, and
    `notes` sentences about what was left out.
    """

    name: str
    split: str
    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    ids: tuple[str, ...]
    masks: Tensor | None = None
    attributes: dict[str, Tensor] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def pixels(self, rows: slice) -> Tensor:
        """The images of consecutive rows, uint8 `(n, 3, H, W)`."""
        return self.images[rows]

    def content(self) -> Iterator[bytes | memoryview]:
        """The bytes of all pixels."""
        yield np.ascontiguousarray(self.images.cpu().numpy()).data

    def take(self, indices: Tensor) -> ImageSet:
        """The images at `indices`, an int64 `(M,)`, in that order."""
        return ImageSet(
            self.name,
            self.split,
            self.images[indices],
            self.labels[indices],
            self.classes,
            tuple(self.ids[i] for i in indices.tolist()),
            None if self.masks is None else self.masks[indices],
            {key: column[indices] for key, column in self.attributes.items()},
            self.notes,
        )

    def float_images(self) -> Tensor:
        """Images as float32 in [0, 1]."""
        return self.images.float() / 255


@dataclass(frozen=True)
class Dataset:
    """A registered dataset: `load(split, progress)` returns the split or raises `DatasetError`.

    `open`, where there is one, does the same for sets that memory need not hold. `counts` says how many images a split
    has, where that is known before it is read.
    """

    name: str
    title: str
    splits: tuple[str, ...]
    classes: tuple[str, ...]
    image_size: int
    load: Callable[[str, Progress | None], ImageSet]
    fetch: Callable[[Progress | None], None] | None = None
    open: Callable[[str, Progress | None], ImageSource] | None = None
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Family:
    """Datasets named `prefix:...`: `find(name)` makes the entry, `stem(name)` a file name; `key` stands for `...`."""

    find: Callable[[str], Dataset]
    stem: Callable[[str], str]
    key: str = "PATH"


DATASETS: dict[str, Dataset] = {}
FAMILIES: dict[str, Family] = {}


def register(dataset: Dataset) -> Dataset:
    """Add a dataset; raises `ValueError` when the name is taken."""
    if dataset.name in DATASETS:
        raise ValueError(f"the dataset {dataset.name!r} is registered twice.")
    DATASETS[dataset.name] = dataset
    return dataset


def register_family(
    prefix: str, find: Callable[[str], Dataset], stem: Callable[[str], str], key: str = "PATH"
) -> None:
    """Add all datasets named `prefix:...`; raises `ValueError` when the prefix is taken."""
    if prefix in FAMILIES:
        raise ValueError(f"the datasets named {prefix}: are registered twice.")
    FAMILIES[prefix] = Family(find, stem, key)


def _family(name: str) -> Family | None:
    prefix, colon, _rest = name.partition(":")
    return FAMILIES.get(prefix) if colon else None


def _names() -> list[str]:
    """Names of all datasets, and what those of a family begin with."""
    return [*DATASETS, *(f"{prefix}:{family.key}" for prefix, family in FAMILIES.items())]


def dataset(name: str) -> Dataset:
    """Look a dataset up; raises `DatasetError` naming those that exist."""
    family = _family(name)
    if family:
        return family.find(name)
    if name not in DATASETS:
        raise DatasetError(f"there is no dataset {name!r}; allowed are {', '.join(_names())}.")
    return DATASETS[name]


def file_stem(name: str) -> str:
    """A name for files about the dataset, such as a checkpoint of it: the dataset's own, if that is no path."""
    family = _family(name)
    return family.stem(name) if family else name


def load_dataset(name: str, split: str, progress: Progress | None = None) -> ImageSet:
    """Load one split; raises `DatasetError` with one sentence when the name, split or files are missing."""
    return _with_split(name, split).load(split, progress)


def open_dataset(name: str, split: str, progress: Progress | None = None) -> ImageSource:
    """One split, decoded only while it is used where it may be too large for memory; raises as `load_dataset` does."""
    entry = _with_split(name, split)
    return (entry.open or entry.load)(split, progress)


def _with_split(name: str, split: str) -> Dataset:
    entry = dataset(name)
    if split not in entry.splits:
        raise DatasetError(f"{name} has no split {split!r}; allowed are {', '.join(entry.splits)}.")
    return entry


def evenly_spread(data: Source, limit: int | None) -> Source:
    """All images, or `limit` of them in their order, spread evenly over the classes and over each class.

    Raises `DatasetError` for a limit below 1.
    """
    if limit is None or limit >= len(data):
        return data
    if limit < 1:
        raise DatasetError(f"{limit} images were asked for; allowed are 1 and more.")
    # Steps through the images as they come would meet the same classes again and again where classes take turns.
    by_class = torch.argsort(data.labels, stable=True)
    return data.take(by_class[torch.arange(limit) * (len(data) - 1) // max(limit - 1, 1)].sort().values)


def split_rows(labels: Tensor, per_class: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Indices of the first `per_class[k]` images of each class k, and of all the others, both ascending."""
    first = torch.zeros(len(labels), dtype=torch.bool)
    for class_index, count in enumerate(per_class):
        first[torch.nonzero(labels == class_index)[:count, 0]] = True
    return torch.nonzero(first)[:, 0], torch.nonzero(~first)[:, 0]
