"""What the Channel page is about: a channel, a unit or a class of network A, and network B to find a counterpart in."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from models.registry import Model
from xai import export, feature_maps, receptive_field
from xai.attribution_types import ExplanationError
from xai.feature_maps import LayerInfo
from xai.ui import controls, layer_choice, widgets

WHAT = {"channel": "Channel", "unit": "Unit: a channel at one cell", "class": "Class"}
WHAT_HELP = "A channel is the same filter at all places, a unit its answer at one place, a class the logit at the end."
CHANNEL_HELP = "Its number within the layer, as the Features page shows it."
CELL_HELP = "Where on the layer's grid the unit stands, from the top left, 0 first."
LAYER_KEY = "feature_layer"
KEYS = ("a", "b", "what", LAYER_KEY, "channel", "cell_row", "cell_column", "class")


@dataclass(frozen=True)
class Chosen:
    """A channel of a layer of `model`, one `cell` of it, or the logit of a class; `other` is network B, if any."""

    model: Model
    other: Model | None
    info: LayerInfo
    channel: int
    cell: tuple[int, int] | None = None
    class_name: str = ""

    @property
    def layer(self) -> str:
        """The layer's dotted name; for a class, the layer that gives the logits."""
        return self.info.name

    @property
    def objective(self) -> str:
        """What a visualisation of it makes large."""
        if self.class_name:
            return f"class:{self.class_name}"
        place = "" if self.cell is None else f":{self.cell[0]},{self.cell[1]}"
        return f"{'unit' if self.cell else 'channel'}:{self.layer}:{self.channel}{place}"

    @property
    def channel_words(self) -> str:
        """The whole channel, also where one of its cells is chosen: what images and classes are asked about."""
        return f"class {self.class_name}" if self.class_name else f"channel {self.channel} of {self.layer}"

    @property
    def facts(self) -> dict[str, object]:
        """What a manifest says of the channel."""
        return {"layer": self.layer, "channel": self.channel, "class": self.class_name or None}

    @property
    def stem(self) -> str:
        """What names of files say of the network and the whole channel."""
        return export.safe_stem(f"{self.model.name}-{self.channel_words.replace(' ', '-')}")

    @property
    def words(self) -> str:
        """What it is, in words."""
        if self.class_name:
            return f"class {self.class_name}"
        place = "" if self.cell is None else f" at row {self.cell[0]}, column {self.cell[1]}"
        return f"channel {self.channel} of {self.layer}{place}"


def choose() -> Chosen:
    """Draw the choices in the column on the left; raises `ValueError` where a network can't be had."""
    with st.sidebar:
        st.subheader("Networks")
        networks = controls.networks()
        st.subheader("What to look at")
        what = widgets.one_of(
            "Kind", "what", list(WHAT), "channel", WHAT.__getitem__, st.radio, help=WHAT_HELP
        )
        model, *others = networks.models
        other = others[0] if others else None
        return _class(model, other) if what == "class" else _channel(model, other, what)


def _channel(model: Model, other: Model | None, what: str) -> Chosen:
    layer = layer_choice.choose(model, LAYER_KEY, model.default_layer, "Layer of A")
    info = layer_choice.info(model, layer)
    last = info.channels - 1
    channel = int(
        widgets.number(
            f"Channel, 0 to {last:,}", "channel", (0, last), 0, 1, st.number_input, help=CHANNEL_HELP
        )
    )
    return Chosen(model, other, info, channel, _cell(info) if what == "unit" else None)


def _cell(info: LayerInfo) -> tuple[int, int]:
    """The cell of a unit: the centre, until another is chosen."""
    found = []
    for label, key, size in zip(("Row", "Column"), ("cell_row", "cell_column"), info.grid, strict=True):
        options = [str(number) for number in range(size)]
        found.append(
            int(widgets.one_of(f"{label} of the cell", key, options, str(size // 2), help=CELL_HELP))
        )
    return found[0], found[1]


def _class(model: Model, other: Model | None) -> Chosen:
    name = widgets.one_of(
        "Class", "class", model.classes, model.classes[0], help="The class whose logit is looked at."
    )
    return Chosen(model, other, logits(model), model.classes.index(name), None, name)


def logits(model: Model) -> LayerInfo:
    """The layer that gives the logits; raises `ExplanationError` where no layer does so alone."""
    last = feature_maps.layer_table(model, model.input_size)[-1]
    if last.note or last.channels != len(model.classes):
        raise ExplanationError(
            f"No layer of {model.name} gives its logits alone, so no images can be found for a class."
        )
    return last


def say(chosen: Chosen) -> None:
    """What is looked at, and how much of the image one cell of it sees."""
    model, info = chosen.model, chosen.info
    size = model.input_size
    cell = chosen.cell or (info.grid[0] // 2, info.grid[1] // 2)
    with model.lock:
        box = receptive_field.receptive_field(model.network, info.name, cell, size)
    height, width = box.size
    where = "the cell" if chosen.cell else "a cell in the middle"
    who = "it" if info.grid == (1, 1) else where
    part = f"{height} × {width} of the {size} × {size} px"
    sees = f"{who} sees {'the whole image' if box.share(size) == 1 else part}"
    shape = layer_choice.words(info.grid, info.channels)
    st.markdown(f"**{widgets.plain(chosen.words)}** of {widgets.plain(model.name)} · {shape} · {sees}")
