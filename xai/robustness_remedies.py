"""What remedies before the network win back of the lost accuracy, and what they cost on clean images, as tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from data import remedies
from xai.remedy_gain import Gain, gains
from xai.results import Board, Condition
from xai.robustness_board import register, scaled
from xai.robustness_grid import interval
from xai.tables import Row, Rows, p_value


def repaired(board: Board, models: Iterable[str], scale: str) -> tuple[Condition, ...]:
    """Conditions of the scale with a remedy, and clean images with one, of which at least one network was asked."""
    wanted = tuple(models)
    return tuple(
        condition
        for condition in board.conditions
        if condition.remedy
        and condition.scale in ("", scale)
        and any(board.has(model, condition) for model in wanted)
    )


def found(board: Board, model: str, scale: str) -> list[Gain]:
    """What every remedy does to the network, on clean images and on the scale; Holm over them all."""
    return gains(board, model, repaired(board, [model], scale))


@register(
    "remedies", "What remedies win back of the accuracy that a degradation costs, Holm for each network."
)
def remedy_rows(board: Board, models: Sequence[str], scale: str) -> Rows:
    """A row for each remedy under each degraded condition of each network: points won back, and share of the loss."""
    return [_row(gain) for model in models for gain in found(board, model, scale) if not gain.on_clean]


@register("remedy costs", "What remedies cost on clean images, Holm for each network.")
def cost_rows(board: Board, models: Sequence[str], scale: str) -> Rows:
    """A row for each remedy of each network on clean images: points lost are negative."""
    return [
        {head: cell for head, cell in _row(gain).items() if head not in _NOT_ON_CLEAN}
        for model in models
        for gain in found(board, model, scale)
        if gain.on_clean
    ]


_NOT_ON_CLEAN = ("condition", "degraded %", "won back %", "won back %, from", "won back %, to")


def _row(gain: Gain) -> Row:
    back = gain.recovered
    shares = {"won back %": back.share, "won back %, from": back.low, "won back %, to": back.high}
    return {
        "condition": gain.condition.plain.title,
        "remedy": title(gain.condition.remedy),
        "network": gain.model,
        "images": gain.difference.n,
        **interval("gain, points", gain.difference),
        "p (Holm)": p_value(gain.p_holm),
        "real": "yes" if gain.real else "no",
        "clean %": scaled(gain.clean),
        "degraded %": scaled(gain.degraded),
        "repaired %": scaled(gain.repaired),
        **{head: scaled(value) for head, value in shares.items()},
    }


def title(remedy: str) -> str:
    """The remedy in words; one that this program does not know keeps its name."""
    try:
        return remedies.title(remedy)
    except ValueError:
        return remedy
