"""The Compare page: how the decisions of two networks differ, in pictures and with evidence."""

import streamlit as st

from xai.ui import loading, state

st.title("Compare")
st.markdown(
    "How two networks decide, on clean and on degraded images: what differs, what does not, and what can't be said. "
    "Choose two networks on the left, read the answers, then look closely at one of them."
)
state.start("compare")
loading.wait()

from xai.ui import compare_page  # noqa: E402  (torch is imported once the title is on the page)

compare_page.draw()
