"""The folded network once more, for nothing but forward passes on a CPU: 1.2 to 2.8 times as quick, by architecture.

PyTorch hands every convolution to oneDNN, which rearranges its weights, input and output each time. Here weights are
rearranged once and maps stay in oneDNN's own layout from one convolution to the next, and a convolution whose output
has one pixel is what it then amounts to, a matrix product, which oneDNN's convolutions are slow at. The network still
runs its own Python code, so its branches and any number of images are as before. A network that does something that
oneDNN's tensors can't, or that answers otherwise than before, is run as it was.
"""

from __future__ import annotations

import copy
import itertools
import threading
import weakref
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from xai.folding import equal_logits

_TOLERANCE = 1e-4
_ONE_DNN = (nn.ReLU, nn.MaxPool2d, nn.Identity, nn.Dropout)
"""Modules that take and give oneDNN's tensors; all others are given ordinary ones."""


@dataclass(frozen=True)
class _Packed:
    """A network for images of one height and width."""

    size: tuple[int, ...]
    network: nn.Module


_CACHE: weakref.WeakKeyDictionary[nn.Module, _Packed] = weakref.WeakKeyDictionary()
_CACHE_LOCK = threading.Lock()
_UNPACKED = nn.Identity()
"""Stands for a network that stays as it was: a value that is its own key would never be let go."""


def logits(network: nn.Module, images: Tensor) -> Tensor:
    """The network's logits `(N, K)` of images `(N, 3, H, W)`, by its packed form where that can do it; see `packed`."""
    quick = packed(network, images)
    if quick is not network:
        try:
            return quick(images)
        except Exception:  # a branch not taken before, with something that oneDNN's tensors can't
            _keep(network, images, _UNPACKED)
    return network(images.contiguous(memory_format=torch.channels_last))


def packed(network: nn.Module, images: Tensor) -> nn.Module:
    """A network with the same logits for images `(N, 3, H, W)` of this size, or `network` itself where there is none.

    Made once for the size that was asked for last. `network` is a folded one, whose weights don't change, and
    `images` are float32 on its device; hold the model's lock. What is given is for `inference_mode` alone.
    """
    if images.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return network
    size = tuple(images.shape[1:])
    with _CACHE_LOCK:
        cached = _CACHE.get(network)
    if cached is None or cached.size != size:
        cached = _keep(network, images, _pack(network, images.shape))
    return network if cached.network is _UNPACKED else cached.network


def _keep(network: nn.Module, images: Tensor, made: nn.Module) -> _Packed:
    with _CACHE_LOCK:
        _CACHE[network] = _Packed(tuple(images.shape[1:]), made)
        return _CACHE[network]


@torch.inference_mode()
def _pack(network: nn.Module, shape: torch.Size) -> nn.Module:
    image = torch.rand(3, *shape[1:], generator=torch.Generator().manual_seed(0))
    try:
        made = _sharing_copy(network)
        shapes = _shapes(made, image)
        for name, module in list(made.named_modules()):
            if type(module) is nn.Conv2d and module in shapes:
                made.set_submodule(name, _replacement(module, *shapes[module], batch=shape[0]))
            elif isinstance(module, nn.ReLU):
                module.inplace = True
            elif not isinstance(module, _ONE_DNN) and not list(module.children()):
                module.register_forward_pre_hook(_dense_inputs)
        same = equal_logits(made(image), network(image), _TOLERANCE)
    except (
        Exception
    ):  # a network may be anybody's, and what it does with another kind of tensor may raise anything
        same = False
    return made if same else _UNPACKED


def _sharing_copy(network: nn.Module) -> nn.Module:
    """A copy of the modules that has the very same weights."""
    tensors = itertools.chain(network.parameters(), network.buffers())
    return copy.deepcopy(network, {id(tensor): tensor for tensor in tensors})


def _shapes(network: nn.Module, images: Tensor) -> dict[nn.Module, tuple[torch.Size, torch.Size]]:
    """Shapes of what goes into and comes out of every convolution that is called once."""
    calls: dict[nn.Module, list[tuple[torch.Size, torch.Size]]] = {}

    def note(module: nn.Module, taken: tuple[Tensor], given: Tensor) -> None:
        calls.setdefault(module, []).append((taken[0].shape, given.shape))

    convolutions = [module for module in network.modules() if type(module) is nn.Conv2d]
    handles = [module.register_forward_hook(note) for module in convolutions]
    network(images)
    for handle in handles:
        handle.remove()
    return {module: shapes[0] for module, shapes in calls.items() if len(shapes) == 1}


def _dense_inputs(_module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(_dense(value) for value in inputs)


def _dense(value: Any) -> Any:
    return value.to_dense() if isinstance(value, Tensor) and value.is_mkldnn else value


def _replacement(convolution: nn.Conv2d, taken: torch.Size, given: torch.Size, batch: int) -> nn.Module:
    if convolution.padding_mode != "zeros" or isinstance(convolution.padding, str):
        convolution.register_forward_pre_hook(_dense_inputs)
        return convolution
    if given[2:].numel() == 1 and convolution.groups == 1:
        return _Product(convolution, taken)
    return _Convolution(convolution, (batch, *taken[1:]))


class _Convolution(nn.Module):
    """A convolution with its weights in the layout that oneDNN likes for inputs of this shape; others work too."""

    def __init__(self, convolution: nn.Conv2d, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.settings: Any = (
            convolution.stride,
            convolution.padding,
            convolution.dilation,
            convolution.groups,
        )
        weight = convolution.weight.contiguous().to_mkldnn()
        stride, padding, dilation, groups = self.settings
        self.weight = torch.ops.aten.mkldnn_reorder_conv2d_weight(
            weight, padding, stride, dilation, groups, shape
        )
        self.bias = None if convolution.bias is None else convolution.bias.to_mkldnn()

    def forward(self, maps: Tensor) -> Tensor:
        """Maps `(N, C, H, W)` to such maps in oneDNN's layout."""
        maps = maps if maps.is_mkldnn else maps.contiguous().to_mkldnn()
        return functional.conv2d(maps, self.weight, self.bias, *self.settings)


class _Product(nn.Module):
    """A convolution that gives one pixel: the part of its kernel that lies on the input, times that input."""

    def __init__(self, convolution: nn.Conv2d, shape: torch.Size) -> None:
        super().__init__()
        (tap_rows, self.rows), (tap_columns, self.columns) = (
            _overlap(
                shape[2 + axis],
                convolution.kernel_size[axis],
                int(convolution.padding[axis]),
                convolution.dilation[axis],
            )
            for axis in (0, 1)
        )
        self.weight = convolution.weight[:, :, tap_rows, tap_columns].flatten(1)
        self.bias = convolution.bias

    def forward(self, maps: Tensor) -> Tensor:
        """Maps `(N, C, H, W)` to `(N, K, 1, 1)`."""
        seen = _dense(maps)[:, :, self.rows, self.columns]
        return functional.linear(seen.flatten(1), self.weight, self.bias)[:, :, None, None]


def _overlap(size: int, kernel: int, padding: int, dilation: int) -> tuple[slice, slice]:
    """Which taps of a kernel at its first place lie on an input of `size` pixels, and on which of them."""
    taps = [tap for tap in range(kernel) if 0 <= tap * dilation - padding < size]
    first, last = taps[0], taps[-1]
    return slice(first, last + 1), slice(first * dilation - padding, last * dilation - padding + 1, dilation)
