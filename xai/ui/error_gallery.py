"""The images behind what was chosen on the Errors page: a page of cards, and all of them as a table to take home."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import streamlit as st

from data.datasets import DatasetError
from xai import error_selection, error_tables, result_manifest, tables
from xai.error_selection import Asked, Choice
from xai.ui import (
    dataset_images,
    error_choice,
    error_data,
    error_links,
    image_cards,
    links,
    result_data,
    showing,
    state,
    widgets,
)
from xai.ui.error_data import Chosen
from xai.ui.image_cards import Card, Line, Sheet

CSV_HELP = (
    "All images chosen, not only those of this page, with what each network answered and how sure it was."
)
KEYS = (*error_choice.KEYS, "page")
PAGE = 48
PAGE_HELP = f"The images come {PAGE} at a time, in the order chosen above."
SEEN = "errors_seen"


@st.fragment
def draw(chosen: Chosen, known: Asked, reader: str | None, link_keys: Sequence[str]) -> None:
    """Fields, cards, and the way to the Explain page; drawn again alone when one of its fields is used.

    `reader` is given where it was chosen above, and `link_keys` are those of the whole page.
    """
    st.subheader("Images")
    with showing.one_sentence():
        _draw(chosen, known, reader)
    state.write_link(link_keys)


def _draw(chosen: Chosen, known: Asked, reader: str | None) -> None:
    choice = error_choice.draw(chosen, known, reader)
    rows = error_selection.select(known, choice, error_data.searchable(chosen) if choice.text.strip() else ())
    words = error_selection.in_words(choice, chosen.board.classes, chosen.called(choice.reader))
    if not len(rows):
        st.info(widgets.plain(f"No image of {len(chosen.board):,}: {words}."))
        return
    number, pages = _page(chosen, choice, len(rows))
    shown = rows[PAGE * (number - 1) : PAGE * number]
    share = 100 * len(rows) / len(chosen.board)
    st.markdown(widgets.plain(f"{len(rows):,} of {len(chosen.board):,} images ({share:.1f} %): {words}."))
    sheet = _sheet(chosen, shown)
    label = f"Images, page {number} of {pages}"
    if chosen.condition.remedy:
        st.caption("Explain does not repair images: it opens them as they were before the repair.")
    image_cards.draw(_cards(chosen, known, shown), sheet, "image cards", label)
    _take_home(chosen, known, rows, choice)


def _page(chosen: Chosen, choice: Choice, count: int) -> tuple[int, int]:
    """Draw the choice of a page, which starts at the first for another choice of images."""
    pages = -(-count // PAGE)
    what = repr((chosen.key(), choice))
    if st.session_state.get(SEEN, what) != what:
        st.session_state["page"] = 1
    st.session_state[SEEN] = what
    columns = st.columns([1, 3], vertical_alignment="bottom")
    with columns[0]:
        label = f"Page, of {pages:,}"
        number = int(widgets.number(label, "page", (1, pages), 1, 1, st.number_input, help=PAGE_HELP))
    return number, pages


def _sheet(chosen: Chosen, shown: np.ndarray) -> Sheet | None:
    """The pictures of a page; where they are not here, what brings them is said."""
    setting = chosen.board.setting
    key = chosen.key("sheet", shown.tobytes())
    try:
        data = dataset_images.of_setting(setting)
        found: Sheet = dataset_images.memo()(key, lambda: _drawn(chosen, data, shown))
        return found
    except DatasetError as error:
        st.caption(widgets.plain(f"Cards without pictures: {error}"))
        return None


def _drawn(chosen: Chosen, data: Any, shown: np.ndarray) -> Sheet:
    """Clean pictures, and below them what the networks saw under the condition."""
    import torch

    from data import thumbnails
    from xai.evaluation import degraded_batch

    page = data.take(torch.from_numpy(shown))
    every = slice(0, len(shown))
    lines = [thumbnails.small(page.pixels(every))]
    if chosen.degraded:
        cell = chosen.board.cell(chosen.a, chosen.condition)
        lines.append(thumbnails.small(degraded_batch(page, cell, every, torch.device("cpu"))))
    return Sheet(thumbnails.sheet(lines), len(lines), lines[0].shape[-1])


def _cards(chosen: Chosen, known: Asked, shown: np.ndarray) -> list[Card]:
    names, ids = chosen.board.classes, chosen.board.ids
    return [
        Card(
            ids[row],
            names[int(known.a.labels[row])],
            _lines(known, names, row),
            links.address(error_links.explain(chosen, ids[row])),
        )
        for row in shown.tolist()
    ]


def _lines(known: Asked, names: Sequence[str], row: int) -> tuple[Line, ...]:
    """What each network said, clean and then degraded, marked by whether it was right in the end."""
    lines = []
    for letter in "ab":
        readers = [name for name in (f"{letter}_clean", letter) if name in known.readers]
        if readers:
            said = [known.reader(name) for name in readers]
            words = " → ".join(
                f"{names[int(answers.predicted[row])]} {100 * float(answers.confidence[row]):.0f}\N{NO-BREAK SPACE}%"
                for answers in said
            )
            lines.append(Line(f"{letter.upper()}: {words}", "good" if said[-1].correct[row] else "bad"))
    return tuple(lines)


def _take_home(chosen: Chosen, known: Asked, rows: np.ndarray, choice: Choice) -> None:
    """All images chosen as CSV, in the order shown, and the manifest; made when they are asked for."""

    def content() -> str:
        return tables.as_csv(error_tables.image_rows(known, chosen.board.classes, rows))

    facts = {"table": "images", "a": chosen.a, "b": chosen.b, "condition": chosen.condition, **vars(choice)}
    cells = [*chosen.cells, *((model, chosen.condition) for model in _crowd(chosen, choice))]
    with st.container(horizontal=True):
        label = f"CSV of {len(rows):,} image{'' if len(rows) == 1 else 's'}"
        widgets.download(label, content, "images.csv", "text/csv", key="images.csv", help=CSV_HELP)
        manifest = lambda: result_manifest.manifest(chosen.board, cells, facts)  # noqa: E731
        name = "images-manifest.json"
        options: dict[str, Any] = {"key": name, "help": result_data.MANIFEST_HELP}
        widgets.download("Manifest (.json)", manifest, name, "application/json", **options)


def _crowd(chosen: Chosen, choice: Choice) -> tuple[str, ...]:
    """The networks that the kind of image looks at beside the two."""
    needed = "crowd" in error_selection.KINDS[choice.kind].needs
    return tuple(m for m in chosen.board.models if chosen.board.has(m, chosen.condition)) if needed else ()
