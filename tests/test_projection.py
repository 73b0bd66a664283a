"""Features as points in the plane, beside scikit-learn, openTSNE and umap-learn used directly."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from xai import projection_pca, projection_settings, projection_tsne, projection_umap
from xai.attribution_types import ExplanationError
from xai.evaluation import Cancelled
from xai.neighbours import nearest
from xai.projection import METHODS, PARAMETERS, Projecting, Projection, project

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = {"perplexity": 10, "iterations": 100, "neighbours": 10, "pca": 8}
GROUPS, EACH, WIDTH = 4, 40, 24


def settings(method: str, **changes: Any) -> Projecting:
    return Projecting(method, **{**QUICK, **changes})


@pytest.fixture(scope="module")
def clusters() -> tuple[np.ndarray, np.ndarray]:
    """Features of four groups far from each other, float16, and the groups."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(GROUPS), EACH)
    centres = random.normal(size=(GROUPS, WIDTH)) * 4
    return (centres[labels] + random.normal(size=(len(labels), WIDTH))).astype(np.float16), labels


@pytest.fixture(scope="module")
def maps(clusters: tuple[np.ndarray, np.ndarray]) -> dict[str, Projection]:
    return {name: project(clusters[0], settings(name)) for name in METHODS}


def nearest_label(points: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return labels[nearest(points, 1).index[:, 0]]


@pytest.mark.parametrize("name", METHODS)
def test_planted_groups_stand_apart(
    name: str, maps: dict[str, Projection], clusters: tuple[np.ndarray, np.ndarray]
) -> None:
    made, labels = maps[name], clusters[1]
    assert made.coordinates.shape == (len(labels), 2)
    assert made.coordinates.dtype == np.float32
    right = (nearest_label(made.coordinates, labels) == labels).mean()
    assert right == 1 if name != "pca" else right > 0.7


@pytest.mark.parametrize("name", METHODS)
def test_placing_moves_nothing_and_finds_the_same_places(
    name: str, maps: dict[str, Projection], clusters: tuple[np.ndarray, np.ndarray]
) -> None:
    made, (vectors, labels) = maps[name], clusters
    before = made.coordinates.copy()
    again = made.place(vectors)
    assert np.array_equal(made.coordinates, before)
    assert np.array_equal(made.place(vectors), again)
    far = np.linalg.norm(again - before, axis=1)
    extent = np.ptp(before, axis=0).max()
    assert np.median(far) < {"pca": 1e-6, "tsne": 0.02, "umap": 0.05}[name] * extent
    nearer = np.random.default_rng(1).normal(scale=0.3, size=vectors.shape) + vectors
    near = nearest(before, 1, queries=made.place(nearer)).index[:, 0]
    assert (labels[near] == labels).mean() > (0.99 if name != "pca" else 0.7)


@pytest.mark.parametrize(("name", "low", "high"), [("umap", 0.75, 1.25), ("tsne", 0, 0.33)])
def test_how_near_points_are_placed_to_themselves(name: str, low: float, high: float) -> None:
    """What the page and the figure say of short arrows: for most points, by the default settings."""
    random, labels = np.random.default_rng(0), np.arange(400) % 10
    vectors = 1.5 * random.normal(size=(10, 64))[labels] + random.normal(size=(400, 64))
    made = project(vectors.astype(np.float32), Projecting(name))
    again = made.place(vectors.astype(np.float32))
    away = np.linalg.norm(again - made.coordinates, axis=1) / np.ptp(made.coordinates, axis=0).max()
    assert low < np.quantile(away, 0.9) / projection_umap.PLACED_NEAR < high


@pytest.mark.parametrize("name", METHODS)
def test_same_seed_same_map(
    name: str, maps: dict[str, Projection], clusters: tuple[np.ndarray, np.ndarray]
) -> None:
    again = project(clusters[0], settings(name)).coordinates
    assert np.array_equal(again, maps[name].coordinates)
    other = project(clusters[0], settings(name, seed=1)).coordinates
    assert np.array_equal(other, again) == (name == "pca")


@pytest.mark.parametrize("name", ["tsne", "umap"])
def test_a_start_is_kept_to_whatever_its_size(
    name: str, maps: dict[str, Projection], clusters: tuple[np.ndarray, np.ndarray]
) -> None:
    vectors, labels = clusters
    corners = np.array([[0.0, 0], [1, 0], [0, 1], [1, 1]])
    start = corners[labels] * 1000 + np.random.default_rng(0).normal(size=(len(labels), 2))
    made = project(vectors, settings(name), start=start).coordinates
    centres = np.stack([made[labels == group].mean(axis=0) for group in range(GROUPS)])
    assert np.array_equal(centres > centres.mean(axis=0), corners > 0.5)
    assert 0.1 < np.ptp(made) / np.ptp(maps[name].coordinates) < 10


def test_pca_is_that_of_scikit_learn(clusters: tuple[np.ndarray, np.ndarray]) -> None:
    from sklearn.decomposition import PCA

    for vectors in (clusters[0], clusters[0][:15]):
        theirs = PCA(8, svd_solver="full").fit(vectors.astype(np.float64))
        axes = projection_pca.principal_axes(vectors, 8)
        assert np.allclose(axes.shares, theirs.explained_variance_ratio_)
        assert np.allclose(np.abs((axes.directions * theirs.components_.T).sum(axis=0)), 1)
        assert (axes.directions.max(axis=0) >= -axes.directions.min(axis=0)).all()
        ours = np.abs(axes.apply(vectors))
        assert np.allclose(ours, np.abs(theirs.transform(vectors.astype(np.float64))), atol=1e-4)


def test_blocks_do_not_change_pca(
    clusters: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = [projection_pca.principal_axes(clusters[0][:rows], 8).directions for rows in (160, 15)]
    monkeypatch.setattr("xai.feature_blocks.BYTES", 2000)
    parts = [projection_pca.principal_axes(clusters[0][:rows], 8).directions for rows in (160, 15)]
    for one, other in zip(whole, parts, strict=True):
        assert np.allclose(one, other)


def test_pca_sees_no_more_dimensions_than_there_are() -> None:
    line = np.outer(np.arange(6.0), [3, 4]).astype(np.float16)
    made = project(line, Projecting("pca"))
    assert np.allclose(made.coordinates, np.stack([np.arange(-2.5, 3) * 5, np.zeros(6)], axis=1), atol=1e-5)
    assert np.allclose(made.place(line[:1] + np.array([[-4, 3]], np.float16))[0, 1], 0)
    assert "100.0%" in made.notes[0]
    narrow = project(line[:, :1], Projecting("pca")).coordinates
    assert np.allclose(narrow[:, 0], np.arange(-2.5, 3) * 3)
    assert not narrow[:, 1].any()


def test_tsne_is_that_of_opentsne(clusters: tuple[np.ndarray, np.ndarray]) -> None:
    """The same neighbours and the same start give the same map, and the same places in it."""
    from openTSNE import TSNE
    from openTSNE.affinity import PerplexityBasedNN

    vectors = clusters[0]
    start = np.random.default_rng(0).normal(size=(len(vectors), 2))
    begin = projection_tsne._start(start, 0)
    assert begin.std(axis=0).max() == pytest.approx(1e-4, rel=0.02)
    index: Any = projection_tsne._Index(vectors, nearest(vectors, 30))
    options = {"negative_gradient_method": "bh", "theta": projection_tsne.THETA, "n_iter": 100}
    affinities = PerplexityBasedNN(knn_index=index, perplexity=10)
    theirs = TSNE(**options).fit(affinities=affinities, initialization=begin)
    new = vectors + np.float16(0.1)
    placed = np.asarray(theirs.transform(new))  # which centres the map, too
    ours = project(vectors, settings("tsne", pca=0), start=start)
    assert np.allclose(ours.coordinates, np.asarray(theirs), atol=1e-4)
    assert np.allclose(ours.place(new), placed, atol=1e-4)


@pytest.mark.parametrize("name", ["tsne", "umap"])
def test_as_trustworthy_as_scikit_learns_tsne(name: str, clusters: tuple[np.ndarray, np.ndarray]) -> None:
    from sklearn.manifold import TSNE, trustworthiness

    vectors = clusters[0].astype(np.float32)
    theirs = TSNE(perplexity=10, random_state=0).fit_transform(vectors)
    ours = project(vectors, settings(name, iterations=500, pca=0)).coordinates
    scores = [trustworthiness(vectors, one, n_neighbors=8) for one in (ours, theirs)]
    assert scores[0] > scores[1] - (0.005 if name == "tsne" else 0.03)


def test_umap_holds_to_neighbours_as_umap_learn_does(clusters: tuple[np.ndarray, np.ndarray]) -> None:
    """Their compiled functions, run as plain Python."""
    from umap import umap_

    vectors = np.concatenate([clusters[0][:60], clusters[0][:3]]).astype(np.float32)
    index, distance = projection_umap._with_self(nearest(vectors, 7))
    for connected, bipartite in ((1, False), (0, True)):
        sigma, rho = umap_.smooth_knn_dist.py_func(distance, 8.0, local_connectivity=float(connected))
        if bipartite:
            rho[:] = 0  # what it reads past the end of an empty array, times 0
        _rows, _columns, theirs, _ = umap_.compute_membership_strengths.py_func(
            index, distance, sigma, rho, False, bipartite
        )
        ours = projection_umap.memberships(distance, connected)
        expected = theirs.reshape(ours.shape)
        own = (index == np.arange(len(index))[:, None]) & (not bipartite)
        assert np.allclose(ours[~own], expected[~own], atol=2e-4)
        assert ours.min() < 0.5


def test_umap_is_that_of_umap_learn(
    clusters: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same graph and the same start give the same map; their graph is made without being compiled."""
    from umap import UMAP, umap_

    # numba's threads, once started, slow t-SNE's down in the tests that follow
    monkeypatch.setattr("numba.get_num_threads", lambda: 1)
    monkeypatch.setattr("numba.set_num_threads", lambda _count: None)
    monkeypatch.setattr(umap_, "smooth_knn_dist", umap_.smooth_knn_dist.py_func)
    monkeypatch.setattr(umap_, "compute_membership_strengths", umap_.compute_membership_strengths.py_func)
    vectors = clusters[0].astype(np.float32)
    random, seeds = np.random.default_rng(0), np.random.RandomState(0)
    start = random.normal(size=(len(vectors), 2))
    begin = projection_umap._start(start, seeds)
    assert np.ptp(begin, axis=0).max() == pytest.approx(10, abs=0.01)
    known = projection_umap._with_self(nearest(vectors, 9))
    options = {
        "n_neighbors": 10,
        "precomputed_knn": known,
        "n_epochs": 20,
        "force_approximation_algorithm": True,
    }
    with pytest.warns(UserWarning, match="knn_search_index"):
        theirs = UMAP(init=begin, random_state=0, **options).fit(vectors)
    graph = projection_umap._united(projection_umap.memberships(known[1], 1), known[0], len(vectors))
    kept = theirs.graph_.toarray() > 0  # it forgets the weakest edges
    assert np.allclose(graph.toarray()[kept], theirs.graph_.toarray()[kept], atol=2e-4)
    assert graph.toarray()[~kept].max() < 1 / 20
    begin = (10 * (begin - begin.min(0)) / np.ptp(begin, axis=0)).astype(np.float32)
    steps = projection_settings.Steps()
    ours = projection_umap._optimise(
        begin, begin, theirs.graph_, 0.1, 20, np.random.RandomState(0), 1.0, steps
    )
    assert np.allclose(ours, theirs.embedding_, atol=1e-4)


@pytest.mark.parametrize("name", ["tsne", "umap"])
def test_neighbours_at_hand_give_the_same_map(
    name: str, clusters: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = clusters[0]
    whole, known = settings(name, pca=0), nearest(vectors, 40)
    searched = project(vectors, whole).coordinates
    for module in (projection_tsne, projection_umap):
        monkeypatch.setattr(module, "nearest", None)
    assert np.array_equal(project(vectors, whole, neighbours=known).coordinates, searched)
    with pytest.raises(TypeError):
        project(vectors, whole, neighbours=known.first(3))
    with pytest.raises(TypeError):
        project(vectors, settings(name), neighbours=known)


@pytest.mark.parametrize("name", METHODS)
def test_progress_rises_to_the_end_and_work_can_be_stopped(
    name: str, maps: dict[str, Projection], clusters: tuple[np.ndarray, np.ndarray]
) -> None:
    seen: list[tuple[int, int, str]] = []
    project(clusters[0], settings(name), progress=lambda *one: seen.append(one))
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
    assert seen[-1][:2] == (1000, 1000)
    whats = {what for _, _, what in seen}
    assert whats == {"PCA", "map"} | ({METHODS[name].title, "nearest neighbours"} if name != "pca" else set())
    for what in whats:
        stop: list[str] = []
        with pytest.raises(Cancelled):
            project(
                clusters[0],
                settings(name),
                progress=lambda _done, _total, now, stop=stop: stop.append(now),  # type: ignore[misc]
                cancelled=lambda stop=stop, what=what: what in stop,  # type: ignore[misc]
            ).place(clusters[0], cancelled=lambda: True)
    with pytest.raises(Cancelled):
        maps[name].place(clusters[0], cancelled=lambda: True)


@pytest.mark.parametrize("name", METHODS)
def test_any_number_of_points(name: str) -> None:
    random = np.random.default_rng(0)
    for count in (1, 2, 3, 4, 5, 6, 12):
        vectors = random.normal(size=(count, 5)).astype(np.float16)
        made = project(vectors, Projecting(name, iterations=10))
        assert made.coordinates.shape == (count, 2)
        assert np.isfinite(made.coordinates).all()
        assert np.isfinite(made.place(vectors[:1])).all()
        assert made.place(vectors[:0]).shape == (0, 2)
        few = count < METHODS[name].fewest
        assert any("needs at least 5" in note for note in made.notes) == (few and count > 1)
        reduced = any(
            note.startswith(("The perplexity was reduced", "The neighbours were")) for note in made.notes
        )
        assert reduced == (name != "pca" and not few)
        assert made.settings == Projecting(name, iterations=10)


@pytest.mark.parametrize("name", METHODS)
def test_equal_features(name: str) -> None:
    same = project(np.full((20, 3), 0.1), settings(name))
    assert not same.coordinates.any()
    assert same.notes == ("All 20 images have the same features, so that the map is one point.",)
    assert not same.place(np.ones((2, 3))).any()
    random = np.random.default_rng(0)
    twice = np.repeat(random.normal(size=(3, 6)), 30, axis=0)
    twice[:, 2] = 7
    made = project(twice, settings(name))
    assert np.isfinite(made.coordinates).all()
    assert np.isfinite(made.place(twice[::10])).all()
    rounded = project(1e9 + random.normal(size=(9, 2)) * 1e-7, settings(name)).coordinates
    assert np.isfinite(rounded).all()


def test_what_is_refused_is_said(
    clusters: tuple[np.ndarray, np.ndarray], maps: dict[str, Projection]
) -> None:
    bad = clusters[0].copy()
    bad[3, 1], bad[5] = np.nan, np.inf
    with pytest.raises(ExplanationError, match=r"2 of 160 images hold NaN or infinite"):
        project(bad, Projecting())
    with pytest.raises(ExplanationError, match="2 of 160 images"):
        maps["tsne"].place(bad)
    with pytest.raises(ExplanationError, match=r"\(0, 24\)"):
        project(bad[:0], Projecting())
    with pytest.raises(ExplanationError, match=r"\(160, 3\); allowed is \(M, 24\)"):
        maps["umap"].place(bad[:, :3])
    with pytest.raises(ExplanationError, match=r"start has the shape \(3, 2\)"):
        project(clusters[0], Projecting(), start=np.zeros((3, 2)))


def asking(name: str, value: Any) -> Projecting:
    return Projecting(**{name: value})


def test_settings_are_checked_and_read_back() -> None:
    for parameter in PARAMETERS.values():
        for value in (parameter.low, parameter.high):
            assert getattr(asking(parameter.name, int(value)), parameter.name) == value
        for wrong in (parameter.low - 1, parameter.high + 1, float("nan"), "5", True, None):
            with pytest.raises(ExplanationError, match=rf"^{parameter.name} is .*; allowed are .*\.$"):
                asking(parameter.name, wrong)
        assert parameter.meaning.endswith(".")
    with pytest.raises(ExplanationError, match="allowed are pca, tsne, umap"):
        Projecting("mds")
    asked = Projecting("umap", min_distance=0.25, seed=3)
    assert Projecting.from_json(json.loads(json.dumps(asked.to_json()))) == asked
    assert Projecting.from_json({}) == Projecting()
    with pytest.raises(ExplanationError, match="no setting 'size'"):
        Projecting.from_json({"size": 1})


def test_registry_names_its_parameters_and_refuses_duplicates() -> None:
    assert {name for one in METHODS.values() for name in one.parameters} == set(PARAMETERS)
    with pytest.raises(ValueError, match="twice"):
        projection_settings.method("tsne", "", "", (), 1)


def test_two_threads_at_once(maps: dict[str, Projection], clusters: tuple[np.ndarray, np.ndarray]) -> None:
    found: dict[tuple[str, int], np.ndarray] = {}

    def work(name: str, turn: int) -> None:
        made = project(clusters[0], settings(name))
        found[name, turn] = made.coordinates
        made.place(clusters[0])

    names = ("umap", "tsne")
    threads = [threading.Thread(target=work, args=(name, turn)) for name in names for turn in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in names:
        for turn in range(2):
            assert np.array_equal(found[name, turn], maps[name].coordinates)


def test_many_points_take_the_other_way(
    clusters: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("FFT_FROM", len(clusters[0])), ("EARLY", 60), ("_PLACING", 10)):
        monkeypatch.setattr(projection_tsne, name, value)
    made = project(clusters[0], settings("tsne", iterations=30))
    assert "FFT" in made.engine
    assert "Barnes-Hut" in project(clusters[0][1:], settings("tsne", iterations=1)).engine
    assert (nearest_label(made.coordinates, clusters[1]) == clusters[1]).all()
    before = made.coordinates.copy()
    assert np.median(np.linalg.norm(made.place(clusters[0]) - before, axis=1)) < 0.1 * np.ptp(before)


def test_features_on_disk_are_not_read_as_a_whole(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Peak memory of PCA over a memory map stays far below its size in double precision."""
    import tracemalloc

    monkeypatch.setattr("xai.feature_blocks.BYTES", 2**18)
    path = tmp_path / "features"
    shape = (20_000, 64)
    file = np.memmap(path, np.float16, "w+", shape=shape)
    file[:] = np.random.default_rng(0).normal(size=shape)
    file.flush()
    vectors = np.memmap(path, np.float16, "r", shape=shape)
    tracemalloc.start()
    made = project(vectors, Projecting("pca"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert made.coordinates.shape == (shape[0], 2)
    assert peak < shape[0] * shape[1] * 8 / 3


def test_settings_of_one_method_do_not_touch_another(clusters: tuple[np.ndarray, np.ndarray]) -> None:
    first = settings("pca")
    changed = replace(first, perplexity=5, neighbours=3, pca=2)
    one, other = (project(clusters[0], asked).coordinates for asked in (first, changed))
    assert np.array_equal(one, other)
