"""The table of all trained networks, its filters, and the choice of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from models import zoo
from xai import network_table, tables
from xai.network_table import NOT_KEPT, Network
from xai.ui import network_data, widgets

LINK_KEYS = ("datasets", "families", "grouped", "network")
TABLE = "network_table"
NETWORK_HELP = "Its card, accuracy by class, stages, training curves, speed and seeds are shown below."
GROUPED_HELP = "Trainings that differ in their seed alone become one row: mean accuracy, with least and most."
WORDS = ("name", "architecture", "dataset", "recipe", "options", "seed", "trained on", "weights")
FORMS = {"epochs": "%d", "parameters (M)": "%.2f", "MMAC": "%.1f", "MB": "%.1f", "training (min)": "%.1f"}


def choose() -> str | None:
    """Draw the table and return the name of the network to look at; None where no network is there."""
    found = network_data.rows()
    if not found:
        st.info("No trained network is on this machine: bring one in on Your own, or train one on Train.")
        _on_request()
        return None
    shown, grouped = _filtered(found)
    if not shown:
        st.info("No network has this dataset and this family: take one of the two away.")
        return None
    lines = network_table.by_training(shown) if grouped else shown
    _table(lines, grouped)
    _said(lines, grouped)
    names = [row.name for row in shown]
    label = "Network to look at (or choose a row above)"
    return widgets.one_of(label, "network", names, names[0], help=NETWORK_HELP)


def _filtered(found: Sequence[Network]) -> tuple[list[Network], bool]:
    """The rows that the filters let through, and whether seeds are taken together."""
    left, middle, right = st.columns(3, vertical_alignment="bottom")
    with left:
        datasets = _filter("Dataset", "datasets", [row.dataset for row in found])
    with middle:
        families = _filter("Family", "families", [row.family for row in found])
    with right:
        grouped = widgets.switch("One row for all seeds", "grouped", False, help=GROUPED_HELP)
    kept = [row for row in found if row.dataset in datasets and row.family in families]
    return kept, grouped


def _filter(label: str, key: str, values: Sequence[str]) -> tuple[str, ...]:
    """The chosen values; all of them where none is chosen."""
    options = list(dict.fromkeys(values))
    help_words = "Only networks of those chosen are listed; all where none is chosen."
    return widgets.some_of(label, key, options, [], placeholder="All", help=help_words) or tuple(options)


def _table(lines: list[Network], grouped: bool) -> None:
    """A table that sorts; a click on a row chooses its network (of several seeds the first)."""
    import pandas as pd

    cells = network_table.table(lines, seeds=grouped)
    key = f"{TABLE} {grouped} {len(lines)}"

    def chosen() -> None:
        picked = st.session_state[key].selection.rows
        if picked:
            st.session_state["network"] = lines[picked[0]].names[0]

    st.dataframe(
        pd.DataFrame(cells),
        hide_index=True,
        column_config=_columns(cells[0]),
        column_order=_order(cells[0]),
        placeholder="",
        key=key,
        on_select=chosen,
        selection_mode="single-row",
        alt=f"Table of {len(lines)} networks; the same rows can be downloaded below.",
    )
    downloads(cells, "networks", "Trained networks.")


def _columns(cells: Mapping[str, Any]) -> dict[str, Any]:
    """How the numbers are shown."""
    forms = {head: FORMS.get(head, "%.2f") for head in cells if head not in WORDS}
    return {head: st.column_config.NumberColumn(head, format=form) for head, form in forms.items()}


def _order(cells: Mapping[str, Any]) -> list[str]:
    """What is looked for first comes first: the table is wider than most windows."""
    scores = [head for head in cells if head in ("to", "least", "most") or "%" in head]
    first = ["name", "dataset", *scores, "parameters (M)", "MMAC"]
    return [*first, *(head for head in cells if head not in first)]


def downloads(
    cells: tables.Rows,
    stem: str,
    caption: str,
    wide: Sequence[str] = (),
    printed: tables.Rows | None = None,
) -> None:
    """Buttons for the rows as CSV and LaTeX; `printed` are the rows for LaTeX where those are others."""
    with st.container(horizontal=True):
        widgets.download("CSV", lambda: tables.as_csv(cells), f"{stem}.csv", "text/csv")
        latex = lambda: tables.as_latex(cells if printed is None else printed, caption, wide)  # noqa: E731
        widgets.download("LaTeX", latex, f"{stem}.tex", "application/x-tex")


def _said(lines: Sequence[Network], grouped: bool) -> None:
    """What the columns mean, and what can't be used."""
    spread = (
        "the mean over seeds, with the least and the most" if grouped else "with its 95 % Wilson interval"
    )
    words = [f"Test accuracy is {spread}; `lossless` is measured on pictures that were never stored as JPEG."]
    words.append(
        "MMAC counts one multiply and one add as one. Accuracies on different datasets can't be compared."
    )
    missing = sum(NOT_KEPT in row.weights for row in lines)
    if missing:
        rows = "row" if missing == 1 else "rows"
        words.append(
            f"Of {missing} {rows} the weights don't come with the project: their figures can be looked at."
        )
    st.caption(" ".join(words))
    _on_request()


def _on_request() -> None:
    st.caption(widgets.plain(f"Downloaded when first asked for: {', '.join(zoo.IMAGENET)}."))


def untrained() -> None:
    """Architectures without a trained network, with their size and no result; counted when they are asked for."""
    box = st.expander("Architectures without a trained network", key="untrained", on_change="rerun")
    if not box.open:
        return
    with box:
        found = network_table.untrained_table(network_data.untrained())
        if not found:
            st.caption("Of every architecture there is a trained network.")
            return
        st.caption(
            f"Nothing here is a result: no network of these was trained. Sizes are for "
            f"{network_table.UNTRAINED_CLASSES} classes. `python -m xai train` trains one."
        )
        widgets.table(tables.as_words(found))
