"""Where to go on with a network and images: Explain, a small sweep and Compare, with the right choices made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import streamlit as st

from data.catalogue import dataset
from data.datasets import DatasetError
from models.cards import Card
from xai.ui import dataset_images, explaining, links, state, widgets
from xai.ui.links import Choices

PAGE = "xai/ui/pages/{}.py"
Way = tuple[str, str, str, Callable[[], Choices]]
"""What a button says, its help, the page it leads to, and the choices made there."""


def draw(card: Card | None, name: str | None, more: Sequence[Way] = ()) -> None:
    """A button for each page that a network, the images of that name, or both can be used on, and for `more`."""
    with st.container(horizontal=True):
        for label, help_words, page, choices in [*_ways(card, name), *more]:
            if st.button(widgets.plain(label), icon=":material/arrow_forward:", help=help_words):
                state.adopt(choices())
                st.switch_page(PAGE.format(page))


def _ways(card: Card | None, name: str | None) -> Iterator[Way]:
    model = {"a": [card.name], "b": [""]} if card else {}
    yield (
        "Explain the first picture" if name else "Explain a picture",
        "What the network looks at, on the clean and on the degraded picture.",
        "explain",
        lambda: {**model, **(_first(name) if name else {})},
    )
    data = name or (card.dataset if card else "")
    if card is None or not _knows(card, data):
        return
    yield (
        "Run a small sweep",
        "How its accuracy falls as pictures get worse: open “Compute more answers” there.",
        "robustness",
        lambda: {"sweep_dataset": [data], "sweep_models": [card.name]},
    )
    if other := _other(card):
        yield (
            f"Compare with {other}",
            "How the two networks decide, and what differs beyond chance.",
            "compare",
            lambda: {"a": [card.name], "b": [other], "compare_images": [data], "compare_split": ["test"]},
        )


def _first(name: str) -> Choices:
    """The choices that show the first picture of the split that has one."""
    for split in ("test", "all"):
        try:
            return links.picture(name, split, dataset_images.opened(name, split).ids[0])
        except DatasetError:  # too few pictures for a test split, or dropped meanwhile
            continue
    return {}


def _knows(card: Card, name: str) -> bool:
    """Whether the network knows all classes of the pictures, at their size."""
    try:
        found = dataset(name)
    except DatasetError:  # what it was trained on is not here
        return False
    return found.image_size == card.input_size and set(found.classes) <= set(card.classes)


def _other(card: Card) -> str:
    """A network to compare it with: of the same size, with classes that both know."""
    return next(
        (
            name
            for name, other in explaining.cards().items()
            if name != card.name
            and other.input_size == card.input_size
            and set(other.classes) & set(card.classes)
        ),
        "",
    )
