"""The three tables of the Errors page; a click on any of them chooses the images below."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import streamlit as st

from xai import error_selection, error_tables, figure_errors, pairwise, result_manifest, tables
from xai.error_selection import BOTH, Asked
from xai.error_tables import STATES, Confusion
from xai.ui import error_choice, network_data, network_list, result_data, widgets
from xai.ui.error_data import Chosen, differences

KEYS = ("compared", "cells", "shown")
COMPARED = {
    "a b": ("a", "b", "A less B", "A less B, {condition}"),
    "a_clean b_clean": ("a_clean", "b_clean", "A less B", "A less B, clean"),
    "a a_clean": ("a", "a_clean", "degraded less clean", "A: {condition} less clean"),
    "b b_clean": ("b", "b_clean", "degraded less clean", "B: {condition} less clean"),
}
"""Differences by class: two readers, the head of the column, and the words of the choice."""
COMPARED_HELP = (
    "Which two accuracies are subtracted in the column of differences: of A and B, or degraded and clean."
)
CELLS_HELP = "How many images, or how many in a hundred of the true class. The colours are the same for both."
SHOWN_HELP = "Rows and columns of the matrix: there are more classes than can be shown at once."
FEW, NARROW = 12, 75
"""Columns of a matrix of more classes are so many pixels wide, whatever their names."""
RIGHT, WRONG = (0, 88, 143), (194, 65, 12)
"""Colours of right and of wrong answers in a table."""


def classes(chosen: Chosen, known: Asked) -> str | None:
    """Accuracy of every class, A beside B and clean beside degraded."""
    names = chosen.board.classes
    shares = error_tables.class_shares(known, names)
    pair = _compared(chosen, known)
    compared = differences(chosen, *COMPARED[pair][:2]) if pair else ()
    rows = error_tables.class_rows(shares, compared, COMPARED[pair][2] if pair else "")

    def choose(row: int, _column: str) -> None:
        error_choice.of_class(str(rows[row]["class"]))

    _table(rows, f"classes {pair}", choose, "Accuracy by class", _percents(rows))
    words = "Percent with 95 % Wilson intervals. A click on a class shows its images below."
    if pair:
        words += (
            " The difference has a paired bootstrap interval; p is McNemar's exact one, adjusted by Holm for all "
            "classes. Where only a few images tip, all to one side, the interval is too narrow: go by p."
        )
    st.caption(words)
    _take_home(chosen, rows, "classes", {"compared": pair})
    notes = "; ".join(chosen.called(reader) for reader in known.readers)
    make = lambda: figure_errors.class_dots_figure(shares, notes)  # noqa: E731
    _figure(chosen.key("dots"), make, "classes", _class_words(shares))
    return None


def _compared(chosen: Chosen, known: Asked) -> str:
    """Draw the choice of a difference; empty where there is only one kind of answer."""
    offered = [
        key for key, (first, second, *_rest) in COMPARED.items() if {first, second} <= set(known.readers)
    ]
    if not offered:
        return ""
    condition = chosen.condition.words
    words = {key: COMPARED[key][3].format(condition=condition) for key in offered}
    return widgets.one_of(
        "Difference by class", "compared", offered, offered[0], words.__getitem__, help=COMPARED_HELP
    )


def _class_words(shares: Mapping[str, Sequence[Any]]) -> str:
    """What the dot plot shows, for those who can't see it."""
    said = [
        f"{title}: " + ", ".join(f"{share.name} {100 * share.share:.1f} %" for share in found[:12])
        for title, found in shares.items()
    ]
    return "Accuracy by class. " + ". ".join(said)


def _percents(rows: tables.Rows) -> dict[str, Any]:
    heads = [head for head, cell in rows[0].items() if isinstance(cell, float)]
    return {head: st.column_config.NumberColumn(head, format="%.2f") for head in heads}


def confusions(chosen: Chosen, known: Asked) -> str | None:
    """The confusion matrix and the most confused pairs of one reader, which is returned."""
    names = chosen.board.classes
    left, right = st.columns([2, 1])
    with left:
        reader = error_choice.reader(chosen, known)
    options: dict[str, Any] = {"draw": st.radio, "horizontal": True, "help": CELLS_HELP}
    with right:
        cells = widgets.one_of("Cells", "cells", ["counts", "shares"], "counts", CELLS.__getitem__, **options)
    rows = known.reader(reader)
    found = error_tables.confusion(rows, names, _shown(rows, names))
    _matrix(chosen, found, reader, as_shares=cells == "shares")
    st.subheader("Most confused pairs")
    _pairs(chosen, error_tables.pair_rows(rows, names), reader)
    return reader


CELLS = {"counts": "counts", "shares": "percent of the true class"}


def _shown(rows: Any, names: Sequence[str]) -> np.ndarray:
    """Which classes the matrix shows: all, or where they are too many, those chosen or the most confused."""
    usual = error_tables.most_confused(rows, len(names))
    if len(names) <= error_tables.MAX_SHOWN:
        return usual
    first = [names[k] for k in usual]
    label = f"Classes shown, up to {error_tables.MAX_SHOWN} (the most confused of {len(names):,} when empty)"
    options: dict[str, Any] = {"max_selections": error_tables.MAX_SHOWN, "help": SHOWN_HELP}
    wanted = widgets.some_of(label, "shown", names, (), **options)
    return np.sort([names.index(name) for name in wanted or first])


def _matrix(chosen: Chosen, found: Confusion, reader: str, *, as_shares: bool) -> None:
    import pandas as pd

    rows = error_tables.confusion_rows(found, as_shares=as_shares)
    frame = pd.DataFrame(list(rows))
    colours = _matrix_colours(found, frame.shape)
    styled = frame.style.apply(lambda _frame: colours, axis=None)
    styled = styled.format("{:.1f}", subset=list(found.names), na_rep="") if as_shares else styled

    def choose(row: int, column: str) -> None:
        error_choice.of_cell(found.names[row], column if column in found.names else "", reader)

    config: dict[str, Any] = {"true class": st.column_config.TextColumn("true class ↓ answer →", pinned=True)}
    if len(found.names) > FEW:
        config |= {name: st.column_config.Column(width=NARROW) for name in found.names}
    _table(styled, f"matrix {len(frame.columns)}", choose, "Confusion matrix", config)
    st.caption(
        "Rows are true classes, columns the answers. Blue is right, orange is wrong, stronger is a larger share of the "
        "class. A click on a cell shows its images below."
    )
    _take_home(chosen, rows, "confusions", {"reader": reader, "cells": "shares" if as_shares else "counts"})
    title = chosen.called(reader)
    make = lambda: figure_errors.confusion_figure(found, title, as_shares=as_shares)  # noqa: E731
    key = chosen.key("matrix", reader, as_shares, found.names)
    _figure(key, make, "confusions", f"Confusion matrix of {title}; the table above has its numbers.")


def _matrix_colours(found: Confusion, shape: tuple[int, int]) -> Any:
    """CSS of every cell of the table, whose first column names the true class."""
    css = np.full(shape, "", object)
    shares = np.sqrt(np.nan_to_num(found.shares))
    for (row, column), share in np.ndenumerate(shares):
        css[row, column + 1] = _shade(float(share), RIGHT if row == column else WRONG)
    return css


def _shade(strength: float, colour: tuple[int, int, int]) -> str:
    """Background of a cell; over the page's own colour, so that it suits a light and a dark page."""
    if not strength:
        return "color: #888888"
    red, green, blue = colour
    words = "; color: white" if strength > 0.6 else ""
    return f"background-color: rgba({red}, {green}, {blue}, {strength:.2f}){words}"


def _pairs(chosen: Chosen, rows: tables.Rows, reader: str) -> None:
    if not rows:
        st.caption("No answer is wrong.")
        return

    def choose(row: int, _column: str) -> None:
        error_choice.of_cell(str(rows[row]["true class"]), str(rows[row]["answered"]), reader)

    _table(rows, "pairs", choose, "Most confused pairs", _percents(rows), height=240)
    st.caption("Intervals are for a pair named beforehand: the most frequent of many looks worse than it is.")
    _take_home(chosen, rows, "pairs", {"reader": reader})


def transitions(chosen: Chosen, known: Asked) -> str | None:
    """What becomes of right and wrong answers when the images get worse."""
    if "b_clean" not in known.readers:
        st.info("Choose a second network and a degraded condition: the table sets four answers side by side.")
        return None
    table = pairwise.transition_table(error_selection.transitions(known))
    letters = (f"A ({chosen.a})", f"B ({chosen.b})")
    for sentence in error_tables.transition_sentences(table, letters):
        st.markdown(widgets.plain(sentence))
    _square(chosen, table)
    return None


def _square(chosen: Chosen, table: np.ndarray) -> None:
    import pandas as pd

    square, states = error_tables.transition_square(table), [BOTH[state] for state in STATES]
    heads = list(states)
    frame = pd.DataFrame(square, columns=heads)
    frame.insert(0, "clean ↓ degraded →", states)
    css = np.full(frame.shape, "", object)
    for (row, column), count in np.ndenumerate(square):
        css[row, column + 1] = _shade(float(np.sqrt(count / square.sum())), RIGHT)

    def choose(row: int, column: str) -> None:
        cell = error_tables.square_cell(row, heads.index(column)) if column in heads else None
        error_choice.of_transition(cell)

    _table(frame.style.apply(lambda _frame: css, axis=None), "transitions", choose, "Clean to degraded", {})
    st.caption(
        f"Degraded: {widgets.plain(chosen.condition.title)}. A click on a number shows its images below."
    )
    rows = error_tables.transition_rows(table)
    _take_home(chosen, rows, "transitions", {})
    notes = f"A: {chosen.a}; B: {chosen.b}; degraded: {chosen.condition.words}."
    make = lambda: figure_errors.transitions_figure(table, notes)  # noqa: E731
    _figure(chosen.key("square"), make, "transitions", "The same table as a figure.")


Choose = Callable[[int, str], None]


def _table(
    rows: Any, name: str, choose: Choose, words: str, config: Mapping[str, Any], height: int | str = "auto"
) -> None:
    """A table that sorts, and whose cells answer to a click: `choose(row, column)`."""
    import pandas as pd

    key = f"errors {name}"

    def clicked() -> None:
        cells = st.session_state[key].selection.cells
        if cells:
            choose(int(cells[0][0]), str(cells[0][1]))

    st.dataframe(
        pd.DataFrame(list(rows)) if isinstance(rows, Sequence) else rows,
        hide_index=True,
        column_config=dict(config),
        placeholder="",
        key=key,
        on_select=clicked,
        selection_mode="single-cell",
        height=height,  # type: ignore[arg-type]
        alt=f"{words}; the same rows can be downloaded below, and chosen in the fields above the images.",
    )


def _figure(key: tuple[Any, ...], make: Callable[[], Any], stem: str, alt: str) -> None:
    """A figure that is drawn when it is asked for."""
    box = st.expander("Figure", key=f"figure of {stem}", on_change="rerun")
    if box.open:
        with box, st.container(width=900):
            network_data.show(key, make, stem, alt)


def _take_home(chosen: Chosen, rows: tables.Rows, stem: str, choices: Mapping[str, Any]) -> None:
    """The table as CSV and LaTeX, and the manifest of what it rests on."""
    facts = {"table": stem, "a": chosen.a, "b": chosen.b, "condition": chosen.condition, **choices}
    manifest = lambda: result_manifest.manifest(chosen.board, chosen.cells, facts)  # noqa: E731
    with st.container(horizontal=True):
        name = f"{stem}-manifest.json"
        options: dict[str, Any] = {"key": name, "help": result_data.MANIFEST_HELP}
        widgets.download("Manifest (.json)", manifest, name, "application/json", **options)
        network_list.downloads(rows, stem, f"Errors: {stem}.")
