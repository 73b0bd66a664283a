"""Comparisons of two networks against numbers worked by hand, the libraries' own, and what must be true of them."""

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import cohens_kappa

from tests.answer_helpers import answers, graded, random_answers, shuffled
from xai.pairwise import (
    SMOOTHING,
    against_seeds,
    class_differences,
    compare,
    condition_differences,
    confusion_distance,
    error_consistency,
    family,
    images_of,
    mean_difference,
    transition_table,
    transitions,
)
from xai.predictions import Predictions
from xai.statistics import Difference, holm, paired_difference

NAMES = ("ant", "bee", "cat", "dog", "eel")


def both(right: int, only_a: int, only_b: int, neither: int) -> tuple[Predictions, Predictions]:
    """Answers of A and B with so many images of each kind."""
    counts = [right, only_a, only_b, neither]
    return graded(np.repeat([1, 1, 0, 0], counts)), graded(np.repeat([1, 0, 1, 0], counts))


# Differences


def test_a_difference_by_hand() -> None:
    """Nine images tip to A and one to B: p is 2 (1 + 10) / 2^10."""
    a, b = both(50, 9, 1, 40)
    found = compare(a, shuffled(b))
    assert (found.difference, found.n) == (pytest.approx(0.08), 100)
    assert found.p_value == pytest.approx(22 / 1024)
    assert found == paired_difference(a.correct, b.correct)


def test_differences_of_classes_with_holm_over_them() -> None:
    """Ants: 8 tip to A, none to B, p = 2 / 2^8. Bees: 1 and 1. Eels have no images."""
    labels = np.repeat([0, 1, 2], [20, 10, 5])
    wrong = np.full(35, 3)
    a = answers(labels, np.where(np.arange(35) % 35 != 20, labels, wrong), classes=5)
    b_right = np.r_[np.arange(20) >= 8, np.arange(10) != 5, np.ones(5, bool)]
    b = answers(labels, np.where(b_right, labels, wrong), classes=5)
    found = class_differences(a, shuffled(b), NAMES)
    assert [row.name for row in found] == ["ant", "bee", "cat"]
    assert [row.difference.n for row in found] == [20, 10, 5]
    assert [row.difference.difference for row in found] == pytest.approx([0.4, 0, 0])
    assert [row.difference.p_value for row in found] == pytest.approx([2 / 2**8, 1, 1])
    assert [row.p_holm for row in found] == pytest.approx([3 * 2 / 2**8, 1, 1])
    assert [row.real for row in found] == [True, False, False]
    with pytest.raises(ValueError, match="there is a class 2, but only 2 names"):
        class_differences(a, b, NAMES[:2])


def test_differences_of_conditions_with_holm_over_them() -> None:
    pairs = {"clean": both(50, 9, 1, 40), "fog": both(40, 30, 5, 25), "snow": both(10, 4, 4, 82)}
    found = condition_differences(pairs)
    assert [row.name for row in found] == list(pairs)
    each = [compare(a, b) for a, b in pairs.values()]
    assert [row.difference for row in found] == each
    assert [row.p_holm for row in found] == pytest.approx(holm([one.p_value for one in each]))
    assert [row.real for row in found] == [True, True, False]
    assert family({}) == []


def test_the_mean_over_conditions_keeps_an_images_conditions_together() -> None:
    """The same images tip under both conditions, so that two conditions tell no more than one."""
    a, b = both(500, 60, 30, 410)
    one, two = compare(a, b), mean_difference({"fog": (a, b), "snow": (shuffled(a), b)})
    assert two.difference == pytest.approx(one.difference) == pytest.approx(0.03)
    assert (two.low, two.high) == pytest.approx((one.low, one.high), abs=1e-9)
    assert two.p_value == pytest.approx(one.p_value, rel=0.4)
    assert two.n == 1000


def test_the_mean_over_conditions_by_hand() -> None:
    """Image by image A less B is 2, 1, 0 and 1 of two conditions; every sign the same has p = 2 / 2^3."""
    fog = (graded([1, 1, 1, 1]), graded([0, 1, 1, 0]))
    snow = (graded([1, 1, 0, 0]), graded([0, 0, 0, 0]))
    found = mean_difference({"fog": fog, "snow": snow})
    assert found.difference == pytest.approx((2 + 1 + 0 + 1) / 2 / 4)
    assert found.p_value == pytest.approx(0.25, abs=0.02)
    with pytest.raises(ValueError, match="at least one condition"):
        mean_difference({})


# Error consistency


def test_kappa_by_hand() -> None:
    """Agreement 0.7 where 0.6 * 0.7 + 0.4 * 0.3 is expected."""
    found = error_consistency(*both(50, 10, 20, 20))
    assert (found.observed, found.expected, found.images) == (pytest.approx(0.7), pytest.approx(0.54), 100)
    assert found.kappa == pytest.approx(0.16 / 0.46)


@pytest.mark.parametrize("counts", [(50, 10, 20, 20), (5, 40, 40, 15), (300, 17, 31, 152)])
def test_kappa_is_that_of_scikit_learn_and_its_interval_that_of_statsmodels(counts: tuple[int, ...]) -> None:
    a, b = both(*counts)
    found = error_consistency(a, shuffled(b))
    assert found.kappa == pytest.approx(cohen_kappa_score(a.correct, b.correct), abs=1e-12)
    assert found.kappa is not None
    assert found.low is not None
    assert found.high is not None
    theirs = cohens_kappa(np.reshape(counts, (2, 2)))
    assert found.high - found.low == pytest.approx(theirs.kappa_upp - theirs.kappa_low, abs=0.03)
    assert found.low <= found.kappa <= found.high


def test_kappa_beside_a_network_that_is_always_right_is_zero() -> None:
    a, b = both(90, 10, 0, 0)
    found = error_consistency(a, b)
    assert found.kappa == pytest.approx(cohen_kappa_score(a.correct, b.correct), abs=1e-12)
    assert (found.low, found.high) == pytest.approx((0, 0), abs=1e-12)


def test_kappa_of_a_network_with_itself_and_with_its_opposite() -> None:
    a = graded([1, 1, 0, 0])
    same, opposite = error_consistency(a, a), error_consistency(a, graded([0, 0, 1, 1]))
    assert (same.kappa, same.low, same.high) == (1, 1, 1)
    assert (opposite.kappa, opposite.low, opposite.high) == (-1, pytest.approx(-1, abs=0.8), 0)


@pytest.mark.parametrize(("hit", "words"), [(1, "right about every image"), (0, "right about no image")])
def test_kappa_is_undefined_where_nothing_is_left_to_agree_on(hit: int, words: str) -> None:
    rows = graded([hit] * 5)
    found = error_consistency(rows, rows)
    assert (found.kappa, found.low, found.high, found.observed, found.expected) == (None, None, None, 1, 1)
    assert words in found.reason
    assert error_consistency(rows, graded([1 - hit] * 5)).kappa == 0


# Transitions


def test_sixteen_cells_by_hand() -> None:
    """One image of each kind, and two more that only B loses."""
    kinds = np.array([*product((0, 1), repeat=4), (1, 1, 1, 0), (1, 1, 1, 0)])
    found = transitions(*(shuffled(graded(kinds[:, k]), k) if k else graded(kinds[:, 0]) for k in range(4)))
    table = transition_table(found)
    assert (table.shape, table.sum()) == ((2, 2, 2, 2), 18)
    assert table[1, 1, 1, 0] == 3
    assert np.delete(table.ravel(), 14).tolist() == [1] * 15
    assert images_of(found, (1, 1, 1, 0)).tolist() == [14, 16, 17]
    assert images_of(found, (0, 0, 0, 1)).tolist() == [1]


def test_cells_share_the_images_out() -> None:
    rows = [random_answers(seed, noise=noise) for seed, noise in ((0, 2), (1, 2), (2, 4), (3, 4))]
    found = transitions(rows[0], rows[1], rows[2], rows[3])
    table = transition_table(found)
    images = [images_of(found, cell) for cell in product((0, 1), repeat=4)]  # type: ignore[arg-type]
    assert [len(one) for one in images] == table.ravel().tolist()
    assert sorted(np.concatenate(images).tolist()) == list(range(400))
    for axis, one in enumerate(rows):
        assert table.sum(axis=tuple(set(range(4)) - {axis}))[1] == one.correct.sum()
    assert one.correct[images_of(found, (1, 0, 1, 1))].all()


def test_a_network_with_itself_fills_only_the_cells_where_both_agree() -> None:
    clean, worse = random_answers(0), random_answers(1, noise=4)
    table = transition_table(transitions(clean, clean, worse, worse))
    agreeing = np.zeros((2, 2, 2, 2), bool)
    agreeing[np.ix_([0], [0])] = agreeing[np.ix_([1], [1])] = np.eye(2, dtype=bool)
    assert (table[~agreeing] == 0).all()
    with pytest.raises(ValueError, match=r"the cell is \(2, 0, 0, 0\); allowed are four numbers, each 0"):
        images_of(np.zeros(3, int), (2, 0, 0, 0))


# Confusion distance


def test_confusion_distance_by_hand() -> None:
    """A takes its two wrong ants for bees, B for cats; smoothed 2.5 to 0.5 against 0.5 to 2.5."""
    a, b = answers([0] * 4, [0, 0, 1, 1], classes=3), answers([0] * 4, [0, 0, 2, 2], classes=3)
    p, q = np.array([2 + SMOOTHING, SMOOTHING]) / 3, np.array([SMOOTHING, 2 + SMOOTHING]) / 3
    middle = (p + q) / 2
    expected = (p @ np.log2(p / middle) + q @ np.log2(q / middle)) / 2
    assert confusion_distance(a, b, 3) == pytest.approx(expected) == pytest.approx(0.34998, abs=1e-4)


def test_confusion_distance_averages_the_rows_of_classes_with_images() -> None:
    labels = [0] * 4 + [1] * 4
    a = answers(labels, [0, 0, 1, 1, 1, 1, 1, 0], classes=4)
    b = answers(labels, [0, 0, 2, 2, 1, 1, 1, 3], classes=4)
    rows = [([2.5, 0.5, 0.5], [0.5, 2.5, 0.5]), ([1.5, 0.5, 0.5], [0.5, 0.5, 1.5])]
    expected = np.mean([jensenshannon(p, q, base=2) ** 2 for p, q in rows])
    assert confusion_distance(a, b, 4) == pytest.approx(expected)


def test_confusion_distance_is_a_distance_of_confusions_alone() -> None:
    a, b = random_answers(0), random_answers(1)
    there, back = confusion_distance(a, shuffled(b), 5), confusion_distance(b, a, 5)
    assert there is not None
    assert 0 < there < 0.2
    assert there == pytest.approx(back, abs=1e-15)
    assert confusion_distance(a, a, 5) == confusion_distance(a, shuffled(a), 5) == 0
    right = replace(a, predicted=np.where(np.arange(400) < 0, a.predicted, a.labels))
    assert confusion_distance(right, right, 5) == 0
    far = answers(a.labels, (a.labels + 1) % 5, classes=5), answers(a.labels, (a.labels + 2) % 5, classes=5)
    assert 0.9 < (confusion_distance(*far, 5) or 0) <= 1
    assert confusion_distance(graded([1, 0]), graded([0, 1]), 2) is None


# Seeds


def seeds(*rights: int) -> list[Predictions]:
    """Networks that are right about so many of a hundred images."""
    return [graded(np.arange(100) < right) for right in rights]


def test_architectures_beside_seeds_by_hand() -> None:
    found = against_seeds(seeds(80, 82, 81), seeds(70, 71, 73), ("ResNet", "AlexNet"))
    assert found.difference == pytest.approx(0.81 - 0.7133333)
    assert len(found.between) == 9
    assert found.between[0] == pytest.approx(0.1)
    assert found.within_a == pytest.approx((0.02, 0.01, 0.01))
    assert found.within_b == pytest.approx((0.01, 0.03, 0.02))
    assert (found.largest_within, found.exceeds) == (pytest.approx(0.03), True)
    assert found.p_value == found.least_p == pytest.approx(2 / 20), "three against three can't do better"
    assert found.sentence == (
        "ResNet is 9.67 points above AlexNet (3 and 3 seeds of ResNet and AlexNet), more than two seeds of one "
        "architecture do, 3.00 at most in 6 pairs; shuffling the seeds gives p = 0.1, and can't give less than 0.1 "
        "with so many."
    )


def test_a_difference_no_larger_than_that_of_seeds() -> None:
    found = against_seeds(seeds(80, 70), seeds(71, 78))
    assert (found.difference, found.exceeds) == (pytest.approx(0.005), False)
    assert "A is 0.50 points above B" in found.sentence
    assert "no more than" in found.sentence
    assert found.p_value == 1


def test_the_permutation_test_by_enumeration() -> None:
    a, b = (0.80, 0.75, 0.78, 0.77), (0.76, 0.74, 0.70)
    found = against_seeds(seeds(80, 75, 78, 77), seeds(76, 74, 70))
    values = np.array([*a, *b])
    chosen = [list(four) for four in combinations(range(7), 4)]
    gaps = np.array([values[one].mean() - np.delete(values, one).mean() for one in chosen])
    expected = 2 * (gaps >= np.mean(a) - np.mean(b) - 1e-12).mean()
    assert found.p_value == pytest.approx(expected)
    assert found.least_p == pytest.approx(2 / 35)


def test_the_same_networks_do_not_differ() -> None:
    found = against_seeds(seeds(80, 82), seeds(80, 82))
    assert (found.difference, found.exceeds, found.p_value) == (0, False, 1)


def test_one_seed_each_says_so() -> None:
    found = against_seeds(seeds(80), seeds(85), ("ResNet", "AlexNet"))
    assert (found.largest_within, found.exceeds, found.within_a, found.p_value) == (None, None, (), None)
    assert found.sentence == (
        "AlexNet is 5.00 points above ResNet (1 and 1 seeds of ResNet and AlexNet), and with one seed each nothing "
        "says how much two seeds of one architecture differ."
    )
    three = against_seeds(seeds(80), seeds(85, 84, 86))
    assert (three.largest_within, three.exceeds, three.p_value) == (pytest.approx(0.02), True, None)
    assert three.sentence.endswith("more than two seeds of one architecture do, 2.00 at most in 3 pairs.")
    with pytest.raises(ValueError, match="there are 0 and 1 seeds; allowed are at least one of each"):
        against_seeds([], seeds(80))


# Images


@pytest.mark.parametrize(
    "call",
    [
        compare,
        error_consistency,
        lambda a, b: class_differences(a, b, NAMES),
        lambda a, b: condition_differences({"fog": (a, b)}),
        lambda a, b: mean_difference({"clean": (a, a), "fog": (a, b)}),
        lambda a, b: confusion_distance(a, b, 5),
        lambda a, b: transitions(a, a, a, b),
        lambda a, b: transitions(a, b, a, a),
        lambda a, b: against_seeds([a, b], [a]),
        lambda a, b: against_seeds([a], [b]),
    ],
)
def test_only_answers_to_the_same_images_are_compared(
    call: Callable[[Predictions, Predictions], Difference],
) -> None:
    a = random_answers(0)
    with pytest.raises(ValueError, match="compared are only answers to the same images"):
        call(a, replace(a, ids=("other", *a.ids[1:])))
    with pytest.raises(ValueError, match="differ in the labels of 400 of 400 images, first of test/00000"):
        call(a, replace(a, labels=(a.labels + 1) % 5))


def test_answers_without_all_probabilities_are_compared_too() -> None:
    a, b = random_answers(0), random_answers(1)
    assert compare(a.compact(), shuffled(b).compact()) == compare(a, b)
    assert error_consistency(a.compact(), b) == error_consistency(a, b)
    assert confusion_distance(a.compact(), b.compact(), 5) == confusion_distance(a, b, 5)
