"""Files of weights as people have them, and as nobody should send them."""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models import registry

State = dict[str, Any]


def small(num_classes: int = 10) -> nn.Sequential:
    """A network that a `--builder` may build: two convolutions, whose one ReLU is called in place and twice."""
    relu = nn.ReLU(inplace=True)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        relu,
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1),
        relu,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, num_classes),
    )


def three() -> nn.Sequential:
    """The same with three classes, which nobody can choose."""
    return small(3)


def not_a_network() -> int:
    """Something else."""
    return 3


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    """A network with random weights and batch statistics, always the same ones, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = make()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
                module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
    return network.eval()


def resnet10t(num_classes: int = 7) -> nn.Module:
    """timm's smallest ResNet, as timm itself builds it."""
    import timm

    return seeded(lambda: timm.create_model("resnet10t", num_classes=num_classes))


def ours(name: str = "resnet18_cifar", num_classes: int = 5, **options: Any) -> nn.Module:
    """A narrow network of this project's own."""
    return seeded(lambda: registry.build(name, num_classes, **(options or {"width": 8})))


def prefixed(state: State, prefix: str) -> State:
    """The same weights under longer names."""
    return {prefix + key: value for key, value in state.items()}


def rounded(state: State, kind: torch.dtype) -> State:
    """The same weights in another precision."""
    return {key: value.to(kind) if value.is_floating_point() else value for key, value in state.items()}


def without_counters(state: State) -> State:
    """As files of networks from before batch norm counted its steps."""
    return {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}


class Harm:
    """What runs when a pickle is loaded without care: it would make the file `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (f"open({str(self.path)!r}, 'w').close()",)


def with_pickle(path: Path, pickled: bytes, source: Tensor | None = None) -> Path:
    """A torch archive whose pickle is replaced."""
    torch.save({"a": torch.zeros(4, 4) if source is None else source}, path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, pickled if name.endswith("data.pkl") else content)
    return path


def enlarged(path: Path, numbers: int) -> Path:
    """A torch archive of one weight that says it has far more numbers than the archive."""
    torch.save({"a": torch.zeros(113)}, path)
    with zipfile.ZipFile(path) as archive:
        pickled = next(archive.read(name) for name in archive.namelist() if name.endswith("data.pkl"))
    assert pickled.count(b"K\x71") == 2  # of the storage and of the tensor
    return with_pickle(path, pickled.replace(b"K\x71", b"J" + struct.pack("<i", numbers)), torch.zeros(113))


def allocating(path: Path) -> Path:
    """A torch archive whose pickle asks for a terabyte, with names that torch allows."""
    return with_pickle(path, b"\x80\x02cbuiltins\nbytearray\n" + pickle.dumps((2**40,), 2)[2:-1] + b"R.")


def header(size: int, shape: list[int], end: int) -> bytes:
    """A safetensors file that says one weight has that shape and ends there."""
    text = f'{{"a":{{"dtype":"F32","shape":{shape},"data_offsets":[0,{end}]}}}}'.encode()
    return struct.pack("<Q", size or len(text)) + text
