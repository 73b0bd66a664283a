"""The choice of a layer: by its name, or on a drawing of the network."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from models.registry import Model
from xai import feature_maps
from xai.feature_maps import LayerInfo
from xai.ui import help_texts, network_drawing, state, widgets


def _offered(model: Model) -> dict[str, LayerInfo]:
    """The layers whose channels can be looked at, in the order in which they run."""
    return {info.name: info for info in feature_maps.shown_layers(model, model.input_size)}


MATCH = "auto"
"""The choice of the layer that fits that of the other network."""


def choose(model: Model, key: str, default: str, label: str, more: Mapping[str, str] | None = None) -> str:
    """Draw the choice of one of the network's layers by name, or of one of `more` names with their words."""
    titles = {name: f"{name} ({words(info.grid, info.channels)})" for name, info in _offered(model).items()}
    titles = {**(more or {}), **titles}
    usual = default if default in titles else next(reversed(titles))
    return widgets.one_of(label, key, list(titles), usual, titles.__getitem__, help=help_texts.LAYER)


def draw(model: Model, key: str, chosen: str, label: str) -> None:
    """Draw the network with its layers; one that is picked becomes the choice of `key`."""
    table = feature_maps.layer_table(model, model.input_size)
    picked = network_drawing.pick_layer(table, chosen, f"{key} drawing {model.name}", label)
    if picked and picked != chosen:
        state.adopt({key: [picked]})
        st.rerun()


def info(model: Model, layer: str) -> LayerInfo:
    """What is known of a layer that can be looked at."""
    return _offered(model)[layer]


def channels(model: Model, layer: str) -> int:
    """How many channels a layer has."""
    return _offered(model)[layer].channels


def words(grid: tuple[int, int], channels: int) -> str:
    """Grid and channels, as `8 × 8 × 256`."""
    return f"{grid[0]} × {grid[1]} × {channels}"
