"""Agreement of maps: planted trainings, templates and centres are found, and seeds are not called different."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from data.datasets import ImageSet
from models.cards import Card
from models.registry import Model
from xai import faithfulness, map_agreement
from xai.compare import agreement, map_metrics
from xai.compare import agreement_rows as alike
from xai.compare.agreement_found import Rows, beside_shuffled, closer_to_seeds, summarise
from xai.compare.bench import Bench
from xai.compare.map_seeds import seed_null, seeds_needed
from xai.compare.sections import Measured, section
from xai.compare.study import Facts, Network, Study

pytestmark = pytest.mark.usefixtures("one_thread")
GRID = (4, 4)
SIMULATED, ALLOWED = 200, 18
"""Of 200 tests of true nulls at 5 %, more than 18 tell a difference with a probability of 0.7 %."""


# Made-up maps


def maps(generator: np.random.Generator, count: int, *shared: np.ndarray, noise: float = 1.0) -> np.ndarray:
    """`count` maps of noise on what they share."""
    found = noise * generator.normal(size=(count, *GRID)) + sum(shared, np.zeros(GRID))
    return found.astype(np.float32)


def stack(values: np.ndarray, classes: Sequence[str]) -> alike.Stack:
    return alike.Stack(values, values, np.ones(len(values)), np.array(classes))


def rows_of(
    stacks: Sequence[alike.Stack], training: Sequence[int], conditions: int = 1, moved: float = 0.0
) -> Measured:
    """What `measure` gives for made-up maps; under degradations, if any, maps are the clean ones, but that B's have
    `moved` by that much noise under each but the first."""
    names = sorted({str(name) for each in stacks for name in each.classes})
    places = {name: place for place, name in enumerate(names)}
    same = stacks[0].classes == stacks[1].classes
    groups = np.where(same, [places[str(name)] for name in stacks[0].classes], -1)
    found = alike.clean_tables(stacks, groups, 0)
    found["images"] |= {"label": groups, "class": groups}
    a, b = (alike.products(each.maps) for each in stacks[:2])
    listed = {"name": np.array([f"n{k}-s{k}" for k in range(len(stacks))]), "training": np.array(training)}
    generator = np.random.default_rng(3)
    cells = [alike.condition(number, a, b, groups) for number in range(min(conditions, 2))]
    for number in range(2, conditions):
        noise = moved * generator.normal(size=stacks[1].maps.shape)
        cells.append(alike.condition(number, a, alike.products(stacks[1].maps + noise), groups))
    return {"networks": listed, **found, "conditions": alike.joined(cells)}


def facts(images: int, *, classes: int = 2, degraded: bool = False, **b: Any) -> Facts:
    """Facts of a network `one` and another `two`, or of what `b` says of it."""
    names = ("gaussian_noise",) if degraded else ()
    study = Study(("n0-s0", "n1-s1"), "made-up", degradations=names, scale="paper-relative")
    one = Network("n0-s0", "one", "alexnet", "made-up", 0, "0", "pool_linear", "features", GRID, 1)
    other = replace(one, **{"name": "n1-s1", "title": "two", "architecture": "resnet18", **b})
    return Facts(study, (one, other), tuple(f"class {k}" for k in range(classes)), images, 32, "0")


def labels(count: int, classes: int = 2) -> list[str]:
    return [f"class {k % classes}" for k in range(count)]


# Rows


def test_pairs_are_what_each_pair_of_maps_gives() -> None:
    generator = np.random.default_rng(0)
    stacks = [stack(maps(generator, 12), labels(12)) for _ in range(3)]
    stacks[1].maps[3] = 0
    found = alike.pairs(stacks)
    for row in range(len(found["image"])):
        a, b = (
            torch.from_numpy(stacks[int(found[name][row])].maps[found["image"][row]])
            for name in ("first", "second")
        )
        expected = faithfulness.spearman(a, b), faithfulness.top_k_overlap(a, b, map_agreement.TOP_SHARE)
        got = found["spearman"][row], found["overlap"][row]
        np.testing.assert_allclose(got, expected, atol=1e-6)
    assert np.isnan(found["spearman"]).sum() == np.isnan(found["centred"]).sum() == 2


def test_mean_over_others_is_that_of_every_pair() -> None:
    generator = np.random.default_rng(1)
    a, b = (alike.products(maps(generator, 9)).ranks for _ in range(2))
    groups = np.array([0, 0, 0, 0, 1, 1, 2, -1, -1])
    found = alike.against_others(a, b, groups)
    assert np.isnan(found).tolist() == [False] * 6 + [True] * 3
    for group in (0, 1):
        rows = np.flatnonzero(groups == group)
        others = {(i, j): a[i] @ b[j] for i in rows for j in rows if i != j}
        whole = np.mean(list(others.values()))
        assert found[rows].mean() == pytest.approx(whole)
        for image in rows:
            ours, theirs = (
                np.mean([value for pair, value in others.items() if pair[side] == image]) for side in (0, 1)
            )
            assert found[image] == pytest.approx(ours + theirs - whole)


def test_intervals_of_shuffled_images_know_of_both_sides() -> None:
    """A's map is always the same: agreement with B's of other images varies as B's agreement with that map does."""
    generator = np.random.default_rng(20)
    a = alike.products(np.repeat(maps(generator, 1), 200, axis=0)).ranks
    b = alike.products(maps(generator, 200)).ranks
    groups = np.zeros(200, int)
    one_sided = (a * b).sum(axis=1)
    assert alike.against_others(a, b, groups).std() == pytest.approx(one_sided.std(), rel=0.02)
    assert alike.against_others(b, a, groups).std() == pytest.approx(one_sided.std(), rel=0.02)


def test_shuffles_stay_in_their_group_and_average_to_all_pairs() -> None:
    generator = np.random.default_rng(2)
    a, b = (alike.products(maps(generator, 30)) for _ in range(2))
    b.ranks[4] = np.nan
    groups = np.repeat([0, 1, 2, -1], [15, 10, 1, 4])
    found = alike.shuffles(a, b, groups, (0,))["spearman"]
    kept = [k for k in range(25) if k != 4]
    table = a.ranks @ b.ranks.T
    expected = np.mean([table[k, [j for j in kept if groups[j] == groups[k]]].mean() for k in kept])
    assert len(found) == alike.SHUFFLES
    assert found.mean() == pytest.approx(expected, abs=4 * float(found.std()) / alike.SHUFFLES**0.5)
    assert len(alike.shuffles(a, b, np.arange(30), (0,))["spearman"]) == 0


def test_derangements_leave_no_image_in_its_place() -> None:
    groups = np.repeat([0, 1, 2, -1], [20, 2, 1, 3])
    found = alike.derangement(groups, (0, 1))
    assert (found[22:] == -1).all()
    assert (found[:22] != np.arange(22)).all()
    assert (groups[found[:22]] == groups[:22]).all()
    assert sorted(found[:22]) == list(range(22))
    assert not np.array_equal(found, alike.derangement(groups, (0, 2)))


def test_maps_without_their_mean_do_not_depend_on_scale() -> None:
    generator = np.random.default_rng(3)
    found = maps(generator, 20, 5 * generator.normal(size=GRID))
    scaled = found * generator.uniform(0.1, 9, (20, 1, 1)).astype(np.float32) + 3
    np.testing.assert_allclose(alike.without_mean(scaled), alike.without_mean(found), atol=1e-4)
    np.testing.assert_allclose(alike.without_mean(found).mean(axis=0), 0, atol=1e-9)
    found[2] = 0.1
    assert np.isnan(alike.without_mean(found)[2]).all()
    assert not np.isnan(np.delete(alike.without_mean(found), 2, axis=0)).any()


# Networks as units


def similarities(
    generator: np.random.Generator, templates: Iterable[np.ndarray], count: int = 30
) -> np.ndarray:
    """Mean rank correlations `(K, K)` of networks that share what is in the image and each have a template."""
    images = generator.normal(size=(count, *GRID))
    ranks = [alike.products(maps(generator, count, images, template)).ranks for template in templates]
    return np.array([[(a * b).sum(axis=1).mean() for b in ranks] for a in ranks])


def test_p_of_networks_of_one_training_is_uniform() -> None:
    """Each network has a template of its own, which is all the effect there is: 10 ways, 10 values, each as likely."""
    generator, counts = np.random.default_rng(4), np.zeros(10, int)
    for _ in range(SIMULATED):
        similarity = similarities(generator, generator.normal(size=(6, *GRID)))
        found = seed_null(similarity, np.arange(6) > 2)
        assert found is not None
        assert (found.ways, found.least_p) == (10, 0.1)
        counts[round(10 * found.p_value) - 1] += 1
    assert stats.chisquare(counts).pvalue > 0.01
    assert counts[0] <= 32  # 20 are expected; more has a probability of 0.3 %


def test_networks_of_one_training_are_called_different_in_at_most_5_percent() -> None:
    generator = np.random.default_rng(5)
    found = [
        seed_null(similarities(generator, generator.normal(size=(8, *GRID)), 12), np.arange(8) > 3)
        for _ in range(SIMULATED)
    ]
    assert sum(each is not None and each.p_value < 0.05 for each in found) <= ALLOWED


def test_two_trainings_are_found_where_there_are_enough_networks() -> None:
    generator = np.random.default_rng(6)
    for size, expected in ((4, 2 / 70), (3, 0.1), (2, 1 / 3)):
        a, b = 1.5 * generator.normal(size=(2, *GRID))
        own = 0.5 * generator.normal(size=(2 * size, *GRID))
        templates = [own[k] + (a if k < size else b) for k in range(2 * size)]
        found = seed_null(similarities(generator, templates), np.arange(2 * size) >= size)
        assert found is not None
        assert found.p_value == found.least_p == pytest.approx(expected)
        assert found.difference == pytest.approx(found.within - found.between)
        assert found.highest_between < found.lowest_within


def test_ways_are_those_of_hand() -> None:
    """Three networks, the first two of one training: of the three ways the true one has the largest difference."""
    similarity = np.array([[np.nan, 0.9, 0.2], [0.9, np.nan, 0.3], [0.2, 0.3, np.nan]])
    found = seed_null(similarity, np.array([False, False, True]))
    assert found is not None
    assert (found.within, found.between, found.ways) == (0.9, 0.25, 3)
    assert found.p_value == found.least_p == pytest.approx(1 / 3)
    worst = seed_null(similarity, np.array([False, True, False]))
    assert worst is not None
    assert worst.p_value == 1.0
    assert seed_null(similarity[:2, :2], np.array([False, True])) is None
    similarity[0, 1] = similarity[1, 0] = np.nan
    assert seed_null(similarity, np.array([False, False, True])) is None
    with pytest.raises(ValueError, match="at least one network of each training"):
        seed_null(similarity, np.array([True, True, True]))


def test_many_networks_are_shared_out_by_drawing() -> None:
    generator = np.random.default_rng(7)
    found = seed_null(similarities(generator, generator.normal(size=(18, *GRID)), 5), np.arange(18) > 8)
    assert found is not None
    assert found.least_p == pytest.approx(1 / 10_000)
    assert 0 < found.p_value <= 1


def test_seeds_needed_are_the_fewest_that_can_give_less() -> None:
    assert seeds_needed((3, 3)) == seeds_needed((1, 1)) == 4
    assert seeds_needed((5, 2)) == 5
    assert seeds_needed((1, 1), 0.5) == 2


# Images as units


def p_of_seeds(generator: np.random.Generator, count: int, templates: Iterable[np.ndarray]) -> float:
    """p that A agrees with its two seeds more than with B; the order is A, B, and A's seeds."""
    images = generator.normal(size=(count, *GRID))
    stacks = [stack(maps(generator, count, images, each), labels(count)) for each in templates]
    tables = {
        "networks": {"training": np.array([0, 1, 0, 0])},
        "pairs": alike.pairs(stacks),
    }
    return closer_to_seeds(Rows(facts(count), tables), 0).p_value


def test_p_over_images_is_uniform_without_an_effect_of_networks_and_not_with_one() -> None:
    """With a template for each network the test over images tells two weights apart that are of one training: that is
    why it never says more than that."""
    generator = np.random.default_rng(8)
    null = [p_of_seeds(generator, 25, np.zeros((4, *GRID))) for _ in range(SIMULATED)]
    assert sum(p < 0.05 for p in null) <= ALLOWED
    assert stats.kstest(null, "uniform").pvalue > 0.01
    weights = [p_of_seeds(generator, 25, 1.5 * generator.normal(size=(4, *GRID))) for _ in range(50)]
    assert np.mean(np.array(weights) < 0.05) > 0.3


def clean_shuffles(stacks: Sequence[alike.Stack], groups: np.ndarray) -> Measured:
    """No more than the tables that the test of shuffles reads."""
    a, b = (alike.products(each.maps) for each in stacks)
    orders = [alike.shuffles(a, b, scope, (0, k)) for k, scope in enumerate((0 * groups, groups))]
    numbered = [{"within_class": np.full(alike.SHUFFLES, k), **order} for k, order in enumerate(orders)]
    return {
        "networks": {"training": np.array([0, 1])},
        "pairs": alike.pairs(stacks),
        "conditions": alike.condition(0, a, b, groups),
        "shuffles": alike.joined(numbered),
    }


def p_of_shuffles(generator: np.random.Generator, shared: float) -> tuple[float, float]:
    """p of shuffles of all images and within classes; both networks have the same template for each class."""
    templates = 1.5 * generator.normal(size=(2, *GRID))
    images = shared * generator.normal(size=(40, *GRID)) + templates[np.arange(40) % 2]
    stacks = [stack(maps(generator, 40, images), labels(40)) for _ in range(2)]
    groups = np.arange(40) % 2
    rows = Rows(facts(40), clean_shuffles(stacks, groups))
    a, b = (
        beside_shuffled(rows, name, k)[2].p_value for k, name in enumerate(("shuffled", "shuffled_class"))
    )
    return a, b


def test_templates_of_classes_are_no_agreement_on_the_image() -> None:
    generator = np.random.default_rng(9)
    null = np.array([p_of_shuffles(generator, 0) for _ in range(SIMULATED)])
    assert (null[:, 0] < 0.05).mean() > 0.9
    assert (null[:, 1] < 0.05).sum() <= ALLOWED
    assert stats.kstest(null[:, 1], "uniform").pvalue > 0.01
    planted = np.array([p_of_shuffles(generator, 0.8) for _ in range(20)])
    assert (planted < 0.05).all()


# What is said


def planted(
    kind: str, seeds: tuple[int, int], count: int = 60, seed: int = 10
) -> tuple[list[alike.Stack], list[int]]:
    """A, B and their seeds, of trainings that are the same or differ."""
    generator = np.random.default_rng(seed)
    images = generator.normal(size=(count, *GRID))
    centres = 2 * generator.normal(size=(2, *GRID)) * (kind == "different")
    training = [0, 1, *[0] * (seeds[0] - 1), *[1] * (seeds[1] - 1)]
    own = 0.7 * generator.normal(size=(len(training), *GRID))
    stacks = [
        stack(maps(generator, count, images, own[k], centres[side]), labels(count))
        for k, side in enumerate(training)
    ]
    return stacks, training


def test_four_seeds_of_each_tell_trainings_apart() -> None:
    found = summarise(facts(60), rows_of(*planted("different", (4, 4))))
    assert found.differs is True
    assert found.numbers["kind"] == "differ"
    assert "by more than two seeds of one training do" in found.verdict
    assert "4 and 4 networks, p = 0.029" in found.verdict
    assert found.numbers["networks_test"]["p_value"] == pytest.approx(1 / 35)


def test_seeds_of_one_training_are_not_called_different() -> None:
    found = summarise(facts(60), rows_of(*planted("same", (4, 4))))
    assert found.differs is False
    assert "not shown to look at different places" in found.verdict


def test_three_seeds_of_each_settle_nothing() -> None:
    found = summarise(facts(60), rows_of(*planted("different", (3, 3))))
    assert found.differs is None
    assert found.numbers["kind"] == "too_few"
    assert "can't give p below 0.100" in found.verdict
    assert "fewer than 4 networks of each" in found.verdict
    assert any("speaks of these weights only" in sentence for sentence in found.sentences)


def test_one_side_without_seeds_says_so() -> None:
    found = summarise(facts(60), rows_of(*planted("different", (3, 1))))
    assert found.differs is None
    assert found.numbers["networks_test"]["least_p"] == 0.25
    assert any("Of two there is no second seed" in sentence for sentence in found.sentences)


def test_without_seeds_no_difference_can_be_claimed() -> None:
    found = summarise(facts(60), rows_of(*planted("different", (1, 1))))
    assert found.differs is None
    assert found.numbers["networks_test"] is None
    assert "the seed null is missing and no difference between architectures can be claimed" in found.verdict


def test_two_seeds_of_one_training_are_named_so() -> None:
    stacks, _ = planted("same", (3, 1))
    said = facts(60, architecture="alexnet")
    one = replace(said.networks[0], peers=("n1-s1", "n2-s2"))
    said = replace(said, networks=(one, said.networks[1]))
    found = summarise(said, rows_of(stacks, [0, 0, 0, 0]))
    assert found.differs is None
    assert "two seeds of one training" in found.verdict
    assert "other pairs of seeds agree by" in found.verdict
    assert found.numbers["closer_to_seeds"] == {}
    own = Rows(said, rows_of(stacks, [0, 0, 0, 0])).similarity()
    others = [own[i, j] for i, j in combinations(range(4), 2) if (i, j) != (0, 1)]
    assert found.numbers["on_common"]["a"]["value"] == pytest.approx(np.mean(others))


def test_a_network_agrees_with_itself() -> None:
    stacks, _ = planted("same", (1, 1))
    said = facts(60, name="n0-s0", architecture="alexnet", title="B: n0-s0")
    found = summarise(said, rows_of([stacks[0], stacks[0]], [0, 0]))
    assert "are one network" in found.verdict
    ends = found.numbers["agreement"]["spearman"]
    assert (ends["value"], ends["low"], ends["high"], ends["n"]) == (1, 1, 1, 60)
    assert found.numbers["agreement"]["overlap"]["value"] == pytest.approx(1)


def test_a_common_centre_is_no_agreement_on_images() -> None:
    """Two networks that look at the middle whatever the image: alike, but no more than on other images, and not at all
    without their mean maps."""
    generator = np.random.default_rng(11)
    rows, columns = np.mgrid[:4, :4] - 1.5
    middle = 4 * np.exp(-(rows**2 + columns**2) / 2)
    stacks = [stack(maps(generator, 80, middle), labels(80)) for _ in range(2)]
    found = summarise(facts(80), rows_of(stacks, (0, 1)))
    numbers = found.numbers
    assert numbers["agreement"]["spearman"]["low"] > 0.4
    assert numbers["agreement"]["centred"]["low"] < 0 < numbers["agreement"]["centred"]["high"]
    assert numbers["shuffled"]["shuffled"]["more"]["p_holm"] > 0.05
    assert numbers["centre"]["a"]["low"] > 0.5
    assert "not more than for other images" in found.verdict


def test_other_predictions_and_blank_maps_are_counted() -> None:
    generator = np.random.default_rng(12)
    values = [maps(generator, 40) for _ in range(2)]
    values[0][:3] = 0
    answers = labels(40)
    others = ["class 1" if k in (4, 8, 10) else name for k, name in enumerate(answers)]
    stacks = [stack(values[0], answers), stack(values[1], others)]
    found = summarise(facts(40, degraded=True), rows_of(stacks, (0, 1), conditions=4, moved=0.1))
    counts = found.numbers["counts"]
    assert (counts["same"], counts["different"], counts["constant_a"], counts["constant_b"]) == (37, 3, 3, 0)
    assert counts["blank_degraded"] == 6  # of two conditions: the first leaves every image as it is
    ends = found.numbers["agreement"]["spearman"]
    assert (ends["n"], ends["undefined"]) == (34, 3)
    assert found.numbers["all_images"]["n"] == 37
    text = " ".join(found.undefined)
    assert "3 clean images on which A and B predict different classes" in text
    assert "the map of one is constant" in text
    assert "6 of 74 pairs of degraded maps" in text


def test_maps_that_are_all_blank_say_nothing() -> None:
    blank = stack(np.zeros((20, *GRID), np.float32), labels(20))
    found = summarise(facts(20), rows_of([blank, blank], (0, 1)))
    assert found.verdict.startswith("Nothing can be said")
    assert found.differs is None
    json.dumps(found.numbers, allow_nan=False)


def test_no_degradation_changes_nothing() -> None:
    """Degraded maps that are the clean ones: no change under any condition, and nothing to test."""
    found = summarise(facts(60, degraded=True), rows_of(*planted("same", (1, 1)), conditions=4))
    assert len(found.numbers["changes"]) == 3
    for change in found.numbers["changes"].values():
        assert (change["value"], change["low"], change["high"], change["p_holm"]) == (0, 0, 0, None)
    assert "agree less than on the clean images" not in " ".join(found.sentences)
    assert "3 of the degraded conditions left out of counts" in " ".join(found.undefined)


def test_conditions_that_leave_every_image_as_it_is_are_no_conditions() -> None:
    """One of three leaves all maps as they are: it is not counted, and Holm's family is two."""
    said = facts(60, degraded=True)
    rows = rows_of(*planted("same", (1, 1)), conditions=4, moved=3.0)
    found = summarise(said, rows)
    assert found.numbers["idle"] == [said.conditions[1].name]
    assert any(
        sentence.startswith("Of 2 conditions that change anything (1 leaves every image as it is) A and B")
        for sentence in found.sentences
    )
    changes = list(found.numbers["changes"].values())
    assert changes[0]["p_holm"] is None
    assert min(change["p_holm"] for change in changes[1:]) == pytest.approx(
        2 * min(change["p"] for change in changes[1:])
    )
    table = found.tables["Agreement by condition"]
    assert [row["p (Holm)"] for row in table[:2]] == ["", "nothing changes"]
    rows["conditions"]["shuffled"][60] += 0.01  # one number of one image is another: something changes
    assert summarise(said, rows).numbers["idle"] == []


@pytest.mark.parametrize("seeds", [(1, 1), (3, 3), (3, 1), (6, 5)])
def test_numbers_are_json_and_figures_are_drawn(seeds: tuple[int, int]) -> None:
    rows, said = rows_of(*planted("same", seeds, 30), conditions=4), facts(30, degraded=True)
    found = summarise(said, rows)
    assert json.loads(json.dumps(found.numbers, allow_nan=False)) == found.numbers
    assert all(table and len({tuple(row) for row in table}) == 1 for table in found.tables.values())
    drawn = section("agreement").draw(said, rows)
    assert set(drawn) == {"nulls", "severity"}
    assert (
        len(drawn["nulls"].axes[0].get_yticklabels())
        == 6 + {(1, 1): 0, (3, 3): 7, (3, 1): 4, (6, 5): 3}[seeds]
    )
    assert "Spearman's rank correlation" in section("agreement").method(said, rows)


# Measured


class Places(nn.Module):
    """Answers by how bright each half of an image is, or of its other half where `turned`."""

    def __init__(self, turned: bool, noise: int) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 2, 4, 4, bias=False)
        generator = torch.Generator().manual_seed(noise)
        self.features.weight.data.normal_(0, 0.05, generator=generator)
        self.features.weight.data[0] += 0.1
        halves = torch.zeros(2, 2, 4, 4)
        halves[0, 0, :, :2] = halves[1, 0, :, 2:] = 1
        self.head = nn.Linear(32, 2, bias=False)
        self.head.weight.data.copy_((halves.flip(0) if turned else halves).flatten(1))

    def forward(self, images: Tensor) -> Tensor:
        """Brightness of either half, `(n, 2)`."""
        return self.head(self.features(images).relu().flatten(1))


def tiny(name: str, seed: int, *, turned: bool = False) -> Model:
    """A network of 16 px; the turned one has its classes in the other order."""
    classes = ("right", "left") if turned else ("left", "right")
    card = Card(name, "turned" if turned else "plain", "made-up", classes, 16, seed, "cpu", {}, sha256=name)
    network = Places(turned, seed).eval().requires_grad_(False)
    return Model(name, network, classes, 16, "features", "flatten_mlp", ("features",), card)


def halves(count: int = 24) -> ImageSet:
    """Images that are brighter on the left or on the right."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 100, (count, 3, 16, 16), generator=generator)
    chosen = torch.arange(count) % 2
    pixels[chosen == 0, :, :, :8] += 120
    pixels[chosen == 1, :, :, 8:] += 120
    ids = tuple(f"image {k}" for k in range(count))
    return ImageSet("made-up", "test", pixels.to(torch.uint8), chosen, ("left", "right"), ids)


def bench(a: str, b: str, networks: Sequence[Model]) -> Bench:
    named = {each.name: each for each in networks}
    study = Study((a, b), "made-up", degradations=("gaussian_noise",))
    return Bench(
        study,
        load=lambda name: named[name],
        cards=lambda: {name: each.card for name, each in named.items()},
        opened=lambda *_: halves(),
    )


def test_measured_rows_are_those_of_the_maps() -> None:
    """Classes are matched by their names; A, B and the seeds of A are measured, and no other."""
    made = [tiny("plain-s0", 0), tiny("turned-s5", 5, turned=True), tiny("plain-s1", 1), tiny("plain-s2", 2)]
    at_work = bench("plain-s0", "turned-s5", made)
    rows = agreement.measure(at_work)
    assert rows["networks"]["name"].tolist() == ["plain-s0", "turned-s5", "plain-s1", "plain-s2"]
    assert rows["networks"]["training"].tolist() == [0, 1, 0, 0]
    assert len(rows["pairs"]["image"]) == 24 * 6
    assert len(rows["conditions"]["image"]) == 24 * len(at_work.facts.conditions)
    for first, second in combinations(range(4), 2):
        own = (rows["pairs"]["first"] == first) & (rows["pairs"]["second"] == second)
        a, b = (at_work.maps(made[k]).maps["gradcam"] for k in (first, second))
        np.testing.assert_allclose(rows["pairs"]["spearman"][own], map_metrics.spearman_rows(a, b), atol=1e-6)
        answers = [np.array(made[k].classes)[at_work.maps(made[k]).predicted] for k in (first, second)]
        assert np.array_equal(rows["pairs"]["same"][own], answers[0] == answers[1])
    clean = rows["conditions"]["spearman"][rows["conditions"]["condition"] == 0]
    assert np.array_equal(clean, rows["pairs"]["spearman"][:24], equal_nan=True)
    found = summarise(at_work.facts, rows)
    assert found.numbers["counts"]["same"] >= 20
    assert found.numbers["networks_test"]["networks"] == [3, 1]


def test_degraded_maps_keep_the_class_of_the_clean_image() -> None:
    at_work = bench("plain-s0", "turned-s5", [tiny("plain-s0", 0), tiny("turned-s5", 5, turned=True)])
    rows = agreement.measure(at_work)["conditions"]
    last = at_work.facts.conditions[-1]
    clean = [at_work.maps(model).targets for model in at_work.models]
    kept = [
        at_work.maps(m, last, targets=t).maps["gradcam"] for m, t in zip(at_work.models, clean, strict=True)
    ]
    own = rows["condition"] == len(at_work.facts.conditions) - 1
    np.testing.assert_allclose(rows["spearman"][own], map_metrics.spearman_rows(*kept), atol=1e-6)


def test_a_network_named_twice_agrees_exactly() -> None:
    at_work = bench("plain-s0", "plain-s0", [tiny("plain-s0", 0), tiny("plain-s1", 1)])
    rows = agreement.measure(at_work)
    own = rows["conditions"]
    defined = ~np.isnan(own["spearman"])
    assert defined.sum() > 0.8 * defined.size
    np.testing.assert_allclose(own["spearman"][defined], 1, atol=1e-6)
    assert rows["networks"]["training"].tolist() == [0, 0, 0]
    assert "are one network" in summarise(at_work.facts, rows).verdict


@pytest.mark.parametrize("recipe", [{"name": "imported"}, {"name": "transfer"}])
def test_what_is_not_known_to_differ_by_its_seed_alone_is_no_peer(recipe: dict[str, str]) -> None:
    networks = [tiny(f"plain-s{seed}", seed) for seed in range(4)]
    made = [recipe | {"initial": "here"}, recipe | {"initial": "there"}, recipe | {"initial": "here"}]
    networks = [
        replace(network, card=replace(network.card, recipe=own))
        for network, own in zip(networks, [*made, {}], strict=True)
    ]
    at_work = bench("plain-s0", "plain-s3", networks)
    expected = ("plain-s2",) if recipe["name"] == "transfer" else ()
    assert [each.peers for each in at_work.facts.networks] == [expected, ()]


def test_two_runs_of_one_seed_are_no_peers_and_count_once_for_a_third() -> None:
    networks = [tiny("plain", 0), tiny("again", 0), tiny("other", 1)]
    at_work = bench("plain", "other", networks)
    assert [each.peers for each in at_work.facts.networks] == [("other",), ("plain",)]


def test_two_seeds_share_their_peers() -> None:
    at_work = bench("plain-s0", "plain-s1", [tiny(f"plain-s{k}", k) for k in range(3)])
    rows = agreement.measure(at_work)
    assert rows["networks"]["name"].tolist() == ["plain-s0", "plain-s1", "plain-s2"]
    assert rows["networks"]["training"].tolist() == [0, 0, 0]
    assert "two seeds of one training" in summarise(at_work.facts, rows).verdict
