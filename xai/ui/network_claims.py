"""What papers claim, beside what our networks show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import streamlit as st

from xai import ablations, papers
from xai.tables import Rows
from xai.ui import network_data, network_list, widgets

PAPERS_KEYS = ("paper",)
PAPER_HELP = "Only what these papers claim; all of them where none is chosen."
Width = Literal["small", "medium", "large"] | int


def draw_papers() -> None:
    """Every number claimed in the papers beside ours, with both datasets and a caveat."""
    st.markdown(
        "Every number that the papers on these networks state, beside ours. Where data differ, the difference is "
        "not a verdict: the caveat says so. Ours is empty where no such network was trained or measured."
    )
    found = network_data.paper_rows()
    sources = list(dict.fromkeys(row.claim.paper for row in found))
    kept = widgets.some_of("Paper", "paper", sources, [], placeholder="All", help=PAPER_HELP) or tuple(
        sources
    )
    cells = papers.table([row for row in found if row.claim.paper in kept])
    widths: dict[str, Width] = {
        "paper": 150,
        "system": 180,
        "our network": 250,
        "ours on": 100,
        "caveat": "large",
    }
    _show(cells, ("claimed", "ours", "difference"), widths, "Numbers claimed in papers, and ours.")
    network_list.downloads(cells, "papers", papers.CAPTION, wide=("caveat",))


def _show(cells: Rows, numbers: Sequence[str], widths: Mapping[str, Width], alt: str) -> None:
    """A table that sorts, with two decimals in the columns of `numbers`."""
    import pandas as pd

    columns: dict[str, Any] = {head: st.column_config.NumberColumn(head, format="%.2f") for head in numbers}
    columns |= {head: st.column_config.TextColumn(head, width=width) for head, width in widths.items()}
    frame = pd.DataFrame(list(cells))
    st.dataframe(frame, hide_index=True, height=600, column_config=columns, placeholder="", alt=alt)


def draw_ablations() -> None:
    """Every claimed improvement as one change, beside what our own networks show."""
    st.markdown(
        "Each improvement that the papers claim, tried as one change between two of our own trainings. The "
        "difference is in percentage points of test accuracy on the same images, with a 95 % interval; p is exact, "
        "and adjusted for the number of rows (Holm). It speaks of these networks, not of every training."
    )
    cells = ablations.table(network_data.ablation_rows())
    numbers = ("paper, points", "ours, points", "95 % from", "to", "baseline %", "variant %")
    widths: dict[str, Width] = {
        "change": 260,
        "dataset": 90,
        "baseline": 170,
        "variant": 170,
        "note": 260,
    }
    _show(cells, numbers, {**widths, "source": "large"}, "Ablations: claimed differences, and ours.")
    network_list.downloads(cells, "ablations", ablations.CAPTION, wide=ablations.WIDE)
