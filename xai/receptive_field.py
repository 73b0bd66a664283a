"""Which pixels of the image a cell of a layer looks at, worked out from the network's own operations.

The network runs once without numbers (on PyTorch's meta device); the autograd graph of that run is then walked from
the layer back to the image, and every operation says which of its inputs each output depends on (`receptive_steps`).
Nothing is measured, so neither weights nor a choice of images matter: a box holds whatever can change the cell.
"""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.layers import InputSizeError, meta_copy
from xai import receptive_shapes, receptive_steps
from xai.attribution_types import ExplanationError
from xai.hooks import TapError, frozen, listening
from xai.layer_calls import first_tensor, split_call
from xai.receptive_steps import STEPS, Sets, Shape, alive, full, kind, same_cells, tidy, union

MODULES = (receptive_steps, receptive_shapes)
"""Where the steps of operations are registered."""


@dataclass(frozen=True)
class Box:
    """Rows `top` to below `bottom` and columns `left` to below `right` of an image, in px.

    `exact` is False where the box may be larger than what it stands for: an operation of the network is not known
    here, and the whole image is taken for it, or paths join of which one is padding for some cells.
    """

    top: int
    left: int
    bottom: int
    right: int
    exact: bool = True

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in px."""
        return self.bottom - self.top, self.right - self.left

    def share(self, input_size: int | tuple[int, int]) -> float:
        """How much of an image of that size (px) it covers, in [0, 1]."""
        height, width = _sides(input_size)
        return self.size[0] * self.size[1] / (height * width)

    def crop(self, images: Tensor) -> Tensor:
        """That part of images `(..., H, W)`."""
        return images[..., self.top : self.bottom, self.left : self.right]


@dataclass(frozen=True)
class Field:
    """The boxes of all cells of a layer: `rows` int `(h, 2)` and `columns` `(w, 2)`, first and end, in px."""

    rows: np.ndarray
    columns: np.ndarray
    exact: bool

    @property
    def grid(self) -> tuple[int, int]:
        """Cells of the layer, `(h, w)`."""
        return len(self.rows), len(self.columns)

    def box(self, cell: tuple[int, int]) -> Box:
        """The box of a cell `(row, column)`; raises `ExplanationError` for one outside the grid."""
        if not all(0 <= place < size for place, size in zip(cell, self.grid, strict=True)):
            raise ExplanationError(
                f"the cell is {cell}; allowed are (0, 0) to ({self.grid[0] - 1}, {self.grid[1] - 1})."
            )
        (top, bottom), (left, right) = self.rows[cell[0]].tolist(), self.columns[cell[1]].tolist()
        empty = top >= bottom or left >= right
        return Box(0, 0, 0, 0, self.exact) if empty else Box(top, left, bottom, right, self.exact)


_Key = tuple[str, tuple[int, int]]
_FIELDS: weakref.WeakKeyDictionary[nn.Module, dict[_Key, Field]] = weakref.WeakKeyDictionary()
_FIELDS_LOCK = threading.Lock()


def receptive_field(
    network: nn.Module, layer: str, cell: tuple[int, int], input_size: int | tuple[int, int], *, call: int = 0
) -> Box:
    """The part of an image that can change a layer's cell `(row, column)`, clipped to the image.

    `input_size` is the image's side or its height and width, px. `call` counts from 0 the times that the layer runs
    in one forward pass; `"layer#2"` names the second too. A layer that gives no feature map (a vector, tokens) has
    the one cell (0, 0). Boxes are kept for each network, layer and size, so those of many cells cost nothing. Hold
    the model's lock. Raises `ExplanationError` for a layer, call or cell that does not exist and a size that the
    network can't take.
    """
    name = layer if not call else f"{split_call(layer)[0]}#{call + 1}"
    return fields(network, [name], input_size)[name].box(cell)


def fields(network: nn.Module, layers: Sequence[str], input_size: int | tuple[int, int]) -> dict[str, Field]:
    """The boxes of all cells of several layers, from one run of the network; raises as `receptive_field` does."""
    size = _sides(input_size)
    with _FIELDS_LOCK:
        known = _FIELDS.setdefault(network, {})
    missing = [layer for layer in dict.fromkeys(layers) if (layer, size) not in known]
    if missing:
        with torch.inference_mode(False), torch.enable_grad():
            known.update({(layer, size): field for layer, field in _found(network, missing, size).items()})
    return {layer: known[layer, size] for layer in layers}


def _sides(input_size: int | tuple[int, int]) -> tuple[int, int]:
    return (input_size, input_size) if isinstance(input_size, int) else input_size


@dataclass(frozen=True)
class _Tap:
    """Where a layer's output stands in the graph; `node` is None for what has no gradient."""

    node: Any
    number: int
    shape: Shape


def _found(network: nn.Module, layers: Sequence[str], size: tuple[int, int]) -> dict[str, Field]:
    try:
        image, taps = _run_without_numbers(network, layers, size)
    except (InputSizeError, TapError) as error:
        raise ExplanationError(str(error)) from error
    except Exception:  # a network may be anybody's, and look at numbers
        image, taps = _run(network, layers, size)
    missing = [layer for layer in layers if layer not in taps]
    if missing:
        raise ExplanationError(f"the network never runs {missing[0]!r}, or gives no tensor there.")
    return {layer: _field(taps[layer], image) for layer in layers}


def _run_without_numbers(
    network: nn.Module, layers: Sequence[str], size: tuple[int, int]
) -> tuple[Tensor, dict[str, _Tap]]:
    copy = meta_copy(network).eval().requires_grad_(False)
    image = torch.zeros(1, 3, *size, device="meta", requires_grad=True)
    with _seen(copy, layers) as taps:
        copy(image)
    return image, taps


def _run(network: nn.Module, layers: Sequence[str], size: tuple[int, int]) -> tuple[Tensor, dict[str, _Tap]]:
    device = next((weight.device for weight in network.parameters()), torch.device("cpu"))
    image = torch.zeros(1, 3, *size, device=device, requires_grad=True)
    try:
        with frozen(network), _seen(network, layers) as taps:
            network(image)
    except RuntimeError as error:
        raise ExplanationError(f"the network can't take an image of {size[1]} x {size[0]} px.") from error
    return image, taps


@contextmanager
def _seen(network: nn.Module, layers: Sequence[str]) -> Iterator[dict[str, _Tap]]:
    """Note where the outputs of layers stand in the graph, at each call that is asked for."""
    taps: dict[str, _Tap] = {}
    calls: Counter[str] = Counter()
    wanted = {layer: split_call(layer) for layer in layers}

    def hear(name: str, _module: nn.Module, _inputs: Any, output: Any) -> None:
        calls[name] += 1
        tensor = first_tensor(output)
        for layer, call in wanted.items():
            if tensor is not None and call == (name, calls[name]):
                taps[layer] = _tap(tensor)

    with listening(network, {name for name, _ in wanted.values()}, hear):
        yield taps


def _tap(output: Tensor) -> _Tap:
    node = output.grad_fn
    if node is None and output.requires_grad:  # the image itself
        node = torch.autograd.graph.get_gradient_edge(output).node
    return _Tap(node, output.output_nr, tuple(output.shape))


def _field(tap: _Tap, image: Tensor) -> Field:
    grid = tap.shape[2:] if len(tap.shape) == 4 else (1, 1)
    sizes = tuple(image.shape[2:])
    found, exact = [], True
    for axis in (0, 1):
        everything = np.ones((grid[axis], sizes[axis]), dtype=bool)
        reached, known = _walk(tap, _seeds(tap.shape, grid[axis], axis)) if tap.node else (None, False)
        if reached is None:
            reached = (
                tuple(np.zeros((grid[axis], size), dtype=bool) for size in image.shape) if tap.node else None
            )
        found.append(_ends(everything if reached is None else reached[2 + axis]))
        exact = exact and known
    return Field(found[0], found[1], exact)


def _seeds(shape: Shape, cells: int, axis: int) -> Sets:
    """Each cell of one axis depends on itself there, and may on anything along the other axes."""
    sets = [np.ones((cells, size), dtype=bool) for size in shape]
    if len(shape) == 4:
        sets[2 + axis] = np.eye(cells, dtype=bool)
    return tuple(sets)


def _ends(reached: np.ndarray) -> np.ndarray:
    """First and end `(cells, 2)` of what each cell depends on, `(0, 0)` for nothing."""
    size, some = reached.shape[1], reached.any(axis=1)
    first, end = reached.argmax(axis=1), size - reached[:, ::-1].argmax(axis=1)
    return np.stack([np.where(some, first, 0), np.where(some, end, 0)], axis=1)


def _walk(tap: _Tap, seeds: Sets) -> tuple[Sets | None, bool]:
    """What cells depend on in the image, None for nothing, and whether that is exact.

    Rows and columns are walked apart, so of paths that join all must be there for a cell, or none.
    """
    waiting: dict[Any, dict[int, Sets]] = {tap.node: {tap.number: seeds}}
    image, exact = None, True
    for node in _ordered(tap.node):
        outputs = waiting.pop(node)
        if hasattr(node, "variable"):
            image = outputs[0]
            continue
        inputs, known = _inputs(node, outputs)
        exact = exact and known
        for (source, number), sets in zip(node.next_functions, inputs, strict=True):
            if source is not None:
                kept = waiting.setdefault(source, {})
                exact = exact and (number not in kept or same_cells(kept[number], sets))
                kept[number] = union(kept[number], sets) if number in kept else sets
    return image, exact


def _inputs(node: Any, outputs: dict[int, Sets]) -> tuple[list[Sets], bool]:
    """Sets of a node's inputs, and whether they are known; all of each where not."""
    shapes = [_shape(source, number) for source, number in node.next_functions]
    try:
        found = STEPS[kind(node)](node, outputs, shapes)
        return [_checked(sets, shape) for sets, shape in zip(found, shapes, strict=True)], True
    except Exception:  # not known, or known in another form than here
        some = np.logical_or.reduce([alive(sets) for sets in outputs.values()])
        return [full((some,), shape) for shape in shapes], kind(node).startswith(_MIXES)


_MIXES = ("ScaledDotProduct", "LinalgVectorNorm")
"""Operations of which every output depends on every input, by the beginning of their name."""


def _checked(sets: Sets, shape: Shape) -> Sets:
    if shape and tuple(axis.shape[1] for axis in sets) != shape:
        raise ValueError(f"an operation has inputs of {shape}, other than it should.")
    return tidy(sets) if shape else sets


def _shape(node: Any, number: int) -> Shape:
    """The shape of what a node gives; empty for what has no gradient."""
    if node is None:
        return ()
    return tuple(node.variable.shape if hasattr(node, "variable") else node._input_metadata[number].shape)


def _ordered(root: Any) -> list[Any]:
    """All nodes behind `root`, each after all that use it."""
    users: Counter[Any] = Counter()
    pending, seen = [root], {root}
    while pending:
        for source, _ in pending.pop().next_functions:
            if source is not None:
                users[source] += 1
                if source not in seen:
                    seen.add(source)
                    pending.append(source)
    ready, found = [root], []
    while ready:
        found.append(ready.pop())
        for source, _ in found[-1].next_functions:
            if source is not None:
                users[source] -= 1
                if not users[source]:
                    ready.append(source)
    return found
