"""Steps of the operations that move axes about, split and join them: reshaping, permuting, slicing, stacking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xai.receptive_steps import Sets, Shape, alive, full, signed, step, through, tidy, union, windows


@step("View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "Unflatten")
def _reshaped(_node: Any, outputs: dict[int, Sets], shapes: Sequence[Shape]) -> list[Sets]:
    sets, shape = outputs[0], shapes[0]
    found: list[np.ndarray] = []
    for here, there in _groups(tuple(axis.shape[1] for axis in sets), shape):
        sizes = shape[there.start : there.stop]
        found += _regrouped(sets, sets[here.start : here.stop], sizes)
    return [tidy(tuple(found))]


def _groups(one: Shape, other: Shape) -> list[tuple[range, range]]:
    """Runs of axes of two shapes that hold the same elements, as short as they can be."""
    groups, start, stop = [], [0, 0], [0, 0]
    shapes, sizes = (one, other), [1, 1]
    while stop[0] < len(one) or stop[1] < len(other):
        less = 0 if stop[1] >= len(other) or (stop[0] < len(one) and sizes[0] <= sizes[1]) else 1
        sizes[less] *= shapes[less][stop[less]]
        stop[less] += 1
        if sizes[0] == sizes[1] and stop[0] > start[0] and stop[1] > start[1]:
            groups.append((range(start[0], stop[0]), range(start[1], stop[1])))
            start, sizes = list(stop), [1, 1]
    if start != stop:  # axes of size 1 at the end
        groups.append((range(start[0], stop[0]), range(start[1], stop[1])))
    return groups


def _regrouped(sets: Sets, group: Sets, sizes: Shape) -> list[np.ndarray]:
    """The sets of axes of these sizes that hold the same elements in the same order as those of `group`."""
    if tuple(axis.shape[1] for axis in group) == sizes:
        return list(group)
    if not group:
        return list(full(sets, sizes))
    whole = full(sets, tuple(axis.shape[1] for axis in group))
    if all((axis == every).all() for axis, every in zip(group, whole, strict=True)):
        return list(full(sets, sizes))
    cells = len(group[0])
    flat = group[0]
    for axis in group[1:]:
        flat = (flat[:, :, None] & axis[:, None, :]).reshape(cells, -1)
    grid = flat.reshape(cells, *sizes)
    others = [tuple(i + 1 for i in range(len(sizes)) if i != place) for place in range(len(sizes))]
    return [np.asarray(grid.any(axis=rest)) for rest in others]


@step("Permute")
def _permuted(node: Any, outputs: dict[int, Sets], _shapes: Sequence[Shape]) -> list[Sets]:
    places = [signed(number) % len(outputs[0]) for number in node._saved_dims]
    return [tuple(outputs[0][places.index(place)] for place in range(len(places)))]


@step("Transpose", "T")
def _swapped(node: Any, outputs: dict[int, Sets], _shapes: Sequence[Shape]) -> list[Sets]:
    sets = list(outputs[0])
    pair = (getattr(node, "_saved_dim0", 0), getattr(node, "_saved_dim1", len(sets) - 1))
    one, other = (signed(number) % len(sets) for number in pair)
    sets[one], sets[other] = sets[other], sets[one]
    return [tuple(sets)]


@step("Unfold")
def _unfolded(node: Any, outputs: dict[int, Sets], shapes: Sequence[Shape]) -> list[Sets]:
    """Windows along an axis, whose places within a window are the last axis."""
    sets, place = outputs[0], signed(node._saved_dimension) % len(shapes[0])
    starts, inside = sets[place], sets[-1]
    found = np.zeros((len(starts), shapes[0][place]), dtype=bool)
    for offset in range(node._saved_size):
        relation = windows(starts.shape[1], found.shape[1], 1, node._saved_step, -offset, 1)
        found |= through(starts & inside[:, offset, None], relation)
    return [tidy((*sets[:place], found, *sets[place + 1 : -1]))]


@step("Cat")
def _joined(node: Any, outputs: dict[int, Sets], shapes: Sequence[Shape]) -> list[Sets]:
    sets, found, start = outputs[0], list[Sets](), 0
    place = signed(node._saved_dim) % len(sets)
    known = sum(shape[place] for shape in shapes if shape)
    constant = sets[place].shape[1] - known  # what has no gradient does not tell its shape
    if shapes.count(()) > 1:
        raise ValueError("which part of what is joined comes from where is not known.")
    for shape in shapes:
        stop = start + (shape[place] if shape else constant)
        found.append(tidy((*sets[:place], sets[place][:, start:stop], *sets[place + 1 :])))
        start = stop
    return found


@step("Stack")
def _stacked(node: Any, outputs: dict[int, Sets], shapes: Sequence[Shape]) -> list[Sets]:
    sets = outputs[0]
    place = signed(node._saved_dim) % len(sets)
    rest = (*sets[:place], *sets[place + 1 :])
    return [tuple(axis & sets[place][:, number, None] for axis in rest) for number in range(len(shapes))]


@step("Unbind")
def _unbound(node: Any, outputs: dict[int, Sets], shapes: Sequence[Shape]) -> list[Sets]:
    place = signed(node._saved_dim) % len(shapes[0])
    parts = [_inserted(sets, place, [number], shapes[0][place]) for number, sets in outputs.items()]
    return [_united(parts)]


@step("Select")
def _selected(node: Any, outputs: dict[int, Sets], shapes: Sequence[Shape]) -> list[Sets]:
    place = signed(node._saved_dim) % len(shapes[0])
    size = shapes[0][place]
    return [_inserted(outputs[0], place, [signed(node._saved_index) % size], size)]


def _inserted(sets: Sets, place: int, numbers: Sequence[int], size: int) -> Sets:
    """The sets with an axis put in that holds some indices only."""
    axis = np.zeros((len(sets[0]), size), dtype=bool)
    axis[:, list(numbers)] = alive(sets)
    return (*sets[:place], axis, *sets[place:])


def _united(parts: Sequence[Sets]) -> Sets:
    found = parts[0]
    for part in parts[1:]:
        found = union(found, part)
    return found


@step("Slice")
def _sliced(node: Any, outputs: dict[int, Sets], shapes: Sequence[Shape]) -> list[Sets]:
    sets, place = outputs[0], signed(node._saved_dim) % len(shapes[0])
    size = shapes[0][place]
    start = signed(node._saved_start or 0)
    start = max(0, start + size if start < 0 else start)
    relation = windows(sets[place].shape[1], size, 1, node._saved_step, -start, 1)
    return [(*sets[:place], through(sets[place], relation), *sets[place + 1 :])]


@step("Split", "SplitWithSizes")
def _split(node: Any, outputs: dict[int, Sets], shapes: Sequence[Shape]) -> list[Sets]:
    place = signed(node._saved_dim) % len(shapes[0])
    size, parts = shapes[0][place], []
    for number, sets in outputs.items():
        if hasattr(node, "_saved_split_sizes"):
            start = sum(node._saved_split_sizes[:number])
        else:
            start = number * node._saved_split_size
        relation = windows(sets[place].shape[1], size, 1, 1, -start, 1)
        parts.append((*sets[:place], through(sets[place], relation), *sets[place + 1 :]))
    return [_united(parts)]
