"""The Errors page: where networks fail, class by class and image by image, clean and degraded."""

import streamlit as st

from xai.ui import loading, state

st.title("Errors")
st.markdown(
    "Where networks fail, class by class and image by image, and what a degradation changes. Choose two networks and a "
    "condition; a click on a number, or the fields under Images, show the images behind it, which open in Explain."
)
state.start("errors")
loading.wait()

from xai.ui import error_page  # noqa: E402  (torch is imported once the title is on the page)

error_page.draw()
