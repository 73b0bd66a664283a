"""Validity cards: batches equal single images, random maps score at chance, weights are drawn anew, rules hold."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data.datasets import ImageSet
from models.registry import Model
from tests.explain_helpers import make_model
from xai import faithfulness
from xai.compare import (
    baselines,
    deletion,
    pointing,
    randomisation,
    store,
    validity,
    validity_cards,
    validity_found,
)
from xai.compare.baselines import BASELINES
from xai.compare.bench import Bench
from xai.compare.sections import Found, Measured, Table
from xai.compare.study import Facts, Network, Study
from xai.compare.validity_cards import ADDS, FAILS, LEARNED, OPEN, PARTLY, PASSES, cards
from xai.hooks import count_hooks
from xai.statistics import wilson

pytestmark = pytest.mark.usefixtures("one_thread")
SIMULATED, ALLOWED = 200, 18
"""Of 200 tests of true nulls at 5 %, more than 18 are wrong with a probability of 0.7 %."""
ORDERS = ("map", *BASELINES)
A, B = "Net One", "Net Two"


@pytest.fixture(scope="module", params=["alexnet", "resnet18_cifar"])
def model(request: pytest.FixtureRequest) -> Model:
    return make_model(request.param, 32, **({"hidden": 32} if request.param == "alexnet" else {"width": 8}))


def noise(count: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def stack(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# Deletion and insertion


def test_areas_of_many_are_those_of_each_alone(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletion, "_TOGETHER", 2)
    images, targets = noise(3), np.array([1, 7, 4])
    tied = np.round(stack(3, 4, 4, seed=2))
    maps = {"one": stack(3, 4, 4), "two": tied, "none": np.ones((3, 4, 4), np.float32)}
    told: list[int] = []
    found = deletion.areas(model, images, maps, targets, steps=5, seed=3, tell=told.append)
    assert told == [0, 2]
    for name in ("one", "two"):
        for k in range(3):
            heatmap, target = torch.from_numpy(maps[name][k]), int(targets[k])
            alone = faithfulness.deletion_insertion(model, images[[k]], heatmap, target, steps=5, seed=3)
            assert found[f"deletion_{name}"][k] == pytest.approx(alone.deletion_auc, abs=1e-5)
            assert found[f"insertion_{name}"][k] == pytest.approx(alone.insertion_auc, abs=1e-5)
    assert np.isnan(found["deletion_none"]).all()
    assert np.isnan(found["insertion_none"]).all()
    assert not np.allclose(found["deletion_one"], found["deletion_two"], atol=1e-6)


def test_one_step_has_no_order(model: Model) -> None:
    """With one step a curve goes straight from the image to nothing, whichever the map."""
    found = deletion.areas(model, noise(2), {"one": stack(2, 4, 4)}, np.array([0, 1]), steps=1)
    whole = model.predict(noise(2)).numpy()[[0, 1], [0, 1]]
    plain = model.predict(torch.tensor(faithfulness.PLAIN).view(1, 3, 1, 1).expand(1, 3, 32, 32)).numpy()[
        0, :2
    ]
    assert found["deletion_one"] == pytest.approx((whole + plain) / 2, abs=1e-5)


# Masks


def rectangles(count: int, side: int = 32) -> np.ndarray:
    """Masks of a rectangle anywhere, which goes on at the opposite border."""
    drawn = np.random.default_rng(5)
    masks = np.zeros((count, side, side), bool)
    for mask in masks:
        mask[: drawn.integers(6, 20), : drawn.integers(6, 20)] = True
        mask[:] = np.roll(mask, drawn.integers(0, side, 2), axis=(0, 1))
    return masks


@pytest.mark.parametrize("grid", [(4, 4), (8, 8), (5, 7)])
def test_random_maps_score_at_chance(grid: tuple[int, int]) -> None:
    masks = rectangles(2_000)
    maps = baselines.maps(torch.zeros(len(masks), 3, 32, 32), grid, (1,))["random"]
    found = pointing.measures(maps, masks, (2,))
    low, high = wilson(int(found["hit"].sum()), len(masks), 0.999)
    assert low < masks.mean() < high
    areas = masks.mean(axis=(1, 2))
    for name in ("energy", "top"):
        gap = found[name] - areas
        assert abs(gap.mean()) < 3.3 * gap.std() / math.sqrt(len(gap)), name


def test_maps_on_the_mask_are_recognised() -> None:
    masks = np.zeros((2, 32, 32), bool)
    masks[0, 8:16, 16:24], masks[1, :8, :] = True, True
    maps = np.zeros((2, 4, 4), np.float32)
    maps[0, 1, 2], maps[1, 0] = 1.0, 2.0
    found = pointing.measures(maps, masks, (0,))
    assert found["hit"].tolist() == [1, 1]
    # three of sixteen cells are the top fifth: one, and two of those that tie; and three of four that tie
    assert found["top"].tolist() == pytest.approx([1 / 3, 1])
    away = pointing.measures(-maps, masks, (0,))
    assert away["hit"].tolist() == [0, 0]
    assert np.isnan(away["energy"]).all()
    assert away["top"].tolist() == [0, 0]


def test_measures_on_masks_are_those_of_single_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pointing, "_TOGETHER", 3)
    maps, masks = stack(8, 4, 4), rectangles(8)
    maps[2] = 1.0
    found = pointing.measures(maps, masks, (0,))
    for k in range(8):
        wanted = faithfulness.mask_energy(torch.from_numpy(maps[k]), torch.from_numpy(masks[k]))
        assert found["energy"][k] == pytest.approx(wanted, abs=1e-6)
        row, column = np.unravel_index(maps[k].argmax(), (4, 4))
        middle = bool(masks[k][8 * row + 4, 8 * column + 4])
        assert found["hit"][k] == (0 if k == 2 else middle)
        covered = masks[k].reshape(4, 8, 4, 8).mean(axis=(1, 3)).ravel()
        top = covered[maps[k].ravel().argsort()[-3:]].mean()
        assert np.isnan(found["top"][k]) if k == 2 else found["top"][k] == pytest.approx(top, abs=1e-6)


def test_baselines_are_what_they_are_called() -> None:
    images = torch.zeros(2, 3, 32, 32)
    images[1, :, :, 20:] = 1.0
    found = baselines.maps(images, (4, 4), (3,))
    assert all(maps.shape == (2, 4, 4) and maps.dtype == np.float32 for maps in found.values())
    centre = found["centre"][0]
    assert (centre == centre[::-1]).all()
    assert (centre == centre.T).all()
    assert centre[1, 1] == centre.max() > centre[0, 1] > centre[0, 0] > 0
    assert (found["edges"][0] == 0).all()
    assert set(found["edges"][1].argmax(axis=1)) == {2}
    assert not np.array_equal(found["random"][0], found["random"][1])
    again = baselines.maps(images, (4, 4), (3,))
    assert all(np.array_equal(maps, again[name]) for name, maps in found.items())
    assert set(baselines.WORDS) == set(BASELINES)
    with pytest.raises(ValueError, match="registered twice"):
        baselines.register("edges")(baselines.edges)


# Weights drawn anew


def test_weights_are_drawn_anew_from_the_top() -> None:
    alexnet, resnet = make_model("alexnet", 32, hidden=32), make_model("resnet18_cifar", 32, width=8)
    order = randomisation.steps(alexnet, "features.9")
    assert [step.name for step in order] == ["classifier", *(f"features.{k}" for k in (11, 9, 7, 4, 1))]
    assert [step.reached for step in order] == [False, False, True, True, True, True]
    assert set(order[0].modules) == {"classifier.1", "classifier.4", "classifier.6"}
    assert order[1].modules == ("features.10",)
    order = randomisation.steps(resnet, "layer4")
    assert [step.name for step in order] == ["classifier", "layer4", "layer3", "layer2", "layer1"]
    assert [step.reached for step in order] == [False, True, True, True, True]
    assert {"conv1", "bn1"} < set(order[-1].modules)
    names = [name for step in order for name in step.modules]
    assert sorted(names) == sorted(
        name for name, module in resnet.network.named_modules() if module._parameters
    )
    assert count_hooks(resnet.network) == 0


def test_drawing_anew_leaves_the_network_and_what_is_below(model: Model) -> None:
    before = copy.deepcopy(model.network.state_dict())
    changed_so_far: set[str] = set()
    for step, changed in randomisation.cascade(model, model.default_layer, (0,)):
        changed_so_far |= set(step.modules)
        for name, value in changed.network.state_dict().items():
            owner, what = name.rsplit(".", 1)
            if owner not in changed_so_far:
                assert torch.equal(value, before[name]), name
            elif what == "weight" and value.ndim > 1:
                assert not torch.equal(value, before[name]), name
    after = model.network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert not any(weight.requires_grad for weight in model.network.parameters())


def test_new_weights_have_hes_spread() -> None:
    convolution, norm = torch.nn.Conv2d(8, 32, 3), torch.nn.BatchNorm2d(4)
    norm.running_mean.fill_(3.0)  # type: ignore[union-attr]
    norm.weight.data.fill_(5.0)
    for module in (convolution, norm):
        randomisation.draw_anew(module, torch.Generator().manual_seed(0))
    assert float(convolution.weight.detach().std()) == pytest.approx(math.sqrt(2 / (32 * 9)), rel=0.05)
    assert not convolution.bias.any()  # type: ignore[union-attr]
    assert norm.weight.tolist() == [1.0] * 4
    assert norm.running_mean.tolist() == [0.0] * 4  # type: ignore[union-attr]


def similarities(model: Model, count: int = 6, **options: Any) -> Table:
    images, targets = noise(count), np.arange(count)
    original = faithful_maps(model, images, targets)
    layer = model.default_layer
    return randomisation.similarities(
        model, images, original, targets, method="gradcam", layer=layer, **options
    )


def faithful_maps(model: Model, images: torch.Tensor, targets: np.ndarray) -> np.ndarray:
    return randomisation._maps(model, images, targets, "gradcam", model.default_layer)


def test_maps_that_stay_are_told_from_maps_that_change(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = similarities(model, draws=2)
    assert len(rows["row"]) == 2 * 6 * (int(rows["step"].max()) + 1)
    assert np.nanmean(rows["spearman"][rows["reached"]]) < 0.5
    again = similarities(model, draws=2)
    assert all(
        np.array_equal(values, again[name], equal_nan=name == "spearman") for name, values in rows.items()
    )
    monkeypatch.setattr(randomisation, "draw_anew", lambda *_given: None)
    same = similarities(model, draws=1)
    assert (same["spearman"] == 1).all()


# Rules, from rows alone


def facts_of(images: int, method: str = "gradcam", *, masks: bool = False) -> Facts:
    networks = tuple(
        Network(name, title, "alexnet", "noise", 0, "0" * 64, "flatten_mlp", "deep", grid, 1)
        for name, title, grid in (("a", A, (8, 8)), ("b", B, (4, 4)))
    )
    study = Study(("a", "b"), "noise", limit=None, method=method, scale="paper-relative")
    return Facts(study, networks, ("x", "y"), images, 32, "0" * 64, masks)  # type: ignore[arg-type]


def rows_of(images: int, given: dict[tuple[int, str], Any] | None = None, *, masks: bool = False) -> Measured:
    """Rows of two networks; `given` has what is not drawn at random by network and column."""
    drawn, tables = np.random.default_rng(0), []
    for place in range(2):
        first = {"agreement": np.ones(images), "faithful": np.ones(images), "blank": np.zeros(images, bool)}
        landing = {f"{m}_{o}": drawn.random(images) for m in ("energy", "top") for o in ORDERS}
        landing |= {f"hit_{o}": drawn.integers(0, 2, images).astype(float) for o in ORDERS}
        first |= landing | {"area": np.full(images, 0.2)} if masks else {}
        curves = {f"{m}_{o}": drawn.random(images) for m in deletion.CURVES for o in ORDERS}
        step = np.repeat([0, 1], images)
        weights = {"step": step, "stage": np.array(["classifier", "deep"])[step], "reached": step > 0}
        weights |= {"spearman": drawn.normal(0, 0.1, 2 * images), "blank": np.zeros(2 * images, bool)}
        for table, count in ((first, images), (curves, images), (weights, 2 * images)):
            own = {
                name: value
                for (where, name), value in (given or {}).items()
                if where == place and name in table and np.size(value) in (1, count)
            }
            table |= {name: np.broadcast_to(value, count) for name, value in own.items()}
            table |= {"image": np.arange(count) % images, "network": np.full(count, place)}
        tables.append((first, curves, weights))
    pairs = zip(("images", "curves", "weights"), zip(*tables, strict=True), strict=True)
    return {name: {key: np.concatenate([a[key], b[key]]) for key in a} for name, (a, b) in pairs}


def found_of(images: int, given: dict[tuple[int, str], Any] | None = None, **options: Any) -> Found:
    masks = options.pop("masks", False)
    return validity.summarise(facts_of(images, masks=masks, **options), rows_of(images, given, masks=masks))


def test_maps_that_hold_on_both_networks_may_be_compared() -> None:
    found = found_of(40)
    assert found.verdict.startswith(f"The Grad-CAM maps of {A} and {B} may be compared")
    assert found.numbers["comparable"] is True
    assert found.differs is None
    assert not found.undefined


@pytest.mark.parametrize("place", [0, 1])
def test_maps_that_are_not_what_the_layer_adds_make_comparing_mean_nothing(place: int) -> None:
    found = found_of(40, {(place, "faithful"): 0.05, (place, "agreement"): 0.05})
    assert found.verdict.startswith(
        f"Comparing the Grad-CAM maps of {A} and {B} does not compare like with like: on {A} they are"
    )
    assert f"on {(A, B)[place]} they are not what the layer adds" in found.verdict
    assert f"on {(B, A)[place]} they are what the layer adds" in found.verdict
    assert found.numbers["AB"[place]]["checks"][ADDS] == FAILS
    assert any("HiResCAM is what" in sentence and (A, B)[place] in sentence for sentence in found.sentences)


def test_maps_that_stay_without_what_was_learned_make_comparing_mean_nothing() -> None:
    found = found_of(40, {(1, "spearman"): 0.8})
    assert "does not compare like with like" in found.verdict
    assert f"on {B} they stay much the same" in found.verdict
    assert (found.numbers["A"]["checks"][LEARNED], found.numbers["B"]["checks"][LEARNED]) == (PASSES, FAILS)


def test_what_is_about_the_threshold_cannot_be_said() -> None:
    about = np.tile([0.1, 0.9], 40)
    found = found_of(40, {(0, "spearman"): about})
    assert found.numbers["A"]["checks"][LEARNED] == OPEN
    assert found.numbers["comparable"] is None
    assert "can't be said" in found.verdict
    few = found_of(9)
    assert set(few.numbers["A"]["checks"].values()) == {OPEN}


def test_signs_that_flip_are_told() -> None:
    found = found_of(40, {(0, "spearman"): np.tile([-0.9, 0.9], 40)})
    assert found.numbers["A"]["checks"][LEARNED] == PASSES
    assert any("up to its sign" in sentence for sentence in found.sentences)


def test_hirescam_is_what_the_layer_adds_by_definition() -> None:
    found = found_of(40, {(0, "agreement"): 0.05}, method="hirescam")
    assert found.numbers["comparable"] is True
    assert found.numbers["A"]["agreement"]["value"] == pytest.approx(0.05)


def test_planted_differences_are_found_in_their_direction() -> None:
    drawn = np.random.default_rng(1).random(40)
    planted = {
        (0, "deletion_map"): drawn - 1,
        (0, "insertion_map"): drawn + 1,
        (1, "deletion_map"): drawn + 1,
        (1, "insertion_map"): drawn + 0.5,
        (1, "insertion_random"): drawn,
        (1, "insertion_centre"): drawn + np.resize([0.45, 0.55], 40),
    }
    a, b = cards(facts_of(40), rows_of(40, planted))
    assert [check.outcome for check in a.checks] == [PASSES] * 4
    assert b.check("deletion").outcome == FAILS
    assert b.check("insertion").outcome == PARTLY
    assert "not shown to differ from a centre Gaussian" in b.check("insertion").words


def test_maps_worse_than_any_fail_unless_they_are_better_than_random() -> None:
    drawn = np.random.default_rng(1).random(40)
    same = {(0, f"deletion_{name}"): drawn + np.resize([0.45, 0.55], 40) for name in BASELINES}
    planted = same | {(0, "deletion_map"): drawn + 0.5, (0, "deletion_edges"): drawn}
    assert cards(facts_of(40), rows_of(40, planted))[0].check("deletion").outcome == FAILS
    assert cards(facts_of(40), rows_of(40, planted | same))[0].check("deletion").outcome == OPEN
    better = planted | {(0, "deletion_random"): drawn + 1}
    assert cards(facts_of(40), rows_of(40, better))[0].check("deletion").outcome == PARTLY


def test_no_difference_is_rarely_called_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Maps that are drawn as baselines are: one contest in twenty, and of the family by Holm one study in twenty."""
    monkeypatch.setattr(validity_cards.resampling, "FLIPS", 999)
    monkeypatch.setattr(validity_cards.resampling, "RESAMPLES", 250)
    single = whole = 0
    for seed in range(SIMULATED):
        drawn = np.random.default_rng((7, seed))
        table: Table = {f"{m}_{o}": drawn.random(25) for m in deletion.CURVES for o in ORDERS}
        _, contests = validity_cards._against(table, deletion.CURVES, seed)
        single += contests[seed % 6].p < 0.05
        whole += min(validity_cards.holm([contest.p for contest in contests])) < 0.05
    assert 1 <= single <= ALLOWED
    assert whole <= ALLOWED


def test_what_has_no_number_is_counted() -> None:
    faithful = np.where(np.arange(40) < 3, np.nan, 1.0)
    spearman = np.where(np.arange(80) % 40 < 5, np.nan, 0.0)
    given = {(0, "faithful"): faithful, (0, "blank"): np.arange(40) < 4, (1, "spearman"): spearman}
    energy = np.where(np.arange(40) < 7, np.nan, 0.5)
    rows = rows_of(40, given | {(1, "energy_map"): energy}, masks=True)
    rows["weights"]["blank"] = rows["weights"]["step"] > 0
    found = validity.summarise(facts_of(40, masks=True), rows)
    words = " ".join(found.undefined)
    assert f"{A}: 4 of 40 Grad-CAM maps are blank" in words
    assert f"{A}: 3 of 40 images have no correlation" in words
    assert f"{B}: 7 of 40 images have no energy" in words
    assert (
        f"{B}: with weights drawn anew, of 40 maps at each step 0 to 40 are blank and 5 have no rank" in words
    )
    assert found.numbers["B"]["stages"][1]["similarity"]["n"] == 35
    assert found.numbers["A"]["levels"]["hit"]["map"]["n"] == 40


@pytest.mark.parametrize("masks", [False, True])
def test_numbers_come_back_from_stored_rows(tmp_path: Path, *, masks: bool) -> None:
    facts, rows = facts_of(30, masks=masks), rows_of(30, masks=masks)
    store.write(tmp_path, facts, validity.SECTION, rows)
    read = store.read(tmp_path, facts, validity.SECTION)
    assert read is not None
    found = validity.summarise(facts, rows)
    assert json.dumps(found.numbers) == json.dumps(validity.summarise(facts, read).numbers)
    assert found.numbers["contests"] == (30 if masks else 12)
    assert f"all {found.numbers['contests']} of both networks" in validity.method(facts, rows)
    assert ("mask" in validity.method(facts, rows)) == masks
    figure = validity.draw(facts, read)["validity"]
    assert figure.get_size_inches()[0] == 7.0
    assert all(len({tuple(row) for row in table}) == 1 for table in found.tables.values())
    assert [sum(name in sentence for sentence in found.sentences) >= 4 for name in (A, B)] == [True, True]


# Measured


def dataset() -> ImageSet:
    pixels = (noise(24) * 255).to(torch.uint8)
    names, masks = tuple(f"class {k}" for k in range(10)), torch.from_numpy(rectangles(24))
    return ImageSet(
        "noise", "test", pixels, torch.arange(24) % 10, names, tuple(f"n{k}" for k in range(24)), masks
    )


def test_two_networks_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validity, "SAMPLE", 11)
    loaded = {"a": make_model("alexnet", 32, hidden=32), "b": make_model("resnet18_cifar", 32, width=8)}
    data = dataset()
    study = Study(("a", "b"), "noise", limit=None, degradations=())
    options: dict[str, Any] = {"load": loaded.__getitem__, "cards": dict, "opened": lambda *_given: data}
    before = {name: copy.deepcopy(each.network.state_dict()) for name, each in loaded.items()}
    told: list[str] = []
    bench = Bench(study, **options, keep_maps=False, progress=lambda done, total, what: told.append(what))
    rows = validity.measure(bench)
    images = data.float_images()
    for place, model in enumerate(bench.models):
        own = rows["images"]["network"] == place
        agreement = rows["images"]["agreement"][own]
        targets = torch.from_numpy(bench.maps(model).targets)
        wanted = faithfulness.gradcam_hirescam_agreement(model, images, targets, bench.layer(model))
        assert agreement == pytest.approx(wanted.numpy(), abs=1e-4, nan_ok=True)
        assert count_hooks(model.network) == 0
        assert all(torch.equal(v, before["ab"[place]][k]) for k, v in model.network.state_dict().items())
    pooled = rows["images"]["agreement"][rows["images"]["network"] == 1]
    assert pooled == pytest.approx(np.ones(24), abs=1e-5)
    assert np.nanmax(rows["images"]["agreement"][rows["images"]["network"] == 0]) < 0.95
    chosen = rows["curves"]["image"][:11]
    assert set(np.bincount(data.labels.numpy()[chosen], minlength=10)) == {1, 2}
    assert set(rows["weights"]["image"]) == set(chosen)
    assert "energy_map" in rows["images"]
    bare = ImageSet(data.name, data.split, data.images, data.labels, data.classes, data.ids)
    options["opened"] = lambda *_given: bare
    assert "area" not in validity._per_image(Bench(study, **options, keep_maps=False), bench.models[0], {})
    assert {what.split(" by ")[0] for what in told if "deletion" in what} == {"deletion and insertion"}
    found = validity.summarise(bench.facts, rows)
    assert found.numbers["B"]["checks"][ADDS] == PASSES
    assert found.numbers["B"]["agreement"]["value"] == pytest.approx(1, abs=1e-5)


def test_samples_are_even_and_seeded() -> None:
    labels = np.repeat([0, 1, 2], [50, 50, 3])
    found = validity.sample(labels, 20, 0)
    assert found.tolist() == sorted(set(found.tolist()))
    assert sorted(np.bincount(labels[found])) == [3, 8, 9]
    assert np.array_equal(found, validity.sample(labels, 20, 0))
    assert not np.array_equal(found, validity.sample(labels, 20, 1))
    assert np.array_equal(validity.sample(labels, 500, 0), np.arange(103))


def test_a_layer_without_weights_above_it_is_said() -> None:
    a, _ = cards(facts_of(30), rows_of(30))
    bare = replace(a, stages=tuple(replace(stage, reached=False) for stage in a.stages))
    assert bare.check(LEARNED).outcome == OPEN
    assert validity_found.comparable((bare, a)) is None
