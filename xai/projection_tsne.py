"""t-SNE by openTSNE, between exact neighbours, from the principal components; new points go into the unmoved map.

van der Maaten & Hinton 2008; Barnes-Hut: van der Maaten 2014; interpolation by FFT: Linderman et al. 2019; openTSNE:
Policar et al. 2024; the start from PCA: Kobak & Berens 2019; the learning rate N / exaggeration: Belkina et al. 2019.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from xai.neighbours import Neighbours, nearest
from xai.projection_settings import Job, Made, Steps, method

FFT_FROM = 5000
"""From so many points on the FFT is quicker than Barnes-Hut."""
THETA = 0.8
"""Barnes-Hut takes far points together more readily than by default (0.5), in two thirds of the time; KL divergence and
trustworthiness stay at least those of scikit-learn's default."""
GRID = 3
"""Side of the FFT's cells; the default of 1 makes large maps slow (four times as much at 10,000 points)."""
EARLY = 250
"""Steps with exaggerated attraction before the settings' own."""
_PLACING = 250
_EVERY = 10
_MOST_THREADS = 8


class _Index:
    """Exact neighbours in the form that openTSNE's affinities ask for."""

    def __init__(self, points: np.ndarray, known: Neighbours) -> None:
        self.points, self.known = points, known
        self.k, self.n_samples = known.index.shape[1], len(points)

    def build(self) -> tuple[np.ndarray, np.ndarray]:
        return self.known.index, self.known.distance

    def query(self, points: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        found = nearest(self.points, k, queries=points)
        return found.index, found.distance


def threads() -> int:
    """As many as PyTorch uses, at most 8. Barnes-Hut adds up in another order with another number."""
    return min(torch.get_num_threads(), _MOST_THREADS)


def _told(steps: Steps, total: int, offset: int = 0) -> dict[str, Any]:
    """openTSNE's callback, asked every few steps."""

    def told(iteration: int, _error: float, _embedding: np.ndarray) -> None:
        steps.tell(offset + iteration, total, "t-SNE")

    return {"callbacks": [told], "callbacks_every_iters": _EVERY}


@method(
    "tsne",
    "t-SNE",
    "Keeps each image beside its nearest neighbours: groups show well, but distances between groups and their sizes"
    " mean little.",
    ("perplexity", "iterations", "pca", "seed"),
    5,
)
def tsne(job: Job) -> Made:
    """The map after 250 steps of early exaggeration and `iterations` more, centred on 0."""
    import openTSNE
    from openTSNE.affinity import PerplexityBasedNN

    settings, count = job.settings, len(job.points)
    known = job.neighbours or nearest(
        job.points,
        needed(settings.perplexity, count),
        progress=job.steps.part(150, 300).tell,
        cancelled=job.steps.cancelled,
    )
    index = _Index(job.points, known.first(needed(settings.perplexity, count)))
    jobs = threads()
    affinities = PerplexityBasedNN(knn_index=index, perplexity=settings.perplexity, n_jobs=jobs)
    by_fft = count >= FFT_FROM
    begun = openTSNE.TSNE(
        negative_gradient_method="fft" if by_fft else "bh",
        theta=THETA,
        ints_in_interval=GRID,
        n_jobs=jobs,
        random_state=settings.seed,
    ).prepare_initial(affinities=affinities, initialization=_start(job.start, settings.seed))
    _optimise(begun, settings.iterations, job.steps.part(300, 1000))
    coordinates = np.array(begun)
    coordinates -= (coordinates.max(axis=0) + coordinates.min(axis=0)) / 2
    kind = "FFT" if by_fft else f"Barnes-Hut, {jobs} thread{'s' * (jobs > 1)}"
    return Made(coordinates, f"openTSNE {openTSNE.__version__}, {kind}", _placing(begun, coordinates))


def needed(perplexity: float, count: int) -> int:
    """How many neighbours t-SNE looks at."""
    return max(1, min(count - 1, int(3 * perplexity)))


def _start(start: np.ndarray, seed: int) -> np.ndarray:
    """Small enough for t-SNE to unfold, a standard deviation of 1e-4, and no two points quite on each other."""
    small = start / (start.std(axis=0).max() / 1e-4)
    return small + np.random.default_rng(seed).normal(0, 1e-6, small.shape)


def _optimise(embedding: Any, iterations: int, steps: Steps) -> None:
    """openTSNE's own two phases, by its defaults."""
    total = EARLY + iterations
    embedding.optimize(EARLY, exaggeration=12, momentum=0.8, inplace=True, **_told(steps, total))
    embedding.optimize(iterations, momentum=0.8, inplace=True, **_told(steps, total, EARLY))


def _placing(embedding: Any, coordinates: np.ndarray) -> Callable[[np.ndarray, Steps], np.ndarray]:
    """As `TSNEEmbedding.transform` places points, by its defaults, in a copy: that one moves its own map."""

    def place(points: np.ndarray, steps: Steps) -> np.ndarray:
        from openTSNE import TSNEEmbedding

        still = TSNEEmbedding(
            coordinates.copy(),
            embedding.affinities,
            **{**embedding.gradient_descent_params, "callbacks": None},
        )
        partial = still.prepare_partial(points, perplexity=5, initialization="median", k=25)
        settings = {"learning_rate": 0.1, "exaggeration": 1.5, "momentum": 0.8, "max_grad_norm": 0.25}
        partial.optimize(_PLACING, inplace=True, **settings, **_told(steps, _PLACING))
        return np.array(partial)

    return place
