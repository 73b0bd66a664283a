"""Frequencies: filters that share an image out, planted reliance on a band, and silence where there is none."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch

from data.datasets import ImageSet
from tests.cue_helpers import SIZE, Constant, OneFrequency, bench, extents, facts, model, waves
from xai import statistics
from xai.compare import frequencies, frequencies_found
from xai.compare.bands import Filter, apply, bands, edges, filters
from xai.compare.frequencies_found import asked, between, by_class, differ, margins, reliance, summarise, tops
from xai.compare.sections import Measured, section
from xai.compare.study import Facts

pytestmark = pytest.mark.usefixtures("one_thread")
CLASSES = ("across", "down")
SIMULATED, ALLOWED = 200, 18
"""Of 200 tests of true nulls at 5 %, more than 18 tell a difference with a probability of 0.7 %."""


# Filters


@pytest.mark.parametrize("size", [8, 28, 32, 33, 64, 224])
def test_bands_are_octaves_up_to_the_nyquist_frequency(size: int) -> None:
    ends = bands(size)
    assert [low for low, _ in ends] == [2**k for k in range(len(ends))]
    assert all(high == 2 * low for low, high in ends[:-1])
    assert math.isinf(ends[-1][1])
    assert edges(size)[-1] < size / 2 <= 2 * edges(size)[-1] + 0.5 or size == 33
    assert len({(each.low, each.high, each.stop) for each in filters(size)}) == len(filters(size))


@pytest.mark.parametrize("shape", [(32, 32), (33, 33), (28, 40)])
def test_bands_share_out_the_image(shape: tuple[int, int]) -> None:
    """All bands together with one mean are the image, and so is each band with what is left without it."""
    images = torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(0))
    mean = images.mean(dim=(2, 3), keepdim=True)
    by_kind = {(each.kind, each.low): apply(images, each) for each in filters(32)}
    passed = {low: found for (kind, low), found in by_kind.items() if kind == "pass"}
    assert torch.allclose(sum(found - mean for found in passed.values()) + mean, images, atol=1e-5)
    for low, found in passed.items():
        assert torch.allclose(found + by_kind["stop", low] - mean, images, atol=1e-5)
        assert torch.allclose(found.mean(dim=(2, 3), keepdim=True), mean, atol=1e-6)
        assert float((found - mean).abs().max()) > 0.01
    assert torch.allclose(by_kind["low", 1], passed[1] + passed[2] - mean, atol=1e-5)
    assert torch.allclose(by_kind["high", 4], passed[4] + passed[8] - mean, atol=1e-5)
    assert by_kind["none", 0] is images


@pytest.mark.parametrize(
    ("across", "down", "band"),
    [(1, 0, 0), (1, 1, 0), (2, 0, 1), (3, 2, 1), (0, 4, 2), (6, 6, 3), (16, 16, 3)],
)
def test_a_wave_is_in_the_band_of_its_radial_frequency(across: int, down: int, band: int) -> None:
    """Also on an edge, which belongs to the band above it, and in the corner beyond the Nyquist frequency."""
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    wave = torch.cos(2 * math.pi * (across * columns + down * rows) / 32).expand(1, 3, 32, 32)
    passed = [apply(wave, each) for each in filters(32) if each.kind == "pass"]
    assert [bool((each - wave).abs().max() < 1e-4) for each in passed] == [k == band for k in range(4)]
    assert all(float(each.abs().max()) < 1e-4 for k, each in enumerate(passed) if k != band)


def test_small_images_are_refused_with_a_sentence() -> None:
    assert frequencies.applies(facts(size=4)) == (
        "Images of 4 px have too few frequencies; at least 8 px are needed."
    )
    assert frequencies.applies(facts(size=8)) == ""


# Planted networks


def measured(first: Any, second: Any, count: int = 120) -> tuple[Facts, Measured]:
    """What two networks answer to waves of 3 and 12 cycles, which both give the class away."""
    labels = np.arange(count) % 2
    ids = tuple(f"made-up/test/{k}" for k in range(count))
    data = ImageSet("made-up", "test", waves((3, 12), labels), torch.from_numpy(labels), CLASSES, ids)
    networks = [model(name, each, CLASSES, SIZE) for name, each in (("a", first), ("b", second))]
    made = bench(networks, lambda *_: data, dataset="made-up", degradations=())
    return made.facts, frequencies.measure(made)


@pytest.fixture(scope="module")
def planted() -> tuple[Facts, Measured]:
    """A needs the band from 2 cycles, B that from 8."""
    return measured(OneFrequency(3), OneFrequency(12))


def test_a_network_of_one_band_is_told_to_need_it(planted: tuple[Facts, Measured]) -> None:
    found = asked(*planted)
    assert found.correct[:, :, 0].all()
    for place, band in ((0, 1), (1, 3)):
        lost = reliance(found, place)
        assert [each.real for each in lost] == [k == band for k in range(4)]
        assert lost[band].difference.difference > 0.3
        logits = margins(found, place)
        assert [each.low > 0 and each.value > 0.5 * logits[band].value for each in logits] == [
            k == band for k in range(4)
        ]
        assert found.correct[place, :, 1 + band].all(), "the band alone is enough"
        assert found.correct[place, :, 1 + (band + 1) % 4].mean() < 0.7
    a, b, apart = tops(found, [reliance(found, 0), reliance(found, 1)])
    assert (a.band, a.low, a.high, a.clear, b.band, b.low, b.high, b.clear) == (1, 1, 1, True, 3, 3, 3, True)
    assert apart == (-2, -2)


def test_networks_of_different_bands_are_told_to_differ_in_these(planted: tuple[Facts, Measured]) -> None:
    found = summarise(*planted)
    assert found.differs is True
    assert [each.real for each in between(asked(*planted))] == [False, True, False, True]
    a, b = planted[0].names
    assert f"{a} needs 2–4 cycles per image most" in found.verdict
    assert f"{b} needs 8 and more cycles per image most" in found.verdict
    assert "differ in 2 of 4 bands" in found.verdict
    assert found.numbers["bands_between"] == {"low": -2, "high": -2, "differ": True}


def test_a_band_is_named_alone_only_where_resamples_agree() -> None:
    """A loses as much without either of two bands, B without one alone."""
    drawn = np.ones((2, 100, FILTERS), bool)
    first, second = asked(*made_up(drawn)).stops[1:3]
    drawn[0, :31, first], drawn[0, 40:70, second], drawn[1, :40, second] = False, False, False
    told, rows = made_up(drawn)
    found = summarise(told, rows)
    assert (
        "one needs one of the bands from 2–4 to 4–8 cycles per image most (31 points are lost without 2–4)"
        in (found.verdict)
    )
    assert "two needs 4–8 cycles per image most (40 points are lost)." in found.verdict
    assert found.numbers["most_needed"][0]["band"] == "2–4"
    assert found.differs is True


@pytest.mark.parametrize("second", [OneFrequency(3), Constant(2)])
def test_networks_that_use_nothing_or_the_same_are_not_told_apart(second: Any) -> None:
    first = OneFrequency(3) if isinstance(second, OneFrequency) else Constant(2)
    made, rows = measured(first, second, 60)
    found = summarise(made, rows)
    assert found.differs is False
    assert "In no band was a difference between the two found." in found.verdict
    assert not found.numbers["bands_between"]["differ"]
    assert ("needs no single band" in found.verdict) == isinstance(second, Constant)


def test_rows_are_what_their_names_say(planted: tuple[Facts, Measured]) -> None:
    """Clipped pixels, kept variance and margins by another way."""
    _facts, rows = planted
    labels = np.arange(120) % 2
    images = waves((3, 12), labels)[:5].float() / 255
    stopped = apply(images, Filter("stop", 2, 4, stop=True))
    found = asked(*planted)
    number = found.stops[1]
    assert found.filters[number].title == "2–4"
    assert found.kept[:5, number] == pytest.approx(
        stopped.var((2, 3)).sum(1) / images.var((2, 3)).sum(1), rel=1e-4
    )
    assert found.kept[:, found.stops].min() == pytest.approx(0.5, abs=0.03), (
        "half of the variance is in each band"
    )
    logits = OneFrequency(12)(stopped).detach().numpy()
    own = logits[np.arange(5), labels[:5]] - logits.mean(axis=1)
    assert found.margin[1, :5, number] == pytest.approx(own, abs=1e-5)
    assert rows["answers"]["margin"].dtype == np.float32
    assert found.clipped.max() == 0


def test_clipped_pixels_are_counted() -> None:
    """Without its mean's neighbours, a white spot on black leaves values below 0: counted one by one."""
    image = torch.zeros(1, 3, 32, 32)
    image[..., 16, 16] = 1
    changed = apply(image, Filter("stop", 1, 2, stop=True))
    expected = np.mean(
        [(value < -0.5 / 255) or (value > 1 + 0.5 / 255) for value in changed.flatten().tolist()]
    )
    assert 0 < expected < 1
    assert frequencies._clipped(changed) == pytest.approx([expected], abs=1e-6)
    assert np.isnan(frequencies._kept(torch.ones(1, 3, 32, 32), torch.ones(1, 3, 32, 32))).all()


def test_many_large_images_are_thinned_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frequencies, "MOST_PIXELS", 10 * SIZE**2)
    monkeypatch.setattr(frequencies, "LEAST_IMAGES", 4)
    rows = measured(Constant(2), Constant(2), 60)[1]
    assert len(rows["images"]["image"]) == 10
    assert set(rows["pixels"]["image"]) == set(rows["images"]["image"]) < set(range(60))


# Made-up rows


def made_up(
    correct: np.ndarray, labels: np.ndarray | None = None, classes: int = 2
) -> tuple[Facts, Measured]:
    """Rows of answers `(2, n, filters)` of 32 px."""
    _, n, count = correct.shape
    network, image, chosen = (each.ravel() for each in np.indices(correct.shape))
    seen, number = (each.ravel() for each in np.indices((n, count)))
    margin = correct.ravel().astype(np.float32)
    labels = np.arange(n) % classes if labels is None else labels
    rows = {
        "images": {"image": np.arange(n), "label": labels},
        "pixels": {
            "image": seen,
            "filter": number,
            "clipped": np.zeros(n * count),
            "kept": np.ones(n * count),
        },
        "answers": {
            "image": image,
            "network": network,
            "filter": chosen,
            "correct": correct.ravel(),
            "margin": np.where(labels[image] < 0, np.nan, margin),
        },
    }
    names = [f"class {k}" for k in range(classes)]
    return facts("made-up", size=SIZE, images=n, classes=names), rows


FILTERS = len(filters(SIZE))


def simulated(seed: int, rates: np.ndarray, n: int = 150) -> frequencies_found.Asked:
    """Answers that are right with the probability `(2, filters)`, each on its own."""
    drawn = np.random.default_rng(seed).random((2, n, FILTERS)) < rates[:, None]
    return asked(*made_up(drawn))


@pytest.fixture
def no_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exact tests need no resamples, and intervals of accuracy are not looked at."""
    monkeypatch.setattr(statistics, "bca_of_counts", lambda *_: (math.nan, math.nan))


@pytest.mark.usefixtures("no_intervals")
def test_no_difference_is_found_where_there_is_none() -> None:
    """200 pairs of networks that lose the same on average: at 5 %, one of four bands is told rarely; and that answers
    are worse without a band, or the bands needed most differ, as rarely where that is not so."""
    rates = np.full((2, FILTERS), 0.7)
    rates[:, asked(*made_up(np.zeros((2, 4, FILTERS), bool))).stops[:2]] = 0.4
    told = lost = moved = 0
    for seed in range(SIMULATED):
        found = simulated(seed, rates)
        losses = [reliance(found, 0), reliance(found, 1)]
        told += any(each.real for each in between(found))
        moved += differ(tops(found, losses))
        lost += any(each.real for each in losses[0][2:])
    assert max(told, lost, moved) <= ALLOWED


@pytest.mark.usefixtures("no_intervals")
def test_a_difference_is_found_where_there_is_one() -> None:
    rates = np.full((2, FILTERS), 0.8)
    rates[1, asked(*made_up(np.zeros((2, 4, FILTERS), bool))).stops[2]] = 0.4
    told = [[each.real for each in between(simulated(seed, rates))] for seed in range(20)]
    assert np.mean(told, axis=0)[2] > 0.9
    assert np.mean(np.delete(told, 2, axis=1)) < 0.1


def test_swapped_networks_and_shuffled_rows() -> None:
    """A and B in the other order change signs alone, and rows may come in any order."""
    drawn = np.random.default_rng(0).random((2, 80, FILTERS)) < 0.6
    told, rows = made_up(drawn)
    order = np.random.default_rng(1).permutation(drawn.size)
    shuffled = {**rows, "answers": {name: each[order] for name, each in rows["answers"].items()}}
    assert summarise(told, shuffled).numbers == summarise(told, rows).numbers
    forth, back = between(asked(told, rows)), between(asked(*made_up(drawn[::-1])))
    for there, here in zip(forth, back, strict=True):
        assert there.difference.difference == pytest.approx(-here.difference.difference)
        assert there.difference.p_value == pytest.approx(here.difference.p_value)
    stop = asked(told, rows).stops[0]
    losses = [drawn[k, :, 0].mean() - drawn[k, :, stop].mean() for k in range(2)]
    assert forth[0].difference.difference == pytest.approx(losses[0] - losses[1])


def test_undefined_cases_are_counted_and_shown() -> None:
    """A class of nine images, and images whose class a network does not know."""
    labels = np.array([0] * 30 + [1] * 9 + [-1] * 4)
    told, rows = made_up(np.ones((2, 43, FILTERS), bool), labels)
    rows["images"]["label"] = np.maximum(labels, 0)
    found = summarise(told, rows)
    assert found.undefined == (
        "1 classes have fewer than 10 images and no numbers: class 1.",
        "one does not know the class of 4 images: they count as wrong, without logit.",
        "two does not know the class of 4 images: they count as wrong, without logit.",
    )
    assert [each["class"] for each in found.tables["Accuracy lost without a band, by class"]] == [
        "class 0",
        "class 1",
    ]
    assert (
        list(found.tables["Accuracy lost without a band, by class"][1].values())[2:]
        == ["fewer than 10 images"] * 8
    )
    assert list(by_class(asked(told, rows))) == [0]


def test_numbers_are_json_and_sentences_have_n_and_interval(planted: tuple[Facts, Measured]) -> None:
    found = summarise(*planted)
    assert json.loads(json.dumps(found.numbers))["images"] == 120
    assert all("n = 120" in words for words in found.sentences[:3])
    assert "opposite borders mix" in section("frequencies").method(*planted)
    assert "120 clean images" in section("frequencies").method(*planted)


@pytest.mark.parametrize("classes", [2, 30])
def test_figure_shows_the_numbers(classes: int) -> None:
    """The curves are the accuracies, strips are of as many classes as there is room for, and nothing is cut off."""
    drawn = np.random.default_rng(0).random((2, 300, FILTERS)) < 0.6
    told, rows = made_up(drawn, classes=classes)
    figure = section("frequencies").draw(told, rows)["frequencies"]
    found = asked(told, rows)
    curve = np.asarray(figure.axes[1].lines[0].get_ydata(), float)
    assert curve == pytest.approx(100 * drawn[0][:, found.stops].mean(axis=0))
    assert len(figure.axes) == 6
    assert np.asarray(figure.axes[3].images[0].get_array()).shape == (min(classes, 20), 4)
    boxes = extents(figure)
    assert boxes.min() > -0.002
    assert boxes.max() < 1.002
