"""The Train page: a small training or fine-tuning on a dataset or on the visitor's own pictures."""

import streamlit as st

from xai.ui import loading, state

st.title("Train")
st.markdown(
    "Train a small network on your own pictures, or fine-tune one that is here. What it will take is measured first; "
    "it runs on the server while you look at other pages. Choose images and a start on the left, then start it below."
)
state.start("train")
loading.wait()

from xai.ui import train_page  # noqa: E402  (torch is imported once the title is on the page)

train_page.draw()
