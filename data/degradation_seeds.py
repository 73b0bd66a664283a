"""The generators of a batch, the same as one `image_generator` after another, in a third of the time.

NumPy spreads a seed over a generator's state by `SeedSequence` (O'Neill's `seed_seq_fe`), image by image in interpreted
steps that take longer than the drawing of a small image's noise. Here all images of a batch go through it at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from json.encoder import encode_basestring_ascii
from typing import Any

import numpy as np
from numpy.random.bit_generator import ISeedSequence

from data.degradation_registry import image_generator

_INIT_A, _MULT_A, _INIT_B, _MULT_B = 0x43B0D7E5, 0x931E8875, 0x8B51F9DD, 0x58F38DED
_MIX_LEFT, _MIX_RIGHT = np.uint32(0xCA01F9DD), np.uint32(0x4973F715)
_POOL, _WORDS = 4, 8
"""Sizes of the pool and of a SHA-256, in 32-bit words."""
_MANY = 20
"""Images from which on it is quicker to seed them together."""


class _Ready(ISeedSequence):
    """What a `SeedSequence` would say, worked out already."""

    def __init__(self, words: np.ndarray) -> None:
        self.words = words

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> np.ndarray:
        """The four 64-bit words that PCG64 asks for."""
        return self.words


def image_generators(
    seed: int, image_ids: Sequence[str], name: str, severity: float
) -> list[np.random.Generator]:
    """`image_generator` of every image, `seed`, `name` and `severity` being the same for all."""
    if len(image_ids) < _MANY:
        return [image_generator(seed, image, name, severity) for image in image_ids]
    before, after = f"[{int(seed)}, ", f", {json.dumps(name)}, {json.dumps(float(severity))}]"
    digests = b"".join(
        hashlib.sha256(f"{before}{encode_basestring_ascii(str(image))}{after}".encode()).digest()
        for image in image_ids
    )
    words = np.frombuffer(digests, ">u4").reshape(-1, _WORDS)[:, ::-1].T.astype(np.uint32)
    states = np.ascontiguousarray(spread(words).T)  # PCG64 reads a row's memory as it lies
    return [
        np.random.Generator(np.random.PCG64(_Ready(state)))  # type: ignore[arg-type]
        if top  # a number whose first word is 0 is a shorter one to NumPy
        else image_generator(seed, image, name, severity)
        for state, top, image in zip(states, words[-1].tolist(), image_ids, strict=True)
    ]


def spread(words: np.ndarray) -> np.ndarray:
    """`SeedSequence(number).generate_state(4, uint64)` as `(4, N)` for N numbers of 8 words `(8, N)`, lowest first."""
    with np.errstate(over="ignore"):
        return _states(_pool(words))


def _pool(words: np.ndarray) -> list[np.ndarray]:
    constant = _INIT_A

    def hashed(value: np.ndarray) -> np.ndarray:
        nonlocal constant
        value, constant = value ^ np.uint32(constant), constant * _MULT_A & 0xFFFFFFFF
        return _folded(value * np.uint32(constant))

    pool = [hashed(word) for word in words[:_POOL]]
    for source in range(_POOL):
        for target in range(_POOL):
            if source != target:
                pool[target] = _mixed(pool[target], hashed(pool[source]))
    for word in words[_POOL:]:
        for target in range(_POOL):
            pool[target] = _mixed(pool[target], hashed(word))
    return pool


def _states(pool: Sequence[np.ndarray]) -> np.ndarray:
    constant, halves = _INIT_B, []
    for place in range(2 * _POOL):
        value, constant = pool[place % _POOL] ^ np.uint32(constant), constant * _MULT_B & 0xFFFFFFFF
        halves.append(_folded(value * np.uint32(constant)).astype(np.uint64))
    return np.stack(
        [low | high << np.uint64(32) for low, high in zip(halves[::2], halves[1::2], strict=True)]
    )


def _mixed(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return _folded(_MIX_LEFT * left - _MIX_RIGHT * right)


def _folded(value: np.ndarray) -> np.ndarray:
    return value ^ value >> np.uint32(16)
