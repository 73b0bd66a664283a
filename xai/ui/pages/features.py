"""The Features page: what each layer computes on a picture, clean and degraded, in one or two networks."""

import streamlit as st

from xai.ui import loading, state

st.title("Feature maps")
st.markdown(
    "What each channel of a layer answers to a picture, what a degradation changes, and where a network loses it. "
    "Choose a layer, then open a channel to see what else it looks for."
)
state.start("features")
loading.wait()

from xai.ui import features_page  # noqa: E402  (torch is imported once the title is on the page)

features_page.draw()
