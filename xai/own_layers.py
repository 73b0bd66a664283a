"""The layers that a network offers for heatmaps, in the words in which they are proposed."""

from __future__ import annotations

from models.registry import Model
from xai.feature_layers import layer_table
from xai.tables import Row
from xai.taps import usable_layers


def layer_rows(model: Model) -> list[Row]:
    """The layers that can be tapped at the network's input size, in the order in which they run, as rows of a table.

    Proposed are the stages, with the one that is tapped where none is named; modules that are called several times
    have their number of calls, each of which can be tapped as `NAME#2`.
    """
    grids = usable_layers(model, model.input_size)
    infos = {info.name: info for info in layer_table(model, model.input_size)}
    return [
        {
            "layer": name,
            "kind": info.kind,
            "channels": info.channels,
            "grid": f"{grids[name][0]}x{grids[name][1]}",
            "calls": info.calls,
            "proposed": "default" if name == model.default_layer else "yes" if name in model.stages else "",
        }
        for name, info in infos.items()
        if name in grids
    ]


def head_words(model: Model) -> str:
    """What comes after the last stage, and what follows for heatmaps."""
    if model.head == "pool_linear":
        return "Head: global average pooling and one linear layer; there Grad-CAM and HiResCAM give the same map."
    return "Head: more than pooling and one linear layer; Grad-CAM and HiResCAM differ there."


def called_again(model: Model) -> list[str]:
    """Modules that run several times, with their number of calls."""
    table = layer_table(model, model.input_size)
    return [f"{info.name} ({info.kind}, {info.calls} calls)" for info in table if info.calls > 1]
