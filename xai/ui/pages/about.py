"""The About page: what the app is, how to read it, and how to cite it."""

import streamlit as st

from xai.ui import about_page, state

st.title("About")
state.start("about")
about_page.draw()
