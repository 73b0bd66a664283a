"""Exact nearest neighbours in feature space, by plain Euclidean distance.

A first step picks a few more candidates than are asked for: products of matrices in single precision, or a tree where
there are few dimensions. Their distances are computed anew in double precision from the features as they are, and a
bound on the rounding of the first step says where the pick could have missed one; there, everything within that bound
is computed anew. The answer is that of brute force, ties going to the lower row. Equal rows are searched for once.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from data.datasets import Progress
from xai.attribution_types import ExplanationError
from xai.feature_blocks import Cancel, checked, doubles, largest, mean_of, singles, spans, tell

WHAT = "nearest neighbours"
_MARGIN = 8
"""Candidates more than are asked for."""
_KEPT = 512 * 2**20
"""Features are kept in memory in single precision when they take no more bytes than this."""
_QUERIES, _POINTS = 2048, 8192
"""Rows of a block of distances, and its columns."""
_CACHED = 2**18
"""Numbers in double precision that a processor's cache holds."""
_NARROW = 3
"""Up to so many dimensions a tree is faster than all products."""
_ROUNDING = 2.0**-24


@dataclass(frozen=True)
class Neighbours:
    """The k nearest points of N queries, nearest first.

    `index` `(N, k)` int32 are rows of the points, `distance` `(N, k)` float32 Euclidean ones in their unit.
    """

    index: np.ndarray
    distance: np.ndarray

    @property
    def k(self) -> int:
        """How many neighbours each query has."""
        return int(self.index.shape[1])

    def first(self, k: int) -> Neighbours:
        """The k nearest of them. Raises `ExplanationError` when there are fewer."""
        if not 1 <= k <= self.k:
            raise ExplanationError(
                f"{k} neighbours are asked for; allowed are 1 to {self.k}, which are known."
            )
        return Neighbours(self.index[:, :k], self.distance[:, :k])


def nearest(
    vectors: np.ndarray,
    k: int,
    *,
    queries: np.ndarray | None = None,
    own: np.ndarray | None = None,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> Neighbours:
    """The k nearest of the points `vectors` `(N, D)` to each of `queries` `(M, D)`, or to each point.

    A point is not its own neighbour. `own` `(M,)` says the same of queries that are versions of a point (the degraded
    image i of the clean image `own[i]`): that row is left out. Features may be memory maps of any float type; memory
    is bounded by the blocks, not by N x N. Of equally near points the lower row comes first. `progress` is told of
    queries. Raises `ExplanationError` for features that are not finite, widths that differ, or k outside 1 to the
    number of points there are to choose from, and `Cancelled` when `cancelled` says so, asked before every block.
    """
    _check(vectors, k, queries, own)
    points = _Points(vectors)
    if queries is None:
        tables = _search(
            points, vectors[points.first] if points.repeated else vectors, k + 1, progress, cancelled
        )
        index, squared = (table[points.group] if points.repeated else table for table in tables)
        own = np.arange(len(vectors))
    else:
        index, squared = _search(points, queries, k + (own is not None), progress, cancelled)
    if own is not None:
        index, squared = _without(own, index, squared)
    return Neighbours(index.astype(np.int32), np.sqrt(squared).astype(np.float32))


def _check(vectors: np.ndarray, k: int, queries: np.ndarray | None, own: np.ndarray | None) -> None:
    checked(vectors)
    most = len(vectors) - (queries is None or own is not None)
    if not 1 <= k <= most:
        allowed = f"allowed are 1 to {most}" if most else "one image has no neighbours"
        raise ExplanationError(f"{k} neighbours are asked for among {len(vectors)} images; {allowed}.")
    if queries is None:
        return
    checked(queries)
    if queries.shape[1] != vectors.shape[1]:
        raise ExplanationError(
            f"The features are {queries.shape[1]} and {vectors.shape[1]} numbers wide; allowed are equal widths."
        )
    if own is not None and own.shape != (len(queries),):
        raise ExplanationError(f"{len(queries)} queries need as many own rows, not {own.shape}.")


def _without(own: np.ndarray, index: np.ndarray, squared: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tables `(M, k + 1)` without each query's own row, or without the last where that is not among them."""
    keep = index != own[:, None]
    keep[keep.all(axis=1), -1] = False
    shape = (len(index), index.shape[1] - 1)
    return index[keep].reshape(shape), squared[keep].reshape(shape)


class _Points:
    """The points, each different one once."""

    def __init__(self, vectors: np.ndarray) -> None:
        self.vectors = vectors
        self.first, self.group = _distinct(vectors)
        self.repeated = len(self.first) < len(vectors)
        self.mean = mean_of(vectors)
        self.unit = largest(vectors, self.mean)

    def __len__(self) -> int:
        return len(self.first)

    def rows(self, places: slice | np.ndarray) -> np.ndarray:
        """Features of different points, as they are."""
        return self.vectors[self.first[places]] if self.repeated else self.vectors[places]

    def members(self, most: int) -> np.ndarray:
        """Rows at which each different point occurs, in order, the first `most` of them; -1 fills up."""
        if not self.repeated:
            return self.first[:, None]
        order = np.argsort(self.group, kind="stable")
        counts = np.bincount(self.group)
        place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
        kept = place < most
        table = np.full((len(self), min(most, int(counts.max()))), -1)
        table[self.group[order[kept]], place[kept]] = order[kept]
        return table

    def blocks(self) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Places, centred features `(n, D)` in units of `unit` and their squared lengths `(n,)`, float32."""
        return iter(self._kept) if self.vectors.size * 4 <= _KEPT else self._read()

    @cached_property
    def _kept(self) -> list[tuple[slice, Tensor, Tensor]]:
        return list(self._read())

    def _read(self) -> Iterator[tuple[slice, Tensor, Tensor]]:
        for places in spans(len(self), self.vectors.shape[1], _POINTS):
            block = self.block(self.rows(places))
            yield places, block, block.square().sum(dim=1)

    def block(self, rows: np.ndarray) -> Tensor:
        """Rows of features as `blocks` gives them."""
        return singles(rows, self.mean, self.unit)


def _distinct(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows at which a different point occurs first, `(U,)` rising, and for each row which of them it equals, `(N,)`."""
    seen: dict[bytes, int] = {}
    first: list[int] = []
    group = np.empty(len(vectors), np.int64)
    for rows in spans(len(vectors), vectors.shape[1]):
        for row, vector in enumerate(np.ascontiguousarray(vectors[rows] + vectors.dtype.type(0)), rows.start):
            found = seen.setdefault(hashlib.blake2b(vector, digest_size=16).digest(), len(first))
            if found == len(first):
                first.append(row)
            group[row] = found
    return np.array(first), group


def _search(
    points: _Points, queries: np.ndarray, count: int, progress: Progress | None, cancelled: Cancel | None
) -> tuple[np.ndarray, np.ndarray]:
    """Rows `(M, count)` of the nearest points to the queries, and squared distances `(M, count)` float64."""
    members, total = points.members(count), len(queries)
    screen: _Screen = _Tree(points) if queries.shape[1] <= _NARROW else _Matrix(points, cancelled)
    index, squared = np.empty((total, count), np.int64), np.empty((total, count))
    for rows in spans(total, queries.shape[1], _QUERIES):
        tell(progress, cancelled, rows.start, total, WHAT)
        index[rows], squared[rows] = _nearest_of(points, screen, members, queries[rows], count)
    tell(progress, None, total, total, WHAT)
    return index, squared


def _nearest_of(
    points: _Points, screen: _Screen, members: np.ndarray, queries: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """As `_search`, for one block of queries."""
    values, places = screen.pick(queries, min(count + _MARGIN, len(points)))
    index, squared = _ranked(members, places, _exact(points, queries, places), count)
    if places.shape[1] == len(points):
        return index, squared
    # What was not picked is at least as far away as the last that was, but for rounding.
    reach = squared[:, -1] / points.unit**2 + screen.slack(queries)
    unsure = np.flatnonzero(values[:, -1] <= reach)
    for row, near in zip(unsure, screen.within(queries[unsure], reach[unsure]), strict=True):
        again = _ranked(members, near[None], _exact(points, queries[row : row + 1], near[None]), count)
        index[row], squared[row] = again[0][0], again[1][0]
    return index, squared


class _Screen(Protocol):
    """Finds points that may be near, by squared distances in the unit of the points that are right but for `slack`."""

    def pick(self, queries: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Squared distances `(B, width)` of the nearest different points, rising, and their places."""

    def within(self, queries: np.ndarray, reach: np.ndarray) -> list[np.ndarray]:
        """For each query the places of all different points whose squared distance is at most its `reach`."""

    def slack(self, queries: np.ndarray) -> np.ndarray:
        """By how much squared distances may be wrong `(B,)`."""


class _Matrix:
    """Distances from products of matrices in single precision."""

    def __init__(self, points: _Points, cancelled: Cancel | None) -> None:
        self.points, self.cancelled = points, cancelled

    def _seen(self, block: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Squared distances to a block of points after the other, less the query's own squared length."""
        for span, others, lengths in self.points.blocks():
            tell(None, self.cancelled, 0, 0, WHAT)
            yield span, torch.addmm(lengths, block, others.T, alpha=-2)

    def pick(self, queries: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
        block = self.points.block(queries)
        values, places = torch.empty(len(block), 0), torch.empty(len(block), 0, dtype=torch.long)
        for span, seen in self._seen(block):
            part, where = seen.topk(min(width, seen.shape[1]), dim=1, largest=False)
            values, places = torch.cat([values, part], 1), torch.cat([places, where + span.start], 1)
            values, order = values.topk(min(width, values.shape[1]), dim=1, largest=False)
            places = places.gather(1, order)
        return (values.double() + _lengths(block)[:, None]).numpy(), places.numpy()

    def within(self, queries: np.ndarray, reach: np.ndarray) -> list[np.ndarray]:
        found: list[list[np.ndarray]] = [[] for _ in queries]
        if not found:
            return []
        block = self.points.block(queries)
        limits = torch.from_numpy(reach) - _lengths(block)
        for span, seen in self._seen(block):
            for own, row in zip(found, seen <= limits[:, None], strict=True):
                own.append(span.start + np.flatnonzero(row.numpy()))
        return [np.concatenate(own) for own in found]

    def slack(self, queries: np.ndarray) -> np.ndarray:
        """A sum of D products is wrong by at most D roundings, and but for one in 10^13 by less than 8 sqrt(D) of them
        (Higham & Mary, A new approach to probabilistic rounding error analysis, 2019)."""
        width = queries.shape[1]
        roundings = min(width, 8 * math.sqrt(width)) + 8
        lengths = _lengths(self.points.block(queries)).numpy()
        return 2 * roundings * _ROUNDING * (np.sqrt(lengths) + 1) ** 2


def _lengths(block: Tensor) -> Tensor:
    return block.double().square().sum(dim=1)


class _Tree:
    """Distances in a few dimensions from a k-d tree in double precision."""

    def __init__(self, points: _Points) -> None:
        from scipy.spatial import cKDTree

        self.points = points
        self.tree = cKDTree(self._moved(points.rows(slice(None))))

    def _moved(self, rows: np.ndarray) -> np.ndarray:
        return doubles(rows, self.points.mean).div_(self.points.unit).numpy()

    def pick(self, queries: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
        distances, places = self.tree.query(self._moved(queries), range(1, width + 1))
        return distances**2, places

    def within(self, queries: np.ndarray, reach: np.ndarray) -> list[np.ndarray]:
        found = self.tree.query_ball_point(self._moved(queries), np.sqrt(reach)) if len(queries) else ()
        return [np.array(near, np.int64) for near in found]

    def slack(self, queries: np.ndarray) -> np.ndarray:
        return 1e-13 * (np.linalg.norm(self._moved(queries), axis=1) + 1) ** 2


def _exact(points: _Points, queries: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Squared distances `(B, w)` in float64 of each query to the points at its places, of the features as they are."""
    squared = np.empty(places.shape)
    at_once = max(1, _CACHED // (places.shape[1] * queries.shape[1]))
    for rows in spans(len(places), 1, at_once):
        others = doubles(points.rows(places[rows].ravel())).view(*places[rows].shape, -1)
        squared[rows] = others.sub_(doubles(queries[rows])[:, None]).square_().sum(dim=2).numpy()
    return squared


def _ranked(
    members: np.ndarray, places: np.ndarray, squared: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """The first `count` rows `(B, count)` by distance, then by row, of different points `(B, w)`, and distances."""
    rows = members[places]
    far = np.where(rows < 0, np.inf, squared[:, :, None]).reshape(len(places), -1)
    rows = rows.reshape(len(places), -1)
    order = np.lexsort((rows, far), axis=-1)[:, :count]
    return np.take_along_axis(rows, order, 1), np.take_along_axis(far, order, 1)
