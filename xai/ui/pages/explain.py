"""The Explain page: a picture, one or two networks, clean and degraded, as one figure to take home."""

import streamlit as st

from xai.ui import loading, state

st.title("Explain a decision")
st.markdown(
    "Choose a picture and two networks on the left: see what each looks at, and what a degradation changes."
)
state.start("explain")
loading.wait()

from xai.ui import explain_page  # noqa: E402  (torch is imported once the title is on the page)

explain_page.draw()
