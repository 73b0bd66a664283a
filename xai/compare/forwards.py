"""Answers of a network to images that a section has made, by forward passes of its folded copy alone."""

from __future__ import annotations

import contextlib

import numpy as np
import torch
from torch import Tensor

from data.datasets import ImageSource
from models.registry import Model
from xai import packing
from xai.folding import folded


@torch.inference_mode()
def logits(model: Model, images: Tensor) -> np.ndarray:
    """Logits float32 `(n, K)` of images `(n, 3, H, W)` in [0, 1], in full precision, with batch norms folded."""
    images = images.to(model.device)
    on_gpu = images.device.type == "cuda"
    exact = torch.backends.cudnn.flags(enabled=True, allow_tf32=False) if on_gpu else contextlib.nullcontext()
    with model.lock, exact:
        found: np.ndarray = packing.logits(folded(model).network, images).float().cpu().numpy()
    return found


def dataset_numbers(model: Model, data: ImageSource) -> np.ndarray:
    """What each of the network's classes is among those of the data, int64 `(K,)`; -1 for one that only it knows."""
    places = {name: place for place, name in enumerate(data.classes)}
    return np.array([places.get(name, -1) for name in model.classes], np.int64)
