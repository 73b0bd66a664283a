"""The images that were selected in the plots: what they are, what both networks say of them, and where they open."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st

from data import thumbnails
from data.datasets import DatasetError, ImageSource
from xai import tables
from xai.embedding import Embedding, Said
from xai.embedding_metrics import mean_share
from xai.embedding_words import percent
from xai.ui import (
    dataset_images,
    embedding_data,
    embedding_numbers,
    image_cards,
    links,
    widgets,
)
from xai.ui.image_cards import Card, Line, Sheet

PAGE = 48
SEEN = "embed_seen"


def draw(found: Embedding, rows: tuple[int, ...], step: int) -> None:
    """The selection in numbers, as cards and as a table to take home; `step` is the severity shown (0: clean)."""
    if not rows:
        st.caption("Draw around points, click one, or type an id or a class above to see the images.")
        return
    st.subheader(f"{len(rows):,} {'image' if len(rows) == 1 else 'images'} selected", anchor=False)
    chosen = np.array(rows)
    widgets.table(_network_rows(found, chosen, step))
    with st.expander("Their classes"):
        st.dataframe(_class_rows(found, chosen, step), hide_index=True)
    shown = _page(rows)
    _cards(found, shown, step, "selected images", f"{len(rows):,} selected images")
    if len(rows) == 1:
        _neighbours(found, rows[0], step)
    _take_home(found, chosen, step)


def answers_at(found: Embedding, place: int, step: int) -> Said:
    """What network number `place` says at a severity."""
    one = found.maps[place]
    return one.degraded[step - 1].answers if step else one.answers


def _network_rows(found: Embedding, rows: np.ndarray, step: int) -> list[dict[str, object]]:
    table: list[dict[str, object]] = []
    for place, (letter, one) in enumerate(zip("AB", found.maps, strict=False)):
        row: dict[str, object] = {"network": f"{letter}: {one.model}"}
        for words, number in {"right, clean": 0, _words(found, step): step}.items():
            right = answers_at(found, place, number).predicted[rows] == found.labels[rows]
            row[words] = percent(embedding_numbers.accuracy(right))
        if found.between is not None:
            row["neighbours shared by A and B"] = percent(mean_share(found.between.overlap[rows]))
        table.append(row)
    return table


def _words(found: Embedding, step: int) -> str:
    return f"right, severity {found.request.severities[step - 1]:g}" if step else "right, clean"


def _class_rows(found: Embedding, rows: np.ndarray, step: int) -> list[dict[str, object]]:
    """Classes of the selection, most frequent first, with how many of them each network gets wrong."""
    counts = np.bincount(found.labels[rows], minlength=len(found.classes))
    wrong = [
        np.bincount(
            found.labels[rows][answers_at(found, place, step).predicted[rows] != found.labels[rows]],
            minlength=len(counts),
        )
        for place in range(len(found.maps))
    ]
    order = np.argsort(-counts, kind="stable")
    return [
        {
            "class": found.classes[number],
            "images": int(counts[number]),
            **{f"wrong by {letter}": int(own[number]) for letter, own in zip("AB", wrong, strict=False)},
        }
        for number in order[: np.count_nonzero(counts)]
    ]


def _page(rows: tuple[int, ...]) -> tuple[int, ...]:
    """The rows of one page; another selection starts at the first."""
    pages = -(-len(rows) // PAGE)
    if st.session_state.get(SEEN) != rows:
        st.session_state["embed_page"] = 1
    st.session_state[SEEN] = rows
    if pages == 1:
        return rows
    with st.container(width=200):
        number = int(
            widgets.number(
                f"Page, of {pages:,}",
                "embed_page",
                (1, pages),
                1,
                1,
                st.number_input,
                help=f"{PAGE} images on each.",
            )
        )
    return rows[PAGE * (number - 1) : PAGE * number]


def _cards(found: Embedding, rows: Sequence[int], step: int, key: str, label: str) -> None:
    """Cards of images, each a link to Explain."""
    cards = [
        Card(
            found.ids[row],
            found.classes[found.labels[row]],
            _lines(found, row, step),
            links.address(opening(found, found.ids[row], step)),
        )
        for row in rows
    ]
    image_cards.draw(cards, _sheet(found, rows), key, label)


def _lines(found: Embedding, row: int, step: int) -> tuple[Line, ...]:
    """What each network says, clean and then degraded, marked by whether it is right in the end."""
    lines = []
    for place, letter in enumerate("AB"[: len(found.maps)]):
        said = [answers_at(found, place, number) for number in dict.fromkeys((0, step))]
        words = " → ".join(
            f"{found.classes[one.predicted[row]]} {100 * float(one.confidence[row]):.0f}\N{NO-BREAK SPACE}%"
            for one in said
        )
        right = said[-1].predicted[row] == found.labels[row]
        lines.append(Line(f"{letter}: {words}", "good" if right else "bad"))
    return tuple(lines)


def _sheet(found: Embedding, rows: Sequence[int]) -> Sheet | None:
    try:
        data = embedding_data.images_of(found.request)
    except DatasetError as error:
        st.caption(widgets.plain(f"Cards without pictures: {error}"))
        return None
    key = ("embedding cards", found.request.dataset, found.request.split, found.request.limit, tuple(rows))
    sheet: Sheet = dataset_images.memo()(key, lambda: _drawn(data, rows))
    return sheet


def _drawn(data: ImageSource, rows: Sequence[int]) -> Sheet:
    small = thumbnails.small(thumbnails.images_of(data, rows))
    return Sheet(thumbnails.sheet([small]), 1, small.shape[-1])


def opening(found: Embedding, image_id: str, step: int) -> links.Choices:
    """The choices of the Explain page that show an image with the same networks and condition."""
    request = found.request
    names = [*request.models, ""]
    chosen = {**links.picture(request.dataset, request.split, image_id), "a": [names[0]], "b": [names[1]]}
    if not step:
        return {**chosen, "degradation": ["none"]}
    return {
        **chosen,
        "degradation": [request.degradation],
        "scale": [request.scale],
        "severity": [f"{request.severities[step - 1]:g}"],
        "seed": [str(request.seed)],
    }


def _neighbours(found: Embedding, row: int, step: int) -> None:
    """The nearest images of one image, as each network sees it."""
    for letter, one in zip("AB", found.maps, strict=False):
        st.markdown(f"**Nearest to it in {letter}** (clean, nearest first, in features)")
        _cards(found, one.neighbours[row].tolist(), step, f"nearest {letter}", f"Nearest images in {letter}")


def _take_home(found: Embedding, rows: np.ndarray, step: int) -> None:
    """The selection as CSV."""
    label = f"CSV of {len(rows):,} image{'' if len(rows) == 1 else 's'}"
    make = lambda: tables.as_csv(image_rows(found, rows, step))  # noqa: E731
    help_words = (
        "Ids, classes, places in both maps, and what each network says of the images that are selected."
    )
    widgets.download(label, make, "selection.csv", "text/csv", key="selection.csv", help=help_words)


def image_rows(found: Embedding, rows: np.ndarray, step: int) -> list[dict[str, str | int | float | None]]:
    """One row for each selected image: where it lies, and what each network says at the severity shown."""
    table = []
    for row in rows.tolist():
        line: dict[str, str | int | float | None] = {
            "id": found.ids[row],
            "label": found.classes[found.labels[row]],
        }
        for place, letter in enumerate("AB"[: len(found.maps)]):
            one, said = found.maps[place], answers_at(found, place, step)
            points = one.degraded[step - 1].coordinates if step else one.coordinates
            line |= {
                f"{letter}_x": float(points[row, 0]),
                f"{letter}_y": float(points[row, 1]),
                f"{letter}_predicted": found.classes[said.predicted[row]],
                f"{letter}_confidence": round(float(said.confidence[row]), 4),
            }
        table.append(line)
    return table
