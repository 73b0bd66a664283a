"""Nearest neighbours against brute force and scikit-learn, with ties, duplicates and files larger than a block."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from xai import neighbours
from xai.attribution_types import ExplanationError
from xai.evaluation import Cancelled
from xai.neighbours import Neighbours, nearest

pytestmark = pytest.mark.usefixtures("one_thread")


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def brute_force(
    vectors: np.ndarray, k: int, queries: np.ndarray | None = None, own: np.ndarray | None = None
) -> Neighbours:
    """All distances in double precision, sorted by distance and then by row."""
    points = vectors.astype(np.float64)
    asked = points if queries is None else queries.astype(np.float64)
    squared = ((asked[:, None] - points) ** 2).sum(axis=2)
    if queries is None:
        own = np.arange(len(points))
    if own is not None:
        squared[np.arange(len(asked)), own] = np.inf
    index = np.argsort(squared, axis=1, kind="stable")[:, :k]
    return Neighbours(index, np.sqrt(np.take_along_axis(squared, index, 1)))


def assert_equal(found: Neighbours, wanted: Neighbours) -> None:
    np.testing.assert_array_equal(found.index, wanted.index)
    np.testing.assert_allclose(found.distance, wanted.distance, rtol=1e-6)


KINDS = {
    "half precision": lambda: drawn(300, 40).astype(np.float16),
    "double precision": lambda: drawn(300, 40),
    "in the plane": lambda: drawn(300, 2).astype(np.float32),
    "a lattice, nearly all ties": lambda: (
        np.random.default_rng(1).integers(0, 3, (300, 5)).astype(np.float16)
    ),
    "a lattice in the plane": lambda: np.random.default_rng(1).integers(0, 9, (300, 2)).astype(np.float32),
    "duplicates": lambda: np.repeat(drawn(30, 40), 10, axis=0)[np.random.default_rng(2).permutation(300)],
    "duplicates in the plane": lambda: np.repeat(drawn(30, 2), 10, axis=0),
    "constant": lambda: np.full((50, 8), 0.1, np.float32),
    "zero with either sign": lambda: np.where(drawn(60, 4) > 0, 0.0, -0.0),
    "one far away": lambda: np.concatenate([drawn(100, 20), np.full((1, 20), 1e4)]),
    "far from the origin": lambda: drawn(100, 20) * 1e-3 + 1e3,
    "tiny": lambda: drawn(100, 20) * 1e-30,
    "huge": lambda: drawn(100, 20) * 1e30,
    "tiny in single precision": lambda: (drawn(100, 20) * 1e-30).astype(np.float32),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 7, 49])
def test_neighbours_are_those_of_brute_force(kind: str, k: int) -> None:
    vectors = KINDS[kind]()
    assert_equal(nearest(vectors, k), brute_force(vectors, k))


@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_of_queries_are_those_of_brute_force(kind: str) -> None:
    vectors = KINDS[kind]()
    queries = np.concatenate([vectors[::3], vectors[:5] * vectors.dtype.type(1.5)])
    assert_equal(nearest(vectors, 6, queries=queries), brute_force(vectors, 6, queries))
    own = np.arange(len(queries))[::-1] % len(vectors)
    found = nearest(vectors, 6, queries=queries, own=own)
    assert_equal(found, brute_force(vectors, 6, queries, own))
    assert not (found.index == own[:, None]).any()


def test_neighbours_are_those_of_scikit_learn() -> None:
    vectors = drawn(2000, 64).astype(np.float16)
    reference = NearestNeighbors(n_neighbors=15, algorithm="brute").fit(vectors.astype(np.float64))
    distance, index = reference.kneighbors()
    assert_equal(nearest(vectors, 15), Neighbours(index, distance))


def test_as_many_neighbours_as_there_are() -> None:
    vectors = drawn(12, 3)
    assert_equal(nearest(vectors, 11), brute_force(vectors, 11))
    assert_equal(nearest(vectors, 12, queries=vectors), brute_force(vectors, 12, vectors))


def test_what_rounding_leaves_open_is_computed_anew() -> None:
    """Far more points than the margin of candidates that single precision can't tell apart."""
    rng = np.random.default_rng(3)
    steps = rng.permutation(200)
    vectors = np.zeros((201, 16))
    vectors[1:, 0] = 1 + steps * 1e-9
    vectors[1:, 1] = 5 * rng.choice([-1, 1], 200)
    vectors[1:, 2:] = rng.standard_normal((200, 14)) * 1e-12
    wanted = brute_force(vectors, 5)
    assert not np.array_equal(wanted.index[0], np.arange(1, 6))
    np.testing.assert_array_equal(nearest(vectors, 5).index, wanted.index)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Features on disk, read in blocks of rows of which none is kept."""
    vectors = np.concatenate([drawn(90, 12), drawn(40, 12)]).astype(np.float16)
    np.save(tmp_path / "features.npy", vectors)
    wanted = brute_force(vectors, 9)
    for name, value in {"_KEPT": 0, "_QUERIES": 7, "_POINTS": 11, "_CACHED": 100}.items():
        monkeypatch.setattr(neighbours, name, value)
    assert_equal(nearest(np.load(tmp_path / "features.npy", mmap_mode="r"), 9), wanted)


def test_progress_ends_at_the_total_and_stops_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_QUERIES", 40)
    told: list[tuple[int, int, str]] = []
    nearest(drawn(100, 8), 3, progress=lambda *step: told.append(step))
    assert told == [(done, 100, "nearest neighbours") for done in (0, 40, 80, 100)]
    with pytest.raises(Cancelled):
        nearest(drawn(100, 8), 3, cancelled=lambda: True)


def test_the_first_of_a_table() -> None:
    vectors = drawn(40, 5)
    assert_equal(nearest(vectors, 9).first(4), brute_force(vectors, 4))
    with pytest.raises(ExplanationError, match="10 neighbours are asked for; allowed are 1 to 9"):
        nearest(vectors, 9).first(10)


def with_nan(value: float) -> np.ndarray:
    vectors = drawn(10, 3)
    vectors[[2, 5], 1] = value
    return vectors


WRONG = {
    "too many": (
        lambda: nearest(drawn(10, 3), 10),
        "10 neighbours are asked for among 10 images; allowed are 1 to 9",
    ),
    "none": (
        lambda: nearest(drawn(10, 3), 0),
        "0 neighbours are asked for among 10 images; allowed are 1 to 9",
    ),
    "one image": (lambda: nearest(drawn(1, 3), 1), "one image has no neighbours"),
    "empty": (lambda: nearest(drawn(0, 3), 1), r"the shape \(0, 3\); allowed is \(N, D\)"),
    "flat": (lambda: nearest(drawn(5), 1), r"the shape \(5,\); allowed is \(N, D\)"),
    "NaN": (lambda: nearest(with_nan(np.nan), 1), "features of 2 of 10 images hold NaN or infinite"),
    "infinite": (lambda: nearest(with_nan(np.inf), 1), "features of 2 of 10 images hold NaN or infinite"),
    "NaN query": (
        lambda: nearest(drawn(9, 3), 1, queries=with_nan(np.nan)),
        "features of 2 of 10 images hold NaN",
    ),
    "other width": (
        lambda: nearest(drawn(9, 3), 1, queries=drawn(2, 4)),
        "4 and 3 numbers wide; allowed are equal",
    ),
    "own of others": (
        lambda: nearest(drawn(9, 3), 1, queries=drawn(2, 3), own=np.arange(3)),
        "2 queries need as many own rows",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_in_a_sentence(case: str) -> None:
    call, words = WRONG[case]
    with pytest.raises(ExplanationError, match=words):
        call()
