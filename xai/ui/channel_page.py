"""The Channel page from its first widget to its last figure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from xai.ui import (
    channel_alike,
    channel_choice,
    channel_images,
    channel_sheet,
    channel_visualization,
    layer_choice,
    showing,
    state,
    widgets,
)
from xai.ui.channel_choice import Chosen

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
    "part",
)


def draw() -> None:
    """Draw the page; what can't be done is said in one sentence."""
    with showing.one_sentence():
        _draw()


def _draw() -> None:
    chosen = channel_choice.choose()
    channel_choice.say(chosen)
    if not chosen.class_name:
        with st.expander("Pick the layer on a drawing of the network"):
            label = f"Layers of {chosen.model.name}"
            layer_choice.draw(chosen.model, channel_choice.LAYER_KEY, chosen.layer, label)
    for part in (channel_visualization.draw, channel_images.draw):
        with showing.one_sentence():
            part(chosen)
    st.divider()
    options: dict[str, Any] = {"words": TITLES.__getitem__, "draw": st.radio, "horizontal": True}
    part_name = widgets.one_of("More of it", "part", list(PARTS), "classes", **options)
    with showing.one_sentence():
        PARTS[part_name](chosen)
    showing.ignored()
    state.write_link(LINK_KEYS)
