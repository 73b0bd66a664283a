"""What every channel of a layer answers to every image of a dataset: spatial mean, maximum, and where the maximum is.

One pass gives any number of layers; only the three numbers are kept of each map, so memory does not grow with the
grids. Results are kept on disk (see `responses_store`), and a pass that was stopped goes on where it was.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from data.datasets import ImageSource, Progress
from models.registry import Model
from xai import passes
from xai import responses_store as store
from xai.attribution_types import ExplanationError
from xai.evaluation import Cancelled
from xai.evaluation_grid import CLEAN, Cell
from xai.evaluation_store import data_sha256
from xai.hooks import frozen, listening
from xai.layer_calls import split_call

__all__ = ["Cancelled", "Responses", "collect", "reduced"]

Part = dict[str, Tensor]
_VALUES = ("mean", "maximum", "place")


@dataclass(frozen=True)
class Responses:
    """A layer's responses to N images.

    `mean` and `maximum` are float32 `(N, C)` over the cells of `grid` `(h, w)`, `(1, 1)` for vectors; `place` is the
    flat index of the (first) cell with the maximum, in the smallest signed integers that hold it. A map with a value
    that is no number has NaN for both. `ids` and `labels` are the dataset's; `condition` says what was done to the
    images; `calls` is how often the layer runs in one forward pass.
    """

    layer: str
    grid: tuple[int, int]
    ids: tuple[str, ...]
    labels: Tensor
    mean: Tensor
    maximum: Tensor
    place: Tensor
    condition: str = CLEAN
    calls: int = 1

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def channels(self) -> int:
        """How many channels the layer has."""
        return self.maximum.shape[1]

    def cell(self, row: int, channel: int) -> tuple[int, int]:
        """The cell `(row, column)` of the grid where a channel answers most to the image in that row."""
        return divmod(int(self.place[row, channel]), self.grid[1])

    def column(self, channel: int) -> Tensor:
        """Maxima `(N,)` of one channel; raises `ExplanationError` for a channel that does not exist."""
        if not 0 <= channel < self.channels:
            raise ExplanationError(
                f"the channel is {channel}; {self.layer} has {self.channels:,}: 0 to {self.channels - 1}."
            )
        return self.maximum[:, channel]

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about what is to be known of these numbers."""
        name, found = split_call(self.layer)[0], [*passes.call_note(self.layer, self.calls)]
        broken = int(self.maximum.isnan().any(dim=1).sum())
        if broken:
            found.append(
                f"{broken:,} of {len(self):,} images give values that are no numbers (NaN) in {name}."
            )
        return tuple(found)


def collect(
    model: Model,
    data: ImageSource,
    layers: Sequence[str],
    *,
    degradation: str = "none",
    severity: float = 0.0,
    scale: str = "",
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> dict[str, Responses]:
    """Responses of several layers to all images of `data`, from one pass over it; layer `"relu#2"` is a second call.

    Every image is degraded by its id, as in a sweep; severity 0 is the clean image. What is on disk already is read.
    `progress` is told of images; the model's lock is held for one batch at a time. Raises `Cancelled` when `cancelled`
    says so (what is done stays on disk), and `ExplanationError` or another `ValueError` for a layer, degradation,
    severity or scale that can't be.
    """
    cell = passes.cell_of(model, data, degradation, scale, severity, seed)
    work = _Work(model, data, cell, tuple(dict.fromkeys(layers)), progress, cancelled or (lambda: False))
    return work.run()


@dataclass
class _Work:
    """One pass: what is asked for, and the arrays that are filled part by part."""

    model: Model
    data: ImageSource
    cell: Cell
    layers: tuple[str, ...]
    progress: Progress | None
    cancelled: Callable[[], bool]
    found: dict[str, Part] = field(default_factory=dict)
    whole: bool = True
    """Whether the next batch goes through the whole network, to see how often each layer runs."""

    def run(self) -> dict[str, Responses]:
        passes.check_pass(self.model, self.data, self.layers)
        place = store.condition_folder(self.model, data_sha256(self.data), self.cell)
        wrote = False
        for number, start in enumerate(range(0, len(self.data), store.PART)):
            self.tell(start)
            wrote |= self.part(place, number, slice(start, min(start + store.PART, len(self.data))))
        self.tell(len(self.data))
        used = [store.part_path(place, layer, 0).parent for layer in self.layers]
        store.mark_used(used)
        if wrote:
            store.trim(used)
        return {layer: self.responses(layer) for layer in self.layers}

    def tell(self, done: int) -> None:
        if self.cancelled():
            raise Cancelled
        if self.progress:
            self.progress(done, len(self.data), f"responses of {self.model.name}, {self.cell.condition}")

    def part(self, place: Path, number: int, rows: slice) -> bool:
        """Fill in one part of every layer; True where something had to be computed."""
        paths = {layer: store.part_path(place, layer, number) for layer in self.layers}
        parts = {layer: store.read_part(path, rows.stop - rows.start) for layer, path in paths.items()}
        missing = [layer for layer, part in parts.items() if part is None]
        made = self.computed(missing, rows) if missing else {}
        for layer in missing:
            store.write_part(paths[layer], made[layer])
            parts[layer] = made[layer]
        for layer, part in parts.items():
            if part is not None:
                self.keep(layer, part, rows)
        return bool(missing)

    def keep(self, layer: str, part: Part, rows: slice) -> None:
        """Copy a part into the layer's arrays, which are made whole at once: joining parts would take twice that."""
        if layer not in self.found:
            blank = {
                name: value.new_empty((len(self.data), *value.shape[1:]))
                for name, value in part.items()
                if name in _VALUES
            }
            self.found[layer] = {**blank, "facts": part["facts"]}
        for name in self.found[layer].keys() & set(_VALUES):
            self.found[layer][name][rows] = part[name]

    def computed(self, layers: Sequence[str], rows: slice) -> dict[str, Part]:
        """Parts of layers, from images that go through the network in batches."""
        batches: list[dict[str, Part]] = []
        for pixels in passes.batches(self.model, self.data, self.cell, rows, self.tell):
            batches.append(reduced(self.model, pixels, layers, whole=self.whole))
            self.whole = False
        parts = {layer: _joined([batch[layer] for batch in batches]) for layer in layers}
        for layer in self.found.keys() & parts.keys():
            parts[layer]["facts"] = self.found[layer]["facts"]  # later batches do not see later calls
        return parts

    def responses(self, layer: str) -> Responses:
        part = self.found[layer]
        height, width, calls = part["facts"].tolist()
        maximum = part["maximum"]
        mean = part.get("mean", maximum)  # equal where the grid has one cell
        place = part.get("place", maximum.new_zeros((), dtype=torch.int8).expand_as(maximum))
        labels, condition = self.data.labels, self.cell.condition
        return Responses(
            layer, (height, width), self.data.ids, labels, mean, maximum, place, condition, calls
        )


def _joined(parts: Sequence[Part]) -> Part:
    together = {name: torch.cat([part[name] for part in parts]) for name in parts[0] if name in _VALUES}
    return {**together, "facts": parts[0]["facts"]}


class _Enough(Exception):
    """All layers that are asked for have run."""


def reduced(model: Model, images: Tensor, layers: Sequence[str], *, whole: bool = True) -> dict[str, Part]:
    """Mean, maximum and its place of each map of layers, for images `(N, 3, H, W)` in [0, 1] on the model's device.

    By layer the tensors `mean`, `maximum` and `place` (see `Responses`; of a grid of one cell `maximum` alone), and
    `facts`, height and width of the grid and the number of calls. Unless `whole`, the network stops after the last of
    the layers, and later calls are not counted. Raises `ExplanationError` for a layer that does not run or gives
    neither feature maps nor vectors.
    """
    found: dict[str, Part] = {}
    calls: Counter[str] = Counter()
    names = {split_call(layer)[0] for layer in layers}
    hear = _reducing(layers, found, calls, whole=whole)
    with (
        model.lock,
        frozen(model.network),
        torch.no_grad(),
        passes.refusals(model, images),
        contextlib.suppress(_Enough),
        listening(model.network, names, hear),
    ):
        model.network(images)
    for layer in layers:
        passes.check_call(model, layer, calls[split_call(layer)[0]])
        passes.check_rows(model, layer, len(found[layer]["maximum"]), len(images))
        grid = found[layer]["facts"][:2].tolist()
        found[layer]["facts"] = torch.tensor([*grid, calls[split_call(layer)[0]]])
    return found


def _reducing(
    layers: Sequence[str], found: dict[str, Part], calls: Counter[str], *, whole: bool
) -> Callable[..., None]:
    """A listener that fills `found` and counts calls."""
    wanted: dict[tuple[str, int], list[str]] = {}
    for layer in layers:
        wanted.setdefault(split_call(layer), []).append(layer)

    def hear(name: str, _module: nn.Module, _inputs: Any, output: Any) -> None:
        calls[name] += 1
        for layer in wanted.get((name, calls[name]), ()):
            found[layer] = _numbers(layer, output)
        if not whole and len(found) == len(layers):
            raise _Enough

    return hear


def _numbers(layer: str, output: Any) -> Part:
    """The three numbers of each map; of several tensors that a layer returns, of the first."""
    first = passes.maps_or_vectors(layer, output)
    values, grid = first.float(), tuple(first.shape[2:]) or (1, 1)
    facts = torch.tensor([*grid, 1])
    if grid == (1, 1):
        return {"maximum": values.reshape(first.shape[:2]).cpu().clone(), "facts": facts}
    cells = values.flatten(2)
    mean, (maximum, place) = cells.mean(dim=2), _highest(cells)
    smallest = next(
        kind for kind in (torch.int8, torch.int16, torch.int32) if cells.shape[2] <= torch.iinfo(kind).max
    )
    return {"mean": mean.cpu(), "maximum": maximum.cpu(), "place": place.to(smallest).cpu(), "facts": facts}


def _highest(cells: Tensor) -> tuple[Tensor, Tensor]:
    """Maxima `(N, C)` of `(N, C, cells)` and the first place of each; a NaN counts as the highest."""
    if cells.device.type != "cpu":
        maximum, place = cells.max(dim=2)
        return maximum, place
    place = torch.from_numpy(
        cells.numpy().argmax(axis=2)
    )  # three to eight times as quick as PyTorch's on a CPU
    return cells.gather(2, place[..., None])[..., 0], place
