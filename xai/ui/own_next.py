"""What to do with what was brought: Explain, a small sweep, and Compare, with the right choices made."""

from __future__ import annotations

import streamlit as st

from xai.ui import explaining, own_keep_view, own_shelf, ways, widgets


def draw() -> None:
    """Draw a button for each page that what is here can be used on."""
    model, name = own_keep_view.kept(), _pictures()
    if not model and not name:
        return
    st.subheader("What next")
    card = explaining.cards().get(model)
    told = [each for each in (model, "your pictures" if name else "") if each]
    st.caption(widgets.plain(f"With {' and '.join(told)}:"))
    ways.draw(card, name)
    if card is not None and name is None:
        st.caption("Pictures of your own, brought under Images, take the place of a dataset's here.")


def _pictures() -> str | None:
    """Pictures of this visitor, those that were put on the shelf last, in the size of the network kept last."""
    archives = [*own_shelf.shelf().archives.values()]
    if not archives:
        return None
    card = explaining.cards().get(own_keep_view.kept())
    chosen = own_shelf.shelf().archives.get(st.session_state.get("own_archive", ""), archives[-1])
    size = card.input_size if card and card.input_size in chosen.sizes else chosen.sizes[0]
    return own_shelf.sized(chosen.name, size)
