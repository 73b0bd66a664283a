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
    return widgets.one_of("Answers of", "of", known.readers, "a", chosen.letter)


def draw(chosen: Chosen, known: Asked, above_reader: str | None) -> Choice:
    """Draw all fields, but for the reader's if it stands above, as it does with the confusion matrix."""
    names = chosen.board.classes
    above = st.columns([3, 2, 2, 3])
    with above[0]:
        kinds = error_selection.offered(known)
        kind = widgets.one_of("Which images", "kind", kinds, "a_wrong", lambda name: KINDS[name].title)
    with above[1]:
        true = _class("True class", "true", names)
    with above[2]:
        said = _class("Answered", "said", names)
    with above[3]:
        whose = above_reader or reader(chosen, known)
    below = st.columns([3, 2, 3], vertical_alignment="bottom")
    with below[0]:
        orders = error_selection.orders(known)
        order = widgets.one_of("Sorted by", "order", orders, "margin", lambda name: ORDERS[name].title)
    with below[1]:
        reverse = widgets.switch("Smallest first", "reverse", False)
    with below[2]:
        text = widgets.text("Find in id or class", "find", MAX_TEXT)
    return Choice(kind, _number(true, names), _number(said, names), whose, text, order, reverse)


def _class(label: str, key: str, names: tuple[str, ...]) -> str:
    return widgets.one_of(label, key, (ANY, *names), ANY, lambda name: name or "any")


def _number(name: str, names: tuple[str, ...]) -> int:
    return names.index(name) if name else -1
