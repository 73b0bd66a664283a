"""Numbers about arrangements, against scikit-learn and against their definitions written out."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.stats import bootstrap
from sklearn import manifold
from sklearn.metrics import silhouette_samples
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from statsmodels.stats.proportion import proportion_confint

from xai import embedding_classes, embedding_quality, feature_blocks
from xai import embedding_metrics as metrics
from xai.attribution_types import ExplanationError
from xai.embedding import Quality, Share
from xai.evaluation import Cancelled
from xai.neighbours import Neighbours, nearest

pytestmark = pytest.mark.usefixtures("one_thread")
NAMES = ("ape", "bee", "cat", "dog")


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def groups(count: int = 240, width: int = 12, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Images of classes that overlap, in half precision, with labels of unequal number."""
    labels = np.random.default_rng(5).integers(0, classes, count)
    labels = np.where(np.arange(count) % 7 == 0, 0, labels)
    return (drawn(count, width) + 1.5 * drawn(classes, width, seed=6)[labels]).astype(np.float16), labels


def table(*rows: list[int]) -> Neighbours:
    return Neighbours(np.array(rows, np.int32), np.ones((len(rows), len(rows[0])), np.float32))


def test_votes_go_to_the_majority_and_ties_to_the_nearest() -> None:
    labels = np.array([2, 1, 1, 0, 0, 3])
    near = table([0, 1, 2, 3], [0, 1, 2, 5], [3, 1, 4, 2], [1, 3, 4, 2], [5, 0, 1, 3], [0, 3, 4, 3])
    assert metrics.votes(near, labels).tolist() == [1, 1, 0, 1, 3, 0]


def test_accuracy_of_neighbours_is_that_of_scikit_learn_leaving_one_out() -> None:
    vectors, labels = groups(120)
    # Two classes and an odd k: no ties, which scikit-learn gives to the lower class.
    labels = labels % 2
    predicted = cross_val_predict(KNeighborsClassifier(5), vectors.astype(float), labels, cv=LeaveOneOut())
    right = int((predicted == labels).sum())
    found = metrics.knn_accuracy(nearest(vectors, 5), labels)
    low, high = proportion_confint(right, 120, method="wilson")
    assert (found.value, found.n) == (right / 120, 120)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert 0.5 < found.value < 1


def test_accuracy_of_queries() -> None:
    vectors, labels = groups(200)
    classifier = KNeighborsClassifier(1).fit(vectors[:150].astype(float), labels[:150])
    near = nearest(vectors[:150], 1, queries=vectors[150:])
    found = metrics.knn_accuracy(near, labels[:150], labels[150:])
    assert found.value == pytest.approx(classifier.score(vectors[150:].astype(float), labels[150:]))
    assert found.n == 50


def test_accuracy_of_nothing_is_undefined() -> None:
    nothing = Neighbours(np.empty((0, 3), np.int32), np.empty((0, 3), np.float32))
    assert_undefined(metrics.knn_accuracy(nothing, np.array([1, 2]), np.array([], np.int64)), 0)


def assert_undefined(share: Share, n: int) -> None:
    assert np.isnan([share.value, share.low, share.high]).all()
    assert share.n == n


def test_overlap_is_the_share_of_common_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = nearest(drawn(80, 3), 9), nearest(drawn(80, 3) + drawn(80, 3, seed=1), 9)
    wanted = [len(set(x) & set(y)) / 9 for x, y in zip(a.index.tolist(), b.index.tolist(), strict=True)]
    np.testing.assert_allclose(metrics.overlap(a, b), wanted)
    assert 0.12 < np.mean(wanted) < 0.9
    monkeypatch.setattr(feature_blocks, "BYTES", 2000)
    np.testing.assert_allclose(metrics.overlap(a, b), wanted)


def test_overlap_of_one_network_with_itself_and_with_a_rotated_copy_is_one() -> None:
    vectors = drawn(150, 10)
    rotation = np.linalg.qr(drawn(10, 10, seed=1))[0]
    a = nearest(vectors, 10)
    for other in (vectors, vectors @ rotation * 2 - 1):
        shared = metrics.overlap(a, nearest(other, 10))
        assert (shared == 1).all()
        assert metrics.mean_share(shared) == Share(1.0, 1.0, 1.0, 150)


def test_overlap_of_clean_images_with_themselves_as_degraded_ones_is_one() -> None:
    vectors = np.repeat(drawn(50, 6), 2, axis=0)
    near = nearest(vectors, 7, queries=vectors, own=np.arange(100))
    assert (metrics.overlap(nearest(vectors, 7), near) == 1).all()


def test_overlap_by_chance() -> None:
    """Neighbours drawn anew from all other images."""
    rng = np.random.default_rng(0)
    offsets = [rng.permuted(np.tile(np.arange(1, 200), (200, 1)), axis=1)[:, :20] for _ in range(2)]
    a, b = ((np.arange(200)[:, None] + offset) % 200 for offset in offsets)
    found = metrics.overlap(Neighbours(a, a), Neighbours(b, b)).mean()
    assert found == pytest.approx(metrics.chance_overlap(200, 20), rel=0.05)
    assert metrics.chance_overlap(11, 10) == 1
    assert math.isnan(metrics.chance_overlap(1, 1))


def test_the_interval_of_a_mean_is_scipys() -> None:
    values = np.random.default_rng(0).integers(0, 11, 60) / 10
    found = metrics.mean_share(values, seed=3)
    wanted = bootstrap((values,), np.mean, method="BCa", rng=np.random.default_rng(1)).confidence_interval
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=0.005)
    assert found == metrics.mean_share(values, seed=3)
    assert_undefined(metrics.mean_share(np.array([])), 0)


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "some of the features": lambda vectors: vectors[:, :2].astype(np.float32),
    "anywhere": lambda vectors: drawn(len(vectors), 2, seed=9),
    "all of the features": lambda vectors: vectors,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("k", [1, 5, 30])
def test_trustworthiness_and_continuity_are_scikit_learns(layout: str, k: int) -> None:
    vectors = groups()[0]
    points = LAYOUTS[layout](vectors)
    wide, flat = vectors.astype(np.float64), points.astype(np.float64)
    trust = manifold.trustworthiness(wide, flat, n_neighbors=k)
    assert metrics.trustworthiness(vectors, points, k) == pytest.approx(trust, abs=1e-12)
    continuity = manifold.trustworthiness(flat, wide, n_neighbors=k)
    assert metrics.continuity(vectors, points, k) == pytest.approx(continuity, abs=1e-12)
    known = nearest(vectors, 32)
    assert metrics.continuity(vectors, points, k, neighbours=known) == pytest.approx(continuity, abs=1e-12)
    few = known.first(1)
    assert metrics.continuity(vectors, points, k, neighbours=few) == pytest.approx(continuity, abs=1e-12)


def test_points_that_were_put_anywhere_have_a_trustworthiness_of_one_half() -> None:
    assert metrics.trustworthiness(drawn(1500, 8), drawn(1500, 2, seed=1), 10) == pytest.approx(0.5, abs=0.01)


def trust_of(vectors: np.ndarray, points: np.ndarray, k: int, judged: np.ndarray) -> float:
    """The formula as it is written, over some of the images."""
    total, n = 0, len(vectors)
    for i in judged:
        far, near = (np.linalg.norm(space - space[i], axis=1) for space in (vectors.astype(float), points))
        near[i] = far[i] = np.inf
        for j in np.argsort(near, kind="stable")[:k]:
            total += max(0, 1 + int((far < far[j]).sum()) - k)
    return 1 - 2 * total / (len(judged) * k * (2 * n - 3 * k - 1))


def test_a_sample_is_judged_against_all_images(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = groups(150)[0]
    points = LAYOUTS["some of the features"](vectors).astype(np.float64)
    judged = metrics._judged(150, 40, seed=3)
    assert len(set(judged.tolist())) == 40
    wanted = trust_of(vectors, points, 6, judged)
    assert metrics.trustworthiness(vectors, points, 6, sample=40, seed=3) == pytest.approx(wanted, abs=1e-12)
    assert metrics.trustworthiness(vectors, points, 6, sample=40, seed=4) != wanted
    assert wanted == pytest.approx(metrics.trustworthiness(vectors, points, 6), abs=0.05)
    near = nearest(vectors, 6)
    apart = metrics.continuity(vectors, points, 6, sample=40, seed=3)
    assert metrics.continuity(vectors, points, 6, sample=40, seed=3, neighbours=near) == apart
    monkeypatch.setattr(feature_blocks, "BYTES", 3000)
    assert metrics.trustworthiness(vectors, points, 6, sample=40, seed=3) == pytest.approx(wanted, abs=1e-12)


def test_images_as_near_as_a_neighbour_do_not_make_it_worse() -> None:
    """Ten copies of each image, one shown beside another: whichever copy a picture shows is a nearest one."""
    vectors = np.repeat(drawn(12, 20) + 100, 10, axis=0)
    points = np.repeat(vectors[::10, :2] * 50, 10, axis=0) + 1e-3 * drawn(120, 2)
    assert metrics.trustworthiness(vectors, points, 9) == 1
    assert metrics.trustworthiness(np.full((50, 4), 0.1), drawn(50, 2), 9) == 1


def test_equal_images_have_a_distance_of_exactly_zero() -> None:
    vectors = torch.from_numpy(drawn(40, 37)).repeat(3, 1)
    squared = feature_blocks._between(vectors, vectors)
    equal = torch.eye(40).repeat(3, 3) == 1
    assert (squared[equal] == 0).all()
    direct = (vectors[:, None] - vectors).square().sum(dim=2)
    torch.testing.assert_close(squared[~equal], direct[~equal])


@pytest.mark.parametrize(("images", "k"), [(10, 5), (10, 9), (3, 2), (10, 0)])
def test_trustworthiness_is_undefined_from_half_the_images(images: int, k: int) -> None:
    assert math.isnan(metrics.trustworthiness(drawn(images, 3), drawn(images, 2), k))
    assert math.isnan(metrics.continuity(drawn(images, 3), drawn(images, 2), k))


def test_silhouettes_are_scikit_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, labels = groups()
    values = silhouette_samples(vectors.astype(np.float64), labels)
    by_class, mean = embedding_classes.silhouette(vectors, labels, 5)
    np.testing.assert_allclose(by_class[:4], [values[labels == k].mean() for k in range(4)], atol=1e-9)
    assert math.isnan(by_class[4])
    assert mean == pytest.approx(values.mean())
    monkeypatch.setattr(feature_blocks, "BYTES", 3000)
    np.testing.assert_allclose(embedding_classes.silhouette(vectors, labels, 5)[0], by_class)


def test_a_sample_for_silhouettes_is_stratified_and_weighted() -> None:
    vectors, labels = groups(600)
    values = silhouette_samples(vectors.astype(np.float64), labels)
    rows = embedding_classes._of_each_class(labels, np.bincount(labels), 80, seed=1)
    assert np.bincount(labels[rows]).tolist() == [20] * 4
    by_class, mean = embedding_classes.silhouette(vectors, labels, 4, sample=80, seed=1)
    wanted = [values[rows][labels[rows] == k].mean() for k in range(4)]
    np.testing.assert_allclose(by_class, wanted, atol=1e-9)
    assert mean == pytest.approx(np.bincount(labels) @ wanted / 600)


def test_a_class_of_one_image_has_no_silhouette() -> None:
    vectors, labels = groups()
    labels = np.concatenate([labels, [4]])
    vectors = np.concatenate([vectors, vectors[:1] + 3])
    values = silhouette_samples(vectors.astype(np.float64), labels)
    by_class, mean = embedding_classes.silhouette(vectors, labels, 5)
    np.testing.assert_allclose(by_class[:4], [values[labels == k].mean() for k in range(4)], atol=1e-9)
    assert math.isnan(by_class[4])
    assert mean == pytest.approx(values[:-1].mean())


@pytest.mark.parametrize("labels", [[0] * 6, [0, 1, 2, 3, 4, 5]])
def test_silhouettes_need_two_classes_and_two_images(labels: list[int]) -> None:
    by_class, mean = embedding_classes.silhouette(drawn(6, 3), np.array(labels), 6)
    assert np.isnan(by_class).all()
    assert math.isnan(mean)


def test_silhouettes_of_constant_features_are_zero() -> None:
    by_class, mean = embedding_classes.silhouette(np.full((40, 9), 0.1), np.arange(40) % 4, 4)
    assert by_class.tolist() == [0] * 4
    assert mean == 0


def test_centres_and_their_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, labels = groups()
    monkeypatch.setattr(feature_blocks, "BYTES", 3000)
    middles = embedding_classes.centres(vectors, labels, 5)
    wide = vectors.astype(np.float64)
    np.testing.assert_allclose(middles[:4], [wide[labels == k].mean(axis=0) for k in range(4)])
    assert np.isnan(middles[4]).all()
    found = embedding_classes.class_distances(middles)
    wanted = np.linalg.norm(middles[:4, None] - middles[:4], axis=2)
    np.testing.assert_allclose(found[:4, :4], wanted / wanted[np.triu_indices(4, 1)].mean())
    assert np.isnan(found[4]).all()
    assert np.isnan(found[:, 4]).all()


def test_drift_is_in_units_of_the_distance_between_clean_centres() -> None:
    """Centres at the corners of a square of side 2; the class at the origin moves by 5, the others stay."""
    corners = np.array([[0, 0], [2, 0], [2, 2], [0, 2]], np.float32)
    vectors, labels = np.repeat(corners, 3, axis=0), np.repeat(np.arange(4), 3)
    moved = np.where(labels[:, None] == 0, vectors + np.array([3, 4], np.float32), vectors)
    unit = (4 * 2 + 2 * math.sqrt(8)) / 6
    np.testing.assert_allclose(embedding_classes.drift(vectors, moved, labels, 4), [5 / unit, 0, 0, 0])
    found = embedding_classes.drift(vectors, moved, labels, 5)
    assert np.isnan(found).tolist() == [False] * 4 + [True]


@pytest.mark.parametrize("vectors", [drawn(6, 3), np.full((6, 3), 0.1)])
def test_distances_have_no_unit_without_two_different_centres(vectors: np.ndarray) -> None:
    labels = np.zeros(6, int) if len(np.unique(vectors)) > 1 else np.arange(6) % 2
    assert np.isnan(embedding_classes.class_distances(embedding_classes.centres(vectors, labels, 2))).all()
    assert np.isnan(embedding_classes.drift(vectors, vectors + 1, labels, 2)).all()


def judged(vectors: np.ndarray, points: np.ndarray, labels: np.ndarray, k: int = 5) -> Quality:
    return embedding_quality.quality(vectors, points, nearest(vectors, k), labels, NAMES)


def good(count: int = 240) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features that lie almost in a plane, that plane, and labels."""
    plane, labels = groups(count, width=2)
    rest = 0.05 * drawn(count, 10)
    return np.column_stack([plane.astype(np.float64), rest]), plane.astype(np.float32), labels


def test_quality_puts_the_numbers_together_and_has_nothing_to_warn_of() -> None:
    vectors, points, labels = good()
    found = judged(vectors, points, labels)
    assert found.trustworthiness == metrics.trustworthiness(vectors, points, 5)
    assert found.continuity == pytest.approx(metrics.continuity(vectors, points, 5), abs=1e-12)
    assert found.judged == 240
    assert found.knn_accuracy == metrics.knn_accuracy(nearest(vectors, 5), labels)
    assert found.knn_accuracy_2d == metrics.knn_accuracy(nearest(points, 5), labels)
    by_class, mean = embedding_classes.silhouette(vectors, labels, 4)
    np.testing.assert_array_equal(found.silhouette, by_class)
    assert found.mean_silhouette == mean
    np.testing.assert_array_equal(
        found.distances, embedding_classes.class_distances(embedding_classes.centres(vectors, labels, 4))
    )
    assert found.trustworthiness > 0.95
    assert found.warnings == ()


def test_quality_says_over_how_many_images_it_was_judged() -> None:
    vectors, points, labels = good()
    found = embedding_quality.quality(vectors, points, nearest(vectors, 5), labels, NAMES, sample=50, seed=2)
    assert found.judged == 50
    assert found.trustworthiness == metrics.trustworthiness(vectors, points, 5, sample=50, seed=2)


def poor() -> Quality:
    vectors, labels = groups()
    return judged(vectors, drawn(240, 2, seed=9), labels)


def small() -> Quality:
    vectors, points, _ = good(60)
    return judged(vectors, points, np.arange(60) % 4, k=13)


def relabelled(*counts: int) -> Quality:
    vectors, points, _ = good(sum(counts))
    return judged(vectors, points, np.repeat(np.arange(len(counts)), counts), k=5)


def constant() -> Quality:
    return judged(np.full((240, 6), 0.1), drawn(240, 2), groups()[1])


WARNINGS: dict[str, tuple[Callable[[], Quality], list[str]]] = {
    "poor": (poor, ["The picture is poor: its trustworthiness is 0.4"]),
    "small": (small, ["The sample is small: 60 images for 13 neighbours; 65 are needed."]),
    "one class": (lambda: relabelled(0, 200), ["All images are of one class (bee)"]),
    "single": (
        lambda: relabelled(100, 1, 100, 1),
        ["Classes bee, dog have only one image, so no silhouette."],
    ),
    "few": (lambda: relabelled(100, 9, 100), ["Class bee has fewer than 10 images"]),
    "many with few": (lambda: relabelled(9, 9, 9, 9), ["4 classes have fewer than 10 images"]),
    "constant": (constant, ["All images have the same features, so the picture says nothing."]),
}


@pytest.mark.parametrize("case", WARNINGS)
def test_warnings_for_a_badge(case: str) -> None:
    make, wanted = WARNINGS[case]
    found = make().warnings
    assert len(found) == len(wanted), found
    assert all(words in sentence for words, sentence in zip(wanted, found, strict=True)), found


@pytest.mark.parametrize("images", [2, 3, 4])
def test_a_few_images_have_a_quality_with_a_warning(images: int) -> None:
    vectors, labels = drawn(images, 5), np.arange(images) % 2
    found = judged(vectors, vectors[:, :2], labels, k=images - 1)
    assert math.isnan(found.trustworthiness) == (images < 3)
    assert found.knn_accuracy.n == images
    assert any("The sample is small" in words for words in found.warnings)


@pytest.mark.parametrize("what", ["features", "coordinates"])
def test_values_that_are_not_finite_leave_nothing_to_judge(what: str) -> None:
    vectors, points, labels = good()
    near = nearest(vectors, 5)
    (vectors if what == "features" else points)[[3, 8], 0] = np.inf
    found = embedding_quality.quality(vectors, points, near, labels, NAMES)
    assert found.warnings == (
        f"The {what} of 2 of 240 images hold NaN or infinite values, so nothing was judged.",
    )
    assert found.judged == 0
    assert math.isnan(found.trustworthiness)
    assert_undefined(found.knn_accuracy, 0)
    assert found.silhouette.shape == (4,)
    assert found.distances.shape == (4, 4)


def test_a_hundred_classes() -> None:
    labels = np.arange(1000) % 100
    vectors = drawn(100, 20)[labels] + 0.3 * drawn(1000, 20)
    found = embedding_quality.quality(
        vectors, vectors[:, :2], nearest(vectors, 5), labels, [str(k) for k in range(100)]
    )
    assert found.silhouette.shape == (100,)
    assert np.isfinite(found.silhouette).all()
    assert found.knn_accuracy.value > 0.99


def test_work_stops_when_told() -> None:
    vectors, points, labels = good()
    with pytest.raises(Cancelled):
        embedding_quality.quality(vectors, points, nearest(vectors, 5), labels, NAMES, cancelled=lambda: True)


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "tables": (lambda: metrics.overlap(table([1]), table([1, 2])), r"tables of \(1, 1\) and \(1, 2\)"),
    "queries": (
        lambda: metrics.knn_accuracy(table([1]), np.arange(3)),
        "1 queries need as many labels, not 3",
    ),
    "points": (
        lambda: metrics.trustworthiness(drawn(5, 3), drawn(4, 2), 1),
        "5 images need as many points, not 4",
    ),
    "label": (
        lambda: embedding_classes.silhouette(drawn(3, 3), np.array([0, 1, 2]), 2),
        "label is 2; allowed are 0 to 1",
    ),
    "drift": (
        lambda: embedding_classes.drift(drawn(3, 3), drawn(2, 3), np.zeros(3, int), 1),
        r"\(3, 3\) and \(2, 3\)",
    ),
    "NaN": (
        lambda: metrics.trustworthiness(np.full((5, 2), np.nan), drawn(5, 2), 1),
        "features of 5 of 5 images",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_in_a_sentence(case: str) -> None:
    call, words = WRONG[case]
    with pytest.raises(ExplanationError, match=words):
        call()
