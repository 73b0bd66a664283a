"""Features read a block of rows at a time, so that those that lie on disk are never in memory as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from data.datasets import Progress
from xai.attribution_types import ExplanationError
from xai.evaluation import Cancelled

BYTES = 64 * 2**20
"""About how much memory a block may take."""
Cancel = Callable[[], bool]


def spans(count: int, width: int, most: int | None = None) -> Iterator[slice]:
    """Slices that cover `count` rows in order, each of at most `BYTES` when a row has `width` float32 numbers."""
    rows = max(1, min(BYTES // (4 * max(1, width)), most or count or 1))
    return (slice(start, min(start + rows, count)) for start in range(0, count, rows))


def tell(progress: Progress | None, cancelled: Cancel | None, done: int, total: int, what: str) -> None:
    """Says how far the work is; raises `Cancelled` when the caller wants it to end."""
    if cancelled and cancelled():
        raise Cancelled
    if progress:
        progress(done, total, what)


def checked(vectors: np.ndarray, what: str = "features") -> np.ndarray:
    """The same array. Raises `ExplanationError` unless it is `(N, D)` with N and D from 1 and finite throughout."""
    if vectors.ndim != 2 or not vectors.size:
        raise ExplanationError(
            f"The {what} have the shape {vectors.shape}; allowed is (N, D), N and D from 1."
        )
    bad = not_finite(vectors)
    if bad:
        raise ExplanationError(
            f"The {what} of {bad} of {len(vectors)} images hold NaN or infinite values; allowed are finite numbers."
        )
    return vectors


def not_finite(vectors: np.ndarray) -> int:
    """How many of the rows `(N, D)` hold a value that is NaN or infinite."""
    parts = spans(len(vectors), vectors.shape[1])
    return sum(int((~np.isfinite(vectors[rows]).all(axis=1)).sum()) for rows in parts)


def mean_of(vectors: np.ndarray) -> np.ndarray:
    """Mean of the rows `(N, D)`, N from 1, float64 `(D,)`."""
    parts = spans(len(vectors), vectors.shape[1])
    return np.sum([vectors[rows].sum(axis=0, dtype=np.float64) for rows in parts], axis=0) / len(vectors)


def largest(vectors: np.ndarray, mean: np.ndarray) -> float:
    """Largest distance of a row from `mean`; 1 where all are at it, so that one may divide by it."""
    parts = spans(len(vectors), vectors.shape[1])
    most = max(float(torch.linalg.vector_norm(doubles(vectors[rows], mean), dim=1).max()) for rows in parts)
    return most if most > 0 else 1.0


def doubles(block: np.ndarray, mean: np.ndarray | None = None) -> Tensor:
    """A block of rows in float64, less `mean` `(D,)` if given."""
    wide = torch.from_numpy(block.astype(np.float64))
    return wide if mean is None else wide.sub_(torch.from_numpy(mean))


def singles(block: np.ndarray, mean: np.ndarray, unit: float) -> Tensor:
    """A block of rows `(n, D)` less `mean` `(D,)` and in units of `unit`, float32.

    Half and single precision are subtracted in single precision from one and the same rounded mean, which leaves
    differences between rows as exact as that; anything wider in double precision.
    """
    narrow = block.dtype in (np.float16, np.float32) and 1e-18 < unit < 1e18
    work = np.float32 if narrow else np.float64
    moved = torch.from_numpy(block.astype(work)).sub_(torch.from_numpy(mean.astype(work))).div_(unit)
    return moved.float()


def squared_distances(
    vectors: np.ndarray, judged: np.ndarray, cancelled: Cancel | None
) -> Iterator[tuple[slice, Tensor]]:
    """Squared distances `(n, N)` float64 of some of the judged rows at a time to all rows; equal rows have 0."""
    mean = mean_of(vectors)
    for rows in spans(len(judged), 2 * len(vectors)):
        ours = doubles(vectors[judged[rows]], mean)
        squared = torch.empty(len(ours), len(vectors), dtype=torch.float64)
        for span in spans(len(vectors), 2 * vectors.shape[1]):
            tell(None, cancelled, 0, 0, "")
            squared[:, span] = _between(ours, doubles(vectors[span], mean))
        yield rows, squared


def _between(x: Tensor, y: Tensor) -> Tensor:
    """Squared distances `(n, m)`; those that are no more than what rounding leaves are 0."""
    lengths = x.square().sum(dim=1)[:, None] + y.square().sum(dim=1)
    squared = torch.addmm(lengths, x, y.T, alpha=-2)
    return squared.masked_fill_(squared <= 4 * x.shape[1] * torch.finfo(x.dtype).eps * lengths, 0)
