"""One registry of datasets and one interface: uint8 images in memory with labels, names, ids and masks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

Progress = Callable[[int, int, str], None]
"""Called as `progress(done, total, what)`."""


class DatasetError(ValueError):
    """A dataset or split that doesn't exist or isn't on this machine, with what to do about it."""


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
    """A registered dataset: `load(split, progress)` returns the split or raises `DatasetError`."""

    name: str
    title: str
    splits: tuple[str, ...]
    classes: tuple[str, ...]
    image_size: int
    load: Callable[[str, Progress | None], ImageSet]
    fetch: Callable[[Progress | None], None] | None = None


@dataclass(frozen=True)
class Family:
    """Datasets named `prefix:...`: `find(name)` makes the entry, `stem(name)` a name for files about it."""

    find: Callable[[str], Dataset]
    stem: Callable[[str], str]


DATASETS: dict[str, Dataset] = {}
FAMILIES: dict[str, Family] = {}


def register(dataset: Dataset) -> Dataset:
    """Add a dataset; raises `ValueError` when the name is taken."""
    if dataset.name in DATASETS:
        raise ValueError(f"the dataset {dataset.name!r} is registered twice.")
    DATASETS[dataset.name] = dataset
    return dataset


def register_family(prefix: str, find: Callable[[str], Dataset], stem: Callable[[str], str]) -> None:
    """Add all datasets named `prefix:...`; raises `ValueError` when the prefix is taken."""
    if prefix in FAMILIES:
        raise ValueError(f"the datasets named {prefix}: are registered twice.")
    FAMILIES[prefix] = Family(find, stem)


def _family(name: str) -> Family | None:
    prefix, colon, _rest = name.partition(":")
    return FAMILIES.get(prefix) if colon else None


def _names() -> list[str]:
    """Names of all datasets, and what those of a family begin with."""
    return [*DATASETS, *(f"{prefix}:PATH" for prefix in FAMILIES)]


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
    entry = dataset(name)
    if split not in entry.splits:
        raise DatasetError(f"{name} has no split {split!r}; allowed are {', '.join(entry.splits)}.")
    return entry.load(split, progress)


def split_rows(labels: Tensor, per_class: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Indices of the first `per_class[k]` images of each class k, and of all the others, both ascending."""
    first = torch.zeros(len(labels), dtype=torch.bool)
    for class_index, count in enumerate(per_class):
        first[torch.nonzero(labels == class_index)[:count, 0]] = True
    return torch.nonzero(first)[:, 0], torch.nonzero(~first)[:, 0]
