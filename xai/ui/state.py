"""What a visitor chose: kept across pages, shared as a link, and read from a link without trusting it.

Choices are kept as they stand in a link: a list of strings for each key. Widgets lose their values when another
page is shown; the choices here don't.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import streamlit as st

T = TypeVar("T")
CHOICES, UNREAD, IGNORED = "choices", "unread_link", "ignored_link"
PAGE, SEEDED = "page_drawn", "widgets_with_choices"
MAX_KEYS, MAX_VALUES, MAX_LENGTH = 40, 24, 300
"""What is read of a link at most: its keys, values for each, and characters of each."""


def start(page: str) -> None:
    """Begin to draw a page: the link is read when a session begins; later runs go by what was chosen."""
    if st.session_state.get(PAGE) != page:
        _forget_widgets()
    st.session_state[PAGE] = page
    if CHOICES in st.session_state:
        return
    keys = list(st.query_params)[:MAX_KEYS]
    found = {key: st.query_params.get_all(key)[:MAX_VALUES] for key in keys}
    sane = {key: values for key, values in found.items() if all(len(v) <= MAX_LENGTH for v in values)}
    st.session_state[CHOICES] = sane
    st.session_state[UNREAD] = set(found)
    st.session_state[IGNORED] = []


def _forget_widgets() -> None:
    """Drop what the widgets of the page before showed: those of the next page have the same keys, but are others.

    Streamlit gives them their first option, whatever stands under the key, unless the key is given a value anew.
    """
    for key in st.session_state.get(SEEDED, ()):
        st.session_state.pop(key, None)
    st.session_state[SEEDED] = set()


def recall(key: str, label: str, read: Callable[[Sequence[str]], T | None], default: T) -> T:
    """The kept choice of `key` as `read` understands it, else `default`; `read` gives None for what is not allowed.

    A choice that came with the link and is not allowed is noted under the widget's `label`.
    """
    unread = st.session_state[UNREAD]
    kept = st.session_state[CHOICES].get(key)
    value = None if kept is None else read(kept)
    if key in unread:
        unread.discard(key)
        if value is None:
            st.session_state[IGNORED].append(label)
    return default if value is None else value


def keep(key: str, values: Sequence[str], default: Sequence[str]) -> None:
    """Keep a choice; one that is the default is not part of the link."""
    choices = st.session_state[CHOICES]
    if list(values) == list(default):
        choices.pop(key, None)
    else:
        choices[key] = list(values)


def seed(key: str, fits: Callable[[Any], bool], fallback: Callable[[], Any]) -> None:
    """Give the widget `key` a value before it is drawn: `fallback()`, unless it shows one that is allowed.

    Nothing is assigned in that case: it would send the widget back to where it was while its user moves on.
    """
    st.session_state.setdefault(SEEDED, set()).add(key)
    if key not in st.session_state or not fits(st.session_state[key]):
        st.session_state[key] = fallback()


def adopt(choices: Mapping[str, Sequence[str]]) -> None:
    """Take choices for another page as if its link had said so."""
    st.session_state[CHOICES].update({key: list(values) for key, values in choices.items()})
    st.session_state[UNREAD].update(choices)
    for key in choices:
        st.session_state.pop(key, None)


def write_link(keys: Sequence[str]) -> None:
    """Make the page's address say what was chosen, for the `keys` that are in use."""
    choices = st.session_state[CHOICES]
    wanted = {key: choices[key] for key in keys if key in choices}
    if {key: st.query_params.get_all(key) for key in st.query_params} != wanted:
        st.query_params.from_dict(wanted)


def ignored() -> list[str]:
    """Labels of what the link asked for and is not offered, and how much of it was not understood; said once."""
    unread, labels = st.session_state[UNREAD], st.session_state[IGNORED]
    unknown = [f"{len(unread)} unknown {'entry' if len(unread) == 1 else 'entries'}"] if unread else []
    found = [*labels, *unknown]
    unread.clear()
    labels.clear()
    return found
