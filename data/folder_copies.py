"""Pictures that lie in two splits, which make a test easier than it looks: exact copies, and nearly equal pictures.

Two pictures are nearly equal when their difference hashes (dHash: of 8 x 9 averages of the square, whether each
is darker than its right neighbour, 64 bits; Krawetz 2013) differ in at most 2 bits, and the averages themselves by
8 of 255 in the mean. So a copy that was resized or saved again as JPEG is found; one that was cropped is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from data.folder_listing import shown_path

MAX_BITS = 2
MAX_DIFFERENCE = 8.0
MAX_GROUP = 256
"""Pictures that share a third of their hash and are compared with each other; more are not looked at."""
_GRID = (8, 9)
LOOK_BYTES = 3 * _GRID[0] * _GRID[1]
_BANDS = (slice(0, 22), slice(22, 43), slice(43, 64))
"""Hashes that differ in two bits agree in one of three parts, so only those are compared."""
Pair = tuple[int, int]


@dataclass(frozen=True)
class Copies:
    """Pairs of rows in different splits, how many pictures are in them, and whether all were looked at."""

    exact: tuple[Pair, ...]
    exact_count: int
    near: tuple[Pair, ...]
    near_count: int
    complete: bool

    def sentences(self, paths: Sequence[str]) -> tuple[str, ...]:
        """One sentence for each kind that was found, with the first pairs by name."""
        least = "" if self.complete else "at least "
        told = (
            (self.exact, f"{self.exact_count:,} pictures have an exact copy in another split"),
            (self.near, f"{least}{self.near_count:,} pictures are nearly equal to one in another split"),
        )
        return tuple(f"{words}: {_named(pairs, paths)}." for pairs, words in told if pairs)


def _named(pairs: Sequence[Pair], paths: Sequence[str], most: int = 2) -> str:
    told = [f"{shown_path(paths[first])} and {shown_path(paths[second])}" for first, second in pairs[:most]]
    more = f"; and {len(pairs) - most:,} more pairs" if len(pairs) > most else ""
    return "; ".join(told) + more


def look_of(square: Tensor) -> bytes:
    """Averages of a picture, uint8 `(3, size, size)`, on the grid of the hash: `LOOK_BYTES` bytes."""
    return adaptive_avg_pool2d(square.float(), _GRID).round().to(torch.uint8).numpy().tobytes()


def find_copies(places: Sequence[str], digests: Sequence[bytes], looks: Sequence[bytes]) -> Copies:
    """Copies among pictures in these splits, by the hashes of their pixels and by their looks (see `look_of`)."""
    groups: dict[bytes, dict[str, list[int]]] = {}
    for row, (place, digest) in enumerate(zip(places, digests, strict=True)):
        groups.setdefault(digest, {}).setdefault(place, []).append(row)
    shared = [list(group.values()) for group in groups.values() if len(group) > 1]
    exact = tuple((rows[0][0], other[0]) for rows in shared for other in rows[1:])
    single = np.array([rows[0] for group in groups.values() for rows in group.values()], np.int64)
    near, complete = _near(np.asarray(places)[single], digests, looks, single)
    return Copies(
        exact,
        sum(len(rows) for group in shared for rows in group),
        near,
        len({r for p in near for r in p}),
        complete,
    )


def _near(
    places: np.ndarray, digests: Sequence[bytes], looks: Sequence[bytes], rows: np.ndarray
) -> tuple[tuple[Pair, ...], bool]:
    """Pairs of `rows` that look alike and are no exact copies, and whether all that could be were compared."""
    if len(set(places)) < 2:
        return (), True
    averages = np.frombuffer(b"".join(looks[row] for row in rows), np.uint8).reshape(len(rows), 3, *_GRID)
    grey = averages.astype(np.int32).sum(axis=1)
    bits = (grey[:, :, 1:] > grey[:, :, :-1]).reshape(len(rows), 64)
    found: set[Pair] = set()
    complete = True
    for group in _groups(bits, places):
        complete &= len(group) <= MAX_GROUP
        for first, second in _alike(group[:MAX_GROUP], bits, averages, places):
            one, other = sorted((int(rows[first]), int(rows[second])))
            if digests[one] != digests[other]:
                found.add((one, other))
    return tuple(sorted(found)), complete


def _groups(bits: np.ndarray, places: np.ndarray) -> Iterator[np.ndarray]:
    """Rows that agree in one part of their hash and lie in more than one split."""
    for band in _BANDS:
        part = bits[:, band]
        keys = part @ (1 << np.arange(part.shape[1], dtype=np.int64))
        order = np.argsort(keys, kind="stable")
        borders = np.flatnonzero(np.diff(keys[order])) + 1
        starts, ends = np.append(0, borders), np.append(borders, len(order))
        several = ends - starts > 1
        for start, end in zip(starts[several], ends[several], strict=True):
            group = order[start:end]
            if (places[group] != places[group[0]]).any():
                yield group


def _alike(
    group: np.ndarray, bits: np.ndarray, averages: np.ndarray, places: np.ndarray
) -> Iterator[tuple[int, int]]:
    for place, row in enumerate(group[:-1]):
        others = group[place + 1 :]
        others = others[places[others] != places[row]]
        others = others[(bits[others] ^ bits[row]).sum(axis=1) <= MAX_BITS]
        differences = np.abs(averages[others].astype(np.int16) - averages[row]).mean(axis=(1, 2, 3))
        yield from ((int(row), int(other)) for other in others[differences <= MAX_DIFFERENCE])
