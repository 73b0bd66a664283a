"""The answers that come with the project: whole, small, of the weights that ship, and what the networks say today."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch

from data.catalogue import load_dataset
from models import zoo
from models.cards import Card
from tests.app_server import ROOT
from xai.evaluation import degraded_batch, shares
from xai.evaluation_grid import Cell, grid
from xai.result_folders import open_results
from xai.results import SHIPPED, UNTOUCHED, Board, Condition, condition_of
from xai.robustness_tables import TABLES

pytestmark = pytest.mark.usefixtures("one_thread")

MAX_BYTES = 20 * 10**6
COMPARED = (
    "alexnet-cifar10-jpeg-s0",
    "alexnet-degradation_aware-cifar10-jpeg-s0",
    "resnet18-cifar10-jpeg-s0",
    "resnet18_cifar-w16-cifar10-jpeg-s0",
)
"""The networks that were asked about the CIFAR-10-C set, too."""
IMAGES = 60
TOLERANCE = 2e-3
"""Half precision has 3 digits, and another machine adds in another order."""


@pytest.fixture(scope="module")
def cards() -> dict[str, Card]:
    """The networks that ship, without a visitor's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("XAI_MODELS", raising=False)
        return zoo.cards()


@pytest.fixture(scope="module")
def boards(cards: dict[str, Card]) -> dict[str, Board]:
    """The board of all images of each dataset."""
    found = open_results([SHIPPED], cards)
    assert not found.notes
    return {
        setting.dataset: board
        for setting, board in found.boards.items()
        if (setting.limit, setting.split, setting.seed) == (0, "test", 0)
    }


def shipped(cards: dict[str, Card], dataset: str) -> list[Card]:
    return [card for card in cards.values() if card.dataset == dataset]


def test_they_are_small() -> None:
    assert 10**6 < sum(path.stat().st_size for path in SHIPPED.rglob("*.parquet")) <= MAX_BYTES


@pytest.mark.parametrize("dataset", ["cifar10-jpeg", "cue10"])
def test_every_network_was_asked_the_whole_paper_grid(
    dataset: str, boards: dict[str, Board], cards: dict[str, Card]
) -> None:
    networks = shipped(cards, dataset)
    assert networks
    missing = _missing(boards[dataset], grid([dataset], networks, ["paper"]))
    assert not missing
    assert len(boards[dataset]) == {"cifar10-jpeg": 10_000, "cue10": 2_000}[dataset]


def test_the_compared_networks_were_asked_the_whole_cifar_c_set(
    boards: dict[str, Board], cards: dict[str, Card]
) -> None:
    cells = grid(["cifar10-jpeg"], [cards[name] for name in COMPARED], ["cifar-c"])
    assert len(cells) == len(COMPARED) * (1 + 17 * 5)
    assert not _missing(boards["cifar10-jpeg"], cells)


def _missing(board: Board, cells: tuple[Cell, ...]) -> list[str]:
    """Keys of the cells whose answers the board does not hold."""
    return [
        cell.key
        for cell in cells
        if not board.has(cell.model, condition_of(cell)) or board.cell(cell.model, condition_of(cell)) != cell
    ]


def test_clean_accuracies_are_those_of_the_cards(boards: dict[str, Board], cards: dict[str, Card]) -> None:
    for card in cards.values():
        answers = boards[card.dataset].answers(card.name, UNTOUCHED)
        assert answers is not None
        assert answers.accuracy == pytest.approx(card.accuracy["test"], abs=5e-5), card.name
        assert boards[card.dataset].predictions(card.name, UNTOUCHED) is not None


def test_every_file_can_be_read(boards: dict[str, Board]) -> None:
    for board in boards.values():
        for model, condition in board.entries:
            answers = board.answers(model, condition)
            assert answers is not None
            assert 0 <= answers.accuracy <= 1


def _some(boards: dict[str, Board]) -> Iterator[tuple[Board, str, Condition]]:
    board = boards["cue10"]
    for name, scale, severity in (
        ("gaussian_noise", "paper-relative", 1.0),
        ("motion_blur", "paper-relative", 3.0),
    ):
        for model in ("alexnet-cue10-s0", "resnet18_cifar-w16-cue10-s0"):
            yield board, model, Condition(name, scale, severity)


def test_the_networks_say_the_same_today(boards: dict[str, Board]) -> None:
    data = load_dataset("cue10", "test").take(torch.arange(IMAGES))
    for board, model, condition in _some(boards):
        cell = replace(board.cell(model, condition), model=model)
        pixels = degraded_batch(data, cell, slice(0, IMAGES), torch.device("cpu"))
        _, now = shares(zoo.load(model), pixels, cell.precision)
        answers = board.answers(model, condition)
        assert answers is not None
        assert answers.ids[:IMAGES] == data.ids
        rows = np.arange(IMAGES)
        confidence = now[rows, answers.predicted[:IMAGES]].astype(np.float64)
        assert confidence == pytest.approx(answers.confidence[:IMAGES].astype(np.float64), abs=TOLERANCE)


def test_the_readme_says_what_they_say(boards: dict[str, Board], cards: dict[str, Card]) -> None:
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    for row in TABLES["mCE"].make(boards["cifar10-jpeg"], COMPARED, "cifar-c"):
        shown = [f"{row['clean %']:.2f}", *(_estimate(row, head) for head in ("mCE %", "relative mCE %"))]
        assert f"| {row['network']} | {' | '.join(shown)} |" in readme
    found = open_results([SHIPPED], cards).boards.items()
    (repaired,) = [board for setting, board in found if setting.limit == 2_000]
    rows = TABLES["remedies"].make(repaired, COMPARED[:1], "paper-relative")
    for condition, remedy in (
        ("Gaussian noise, medium", "Non-local means (told)"),
        ("Motion blur, high", "Wiener deblurring (told)"),
    ):
        (row,) = [row for row in rows if (row["condition"], row["remedy"]) == (condition, remedy)]
        share, low, high = (f"{row[f'won back %{end}']:.0f}" for end in ("", ", from", ", to"))
        assert re.search(rf"{share} % of what [a-z ]+ \({low} to {high}\)", readme)
    costs = TABLES["remedy costs"].make(repaired, COMPARED[:1], "paper-relative")
    (median,) = [row for row in costs if row["remedy"] == "Median (blind)"]
    assert f"costs {-float(str(median['gain, points'])):.1f} points" in readme


def _estimate(row: Mapping[str, object], head: str) -> str:
    value, low, high = (f"{row[head + end]:.2f}" for end in ("", ", from", ", to"))
    return value if low == high else f"{value} ({low} to {high})"
