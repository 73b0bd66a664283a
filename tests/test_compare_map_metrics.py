"""Heatmaps compared by the stack: equal to `xai.faithfulness` pair by pair, and undefined where that is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from xai import faithfulness, map_agreement
from xai.compare import map_metrics as metrics

GRIDS = ((4, 4), (8, 8), (7, 5), (1, 3))


def maps(grid: tuple[int, int], seed: int, levels: int = 0) -> np.ndarray:
    """60 maps: of numbers, or of few `levels` so that cells tie; one blank, one constant, one all negative."""
    generator = np.random.default_rng(seed)
    found = generator.normal(size=(60, *grid)).astype(np.float32)
    if levels:
        found = np.maximum(np.round(found * levels) / levels, 0)
    found[0], found[1], found[2] = 0, 0.1, -np.abs(generator.normal(size=grid)) - 0.1
    return found


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("levels", [0, 1, 3])
def test_rows_are_what_each_pair_gives(grid: tuple[int, int], levels: int) -> None:
    a, b = maps(grid, 1, levels), maps(grid, 2, levels)
    pairs = [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in zip(a, b, strict=True)]
    for rows, one in (
        (metrics.spearman_rows(a, b), faithfulness.spearman),
        (metrics.pearson_rows(a, b), faithfulness.pearson),
        (metrics.top_overlap_rows(a, b), faithfulness.top_k_overlap),
        (metrics.centre_shift_rows(a, b), faithfulness.centre_shift),
    ):
        expected = np.array([float(one(x, y)) for x, y in pairs])
        assert np.array_equal(np.isnan(rows), np.isnan(expected))
        np.testing.assert_allclose(rows, expected, atol=1e-12)


def test_centre_is_that_of_each_map() -> None:
    a = maps((6, 3), 5)
    expected = [faithfulness.centre_of_mass(torch.from_numpy(each)) for each in a]
    np.testing.assert_allclose(metrics.centre_rows(a), np.array(expected), atol=1e-12)


@pytest.mark.parametrize(("grid", "other"), [((8, 8), (4, 4)), ((7, 7), (4, 5)), ((4, 8), (8, 4))])
def test_common_grid_is_that_of_each_pair(grid: tuple[int, int], other: tuple[int, int]) -> None:
    a, b = maps(grid, 1), maps(other, 2)
    found = metrics.on_common_grid(a, b)
    for row in range(5):
        expected = map_agreement.on_common_grid(torch.from_numpy(a[row]), torch.from_numpy(b[row]))
        for got, want in zip(found, expected, strict=True):
            np.testing.assert_allclose(got[row], want.numpy(), atol=1e-6)


def test_a_map_agrees_with_itself_exactly_and_its_mirror_not_at_all() -> None:
    a = maps((8, 8), 3, levels=2)
    assert set(metrics.spearman_rows(a, a)[2:]) == {1.0}
    assert set(metrics.spearman_rows(a, -a)[2:]) == {-1.0}
    numbers = maps((8, 8), 3)
    assert set(metrics.top_overlap_rows(numbers, numbers)[2:]) == {1.0}
    assert set(metrics.top_overlap_rows(numbers, -numbers)[2:]) == {0.0}


def test_entropy_counts_cells() -> None:
    """Evidence spread evenly over k of 16 cells has the entropy log k / log 16."""
    found = np.zeros((4, 4, 4), np.float32)
    for row, k in enumerate((1, 2, 4, 16)):
        found[row].flat[:k] = 0.3
    found = np.concatenate([found, -found])
    np.testing.assert_allclose(metrics.entropy_rows(found)[:4], [0, 0.25, 0.5, 1], atol=1e-12)
    assert np.isnan(metrics.entropy_rows(found)[4:]).all()
    assert np.isnan(metrics.entropy_rows(np.ones((2, 1, 1), np.float32))).all()


def test_a_map_with_nan_is_not_defined() -> None:
    a, b = maps((4, 4), 1)[3:], maps((4, 4), 2)[3:]
    a[0, 1, 1] = np.nan
    for rows in (
        metrics.spearman_rows(a, b),
        metrics.top_overlap_rows(a, b),
        metrics.centre_shift_rows(a, b),
        metrics.entropy_rows(a),
    ):
        assert np.isnan(rows[0])
        assert not np.isnan(rows[3:]).any()


def test_unequal_stacks_and_shares_are_refused() -> None:
    with pytest.raises(ValueError, match="equal shapes"):
        metrics.spearman_rows(maps((4, 4), 1), maps((4, 5), 1))
    with pytest.raises(ValueError, match="share is 0"):
        metrics.top_overlap_rows(maps((4, 4), 1), maps((4, 4), 1), 0)
