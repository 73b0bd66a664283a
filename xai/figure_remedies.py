"""What each remedy does to one network under each condition, as a heat table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from xai.figure_parts import DEFAULT_STYLE
from xai.figure_robustness_parts import Heat, heat, number, register
from xai.remedy_gain import Gain
from xai.results import Board
from xai.robustness_remedies import found, title


@register("remedies")
def registered_remedies(board: Board, models: Sequence[str], scale: str) -> Figure | None:
    """`remedies` of the first network."""
    return remedies(board, models[0], scale)


def remedies(board: Board, model: str, scale: str) -> Figure | None:
    """Points of accuracy that each remedy (column) gains under each condition (row), clean first; * where real."""
    gains = found(board, model, scale)
    if not gains:
        return None
    by_place = {(gain.condition.plain, gain.condition.remedy): gain for gain in gains}
    rows = [
        c for c in dict.fromkeys(c.plain for c in board.conditions) if any(c == row for row, _ in by_place)
    ]
    columns = sorted({remedy for _, remedy in by_place}, key=title)
    table = [[by_place.get((row, column)) for column in columns] for row in rows]
    values = np.array([[_points(gain) for gain in line] for line in table])
    peak = float(np.nanmax(np.abs(values))) or 1.0
    below = (
        f"{model}. Gain: repaired less degraded accuracy, n = {len(board):,} images in every cell; above 0 the "
        "remedy helps, on clean images below 0 is its cost. * real: exact McNemar test, p < 0.05 after Holm's "
        f"correction for the {len(gains)} differences shown. Empty: not asked, or the remedy does not apply."
    )
    words = tuple(tuple(_word(gain) for gain in line) for line in table)
    names = tuple(row.title for row in rows)
    bar = "gain (percentage points)"
    heads = tuple(map(title, columns))
    return heat(Heat(names, heads, values, words, -peak, peak, DEFAULT_STYLE.diverging, bar, below))


def _points(gain: Gain | None) -> float:
    return float("nan") if gain is None else 100 * gain.difference.difference


def _word(gain: Gain | None) -> str:
    return "" if gain is None else f"{number(_points(gain))}{' *' if gain.real else ''}"
