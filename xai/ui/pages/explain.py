"""The Explain page: a picture, one or two networks, clean and degraded, as one figure to take home."""

import streamlit as st

from xai.ui import loading, state

st.title("Explain a decision")
st.markdown(
    "What each of two networks looks at when it decides, and what a degradation changes. Choose a picture on the "
    "left (or take the one shown), then move the severity."
)
state.start("explain")
loading.wait()

from xai.ui import explain_page  # noqa: E402  (torch is imported once the title is on the page)

explain_page.draw()
