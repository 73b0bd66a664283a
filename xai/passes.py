"""What every pass of a dataset through a network has in common: its condition, its batches and its refusals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from data.datasets import ImageSource
from models.layers import InputSizeError
from models.registry import Model
from xai.attribution_types import ExplanationError
from xai.evaluation import degraded_batch, forward_batch_size
from xai.evaluation_grid import CLEAN, Cell, degraded
from xai.hooks import TapError, find_layer
from xai.layer_calls import call_note as call_note  # used as `passes.call_note`
from xai.layer_calls import first_tensor, split_call
from xai.taps import too_small


def cell_of(
    model: Model, data: ImageSource, degradation: str, scale: str, severity: float, seed: int
) -> Cell:
    """The cell of a pass; the degradation "none" is the clean images. Raises `ValueError` for one that can't be."""
    blank = Cell(data.name, data.split, model.name, model.card.sha256, CLEAN, "", 0.0, 0, 0)
    name = CLEAN if degradation in ("none", CLEAN) else degradation
    return degraded(blank, name, scale, severity, seed)


def check_pass(model: Model, data: ImageSource, layers: Sequence[str]) -> None:
    """Raise `ExplanationError` unless there are images and layers, and the network has all of these."""
    if not len(data) or not layers:
        raise ExplanationError(
            f"{len(data)} images and {len(layers)} layers were given; needed is one of each."
        )
    for layer in layers:
        try:
            find_layer(model.network, split_call(layer)[0])
        except TapError as error:
            raise ExplanationError(f"{model.name}: {error}.") from error


def batches(
    model: Model, data: ImageSource, cell: Cell, rows: slice, tell: Callable[[int], None]
) -> Iterator[Tensor]:
    """The images of rows as the cell's network sees them, in batches on its device; `tell` hears where each starts."""
    size = forward_batch_size(data.pixels(slice(0)), model.device)
    for start in range(rows.start, rows.stop, size):
        tell(start)
        yield degraded_batch(data, cell, slice(start, min(start + size, rows.stop)), model.device)


@contextmanager
def refusals(model: Model, images: Tensor) -> Iterator[None]:
    """Say it in one sentence, as an `ExplanationError`, when the network can't take images of this size."""
    try:
        yield
    except InputSizeError as error:
        raise ExplanationError(f"{model.name}: {error}") from error
    except RuntimeError as error:
        if "memory" in str(error):
            raise
        raise too_small(model, *images.shape[-2:]) from error


def check_call(model: Model, layer: str, calls: int) -> None:
    """Raise `ExplanationError` when a layer that ran `calls` times did not run as often as its name asks for."""
    name, call = split_call(layer)
    if call > calls:
        given = f"runs {calls} times" if calls else "is not run"
        raise ExplanationError(f"{name} {given} by {model.name}; there is no call {call}.")


def check_rows(model: Model, layer: str, maps: int, count: int) -> None:
    """Raise `ExplanationError` unless a layer gave one row for each of `count` images."""
    if maps != count:
        raise ExplanationError(
            f"{layer} of {model.name} gives {maps} feature maps for {count} images, not one each."
        )


def maps_or_vectors(layer: str, output: Any) -> Tensor:
    """What a layer gave, `(N, C, h, w)` or `(N, C)`; of several tensors, the first. Raises `ExplanationError`."""
    first = first_tensor(output)
    if first is None or first.ndim not in (2, 4):
        given = f"a tensor of shape {tuple(first.shape)}" if first is not None else type(output).__name__
        raise ExplanationError(
            f"the output of {layer} is {given}; allowed are feature maps (N, C, h, w) and vectors (N, C)."
        )
    return first.detach()
