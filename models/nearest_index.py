"""A small index of the weights' names and shapes of every architecture, to find those that a file may belong to.

An architecture is kept as the least 32 hashes of its `name shape` pairs and of its names alone: the share of hashes
that two such sketches have in common estimates the share of weights that two networks have in common (bottom-k
sketches: Cohen & Kaplan, Summarizing data using bottom-k sketches, PODC 2007). So the thousand networks of timm are
compared without building one. `python -m models.nearest_index` writes the index again, which takes many minutes.
"""

from __future__ import annotations

import functools
import hashlib
import json
import sys
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from models import external, registry
from models.files import write_by_rename

INDEX = Path(__file__).resolve().parent / "nearest_index.npz"
SKETCH = 32
"""Hashes kept of each architecture, twice."""
CLASSES = 1000
"""Classes that the indexed networks are built for: what most published files have."""
Shapes = Mapping[str, tuple[int, ...]]
"""Shape of every weight by its name."""
_COUNTER = "num_batches_tracked"
_EMPTY = 2**32 - 1


def counts(key: str) -> bool:
    """Whether a name is that of a weight that tells networks apart: no step counter, no normalisation of images."""
    return not key.endswith(_COUNTER) and not key.startswith("normalize.")


def shapes_of(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a network's weights as its own framework has them: without our wrapping."""
    return {key: tuple(value.shape) for key, value in inner(network).state_dict().items() if counts(key)}


def inner(network: nn.Module) -> nn.Module:
    """A library's network without our wrapping; ours as they are."""
    return network.model if isinstance(network, external.External) else network


def build_on_meta(name: str, num_classes: int, **options: object) -> nn.Module:
    """An architecture without numbers; raises `ValueError` when it is unknown or can't be built."""
    with torch.device("meta"):
        return registry_build(name, num_classes, **options)


def registry_build(name: str, num_classes: int, **options: object) -> nn.Module:
    """`registry.build` for ours, and without looking at layers for those of the libraries."""
    source, colon, _rest = name.partition(":")
    if colon and source in external.SOURCES:
        return external.build(name, num_classes, **options)  # type: ignore[arg-type]
    return registry.build(name, num_classes, **options)


def _least(words: Iterable[str]) -> np.ndarray:
    """The least hashes `(SKETCH,)` of some words, uint32 ascending, filled up where there are fewer."""
    hashes = {int.from_bytes(hashlib.blake2b(word.encode(), digest_size=4).digest()) for word in words}
    kept = sorted(hashes)[:SKETCH]
    return np.array(kept + [_EMPTY] * (SKETCH - len(kept)), dtype=np.uint32)


def sketch(shapes: Shapes) -> np.ndarray:
    """Sketches `(2, SKETCH)` uint32 of the pairs of name and shape, and of the names."""
    counted = [key for key in shapes if counts(key)]
    pairs = _least(f"{key} {'x'.join(map(str, shapes[key]))}" for key in counted)
    return np.stack([pairs, _least(counted)])


def alike(one: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Estimated share `(N,)` in [0, 1] of weights in common of one sketch `(2, SKETCH)` and others `(N, 2, SKETCH)`.

    The mean of the estimates for pairs of name and shape, and for names.
    """
    return (_estimates(one[0], others[:, 0]) + _estimates(one[1], others[:, 1])) / 2


def _estimates(one: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Estimated Jaccard index `(N,)` of a set with others: of their least hashes, the share that both have."""
    both = np.sort(np.concatenate([np.broadcast_to(one, others.shape), others], axis=1), axis=1)
    again = np.zeros(both.shape, bool)
    again[:, 1:] = (both[:, 1:] == both[:, :-1]) & (both[:, 1:] != _EMPTY)
    different = (both != _EMPTY) & ~again
    least = np.cumsum(different, axis=1) <= SKETCH
    return (again & least).sum(axis=1) / np.maximum((different & least).sum(axis=1), 1)


@functools.cache
def load() -> tuple[tuple[str, ...], np.ndarray]:
    """Names of the indexed architectures and their sketches `(N, 2, SKETCH)`; nothing where the index is missing."""
    try:
        with np.load(INDEX, allow_pickle=False) as stored:
            return tuple(json.loads(str(stored["names"]))), stored["sketches"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return (), np.empty((0, 2, SKETCH), np.uint32)


def indexed_names() -> list[str]:
    """Every architecture by name: ours, torchvision's, timm's."""
    libraries = [
        f"{source}:{name}" for source in reversed(external.SOURCES) for name in external.known(source)
    ]
    return [*registry.ARCHITECTURES, *libraries]


def _write(every: int = 50) -> None:
    """Write the index, also on the way, so that a run that was stopped goes on; sketches that are there are kept."""
    known, wanted = dict(zip(*load(), strict=True)), indexed_names()
    for done, name in enumerate(wanted):
        if name in known:
            continue
        try:
            known[name] = sketch(shapes_of(build_on_meta(name, CLASSES)))
        except (
            ValueError,
            RuntimeError,
            TypeError,
            AssertionError,
            NotImplementedError,
            ImportError,
        ) as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
        if done % every == 0:
            _save(known)
    _save({name: known[name] for name in wanted if name in known})


def _save(sketches: Mapping[str, np.ndarray]) -> None:
    def write(path: Path) -> None:
        with path.open("wb") as stream:
            names = np.array(json.dumps(list(sketches)))
            np.savez_compressed(stream, names=names, sketches=np.stack(list(sketches.values())))

    write_by_rename(INDEX, write)


if __name__ == "__main__":
    _write()
