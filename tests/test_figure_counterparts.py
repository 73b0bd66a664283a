"""Figures of counterparts: what is drawn is what was found, named, and within the sheet."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from xai.cka import CkaMatrix
from xai.counterparts import Chance, Neighbour, Pair, chance, correlations, match
from xai.feature_layers import LayerInfo
from xai.figure_counterparts import cka_figure, matched_figure


def matrix(rows: int = 2, columns: int = 3, condition: str = "clean") -> CkaMatrix:
    values = torch.linspace(-0.1, 1.1, rows * columns, dtype=torch.float64).reshape(rows, columns)
    values[0, 1] = math.nan
    first, second = (
        tuple(
            LayerInfo(f"stage{k}", "Conv2d", 8, (8 - k, 8 - k) if k < 3 else (1, 1), 1) for k in range(count)
        )
        for count in (rows, columns)
    )
    return CkaMatrix(
        values, first, second, "net-a", "net-b", "clean", condition, 400, 3, ("stage0 is dead.",)
    )


def values_of(drawn: Any) -> Any:
    """What matplotlib drew, as an array."""
    return np.ma.asarray(drawn, dtype=np.float64)


def inside(figure: Figure) -> bool:
    """Whether all axes with their labels, and all words, lie within the sheet."""
    figure.draw_without_rendering()
    boxes = [box for axes in figure.axes if (box := axes.get_tightbbox()) is not None]
    boxes += [words.get_window_extent() for words in figure.texts]
    width, height = figure.get_size_inches() * figure.dpi
    return all(b.x0 >= 0 and b.y0 >= 0 and b.x1 <= width and b.y1 <= height for b in boxes)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_matrices_on_one_scale(count: int) -> None:
    shown = [matrix(condition="gaussian_noise 3" if place else "clean") for place in range(count)]
    figure = cka_figure(shown, ["A note."])
    *panels, _ = figure.axes
    assert len(panels) == count
    for axes, each in zip(panels, shown, strict=True):
        np.testing.assert_array_equal(
            np.ma.filled(values_of(axes.images[0].get_array()), np.nan), each.values.numpy()
        )
        assert axes.images[0].get_clim() == (0, 1)
        assert [label.get_text() for label in axes.get_yticklabels()] == ["stage0 8×8", "stage1 7×7"]
        assert [text.get_text() for text in axes.texts] == ["−0.10", "none", "0.38", "0.62", "0.86", "1.10"]
        assert axes.get_ylabel() == "net-a\nclean"
    assert panels[-1].get_title() == ("clean" if count == 1 else "clean against Gaussian noise 3")
    *beside, below = figure.texts
    assert "linear CKA (0 to 1)" in [text.get_text() for text in beside]
    assert "over 400 images in 3 batches" in below.get_text()
    assert "A note. stage0 is dead." in below.get_text()
    assert inside(figure)


def test_many_layers_are_not_printed_over_each_other() -> None:
    figure = cka_figure([matrix(61, 30)] * 2)
    axes = figure.axes[0]
    assert not axes.texts
    assert len(axes.get_yticks()) <= 24
    assert inside(figure)


@pytest.mark.parametrize("count", [0, 5])
def test_how_many_fit(count: int) -> None:
    with pytest.raises(ValueError, match=f"{count} matrices were given; allowed are 1 to 4"):
        cka_figure([matrix()] * count)


def test_matched_channels() -> None:
    a = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    b = a[:, [2, 0, 1]] + 0.5 * torch.randn(50, 3, generator=torch.Generator().manual_seed(1))
    a[:, 3] = 0
    found = correlations(a, b)
    pairs = match(found)
    level = Chance(torch.full((20, 3), 0.3), (0, 1, 2))
    figure = matched_figure(
        found, pairs, level, ("net-a, layer1", "net-b, layer2"), interval=Neighbour(0, 0.9, 0.8, 0.95)
    )
    left, right = figure.axes
    np.testing.assert_allclose(
        values_of(left.lines[0].get_ydata()), sorted((pair.r for pair in pairs), reverse=True)
    )
    np.testing.assert_allclose(values_of(left.lines[1].get_ydata()), [0.3, 0.3])
    assert left.get_title() == "3 of 3 matched pairs above chance (0.30, dashed)"
    best = max(pairs, key=lambda pair: pair.r)
    np.testing.assert_array_equal(values_of(right.lines[0].get_xdata()), a[:, best.a].numpy())
    np.testing.assert_array_equal(values_of(right.lines[0].get_ydata()), b[:, best.b].numpy())
    assert right.get_title() == f"r = {best.r:.2f} (95 % interval 0.80 to 0.95), n = 50 images"
    assert right.get_xlabel() == f"A, channel {best.a}: spatial mean (activation)"
    assert "1 of 4 channels of A answer the same" in figure.texts[0].get_text().replace("\n", " ")
    assert inside(figure)
    other = matched_figure(found, pairs, level, ("a", "b"), chosen=Pair(1, 0, -0.25), what="maximum")
    assert other.axes[1].get_title() == "r = −0.25, n = 50 images"


@pytest.mark.parametrize(("channels", "words"), [((3,), "of 1 channel of A"), ((1, 2), "of 2 channels of A")])
def test_chance_of_one_channel_and_of_several(channels: tuple[int, ...], words: str) -> None:
    found = correlations(torch.randn(9, 4), torch.randn(9, 2))
    figure = matched_figure(found, match(found), Chance(torch.ones(5, len(channels)), channels), ("a", "b"))
    assert words in " ".join(figure.texts[0].get_text().split())


def test_nothing_to_match() -> None:
    found = correlations(torch.zeros(5, 3), torch.zeros(5, 2))
    figure = matched_figure(found, match(found), chance(found), ("a", "b"))
    assert "0 matched pairs" in figure.axes[0].get_title()
    assert figure.axes[1].texts[0].get_text() == "no channels have a correlation"
