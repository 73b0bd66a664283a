"""How alike two networks' layers are as a whole: centred kernel alignment (CKA) with linear kernels.

CKA compares what images a layer holds to be alike, not single channels: turning a layer's features or scaling them
changes nothing, so layers of any width and grid can be compared. 1 is alike up to that, 0 unrelated. Source:
Kornblith et al., Similarity of neural network representations revisited, ICML 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from data.corruption_constants import default_scale
from data.datasets import ImageSource, Progress
from models.registry import Model
from xai import evaluation
from xai.attribution_types import ExplanationError
from xai.cka_formulas import LEAST, gram, ratio, u_centred
from xai.evaluation_grid import CLEAN, Cell, degraded
from xai.feature_layers import LayerInfo, layer_table
from xai.hooks import frozen, listening
from xai.layer_calls import first_tensor, split_call

NONE = "none"
BATCH = 128


@dataclass(frozen=True)
class Side:
    """One network on images under one condition.

    `layers` None are the registered stages, shallow to deep; `relu#2` is the second call of the layer `relu`.
    """

    model: Model
    layers: tuple[str, ...] | None = None
    degradation: str = NONE
    severity: float = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        """The layers that are compared."""
        return self.model.stages if self.layers is None else tuple(self.layers)

    @property
    def condition(self) -> str:
        """The condition in words: `clean`, or `gaussian_noise 3`."""
        return f"{self.degradation} {self.severity:g}" if self.is_degraded else CLEAN

    @property
    def is_degraded(self) -> bool:
        """Whether the network sees other images than the dataset's own."""
        return self.degradation not in (NONE, CLEAN) and self.severity > 0

    @property
    def key(self) -> tuple[int, str]:
        """Equal for sides that see the same images with the same network."""
        return id(self.model), self.condition


@dataclass(frozen=True)
class CkaMatrix:
    """Linear CKA of every layer of A with every layer of B.

    `values` is float64 `(La, Lb)`: 1 for alike, about 0 for unrelated; an unbiased estimate, so noise can bring it
    slightly below 0 or above 1. NaN where a layer answers the same to every image or with what is no number.
    """

    values: Tensor
    layers_a: tuple[LayerInfo, ...]
    layers_b: tuple[LayerInfo, ...]
    model_a: str
    model_b: str
    condition_a: str
    condition_b: str
    images: int
    batches: int
    notes: tuple[str, ...] = ()


def cka_matrix(
    model_a: Model,
    model_b: Model,
    data: ImageSource,
    layers_a: Sequence[str] | None = None,
    layers_b: Sequence[str] | None = None,
    *,
    degradation_a: str = NONE,
    severity_a: float = 0.0,
    degradation_b: str = NONE,
    severity_b: float = 0.0,
    scale: str = "",
    seed: int = 0,
    batch: int = BATCH,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> CkaMatrix:
    """CKA of the layers of two networks, or of one under two conditions, over the images of `data`.

    Layers are dotted names, None for the registered stages. See `cka_matrices`.
    """
    first = Side(model_a, None if layers_a is None else tuple(layers_a), degradation_a, severity_a)
    second = Side(model_b, None if layers_b is None else tuple(layers_b), degradation_b, severity_b)
    (found,) = cka_matrices(
        [(first, second)],
        data,
        scale=scale,
        seed=seed,
        batch=batch,
        progress=progress,
        cancelled=cancelled,
    )
    return found


def panels(
    model_a: Model,
    model_b: Model,
    degradation: str,
    severity: float,
    layers_a: Sequence[str] | None = None,
    layers_b: Sequence[str] | None = None,
) -> tuple[tuple[Side, Side], ...]:
    """What a page shows of two networks and a degradation, for `cka_matrices`.

    A with B on clean images, A with B on degraded ones, then clean with degraded of A and of B (where does each
    lose the image?). Without a degradation only the first; of one network with itself B is left out.
    """
    both = ((model_a, layers_a), (model_b, layers_b))
    clean = [Side(model, None if layers is None else tuple(layers)) for model, layers in both]
    worse = [Side(side.model, side.layers, degradation, severity) for side in clean]
    if not worse[0].is_degraded:
        return ((clean[0], clean[1]),)
    own = tuple(zip(clean, worse, strict=True))
    same = model_a is model_b and clean[0].names == clean[1].names
    return ((clean[0], clean[1]), (worse[0], worse[1]), *(own[:1] if same else own))


def cka_matrices(
    pairs: Sequence[tuple[Side, Side]],
    data: ImageSource,
    *,
    scale: str = "",
    seed: int = 0,
    batch: int = BATCH,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> tuple[CkaMatrix, ...]:
    """A matrix for each pair of sides, all from one pass over the images of `data`.

    Features are the flattened maps `(N, C * h * w)`. The images are put in an order drawn by `seed` and split into
    batches of about `batch` images, none left out; each goes once through each network under each condition, and
    of a layer only the Gram matrix is kept, so memory depends on neither the number of images nor of layers.
    Degradations are on `scale` (empty: that which fits the images) and seeded by image id as in a sweep. Raises
    `ExplanationError` for too few images and for layers that are not there or give no features, and
    `xai.evaluation.Cancelled` when `cancelled` says so.
    """
    total = len(data)
    if total < LEAST or batch < LEAST:
        raise ExplanationError(
            f"{total:,} images in batches of {batch} were given; CKA needs at least {LEAST} of either."
        )
    order = torch.randperm(total, generator=torch.Generator().manual_seed(seed))
    height, width = data.pixels(slice(0)).shape[-2:]
    for side in {id(side): side for pair in pairs for side in pair}.values():
        _layers(side, height)  # what can't be compared is said before anything is computed
    work = _Work(pairs, height, scale or default_scale(height, width), seed)
    parts = order.tensor_split(max(1, min(round(total / batch), total // LEAST)))
    for done, rows in enumerate(parts):
        if cancelled and cancelled():
            raise evaluation.Cancelled
        work.add(data.take(rows))
        if progress:
            progress((done + 1) * total // len(parts), total, "comparing layers")
    return tuple(work.matrix(place, total, len(parts)) for place in range(len(pairs)))


@dataclass
class _Work:
    """Sums of HSICs over the batches so far, and what the layers turned out to be."""

    pairs: Sequence[tuple[Side, Side]]
    size: int
    scale: str
    seed: int
    sums: dict[int, tuple[Tensor, Tensor, Tensor]] = field(default_factory=dict)

    def add(self, batch: ImageSource) -> None:
        """Take in a batch of images."""
        wanted: dict[tuple[int, str], tuple[Side, dict[str, None]]] = {}
        for side in (side for pair in self.pairs for side in pair):
            wanted.setdefault(side.key, (side, {}))[1].update(dict.fromkeys(side.names))
        grams = {key: self._grams(side, tuple(names), batch) for key, (side, names) in wanted.items()}
        for place, (first, second) in enumerate(self.pairs):
            x = torch.stack([grams[first.key][name] for name in first.names])
            y = torch.stack([grams[second.key][name] for name in second.names])
            hsic = (x @ y.T, x.square().sum(dim=1), y.square().sum(dim=1))
            before = self.sums.get(place)
            self.sums[place] = hsic if before is None else tuple(map(torch.add, before, hsic))  # type: ignore

    def _grams(self, side: Side, names: tuple[str, ...], batch: ImageSource) -> dict[str, Tensor]:
        """Flat, scaled, U-centred Gram matrices of the layers of one network on one batch, in double precision."""
        images = self._images(side, batch)
        grams: dict[str, Tensor] = {}
        scale = (len(images) * (len(images) - 3)) ** 0.5

        def look(name: str, output: Tensor) -> None:
            grams[name] = u_centred(gram(output.float()).double()).flatten().cpu() / scale

        _run(side.model, images, names, look)
        return grams

    def _images(self, side: Side, batch: ImageSource) -> Tensor:
        """The batch as the side's network sees it, on its device."""
        cell = Cell(batch.name, batch.split, "", "", CLEAN, "", 0.0, 0, 0)
        if side.is_degraded:
            cell = degraded(cell, side.degradation, self.scale, side.severity, self.seed)
        return evaluation.degraded_batch(batch, cell, slice(None), side.model.device)

    def matrix(self, place: int, images: int, batches: int) -> CkaMatrix:
        """The answer for one pair."""
        (first, second), (across, own_a, own_b) = self.pairs[place], self.sums[place]
        values = ratio(across, own_a[:, None], own_b[None])
        layers_a, layers_b = (_layers(side, self.size) for side in (first, second))
        notes = (
            *_repeated(first, layers_a),
            *_repeated(second, layers_b),
            *_without(values, layers_a, layers_b),
        )
        notes = tuple(dict.fromkeys(notes))
        words = (first.model.name, second.model.name, first.condition, second.condition)
        return CkaMatrix(values, layers_a, layers_b, *words, images, batches, notes)


def _without(values: Tensor, first: Sequence[LayerInfo], second: Sequence[LayerInfo]) -> Iterator[str]:
    """Sentences about the layers that have no CKA with any other."""
    for side, layers, dim in (("A", first, 1), ("B", second, 0)):
        empty = values.isnan().all(dim=dim).tolist()
        names = ", ".join(layer.name for layer, gone in zip(layers, empty, strict=True) if gone)
        if names:
            yield f"Without CKA, as they answer the same to every image or NaN: {names} of {side}."


def _layers(side: Side, size: int) -> tuple[LayerInfo, ...]:
    """The side's layers as they run, each under the name that was asked for; `ExplanationError` for others."""
    table = {info.name: info for info in layer_table(side.model, size)}
    found = []
    for name in side.names:
        layer, number = split_call(name)
        known = table.get(layer)
        info = known.at(number) if known and number <= known.calls else None
        if info is None or info.note:
            calls = f"it runs {known.calls} times" if known else "there is no such layer that runs"
            allowed = ", ".join(each for each, row in table.items() if not row.note)
            raise ExplanationError(
                f"{name} of {side.model.name} can't be compared: {info.note if info else calls}; "
                f"allowed are {allowed}."
            )
        found.append(replace(info, name=name))
    return tuple(found)


def _repeated(side: Side, layers: Sequence[LayerInfo]) -> Iterator[str]:
    """Sentences about layers of which one call of several is compared."""
    for info in layers:
        if info.calls > 1:
            layer, number = split_call(info.name)
            yield f"{layer} of {side.model.name} runs {info.calls} times; call {number} is compared."


def _run(model: Model, images: Tensor, names: Sequence[str], look: Callable[[str, Tensor], None]) -> None:
    """One forward pass that shows `look` the outputs of the named layers as they are at that moment."""
    wanted: dict[tuple[str, int], list[str]] = {}
    for name in names:
        wanted.setdefault(split_call(name), []).append(name)
    calls: dict[str, int] = {}

    def hear(layer: str, _module: nn.Module, _inputs: Any, output: Any) -> None:
        calls[layer] = calls.get(layer, 0) + 1
        for name in wanted.get((layer, calls[layer]), ()):
            look(name, _tensor(model, name, output))

    layers = {layer for layer, _number in wanted}
    with model.lock, frozen(model.network), torch.inference_mode(), listening(model.network, layers, hear):
        model.network(images)


def _tensor(model: Model, name: str, output: Any) -> Tensor:
    tensor = first_tensor(output)
    if tensor is None:
        kind = type(output).__name__
        raise ExplanationError(f"the output of {name} of {model.name} is a {kind}; CKA needs a tensor.")
    return tensor
