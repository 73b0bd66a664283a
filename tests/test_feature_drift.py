"""How much layers change with severity: by hand, by identities, and the same in any number of parts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from data.datasets import evenly_spread, load_dataset
from models.registry import Model
from tests.conftest import TinyModel
from tests.feature_helpers import Colours, wrap
from xai import feature_drift
from xai.attribution_types import ExplanationError
from xai.evaluation import Cancelled
from xai.feature_drift import MEASURES, Drifting, DriftRow, as_rows, layer_drift, main_layers, measures
from xai.feature_layers import distinct_layers, record

pytestmark = pytest.mark.usefixtures("one_thread")
BELOW_ZERO = ("Normalize", "Conv2d", "BatchNorm2d", "Linear")
NOISE = Drifting("gaussian_noise", (0.0, 1.0, 5.0), "cifar-c", 3)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))


IDS = ("a", "b", "c", "d", "e")


@pytest.fixture(scope="module")
def model(tiny_model: TinyModel) -> Model:
    return tiny_model("resnet18_cifar", 32)


@pytest.fixture(scope="module")
def rows(model: Model, images: Tensor) -> tuple[DriftRow, ...]:
    return layer_drift(model, images, NOISE, IDS, source="five")


def test_measures_by_hand() -> None:
    """Two images of two channels of one cell: one turns and loses a channel, the other is what it was."""
    clean = torch.tensor([[3.0, 4.0], [0.0, 2.0]])[..., None, None]
    degraded = torch.tensor([[0.0, 4.0], [0.0, 2.0]])[..., None, None]
    found = measures(clean, degraded)
    assert found[:, 0].tolist() == pytest.approx([3 / 5, 4 / 5, 1 / 2], abs=1e-6)
    assert found[:, 1].tolist() == [0, 1, 0]


def test_what_has_no_length_has_no_measure_but_one_of_dying() -> None:
    nothing, something = torch.zeros(1, 2, 1, 1), torch.ones(1, 2, 1, 1)
    assert measures(nothing, nothing)[:, 0].tolist() == [0, 1, 0]
    assert measures(nothing, something)[:, 0].tolist() == pytest.approx([math.nan, math.nan, 0], nan_ok=True)
    assert measures(something, nothing)[:, 0].tolist() == pytest.approx([1, math.nan, 1], nan_ok=True)


def test_severity_0_changes_exactly_nothing(rows: Sequence[DriftRow]) -> None:
    still = [row for row in rows if row.severity == 0]
    assert len(still) == len(rows) / 3
    for row in still:
        dies = math.nan if row.kind in BELOW_ZERO else 0
        for measure, expected in zip(MEASURES, (0, 1, dies), strict=True):
            found = [getattr(row, measure + end) for end in ("", "_low", "_high")]
            assert found == pytest.approx([expected] * 3, abs=0, nan_ok=True)


def test_death_is_seen_only_where_nothing_is_below_zero(rows: Sequence[DriftRow]) -> None:
    seen = {row.layer for row in rows if not math.isnan(row.dying)}
    assert seen >= {"relu", "layer1.0.relu1", "layer1", "layer4"}
    assert not seen & {row.layer for row in rows if row.kind in BELOW_ZERO}


def test_the_main_layers_are_whole_steps(
    model: Model, rows: Sequence[DriftRow], tiny_model: TinyModel
) -> None:
    main = list(dict.fromkeys(row.layer for row in rows if row.main))
    blocks = [
        [f"layer{stage}.0.relu2", f"layer{stage}"] for stage in range(1, 5)
    ]  # two blocks end in each stage
    assert main == ["relu", *(name for stage in blocks for name in stage), "fc"]
    alexnet = tiny_model("alexnet", 32)
    table = distinct_layers(alexnet, 32)
    found = [info.kind for info in table if info.name in main_layers(alexnet, table)]
    assert found == ["ReLU"] * 7 + ["Linear"]


def test_without_blocks_and_activations_all_layers_are_main() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), torch.nn.Flatten(), torch.nn.Linear(128, 3))
    model = wrap(network, stages=("0",))
    table = distinct_layers(model, 8)
    assert main_layers(model, table) == {info.name for info in table}


def test_rows_are_medians_and_quartiles_of_the_images_alone(
    model: Model, images: Tensor, rows: Sequence[DriftRow]
) -> None:
    alone = [layer_drift(model, images[k : k + 1], NOISE, [IDS[k]]) for k in range(5)]
    for place, row in enumerate(rows):
        assert (row.n, row.images) == (5, "five")
        for measure in MEASURES:
            values = [getattr(of_one[place], measure) for of_one in alone]
            found = [getattr(row, measure + end) for end in ("_low", "", "_high")]
            expected = np.quantile(values, [0.25, 0.5, 0.75])
            assert found == pytest.approx(expected, abs=2e-5, nan_ok=True)
    assert max(row.relative_l2 for row in rows) > 0.1


def test_layers_come_in_the_order_in_which_they_run(model: Model, rows: Sequence[DriftRow]) -> None:
    found = list(dict.fromkeys(row.layer for row in rows))
    every = [name for name in record(model, torch.rand(1, 3, 32, 32)) if name in found]
    assert found == every
    assert (rows[0].depth, rows[-1].depth) == (0, 1)
    assert found[-1] == "fc"
    assert "layer1" in found  # the stage stands for the block and the activation that give the same
    assert "layer1.1.relu2" not in found


def test_it_is_the_same_in_many_small_parts(
    model: Model, images: Tensor, rows: Sequence[DriftRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_drift, "_BUDGET", 1)
    told: list[tuple[int, int]] = []
    again = layer_drift(
        model, images, NOISE, IDS, source="five", progress=lambda done, total, _: told.append((done, total))
    )
    assert told == [(done, 5) for done in range(6)]
    for one, other in zip(rows, again, strict=True):
        assert (one.layer, one.severity) == (other.layer, other.severity)
        assert [getattr(other, name) for name in MEASURES] == pytest.approx(
            [getattr(one, name) for name in MEASURES], abs=2e-5, nan_ok=True
        )


def test_channels_die_where_the_light_goes() -> None:
    """Full contrast lost: red and green, above one half on clean, fall below it; the other two never were active."""
    image = torch.zeros(1, 3, 8, 8)
    image[:, :2, :, :2] = 1
    drifting = Drifting("contrast", (5.0,), "cifar-c")
    rows = {row.layer: row for row in layer_drift(wrap(Colours(), stages=("drop",)), image, drifting, ["x"])}
    assert rows["drop"].dying == 0.5
    assert rows["drop"].relative_l2 == 1
    assert math.isnan(rows["drop"].cosine)
    assert math.isnan(rows["conv"].dying)  # it goes below zero, so it can't be seen to die
    assert as_rows([rows["drop"]])[0]["cosine"] is None


def test_a_dataset_gives_the_same_as_its_images(tiny_model: TinyModel) -> None:
    model = tiny_model("alexnet", 64)
    data = load_dataset("cue10", "test")
    chosen = evenly_spread(data, 3).take(torch.arange(3))
    from_data = layer_drift(model, data, NOISE, limit=3)
    from_images = layer_drift(model, chosen.float_images(), NOISE, chosen.ids, source="cue10:test")
    assert from_data == from_images or as_rows(from_data) == as_rows(from_images)


def test_it_can_be_cancelled(model: Model, images: Tensor) -> None:
    asked: list[int] = []

    def cancelled() -> bool:
        asked.append(1)
        return len(asked) > 1

    with pytest.raises(Cancelled):
        layer_drift(model, images, NOISE, IDS, cancelled=cancelled)


def test_bad_requests_are_one_sentence(model: Model, images: Tensor) -> None:
    with pytest.raises(ValueError, match="'rain' is unknown"):
        Drifting("rain", (1.0,))
    with pytest.raises(ExplanationError, match="severities are"):
        Drifting("jpeg", (1.0, 1.0))
    with pytest.raises(ExplanationError, match="5 images need as many ids"):
        layer_drift(model, images, NOISE, ["a"])
    with pytest.raises(ExplanationError, match="No images"):
        layer_drift(model, images[:0], NOISE, [])
    with pytest.raises(ExplanationError, match=r"The seed is -1"):
        Drifting("jpeg", (1.0,), seed=-1)
    data = load_dataset("cue10", "test")
    with pytest.raises(ExplanationError, match=r"cue10 has images of 64 x 64 px; .* takes 32 x 32 px"):
        layer_drift(model, data, NOISE, limit=2)
    with pytest.raises(ValueError, match="out of range"):
        layer_drift(model, images[:1], Drifting("jpeg", (9.0,), "cifar-c"), ["a"])
