"""What a training takes in before it starts: a device that is there, an architecture that fits, and images."""

from __future__ import annotations

import torch

from data.catalogue import DatasetError, ImageSet, dataset, load_dataset
from data.datasets import ImageSource, Progress, evenly_spread, open_dataset
from models import registry

SEEDS = range(2**31)
"""Seeds of a training; every epoch draws from a number of its own made of them."""
SPLITS = ("train", "validation", "test")


def device_name(device: torch.device) -> str:
    """What a card says of the device: the GPU's own name, or `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def find_device(device: str) -> torch.device:
    """The device of that name; raises `ValueError` with one sentence when this machine doesn't have it."""
    if device.split(":")[0] not in ("cpu", "cuda"):
        raise ValueError(f"device is {device!r}; allowed are 'cpu' and 'cuda'.")
    if device != "cpu" and not torch.cuda.is_available():
        raise ValueError(f"device is {device!r}, but PyTorch finds no GPU here; 'cpu' works everywhere.")
    return torch.device(device)


def check_request(architecture: str, dataset_name: str, device: str, limit: int | None) -> torch.device:
    """The device to train on, after a look at everything that would fail later and less clearly.

    Raises `ValueError` with one sentence when the architecture or dataset is unknown, its pictures are too small
    for the network, `limit` is below 1, or this machine doesn't have the device.
    """
    least, size = registry.architecture(architecture).min_size, dataset(dataset_name).image_size
    if size < least:
        raise ValueError(
            f"{architecture} needs images of {least} px or more, but {dataset_name} has {size} px."
        )
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}; it must be at least 1.")
    return find_device(device)


def load_split(name: str, split: str, limit: int | None, progress: Progress | None) -> ImageSet:
    """One split of a dataset, or `limit` of its images, evenly spread; raises `DatasetError` when it has none."""
    if split not in dataset(name).splits:
        raise DatasetError(f"{name} has no {split} split, which training needs.")
    if limit is None:
        return load_dataset(name, split, progress)
    return in_memory(evenly_spread(open_dataset(name, split, progress), limit))


def in_memory(data: ImageSource) -> ImageSet:
    """The images of a source, all decoded; masks and attributes are not needed here."""
    if isinstance(data, ImageSet):
        return data
    pixels = data.pixels(slice(0, len(data)))
    return ImageSet(data.name, data.split, pixels, data.labels, data.classes, data.ids, notes=data.notes)
