"""Checkpoints: a safetensors file (int8 per channel, half or full precision) plus a JSON card."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from models.files import sha256, write_by_rename

STORAGE = ("int8", "half", "float32")
SCALE_SUFFIX = ".int8_scale"
_BIG = 1024


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged, tampered with or of another architecture."""


def quantize(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Symmetric int8 per output channel: `weight (C, ...)` -> int8 of the same shape and float32 scales `(C,)`."""
    flat = weight.detach().float().flatten(1)
    scale = flat.abs().amax(dim=1).clamp_min(1e-12) / 127
    levels = (flat / scale[:, None]).round().clamp(-127, 127).to(torch.int8)
    return levels.reshape(weight.shape), scale


def dequantize(levels: Tensor, scale: Tensor) -> Tensor:
    """Inverse of `quantize`, to float32."""
    return levels.float() * scale.view(-1, *[1] * (levels.ndim - 1))


def pack(state: dict[str, Tensor], storage: str) -> dict[str, Tensor]:
    """State dict -> tensors to store; only matrices and filters of more than 1024 numbers are shortened."""
    if storage not in STORAGE:
        raise ValueError(f"storage is {storage!r}; allowed are {', '.join(STORAGE)}.")
    packed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        tensor = tensor.detach().cpu().contiguous()
        if (
            storage == "float32"
            or tensor.ndim < 2
            or tensor.numel() <= _BIG
            or not tensor.is_floating_point()
        ):
            packed[name] = tensor
        elif storage == "half":
            packed[name] = tensor.half()
        else:
            packed[name], packed[name + SCALE_SUFFIX] = quantize(tensor)
    return packed


def unpack(packed: dict[str, Tensor]) -> dict[str, Tensor]:
    """Inverse of `pack`: floating-point tensors come back as float32; `CheckpointError` for a wrong scale."""
    state: dict[str, Tensor] = {}
    for name, tensor in packed.items():
        if name.endswith(SCALE_SUFFIX):
            continue
        scale = packed.get(name + SCALE_SUFFIX)
        if scale is not None:
            if scale.shape != tensor.shape[:1]:  # would be broadcast, to any size
                raise CheckpointError(f"the scale of {name!r} does not have one number per channel.")
            state[name] = dequantize(tensor, scale)
        else:
            state[name] = tensor.float() if tensor.is_floating_point() else tensor
    return state


def save(network: nn.Module, path: Path, storage: str = "int8") -> str:
    """Write the network's weights by rename and return the file's sha256."""
    packed = pack(network.state_dict(), storage)
    write_by_rename(path, lambda temporary: save_file(packed, temporary))
    return sha256(path)


def read(path: Path, expected_sha256: str | None = None) -> dict[str, Tensor]:
    """Read a checkpoint's state dict as float32; raises `CheckpointError` with one sentence.

    Only safetensors is read, never a pickle. With `expected_sha256` a file that differs from its card is refused.
    """
    with _opened(path) as stream:
        if expected_sha256 is not None and sha256(path) != expected_sha256:
            raise CheckpointError(
                f"the checkpoint {path.name} is not the file its card describes (sha256 differs)."
            )
        return unpack({name: stream.get_tensor(name) for name in stream.keys()})  # noqa: SIM118


def check_shapes(network: nn.Module, path: Path) -> None:
    """Raise `CheckpointError` unless the file's header has the names and shapes of `network`'s weights.

    No weight is read, and `network` may be on the meta device.
    """
    with _opened(path) as stream:
        names = [name for name in stream.keys() if not name.endswith(SCALE_SUFFIX)]  # noqa: SIM118
        found = {name: list(stream.get_slice(name).get_shape()) for name in names}
    if found != {name: list(tensor.shape) for name, tensor in network.state_dict().items()}:
        raise CheckpointError(f"the checkpoint {path.stem} does not fit its architecture.")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise CheckpointError(f"the checkpoint {path.name} does not exist.")
    try:
        with safe_open(path, framework="pt") as stream:
            yield stream
    except (SafetensorError, OSError, RuntimeError) as error:
        raise CheckpointError(f"the checkpoint {path.name} is not a complete safetensors file.") from error


def load_into(network: nn.Module, state: dict[str, Tensor], name: str) -> nn.Module:
    """Fill `network` and return it in evaluation mode with weights that need no gradient."""
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"the checkpoint {name} does not fit its architecture.") from error
    return network.eval().requires_grad_(False)
