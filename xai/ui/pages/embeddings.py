"""The Embeddings page: how one or two networks arrange the same images, clean and degraded."""

import streamlit as st

from xai.ui import loading, state

st.title("Embeddings")
st.markdown(
    "Each point is an image; images lie together that a network finds alike. Draw around points (or find a class by "
    "its name) to see their images in both networks, and move the severity to see where degradation takes them."
)
state.start("embeddings")
loading.wait()

from xai.ui import embedding_page  # noqa: E402  (torch is imported once the title is on the page)

embedding_page.draw()
