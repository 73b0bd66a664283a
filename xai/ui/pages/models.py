"""The Networks page: every trained network, one of them closely, and what papers claim of such networks."""

import streamlit as st

from xai.ui import loading, state

st.title("Networks")
st.markdown(
    "Every trained network, with what it was trained on, how well it does, and how sure that is. Choose one, in the "
    "table or below it, to see its card, classes, layers and training."
)
state.start("models")
loading.wait()

from xai.ui import network_page  # noqa: E402  (torch is imported once the title is on the page)

network_page.draw()
