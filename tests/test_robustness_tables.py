"""Tables and figures of robustness, on boards of made-up answers whose numbers are known by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from matplotlib.axes import Axes

from models.cards import Card
from tests.board_helpers import board_of, cifar_c, relative, right_of
from tests.test_network_table import card
from xai import (
    robustness_board,
    robustness_calibration,
    robustness_curves,
    robustness_grid,
    robustness_mce,
    robustness_paper,
    robustness_remedies,
    tables,
)
from xai.figure_robustness import FIGURES
from xai.figure_robustness_parts import look
from xai.predictions import Predictions
from xai.results import UNTOUCHED, Board, Condition
from xai.robustness import CORRUPTIONS
from xai.robustness_tables import TABLES

NOISE = [relative("gaussian_noise", level) for level in (1, 2, 3)]
A, B = "alexnet-cifar10-jpeg-s0", "resnet18_cifar-cifar10-jpeg-s0"
SCALE = "paper-relative"


def asked(model: str, rights: dict[Condition, int]) -> dict[tuple[str, Condition], Predictions]:
    """Answers of a network that tells the first so many of 40 images right under each condition."""
    return {(model, condition): right_of(right) for condition, right in rights.items()}


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    """Two trainings, one of three seeds, on two scales, with a remedy; some conditions do nothing."""
    everything = dict.fromkeys([*NOISE, *(relative("motion_blur", k) for k in (1, 2, 3))], 20)
    answered = asked(A, {UNTOUCHED: 40, **everything, cifar_c("fog", 1): 30})
    answered |= asked(B, {UNTOUCHED: 36, **everything, NOISE[0]: 30, cifar_c("fog", 1): 30})
    answered |= asked(A.replace("s0", "s1"), {UNTOUCHED: 38, **everything})
    answered |= asked(A.replace("s0", "s2"), {UNTOUCHED: 39, **everything})
    answered |= asked(
        A, {relative("gaussian_noise", 2, "nlm.v1"): 30, Condition("clean", "", 0.0, "nlm.v1"): 36}
    )
    return board_of(tmp_path_factory.mktemp("board"), answered)


def row_of(rows: tables.Rows, **wanted: str) -> dict[str, tables.Cell]:
    """The only row that has these words."""
    (found,) = [row for row in rows if all(row[head] == word for head, word in wanted.items())]
    return dict(found)


def test_scales_are_never_mixed_and_remedies_left_out(board: Board) -> None:
    assert robustness_board.scales(board) == (SCALE, "cifar-c")
    found = robustness_board.conditions(board, [A, B], SCALE)
    assert found[0] == UNTOUCHED
    assert {condition.scale for condition in found[1:]} == {SCALE}
    assert not any(condition.remedy for condition in found)
    assert robustness_board.degradations(board, [A], "cifar-c") == ("fog",)
    assert len(robustness_board.conditions(board, [A], "imagenet-c")) == 1, "the clean images alone"


def test_what_does_nothing_at_32_px_is_said(board: Board, tmp_path: Path) -> None:
    idle = [c.name for c in robustness_board.degraded(board, [A], SCALE) if robustness_board.idle(board, c)]
    assert idle == ["motion_blur 1"], "a line of 1 px"
    assert "Motion blur, low" in robustness_board.idle_note(board, [relative("motion_blur", 1), *NOISE])
    assert robustness_board.idle_note(board, NOISE) == ""
    blur = [relative("gaussian_blur", 1), relative("gaussian_blur", 2)]
    other = board_of(tmp_path, asked(A, dict.fromkeys([UNTOUCHED, *blur], 10)))
    assert [robustness_board.idle(other, condition) for condition in blur] == [True, False], (
        "a kernel of 1 px"
    )


def test_the_area_is_the_trapezoid_rule(tmp_path: Path) -> None:
    rights = {UNTOUCHED: 40, NOISE[0]: 20, NOISE[1]: 20, NOISE[2]: 0}
    (row,) = robustness_curves.area_rows(board_of(tmp_path, asked(A, rights)), [A], SCALE)
    assert row["area %"] == pytest.approx(100 * (0.75 + 0.5 + 0.25) / 3)
    assert row["area %, from"] < row["area %"] < row["area %, to"]  # type: ignore[operator]
    assert (row["clean %"], row["highest severity"], row["images"]) == (100, "high", 40)
    assert (row["clean %, from"], row["clean %, to"]) == (pytest.approx(91.24, abs=0.01), 100)
    assert (row["at the highest %"], row["at the highest %, from"]) == (0, 0)
    assert row["at the highest %, to"] == pytest.approx(8.76, abs=0.01)


def test_a_class_dies_where_half_is_left(tmp_path: Path) -> None:
    """Of 40 images of 4 classes in turn the first 22 hold 6, 6, 5, 5 of each class; the first 16 hold 4 of each."""
    rights = {UNTOUCHED: 40, NOISE[0]: 22, NOISE[1]: 16, NOISE[2]: 16}
    rows = robustness_curves.death_rows(board_of(tmp_path, asked(A, rights)), [A], SCALE)
    assert [row["dies at"] for row in rows] == ["medium"] * 4, "5 of 10 are not less than half"
    assert {row["left %"] for row in rows} == {40.0}
    assert {row["beyond both intervals"] for row in rows} == {"no"}, "10 images a class are few"


def test_differences_are_judged_together(board: Board) -> None:
    """A tells 4 more right on clean images and 10 fewer under weak noise; all else is equal: 7 tests."""
    found = {each.condition.name: each for each in robustness_grid.judged(board, [A, B], B, SCALE)}
    assert len(found) == 7
    weak = found["gaussian_noise 1"]
    assert weak.difference.difference == pytest.approx(-0.25)
    assert weak.difference.p_value == pytest.approx(2 * 0.5**10)
    assert weak.p_holm == pytest.approx(7 * 2 * 0.5**10)
    assert weak.real
    assert found["clean"].difference.p_value == pytest.approx(2 * 0.5**4)
    assert not found["clean"].real
    row = row_of(robustness_grid.difference_rows(board, [A, B], SCALE, B), condition="Gaussian noise, low")
    assert (row["A - B, points"], row["A %"], row["B %"], row["real"]) == (-25.0, 50.0, 75.0, "yes")


def test_the_mean_difference_leaves_out_clean_images(board: Board) -> None:
    (row,) = robustness_grid.mean_rows(board, [A, B], SCALE, B)
    assert row["conditions"] == 6
    assert row["A - B, points"] == pytest.approx(-25 / 6)


def test_two_trainings_stand_beside_two_seeds_of_one(board: Board) -> None:
    """On clean images A's seeds have 100, 95 and 97.5 %, B has 90."""
    row = row_of(robustness_grid.seed_rows(board, A, B, SCALE), condition="Clean")
    assert (row["seeds of A"], row["seeds of B"]) == (3, 1)
    assert row["A - B of means, points"] == pytest.approx(7.5)
    assert (row["least of all pairs"], row["most of all pairs"]) == (5.0, 10.0)
    assert (row["most between two seeds"], row["more than seeds"]) == (5.0, "yes")
    assert robustness_grid.seed_rows(board, A, A.replace("s0", "s1"), SCALE) == [], "seeds of one training"
    assert robustness_board.seeds(board, A.replace("s0", "s2")) == tuple(
        A.replace("s0", f"s{seed}") for seed in range(3)
    )
    assert robustness_board.training("a-s0-w16") == "a-s0-w16"


def test_the_same_errors_are_fully_consistent(board: Board) -> None:
    row = row_of(robustness_grid.consistency_rows(board, A, B, SCALE), condition="Gaussian noise, high")
    assert (row["kappa"], row["confusion distance"], row["expected by chance %"]) == (1.0, 0.0, 50.0)
    assert row["seeds"] == f"{A} and {A.replace('s0', 's1')}"
    assert row["kappa of two seeds"] == 1.0


def test_the_reference_scores_100_and_frost_is_missing(tmp_path: Path) -> None:
    """At every corruption the reference makes 20 errors of 40 and the other 10; clean, 4 and 2."""
    corrupted = [cifar_c(name, 1) for name in CORRUPTIONS if name != "frost"]
    answered = asked(A, {UNTOUCHED: 36, **dict.fromkeys(corrupted, 20)})
    answered |= asked(B, {UNTOUCHED: 38, **dict.fromkeys(corrupted, 30)})
    found = board_of(tmp_path, answered)
    assert robustness_board.reference(found) == A
    own, other = robustness_mce.mce_rows(found, [A, B], "cifar-c", A)
    heads = ("mCE %", "mCE %, from", "mCE %, to", "relative mCE %")
    assert [own[head] for head in heads] == [100.0] * 4
    assert other["mCE %"] == pytest.approx(50)
    assert other["relative mCE %"] == pytest.approx(100 * (10 - 2) / (20 - 4))
    assert other["mCE %, from"] < 50 < other["mCE %, to"]  # type: ignore[operator]
    assert other["corruptions"] == "14 of 15"
    frost, fewer = str(other["left out"]).split("; ")
    assert frost == "Frost (not implemented here)"
    assert fewer.startswith("fewer severities than the scale has: Gaussian noise 1 of 5, ")
    assert other["relative robustness %"] == pytest.approx(100 * 30 / 38)
    (note,) = [note for note in robustness_mce.mce_notes(found, [A, B], "cifar-c", A) if "Frost" in note]
    assert note == "Left out of a mean: Frost (not implemented here)."


def test_a_relative_error_over_almost_nothing_has_no_interval(tmp_path: Path) -> None:
    """The reference loses 1 image of 40 to the noise, and in many resamples none."""
    answered = asked(A, {UNTOUCHED: 40, NOISE[0]: 39}) | asked(B, {UNTOUCHED: 40, NOISE[0]: 20})
    rows = robustness_mce.error_rows(board_of(tmp_path, answered), [B], SCALE, A)
    row = row_of(rows, network=B, degradation="Gaussian noise")
    assert row["relative CE %"] == pytest.approx(2_000)
    assert (row["relative CE %, from"], row["relative CE %, to"]) == (None, None)


def test_guessing_is_among_the_classes_that_have_images(tmp_path: Path) -> None:
    answered = asked(A, {UNTOUCHED: 40, NOISE[0]: 20})
    few = board_of(tmp_path / "few", answered)
    many = board_of(tmp_path / "many", answered, [*few.classes, *(f"other {k}" for k in range(990))])
    assert robustness_mce.war(few, A, SCALE) == robustness_mce.war(many, A, SCALE)


def test_the_interval_of_one_corruption_is_that_of_the_ratio(tmp_path: Path) -> None:
    """All of B's errors are A's too, so the ratio of their numbers is the share of A's errors that B makes."""
    answered = asked(A, {UNTOUCHED: 40, NOISE[0]: 0}) | asked(B, {UNTOUCHED: 40, NOISE[0]: 20})
    row = row_of(
        robustness_mce.error_rows(board_of(tmp_path, answered), [B], SCALE, A),
        network=B,
        degradation="Gaussian noise",
    )
    assert row["CE %"] == 50.0
    spread = 100 * 1.96 * (0.5 * 0.5 / 40) ** 0.5
    assert row["CE %, from"] == pytest.approx(50 - spread, abs=3)
    assert row["CE %, to"] == pytest.approx(50 + spread, abs=3)


def test_calibration_by_hand(board: Board) -> None:
    """Everything is said with 75 %: clean answers are all right, those under noise half."""
    rows = robustness_calibration.calibration_rows(board, [A], [UNTOUCHED, NOISE[0]])
    assert [row["ECE %"] for row in rows] == [25.0, 25.0]
    clean, noisy = rows
    assert clean["Brier"] == pytest.approx(0.25**2 + 3 * (0.25 / 3) ** 2, abs=1e-3)
    assert noisy["Brier"] is None, "only the compact form is stored"
    assert clean["NLL"] == pytest.approx(0.2877, abs=1e-3)
    scores = robustness_calibration.score_rows(board, [A], [UNTOUCHED, NOISE[0]], k=2)
    assert (scores[0]["macro F1 %"], scores[0]["macro AUC %"], scores[0]["top-2 %"]) == (100, 100, 100)
    assert (scores[1]["accuracy %"], scores[1]["macro AUC %"], scores[1]["top-2 %"]) == (50, None, None)
    note = robustness_calibration.full_note(board, [A], [UNTOUCHED, NOISE[0]])
    assert note.endswith("not stored for: Gaussian noise, low.")


def cards(*found: Card) -> dict[str, Card]:
    return {each.name: each for each in found}


def alexnet(seed: int, **more: object) -> Card:
    return card(
        f"alexnet-cifar10-jpeg-s{seed}", architecture="alexnet", dataset="cifar10-jpeg", seed=seed, **more
    )


def test_the_papers_grid_beside_ours(board: Board) -> None:
    known = cards(alexnet(0), alexnet(1), alexnet(2))
    rows = robustness_paper.grid_rows(board, known)
    assert len(rows) == 13
    assert len(robustness_paper.claims()) == 26
    clean, noise = rows[0], row_of(rows, condition="noise, medium")
    assert (clean["AlexNet, paper %"], clean["AlexNet, ours %"]) == (82.3, 97.5)
    assert (clean["AlexNet, least"], clean["AlexNet, most"], clean["AlexNet, difference"]) == (
        95.0,
        100.0,
        15.2,
    )
    assert (noise["AlexNet, paper %"], noise["AlexNet, ours %"]) == (62.1, 50.0)
    assert clean["ResNet-50, ours %"] == "not trained here"
    motion = row_of(rows, condition="motion, low")
    assert "Ours does nothing at this image size" in str(motion["caveat"])
    assert "better here than on clean" in str(row_of(rows, condition="JPEG, low")["caveat"])
    assert robustness_paper.notes(board, known)[0] == (
        "AlexNet: ours is alexnet-cifar10-jpeg (mean of 3 seeds)."
    )


def test_a_network_that_is_trained_but_was_not_asked_says_so(board: Board) -> None:
    elsewhere = card("resnet50_cifar-cifar10-s0", architecture="resnet50_cifar", dataset="cifar10")
    stand = {each.system: each for each in robustness_paper.ours(board, cards(alexnet(0), elsewhere))}
    assert stand["ResNet-50"].words == "not measured here on these images"
    assert stand["AlexNet"].words == "alexnet-cifar10-jpeg (one seed)"
    assert stand[robustness_paper.STAND_IN_NAME].words == "not trained here"


def test_gain_and_cost_of_a_remedy(board: Board) -> None:
    """Noise leaves 20 of 40, the remedy makes it 30; on clean images it takes 40 to 36."""
    (gain,) = robustness_remedies.remedy_rows(board, [A, B], SCALE)
    assert (gain["gain, points"], gain["repaired %"], gain["degraded %"], gain["won back %"]) == (
        25,
        75,
        50,
        50,
    )
    (cost,) = robustness_remedies.cost_rows(board, [A, B], SCALE)
    assert (cost["gain, points"], cost["clean %"], cost["repaired %"]) == (-10, 100, 90)
    assert (gain["real"], cost["real"]) == ("yes", "no")
    assert "won back %" not in cost


def test_a_damaged_file_is_named_and_its_row_left_out(tmp_path: Path) -> None:
    found = board_of(tmp_path, asked(A, {UNTOUCHED: 40, NOISE[0]: 20}))
    path = found.entries[A, NOISE[0]].path
    content = bytearray(path.read_bytes())
    content[len(content) // 8] ^= 0xFF
    path.write_bytes(bytes(content))
    rows = robustness_curves.accuracy_rows(found, [A], SCALE)
    assert [row["condition"] for row in rows] == ["Clean"]
    (sentence,) = robustness_board.damaged(found, [(A, UNTOUCHED), (A, NOISE[0])])
    assert path.name in sentence


def test_what_was_computed_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = board_of(tmp_path, asked(A, {UNTOUCHED: 40, NOISE[0]: 20}))
    first = robustness_curves.area_rows(found, [A], SCALE)

    def never(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(robustness_curves, "severity_curve", never)
    assert robustness_curves.area_rows(found, [A], SCALE) == first


@pytest.mark.parametrize("name", TABLES)
def test_every_table_is_one_and_becomes_csv_and_latex(board: Board, name: str) -> None:
    table = TABLES[name]
    rows = table.make(board, [A, B], SCALE)
    assert rows
    assert all(list(row) == list(rows[0]) for row in rows)
    assert set(table.wide) <= set(rows[0])
    assert len(tables.as_csv(rows).splitlines()) == len(rows) + 1
    assert "\\toprule" in tables.as_latex(rows, table.caption, table.wide)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("models", [(A,), ()])
def test_no_table_needs_what_is_not_there(board: Board, name: str, models: Sequence[str]) -> None:
    assert isinstance(TABLES[name].make(board, models, "imagenet-c"), list)


def seen_ticks(axes: Axes) -> list[Any]:
    """The labels of the ticks within the axes' limits; matplotlib keeps others, which it does not draw."""
    return [
        tick.label2 if tick.label2.get_visible() else tick.label1
        for axis in (axes.xaxis, axes.yaxis)
        for tick in axis.get_major_ticks()
        if min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
    ]


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_drawn_whole_with_named_axes(
    board: Board, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(robustness_paper.zoo, "records", lambda: cards(alexnet(0)))
    figure = FIGURES[name](board, [A, B], SCALE)
    assert figure is not None
    figure.canvas.draw()
    box = figure.bbox
    texts = [
        text
        for axes in figure.axes
        for text in (*axes.texts, axes.title, axes.xaxis.label, axes.yaxis.label, *seen_ticks(axes))
    ]
    for text in (*texts, *figure.texts):
        if text.get_text() and text.get_visible():
            extent = text.get_window_extent()
            assert extent.x0 >= box.x0 - 1, text.get_text()
            assert extent.x1 <= box.x1 + 1, text.get_text()
            assert extent.y0 >= box.y0 - 1, text.get_text()
            assert extent.y1 <= box.y1 + 1, text.get_text()
    words = {label for axes in figure.axes for label in (axes.get_xlabel(), axes.get_ylabel())}
    words |= {text.get_text() for text in figure.texts}  # those of colour bars
    assert any("(%" in word or "points" in word for word in words), "a unit"


@pytest.mark.parametrize("name", FIGURES)
def test_no_figure_needs_what_is_not_there(tmp_path: Path, name: str) -> None:
    clean = board_of(tmp_path, asked(A, {UNTOUCHED: 40}))
    if name not in ("grid", "reliability", "paper's grid"):
        assert FIGURES[name](clean, [A], SCALE) is None


def test_lines_can_be_told_apart() -> None:
    looks = {repr(sorted(look(index).items(), key=str)) for index in range(28)}
    assert len(looks) == 28
