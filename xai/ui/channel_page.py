"""The Channel page from its first widget to its last figure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from xai.ui import (
    channel_alike,
    channel_choice,
    channel_images,
    channel_jobs,
    channel_sheet,
    channel_visualization,
    layer_choice,
    showing,
    state,
    widgets,
)
from xai.ui.channel_choice import Chosen

FEATURES = "xai/ui/pages/features.py"
BACK_HELP = (
    "All channels of this layer on the Features page, with the picture and networks that are chosen there."
)
PART_HELP = "One at a time, as each asks the network about many images."
PARTS: dict[str, Callable[[Chosen], None]] = {
    "classes": channel_images.classes,
    "severity": channel_images.severity,
    "counterpart": channel_alike.counterpart,
    "layers": channel_alike.layers,
    "sheet": channel_sheet.draw,
}
TITLES = {
    "classes": "Classes it speaks for",
    "severity": "Under degradation",
    "counterpart": "Counterpart in B",
    "layers": "Layers alike (CKA)",
    "sheet": "Contact sheet",
}
LINK_KEYS = (
    *channel_choice.KEYS,
    *channel_visualization.KEYS,
    *channel_images.KEYS,
    *channel_alike.KEYS,
    *channel_sheet.KEYS,
    "channel_part",
)


def draw() -> None:
    """Draw the page; what can't be done is said in one sentence."""
    with showing.one_sentence():
        _draw()


def _draw() -> None:
    top = st.container()
    chosen = channel_choice.choose()
    channel_choice.say(chosen)
    elsewhere = channel_jobs.begin()
    if not chosen.class_name:
        if st.button("Back to the layer's maps", icon=":material/arrow_back:", help=BACK_HELP):
            st.switch_page(FEATURES)
        with st.expander("Pick the layer on a drawing of the network"):
            label = f"Layers of {chosen.model.name}"
            layer_choice.draw(chosen.model, channel_choice.LAYER_KEY, chosen.layer, label)
    for part in (channel_visualization.draw, channel_images.draw):
        with showing.one_sentence():
            part(chosen)
    st.divider()
    options: dict[str, Any] = {
        "words": TITLES.__getitem__,
        "draw": st.radio,
        "horizontal": True,
        "help": PART_HELP,
    }
    part_name = widgets.one_of("What else to see of it", "channel_part", list(PARTS), "classes", **options)
    with showing.one_sentence():
        PARTS[part_name](chosen)
    channel_jobs.finish(elsewhere)
    with top:
        showing.ignored()
    state.write_link(LINK_KEYS)
