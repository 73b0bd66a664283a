"""Selections and tables of errors, on six images whose answers were written down by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tests.answer_helpers import answers
from xai import error_selection, error_tables, pairwise
from xai.error_selection import KINDS, ORDERS, Asked, Choice, select
from xai.figure_errors import _both_ends, class_dots_figure, confusion_figure, transitions_figure
from xai.predictions import Answers

NAMES = ("cat", "dog", "ship")
LABELS = [0, 0, 1, 1, 2, 2]


def said(*predicted: int, confidence: float | list[float] = 0.8) -> Answers:
    """Answers to the six images."""
    return answers(LABELS, predicted, 3, confidence).compact()


A_CLEAN, B_CLEAN = said(0, 0, 1, 1, 2, 0), said(0, 1, 1, 1, 2, 2)
A = said(0, 1, 1, 0, 2, 0, confidence=[0.9, 0.8, 0.7, 0.6, 0.5, 0.95])
B = said(0, 1, 2, 1, 0, 2)
RIGHT_OF_THREE = np.array([3, 0, 2, 1, 1, 2])


@pytest.fixture
def asked() -> Asked:
    return Asked(A, B, A_CLEAN, B_CLEAN, lambda: (RIGHT_OF_THREE, 3))


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        ("all", [0, 1, 2, 3, 4, 5]),
        ("a_wrong", [1, 3, 5]),
        ("b_wrong", [1, 2, 4]),
        ("a_only", [2, 4]),
        ("b_only", [3, 5]),
        ("both_wrong", [1]),
        ("both_right", [0]),
        ("a_lost", [1, 3]),
        ("a_won", []),
        ("b_lost", [2, 4]),
        ("b_won", []),
        ("all_wrong", [1]),
        ("all_right", [0]),
        ("only_a", [4]),
        ("only_a_wrong", [5]),
        ("t1111", [0]),
        ("t1000", [1]),
        ("t1110", [2, 4]),
        ("t1101", [3]),
        ("t0101", [5]),
        ("t0000", []),
    ],
)
def test_kinds_of_images(asked: Asked, kind: str, rows: list[int]) -> None:
    assert select(asked, Choice(kind, order="stored")).tolist() == rows


def test_every_image_is_of_one_transition(asked: Asked) -> None:
    cells = [np.flatnonzero(entry.mask(asked)) for name, entry in KINDS.items() if name.startswith("t")]
    assert len(cells) == 16
    assert sorted(np.concatenate(cells).tolist()) == [0, 1, 2, 3, 4, 5]


def test_filters_and_words(asked: Asked) -> None:
    words = ["test/0 cat", "test/1 cat", "test/2 dog", "test/3 dog", "test/4 ship", "test/5 ship"]
    assert select(asked, Choice(true=1, said=0, order="stored")).tolist() == [3]
    assert select(asked, Choice(said=1, reader="b", order="stored")).tolist() == [1, 3]
    assert select(asked, Choice(text="DOG 3", order="stored"), words).tolist() == [3]
    assert select(asked, Choice(text="whale"), words).tolist() == []
    told = error_selection.in_words(Choice("a_wrong", 1, 0, text=" x "), NAMES, "A (net)")
    assert told == "A wrong, true class dog, answered cat by A (net), with “x”"


def test_orders(asked: Asked) -> None:
    assert select(asked, Choice(order="confidence")).tolist() == [5, 0, 1, 2, 3, 4]
    assert select(asked, Choice(order="confidence", reverse=True)).tolist() == [4, 3, 2, 1, 0, 5]
    # of the wrong answers 0.95 - 0.025, 0.8 - 0.1 and 0.6 - 0.2; right ones have a margin of 0
    assert select(asked, Choice(order="margin")).tolist() == [5, 1, 3, 0, 2, 4]
    # |p_A - p_B| of the label: .1, 0, .6, .6 and .4 (0.5 against 0.1), .775
    assert select(asked, Choice(order="disagreement")).tolist()[0] == 5
    assert select(asked, Choice(order="disagreement")).tolist()[-2:] == [0, 1]
    # of the label A loses 0.7 on image 1 and 0.6 on image 3
    assert select(asked, Choice(order="a_loss")).tolist()[:2] == [1, 3]


def test_what_is_not_known_is_not_offered() -> None:
    alone = Asked(A)
    assert error_selection.offered(alone) == ("all", "a_wrong")
    assert error_selection.orders(alone) == ("margin", "confidence", "stored")
    for choice in (Choice("b_wrong"), Choice(order="disagreement"), Choice(reader="b"), Choice("unheard of")):
        with pytest.raises(ValueError, match="allowed are"):
            select(alone, choice)


@pytest.mark.parametrize("register", [error_selection.kind("all", ""), error_selection.order("margin", "")])
def test_a_name_is_registered_once(register: object) -> None:
    before = len(KINDS), len(ORDERS)
    with pytest.raises(ValueError, match="already"):
        register(lambda *_: np.zeros(0))  # type: ignore[operator]
    assert (len(KINDS), len(ORDERS)) == before


def test_class_rows(asked: Asked) -> None:
    shares = error_tables.class_shares(asked, NAMES)
    assert list(shares) == ["A clean", "A degraded", "B clean", "B degraded"]
    compared = pairwise.class_differences(A, B, NAMES)
    cat, dog, ship = error_tables.class_rows(shares, compared, "A less B")
    assert (cat["n"], cat["A clean %"], cat["A degraded %"], cat["B clean %"]) == (2, 100.0, 50.0, 50.0)
    assert (dog["A less B"], ship["A less B"], cat["p (Holm)"]) == (0.0, 0.0, "1.000")
    # Wilson of 1 of 2: 9.45 % to 90.55 %
    assert (cat["A degraded from"], cat["A degraded to"]) == (9.45, 90.55)
    (alone,) = error_tables.class_shares(Asked(A), NAMES)
    assert alone == "A clean"


def test_confusion_and_its_parts() -> None:
    whole = error_tables.confusion(A, NAMES, np.arange(3))
    assert whole.counts.tolist() == [[1, 1, 0], [1, 1, 0], [1, 0, 1]]
    assert whole.elsewhere.tolist() == [0, 0, 0]
    part = error_tables.confusion(A, NAMES, np.array([1, 2]))
    assert (part.names, part.counts.tolist()) == (("dog", "ship"), [[1, 0], [0, 1]])
    assert (part.elsewhere.tolist(), part.totals.tolist()) == ([1, 1], [2, 2])
    assert error_tables.confusion_rows(part, as_shares=True)[0] == {
        "true class": "dog",
        "dog": 50.0,
        "ship": 0.0,
        "other answers": 50.0,
        "n": 2,
    }


def test_classes_may_be_called_as_the_other_columns_are() -> None:
    part = error_tables.confusion(A, ("n", "cat", "true class"), np.array([0, 2]))
    assert error_tables.confusion_rows(part, as_shares=False)[1] == {
        "(true class)": "true class",
        "n": 1,
        "true class": 1,
        "other answers": 0,
        "(n)": 2,
    }


def test_the_most_confused_classes() -> None:
    # wrong answers of A: cat as dog, dog as cat, ship as cat: cat is in three of them, dog in two, ship in one
    assert error_tables.most_confused(A, 3, 1).tolist() == [0]
    assert error_tables.most_confused(A, 3, 2).tolist() == [0, 1]
    assert error_tables.most_confused(A, 3).tolist() == [0, 1, 2]


def test_a_matrix_of_very_many_classes_is_its_most_confused_part() -> None:
    labels = np.arange(20_000)
    rows = answers(labels[:5], [0, 1, 3, 2, 19_999], 20_000).compact()
    shown = error_tables.most_confused(rows, 20_000, 4)
    assert {2, 3, 4, 19_999} == set(shown.tolist())
    found = error_tables.confusion(rows, [f"class {k}" for k in labels], shown)
    assert found.counts.sum() == 3


def test_confused_pairs_as_rows() -> None:
    first, *_ = error_tables.pair_rows(A, NAMES)
    assert (first["images"], first["of"], first["% of the class"]) == (1, 2, 50.0)
    assert len(error_tables.pair_rows(A, NAMES)) == 3


def test_transition_table_and_square(asked: Asked) -> None:
    table = pairwise.transition_table(error_selection.transitions(asked))
    rows = error_tables.transition_rows(table)
    assert sum(int(str(row["images"])) for row in rows) == 6
    square = error_tables.transition_square(table)
    for row, column in np.ndindex(4, 4):
        cell = error_tables.square_cell(row, column)
        assert square[row, column] == table[cell]
        kind = error_selection.transition_name(cell)
        assert len(select(asked, Choice(kind))) == table[cell]
        assert KINDS[kind].title == error_selection.transition_words(cell)
    assert KINDS["t1110"].title == "clean: both right; degraded: only A right"
    first, second, both = error_tables.transition_sentences(table)
    assert first == "A loses 2 images (33.3 %) that it was right about, and wins 0 images (0.0 %)."
    assert second.startswith("B loses 2 images (33.3 %)")
    assert both == "Both lose 0 images (0.0 %) together."


def test_image_rows(asked: Asked) -> None:
    (row,) = error_tables.image_rows(asked, NAMES, np.array([5]))
    assert (row["id"], row["class"], row["A: says"], row["B clean: says"]) == (
        "test/00005",
        "ship",
        "cat",
        "ship",
    )
    assert row["A: confidence"] == pytest.approx(0.95, abs=1e-3)
    assert row["A: probability of the class"] == pytest.approx(0.025, abs=1e-3)


def test_long_names_keep_both_ends() -> None:
    assert _both_ends("a_long_class_name_007", 12) == "a_long…e_007"
    assert _both_ends("a_short_name", 12) == "a_short_name"


def test_figures_say_what_the_tables_say(asked: Asked) -> None:
    dots = class_dots_figure(error_tables.class_shares(asked, NAMES), "A: one")
    names = [label.get_text() for label in dots.axes[0].get_yticklabels()]
    assert names == ["cat (2)", "dog (2)", "ship (2)"], (
        "half of each is right: the order of the classes stays"
    )
    matrix = confusion_figure(error_tables.confusion(A, NAMES, np.arange(3)), "A", as_shares=False)
    assert sorted(text.get_text() for text in matrix.axes[0].texts) == ["1"] * 6
    table = pairwise.transition_table(error_selection.transitions(asked))
    square = transitions_figure(table)
    assert sum(int(text.get_text().split("\n")[0]) for text in square.axes[0].texts) == 6
