"""The grid of the comparison of AlexNet with ResNet-50 on low-quality images, beside ours under the same conditions."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models import zoo
from models.cards import Card
from xai import paper_claims
from xai.paper_claims import CLAIMS, Claim, Match
from xai.papers import NOT_MEASURED, NOT_TRAINED, best_match
from xai.results import UNTOUCHED, Board, Condition
from xai.robustness_board import idle, register, told, training
from xai.tables import Row, Rows

PAPER = "AlexNet against ResNet-50 on low-quality images"
SCALE = "paper-relative"
DEGRADATIONS = {
    "noise": "gaussian_noise",
    "blur": "gaussian_blur",
    "motion": "motion_blur",
    "JPEG": "jpeg_compression",
}
"""The paper's words for what ours are called."""
LEVELS = {"low": 1.0, "medium": 2.0, "high": 3.0}
STAND_IN = Match(("resnet18_cifar",))
STAND_IN_NAME = "ResNet-18, CIFAR stem"


@dataclass(frozen=True)
class Ours:
    """Our networks that stand for one of the paper's: all seeds of a training, or none with the reason `why`."""

    system: str
    networks: tuple[str, ...]
    why: str = ""

    @property
    def words(self) -> str:
        """Which networks they are, such as `alexnet-cifar10-jpeg (mean of 3 seeds)`."""
        if not self.networks:
            return self.why
        count = len(self.networks)
        seeds = "one seed" if count == 1 else f"mean of {count} seeds"
        return f"{training(self.networks[0])} ({seeds})"


@dataclass(frozen=True)
class Entry:
    """One condition: the paper's accuracies by system, ours by system as means over seeds, and our least and most.

    All in %; `condition` is ours, `spread` the least and the most of the seeds.
    """

    words: str
    condition: Condition
    claimed: Mapping[str, float]
    ours: Mapping[str, float]
    spread: Mapping[str, tuple[float, float]]
    caveat: str


def claims() -> list[Claim]:
    """The accuracies that the paper states."""
    return [claim for claim in CLAIMS if claim.paper == PAPER and claim.metric == "accuracy %"]


def systems() -> dict[str, Match]:
    """The paper's networks, which of ours may stand for each, and the one that stands in beside them."""
    found = {claim.system: claim.ours for claim in claims() if claim.ours is not None}
    return {**found, STAND_IN_NAME: STAND_IN}


def condition_of(words: str) -> Condition:
    """Our condition for the paper's words, such as `noise, low`."""
    if words == paper_claims.CLEAN:
        return UNTOUCHED
    kind, _, level = words.partition(", ")
    return Condition(DEGRADATIONS[kind], SCALE, LEVELS[level])


def ours(board: Board, cards: Mapping[str, Card] | None = None) -> list[Ours]:
    """Which of our networks stand for each of the paper's; those that have answers on the board come first.

    `cards` are those of all trained networks (default: of this machine). A network was not trained here, or not
    measured on these images.
    """
    known = list((zoo.records() if cards is None else cards).values())
    return [_ours(board, system, match, known) for system, match in systems().items()]


def _ours(board: Board, system: str, match: Match, cards: Sequence[Card]) -> Ours:
    found = best_match(match, [card for card in cards if card.name in board.models])
    if found:
        return Ours(system, tuple(card.name for card in found))
    elsewhere = best_match(match, cards)
    return Ours(system, (), f"{NOT_MEASURED} on these images" if elsewhere else NOT_TRAINED)


def entries(board: Board, cards: Mapping[str, Card] | None = None) -> list[Entry]:
    """Every condition of the paper's grid with both numbers, clean first."""
    stand = ours(board, cards)
    by_words: dict[str, list[Claim]] = {}
    for claim in claims():
        by_words.setdefault(claim.condition, []).append(claim)
    return [_entry(board, words, found, stand) for words, found in by_words.items()]


def _entry(board: Board, words: str, found: Sequence[Claim], stand: Sequence[Ours]) -> Entry:
    condition = condition_of(words)
    told_by = {each.system: _accuracies(board, each.networks, condition) for each in stand}
    known = {system: values for system, values in told_by.items() if values}
    caveats = list(dict.fromkeys(claim.caveat for claim in found))
    if idle(board, condition) if known else False:
        caveats.append("Ours does nothing at this image size: equal to clean.")
    return Entry(
        words,
        condition,
        {claim.system: claim.value for claim in found},
        {system: statistics.fmean(values) for system, values in known.items()},
        {system: (min(values), max(values)) for system, values in known.items()},
        " ".join(_without_repeats(caveats)),
    )


def _without_repeats(caveats: Sequence[str]) -> list[str]:
    """The caveats, without one that another begins with."""
    return [one for one in caveats if not any(other != one and other.startswith(one) for other in caveats)]


def _accuracies(board: Board, networks: Sequence[str], condition: Condition) -> list[float]:
    """In %, of all seeds; empty unless all were asked."""
    found = [told(board, name, condition) for name in networks]
    return [100 * rows.accuracy for rows in found if rows is not None] if all(found) else []


@register("paper's grid", "Accuracy in \\% as the paper states it beside ours.", ("caveat",))
def registered_grid(board: Board, models: Sequence[str], scale: str) -> Rows:
    """`grid_rows`, whatever the networks and the scale: the paper has its own. Empty where none was asked."""
    return grid_rows(board)


def grid_rows(board: Board, cards: Mapping[str, Card] | None = None) -> Rows:
    """A row for each condition of the paper's grid: its number, ours, the difference in points, and a caveat.

    Ours is the mean of all seeds, with the least and the most; empty where nothing fits or was measured.
    """
    stand = ours(board, cards)
    return [_row(entry, stand) for entry in entries(board, cards)]


def _row(entry: Entry, stand: Sequence[Ours]) -> Row:
    row: Row = {"condition": entry.words}
    for each in stand:
        claimed, own = entry.claimed.get(each.system), entry.ours.get(each.system)
        least, most = entry.spread.get(each.system, (None, None))
        if each.system in systems_claimed():
            row[f"{each.system}, paper %"] = claimed
        row[f"{each.system}, ours %"] = _rounded(own) if own is not None or each.networks else each.why
        if each.networks:
            row |= {f"{each.system}, least": _rounded(least), f"{each.system}, most": _rounded(most)}
        if claimed is not None and each.networks:
            row[f"{each.system}, difference"] = None if own is None else _rounded(own - claimed)
    return {**row, "caveat": entry.caveat}


def systems_claimed() -> set[str]:
    """The networks of which the paper states numbers."""
    return {claim.system for claim in claims()}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2) + 0.0


def notes(board: Board, cards: Mapping[str, Card] | None = None) -> list[str]:
    """Sentences on which of our networks stands for which of the paper's, and how far the two can be compared."""
    known = zoo.records() if cards is None else cards
    found = [_stands(each, known) for each in ours(board, cards)]
    data = board.setting.dataset
    return [
        *found,
        f"The paper does not state its dataset; ours is {data}, at its own image size, with lengths scaled to the "
        "image's width: differences between the two columns are no verdict on either.",
    ]


def _stands(each: Ours, cards: Mapping[str, Card]) -> str:
    if not each.networks:
        return f"{each.system}: {each.why}."
    card = cards[each.networks[0]]
    options = "".join(f", {key} {value}" for key, value in card.options.items())
    extra = (
        " The paper has no such network: it stands beside its two." if each.system == STAND_IN_NAME else ""
    )
    return f"{each.system}: ours is {each.words}{options}.{extra}"
