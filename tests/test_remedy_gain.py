"""What remedies win back, worked out by hand, and from a folder of stored cells."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.answer_helpers import graded, shuffled
from xai.evaluation_grid import CLEAN, Cell
from xai.evaluation_store import FORMAT, save
from xai.predictions import Predictions, PredictionsError
from xai.remedy_gain import Trial, gains, gains_of, recovered
from xai.result_folders import open_results
from xai.results import UNTOUCHED, Condition
from xai.statistics import holm

NOISY = Condition("gaussian_noise", "cifar-c", 3.0, "nlm.v1")
CLEANED = replace(UNTOUCHED, remedy="nlm.v1")


def some(right: int, images: int = 100) -> Predictions:
    """Answers of which the first `right` are right."""
    return graded(np.arange(images) < right)


def trial(clean: int, plain: int, repaired: int, condition: Condition = NOISY) -> Trial:
    return Trial("net", condition, some(repaired), some(plain), some(clean))


def test_half_of_the_lost_accuracy_is_won_back() -> None:
    (gain,) = gains_of([trial(90, 50, 70)])
    assert (gain.clean, gain.degraded, gain.repaired) == (0.9, 0.5, 0.7)
    assert gain.difference.difference == pytest.approx(0.2)
    assert gain.difference.p_value == pytest.approx(
        2 * 0.5**20
    )  # 20 images tip to the remedy, none away from it
    assert gain.p_holm == gain.difference.p_value
    assert gain.real
    share = gain.recovered
    assert share.share == pytest.approx(0.5)
    assert share.low is not None
    assert share.high is not None
    # Of the 40 lost images 20 are won back, so the share is binomial but for the number lost.
    assert (share.low, share.high) == pytest.approx((0.5 - 1.96 * 0.079, 0.5 + 1.96 * 0.079), abs=0.015)


@pytest.mark.parametrize(("repaired", "share"), [(90, 1.0), (50, 0.0), (30, -0.5), (94, 1.1)])
def test_shares_by_hand(repaired: int, share: float) -> None:
    assert recovered(trial(90, 50, repaired)).share == pytest.approx(share)


@pytest.mark.parametrize(("clean", "plain"), [(90, 90), (90, 95), (90, 86)])
def test_nothing_lost_for_sure_gives_no_share(clean: int, plain: int) -> None:
    """4 images lost of 100 and none won have p = 2 / 2^4 = 0.125."""
    found = recovered(trial(clean, plain, 95))
    assert (found.share, found.low, found.high) == (None, None, None)


def test_the_cost_on_clean_images_is_a_negative_difference() -> None:
    (gain,) = gains_of([trial(90, 90, 80, CLEANED)])
    assert gain.on_clean
    assert gain.difference.difference == pytest.approx(-0.1)
    assert gain.recovered.share is None


def test_all_that_are_given_are_one_family() -> None:
    tried = [trial(90, 50, repaired) for repaired in (56, 60, 51)]
    found = gains_of(tried)
    p_values = [gain.difference.p_value for gain in found]
    assert p_values == pytest.approx([2 / 2**6, 2 / 2**10, 1.0])
    assert [gain.p_holm for gain in found] == list(holm(p_values))
    assert [gain.real for gain in found] == [False, True, False]
    assert gains_of(tried[:1])[0].real
    assert gains_of([]) == []


def test_images_are_matched_by_id() -> None:
    rows = trial(90, 50, 70)
    mixed = Trial("net", NOISY, shuffled(some(70), 1), shuffled(some(50), 2), some(90))
    assert gains_of([mixed]) == gains_of([rows])
    with pytest.raises(PredictionsError, match="compared are only answers to the same images"):
        gains_of([replace(rows, plain=some(50, 99))])


def test_told_is_known_by_the_name() -> None:
    told = replace(NOISY, remedy="nlm+told.v1")
    assert [gain.told for gain in gains_of([trial(9, 5, 7), trial(9, 5, 7, told)])] == [False, True]


def stored(folder: Path, condition: Condition, right: int, model: str = "net") -> None:
    """A stored cell of made-up answers."""
    version = 0 if condition.degradation == CLEAN else 1
    place = (condition.degradation, condition.scale, condition.severity, 0, version, condition.remedy)
    cell = Cell("cifar10", "test", model, "ab", *place)
    facts = {name: str(value) for name, value in vars(cell).items()}
    facts |= {"format": FORMAT, "classes": '["a", "b"]', "data_sha256": "00", "constants": "{}"}
    save(folder, cell, some(right), facts)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Cells of two networks: one has all that three gains need, the other lacks the plain noisy one."""
    for condition, right in ((UNTOUCHED, 90), (CLEANED, 88), (NOISY.plain, 50), (NOISY, 70)):
        stored(tmp_path, condition, right)
    stored(tmp_path, replace(NOISY, remedy="median.v1"), 40)
    stored(tmp_path, UNTOUCHED, 95, "other")
    stored(tmp_path, NOISY, 60, "other")
    return tmp_path


def test_gains_of_a_board(folder: Path) -> None:
    (board,) = open_results([folder]).boards.values()
    found = {gain.condition.name: gain for gain in gains(board, "net")}
    assert {name: round(gain.difference.difference, 9) for name, gain in found.items()} == {
        "clean nlm.v1": -0.02,
        "gaussian_noise 3 nlm.v1": 0.2,
        "gaussian_noise 3 median.v1": -0.1,
    }
    assert gains(board, "other") == []
    assert gains(board, "nobody") == []
    (alone,) = gains(board, "net", [NOISY])
    assert alone.p_holm == alone.difference.p_value < found[NOISY.name].p_holm
    assert gains(board, "net", iter(board.conditions)) == gains(board, "net")


def test_a_damaged_file_is_left_out(folder: Path) -> None:
    (path,) = folder.rglob("gaussian_noise-cifar-c-3-s0-median.v1-*.parquet")
    content = bytearray(path.read_bytes())
    content[40:60] = bytes(20)
    path.write_bytes(content)
    (board,) = open_results([folder]).boards.values()
    assert [gain.condition.remedy for gain in gains(board, "net")] == ["nlm.v1", "nlm.v1"]
