"""The Channel page: what one channel, unit or class of a network responds to, and its counterpart in another."""

import streamlit as st

from xai.ui import loading, state

st.title("One channel")
st.markdown(
    "What a channel, a unit or a class responds to: a picture made for it, the images that excite it most, "
    "what it speaks for, and its counterpart in another network. Choose a layer and the number of a channel on the "
    "left, or open one on the page Features."
)
state.start("channel")
loading.wait()

from xai.ui import channel_page  # noqa: E402  (torch is imported once the title is on the page)

channel_page.draw()
