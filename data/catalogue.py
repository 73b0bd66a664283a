"""Importing this module registers every dataset."""

from data import cifar, cue10
from data.datasets import DATASETS, Dataset, DatasetError, ImageSet, dataset, load_dataset

__all__ = ["DATASETS", "Dataset", "DatasetError", "ImageSet", "cifar", "cue10", "dataset", "load_dataset"]
