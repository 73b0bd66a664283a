"""What all parts of the Robustness page share: chosen answers, tables and figures with their files, manifest, notes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from data.degradations import SCALES
from xai import result_manifest, robustness_board, tables
from xai.result_manifest import Asked
from xai.results import Board, Condition
from xai.tables import Rows
from xai.ui import network_data, network_list, result_data, widgets

SCALE_HELP = (
    "How strong low, medium and high, or 1 to 5, are: constants of a published benchmark or paper, literally or in "
    "proportion to the width of the image. Accuracies on two scales can't be compared."
)
ROW, MOST_ROWS = 35, 14
"""Height of a row of a table in pixels, and how many are seen at once."""
_THREE_DIGITS = ("kappa", "distance", "NLL", "Brier")


@dataclass(frozen=True)
class Chosen:
    """The board, networks and scale that the page is about; nothing of a remedy."""

    board: Board
    models: tuple[str, ...]
    scale: str

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Clean and degraded, in order."""
        return robustness_board.conditions(self.board, self.models, self.scale)

    @property
    def degraded(self) -> tuple[Condition, ...]:
        """Degraded only."""
        return robustness_board.degraded(self.board, self.models, self.scale)

    @property
    def cells(self) -> tuple[Asked, ...]:
        """Every network under every condition."""
        return result_manifest.every(self.models, self.conditions)


def choose(board: Board, beside: DeltaGenerator) -> Chosen | None:
    """Draw the choice of networks, and `beside` that of the scale.

    None, with what to do, where no degraded images were asked about, or none of the chosen networks was.
    """
    found = robustness_board.scales(board)
    if not found:
        st.info(
            f"Of {widgets.plain(board.setting.title)} only answers to clean images are stored: start a sweep with "
            "degradations below, or choose other images."
        )
        return None
    with beside:
        scale = widgets.one_of(
            "Scale of severities", "scale", found, found[0], SCALES.__getitem__, help=SCALE_HELP
        )
    models = result_data.networks(board)
    chosen = Chosen(board, models, scale)
    if words := robustness_board.silent_note(board, models, scale):
        (st.caption if chosen.degraded else st.info)(widgets.plain(words))
    return chosen if chosen.degraded else None


def table(rows: Rows, stem: str, caption: str, wide: Sequence[str] = (), printed: Rows | None = None) -> None:
    """A table that sorts, with its rows as CSV and LaTeX (`caption` is plain text); nothing for no rows.

    `printed` are the rows for LaTeX where those are others.
    """
    import pandas as pd

    if not rows:
        return
    columns: dict[str, Any] = {head: _column(head, rows) for head in rows[0]}
    same = _same(rows)
    if words := "; ".join(f"{head} {word}" for head, word in same.items() if word):
        st.caption(widgets.plain(f"In all rows: {words}."))
    height = ROW * (min(len(rows), MOST_ROWS) + 1) + 3
    st.dataframe(
        pd.DataFrame(list(rows)),
        hide_index=True,
        height=height,
        column_config=columns,
        column_order=[head for head in rows[0] if head not in same],
        placeholder="",
        alt=f"{caption} {len(rows)} rows; they can be downloaded below.",
    )
    network_list.downloads(rows, stem, caption.replace("%", "\\%"), wide, printed)


def _same(rows: Rows) -> dict[str, str]:
    """Columns of words and counts that say the same in every one of several rows: said once, they make room."""
    if len(rows) < 2:
        return {}
    kept = {head: cell for head, cell in rows[0].items() if not isinstance(cell, float)}
    alike = {head: cell for head, cell in kept.items() if all(row[head] == cell for row in rows)}
    return {head: f"{cell:,}" if isinstance(cell, int) else str(cell or "") for head, cell in alike.items()}


def _column(head: str, rows: Rows) -> Any:
    """How a column is shown: names wide enough to be read, numbers with as many digits as they are worth."""
    values = [row.get(head) for row in rows]
    if any(isinstance(value, str) for value in values):
        longest = max(len(str(value)) for value in values if value is not None)
        return st.column_config.TextColumn(head, width=min(420, 26 + 7 * max(longest, len(head))))
    if any(isinstance(value, float) for value in values):
        digits = 3 if any(word in head for word in _THREE_DIGITS) else 2
        return st.column_config.NumberColumn(head, format=f"%.{digits}f")
    return st.column_config.NumberColumn(head, format="localized")


def figure(chosen: Chosen, name: str, make: Callable[[], Any], alt: str, *choices: Any) -> None:
    """A figure with its files, kept as long as the same answers are stored; `choices` are those it depends on."""
    key = (name, chosen.models, chosen.scale, choices, stamps(chosen))
    stem = f"robustness-{name}-{chosen.board.setting.dataset}"
    network_data.show(key, make, stem, alt)


def stamps(chosen: Chosen) -> tuple[Any, ...]:
    """What changes when one of the stored answers does."""
    board = chosen.board
    found = [board.entries[cell] for cell in board.entries if cell[1].scale in ("", chosen.scale)]
    return (board.setting, tuple((str(stored.path), stored.stamp) for stored in found))


def finish(chosen: Chosen, cells: Iterable[Asked], notes: Iterable[str] = (), **choices: Any) -> None:
    """The manifest of what the part shows, sentences on it, and what could not be read."""
    board, used = chosen.board, list(cells)
    said = [*notes, *robustness_board.damaged(board, used)]
    for sentence in dict.fromkeys(sentence for sentence in said if sentence):
        st.caption(widgets.plain(sentence))
    asked = {"networks": chosen.models, "scale": chosen.scale, **choices}
    content = lambda: result_manifest.manifest(board, used, asked)  # noqa: E731
    name = "robustness-manifest.json"
    widgets.download("Manifest (.json)", content, name, "application/json", help=result_data.MANIFEST_HELP)


def condition(
    label: str, key: str, offered: Sequence[Condition], default: Condition, help_words: str
) -> Condition:
    """Draw the choice of one condition."""
    by_name = {each.name: each for each in offered}
    titles = {each.name: each.title for each in offered}
    chosen = widgets.one_of(label, key, list(by_name), default.name, titles.__getitem__, help=help_words)
    return by_name[chosen]


def alt(words: str, rows: Rows) -> str:
    """What a figure shows, for those who can't see it: its first rows in words."""
    lines = tables.as_words(rows[:6])
    listed = "; ".join(", ".join(f"{head} {word}" for head, word in line.items() if word) for line in lines)
    return f"{words} {listed}."
