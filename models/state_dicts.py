"""The weights in anybody's file: safetensors, or what `torch.save` wrote, read without running anything of it.

A file may hold several sets of weights beside other things: `{"epoch": 90, "optimizer": ..., "state_dict": ...,
"state_dict_ema": ...}`. All are found and named by where they lie; which one to take is said by name, and else it is
the first that is no running average.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from models import torch_files
from models.checkpoints import SCALE_SUFFIX, CheckpointError, unpack
from models.files import sha256
from models.torch_files import TorchFileError

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "params", "weights", "module")
"""Where files usually keep their weights, the likeliest first."""
_AVERAGE = re.compile(r"(^|[_.])(ema|swa|averaged?|shadow)([_.]|$)")
_NO_WEIGHTS = re.compile(r"optim|scheduler|scaler|^amp$|callback|^loops$|hyper_parameters|criterion")
_DEEPEST = 4
_MOST_VISITED = 2_000
_LONGEST_NAME = 300
_FURTHER_PARTS = 100
"""Parts that a torch archive may have beside its weights: its version, the pickle, and a few more."""
_READING_ERRORS = (
    RuntimeError,
    pickle.UnpicklingError,
    EOFError,
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    AssertionError,
    OverflowError,
    MemoryError,
    zipfile.BadZipFile,
)
"""What `torch.load(weights_only=True)` raises on files that are damaged or made to harm."""


class StateDictError(ValueError):
    """A file whose weights can't be read; the message is one sentence that names the file."""


@dataclass(frozen=True)
class Limits:
    """The most that is read: bytes of the file and of its weights as float32, and number of tensors."""

    max_bytes: int = 2 * 2**30
    max_tensors: int = 20_000


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, eq=False)
class Found:
    """One set of weights in a file: the keys that lead to it (empty: the file itself), and its tensors by name."""

    path: str
    tensors: Mapping[str, Tensor]

    @property
    def average(self) -> bool:
        """Whether it calls itself a running average of weights (EMA, SWA)."""
        return _AVERAGE.search(self.path.lower()) is not None

    @property
    def title(self) -> str:
        """Where it lies, in words."""
        return f"its entry {self.path!r}" if self.path else "the file itself"

    @property
    def kinds(self) -> str:
        """Kinds of numbers and how many tensors have them: "float16 (120), int64 (20)"."""
        kinds = Counter(str(tensor.dtype).removeprefix("torch.") for tensor in self.tensors.values())
        return ", ".join(f"{kind} ({count:,})" for kind, count in kinds.most_common())


@dataclass(frozen=True, eq=False)
class Contents:
    """What a file holds: its kind, size and sha256, sets of weights, likeliest first, and names of the rest."""

    name: str
    kind: str
    bytes: int
    sha256: str
    found: tuple[Found, ...]
    others: tuple[str, ...]

    def choose(self, key: str | None = None) -> Found:
        """The set of weights named `key`, in full or in part (`ema`), else the likeliest.

        Raises `StateDictError` naming those that exist.
        """
        if key is None:
            return self.found[0]
        exact = [found for found in self.found if found.path == key]
        asked = key.lower()
        parts = [found for found in self.found if asked in re.split(r"[_.]", found.path.lower())]
        parts = parts or [found for found in self.found if asked == "ema" and found.average]
        if not exact and not parts:
            names = ", ".join(repr(found.path) for found in self.found)
            raise StateDictError(f"{self.name} has no weights under {shown(key)!r}; allowed are {names}.")
        return (exact or parts)[0]


def shown(name: str) -> str:
    """A name from a file as it is displayed: printable, and at most 120 characters."""
    kept = "".join(character if character.isprintable() else "?" for character in name)
    return kept if len(kept) <= 120 else kept[:119] + "…"


def read(path: Path, name: str | None = None, limits: Limits = DEFAULT_LIMITS) -> Contents:
    """Look into a file of weights; `name` is what messages call it (default: the file's own name).

    Numbers of a new torch file are looked up in the file when `weights` asks for them. Raises `StateDictError`
    with one sentence for anything that is no file of weights within `limits`. Runs nothing of the file.
    """
    called = shown(name or path.name)
    try:
        _check_size(path, limits)
        kind, content = _content(path, limits)
        found = _sets(content)
        _check_sets(found, content, limits)
        found = [_unpacked(each) for each in found]
    except TorchFileError as error:
        raise StateDictError(f"{called} {error}.") from error
    others = tuple(shown(key) for key in content if isinstance(key, str) and not _holds(key, found))
    return Contents(called, kind, path.stat().st_size, sha256(path), tuple(found), others)


def _check_size(path: Path, limits: Limits) -> None:
    if not path.is_file():
        raise TorchFileError("does not exist or is no file")
    size = path.stat().st_size
    if not 0 < size <= limits.max_bytes:
        raise TorchFileError(f"has {size:,} bytes; allowed are 1 to {limits.max_bytes:,}")


def _content(path: Path, limits: Limits) -> tuple[str, Mapping[Any, Any]]:
    """Kind of the file and what lies in it."""
    with path.open("rb") as stream:
        start = stream.read(64)
    if start.startswith(torch_files.ZIP_START):
        torch_files.check_archive(path, limits.max_bytes, 2 * limits.max_tensors + _FURTHER_PARTS)
        return "torch", _loaded(path, mmap=True)
    if start.startswith(torch_files.LEGACY_START):
        torch_files.check_legacy(path)
        return "torch, as before version 1.6", _loaded(path, mmap=False)
    if start[8:9] == b"{":
        return "safetensors", _safetensors(path, limits)
    raise TorchFileError("is neither a safetensors file nor one that torch.save wrote")


def _loaded(path: Path, mmap: bool) -> Mapping[Any, Any]:
    """What torch reads; `mmap`: numbers stay in the file, so that none is made room for that is not there."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except _READING_ERRORS as error:
        raise TorchFileError("is a torch file that is damaged, cut short or made to harm") from error
    if not isinstance(content, Mapping):
        raise TorchFileError(f"holds a {type(content).__name__}; needed are weights by name")
    return content


def _safetensors(path: Path, limits: Limits) -> Mapping[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as stream:
            names = list(stream.keys())
            _check_count(len(names), limits)
            return {name: stream.get_tensor(name) for name in names}
    except (SafetensorError, OSError, RuntimeError, TypeError, ValueError, KeyError, AttributeError) as error:
        if isinstance(error, TorchFileError):
            raise
        raise TorchFileError("is a safetensors file that is damaged or cut short") from error


def _sets(content: Mapping[Any, Any]) -> list[Found]:
    """Every set of weights, the likeliest first: no average, in a usual place, not deep, large."""
    found = [Found(path, tensors) for path, tensors in _walk(content)]
    return sorted(found, key=_unlikeliness)


def _unlikeliness(found: Found) -> tuple[bool, int, int, int]:
    first = found.path.split(".")[0]
    place = WRAPPERS.index(first) if first in WRAPPERS else len(WRAPPERS)
    depth = found.path.count(".") + bool(found.path)
    return found.average, 0 if not depth else 1 + place, depth, -len(found.tensors)


def _walk(content: Mapping[Any, Any]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Where sets of weights lie and what they are, breadth first; what belongs to an optimiser is left out."""
    queue: list[tuple[tuple[str, ...], Mapping[Any, Any]]] = [((), content)]
    seen: set[int] = set()
    while queue and len(seen) < _MOST_VISITED:
        path, mapping = queue.pop(0)
        if id(mapping) in seen:
            continue
        seen.add(id(mapping))
        tensors = _tensors(mapping)
        if any(tensor.ndim > 1 for tensor in tensors.values()):
            yield ".".join(path), tensors
        queue += [((*path, key), value) for key, value in _inner(mapping) if len(path) < _DEEPEST]


def _tensors(mapping: Mapping[Any, Any]) -> dict[str, Tensor]:
    return {
        key: value for key, value in mapping.items() if isinstance(value, Tensor) and isinstance(key, str)
    }


def _inner(mapping: Mapping[Any, Any]) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    for key, value in mapping.items():
        if isinstance(value, Mapping) and isinstance(key, str) and not _NO_WEIGHTS.search(key.lower()):
            yield key[:_LONGEST_NAME], value


def _holds(key: str, found: Iterable[Found]) -> bool:
    """Whether a key of the file belongs to a set of weights."""
    return any(each.path.split(".")[0] == key or (not each.path and key in each.tensors) for each in found)


def _check_sets(found: list[Found], content: Mapping[Any, Any], limits: Limits) -> None:
    if not found:
        raise TorchFileError(_nothing(content))
    for each in found:
        _check_count(len(each.tensors), limits)
        if long := next((key for key in each.tensors if len(key) > _LONGEST_NAME), None):
            raise TorchFileError(f"has a weight with a name of {len(long):,} characters")
        _check_tensors(each.tensors, limits)


def _nothing(content: Mapping[Any, Any]) -> str:
    """Why no set of weights was found."""
    strange = next((key for key, value in content.items() if isinstance(value, Tensor)), None)
    if strange is not None and not isinstance(strange, str):
        return f"names a weight by a {type(strange).__name__}; names of weights are text"
    keys = ", ".join(repr(shown(str(key))) for key in list(content)[:5]) or "nothing"
    return f"holds no weights by name; it holds {keys}"


def _check_count(count: int, limits: Limits) -> None:
    if count > limits.max_tensors:
        raise TorchFileError(f"holds {count:,} tensors; allowed are {limits.max_tensors:,}")


def _check_tensors(tensors: Mapping[str, Tensor], limits: Limits) -> None:
    """Refuse what is no plain tensor, and more than memory should hold: a small file can claim any shape."""
    for name, tensor in tensors.items():
        if not _plain(tensor):
            raise TorchFileError(
                f"has in {shown(name)!r} a tensor of a kind that holds no weights ({_kind(tensor)})"
            )
    wanted = sum(4 * tensor.numel() for tensor in tensors.values())
    if wanted > limits.max_bytes:
        raise TorchFileError(f"describes weights of {wanted:,} bytes; allowed are {limits.max_bytes:,}")


def _plain(tensor: Tensor) -> bool:
    usual = type(tensor) in (Tensor, nn.Parameter) and tensor.layout is torch.strided
    return usual and tensor.device.type == "cpu" and not tensor.is_quantized and not tensor.is_complex()


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}, {str(tensor.layout).removeprefix('torch.')}"


def _unpacked(found: Found) -> Found:
    """The set as it was before this project rounded it to int8; any other as it is."""
    if not any(key.endswith(SCALE_SUFFIX) for key in found.tensors):
        return found
    try:
        return Found(found.path, unpack({key: tensor.detach() for key, tensor in found.tensors.items()}))
    except (CheckpointError, RuntimeError) as error:
        raise TorchFileError("is rounded to int8, but not as this project does it") from error


def weights(found: Found) -> dict[str, Tensor]:
    """The set's tensors in memory of their own: floating-point ones as float32, others as they are."""
    return {key: _copied(tensor.detach()) for key, tensor in found.tensors.items()}


def _copied(tensor: Tensor) -> Tensor:
    kind = torch.float32 if tensor.is_floating_point() else tensor.dtype
    return tensor.to(kind, copy=True, memory_format=torch.contiguous_format)
