"""Where a network loses the image: how much what each layer gives changes as a degradation grows."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from data.datasets import ImageSource, Progress, evenly_spread
from data.degradations import default_scale, degrade, resolve_name, resolve_scale
from models.registry import Model
from xai.attribution_types import ExplanationError
from xai.comparison import Picture, Request, View
from xai.evaluation import Cancelled
from xai.feature_layers import LayerInfo, distinct_layers, record, shown_layers
from xai.feature_orders import relative_l2
from xai.memo import Memo, no_memo
from xai.tables import Row
from xai.taps import ACTIVATIONS

MEASURES = ("relative_l2", "cosine", "dying")
_COLUMNS = tuple(f"{measure}{end}" for measure in MEASURES for end in ("", "_low", "_high"))
_BUDGET = 256 * 2**20
"""Bytes of recorded activations at a time."""
_MOST_IMAGES = 64
_QUARTILES = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)

Batches = Iterator[tuple[Tensor, Sequence[str]]]


@dataclass(frozen=True)
class DriftRow:
    """How much what one layer gives differs from clean, at one severity.

    `place` counts the layers from 0 in the order in which they run, `depth` is that as a share in [0, 1]. `images` is
    the source of the one picture, or `DATASET:SPLIT`. Each measure
    is the median over `n` images with its quartiles in `_low` and `_high`; those of one image are all the same. NaN
    where a measure is not defined for any image.

    `relative_l2` is |clean - degraded| / |clean| (0: nothing changed), `cosine` that of the angle between the two, in
    [-1, 1] (1: the same direction), `dying` the share of all channels that are active in some cell on clean and zero
    in all under the degradation. That one is NaN for layers with values below zero, as before a ReLU: nothing can be
    seen to die there. `main` layers give the output of a block, of an activation outside of blocks, or the logits.
    """

    model: str
    layer: str
    kind: str
    place: int
    depth: float
    images: str
    degradation: str
    scale: str
    seed: int
    severity: float
    n: int
    relative_l2: float
    relative_l2_low: float
    relative_l2_high: float
    cosine: float
    cosine_low: float
    cosine_high: float
    dying: float
    dying_low: float
    dying_high: float
    main: bool = True


@dataclass
class _Found:
    """Measures `(3, n)` of every batch by layer and severity, and the layers that had a value below zero."""

    values: dict[tuple[str, float], list[Tensor]] = field(default_factory=dict)
    signed: set[str] = field(default_factory=set)

    def look(self, name: str, maps: Tensor) -> None:
        """Note whether a layer's maps have a value below zero."""
        if name not in self.signed and bool((maps < 0).any()):
            self.signed.add(name)

    def measured(self, name: str, severity: float) -> Tensor:
        """The measures `(3, N)` of all images."""
        values = torch.cat(self.values[name, severity], dim=1)
        if name in self.signed:
            values[MEASURES.index("dying")] = math.nan
        return values


@dataclass(frozen=True)
class Drifting:
    """A degradation and the severities at which it is looked at."""

    degradation: str
    severities: tuple[float, ...]
    scale: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        resolve_name(self.degradation)
        if not self.severities or len(set(self.severities)) < len(self.severities):
            raise ExplanationError(
                f"The severities are {list(self.severities)}; allowed are one or more different ones."
            )
        for severity in self.severities:
            _ = Request((), degradation=self.degradation, severity=severity, scale=self.scale, seed=self.seed)


def layer_drift(
    model: Model,
    images: Tensor | ImageSource,
    drifting: Drifting,
    image_ids: Sequence[str] | None = None,
    *,
    source: str = "",
    limit: int | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> tuple[DriftRow, ...]:
    """A row for every layer that gives something of its own and every severity, layers in the order in which they run.

    `images` are `(N, 3, H, W)` in [0, 1] with one id each, which seeds their degradation as in a sweep, and `source`
    says what they are; or a split of a dataset, of which `limit` images are taken, evenly spread. Severity 0 gives
    exactly 0, 1 and 0. One forward pass of the clean images and one of all severities together, in as many parts as
    memory asks for. `progress` is told of images. Raises `ExplanationError` or `ValueError` with one sentence, and
    `Cancelled` when `cancelled` says so, which is asked before every batch.
    """
    if isinstance(images, Tensor):
        total, size = len(images), images.shape[-2:]
        if image_ids is None or len(image_ids) != total:
            raise ExplanationError(f"{total} images need as many ids.")
    else:
        source = f"{images.name}:{images.split}"
        images = evenly_spread(images, limit)
        total, size = len(images), images.pixels(slice(0, 1)).shape[-2:]
        _check_size(model, images, tuple(size))
    if not total:
        raise ExplanationError("No images were given; at least one is needed.")
    scale = resolve_scale(drifting.scale or default_scale(size[-1], size[-2]))
    drifting = Drifting(drifting.degradation, drifting.severities, scale, drifting.seed)
    layers = distinct_layers(model, min(size))
    found = _Found()
    done = 0
    for clean, ids in _batches(images, image_ids, _at_a_time(layers, len(drifting.severities))):
        _tell(progress, cancelled, done, total, model.name)
        _measure_batch(model, clean, ids, drifting, layers, found, cancelled)
        done += len(clean)
    _tell(progress, None, done, total, model.name)
    return tuple(_rows(model, layers, drifting, found, (source, total)))


def _check_size(model: Model, images: ImageSource, size: tuple[int, ...]) -> None:
    """Layers of other grids than usual would be measured, on images of which the network knows nothing."""
    if size != (model.input_size, model.input_size):
        raise ExplanationError(
            f"{images.name} has images of {size[1]} x {size[0]} px; {model.name} takes {model.input_size} x "
            f"{model.input_size} px."
        )


def picture_drift(
    model: Model, picture: Picture, view: View, drifting: Drifting, memo: Memo = no_memo
) -> tuple[DriftRow, ...]:
    """The rows of one picture, as the network sees it."""
    key = ("drift", model.name, model.card.sha256, picture.sha256, picture.image_id, view.size, view.resized)
    return memo(
        (*key, drifting),
        lambda: layer_drift(model, view.clean, drifting, [picture.seed_text], source=picture.source),
    )


def _tell(
    progress: Progress | None, cancelled: Callable[[], bool] | None, done: int, total: int, what: str
) -> None:
    if cancelled and cancelled():
        raise Cancelled
    if progress:
        progress(done, total, what)


def _cells(layers: Sequence[LayerInfo]) -> int:
    """Bytes of one image's activations, of all layers together."""
    return 4 * sum(info.channels * math.prod(info.grid) * info.calls for info in layers)


def _at_a_time(layers: Sequence[LayerInfo], severities: int) -> int:
    """Images whose activations fit beside those of all their degraded copies."""
    return max(1, min(_MOST_IMAGES, _BUDGET // (_cells(layers) * (1 + severities))))


def _batches(images: Tensor | ImageSource, ids: Sequence[str] | None, size: int) -> Batches:
    for start in range(0, len(images), size):
        rows = slice(start, min(start + size, len(images)))
        if isinstance(images, Tensor):
            assert ids is not None
            yield images[rows], ids[rows]
        else:
            yield images.pixels(rows).float() / 255, images.ids[rows]


def _measure_batch(
    model: Model,
    clean: Tensor,
    ids: Sequence[str],
    drifting: Drifting,
    layers: Sequence[LayerInfo],
    found: _Found,
    cancelled: Callable[[], bool] | None,
) -> None:
    """Add the measures `(3, n)` of a batch of images to those found, per layer and severity."""
    names = [name for info in layers for name in _call_names(info)]
    before = _maps(model, clean, names)
    for name in names:
        found.look(name, before[name])
    if 0 in drifting.severities:
        same = torch.tensor([[0.0], [1.0], [0.0]], dtype=torch.float64).expand(3, len(clean))
        for name in names:
            found.values.setdefault((name, 0), []).append(same)
    severities = [severity for severity in drifting.severities if severity]
    together = max(1, _BUDGET // (_cells(layers) * len(clean)) - 1)
    for start in range(0, len(severities), together):
        _tell(None, cancelled, 0, 0, "")
        part = severities[start : start + together]
        options = {"scale": drifting.scale, "image_ids": ids, "seed": drifting.seed}
        copies = [degrade(clean, drifting.degradation, severity, **options) for severity in part]  # type: ignore[arg-type]
        after = _maps(model, torch.cat(copies), names)
        for name in names:
            found.look(name, after[name])
            for severity, values in zip(part, after[name].split(len(clean)), strict=True):
                found.values.setdefault((name, severity), []).append(measures(before[name], values))


def _call_names(info: LayerInfo) -> list[str]:
    return [info.name, *(f"{info.name}#{number}" for number in range(2, info.calls + 1))]


def _maps(model: Model, images: Tensor, names: Sequence[str]) -> Mapping[str, Tensor]:
    return {name: feature.values for name, feature in record(model, images, names).items()}


def measures(clean: Tensor, degraded: Tensor) -> Tensor:
    """Relative L2, cosine and share of dying channels of each image, from maps `(n, C, h, w)` -> `(3, n)` float64."""
    a, b = clean.flatten(1), degraded.flatten(1)
    return torch.stack([relative_l2(a, b), _cosine(a, b), _dying(clean, degraded)]).double()


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    """Of rows `(n, K)`, as 1 - |a/|a| - b/|b||^2 / 2: exactly 1 for equal rows, NaN where only one is zero."""
    between = a / a.norm(dim=1, keepdim=True) - b / b.norm(dim=1, keepdim=True)
    cosine = 1 - between.square().sum(dim=1) / 2
    return cosine.where((a != b).any(dim=1), 1.0)


def _dying(clean: Tensor, degraded: Tensor) -> Tensor:
    active, still = ((maps != 0).flatten(2).any(dim=2) for maps in (clean, degraded))
    return (active & ~still).float().mean(dim=1)


def _rows(
    model: Model,
    layers: Sequence[LayerInfo],
    drifting: Drifting,
    found: _Found,
    images: tuple[str, int],
) -> Iterator[DriftRow]:
    main = main_layers(model, layers)
    names = [(name, info) for info in layers for name in _call_names(info)]
    for place, (name, info) in enumerate(names):
        depth = place / max(1, len(names) - 1)
        for severity in drifting.severities:
            numbers = (
                found.measured(name, severity).nanquantile(_QUARTILES, dim=1).T
            )  # (3 measures, 3 of them)
            ordered = [float(row[k]) for row in numbers for k in (1, 0, 2)]
            where = (model.name, name, info.kind, place, depth, images[0])
            how = (drifting.degradation, drifting.scale, drifting.seed, float(severity))
            measured: dict[str, Any] = dict(zip(_COLUMNS, ordered, strict=True))
            yield DriftRow(*where, *how, images[1], **measured, main=info.name in main)


def main_layers(model: Model, layers: Sequence[LayerInfo]) -> frozenset[str]:
    """Those of `distinct_layers` where a network has taken a whole step: outputs of blocks, of activations outside of
    blocks, and the last layer. All of them where a network has neither.

    A block is a module with parts that is no mere sequence and lies in no other block; what holds a stage of the
    network is none. Another layer that gives the same output, such as the stage that ends in the block, stands for it.
    """
    modules = dict(model.network.named_modules())
    blocks = _blocks(model, modules)
    ends = {
        info.same_as or info.name
        for info in shown_layers(model, model.input_size)
        if info.name in blocks
        or (isinstance(modules[info.name], ACTIVATIONS) and not _inside(info.name, blocks))
    }
    found = [info.name for info in layers if (info.same_as or info.name) in ends]
    return frozenset([*found, layers[-1].name] if found else [info.name for info in layers])


def _blocks(model: Model, modules: Mapping[str, nn.Module]) -> frozenset[str]:
    found: set[str] = set()
    for name, module in modules.items():  # parents come before their parts
        mere = type(module) in (nn.Sequential, nn.ModuleList) or next(module.children(), None) is None
        around = any(stage.startswith(f"{name}.") for stage in model.stages)
        if name and not mere and not around and not _inside(name, found):
            found.add(name)
    return frozenset(found)


def _inside(name: str, blocks: Collection[str]) -> bool:
    """Whether a module lies in one of the blocks."""
    parts = name.split(".")
    return any(".".join(parts[:count]) in blocks for count in range(1, len(parts)))


IN_A_PAPER = ("model", "layer", "severity", "n", *MEASURES)
"""The columns that a table of a paper has room for."""


def paper_rows(rows: Sequence[DriftRow]) -> list[Row]:
    """The medians of the main layers, without what is the same in all rows or of no use in print."""
    chosen = as_rows([row for row in rows if row.main])
    return [{name: row[name] for name in IN_A_PAPER} for row in chosen]


def as_rows(rows: Sequence[DriftRow]) -> list[Row]:
    """The rows as a table: a column per field, nothing where a measure is not defined."""
    return [
        {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in (asdict(row) | {"main": int(row.main)}).items()
        }
        for row in rows
    ]
