"""The Robustness page: what degraded images cost each network, and which differences are real."""

import streamlit as st

from xai.ui import loading, state

st.title("Robustness")
st.markdown(
    "How accuracy falls as images get worse, for which network, and how sure that is. The answers were computed "
    "before: choose images and networks, then a part of the page; at the bottom a small sweep computes more."
)
state.start("robustness")
loading.wait()

from xai.ui import robustness_page  # noqa: E402  (torch is imported once the title is on the page)

robustness_page.draw()
