"""The Networks page: the card of every network on this machine."""

import streamlit as st

from xai.ui import loading

st.title("Networks")
st.markdown("Every network on this machine, with what it was trained on and how well it does.")
loading.wait()

from xai.ui import cards_view  # noqa: E402  (torch is imported once the title is on the page)

cards_view.draw()
