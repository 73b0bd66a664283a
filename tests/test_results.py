"""Boards of stored answers: what is compared is of the same images, and nothing that is out of date is mixed in."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.degradations import DEGRADATIONS
from models.cards import Card
from xai import evaluation_store, result_folders
from xai.evaluation_grid import CLEAN, Cell
from xai.evaluation_store import FORMAT, save
from xai.memo import Kept
from xai.predictions import Answers, Predictions, PredictionsError
from xai.result_folders import open_results, signature
from xai.results import UNTOUCHED, Board, Condition, Setting

NAMES = ("cat", "dog", "frog")
BLANK = Cell("cue10", "test", "a-s0", "0" * 64, CLEAN, "", 0.0, 0, 0)
NOISE = Condition("gaussian_noise", "paper-relative", 3.0)


def noisy(cell: Cell, severity: float = 3.0, seed: int = 0) -> Cell:
    """The same under Gaussian noise."""
    version = DEGRADATIONS["gaussian_noise"].version
    scale = "paper-relative"
    named = replace(cell, degradation="gaussian_noise", scale=scale, severity=severity, seed=seed)
    return replace(named, degradation_version=version)


def rows(predicted: list[int], full: bool = False, ids: str = "xyz") -> Predictions | Answers:
    """Answers to three images of the classes 0, 1, 2, each with 0.6 on what is predicted."""
    shares = np.full((3, 3), 0.2, np.float16)
    shares[np.arange(3), predicted] = 0.6
    found = Predictions(tuple(ids), np.arange(3), np.array(predicted), shares)
    return found if full else found.compact()


def put(
    folder: Path,
    cell: Cell,
    answers: Predictions | Answers,
    names: tuple[str, ...] = NAMES,
    data: str = "d" * 64,
) -> Path:
    """Store answers as a sweep does."""
    texts = {name: str(value) for name, value in vars(cell).items()}
    facts = {"format": FORMAT, **texts, "classes": json.dumps(names), "data_sha256": data}
    return save(folder, cell, answers, {**facts, "constants": "{}", "versions": "{}"})


def only(folder: Path, **more: Card) -> Board:
    """The one board of a folder."""
    (board,) = open_results([folder], more).boards.values()
    return board


def card(name: str, sha256: str) -> Card:
    return Card(name, "alexnet", "cue10", NAMES, 64, 0, "cpu", {}, {}, sha256=sha256)


def test_a_board_gives_each_networks_answers_in_one_order(tmp_path: Path) -> None:
    put(tmp_path, BLANK, rows([0, 1, 2], full=True))
    put(tmp_path, noisy(BLANK), rows([0, 0, 2]))
    put(tmp_path, replace(BLANK, model="b-s0"), rows([1, 1, 1]))
    board = only(tmp_path)
    assert board.models == ("a-s0", "b-s0")
    assert board.conditions == (UNTOUCHED, NOISE)
    assert board.conditions_of(board.models) == (UNTOUCHED,)
    assert (len(board), board.ids, board.labels.tolist()) == (3, ("x", "y", "z"), [0, 1, 2])
    noise = board.answers("a-s0", NOISE)
    assert noise is not None
    assert noise.predicted.tolist() == [0, 0, 2]
    assert noise.ids is board.ids
    assert noise.label_probability.tolist() == pytest.approx([0.6, 0.2, 0.6], abs=1e-3)
    assert board.answers("b-s0", NOISE) is None
    full = board.predictions("a-s0", UNTOUCHED)
    assert full is not None
    assert full.probabilities.shape == (3, 3)
    assert board.predictions("a-s0", NOISE) is None


def test_conditions_are_ordered_from_mild_to_severe_and_named(tmp_path: Path) -> None:
    for severity in (3.0, 1.0, 2.0):
        put(tmp_path, noisy(BLANK, severity), rows([0, 1, 2]))
    put(tmp_path, replace(noisy(BLANK), remedy="median.v1"), rows([0, 1, 2]))
    put(tmp_path, BLANK, rows([0, 1, 2]))
    titles = [condition.title for condition in only(tmp_path).conditions]
    words = ["low", "medium", "high", "high, then Median (blind)"]
    assert titles == ["Clean", *(f"Gaussian noise, {word}" for word in words)]
    assert Condition("fog", "cifar-c", 2.0).title == "Fog, 2 of 5"
    assert replace(NOISE, remedy="median.v1").plain == NOISE


def test_other_weights_and_other_pixels_are_left_out_and_counted(tmp_path: Path) -> None:
    put(tmp_path, BLANK, rows([0, 1, 2]))
    put(tmp_path, replace(BLANK, model_sha256="1" * 64), rows([2, 2, 2]))
    put(tmp_path, replace(noisy(BLANK), degradation_version=77), rows([1, 1, 1]))
    put(tmp_path, replace(noisy(BLANK), remedy="median.v77"), rows([1, 1, 1]))
    found = open_results([tmp_path], {"a-s0": card("a-s0", "0" * 64)})
    (board,) = found.boards.values()
    assert list(board.entries) == [("a-s0", UNTOUCHED)]
    answers = board.answers("a-s0", UNTOUCHED)
    assert answers is not None
    assert answers.accuracy == 1
    assert len(found.notes) == 1
    assert found.notes[0].startswith("3 stored cells of a-s0 left out")


def test_of_an_unknown_network_only_one_set_of_weights_is_shown(tmp_path: Path) -> None:
    put(tmp_path, BLANK, rows([0, 1, 2]))
    other = replace(BLANK, model_sha256="1" * 64)
    put(tmp_path, other, rows([2, 2, 2]))
    put(tmp_path, noisy(other), rows([2, 2, 2]))
    found = open_results([tmp_path])
    (board,) = found.boards.values()
    assert {cell.model_sha256[0] for cell in (entry.cell for entry in board.entries.values())} == {"1"}
    assert found.notes[0].startswith("1 stored cell of a-s0 left out")


def test_other_images_seeds_limits_and_precisions_are_other_boards(tmp_path: Path) -> None:
    put(tmp_path, BLANK, rows([0, 1, 2]))
    put(tmp_path, noisy(BLANK), rows([0, 1, 2]))
    put(tmp_path, noisy(BLANK, seed=5), rows([0, 1, 1]))
    put(tmp_path, replace(BLANK, limit=3), rows([0, 1, 2]))
    put(tmp_path, replace(BLANK, precision="bf16"), rows([0, 1, 2]))
    put(tmp_path, replace(BLANK, model="b-s0"), rows([0, 1, 2], ids="uvw"), data="e" * 64)
    boards = open_results([tmp_path]).boards
    assert sorted((s.limit, s.precision, s.seed, s.data_sha256[0]) for s in boards) == [
        (0, "bf16", 0, "d"),
        (0, "fp32", 0, "d"),
        (0, "fp32", 0, "e"),
        (0, "fp32", 5, "d"),
        (3, "fp32", 0, "d"),
    ]
    seeded = next(board for setting, board in boards.items() if setting.seed == 5)
    answers = seeded.answers("a-s0", NOISE)
    assert seeded.conditions == (UNTOUCHED, NOISE)
    assert answers is not None
    assert answers.predicted.tolist() == [0, 1, 1]


def test_class_numbers_of_networks_with_other_classes_mean_the_same(tmp_path: Path) -> None:
    put(tmp_path, BLANK, rows([0, 1, 1]))
    other = Answers(
        tuple("xyz"), np.array([3, 1, 0]), np.array([3, 1, 2]), *(np.full(3, 0.5, np.float16),) * 2
    )
    put(tmp_path, replace(BLANK, model="b-s0"), other, ("frog", "dog", "newt", "cat"))
    board = only(tmp_path)
    assert board.classes == ("cat", "dog", "frog", "newt")
    b = board.answers("b-s0", UNTOUCHED)
    assert b is not None
    assert (b.labels.tolist(), b.predicted.tolist()) == ([0, 1, 2], [0, 1, 3])


def test_a_file_on_two_boards_has_the_class_numbers_of_each(tmp_path: Path) -> None:
    put(
        tmp_path,
        noisy(BLANK),
        Answers(tuple("xyz"), *(np.array([2, 1, 0]),) * 2, *(np.ones(3, np.float16),) * 2),
    )
    other, other_names = replace(BLANK, model="b-s0"), ("frog", "dog", "cat")
    put(tmp_path, other, rows([0, 1, 1]), other_names)
    put(tmp_path, noisy(other, seed=5), rows([0, 1, 2]), other_names)
    boards = open_results([tmp_path]).boards.values()
    assert [board.classes for board in boards] == [NAMES, other_names]
    said = [
        [board.classes[number] for number in answers.predicted]
        for board in boards
        if (answers := board.answers("b-s0", UNTOUCHED)) is not None
    ]
    assert said == [["frog", "dog", "dog"]] * 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"classes": "no JSON"},
        {"classes": '{"cat": 0}'},
        {"classes": '["cat", 1]'},
        {"data_sha256": ""},
        {"constants": "[]"},
        {"versions": "1"},
    ],
)
def test_files_that_do_not_say_what_they_are_of_are_named_and_skipped(
    tmp_path: Path, wrong: dict[str, str]
) -> None:
    put(tmp_path, noisy(BLANK), rows([0, 1, 2]))
    facts = {name: str(value) for name, value in vars(BLANK).items()} | {"format": FORMAT}
    facts |= {"classes": json.dumps(NAMES), "data_sha256": "d" * 64}
    path = save(tmp_path, BLANK, rows([0, 1, 2]), facts | wrong)
    found = open_results([tmp_path])
    (board,) = found.boards.values()
    assert board.conditions == (NOISE,)
    assert found.notes == (f"{path.name} does not say which classes and images its answers are of.",)


@pytest.mark.parametrize("severity", [-1.0, 0.0, 3.5, 99.0, float("nan"), float("inf")])
def test_a_severity_that_there_is_not_is_left_out(tmp_path: Path, severity: float) -> None:
    put(tmp_path, BLANK, rows([0, 1, 2]))
    put(tmp_path, noisy(BLANK, severity), rows([0, 1, 2]))
    found = open_results([tmp_path])
    (board,) = found.boards.values()
    assert [condition.title for condition in board.conditions] == ["Clean"]
    assert len(found.notes) == 1


def test_class_numbers_without_a_name_are_refused(tmp_path: Path) -> None:
    put(tmp_path, BLANK, rows([0, 1, 2]), ("cat", "dog"))
    with pytest.raises(PredictionsError, match="a class number without a name"):
        only(tmp_path).answers("a-s0", UNTOUCHED)


def test_a_full_cell_counts_before_a_compact_one_of_another_folder(tmp_path: Path) -> None:
    put(tmp_path / "1", BLANK, rows([0, 1, 2]))
    put(tmp_path / "2", BLANK, rows([0, 1, 2], full=True))
    folders = [tmp_path / "1", tmp_path / "2"]
    for order in (folders, folders[::-1]):
        (board,) = open_results(order).boards.values()
        assert board.predictions("a-s0", UNTOUCHED) is not None


def test_damaged_files_are_named_and_files_of_other_images_refused(tmp_path: Path) -> None:
    first = put(tmp_path, BLANK, rows([0, 1, 2]))
    (tmp_path / "rubbish.parquet").write_bytes(b"PAR1 no")
    put(tmp_path, noisy(BLANK), rows([0, 1, 2], ids="xyw"))
    found = open_results([tmp_path])
    assert found.notes == ("rubbish.parquet is not a Parquet file, or it is damaged.",)
    (board,) = found.boards.values()
    with pytest.raises(PredictionsError, match="not of the images"):
        board.answers("a-s0", NOISE)
    assert board.answers("a-s0", UNTOUCHED) is not None
    first.write_bytes(first.read_bytes()[:-20])
    assert len(open_results([tmp_path]).notes) == 2


def test_a_damaged_first_file_does_not_take_the_others_along(tmp_path: Path) -> None:
    first = put(tmp_path, BLANK, rows([0, 1, 2], full=True))
    put(tmp_path, replace(BLANK, model="b-s0"), rows([0, 1, 1]))
    content = bytearray(first.read_bytes())
    content[30:60] = bytes(30)
    first.write_bytes(content)
    board = only(tmp_path)
    assert len(board) == 3
    with pytest.raises(PredictionsError, match="damaged"):
        board.answers("a-s0", UNTOUCHED)
    answers = board.answers("b-s0", UNTOUCHED)
    assert answers is not None
    assert answers.predicted.tolist() == [0, 1, 1]


def test_a_title_names_a_folder_without_its_place() -> None:
    setting = Setting("folder:/home/ada/pictures@96", "all", 0, "bf16", 7, "d" * 64)
    assert setting.title == "folder:pictures@96 all, all images, bf16, seed 7"
    assert replace(setting, dataset="cue10", split="test", limit=2_000).title.startswith(
        "cue10 test, 2,000 images"
    )


def test_the_signature_changes_when_a_file_comes_or_is_replaced(tmp_path: Path) -> None:
    before = signature(tmp_path)
    put(tmp_path, BLANK, rows([0, 1, 2]))
    stored = signature(tmp_path)
    put(tmp_path, BLANK, rows([0, 1, 1]))
    again = signature(tmp_path)
    assert len({before, stored, again}) == 3
    (tmp_path / ".locks").mkdir()
    with_locks = signature(tmp_path)
    (tmp_path / ".locks" / "a-group").mkdir()  # a sweep takes a lock, and has stored nothing
    assert signature(tmp_path) == with_locks


def test_answers_are_read_again_when_their_file_was_replaced(tmp_path: Path) -> None:
    kept = Kept()
    put(tmp_path, BLANK, rows([0, 1, 2]))
    listing = evaluation_store.listed(tmp_path)
    (board,) = result_folders.gather([listing], {}, kept).boards.values()
    assert board.answers("a-s0", UNTOUCHED).predicted.tolist() == [0, 1, 2]  # type: ignore[union-attr]
    put(tmp_path, BLANK, rows([1, 1, 2], full=True))
    (board,) = result_folders.gather([evaluation_store.listed(tmp_path)], {}, kept).boards.values()
    assert board.answers("a-s0", UNTOUCHED).predicted.tolist() == [1, 1, 2]  # type: ignore[union-attr]
