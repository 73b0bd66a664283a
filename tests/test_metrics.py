"""Metrics of one network against numbers worked by hand and against scikit-learn's."""

import numpy as np
import pytest
from sklearn.metrics import (
    balanced_accuracy_score,
    f1_score,
    precision_score,
    roc_auc_score,
    top_k_accuracy_score,
)
from statsmodels.stats.proportion import proportion_confint

from tests.answer_helpers import answers, random_answers, shuffled
from xai import metrics
from xai.predictions import Predictions

NAMES = ("ant", "bee", "cat", "dog", "eel")
BY_HAND = answers([0, 0, 0, 0, 1, 1, 2], [0, 0, 1, 2, 1, 0, 2], classes=4)
"""Four ants (two right, one a bee, one a cat), two bees (one right, one an ant), a cat (right); no dogs."""


def test_accuracy_is_the_reference_number() -> None:
    row = metrics.accuracy(answers([0] * 100, [0] * 90 + [1] * 10))
    assert (row.right, row.total, row.share) == (90, 100, 0.9)
    assert (row.low, row.high) == pytest.approx((0.826, 0.945), abs=5e-4)


def test_accuracy_by_class_by_hand() -> None:
    rows = metrics.class_accuracies(BY_HAND, NAMES)
    assert [(row.name, row.right, row.total) for row in rows] == [("ant", 2, 4), ("bee", 1, 2), ("cat", 1, 1)]
    for row in rows:
        expected = proportion_confint(row.right, row.total, method="wilson")
        assert (row.low, row.high) == pytest.approx(expected)
    overall = metrics.accuracy(BY_HAND)
    assert (overall.right, overall.total) == (sum(r.right for r in rows), sum(r.total for r in rows))


def test_precision_recall_and_f1_by_hand() -> None:
    """Ants: 2 right of 3 answers and of 4 images. Bees: 1 of 2 and of 2. Cats: 1 of 2 and of 1."""
    rows = metrics.class_scores(BY_HAND, NAMES)
    assert [(row.name, row.images) for row in rows] == [("ant", 4), ("bee", 2), ("cat", 1)]
    found = [(row.precision, row.recall, row.f1) for row in rows]
    expected = [(2 / 3, 1 / 2, 4 / 7), (1 / 2, 1 / 2, 1 / 2), (1 / 2, 1, 2 / 3)]
    assert np.allclose(np.array(found, float), expected)
    macro = metrics.macro_scores(BY_HAND)
    assert (macro.precision, macro.recall, macro.f1) == pytest.approx(np.mean(expected, axis=0))
    assert macro.classes == 3


def test_a_class_that_is_never_answered_has_no_precision() -> None:
    rows = metrics.class_scores(answers([0, 1], [0, 0]), NAMES)
    assert [(row.precision, row.recall, row.f1) for row in rows] == [
        (0.5, 1, pytest.approx(2 / 3)),
        (None, 0, 0),
    ]
    assert metrics.macro_scores(answers([0, 1], [0, 0])).precision == 0.25


def test_macro_scores_are_those_of_scikit_learn() -> None:
    rows = random_answers(0)
    macro, (y, said) = metrics.macro_scores(rows), (rows.labels, rows.predicted)
    assert macro.precision == pytest.approx(precision_score(y, said, average="macro"))
    assert macro.recall == pytest.approx(balanced_accuracy_score(y, said))
    assert macro.f1 == pytest.approx(f1_score(y, said, average="macro"))


def test_area_under_the_curve_by_hand() -> None:
    """Class 1 has 0.75 and 0.25, the others 0.5, 0.25 and 0: of six pairs four and a half are in order."""
    ones = np.array([0.75, 0.25, 0.5, 0.25, 0], np.float16)
    rows = Predictions(
        tuple("abcde"),
        np.array([1, 1, 0, 0, 0]),
        (ones > 0.5).astype(int),
        np.stack([1 - ones, ones], axis=1),
    )
    assert metrics.macro_auc(rows) == pytest.approx(4.5 / 6)


@pytest.mark.parametrize("noise", [0.5, 6.0])
def test_area_under_the_curve_is_that_of_scikit_learn(noise: float) -> None:
    """Also with many ties: at the larger noise a third of all probabilities are 0 or 1 in float16."""
    rows = random_answers(0, noise=noise)
    scores = rows.probabilities.astype(float)
    expected = np.mean([roc_auc_score(rows.labels == k, scores[:, k]) for k in range(5)])
    assert metrics.macro_auc(rows) == pytest.approx(expected, abs=1e-12)


def test_no_area_without_both_kinds_of_images() -> None:
    assert metrics.macro_auc(BY_HAND) is None
    assert metrics.macro_auc(answers([0, 0], [0, 0], classes=1)) is None


def test_top_k_by_hand() -> None:
    shares = np.array([[0.5, 0.3, 0.15, 0.05]] * 4, np.float16)
    rows = Predictions(tuple("abcd"), np.arange(4), np.zeros(4, int), shares)
    assert [metrics.top_k_accuracy(rows, k).right for k in (1, 2, 3, 4, 9)] == [1, 2, 3, 4, 4]
    assert metrics.top_k_accuracy(rows, 2).name == "top 2"


def test_top_k_is_that_of_scikit_learn_and_top_1_the_accuracy() -> None:
    rows = random_answers(0)
    for k in (2, 3, 4):
        expected = top_k_accuracy_score(rows.labels, rows.probabilities, k=k, labels=range(5))
        assert metrics.top_k_accuracy(rows, k).share == pytest.approx(expected)
    assert metrics.top_k_accuracy(rows, 1).share == rows.accuracy
    tied = answers([0, 1, 2], [0, 0, 0], classes=3, confidence=1 / 3)
    assert metrics.top_k_accuracy(tied, 1).right == 1
    assert metrics.top_k_accuracy(tied, 2).right == 2, "the predicted class and one more"


def test_confusions_by_hand() -> None:
    counts = metrics.confusion_counts(BY_HAND, 4)
    assert counts.tolist() == [[2, 1, 1, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]


def test_confused_pairs_by_hand() -> None:
    """All have the count 1; of two bees one is half of all, of four ants a quarter."""
    rows = metrics.confused_pairs(BY_HAND, NAMES)
    told = [(row.true, row.predicted, row.count, row.total) for row in rows]
    assert told == [("bee", "ant", 1, 2), ("ant", "bee", 1, 4), ("ant", "cat", 1, 4)]
    assert [row.share for row in rows] == [0.5, 0.25, 0.25]
    assert (rows[0].low, rows[0].high) == pytest.approx(proportion_confint(1, 2, method="wilson"))
    assert metrics.confused_pairs(BY_HAND, NAMES, limit=1) == rows[:1]


def test_confused_pairs_are_the_confusions_off_the_diagonal() -> None:
    rows = random_answers(0)
    pairs, counts = metrics.confused_pairs(rows, NAMES, limit=None), metrics.confusion_counts(rows, 5)
    assert [row.count for row in pairs] == sorted((row.count for row in pairs), reverse=True)
    for row in pairs:
        assert counts[NAMES.index(row.true), NAMES.index(row.predicted)] == row.count
    assert sum(row.count for row in pairs) == counts.sum() - np.trace(counts) == (~rows.correct).sum()


def test_a_network_that_is_always_right() -> None:
    perfect = answers(np.arange(20) % 5, np.arange(20) % 5, classes=5)
    macro = metrics.macro_scores(perfect)
    assert (macro.precision, macro.recall, macro.f1) == (1, 1, 1)
    assert (
        metrics.macro_auc(perfect) == metrics.accuracy(perfect).share == metrics.accuracy(perfect).high == 1
    )
    assert metrics.confused_pairs(perfect, NAMES) == []
    assert np.array_equal(metrics.confusion_counts(perfect, 5), 4 * np.eye(5))


def test_a_network_that_always_says_the_same() -> None:
    constant = answers(np.arange(20) % 5, np.full(20, 3), classes=5, confidence=0.5)
    macro = metrics.macro_scores(constant)
    assert (macro.precision, macro.recall, macro.f1) == pytest.approx((0.04, 0.2, (2 / 6) / 5))
    assert metrics.macro_auc(constant) == 0.5
    assert metrics.accuracy(constant).share == 0.2


def test_the_order_of_the_images_changes_nothing() -> None:
    rows = random_answers(0)
    other = shuffled(rows)
    assert other.ids != rows.ids
    for name in ("class_accuracies", "class_scores", "confused_pairs"):
        assert getattr(metrics, name)(rows, NAMES) == getattr(metrics, name)(other, NAMES)
    assert metrics.macro_auc(rows) == pytest.approx(metrics.macro_auc(other), abs=1e-15)
    assert metrics.macro_scores(rows) == metrics.macro_scores(other)
    assert metrics.top_k_accuracy(rows, 2) == metrics.top_k_accuracy(other, 2)
    assert np.array_equal(metrics.confusion_counts(rows, 5), metrics.confusion_counts(other, 5))


def test_answers_without_all_probabilities_give_the_same() -> None:
    rows = random_answers(0)
    for name in ("class_accuracies", "class_scores", "confused_pairs"):
        assert getattr(metrics, name)(rows, NAMES) == getattr(metrics, name)(rows.compact(), NAMES)
    assert metrics.macro_scores(rows.compact()) == metrics.macro_scores(rows)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: metrics.class_accuracies(BY_HAND, NAMES[:2]),
            "there is a class 2, but only 2 names, of 0 to 1.",
        ),
        (
            lambda: metrics.confused_pairs(BY_HAND, NAMES[:2]),
            "there is a class 2, but only 2 names, of 0 to 1.",
        ),
        (lambda: metrics.top_k_accuracy(BY_HAND, 0), "k is 0; allowed are numbers from 1."),
        (
            lambda: metrics.confusion_counts(BY_HAND, 20_000),
            "a confusion matrix of 20,000 classes is asked for; allowed are 3 (the classes that are named) to 5,000.",
        ),
        (
            lambda: metrics.confusion_counts(BY_HAND, 2),
            "a confusion matrix of 2 classes is asked for; allowed are 3 (the classes that are named) to 5,000.",
        ),
    ],
)
def test_impossible_requests_are_refused(call: object, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        call()  # type: ignore[operator]
    assert str(caught.value) == message
