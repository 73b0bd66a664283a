"""Examples of a comparison: percentiles by hand, the same from the same seed, and each strategy picks what it says."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.explain_helpers import make_model
from tests.test_compare_maps import DATA
from xai import faithfulness
from xai.attribution import ExplanationError
from xai.compare import examples
from xai.compare.bench import Bench
from xai.compare.example_choice import EXTREMES, STRATEGIES, strategy
from xai.compare.example_pool import QUANTITIES, percentiles, pool_of
from xai.compare.examples import percentiles_of, propose
from xai.compare.sections import Measured, Table
from xai.compare.study import Facts, Network, Study
from xai.map_agreement import on_common_grid
from xai.results import Condition

pytestmark = pytest.mark.usefixtures("one_thread")
CLASSES = ("cat", "dog", "frog")
IMAGES = 61
NOISE = ("gaussian_noise", "jpeg_compression")


def facts_of(names: tuple[str, ...] = NOISE) -> Facts:
    one = Network("a", "Net One", "alexnet", "noise", 0, "0", "flatten_mlp", "features", (4, 4), 1)
    study = Study(("a", "b"), "noise", limit=None, degradations=names, scale="paper-relative")
    return Facts(study, (one, replace(one, name="b", title="Net Two")), CLASSES, IMAGES, 32, "0")


def rows_of(facts: Facts, **given: np.ndarray) -> Measured:
    """Rows of random numbers, or of what is given: `x` of the clean images, `under_x` of the last degradation."""
    generator = np.random.default_rng(0)
    labels = np.minimum(np.arange(IMAGES) % 4, 2)  # half of the images are frogs
    images: Table = {
        "image": np.arange(IMAGES, dtype=np.int32),
        "id": np.array([f"n{k:03}" for k in range(IMAGES)]),
        "label": labels.astype(np.int16),
        "agreement": generator.uniform(-1, 1, IMAGES).astype(np.float32),
    }
    for side in "ab":
        images |= {f"confidence_{side}": generator.random(IMAGES).astype(np.float32)}
        images |= {f"predicted_{side}": labels, f"correct_{side}": np.ones(IMAGES, bool)}
    images |= {name: values for name, values in given.items() if name in images}
    parts = []
    for number in examples.strongest(facts):
        part: Table = {"image": images["image"], "condition": np.full(IMAGES, number, np.int16)}
        part |= {"agreement": images["agreement"]}
        for side in "ab":
            part |= {f"drift_{side}": generator.uniform(0, 2, IMAGES).astype(np.float32)}
            part |= {
                f"predicted_{side}": images[f"predicted_{side}"],
                f"correct_{side}": np.ones(IMAGES, bool),
            }
        parts.append(part | {n.removeprefix("under_"): v for n, v in given.items() if n.startswith("under_")})
    found = {"images": images}
    return found | {"degraded": examples.answers.stacked(parts)} if parts else found


FACTS = facts_of()
ROWS = rows_of(FACTS)


# Percentiles


def by_hand(values: np.ndarray, labels: np.ndarray, k: int) -> float:
    own = [v for v, label in zip(values, labels, strict=True) if label == labels[k] and not np.isnan(v)]
    below, same = sum(v < values[k] for v in own), sum(v == values[k] for v in own)
    return 100 * (below + same / 2) / len(own)


def test_percentiles_are_mid_ranks_within_the_class() -> None:
    generator = np.random.default_rng(1)
    values, labels = generator.integers(0, 6, 80) / 5, generator.integers(0, 3, 80)
    values[[3, 50]] = np.nan
    found = percentiles(values, labels)
    assert np.isnan(found[[3, 50]]).all()
    for k in np.flatnonzero(~np.isnan(values)).tolist():
        assert found[k] == pytest.approx(by_hand(values, labels, k))
    assert percentiles(np.array([5.0, 5.0, 5.0]), np.zeros(3)).tolist() == [50, 50, 50]
    assert percentiles(np.array([9.0]), np.zeros(1)).tolist() == [50]
    for label in range(3):
        assert np.nanmean(found[labels == label]) == pytest.approx(50)


def test_examples_carry_percentiles_of_their_class() -> None:
    pool, found = pool_of(FACTS, ROWS), propose(FACTS, ROWS, 12, 3)
    for each in found.chosen:
        own = pool.labels == pool.labels[each.image]
        assert each.label == CLASSES[pool.labels[each.image]]
        assert each.id == f"n{each.image:03}"
        assert set(each.percentiles) == set(QUANTITIES)
        for name, place in each.percentiles.items():
            assert place.n == own.sum()
            assert place.value == pool.values[name][each.image]
            assert place.percentile == pytest.approx(by_hand(pool.values[name], pool.labels, each.image))


def test_pictures_picked_by_hand_are_marked_and_carry_the_same_percentiles() -> None:
    drawn = propose(FACTS, ROWS, 5, 1)
    picked = percentiles_of(FACTS, ROWS, [each.id for each in drawn.chosen])
    assert [each.percentiles for each in picked.chosen] == [each.percentiles for each in drawn.chosen]
    assert {each.why for each in picked.chosen} == {"picked by hand"}
    assert (picked.strategy, picked.seed) == ("by hand", None)
    with pytest.raises(ExplanationError, match="no image 'gone'"):
        percentiles_of(FACTS, ROWS, ["n001", "gone"])


def test_rows_may_be_in_any_order() -> None:
    order = np.random.default_rng(2).permutation(IMAGES)
    under = np.random.default_rng(3).permutation(2 * IMAGES)
    rows = {
        "images": {name: column[order] for name, column in ROWS["images"].items()},
        "degraded": {name: column[under] for name, column in ROWS["degraded"].items()},
    }
    for name in STRATEGIES:
        assert propose(FACTS, rows, 9, 4, name) == propose(FACTS, ROWS, 9, 4, name)


# Strategies


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_seed_says_what_is_chosen(name: str) -> None:
    first = propose(FACTS, ROWS, 9, 5, name)
    assert first == propose(FACTS, ROWS, 9, 5, name)
    assert first.rows == propose(FACTS, ROWS, 20, 5, name).rows[: len(first.rows)]
    assert len(set(first.rows)) == len(first.rows)
    record = first.record()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert (record["strategy"], record["seed"], record["pool"]) == (name, 5, IMAGES)
    assert [each["image"] for each in record["chosen"]] == list(first.rows)


def test_seeds_choose_differently_and_evenly() -> None:
    drawn = Counter(row for seed in range(150) for row in propose(FACTS, ROWS, 3, seed).rows)
    labels = pool_of(FACTS, ROWS).labels
    assert len(drawn) == IMAGES
    for label in range(3):  # an image of a class of n is drawn 150 / n times, give or take four deviations
        own = np.flatnonzero(labels == label).tolist()
        share = 1 / len(own)
        assert np.abs([drawn[k] - 150 * share for k in own]).max() < 4 * np.sqrt(150 * share)


@pytest.mark.parametrize("name", ["random", "typical", "extremes"])
def test_classes_take_turns(name: str) -> None:
    for count in (1, 3, 7, 45, 200):
        found = propose(FACTS, ROWS, count, 6, name)
        seen = Counter(each.label for each in found.chosen)
        assert sum(seen.values()) == min(count, IMAGES)
        if count <= 45:
            assert max(seen.values()) - min(seen[c] for c in CLASSES) <= 1
    assert {each.label for seed in range(20) for each in propose(FACTS, ROWS, 1, seed).chosen} == set(CLASSES)


def test_typical_is_nearest_to_the_medians() -> None:
    same = {name: np.linspace(0, 1, IMAGES).astype(np.float32) for name in ("confidence_a", "confidence_b")}
    same |= {name: np.linspace(0, 1, IMAGES).astype(np.float32) for name in ("agreement",)}
    same |= {
        name: np.linspace(0, 2, IMAGES).astype(np.float32) for name in ("under_drift_a", "under_drift_b")
    }
    rows = rows_of(FACTS, **same)
    labels = pool_of(FACTS, rows).labels
    for each in propose(FACTS, rows, 3, 7, "typical").chosen:
        own = np.flatnonzero(labels == labels[each.image])
        assert abs(each.image - np.median(own)) <= 2
        assert all(40 <= place.percentile <= 60 for place in each.percentiles.values())
    found = propose(FACTS, ROWS, IMAGES, 7, "typical")
    pool = pool_of(FACTS, ROWS)
    distances = np.mean([np.abs(p - 50) for p in pool.percentiles.values()], axis=0)
    for label in CLASSES:
        order = [each.image for each in found.chosen if each.label == label]
        assert (np.diff(distances[order]) >= 0).all()


def test_an_undefined_value_is_neither_typical_nor_extreme() -> None:
    drift = np.linspace(0, 2, IMAGES).astype(np.float32)
    drift[::2] = np.nan
    rows = rows_of(FACTS, under_drift_a=drift)
    found = propose(FACTS, rows, IMAGES, 8, "typical")
    assert found.eligible == len(found.chosen) == IMAGES // 2
    assert all(each.image % 2 for each in found.chosen)
    rows = rows_of(FACTS, under_drift_a=np.full(IMAGES, np.nan, np.float32))
    assert propose(FACTS, rows, 3, 8, "typical").eligible == IMAGES  # what no image has says nothing of any
    chosen = propose(FACTS, rows, 30, 8, "extremes").chosen
    assert not any("drift of A" in each.why for each in chosen)
    told = examples.summarise(FACTS, rows).undefined
    assert any("Drift of A is not defined for 61 of 61 images" in words for words in told)


def test_extremes_are_the_ends_of_their_class() -> None:
    pool, found = pool_of(FACTS, ROWS), propose(FACTS, ROWS, 3 * len(EXTREMES), 9, "extremes")
    kinds = {words: (name, sign) for name, sign, words in EXTREMES}
    firsts = 0
    for each in found.chosen:
        if each.why.endswith(" in its class") and " but " not in each.why:
            name, sign = kinds[each.why.removesuffix(" in its class")]
            own = pool.values[name][pool.labels == pool.labels[each.image]]
            assert pool.values[name][each.image] == (own.min() if sign > 0 else own.max())
            firsts += 1
    assert firsts >= 12
    assert len({each.why for each in found.chosen[:3]}) == 3  # a class after the other, and kinds too


def test_disagreements_and_flips_are_what_they_say() -> None:
    labels = ROWS["images"]["label"].astype(int)
    odd = np.isin(np.arange(IMAGES), [4, 5, 6, 30])
    rows = rows_of(FACTS, predicted_b=np.where(odd, (labels + 1) % 3, labels))
    found = propose(FACTS, rows, 10, 10, "disagree")
    assert (sorted(found.rows), found.eligible, found.asked) == ([4, 5, 6, 30], 4, 10)
    assert {each.why for each in found.chosen if each.image == 4} == {"A says cat, B dog"}
    moved = np.where(np.arange(IMAGES) < 8, (labels + 2) % 3, labels)
    rows = rows_of(FACTS, under_predicted_a=moved)
    found = propose(FACTS, rows, 50, 10, "flipped")
    assert sorted(found.rows) == list(range(8))
    assert {each.why for each in found.chosen if each.image == 0} == {"A turns from cat to frog"}
    assert any("Only 8 of 10 examples" in words for words in examples.summarise(FACTS, rows).undefined)


def test_drift_is_under_the_condition_asked_for() -> None:
    last = Condition("jpeg_compression", "paper-relative", 3.0)
    first, second = (pool_of(FACTS, ROWS, each).values["drift_a"] for each in (None, last))
    assert not np.array_equal(first, second)
    table = ROWS["degraded"]
    own = table["condition"] == FACTS.conditions.index(last)
    np.testing.assert_array_equal(second, table["drift_a"][own])
    assert propose(FACTS, ROWS, 2, condition=last).record()["condition"] == "jpeg_compression 3"
    with pytest.raises(ExplanationError, match="no examples under JPEG compression, low; allowed are"):
        propose(FACTS, ROWS, 2, condition=replace(last, severity=1.0))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"count": 0}, "0 examples were asked for; allowed are numbers from 1"),
        ({"strategy": "best"}, "no way 'best' to choose; allowed are random, typical"),
    ],
)
def test_what_can_not_be_chosen_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ExplanationError, match=words):
        propose(FACTS, ROWS, **{"count": 3, **options})


def test_a_strategy_is_registered_once() -> None:
    with pytest.raises(ValueError, match="'random' is registered already"):
        strategy("random", "Again", "again")


# The section


def test_maps_of_two_classes_are_not_compared() -> None:
    labels = ROWS["images"]["label"].astype(int)
    apart = np.arange(IMAGES) % 3 == 0
    plain = np.full(IMAGES, 0.5, np.float32)
    plain[apart] = -0.9  # what two maps of two classes may well have
    plain[1] = np.nan  # and one that is constant
    rows = rows_of(FACTS, predicted_b=np.where(apart, (labels + 1) % 3, labels), agreement=plain)
    pool, found = pool_of(FACTS, rows), examples.summarise(FACTS, rows)
    assert np.isnan(pool.values["agreement"][apart]).all()
    mean = found.numbers["means"]["agreement"]
    assert (mean["value"], mean["n"]) == (0.5, int((~apart).sum()) - 1)
    assert any(
        f"for {apart.sum()} of 61 images to which they answer differently" in u for u in found.undefined
    )
    assert any("Agreement of A and B is not defined for 1 of 61 images: a map" in u for u in found.undefined)
    assert not set(propose(FACTS, rows, IMAGES, 8, "typical").rows) & set(np.flatnonzero(apart).tolist())
    assert "where both give the same answer" in examples.method(FACTS, rows)


def test_what_is_told_of_all_images() -> None:
    labels = ROWS["images"]["label"].astype(int)
    rows = rows_of(FACTS, predicted_b=np.where(np.arange(IMAGES) < 20, (labels + 1) % 3, labels))
    found = examples.summarise(FACTS, rows)
    assert found.numbers["shares"]["disagree"]["value"] == pytest.approx(20 / IMAGES)
    assert found.numbers["shares"]["flipped_a"]["value"] == 0
    mean = found.numbers["means"]["confidence_a"]
    assert mean["value"] == pytest.approx(rows["images"]["confidence_a"].mean())
    assert mean["low"] < mean["value"] < mean["high"]
    assert set(found.numbers["proposals"]) == set(STRATEGIES)
    assert found.differs is None
    json.dumps(found.numbers, allow_nan=False)
    assert [row["image"] for row in found.tables["Examples: at random"]] == [
        each["id"] for each in found.numbers["proposals"]["random"]["chosen"]
    ]


def test_without_degradations() -> None:
    facts = facts_of(())
    rows = rows_of(facts)
    found = examples.summarise(facts, rows)
    assert any("no degradation" in words for words in found.undefined)
    assert propose(facts, rows, 5, strategy="typical").eligible == IMAGES
    assert propose(facts, rows, 5, strategy="flipped").chosen == ()
    assert found.numbers["condition"] is None
    assert "drift (1" not in examples.method(facts, rows)
    assert list(examples.draw(facts, rows)) == ["examples"]


def test_the_figure_has_no_picture() -> None:
    (figure,) = examples.draw(FACTS, ROWS).values()
    assert not any(axes.images for axes in figure.axes)
    assert len(figure.axes) == 6


@pytest.fixture(scope="module")
def bench() -> Bench:
    loaded = {name: make_model("alexnet", 32, seed, hidden=32) for seed, name in enumerate("ab")}
    for name, each in loaded.items():
        each.name = name
    study = Study(("a", "b"), "noise", limit=None, degradations=NOISE, scale="paper-relative")
    return Bench(study, load=loaded.__getitem__, cards=dict, opened=lambda *_given: DATA, keep_maps=False)


def test_rows_are_what_each_pair_of_maps_gives(bench: Bench) -> None:
    rows = examples.measure(bench)
    images, degraded = rows["images"], rows["degraded"]
    assert images["id"].tolist() == list(DATA.ids)
    number, condition = next(iter(examples.strongest(bench.facts).items()))
    assert condition == Condition("gaussian_noise", "paper-relative", 3.0)
    a, b = (bench.maps(model).maps["gradcam"] for model in bench.models)
    noisy = bench.maps(bench.models[1], condition)
    own = degraded["condition"] == number
    for k in range(4):
        left, right = on_common_grid(torch.from_numpy(a[k]), torch.from_numpy(b[k]))
        np.testing.assert_allclose(images["agreement"][k], faithfulness.spearman(left, right), atol=1e-6)
        pair = torch.from_numpy(b[k]), torch.from_numpy(noisy.maps["gradcam"][k])
        np.testing.assert_allclose(degraded["drift_b"][own][k], 1 - faithfulness.spearman(*pair), atol=1e-6)
    said = [bench.models[1].classes[k] for k in noisy.predicted]
    assert [DATA.classes[k] for k in degraded["predicted_b"][own]] == said
    assert (images["correct_a"] == bench.maps(bench.models[0]).correct).all()


def test_the_gallery_shows_the_chosen_pictures(bench: Bench) -> None:
    facts, rows = bench.facts, examples.measure(bench)
    found = propose(facts, rows, 2, 1)
    figure = examples.gallery(bench, found)
    pictures = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert len(pictures) == 2 * 6
    shown = np.asarray(pictures[0])
    np.testing.assert_allclose(shown, DATA.images[found.rows[0]].permute(1, 2, 0).numpy() / 255, atol=1e-6)
    words = " ".join(text.get_text() for text in figure.texts)
    assert all(each.id in words for each in found.chosen)
    place = found.chosen[1].percentiles["confidence_a"]
    assert f"confidence A {place.value:.2f} (p{place.percentile:.0f})" in words


def test_pictures_are_galleries_of_what_there_is(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = examples.measure(bench)
    drawn: list[Any] = []
    monkeypatch.setattr(examples, "gallery", lambda _bench, chosen: drawn.append(chosen))
    found = examples.pictures(bench, bench.facts, rows)
    some = [name for name in examples.SHOWN if propose(bench.facts, rows, 1, strategy=name).chosen]
    assert list(found) == [f"examples {name}" for name in some]
    assert [chosen.strategy for chosen in drawn] == some
