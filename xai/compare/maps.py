"""Answers and heatmaps of one network to all images under one condition, from one forward and partial backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from data.datasets import ImageSource, Progress
from models.registry import Model
from xai import passes
from xai.attribution import explain_all_cams
from xai.evaluation import Cancelled
from xai.results import UNTOUCHED, Condition


@dataclass(frozen=True)
class Maps:
    """Of N images, in the order of the images: class numbers are those of the network's `classes`.

    `maps` are raw and signed, float32 `(N, h, w)` on the layer's own grid, by method, each for the class in `targets`
    int64 `(N,)`. `predicted` int64 `(N,)`; `probabilities` float32 `(N, K)`; `logits` float32 `(N, K)`; `labels` int64
    `(N,)`, -1 for a class that the network does not know. `for_predicted` are maps for the class predicted under this
    condition, the same array where that is the target of every image.
    """

    model: str
    condition: Condition
    layer: str
    maps: dict[str, np.ndarray]
    for_predicted: dict[str, np.ndarray]
    targets: np.ndarray
    predicted: np.ndarray
    logits: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def correct(self) -> np.ndarray:
        """Whether the prediction is right, bool `(N,)`."""
        return self.predicted == self.labels

    @property
    def probabilities(self) -> np.ndarray:
        """Softmax of the logits, float32 `(N, K)`."""
        return torch.from_numpy(self.logits).softmax(dim=1).numpy()


def compute(
    model: Model,
    data: ImageSource,
    condition: Condition = UNTOUCHED,
    *,
    layer: str = "",
    methods: Sequence[str] = ("gradcam",),
    targets: np.ndarray | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Maps:
    """Maps of gradient CAMs for `targets` `(N,)`, class numbers of the network (None: the classes predicted under this
    very condition), and for the predicted classes. `layer` is tapped, the network's own where it is empty."""
    layer = layer or model.default_layer
    cell = passes.cell_of(model, data, condition.degradation, condition.scale, condition.severity, seed)
    parts: list[tuple[np.ndarray, ...]] = []

    def tell(start: int) -> None:
        if cancelled and cancelled():
            raise Cancelled
        if progress:
            progress(start, len(data), f"heatmaps of {model.name}, {condition.words}")

    for rows, images in _batches(model, data, cell, tell):
        logits = _logits(model, images)
        predicted = logits.argmax(dim=1)
        wanted = predicted if targets is None else torch.from_numpy(targets[rows])
        fixed = explain_all_cams(model, images, methods, targets=wanted, layers=[layer])
        own = fixed
        if bool((wanted != predicted).any()):
            own = explain_all_cams(model, images, methods, targets=predicted, layers=[layer])
        parts.append(
            (
                *(fixed[name].values.numpy() for name in methods),
                *(own[name].values.numpy() for name in methods),
                wanted.numpy(),
                predicted.numpy(),
                logits.numpy(),
            )
        )
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    count = len(methods)
    return Maps(
        model.name,
        condition,
        layer,
        dict(zip(methods, columns[:count], strict=True)),
        dict(zip(methods, columns[count : 2 * count], strict=True)),
        columns[-3],
        columns[-2],
        columns[-1],
        labels_of(model, data),
    )


def _batches(
    model: Model, data: ImageSource, cell: passes.Cell, tell: Callable[[int], None]
) -> Iterator[tuple[slice, torch.Tensor]]:
    start = 0
    for images in passes.batches(model, data, cell, slice(0, len(data)), tell):
        yield slice(start, start + len(images)), images
        start += len(images)


def _logits(model: Model, images: torch.Tensor) -> torch.Tensor:
    with model.lock, torch.inference_mode():
        return model.network(images.to(model.device)).float().cpu()


def labels_of(model: Model, data: ImageSource) -> np.ndarray:
    """The right classes as numbers of the network's classes, int64 `(N,)`; -1 for those that it does not know."""
    places = {name: place for place, name in enumerate(model.classes)}
    numbers = np.array([places.get(name, -1) for name in data.classes], np.int64)
    return numbers[data.labels.numpy()]
