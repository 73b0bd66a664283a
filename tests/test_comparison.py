"""The comparison of two networks on one picture: identities, targets, caching, refusals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from data import samples
from models import zoo
from models.registry import Model
from xai.attribution import ExplanationError
from xai.comparison import (
    Comparison,
    Picture,
    Request,
    compare,
    make_view,
    picture_from_image,
    picture_from_scene,
)
from xai.map_agreement import difference_between, on_common_grid

NAMES = ("alexnet-cue10-s0", "resnet18-cue10-s0")
NOISY = Request(NAMES, ("gradcam", "hirescam"), degradation="gaussian_noise", severity=3.0)


@pytest.fixture(scope="module")
def models() -> list[Model]:
    return [zoo.load(name) for name in NAMES]


@pytest.fixture(scope="module")
def picture() -> Picture:
    return picture_from_scene("test", 4)


@pytest.fixture(scope="module")
def noisy(models: list[Model], picture: Picture) -> Comparison:
    return compare(NOISY, picture, models)


def test_everything_asked_for_is_there(noisy: Comparison) -> None:
    assert [result.model for result in noisy.results] == list(NAMES)
    for result in noisy.results:
        assert set(result.heatmaps) == {"gradcam", "hirescam"}
        for condition in ("clean", "degraded"):
            assert result.probabilities[condition].sum() == pytest.approx(1, abs=1e-5)
            assert result.heatmaps["gradcam"][condition].values.shape[0] == 1
    assert len(noisy.agreements) == 2 * (2 + 2)  # two methods: A and B, clean to degraded; A to B, twice


def test_average_pooling_makes_gradcam_hirescam(models: list[Model], picture: Picture) -> None:
    layers: dict[str, tuple[str, ...]] = {NAMES[1]: ("layer4",)}
    result = compare(replace(NOISY, layers=layers), picture, models).results[1]
    assert result.gradcam_hirescam == pytest.approx(1.0, abs=1e-4)


def test_severity_zero_is_no_degradation(models: list[Model], picture: Picture) -> None:
    result = compare(replace(NOISY, severity=0.0), picture, models)
    assert not result.degraded
    for view in result.views.values():
        assert torch.equal(view.clean, view.degraded)
        assert view.ssim == pytest.approx(1)


def test_identical_models_differ_by_exactly_zero(picture: Picture) -> None:
    twins = [zoo.load(NAMES[1]), zoo.load(NAMES[1])]
    result = compare(replace(NOISY, models=(NAMES[1], NAMES[1])), picture, twins)
    a, b = result.results
    for method in NOISY.methods:
        for condition in ("clean", "degraded"):
            assert difference_between(a.heatmaps[method], b.heatmaps[method], condition).abs().max() == 0
    between = [row for row in result.agreements if row.between.startswith("A and B")]
    assert all(row.spearman == pytest.approx(1) and row.top_overlap == 1 for row in between)


def test_the_target_stays_fixed_under_degradation(noisy: Comparison) -> None:
    for result in noisy.results:
        assert result.target == int(result.probabilities["clean"].argmax())
        for maps in result.heatmaps.values():
            assert maps["degraded"].targets.tolist() == [result.target]


def test_true_and_named_targets(models: list[Model], picture: Picture) -> None:
    true = compare(replace(NOISY, target="true"), picture, models)
    assert [r.classes[r.target] for r in true.results] == [picture.label, picture.label]
    named = compare(replace(NOISY, target="star/zigzag"), picture, models)
    assert [r.classes[r.target] for r in named.results] == ["star/zigzag"] * 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"target": "zebra"}, "no class 'zebra'"),
        ({"methods": ("gradcamera",)}, "no method 'gradcamera'"),
        ({"methods": ()}, "No method"),
        ({"degradation": "rain"}, "'rain' is unknown"),
        ({"severity": 9.0}, "severity 9"),
        ({"severity": -3.0}, "severity is -3.0"),
        ({"severity": float("nan")}, "severity is nan"),
        ({"seed": 2**64}, "seed is"),
        ({"scale": "tiny"}, "'tiny' is unknown"),
        ({"resize": "stretch"}, "stretch"),
        ({"layers": {NAMES[0]: ("features.99",)}}, "features.99"),
    ],
)
def test_bad_requests_get_one_sentence(
    models: list[Model], picture: Picture, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError) as caught:
        compare(replace(NOISY, **change), picture, models)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_true_class_is_refused(models: list[Model]) -> None:
    photo = picture_from_image(samples.load_sample("chelsea"), "sample:chelsea")
    with pytest.raises(ExplanationError, match="true class"):
        compare(replace(NOISY, target="true"), photo, models)


class CountingMemo:
    """A memo that keeps everything and notes what was computed."""

    def __init__(self) -> None:
        self.kept: dict[tuple[Any, ...], Any] = {}
        self.computed: list[str] = []

    def __call__(self, key: tuple[Any, ...], compute: Callable[[], Any]) -> Any:
        if key not in self.kept:
            self.computed.append(key[0])
            self.kept[key] = compute()
        return self.kept[key]


def test_a_new_severity_recomputes_only_the_degraded_part(models: list[Model], picture: Picture) -> None:
    memo = CountingMemo()
    compare(NOISY, picture, models, memo)
    memo.computed.clear()
    compare(NOISY, picture, models, memo)
    assert memo.computed == []
    compare(replace(NOISY, severity=4.0), picture, models, memo)
    assert sorted(memo.computed) == ["cams", "cams", "predict", "predict", "view"]


def test_another_method_recomputes_no_other(models: list[Model], picture: Picture) -> None:
    memo = CountingMemo()
    compare(replace(NOISY, methods=("saliency",)), picture, models, memo)
    memo.computed.clear()
    compare(replace(NOISY, methods=("saliency", "gradcam")), picture, models, memo)
    assert memo.computed == ["cams"] * 4
    compare(replace(NOISY, methods=("layercam", "saliency")), picture, models, memo)
    assert memo.computed == ["cams"] * 4


def test_cached_and_fresh_results_are_equal(models: list[Model], picture: Picture, noisy: Comparison) -> None:
    memo = CountingMemo()
    compare(replace(NOISY, severity=1.0), picture, models, memo)
    cached = compare(NOISY, picture, models, memo)
    for fresh, kept in zip(noisy.results, cached.results, strict=True):
        assert torch.equal(fresh.probabilities["degraded"], kept.probabilities["degraded"])
        a, b = fresh.heatmaps["gradcam"]["degraded"], kept.heatmaps["gradcam"]["degraded"]
        assert torch.equal(a.values, b.values)


def test_the_same_weights_at_another_input_size_are_another_result(picture: Picture) -> None:
    memo, small, large = CountingMemo(), zoo.load(NAMES[1]), zoo.load(NAMES[1])
    large.input_size = 96
    request = replace(NOISY, models=(NAMES[1],))
    grids = [
        compare(request, picture, [model], memo).results[0].heatmaps["gradcam"]["clean"].tap.grid
        for model in (small, large)
    ]
    assert grids == [(4, 4), (6, 6)]


def test_a_map_without_a_clean_unit_has_no_difference(noisy: Comparison) -> None:
    maps = dict(noisy.results[0].heatmaps["gradcam"])
    maps["clean"] = replace(maps["clean"], values=torch.zeros_like(maps["clean"].values))
    assert difference_between(maps, maps, "degraded").isnan().all()
    assert (difference_between(maps, maps, "clean") == 0).all()


def test_common_grid_averages_down() -> None:
    fine = torch.arange(16.0).reshape(4, 4)
    a, b = on_common_grid(fine, torch.zeros(2, 2))
    assert a.tolist() == [[2.5, 4.5], [10.5, 12.5]]
    assert b.shape == (2, 2)


def test_a_photograph_is_resized_and_says_so() -> None:
    photo = picture_from_image(samples.load_sample("chelsea"), "sample:chelsea")
    view = make_view(photo, NOISY, 64)
    assert view.clean.shape == (1, 3, 64, 64)
    assert "64" in view.resized
    assert 5 < view.psnr < 40
