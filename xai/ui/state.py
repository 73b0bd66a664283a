"""What a visitor chose: kept across pages, shared as a link, and read from a link without trusting it.

Choices are kept as they stand in a link: a list of strings for each key. Widgets lose their values when another
page is shown; the choices here don't.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import streamlit as st

T = TypeVar("T")
Choices = dict[str, list[str]]
CHOICES, UNREAD, IGNORED = "choices", "unread_link", "ignored_link"
PAGE, SEEDED, DEFAULTS = "page_drawn", "widgets_with_choices", "defaults_in_use"
GIVEN = "values_given_to_widgets_in_a_run"
SHOWN, WRITTEN, KEYS = "values_shown", "links_written", "keys_of_link"
MAX_LINKS = 50
"""Links of a page that the browser may go back to."""
MAX_KEYS, MAX_VALUES, MAX_LENGTH = 40, 24, 300
"""What is read of a link at most: its keys, values for each, and characters of each."""


def start(page: str) -> None:
    """Begin to draw a page. A link is read when a session begins, when somebody follows it within the app, and when the
    browser goes back to an earlier one; other runs go by what was chosen."""
    came = st.session_state.get(PAGE) != page
    if came:
        _forget_widgets()
    st.session_state[PAGE] = page
    known = st.session_state.get(WRITTEN, {}).get(page, [])
    if CHOICES not in st.session_state:
        st.session_state.update({CHOICES: {}, UNREAD: set(), IGNORED: []})
        _follow()
    elif came and (address := _address()) and address not in known:
        _follow()
    elif _went_back(known, came):
        _return_to(page)


def _address() -> Choices:
    """What the address says now."""
    return {key: st.query_params.get_all(key) for key in st.query_params}


def _follow() -> None:
    """Take what the address says, as far as it is short enough."""
    found = {key: values[:MAX_VALUES] for key, values in list(_address().items())[:MAX_KEYS]}
    sane = {key: values for key, values in found.items() if all(len(v) <= MAX_LENGTH for v in values)}
    st.session_state[CHOICES].update(sane)
    st.session_state[UNREAD].update(found)


def _went_back(known: Sequence[Choices], came: bool) -> bool:
    """Whether the browser went back or forward to one of the `known` addresses that this page had, the last one last.

    The address may also be an earlier one because the browser has not yet heard of the last: then some widget has
    another value than it was last seen with, as a run without a reason does not happen.
    """
    address = _address()
    if came:  # the column of pages leads to a page without choices, and keeps those that there are
        return bool(address) and address in known
    shown = st.session_state.get(SHOWN, {})
    return address in known[:-1] and all(st.session_state.get(key) == value for key, value in shown.items())


def _return_to(page: str) -> None:
    """Choose again what an earlier address of the page says, and what is usual of the rest."""
    choices = st.session_state[CHOICES]
    for key in st.session_state[KEYS][page]:
        choices.pop(key, None)
    choices.update(_address())
    _forget_widgets()


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

    Nothing is assigned in that case: it would send the widget back to where it was while its user moves on. But another
    choice may end a run before the browser has drawn what it was sent, and the widget would then show its first option,
    or nothing: what was given a value in a run that did not end is given it again, as long as it has that value.
    """
    st.session_state.setdefault(SEEDED, set()).add(key)
    given = st.session_state.setdefault(GIVEN, {})
    if key not in st.session_state or not fits(st.session_state[key]):
        st.session_state[key] = given[key] = fallback()
    elif key in given and st.session_state[key] == given[key]:
        st.session_state[key] = given[key]
    else:
        given.pop(key, None)


def finish() -> None:
    """Note that a run of a page has come to its end, so that the browser has all that it was sent."""
    st.session_state.pop(GIVEN, None)


def follow(key: str, default: str) -> None:
    """Let the widget `key` go with its default where that is now another and it shows the earlier one, which nobody
    chose; called before `seed`."""
    defaults = st.session_state.setdefault(DEFAULTS, {})
    before = defaults.get(key, default)
    chosen = key in st.session_state[CHOICES] or st.session_state.get(key, before) != before
    if before != default and not chosen:
        st.session_state.pop(key, None)
    defaults[key] = default


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
    if _address() != wanted:
        st.query_params.from_dict(wanted)
    _remember(wanted, keys)


def _remember(link: Choices, keys: Sequence[str]) -> None:
    """Keep the links that this page had, oldest first, and what its widgets show with the last one."""
    links = st.session_state.setdefault(WRITTEN, {}).setdefault(st.session_state[PAGE], [])
    if link in links:
        links.remove(link)
    links[:] = [*links[1 - MAX_LINKS :], link]
    st.session_state.setdefault(KEYS, {})[st.session_state[PAGE]] = tuple(keys)
    seeded = st.session_state.get(SEEDED, ())
    st.session_state[SHOWN] = {key: st.session_state[key] for key in seeded if key in st.session_state}


def ignored() -> list[str]:
    """Labels of what the link asked for and is not offered, and how much of it was not understood; said once."""
    unread, labels = st.session_state[UNREAD], st.session_state[IGNORED]
    unknown = [f"{len(unread)} unknown {'entry' if len(unread) == 1 else 'entries'}"] if unread else []
    found = [*labels, *unknown]
    unread.clear()
    labels.clear()
    return found
