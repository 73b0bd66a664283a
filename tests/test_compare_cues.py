"""Cues: planted networks that use one cue alone are recognised as such, and tests stay silent where there is none."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch

from data import cue10
from data.datasets import DatasetError, ImageSet, Progress
from tests.cue_helpers import Code, Square, bench, coded, extents, facts, model
from xai import statistics
from xai.compare import cues, resampling
from xai.compare.cues_found import between, by_class, conflict, since_clean, summarise
from xai.compare.phrases import points
from xai.compare.sections import Measured, section
from xai.compare.study import Facts
from xai.compare.tags_found import CHANCE, tags
from xai.statistics import wilson

pytestmark = pytest.mark.usefixtures("one_thread")
SIMULATED, ALLOWED = 200, 18
"""Of 200 tests of true nulls at 5 %, more than 18 tell a difference with a probability of 0.7 %."""


# Tags


def scenes(split: str, count: int) -> ImageSet:
    """The first scenes of a split, drawn here."""
    images, masks, shapes, textures = cue10.draw(split, 0, count)
    ids = tuple(f"cue10/{split}/{k:05d}" for k in range(count))
    cue = {"shape": shapes, "texture": textures}
    return ImageSet("cue10", split, images, shapes, cue10.CLASSES, ids, masks, cue)


def test_scenes_without_tag_are_what_the_tag_hid() -> None:
    """Everything outside the corner is untouched, and the corner is that of the scene drawn without a tag."""
    data, tag = scenes("shortcut", 20), cue10.TAG
    bare, whole = cue10.untagged(data), cue10.draw("shortcut", 0, 20, tag=False)
    assert int((bare.images.int() - whole[0].int()).abs().max()) <= 1
    assert bare.masks is not None
    assert torch.equal(bare.masks, whole[1])
    kept = torch.ones(64, 64, dtype=torch.bool)
    kept[:tag, :tag] = False
    assert torch.equal(bare.images[:, :, kept], data.images[:, :, kept])
    assert (bare.images[:, :, :tag, :tag] != data.images[:, :, :tag, :tag]).flatten(1).any(dim=1).all()
    assert torch.equal(cue10.draw("test", 0, 5, tag=False)[0], cue10.draw("test", 0, 5)[0])


def test_tags_of_other_classes_are_theirs() -> None:
    data = scenes("shortcut", 20)
    assert torch.equal(cue10.retagged(data, data.labels).images, data.images)
    moved = cue10.retagged(data, (data.labels + 1) % 10).images
    assert torch.equal(moved[:9, :, :8, :8], data.images[1:10, :, :8, :8])
    for change in (cue10.untagged, lambda other: cue10.retagged(other, other.labels)):
        with pytest.raises(
            DatasetError, match=r"^cue10 test has no tags; allowed are scenes of cue10 shortcut\.$"
        ):
            change(scenes("test", 2))


def test_wrong_tags_are_of_every_other_class() -> None:
    data = scenes("shortcut", 180)
    wrong = cues._wrong_classes(data)
    assert not (wrong == data.labels.numpy()).any()
    assert len({*zip(data.labels.tolist(), wrong.tolist(), strict=True)}) == 90


# Planted networks


def opened(_dataset: str, split: str, _progress: Progress | None) -> ImageSet:
    """The first scenes of each split, those with conflicting cues with both written into the first pixel."""
    return coded(scenes(split, 100)) if split == "conflict" else scenes(split, 60)


@pytest.fixture(scope="module")
def planted() -> tuple[Facts, Measured]:
    """A answers by the colour of the tag and a little by all others, B by that of a square in the middle."""
    networks = [
        model(name, Square(*place, rest=rest), cue10.CLASSES, 64)
        for name, place, rest in (("a", (0, 0), 0.25), ("b", (4, 4), 0.0))
    ]
    made = bench(networks, opened, dataset="cue10", method="hirescam", degradations=(), limit=None)
    return made.facts, cues.measure(made)


def test_a_network_that_reads_the_tag_is_told_to(planted: tuple[Facts, Measured]) -> None:
    reader, _blind = tags(*planted)
    assert reader.follows
    assert reader.lands
    assert reader.tagged.accuracy("tagged").share == 1  # type: ignore[union-attr]
    assert reader.tagged.followed().share == 1  # type: ignore[union-attr]
    assert reader.tagged.accuracy("plain").share < 0.4  # type: ignore[union-attr]
    assert reader.tagged.gain.difference > 0.6
    # All evidence is in the tag's cell, whose bilinear enlargement reaches half a cell beyond it.
    assert reader.tagged.energy("tagged").value > 0.6
    assert reader.tagged.sureness().low > 0.1


def test_a_map_that_lies_in_the_corner_anyway_is_not_drawn_there(planted: tuple[Facts, Measured]) -> None:
    """As much energy in the corner without the tag as with it: the answers follow the tag, the map shows nothing."""
    made, rows = planted
    same = {**rows["tags"], "energy_plain": rows["tags"]["energy_tagged"]}
    reader, _blind = tags(made, {**rows, "tags": same})
    assert reader.follows
    assert reader.tagged.energy("tagged").low > CHANCE
    assert not reader.lands
    assert "no heatmap was found to be drawn to it." in summarise(made, {**rows, "tags": same}).verdict


def test_a_network_that_looks_elsewhere_is_told_not_to(planted: tuple[Facts, Measured]) -> None:
    _reader, blind = tags(*planted)
    assert not blind.follows
    assert not blind.lands
    assert blind.tagged.changed("right").right == blind.tagged.changed("wrong").right == 0  # type: ignore[union-attr]
    assert blind.tagged.energy("tagged").value == 0
    assert blind.p_holm == (1, 1, 1)
    assert blind.tagged.sureness().value == 0


def test_the_verdict_names_who_follows_the_tag(planted: tuple[Facts, Measured]) -> None:
    made, rows = planted
    found = summarise(made, rows)
    assert "sways the answers of A: a, and it draws the heatmap of A: a." in found.verdict
    swapped = {
        name: table if name == "conflict" else {**table, "network": 1 - table["network"]}
        for name, table in rows.items()
    }
    assert "sways the answers of B: b" in summarise(made, swapped).verdict
    blind = {
        name: {head: np.concatenate([each[table["network"] == 1]] * 2) for head, each in table.items()}
        for name, table in rows.items()
    }
    for name in ("tags", "corner"):
        half = len(blind[name]["network"]) // 2
        blind[name]["network"] = np.repeat([0, 1], half)
    quiet = summarise(made, {**blind, "conflict": rows["conflict"]}).verdict
    assert "no answers were found to follow a tag" in quiet
    assert "no heatmap was found to be drawn to it." in quiet


@pytest.mark.parametrize(("channels", "biases"), [((0, 1), (1.0, 0.0)), ((0, 0), (1.0, 1.0))])
def test_networks_of_one_cue_are_recognised(channels: tuple[int, int], biases: tuple[float, float]) -> None:
    """A network that reads the shape's class alone, and one that reads the texture's, through all of `measure`."""
    networks = [model(name, Code(each), cue10.CLASSES, 64) for name, each in zip("ab", channels, strict=True)]
    made = bench(networks, opened, dataset="cue10", degradations=(), limit=None)
    rows = cues.measure(made)
    found = summarise(made.facts, rows)
    read = conflict(made.facts, rows)
    assert tuple(read.bias(place).share for place in range(2)) == biases  # type: ignore[union-attr]
    assert [read.neither(place).right for place in range(2)] == [0, 0]  # type: ignore[union-attr]
    assert found.differs is (biases[0] != biases[1])
    assert ("the two differ" in found.verdict) == found.differs
    assert [pair[0].share for pair in by_class(read, "texture", 10) if pair[0]] == [1.0] * 10
    assert rows["conflict"]["image"].dtype == np.int32


# Made-up rows


def answers(
    seed: int,
    shape: Any,
    neither: float = 0.2,
    images: int = 120,
    degradations: tuple[str, ...] = ("jpeg_compression",),
) -> tuple[Facts, Measured]:
    """Rows of networks that follow the shape with the probability `shape` (`(2, conditions)`, or one), and to the tag
    answer as to anything else."""
    generator = np.random.default_rng(seed)
    made = facts(degradations=degradations, images=images)
    network, condition, image = (each.ravel() for each in np.indices((2, len(made.conditions), images)))
    shapes, textures = image % 10, (image + 1 + image // 10 % 9) % 10
    rates = np.broadcast_to(shape, (2, len(made.conditions)))[network, condition]
    cue = np.where(generator.random(len(image)) < rates, shapes, textures)
    other = (shapes + textures + 1) % 10
    other = np.where((other == shapes) | (other == textures), -1, other)
    predicted = np.where(generator.random(len(image)) < neither, other, cue)
    keys = {"image": image, "network": network, "condition": condition}
    table = {**keys, "shape": shapes, "texture": textures, "predicted": predicted}
    return made, {"conflict": table, **_tag_rows(generator, images)}


def _tag_rows(generator: np.random.Generator, images: int) -> Measured:
    """Answers that are right in 70 of 100 cases and energies around chance, whatever the tag."""
    network, image = (each.ravel() for each in np.indices((2, images)))
    label = image % 10
    said = {
        name: np.where(generator.random(len(image)) < 0.7, label, generator.integers(0, 10, len(image)))
        for name in ("tagged", "plain", "planted")
    }
    columns: dict[str, np.ndarray] = {
        "image": image,
        "network": network,
        "label": label,
        "wrong": (label + 1) % 10,
    }
    for name in ("tagged", "plain"):
        columns[f"right_{name}"] = generator.random(len(image))
        columns[f"energy_{name}"] = CHANCE * 2 * generator.random(len(image))
    corner = {"image": image, "network": network, "energy": columns["energy_plain"]}
    return {"tags": columns | said, "corner": corner}


@pytest.fixture
def no_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exact tests need no resamples, and intervals are not looked at."""
    monkeypatch.setattr(statistics, "bca_of_counts", lambda *_: (math.nan, math.nan))
    monkeypatch.setattr(resampling, "FLIPS", 499)


@pytest.mark.usefixtures("no_intervals")
def test_no_difference_is_found_where_there_is_none() -> None:
    """200 pairs of networks of one shape bias, clean and degraded, that don't care for tags."""
    told = changed = tagged = 0
    for seed in range(SIMULATED):
        made, rows = answers(seed, 0.3)
        found = conflict(made, rows)
        told += any(each.real for each in between(found).values())
        changed += any(each.real for each in since_clean(found).values())
        tagged += any(p < 0.05 for each in tags(made, rows) for p in each.p_holm)
    assert max(told, changed, tagged) <= ALLOWED


@pytest.mark.usefixtures("no_intervals")
def test_a_difference_is_found_where_there_is_one() -> None:
    """A bias that differs on clean images alone: there, and between clean and degraded ones of B."""
    told, changed = [], []
    for seed in range(20):
        found = conflict(*answers(seed, [[0.3] * 4, [0.7, 0.3, 0.3, 0.3]], images=300))
        told.append([each.real for each in between(found).values()])
        changed.append([each.real for each in since_clean(found).values()])
    assert np.mean(told, axis=0)[0] > 0.9
    assert np.mean(told, axis=0)[1:].max() < 0.2
    assert np.mean(changed, axis=0)[3:].min() > 0.9
    assert np.mean(changed, axis=0)[:3].max() < 0.2


def test_shape_bias_by_hand() -> None:
    """Three scenes by shape, one by texture and one by neither: 3 of 4, and 1 of 5 by neither."""
    made = facts(images=5)
    table = {
        "image": np.array([7, 1, 2, 3, 4] * 2),
        "network": np.repeat([0, 1], 5),
        "condition": np.zeros(10, int),
        "shape": np.array([0, 1, 2, 3, 4] * 2),
        "texture": np.array([5, 6, 7, 8, 9] * 2),
        "predicted": np.array([0, 1, 2, 8, 9, 5, 6, 7, 8, -1]),
    }
    table["predicted"][4] = 0
    found = conflict(made, {"conflict": table})
    one, two = found.bias(0), found.bias(1)
    assert one is not None
    assert two is not None
    assert (one.right, one.total, one.low, one.high) == (3, 4, *wilson(3, 4))
    assert (two.right, two.total) == (0, 4)
    assert found.neither(0).share == found.neither(1).share == 0.2  # type: ignore[union-attr]
    assert between(found) == {}, "too few scenes"


def test_guesses_are_not_taken_for_a_bias() -> None:
    """A network that follows the two cues in no more than a fifth of its answers, as guesses among ten do."""
    made, rows = answers(0, 0.5, neither=0.84, images=300)
    found = conflict(made, rows)
    assert not any(found.follows(place, number) for place in range(2) for number in range(4))
    assert conflict(*answers(0, 0.5, neither=0.5, images=300)).follows(0)
    assert any(
        "no more often than guesses would (20 %)" in words for words in summarise(made, rows).sentences
    )


def test_rows_may_come_in_any_order_and_networks_be_swapped() -> None:
    made, rows = answers(0, 0.3)
    mixed = {}
    for name, table in rows.items():
        order = np.random.default_rng(1).permutation(len(table["image"]))
        mixed[name] = {head: each[order] for head, each in table.items()}
    ours, theirs = (json.dumps(summarise(made, each).numbers["shape_bias"]) for each in (rows, mixed))
    assert ours == theirs
    assert tags(made, mixed)[0].tagged.gain == tags(made, rows)[0].tagged.gain
    swapped = {**rows, "conflict": {**rows["conflict"], "network": 1 - rows["conflict"]["network"]}}
    forth, back = (between(conflict(made, each))[0] for each in (rows, swapped))
    assert forth.difference.difference == pytest.approx(-back.difference.difference)
    assert forth.p_holm == pytest.approx(back.p_holm)


def collapsed(found: Measured, place: int, conditions: list[int]) -> Measured:
    """The same rows, in which a network gives one answer to every scene under these conditions."""
    table = found["conflict"]
    here = (table["network"] == place) & np.isin(table["condition"], conditions)
    return {**found, "conflict": {**table, "predicted": np.where(here, 3, table["predicted"])}}


def test_one_answer_to_every_scene_is_no_change_of_shape_bias() -> None:
    """Two networks that go by texture, of which one collapses: a bias of a half that comes from no cue."""
    made, rows = answers(0, 0.1, neither=0.1, images=900)
    rows = collapsed(rows, 0, [2, 3])
    read = conflict(made, rows)
    bias = read.bias(0, 3)
    assert bias is not None
    assert bias.share == pytest.approx(0.5, abs=0.1)
    found = summarise(made, rows)
    assert sorted(between(read)) == [0, 1]
    assert sorted(since_clean(read)) == [(0, 1), (1, 1), (1, 2), (1, 3)]
    assert not any(each.real for each in (*between(read).values(), *since_clean(read).values()))
    assert found.differs is False
    assert any("of one under none of 1 conditions that tell" in words for words in found.sentences)
    assert any("differ under none of 2 conditions that tell" in words for words in found.sentences)
    high = made.conditions[3].words
    assert found.undefined[0] == (
        f"2 conditions have a network that follows the cues no more often than guesses would, and no difference: "
        f"{made.conditions[2].words} and {high}."
    )
    assert found.undefined[1].startswith("Of 3 degraded conditions, 2 of one are not compared")


def test_a_network_that_guesses_when_clean_has_no_bias_to_compare() -> None:
    made, rows = answers(0, 0.1, neither=0.1, images=900)
    rows = collapsed(rows, 0, [0, 1])
    found = summarise(made, rows)
    assert sorted(since_clean(conflict(made, rows))) == [(1, 1), (1, 2), (1, 3)]
    assert "whether they differ is not known, as one may only guess" in found.verdict


def test_the_largest_difference_is_one_that_is_real() -> None:
    """Seven scenes that tip one way are more points than hundreds, and prove nothing."""
    made, rows = answers(1, [[0.3, 0.3, 0.3, 0.3], [0.7, 0.3, 0.3, 0.3]], neither=0, images=300)
    table = rows["conflict"]
    few = (table["condition"] != 3) | (table["image"] < 11)
    shape = (table["condition"] == 3) & (table["network"] == 1) & (table["image"] < 11)
    table["predicted"] = np.where(shape, table["shape"], table["predicted"])
    texture = (table["condition"] == 3) & (table["network"] == 0) & (table["image"] < 11)
    tips = texture & (table["image"] < 5)
    table["predicted"] = np.where(
        tips, table["texture"], np.where(texture, table["shape"], table["predicted"])
    )
    rows = {**rows, "conflict": {name: values[few] for name, values in table.items()}}
    found = between(conflict(made, rows))
    assert max(found, key=lambda k: abs(found[k].difference.difference)) == 3
    assert [each.real for each in found.values()] == [True, False, False, False]
    sentence = summarise(made, rows).sentences[3]
    assert sentence.startswith("Their shape biases differ under 1 of 4 conditions that tell")
    assert ", most under clean: " in sentence


def test_the_verdict_quotes_the_difference_that_was_tested() -> None:
    made, rows = answers(0, [[0.2] * 4, [0.5] * 4])
    tested = between(conflict(made, rows))[0].difference
    assert tested.n < 120
    words = f"the two differ (one less two on the scenes that both answer by a cue: {points(tested)})"
    assert words in summarise(made, rows).verdict


def test_undefined_cases_are_counted_and_shown() -> None:
    """Conditions with few scenes, classes with few of them, and blank maps."""
    made, rows = answers(0, 0.3, neither=0, images=9)
    rows["tags"]["energy_tagged"][:7] = math.nan
    found = summarise(made, rows)
    assert found.differs is None
    assert "too few scenes tell whether they differ" in found.verdict
    assert found.undefined[0].startswith(
        "4 conditions have fewer than 10 scenes that both networks answer by a cue"
    )
    assert found.undefined[1].startswith("Of 3 degraded conditions, 3 of one and 3 of two are not compared")
    assert found.undefined[2].startswith("40 cells of the tables by class have fewer than 10")
    assert found.undefined[3].startswith(
        "one has no positive evidence in 7 maps of scenes with a tag, 0 without it"
    )
    first = found.tables["Shape bias by class of the shape"][0]
    assert list(first.values())[1:] == ["fewer than 10 counted"] * 2


def test_only_cue10_has_cues() -> None:
    assert cues.applies(facts("cue10")) == ""
    assert cues.applies(facts("cifar10-jpeg")).startswith("Cues are known in cue10 alone")


def test_numbers_are_json_and_sentences_have_n_and_interval() -> None:
    made, rows = answers(0, [[0.2] * 4, [0.5] * 4])
    found = summarise(made, rows)
    assert json.loads(json.dumps(found.numbers))["tags"]["chance"] == 1 / 64
    assert found.differs is True
    assert all("n = " in words for words in found.sentences[:3])
    method = section("cues").method(made, rows)
    assert "120 clean scenes of cue10 conflict and 120 under each of 3 degraded conditions" in method
    assert "120 scenes of cue10 shortcut" in method


@pytest.mark.parametrize(
    "degradations", [(), ("jpeg_compression", "gaussian_noise", "gaussian_blur", "motion_blur")]
)
def test_figure_shows_the_numbers(degradations: tuple[str, ...]) -> None:
    """The first marks are the clean shape bias, and nothing is cut off or lies on a neighbour."""
    made, rows = answers(0, [[0.2], [0.5]], degradations=degradations)
    figure = section("cues").draw(made, rows)["cues"]
    found = conflict(made, rows)
    bias = found.bias(0)
    assert bias is not None
    assert figure.axes[0].lines[0].get_xdata() == pytest.approx(100 * bias.share)
    boxes = extents(figure)
    assert boxes.min() > -0.002
    assert boxes.max() < 1.002
    for k, one in enumerate(boxes):
        shared = np.minimum(boxes[:k, 2:], one[2:]) - np.maximum(boxes[:k, :2], one[:2])
        assert not (shared > 0.005).all(axis=1).any()
