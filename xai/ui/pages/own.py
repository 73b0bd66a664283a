"""The page "Your own": a visitor brings a network and pictures, and uses them on every page."""

import streamlit as st

from xai.ui import loading, state

st.title("Your own")
st.markdown(
    "Bring a network, as a file of weights, and pictures, as a ZIP with one folder for each class. Nothing in a file "
    "is ever run. Begin with the network, which is checked before you keep it; the classes of your pictures are then "
    "matched with its own."
)
state.start("own")
loading.wait()

from xai.ui import own_page  # noqa: E402  (torch is imported once the title is on the page)

own_page.draw()
