"""Which images the Errors page shows: the fields above them, and what a click on a table puts into them."""

from __future__ import annotations

import streamlit as st

from xai import error_selection
from xai.error_selection import KINDS, ORDERS, Asked, Choice
from xai.pairwise import Cell
from xai.ui import widgets
from xai.ui.error_data import Chosen

KEYS = ("kind", "true", "said", "of", "order", "reverse", "find")
ANY = ""
MAX_TEXT = 100
OF_HELP = "Whose answers count, and to which pictures: those of network A or B, clean or degraded."
KIND_HELP = "Who is right and who is wrong. A click on a table above makes the same choice."
ORDER_HELP = (
    "The margin is the confidence less the probability of the true class: at first come the surest mistakes."
)
FIND_HELP = "Only images whose id or true class has these letters, such as cat/07."


def of_class(name: str) -> None:
    """All images of a class."""
    _put(kind="all", true=name, said=ANY)


def of_cell(true: str, said: str, reader: str) -> None:
    """Images of a class that a reader answered so; any answer if `said` is empty."""
    _put(kind="all", true=true, said=said, of=reader)


def of_transition(cell: Cell | None) -> None:
    """Images of one cell of the transition table."""
    if cell is not None:
        _put(kind=error_selection.transition_name(cell), true=ANY, said=ANY)


def _put(**values: str) -> None:
    for key, value in values.items():
        st.session_state[key] = value
    st.session_state["find"] = ""


def reader(chosen: Chosen, known: Asked) -> str:
    """Draw whose answers are looked at; one of `error_selection.READERS`."""
    return widgets.one_of("Answers of", "of", known.readers, "a", chosen.letter, help=OF_HELP)


def draw(chosen: Chosen, known: Asked, above_reader: str | None) -> Choice:
    """Draw all fields, but for the reader's if it stands above, as it does with the confusion matrix."""
    names = chosen.board.classes
    above = st.columns([3, 2, 2, 3])
    with above[0]:
        kinds = error_selection.offered(known)
        title = lambda name: KINDS[name].title  # noqa: E731
        kind = widgets.one_of("Which images", "kind", kinds, "a_wrong", title, help=KIND_HELP)
    with above[1]:
        true = _class("True class", "true", names, "Only images of this class.")
    with above[2]:
        said = _class(
            "Answered", "said", names, "Only images to which this class was the answer of those chosen."
        )
    with above[3]:
        whose = above_reader or reader(chosen, known)
    below = st.columns([3, 2, 3], vertical_alignment="bottom")
    with below[0]:
        orders = error_selection.orders(known)
        title = lambda name: ORDERS[name].title  # noqa: E731
        order = widgets.one_of("Sorted by", "order", orders, "margin", title, help=ORDER_HELP)
    with below[1]:
        reverse = widgets.switch("Smallest first", "reverse", False, help="Turns the order around.")
    with below[2]:
        text = widgets.text("Find in id or class", "find", MAX_TEXT, help=FIND_HELP)
    return Choice(kind, _number(true, names), _number(said, names), whose, text, order, reverse)


def _class(label: str, key: str, names: tuple[str, ...], help_words: str) -> str:
    return widgets.one_of(label, key, (ANY, *names), ANY, lambda name: name or "any", help=help_words)


def _number(name: str, names: tuple[str, ...]) -> int:
    return names.index(name) if name else -1
