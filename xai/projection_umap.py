"""UMAP with umap-learn's optimiser, between exact neighbours, from the principal components.

McInnes, Healy & Melville 2018. What umap-learn compiles for its approximate search, by far the most of its first call
(and again of its first `transform`), is not used: neighbours are exact, and the graph, a few lines, is made with NumPy
and scipy. Its optimiser is compiled once for each installation and then read from numba's cache on disk. None of it is
numba's parallel code, whose threads may not be started from two Python threads at once.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from xai.neighbours import Neighbours, nearest
from xai.projection_settings import Job, Made, Steps, method

if TYPE_CHECKING:
    from scipy.sparse import coo_matrix, csr_matrix

FEW = 10_000
"""Up to so many points there are more epochs."""
PLACED_NEAR = 0.016
"""Share of a map's width within which about nine of ten of its own points land when they are placed into it anew: the
optimiser draws at random and does not settle in the epochs it has. (t-SNE's land several times as near.)"""
_SEARCH_STEPS = 64
_LEAST_WIDTH = 1e-3
_SEEDS = np.iinfo(np.int32)
_compiling = threading.Lock()


def warm_up() -> None:
    """Import and compile what UMAP needs, so that its first map does not wait; it may run in any thread."""
    index = np.array([[0, 1, 2], [1, 0, 2], [2, 0, 1], [3, 0, 1]])
    graph = _united(memberships(np.tile(np.arange(3.0), (4, 1)), 1), index, 4)
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32)
    for other in (corners, corners.copy()):
        _optimise(corners, other, graph, 0.1, 2, np.random.RandomState(0), 1.0, Steps())


def _optimiser() -> Callable[..., np.ndarray]:
    """umap-learn's optimiser, whose compiled form numba is told to keep on disk."""
    with _compiling:
        from umap import layouts

        epoch = getattr(layouts, "_nb_optimize_layout_euclidean_single_epoch", None)
        if epoch is not None and not epoch.signatures and type(epoch._cache).__name__ == "NullCache":
            # where there is no folder that numba may write to, it compiles each time
            with contextlib.suppress(RuntimeError):
                epoch.enable_caching()
        return layouts.optimize_layout_euclidean


@method(
    "umap",
    "UMAP",
    "Keeps each image beside its nearest neighbours and pulls groups together: compact clumps, whose distances mean"
    " little.",
    ("neighbours", "min_distance", "pca", "seed"),
    5,
)
def umap(job: Job) -> Made:
    """The map after 500 epochs, or 200 of more than 10,000 points."""
    from importlib.metadata import version

    count, width = len(job.points), job.settings.neighbours
    known = job.neighbours or nearest(
        job.points, width - 1, progress=job.steps.part(150, 300).tell, cancelled=job.steps.cancelled
    )
    index, distance = _with_self(known.first(width - 1))
    graph = _united(memberships(distance, 1), index, count)
    random = np.random.RandomState(job.settings.seed)
    begun = _start(job.start, random)
    epochs = 500 if count <= FEW else 200
    steps = job.steps.part(300, 1000)
    coordinates = _optimise(begun, begun, graph, job.settings.min_distance, epochs, random, 1.0, steps)
    return Made(coordinates, f"umap-learn {version('umap-learn')}", _placing(job, coordinates.copy()))


def _with_self(known: Neighbours) -> tuple[np.ndarray, np.ndarray]:
    """Neighbours `(N, k)` and distances, each point itself first."""
    rows = np.arange(len(known.index), dtype=known.index.dtype)[:, None]
    return np.hstack([rows, known.index]), np.hstack([np.zeros_like(rows, np.float32), known.distance])


def _start(start: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """As large as umap-learn makes it, 10 along the longer side, and no two points quite on each other."""
    moved = start - start.min(axis=0)
    placed = moved * (10 / moved.max()) + random.normal(scale=1e-4, size=start.shape)
    return placed.astype(np.float32, order="C")


def memberships(distance: np.ndarray, connected: int) -> np.ndarray:
    """How strongly each point holds to its neighbours at sorted distances `(N, k)`: `(N, k)` float32 in [0, 1].

    Umap-learn's `smooth_knn_dist` and `compute_membership_strengths`, for all points at once: exp(-(d - rho) / sigma),
    rho the nearest distance above 0 (0 where `connected` is 0), sigma such that the strengths, without the first, add
    up to log2 k.
    """
    distance = distance.astype(np.float64)
    above = np.where(distance > 0, distance, np.inf).min(axis=1)
    rho = np.where(np.isfinite(above), above, 0) * connected
    excess = np.maximum(distance - rho[:, None], 0)
    sigma = _widths(excess[:, 1:], float(np.log2(distance.shape[1])))
    typical = np.where(rho > 0, distance.mean(axis=1), distance.mean())
    sigma = np.maximum(sigma, _LEAST_WIDTH * typical)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(excess > 0, np.exp(-excess / sigma), 1).astype(np.float32)


def _widths(excess: np.ndarray, target: float) -> np.ndarray:
    """The `sigma` `(N,)` for which exp(-excess / sigma) adds up to `target` in each row, by bisection."""
    low, high, middle = np.zeros(len(excess)), np.full(len(excess), np.inf), np.ones(len(excess))
    going = np.ones(len(excess), bool)
    for _ in range(_SEARCH_STEPS):
        total = np.exp(-excess / middle[:, None]).sum(axis=1)
        going &= np.abs(total - target) >= 1e-5
        high = np.where(going & (total > target), middle, high)
        low = np.where(going & (total <= target), middle, low)
        step = np.where(np.isfinite(high), (low + np.where(np.isfinite(high), high, 0)) / 2, 2 * middle)
        middle = np.where(going, step, middle)
    return middle


def _bipartite(strength: np.ndarray, index: np.ndarray, count: int) -> csr_matrix:
    """Strengths `(M, k)` as a matrix `(M, count)`."""
    from scipy.sparse import coo_matrix

    rows = np.repeat(np.arange(len(index), dtype=np.int32), index.shape[1])
    return coo_matrix((strength.ravel(), (rows, index.ravel())), shape=(len(index), count)).tocsr()


def _united(strength: np.ndarray, index: np.ndarray, count: int) -> csr_matrix:
    """The symmetric graph `(N, N)`: the probability that one of two points holds to the other, or both do."""
    strength = np.where(index == np.arange(len(index))[:, None], 0, strength)
    one = _bipartite(strength, index, count)
    one.eliminate_zeros()
    both = one.multiply(one.T)
    return (one + one.T - both).tocsr()


def _optimise(
    moving: np.ndarray,
    held: np.ndarray,
    graph: csr_matrix,
    min_distance: float,
    epochs: int,
    random: np.random.RandomState,
    rate: float,
    steps: Steps,
) -> np.ndarray:
    """The coordinates after umap-learn's gradient descent; `held` move along where they are the same array."""
    optimise = _optimiser()
    from umap.umap_ import find_ab_params, make_epochs_per_sample

    edges = _strong(graph.tocoo(), epochs)
    often = make_epochs_per_sample(edges.data, epochs)
    a, b = find_ab_params(1.0, min_distance)
    state = random.randint(_SEEDS.min + 1, _SEEDS.max, 3).astype(np.int64)
    return optimise(
        moving,
        held,
        edges.row,
        edges.col,
        epochs,
        graph.shape[1],
        often,
        a,
        b,
        state,
        initial_alpha=_Rate(rate, steps),
        move_other=moving is held,
    )


def _strong(edges: coo_matrix, epochs: int) -> coo_matrix:
    """Without the edges that would not be drawn once in so many epochs."""
    edges.data[edges.data < edges.data.max() / epochs] = 0
    edges.eliminate_zeros()
    return edges


class _Rate(float):
    """The learning rate, which umap-learn multiplies by what is left of the epochs at the end of each: the one place
    where it can be watched and, by an exception, ended. (Raised inside its progress bar, that would leave tqdm's lock
    taken for ever.)"""

    def __new__(cls, rate: float, _steps: Steps) -> _Rate:
        return super().__new__(cls, rate)

    def __init__(self, _rate: float, steps: Steps) -> None:
        self.steps = steps

    def __mul__(self, left: float) -> float:
        self.steps.tell(1 - left, 1, "UMAP")
        return float(self) * left


def _placing(job: Job, coordinates: np.ndarray) -> Callable[[np.ndarray, Steps], np.ndarray]:
    """As umap-learn's `transform` places points, but among exact neighbours."""
    points, settings = job.points, job.settings

    def place(new: np.ndarray, steps: Steps) -> np.ndarray:
        found = nearest(points, settings.neighbours, queries=new, cancelled=steps.cancelled)
        strength = memberships(found.distance, 0)
        graph = _bipartite(strength, found.index, len(points))
        begun = _among(strength, found, coordinates)
        epochs = 100 if len(new) <= FEW else 30
        random = np.random.RandomState(settings.seed)
        return _optimise(begun, coordinates.copy(), graph, settings.min_distance, epochs, random, 0.25, steps)

    return place


def _among(strength: np.ndarray, found: Neighbours, coordinates: np.ndarray) -> np.ndarray:
    """Means of the neighbours' coordinates by strength, `(M, 2)`; a point equal to one of them begins on it."""
    shares = strength / strength.sum(axis=1, keepdims=True)
    begun: Any = np.einsum("mk,mkd->md", shares, coordinates[found.index])
    equal = found.distance[:, 0] == 0
    begun[equal] = coordinates[found.index[equal, 0]]
    return begun.astype(np.float32, order="C")
