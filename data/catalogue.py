"""Importing this module registers every dataset."""

from data import cifar, cue10, folder, uploads
from data.datasets import DATASETS, Dataset, DatasetError, ImageSet, dataset, file_stem, load_dataset

__all__ = [
    "DATASETS",
    "Dataset",
    "DatasetError",
    "ImageSet",
    "cifar",
    "cue10",
    "dataset",
    "file_stem",
    "folder",
    "load_dataset",
    "uploads",
]
