"""Which elements of an operation's inputs one element of its output depends on, axis by axis, by kind of operation.

The operations are the nodes of PyTorch's autograd graph, which hold their own strides, paddings and dimensions. What
an output depends on is kept as one set of indices per axis (`Sets`), for many output cells at once: a step takes the
sets of an output and gives those of each input. Operations that work along their axes independently, as convolution,
pooling and interpolation do, are exact in this form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

Shape = tuple[int, ...]
Sets = tuple[np.ndarray, ...]
"""For each axis of a tensor a bool `(cells, size)`: which indices each cell depends on; all empty for none."""
Step = Callable[[Any, dict[int, Sets], Sequence[Shape]], list[Sets]]
"""`step(node, outputs, shapes)`: sets of the outputs by number and shapes of the inputs -> sets of the inputs."""

STEPS: dict[str, Step] = {}
_NAME = re.compile(r"(.+)Backward\d+")
_SIGN = 2**63


def step(*names: str) -> Callable[[Step], Step]:
    """Decorator that adds the step of the operations with these names; raises `ValueError` when one is taken."""

    def add(compute: Step) -> Step:
        for name in names:
            if name in STEPS:
                raise ValueError(f"the step {name!r} is registered twice.")
            STEPS[name] = compute
        return compute

    return add


def kind(node: Any) -> str:
    """The name of a node's operation, such as `Convolution`; empty for one that somebody wrote himself."""
    found = _NAME.fullmatch(type(node).__name__)
    return found[1] if found else ""


def alive(sets: Sets) -> np.ndarray:
    """Which cells depend on anything, bool `(cells, 1)`."""
    return np.asarray(sets[0].any(axis=1))[:, None]


def full(like: Sets, shape: Shape) -> Sets:
    """Every index of a tensor of that shape, for the cells of `like` that depend on anything."""
    some = alive(like)
    return tuple(np.broadcast_to(some, (len(some), size)) for size in shape)


def tidy(sets: Sets) -> Sets:
    """The sets, with all axes empty where one is: such a cell depends on nothing."""
    some = np.logical_and.reduce([axis.any(axis=1) for axis in sets])
    return sets if some.all() else tuple(axis & some[:, None] for axis in sets)


def union(one: Sets, other: Sets) -> Sets:
    """What depends on either."""
    return tuple(a | b for a, b in zip(one, other, strict=True))


def same_cells(one: Sets, other: Sets) -> bool:
    """Whether the same cells depend on anything in both, or none at all in one."""
    first, second = alive(one), alive(other)
    return bool((first == second).all()) or not first.any() or not second.any()


def through(axis: np.ndarray, relation: np.ndarray) -> np.ndarray:
    """Indices `(cells, inputs)` that those of `axis` `(cells, outputs)` depend on by a bool `(outputs, inputs)`."""
    counts: np.ndarray = axis.astype(np.float32) @ relation.astype(np.float32)
    return counts > 0


def windows(outputs: int, inputs: int, kernel: int, stride: int, padding: int, dilation: int) -> np.ndarray:
    """The relation of a window that slides along an axis; what it sees of the padding is left out."""
    seen: np.ndarray = np.arange(outputs)[:, None] * stride - padding + np.arange(kernel) * dilation
    return (seen[:, :, None] == np.arange(inputs)).any(axis=1)


def adaptive(outputs: int, inputs: int) -> np.ndarray:
    """The relation of adaptive pooling: from `floor(i * n / m)` to below `ceil((i + 1) * n / m)`."""
    place, found = np.arange(inputs), np.arange(outputs)[:, None]
    return (place >= found * inputs // outputs) & (place < -(-(found + 1) * inputs // outputs))


def signed(number: int) -> int:
    """The axis or index that a node holds: negative ones are saved as huge numbers."""
    return number - 2 * _SIGN if number >= _SIGN else number


def _axes(value: Any, count: int) -> list[int]:
    given = value if isinstance(value, Sequence) else [value]
    return sorted(signed(number) % count for number in given) or list(range(count))


def _last(sets: Sets, relations: Sequence[np.ndarray]) -> Sets:
    """The relations of the last axes; the axis before them, that of the channels, is mixed by whoever calls."""
    start = len(sets) - len(relations)
    moved = (through(axis, each) for axis, each in zip(sets[start:], relations, strict=True))
    return (*sets[:start], *moved)


_ELEMENTWISE = """
Add Sub Rsub Mul Div Relu Sigmoid Silu Gelu Tanh Hardswish Hardsigmoid Hardtanh LeakyRelu Elu Softplus Mish Abs Neg Pow
Exp Log Log1P Sqrt Rsqrt Reciprocal Clamp ClampMin ClampMax Where Maximum Minimum Lerp Addcmul Addcdiv Clone ToCopy
Expand Alias NativeDropout Threshold LogSigmoid Erf PreluKernel Sin Cos MaskedFill Atan
"""


@step(*_ELEMENTWISE.split())
def _each(_node: Any, outputs: dict[int, Sets], shapes: Sequence[Shape]) -> list[Sets]:
    return [_broadcast(outputs[0], shape) for shape in shapes]


def _broadcast(sets: Sets, shape: Shape) -> Sets:
    kept, whole = sets[len(sets) - len(shape) :], full(sets, shape)
    return tuple(
        axis if axis.shape[1] == size else every for axis, size, every in zip(kept, shape, whole, strict=True)
    )


@step("NativeBatchNorm", "CudnnBatchNorm", "MiopenBatchNorm")
def _batch_norm(node: Any, outputs: dict[int, Sets], shapes: Sequence[Shape]) -> list[Sets]:
    mixed = [axis for axis in range(len(shapes[0])) if axis != 1] if node._saved_training else []
    return [_mixed(outputs[0], mixed), *(full(outputs[0], shape) for shape in shapes[1:])]


@step("NativeLayerNorm", "NativeGroupNorm")
def _norm(node: Any, outputs: dict[int, Sets], shapes: Sequence[Shape]) -> list[Sets]:
    count = len(shapes[0])
    inner = len(node._saved_normalized_shape) if hasattr(node, "_saved_normalized_shape") else count - 1
    mixed = _mixed(outputs[0], range(count - inner, count))
    return [mixed, *(full(outputs[0], shape) for shape in shapes[1:])]


def _mixed(sets: Sets, axes: Sequence[int]) -> Sets:
    """Everything along some axes."""
    whole = full(sets, tuple(axis.shape[1] for axis in sets))
    return tuple(whole[place] if place in axes else axis for place, axis in enumerate(sets))


@step("Softmax", "SafeSoftmax", "LogSoftmax", "Topk", "Sort", "Cumsum")
def _along(node: Any, outputs: dict[int, Sets], shapes: Sequence[Shape]) -> list[Sets]:
    (place,) = _axes(node._saved_dim, len(shapes[0]))
    sets, size = outputs[0], shapes[0][place]
    return [(*sets[:place], full(sets, (size,))[0], *sets[place + 1 :])]


@step("Mean", "Sum", "Amax", "Amin", "Max", "Min", "Var", "Std", "Logsumexp", "Prod", "LinalgVectorNorm")
def _reduced(node: Any, outputs: dict[int, Sets], shapes: Sequence[Shape]) -> list[Sets]:
    sets, shape = outputs[0], shapes[0]
    if getattr(node, "_saved_dim", None) is None or not hasattr(node, "_saved_keepdim"):
        return [full(sets, shape)]
    gone, whole, kept = _axes(node._saved_dim, len(shape)), full(sets, shape), list(sets)
    if not node._saved_keepdim:
        for place in gone:
            kept.insert(place, whole[place])
    return [tuple(whole[place] if place in gone else axis for place, axis in enumerate(kept))]


@step("Convolution", "CudnnConvolution", "MkldnnConvolution")
def _convolution(node: Any, outputs: dict[int, Sets], shapes: Sequence[Shape]) -> list[Sets]:
    sets, kernel = outputs[0], tuple(node._saved_weight.shape[2:])
    relations = [
        _slid(axis.shape[1], size, k, s, p, d, transposed=getattr(node, "_saved_transposed", False))
        for axis, size, k, s, p, d in zip(
            sets[2:],
            shapes[0][2:],
            kernel,
            node._saved_stride,
            node._saved_padding,
            node._saved_dilation,
            strict=True,
        )
    ]
    moved = _last(sets, relations)
    inputs = tidy((moved[0], full(moved, (shapes[0][1],))[0], *moved[2:]))
    return [inputs, *(full(sets, shape) for shape in shapes[1:])]


def _slid(
    outputs: int, inputs: int, kernel: int, stride: int, padding: int, dilation: int, *, transposed: bool
) -> np.ndarray:
    if transposed:
        return windows(inputs, outputs, kernel, stride, padding, dilation).T
    return windows(outputs, inputs, kernel, stride, padding, dilation)


@step("MaxPool2DWithIndices", "AvgPool2D", "AvgPool3D", "MaxPool3DWithIndices")
def _pool(node: Any, outputs: dict[int, Sets], shapes: Sequence[Shape]) -> list[Sets]:
    kernel = tuple(node._saved_kernel_size)
    stride, padding = tuple(node._saved_stride) or kernel, tuple(node._saved_padding)
    dilation = tuple(getattr(node, "_saved_dilation", ())) or (1,) * len(kernel)
    sets, start = outputs[0], len(shapes[0]) - len(kernel)
    relations = [
        windows(sets[start + i].shape[1], shapes[0][start + i], kernel[i], stride[i], padding[i], dilation[i])
        for i in range(len(kernel))
    ]
    return [_last(sets, relations)]


@step("AdaptiveAvgPool2D", "AdaptiveMaxPool2D")
def _adaptive_pool(_node: Any, outputs: dict[int, Sets], shapes: Sequence[Shape]) -> list[Sets]:
    sets = outputs[0]
    relations = [adaptive(sets[place].shape[1], shapes[0][place]) for place in (-2, -1)]
    return [_last(sets, relations)]


_UPSAMPLING = {
    "UpsampleNearest2D": "upsample_nearest2d",
    "UpsampleNearestExact2D": "_upsample_nearest_exact2d",
    "UpsampleBilinear2D": "upsample_bilinear2d",
    "UpsampleBicubic2D": "upsample_bicubic2d",
}


@step(*_UPSAMPLING)
def _upsampled(node: Any, outputs: dict[int, Sets], shapes: Sequence[Shape]) -> list[Sets]:
    """The relation is what the operation itself makes of each single index."""
    operation = getattr(torch.ops.aten, _UPSAMPLING[kind(node)])
    align = (node._saved_align_corners,) if hasattr(node, "_saved_align_corners") else ()
    sets, scales = outputs[0], (node._saved_scales_h, node._saved_scales_w)
    relations = []
    for place, scale in zip((-2, -1), scales, strict=True):
        single = torch.eye(shapes[0][place], dtype=torch.float64)[None, :, :, None]
        made = operation(single, [sets[place].shape[1], 1], *align, scale, None)
        relations.append((made[0, :, :, 0] != 0).numpy().T)
    return [_last(sets, relations)]


@step("ConstantPadNd", "ReplicationPad2D", "ReflectionPad2D")
def _padded(node: Any, outputs: dict[int, Sets], shapes: Sequence[Shape]) -> list[Sets]:
    pads = list(getattr(node, "_saved_pad", None) or node._saved_padding)
    relations = []
    for place, (before, after) in enumerate(zip(pads[::2], pads[1::2], strict=True)):
        size = shapes[0][-1 - place]
        relations.append(_border(kind(node), size, before, after))
    return [tidy(_last(outputs[0], relations[::-1]))]


def _border(name: str, size: int, before: int, after: int) -> np.ndarray:
    source = np.arange(-before, size + after)
    if name == "ReplicationPad2D":
        source = source.clip(0, size - 1)
    elif name == "ReflectionPad2D":
        source = size - 1 - np.abs(size - 1 - np.abs(source))
    return source[:, None] == np.arange(size)


@step("Addmm", "Mm", "Bmm")
def _product(node: Any, outputs: dict[int, Sets], shapes: Sequence[Shape]) -> list[Sets]:
    """Matrices `(..., n, k)` and `(..., k, m)`: rows come from the one, columns from the other."""
    sets, added = outputs[0], [_broadcast(outputs[0], shapes[0])] if kind(node) == "Addmm" else []
    left, right = shapes[-2], shapes[-1]
    inner = full(sets, (1,))[0]
    rows = (*sets[:-1], np.broadcast_to(inner, (len(inner), left[-1])) if left else inner)
    columns = (*sets[:-2], np.broadcast_to(inner, (len(inner), right[-2])), sets[-1]) if right else rows
    return [*added, rows, columns]
