"""Answers and heatmaps of one network to all images under one condition, from one forward and partial backward pass.

Where a prediction is another than the class that is asked about, the maps for it come from a second partial backward
pass through the same forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from data.datasets import ImageSource, Progress
from models.registry import Model
from xai import passes, taps
from xai.attribution import ExplanationError
from xai.cam import CAMS
from xai.compare.shown import Shown
from xai.evaluation import Cancelled
from xai.hooks import TapError, frozen, tapped
from xai.results import UNTOUCHED, Condition

Columns = dict[str, Tensor]
"""What a pass gives: `targets`, `predicted` and `logits` of all images, `changed`, the numbers of those whose
prediction is not their target, and by method `map NAME` of all and `own NAME`, for what was predicted, of those."""


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
    shown: Shown | None = None,
) -> Maps:
    """Maps of gradient CAMs for `targets` `(N,)`, class numbers of the network (None: the classes predicted under this
    very condition), and for the predicted classes. `layer` is tapped, the network's own where it is empty.

    The same numbers as `explain_all_cams` gives. `shown` keeps the degraded images for another network that is to see
    them. Raises `ExplanationError` with one sentence for targets, methods and layers that there are not, and
    `Cancelled` where `cancelled` says so, which is asked before every batch.
    """
    layer = layer or model.default_layer
    check(model, data, layer, methods, targets)
    cell = passes.cell_of(model, data, condition.degradation, condition.scale, condition.severity, seed)

    def tell(start: int) -> None:
        if cancelled and cancelled():
            raise Cancelled
        if progress:
            progress(start, len(data), f"heatmaps of {model.name}, {condition.words}")

    parts = []
    for rows, images in (shown or Shown(0)).batches(model, data, cell, tell):
        wanted = None if targets is None else torch.from_numpy(targets[rows])
        parts.append(_explained(model, images, layer, methods, wanted))
        parts[-1]["changed"] += rows.start
    columns = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return assembled(model, data, condition, layer, columns)


def check(
    model: Model, data: ImageSource, layer: str, methods: Sequence[str], targets: np.ndarray | None
) -> None:
    """Raise `ExplanationError` unless there are images, the layer, these methods, and a class of the network for each
    image."""
    if unknown := [name for name in methods if name not in CAMS] or ([] if methods else ["nothing"]):
        raise ExplanationError(f"{unknown[0]} is no gradient CAM; allowed are {', '.join(CAMS)}.")
    passes.check_pass(model, data, [layer])
    if targets is None:
        return
    if targets.dtype.kind not in "iu" or targets.shape != (len(data),):
        given = f"{targets.dtype} {targets.shape}"
        raise ExplanationError(
            f"The targets are {given}; allowed are whole numbers, one for each of {len(data)} images."
        )
    if targets.min() < 0 or targets.max() >= len(model.classes):
        wrong = targets.max() if targets.min() >= 0 else targets.min()
        raise ExplanationError(
            f"The target class {wrong} does not exist; {model.name} has classes 0 to {len(model.classes) - 1}."
        )


def assembled(
    model: Model, data: ImageSource, condition: Condition, layer: str, columns: Mapping[str, Tensor]
) -> Maps:
    """The maps that columns are of."""
    arrays = {name: values.numpy() for name, values in columns.items()}
    maps = {name.removeprefix("map "): values for name, values in arrays.items() if name.startswith("map ")}
    own = {name: _with(values, arrays["changed"], arrays[f"own {name}"]) for name, values in maps.items()}
    targets, predicted, logits = (arrays[name] for name in ("targets", "predicted", "logits"))
    labels = labels_of(model, data)
    return Maps(model.name, condition, layer, maps, own, targets, predicted, logits, labels)


def columns_of(maps: Maps) -> Columns:
    """What `assembled` makes such maps of."""
    changed = np.flatnonzero(maps.targets != maps.predicted)
    arrays = {"targets": maps.targets, "predicted": maps.predicted, "logits": maps.logits, "changed": changed}
    arrays |= {f"map {name}": values for name, values in maps.maps.items()}
    arrays |= {f"own {name}": values[changed] for name, values in maps.for_predicted.items()}
    return {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in arrays.items()}


def _with(values: np.ndarray, places: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The values with others at some places; the very same array where there are none."""
    if not len(places):
        return values
    found = values.copy()
    found[places] = others
    return found


def _explained(
    model: Model, images: Tensor, layer: str, methods: Sequence[str], targets: Tensor | None
) -> Columns:
    """The columns of one batch, on the CPU; `changed` counts from its first image."""
    with _ready(model, images) as taken:
        with tapped(model.network, [layer]) as tap, passes.refusals(model, taken):
            logits = model.network(taken)
        taps.check_grid(model, taken, [layer], tap)
        predicted = logits.detach().argmax(dim=1)
        wanted = predicted if targets is None else targets.to(predicted.device, torch.int64)
        changed = (wanted != predicted).nonzero()[:, 0]
        gradient = _gradient(logits, tap[layer], wanted, again=bool(len(changed)))
        maps = _maps(methods, tap[layer].detach(), gradient)
        own = {name: values[changed] for name, values in maps.items()}
        if len(changed):
            gradient = _gradient(logits[changed], tap[layer], predicted[changed])[changed]
            own = _maps(methods, tap[layer].detach()[changed], gradient)
    found = {"targets": wanted, "predicted": predicted, "logits": logits.detach().float(), "changed": changed}
    found |= {f"map {name}": values for name, values in maps.items()}
    found |= {f"own {name}": values for name, values in own.items()}
    return {name: values.cpu().clone() for name, values in found.items()}


@contextmanager
def _ready(model: Model, images: Tensor) -> Iterator[Tensor]:
    """The network held and frozen, and the images as it takes them."""
    with model.lock, torch.inference_mode(False), torch.enable_grad(), frozen(model.network):
        taken = (images.clone() if images.is_inference() else images).detach().to(model.device)
        try:
            yield taken
        except TapError as error:
            offered = taps.offer(model, min(images.shape[-2:]))
            raise ExplanationError(f"{model.name}: {error}; {offered}.") from error


def _gradient(logits: Tensor, tap: Tensor, classes: Tensor, *, again: bool = False) -> Tensor:
    """Gradient of one logit of each row with respect to the tapped activation; zeros where it does not depend on it."""
    score = logits.gather(1, classes[:, None]).sum()
    if not score.requires_grad:
        return torch.zeros_like(tap)
    (found,) = torch.autograd.grad(score, [tap], retain_graph=again, allow_unused=True)
    return torch.zeros_like(tap) if found is None else found


def _maps(methods: Sequence[str], activation: Tensor, gradient: Tensor) -> dict[str, Tensor]:
    """Finite maps float32 `(n, h, w)` by method."""
    found = {name: CAMS[name](activation, gradient) for name in methods}
    return {name: torch.nan_to_num(values.float(), 0.0, 0.0, 0.0) for name, values in found.items()}


def labels_of(model: Model, data: ImageSource) -> np.ndarray:
    """The right classes as numbers of the network's classes, int64 `(N,)`; -1 for those that it does not know."""
    places = {name: place for place, name in enumerate(model.classes)}
    numbers = np.array([places.get(name, -1) for name in data.classes], np.int64)
    return numbers[data.labels.numpy()]
