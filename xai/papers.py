"""The numbers that the papers on these networks claim, each beside ours.

A claim is data. Ours is the mean over all seeds of the trained network that fits best, from its card, from its
stored test predictions, or counted from the architecture; it is empty where nothing fits or nothing was measured.
Numbers measured on different data stand side by side only with the note that says so.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from models.cards import Card, recipe_name, trial_limit
from xai import metrics, tables
from xai.network_table import counted, readable_predictions
from xai.paper_claims import CLAIMS, CLEAN, Claim, Match
from xai.predictions import PredictionsError, Read
from xai.result_folders import Results, open_results
from xai.results import SHIPPED as SHIPPED_RESULTS
from xai.results import Board, Condition, local_folder
from xai.statistics import wilson
from xai.tables import Cell

NOT_TRAINED, NOT_MEASURED = "not trained here", "not measured here"
CAPTION = "Numbers claimed in papers beside ours."
Degraded = Callable[[Card, Condition], float | None]
"""Accuracy of a network under a condition in [0, 1], None where it was not asked."""
PAPER_SCALE = "paper-relative"
GRID: dict[str, Condition] = {
    f"{word}, {level}": Condition(name, PAPER_SCALE, float(severity))
    for word, name in {
        "noise": "gaussian_noise",
        "blur": "gaussian_blur",
        "motion": "motion_blur",
        "JPEG": "jpeg_compression",
    }.items()
    for severity, level in enumerate(("low", "medium", "high"), start=1)
}
"""What the papers' conditions are called here."""


@dataclass(frozen=True)
class Row:
    """A claim with our number in the same unit, the networks it comes from and their data; None where there is none."""

    claim: Claim
    ours: float | None
    networks: tuple[str, ...]
    dataset: str
    state: str
    caveat: str

    @property
    def difference(self) -> float | None:
        """Ours less the claimed number."""
        return None if self.ours is None else self.ours - self.claim.value


def rows(
    records: Mapping[str, Card], read: Read | None = None, degraded: Degraded | None = None
) -> list[Row]:
    """Every claim beside the number of ours that fits it best.

    `read` gives stored answers to clean images (default: the project's), `degraded` accuracies under a condition
    (default: those of the sweeps on this machine).
    """
    read_once = cache(read or (lambda name: readable_predictions(records[name])))
    asked = degraded or accuracies(open_results([local_folder(), SHIPPED_RESULTS], records))
    return [_row(claim, list(records.values()), read_once, asked) for claim in CLAIMS]


def accuracies(found: Results) -> Degraded:
    """Accuracies on all test images of a network's own dataset, in full precision with seed 0, from stored sweeps."""
    boards = [board for board in found.boards.values() if _counts(board)]

    def degraded(card: Card, condition: Condition) -> float | None:
        for board in boards:
            if board.setting.dataset == card.dataset and board.has(card.name, condition):
                return _readable_accuracy(board, card.name, condition)
        return None

    return degraded


def _counts(board: Board) -> bool:
    setting = board.setting
    return (setting.split, setting.limit, setting.precision, setting.seed) == ("test", 0, "fp32", 0)


def _readable_accuracy(board: Board, model: str, condition: Condition) -> float | None:
    """None also for a file that can't be used."""
    try:
        answers = board.answers(model, condition)
    except PredictionsError:
        return None
    return None if answers is None else answers.accuracy


def _row(claim: Claim, cards: Sequence[Card], read: Read, degraded: Degraded) -> Row:
    if claim.metric in COUNTS and claim.ours is not None:
        name = claim.ours.architectures[0]
        return Row(
            claim, COUNTS[claim.metric](*counted(name, 1000, 224)), (name,), "", "counted", claim.caveat
        )
    found = [] if claim.ours is None else best_match(claim.ours, cards)
    if not found:
        state = NOT_MEASURED if claim.ours is None else NOT_TRAINED
        return Row(claim, None, (), "", state, _sentences(claim.caveat, _interval(claim)))
    values = [_measured(claim, card, read, degraded) for card in found]
    ours = statistics.fmean(known) if (known := [v for v in values if v is not None]) == values else None
    caveat = _sentences(claim.caveat, _interval(claim), _other_data(claim, found[0]), _options(found[0]))
    state = NOT_MEASURED if ours is None else _trained(found)
    return Row(claim, ours, tuple(card.name for card in found), found[0].dataset, state, caveat)


def _measured(claim: Claim, card: Card, read: Read, degraded: Degraded) -> float | None:
    """Ours for one network, in the unit of the claim's metric."""
    if claim.metric == "accuracy %" and claim.condition in GRID:
        share = degraded(card, GRID[claim.condition])
        return None if share is None else 100 * share
    return MEASURES.get(claim.metric, _unknown)(claim, card, read)


def best_match(match: Match, cards: Sequence[Card]) -> list[Card]:
    """All seeds of the training that fits best, an empty list where none does; trials don't count.

    Data count more than the recipe, the recipe more than the architecture; a narrower network comes last.
    """
    fitting = [card for card in cards if _fits(match, card) and trial_limit(card) is None]
    if not fitting:
        return []
    best = min(fitting, key=lambda card: _distance(match, card))
    same = (best.architecture, best.dataset, best.options, best.epochs, recipe_name(best))
    return [c for c in fitting if (c.architecture, c.dataset, c.options, c.epochs, recipe_name(c)) == same]


def _fits(match: Match, card: Card) -> bool:
    return (
        card.architecture in match.architectures
        and card.dataset in match.datasets
        and recipe_name(card) in match.recipes
    )


def _distance(match: Match, card: Card) -> tuple[bool, int, int, int, int]:
    places = (
        match.datasets.index(card.dataset),
        match.recipes.index(recipe_name(card)),
        match.architectures.index(card.architecture),
    )
    return ("width" in card.options, *places, -card.epochs)


def _trained(cards: Sequence[Card]) -> str:
    return "one seed" if len(cards) == 1 else f"mean of {len(cards)} seeds"


def _sentences(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _interval(claim: Claim) -> str:
    """What a claim on so few images may mean."""
    if claim.images is None:
        return ""
    low, high = wilson(round(claim.value / 100 * claim.images), claim.images)
    return f"On {claim.images} images the 95 % interval is {100 * low:.1f} to {100 * high:.1f}."


def _other_data(claim: Claim, card: Card) -> str:
    if card.dataset == "cifar10-jpeg" and claim.metric != "size change %":
        return "Ours is on CIFAR-10 stored as JPEG: not comparable with numbers on the lossless files."
    return ""


def _options(card: Card) -> str:
    words = ", ".join(f"{key} {value}" for key, value in card.options.items())
    return f"Ours was built with {words}." if words else ""


def _unknown(_claim: Claim, _card: Card, _read: Read) -> None:
    return None


def _accuracy(claim: Claim, card: Card, _read: Read) -> float | None:
    share = card.accuracy.get("test") if claim.condition == CLEAN else None
    return None if share is None else 100 * share


def _auc(_claim: Claim, card: Card, read: Read) -> float | None:
    found = read(card.name)
    area = None if found is None else metrics.macro_auc(found)
    return None if area is None else 100 * area


def _f1(_claim: Claim, card: Card, read: Read) -> float | None:
    found = read(card.name)
    return None if found is None else 100 * metrics.macro_scores(found).f1


def _class_accuracy(claim: Claim, card: Card, read: Read) -> float | None:
    found = read(card.name)
    rows = [] if found is None else metrics.class_accuracies(found, card.classes)
    return next((100 * row.share for row in rows if row.name == claim.condition), None)


def _size_change(_claim: Claim, card: Card, _read: Read) -> float | None:
    if card.storage != "int8" or not card.parameters:
        return None
    return 100 * (card.megabytes * 1e6 / (4 * card.parameters) - 1)


Measure = Callable[[Claim, Card, Read], float | None]
MEASURES: dict[str, Measure] = {
    "accuracy %": _accuracy,
    "AUC %": _auc,
    "F1 %": _f1,
    "class accuracy %": _class_accuracy,
    "size change %": _size_change,
}
"""How ours is measured for one network; metrics that stand neither here nor in `COUNTS` are not measured."""
COUNTS: dict[str, Callable[[int, int], float]] = {
    "parameters M": lambda parameters, _macs: parameters / 1e6,
    "GMAC": lambda _parameters, macs: macs / 1e9,
}
"""What is counted from the architecture, of its parameters and multiply-accumulates."""


def table(found: Sequence[Row]) -> list[dict[str, Cell]]:
    """The rows with a heading for every column, numbers in the unit of the metric."""
    return [
        {
            "paper": row.claim.paper,
            "system": row.claim.system,
            "condition": row.claim.condition,
            "metric": row.claim.metric,
            "claimed": float(row.claim.value),
            "ours": _rounded(row.ours),
            "difference": _rounded(row.difference),
            "our network": _network(row),
            "claimed on": row.claim.dataset,
            "ours on": row.dataset,
            "caveat": row.caveat,
        }
        for row in found
    ]


def _rounded(value: float | None) -> float | None:
    """Two decimals, and no minus sign before a zero."""
    return None if value is None else round(value, 2) + 0.0


def _network(row: Row) -> str:
    """Which network ours is, or why there is none."""
    if not row.networks:
        return row.state
    name = row.networks[0] if len(row.networks) == 1 else row.networks[0].rsplit("-s", 1)[0]
    return f"{name} ({row.state})"


def as_latex(found: Sequence[Row]) -> str:
    """The table for a paper of one's own (packages `longtable`, `booktabs` and `array`)."""
    return tables.as_latex(table(found), CAPTION, wide=("caveat",))


def as_text(found: Sequence[Row]) -> list[str]:
    """The table as aligned text, with the caveats below it by number."""
    caveats = list(dict.fromkeys(row.caveat for row in found if row.caveat))
    cells = table(found)
    for entry in cells:
        caveat = entry.pop("caveat")
        entry["note"] = caveats.index(str(caveat)) + 1 if caveat else None
    return [*tables.as_text(cells), "", *(f"{place}  {caveat}" for place, caveat in enumerate(caveats, 1))]
