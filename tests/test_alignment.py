"""Alignment of layouts and of features: planted motions, scipy's `procrustes`, and the formula written out."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.spatial import procrustes as scipy_procrustes

from xai import feature_blocks
from xai.alignment import feature_residual, overlaid, procrustes
from xai.attribution_types import ExplanationError
from xai.neighbours import nearest


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def turned(angle: float, mirrored: bool = False) -> np.ndarray:
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return rotation @ np.diag([1, -1]) if mirrored else rotation


def rotation_of(width: int, seed: int = 0) -> np.ndarray:
    return np.linalg.qr(drawn(width, width, seed=seed))[0]


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_layout_that_was_moved_is_laid_back(mirrored: bool) -> None:
    a = drawn(50, 2)
    rotation = turned(2.2, mirrored)
    b = a @ rotation * 3.5 + [40, -7]
    found = procrustes(a, b)
    np.testing.assert_allclose(found.coordinates, a, atol=1e-5)
    np.testing.assert_allclose(found.rotation, rotation.T, atol=1e-12)
    assert found.scale == pytest.approx(1 / 3.5)
    assert found.residual < 1e-12
    assert found.coordinates.dtype == np.float32


def test_further_points_are_moved_as_the_layout_was() -> None:
    a, further = drawn(50, 2), drawn(9, 2, seed=1)
    moved = turned(0.7, mirrored=True) * 0.2
    found = procrustes(a, a @ moved - 3)
    np.testing.assert_allclose(found.apply(further @ moved - 3), further, atol=1e-5)
    np.testing.assert_array_equal(found.apply(a @ moved - 3), found.coordinates)
    assert found.apply(np.empty((0, 2))).shape == (0, 2)


def test_layouts_that_differ_are_aligned_as_by_scipy() -> None:
    a, b = drawn(40, 2) * 7 + 3, drawn(40, 2, seed=1) + drawn(40, 2)
    found = procrustes(a, b)
    standard, laid, disparity = scipy_procrustes(a, b)
    size = np.linalg.norm(a - a.mean(axis=0))
    np.testing.assert_allclose((a - a.mean(axis=0)) / size, standard)
    np.testing.assert_allclose((found.coordinates - a.mean(axis=0)) / size, laid, atol=1e-6)
    assert found.residual == pytest.approx(disparity)
    assert 0.1 < disparity < 0.9


def test_nothing_brings_the_layouts_closer() -> None:
    a, b = drawn(30, 2), drawn(30, 2, seed=1) + 0.5 * drawn(30, 2)
    found = procrustes(a, b)
    least = ((found.coordinates - a) ** 2).sum()
    assert least == pytest.approx(found.residual * ((a - a.mean(axis=0)) ** 2).sum(), rel=1e-5)
    for change in (turned(0.05), 1.05 * np.eye(2), np.eye(2) / 1.05, turned(0, mirrored=True)):
        centred = found.coordinates - found.target
        assert ((centred @ change + found.target - a) ** 2).sum() > least
    assert ((found.coordinates + np.array([0.05, 0]) - a) ** 2).sum() > least


@pytest.mark.parametrize("constant", ["a", "b", "both"])
def test_a_layout_in_one_place_is_only_moved(constant: str) -> None:
    a = np.full((5, 2), 0.1) if constant != "b" else drawn(5, 2)
    b = np.full((5, 2), 7.3) if constant != "a" else drawn(5, 2)
    found = procrustes(a, b)
    assert math.isnan(found.residual)
    np.testing.assert_allclose(found.coordinates, b - b.mean(axis=0) + a.mean(axis=0), atol=1e-6)


def test_one_image() -> None:
    found = procrustes(np.array([[1.0, 2.0]]), np.array([[5.0, 5.0]]))
    assert found.coordinates.tolist() == [[1, 2]]
    assert math.isnan(feature_residual(drawn(1, 4), drawn(1, 4)))


def by_definition(x: np.ndarray, y: np.ndarray) -> float:
    """Least of `|X - s Y R|^2 / |X|^2` over rotations and scales, of features filled up to one width."""
    width = max(x.shape[1], y.shape[1])
    x, y = (np.pad(part - part.mean(axis=0), ((0, 0), (0, width - part.shape[1]))) for part in (x, y))
    left, singular, right = np.linalg.svd(y.T @ x)
    scale = singular.sum() / (y**2).sum()
    return float(((x - scale * y @ left @ right) ** 2).sum() / (x**2).sum())


@pytest.mark.parametrize("widths", [(6, 6), (6, 9), (9, 6), (40, 70)])
def test_the_residual_is_what_no_rotation_and_scale_takes_away(widths: tuple[int, int]) -> None:
    common = drawn(60, 6)
    x = common @ drawn(6, widths[0], seed=1) + 0.5 * drawn(60, widths[0], seed=2) + 3
    y = common @ drawn(6, widths[1], seed=3) + 0.5 * drawn(60, widths[1], seed=4)
    found = feature_residual(x, y)
    assert found == pytest.approx(by_definition(x, y))
    assert found == pytest.approx(feature_residual(y, x))
    assert found == pytest.approx(scipy_procrustes(*padded(x, y))[2])
    assert 0.01 < found < 0.99


def padded(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    width = max(x.shape[1], y.shape[1])
    return np.pad(x, ((0, 0), (0, width - x.shape[1]))), np.pad(y, ((0, 0), (0, width - y.shape[1])))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_rotated_scaled_shifted_copy_has_residual_zero_and_the_same_neighbours(dtype: type) -> None:
    x: np.ndarray = drawn(200, 12).astype(dtype)
    copy = (x @ rotation_of(12) * 0.3 + 2).astype(dtype)
    wider = (np.pad(x, ((0, 0), (0, 8))) @ rotation_of(20)).astype(dtype)
    for other in (x, copy, wider):
        assert feature_residual(x, other) < 1e-6
        np.testing.assert_array_equal(nearest(x, 10).index, nearest(other, 10).index)


def test_features_with_nothing_in_common_have_residual_one() -> None:
    basis = np.linalg.qr(np.column_stack([np.ones(40), drawn(40, 8)]))[0][:, 1:]
    assert feature_residual(basis[:, :4], basis[:, 4:]) == pytest.approx(1)


def test_blocks_and_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = drawn(100, 8).astype(np.float16) + np.float16(60), drawn(100, 5, seed=1).astype(np.float16)
    whole = feature_residual(x, y)
    monkeypatch.setattr(feature_blocks, "BYTES", 500)
    assert feature_residual(x, y) == pytest.approx(whole, rel=1e-9)
    assert whole == pytest.approx(by_definition(x.astype(float), y.astype(float)))


def test_constant_features_have_no_residual() -> None:
    assert math.isnan(feature_residual(np.full((30, 4), 0.1), drawn(30, 4)))
    assert math.isnan(feature_residual(drawn(30, 4), np.zeros((30, 3))))


def with_nan() -> np.ndarray:
    return np.where(np.arange(10) < 3, np.nan, 1.0).reshape(5, 2)


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "layouts of different numbers": (lambda: procrustes(drawn(5, 2), drawn(4, 2)), r"\(5, 2\) and \(4, 2\)"),
    "a layout with NaN": (lambda: procrustes(drawn(5, 2), with_nan()), "coordinates of 2 of 5 images"),
    "no images": (lambda: procrustes(drawn(0, 2), drawn(0, 2)), r"shape \(0, 2\); allowed is"),
    "features of other images": (lambda: feature_residual(drawn(5, 3), drawn(6, 3)), "of 5 and 6 images"),
    "features with NaN": (lambda: feature_residual(with_nan(), drawn(5, 2)), "features of 2 of 5 images"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_in_a_sentence(case: str) -> None:
    call, words = WRONG[case]
    with pytest.raises(ExplanationError, match=words):
        call()


def test_laid_onto_another_a_layout_keeps_its_size() -> None:
    """Layouts that have little in common: least squares would shrink the second to almost nothing."""
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(2, 300, 2)).astype(np.float32)
    found, least = overlaid(3 * a, b + 5), procrustes(3 * a, b + 5)
    assert least.coordinates.std() < 0.5 * (3 * a).std()
    assert found.coordinates.std() == pytest.approx((3 * a).std(), rel=0.02)
    assert found.residual == least.residual
    np.testing.assert_allclose(found.rotation, least.rotation)
    np.testing.assert_allclose(found.apply(b + 5), found.coordinates)


def test_a_turned_copy_is_laid_exactly_onto_its_original() -> None:
    points = np.random.default_rng(1).normal(size=(50, 2)).astype(np.float32)
    turned = (points @ np.array([[0.6, -0.8], [0.8, 0.6]]) * 0.2 + 7).astype(np.float32)
    np.testing.assert_allclose(overlaid(points, turned).coordinates, points, atol=1e-4)
