"""What folders of stored answers hold together: which cells may be used here, and the boards that they make up.

Answers of earlier weights of a network, or of an earlier version of a degradation or remedy, are left out and counted.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data import remedies
from data.degradations import DEGRADATIONS, max_severity
from models.cards import Card
from xai.evaluation_grid import CLEAN, Cell
from xai.evaluation_store import Stored, listed
from xai.memo import Kept, Memo
from xai.results import Board, Setting, condition_of, is_full


@dataclass(frozen=True)
class Results:
    """Everything stored in some folders: a board for each setting, and sentences on what was left out."""

    boards: dict[Setting, Board]
    notes: tuple[str, ...] = ()


Listing = tuple[Mapping[Cell, Stored], tuple[str, ...]]
"""The cells of one folder, and sentences on files that are none, as `evaluation_store.listed` gives them."""


def open_results(folders: Sequence[Path], cards: Mapping[str, Card] | None = None) -> Results:
    """What is stored in the folders, as `gather` puts it together; all that is read is kept."""
    return gather([listed(folder) for folder in folders], cards or {}, Kept())


def gather(listings: Iterable[Listing], cards: Mapping[str, Card], memo: Memo) -> Results:
    """One board for each setting; a cell that two folders have is taken from the first that has it in full.

    `cards` are the networks on this machine: answers of other weights under their names are left out, and of a
    network that is not here those of all weights but the ones with most cells. `memo` keeps what is read of the files.
    """
    found: dict[Cell, Stored] = {}
    notes: list[str] = []
    for cells, problems in listings:
        notes += problems
        for cell, stored in cells.items():
            if cell not in found or (is_full(stored) and not is_full(found[cell])):
                found[cell] = stored
    current = _of_one_hash({cell: stored for cell, stored in found.items() if _is_current(cell, cards)})
    old = Counter(cell.model for cell in found.keys() - current.keys())
    notes += [_outdated(model, count) for model, count in sorted(old.items())]
    return Results(_boards(current, memo), tuple(notes))


def signature(folder: Path) -> tuple[tuple[str, int], ...]:
    """What changes when a file is added to the folder or replaced by rename: the times of all folders in it.

    Hidden folders, such as that of a sweep's locks, hold no answers and come and go all the time.
    """
    times = []
    for place, below, _ in os.walk(folder):
        below[:] = [name for name in below if not name.startswith(".")]
        with contextlib.suppress(FileNotFoundError):  # gone since it was listed
            times.append((place, os.stat(place).st_mtime_ns))
    return tuple(times)


def _of_one_hash(cells: Mapping[Cell, Stored]) -> dict[Cell, Stored]:
    """The cells without those of a network's other weights: kept are the weights with the most cells."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for cell in cells:
        counts[cell.model][cell.model_sha256] += 1
    kept = {model: max(sorted(found), key=found.__getitem__) for model, found in counts.items()}
    return {cell: stored for cell, stored in cells.items() if cell.model_sha256 == kept[cell.model]}


def _is_current(cell: Cell, cards: Mapping[str, Card]) -> bool:
    """Whether it is of the weights and of the pixels that this machine would use now."""
    card = cards.get(cell.model)
    if card is not None and card.sha256 != cell.model_sha256:
        return False
    if not remedies.is_current(cell.remedy):
        return False
    if cell.degradation == CLEAN:
        return (cell.scale, cell.severity) == ("", 0)
    entry = DEGRADATIONS.get(cell.degradation)
    if entry is None or cell.scale not in entry.scales or cell.degradation_version != entry.version:
        return False
    return 0 < cell.severity <= max_severity(cell.degradation, cell.scale)


def _outdated(model: str, count: int) -> str:
    what = "1 stored cell" if count == 1 else f"{count:,} stored cells"
    return f"{what} of {model} left out: of other weights, or of another version of a degradation or remedy."


def _boards(cells: Mapping[Cell, Stored], memo: Memo) -> dict[Setting, Board]:
    """The cells by setting; one without random draws belongs to every seed of its images."""
    groups: defaultdict[Setting, list[Cell]] = defaultdict(list)
    for cell, stored in cells.items():
        data = stored.facts["data_sha256"]
        groups[Setting(cell.dataset, cell.split, cell.limit, cell.precision, 0, data)].append(cell)
    boards = {}
    for images, members in groups.items():
        for seed in sorted({cell.seed for cell in members if _draws(cell)} or {0}):
            chosen = sorted(cell for cell in members if not _draws(cell) or cell.seed == seed)
            entries = {(cell.model, condition_of(cell)): cells[cell] for cell in chosen}
            setting = replace(images, seed=seed)
            boards[setting] = Board(setting, entries, memo)
    return dict(sorted(boards.items()))


def _draws(cell: Cell) -> bool:
    """Whether the cell's pixels depend on its seed."""
    return cell.degradation != CLEAN and DEGRADATIONS[cell.degradation].random
