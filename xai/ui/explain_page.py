"""The Explain page from its first widget to its last table."""

from __future__ import annotations

import streamlit as st

from xai.comparison import Comparison, Request
from xai.figures import Style
from xai.ui import controls, explaining, exports, faithfulness_view, pictures, showing, state


def draw() -> None:
    """Draw the page; what can't be done is said in one sentence."""
    with showing.one_sentence():
        _draw()


def _draw() -> None:
    with st.sidebar:
        st.subheader("Picture")
        offer = pictures.choose()
    source = showing.pick(offer)
    if source is None:
        return
    picture = pictures.open_picture(source)
    with st.sidebar:
        st.subheader("Networks")
        chosen = controls.networks()
    degrading = controls.degrading(chosen.size)
    with st.sidebar:
        st.subheader("Explanation")
        request = controls.explanation(chosen, picture, degrading)
        st.subheader("Figure")
        style = controls.style()
    showing.ignored()
    state.write_link(controls.LINK_KEYS)
    done = explaining.awaited(request, picture)
    showing.summary(done)
    showing.figure(done, style)
    showing.notes(done)
    _take_home(offer, request, done, style)
    showing.tables(done)
    faithfulness_view.draw(done)


def _take_home(offer: pictures.Offer, request: Request, done: Comparison, style: Style) -> None:
    st.subheader("Take it home")
    exports.draw(done, style)
    if len(offer.sources) > 1:
        exports.draw_all(offer, request, style)
