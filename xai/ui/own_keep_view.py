"""Keeping a network that a visitor brought, for every page and every visitor, and removing one again."""

from __future__ import annotations

import streamlit as st

from models import third_party
from models.import_request import check_name
from models.third_party import Brought
from xai import own_removal
from xai.own_network_rows import Check
from xai.ui import explaining, widgets

KEPT, SAID, FAILED = "own_kept", "own_said", "own_keep_failed"


def keep(brought: Brought, check: Check | None) -> None:
    """Draw the button that keeps the network, and what came of it."""
    name = brought.model.card.name
    st.subheader("Keep it")
    if st.session_state.get(KEPT) == (name, _weights(name)) and not _changed(brought):
        st.success(widgets.plain(f"{name} is listed on every page."))
        return
    replaced = _replaced(name)
    if replaced is None:
        return
    if check is None:
        st.caption("It has not been checked as it stands.")
    st.button(
        "Keep this network",
        type="primary",
        on_click=_keep,
        args=(brought, replaced),
        icon=":material/save:",
        help="It is stored on this server as it stands, and every page lists it, for all visitors.",
    )
    if failed := st.session_state.pop(FAILED, None):
        st.error(widgets.plain(failed), icon=":material/error:")


def _weights(name: str) -> str:
    card = explaining.cards().get(name)
    return card.sha256 if card else ""


def _changed(brought: Brought) -> bool:
    """Whether the network of this name that is kept was brought in another way."""
    kept, card = explaining.cards()[brought.model.card.name], brought.model.card
    return (kept.recipe, kept.classes, kept.input_size, kept.architecture) != (
        card.recipe,
        card.classes,
        card.input_size,
        card.architecture,
    )


def _replaced(name: str) -> bool | None:
    """Whether a network of that name is replaced; None where it can't be, or is not wanted."""
    if problem := _problem(name, name in own_removal.removable(explaining.cards())):
        st.warning(widgets.plain(problem))
        return None
    if name not in explaining.cards():
        return False
    words = f"Replace the network {name} that was brought in before, for all visitors"
    if widgets.switch(
        widgets.plain(words), f"own_replace {name}", False, help="Or choose another name above."
    ):
        return True
    st.info(widgets.plain(f"There is a network {name} already: choose another name, or replace it."))
    return None


@st.cache_data(show_spinner=False, ttl=explaining.CARDS_SECONDS, max_entries=100)
def _problem(name: str, replace_it: bool) -> str:
    """Why a network may not have this name, empty where it may; to know it, every card is read."""
    try:
        check_name(name, replace_it)
    except ValueError as error:
        return str(error)
    return ""


def _keep(brought: Brought, replaced: bool) -> None:
    try:
        card = third_party.keep(brought, replace_it=replaced)
    except (ValueError, OSError) as error:
        st.session_state[FAILED] = str(error)
        return
    _read_again()
    st.session_state[KEPT] = card.name, card.sha256


def kept() -> str:
    """Name of the network that this visitor kept last, empty where there is none."""
    name, _sha256 = st.session_state.get(KEPT, ("", ""))
    return name if name in explaining.cards() else ""


def remove() -> None:
    """Draw the list of networks that were brought in, and the way to remove one."""
    found = own_removal.removable(explaining.cards())
    with st.expander(f"Networks that were brought in: {len(found)}"):
        if said := st.session_state.pop(SAID, None):
            st.success(widgets.plain(said))
        if not found:
            st.caption("None so far. What you keep is listed here, and can be removed again.")
            return
        widgets.table(
            [
                {"name": name, "architecture": card.architecture, "classes": f"{len(card.classes):,}"}
                | {"file": card.recipe.get("source", ""), "MB": f"{card.megabytes or 0:.1f}"}
                for name, card in found.items()
            ]
        )
        help_words = "Networks that were trained here, or come with the project, are not offered."
        name = widgets.one_of(
            "Network to remove", "own_remove", list(found), next(iter(found)), help=help_words
        )
        words = widgets.plain(f"Yes, remove {name} from this server, for all visitors")
        sure = st.checkbox(
            words, key=f"own_remove_sure {name}", help="Figures and answers made with it stay."
        )
        st.button(
            "Remove it",
            disabled=not sure,
            on_click=_remove,
            args=(name,),
            icon=":material/delete:",
            help="Tick the box above first.",
        )


def _remove(name: str) -> None:
    try:
        own_removal.remove(name)
        st.session_state[SAID] = f"{name} was removed."
    except (ValueError, OSError) as error:
        st.session_state[SAID] = str(error)
    _read_again()


def _read_again() -> None:
    """Let every page see which networks there are now."""
    explaining.cards.clear()
    _problem.clear()
