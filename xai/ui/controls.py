"""The column of choices of the Explain page: what is chosen comes back as plain values."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from data import degradations, images
from models import zoo
from models.registry import Model
from xai import figures
from xai.attribution import METHODS
from xai.attribution_types import FAMILIES
from xai.comparison import Picture, Request
from xai.figures import Style
from xai.ui import explaining, widgets

AUTOMATIC = "auto"
STEP = 0.25
LINK_KEYS = (
    *("source", "split", "scene", "sample", "a", "b", "methods", "target", "layers_a", "layers_b"),
    *(
        "degradation",
        "scale",
        "severity",
        "seed",
        "resize",
        "width",
        "opacity",
        "colours",
        "diverging",
        "mask",
    ),
)
"""What a link may say; all of them are validated, and uploads are never part of one."""
RESIZE_WORDS = {
    "crop": "Crop the centre (aspect kept)",
    "pad": "Pad with grey (aspect kept)",
    "squash": "Squash (aspect ignored)",
}


@dataclass(frozen=True)
class Networks:
    """The networks to compare, one or two."""

    models: tuple[Model, ...]

    @property
    def size(self) -> int:
        """Input size of network A in pixels."""
        return self.models[0].input_size

    def common_classes(self) -> list[str]:
        """Classes that all of them know, in the order of network A."""
        return [name for name in self.models[0].classes if all(name in m.classes for m in self.models)]


def networks() -> Networks:
    """Choose network A and, if wanted, B; raises `CheckpointError` when one can't be loaded."""
    names = explaining.names()
    first, second = explaining.first_choice(names)
    a = widgets.one_of("Network A", "a", names, first, _network_words)
    b = widgets.one_of("Network B", "b", ("", *names), second, _network_words)
    return Networks(tuple(explaining.model(name) for name in dict.fromkeys((a, b)) if name))


def _network_words(name: str) -> str:
    return f"{name} (download)" if name in zoo.IMAGENET else name or "none"


def request(chosen: Networks, picture: Picture) -> Request:
    """Choose methods, target, layers and degradation."""
    methods = _methods()
    target = _target(chosen, picture)
    layers = {model.name: _layers(letter, model) for letter, model in zip("ab", chosen.models, strict=False)}
    degradation, scale, severity, seed = _degradation(chosen.size)
    return Request(
        models=tuple(model.name for model in chosen.models),
        methods=methods,
        target=target,
        layers={name: taps for name, taps in layers.items() if taps},
        degradation=degradation,
        severity=severity,
        scale="" if scale == AUTOMATIC else scale,
        resize=_resize(),
        seed=seed,
    )


def _methods() -> tuple[str, ...]:
    ordered = sorted(METHODS, key=lambda name: FAMILIES.index(METHODS[name].family))
    words = {name: f"{METHODS[name].title} ({METHODS[name].family})" for name in ordered}
    help_words = "Gradient methods answer at once; perturbation methods run the network hundreds of times."
    return widgets.some_of("Methods", "methods", ordered, ("gradcam",), words.__getitem__, help=help_words)


def _target(chosen: Networks, picture: Picture) -> str:
    words = {"predicted": "predicted class (of each network)"}
    if picture.label is not None:
        words["true"] = f"true class ({picture.label})"
    options = [*words, *chosen.common_classes()]
    return widgets.one_of(
        "Class to explain", "target", options, "predicted", lambda name: words.get(name, name)
    )


def _layers(letter: str, model: Model) -> tuple[str, ...]:
    grids = explaining.layers(model)
    words = {name: f"{name} ({height} × {width})" for name, (height, width) in grids.items()}
    label = f"Layers of {letter.upper()} (grid)"
    help_words = f"Where CAM methods look; several are fused. {model.default_layer} when none is chosen."
    key, default = f"layers_{letter}", (model.default_layer,)
    return widgets.some_of(label, key, list(grids), default, words.__getitem__, model.name, help=help_words)


def _degradation(size: int) -> tuple[str, str, float, int]:
    """Name, scale, severity and seed."""
    fitting = degradations.default_scale(size, size)
    words = {
        AUTOMATIC: f"what fits the network's input ({degradations.SCALES[fitting]})",
        **degradations.SCALES,
    }
    scale = widgets.one_of("Scale of severity", "scale", list(words), AUTOMATIC, words.__getitem__)
    resolved = fitting if scale == AUTOMATIC else scale
    names = ("none", *degradations.degradations_in(resolved))
    name = widgets.one_of("Degradation", "degradation", names, "gaussian_noise", _degradation_words)
    if name == "none":
        return name, scale, 0.0, 0
    levels = degradations.severity_levels(name, resolved)
    help_words = f"0 is the clean picture; whole numbers are {', '.join(levels)}."
    middle = (len(levels) + 1) / 2
    severity = widgets.number("Severity", "severity", (0.0, len(levels)), middle, STEP, help=help_words)
    seed = widgets.number("Seed of the noise", "seed", (0, 2**31 - 1), 0, 1, st.number_input)
    return name, scale, severity, int(seed)


def _degradation_words(name: str) -> str:
    return degradations.DEGRADATIONS[name].title if name != "none" else "none"


def _resize() -> str:
    options = list(images.RESIZE_MODES)
    return widgets.one_of(
        "Fit to the network's square", "resize", options, "crop", lambda name: RESIZE_WORDS.get(name, name)
    )


def style() -> Style:
    """Choose how the figure looks."""
    usual = Style()
    width = widgets.one_of("Width of the figure", "width", list(figures.WIDTHS), usual.width, _width_words)
    opacity = widgets.number("Opacity of the heatmap", "opacity", (0.0, 1.0), usual.opacity, 0.05)
    colours = widgets.one_of(
        "Colours of evidence", "colours", figures.SEQUENTIAL, usual.colours, _colour_words
    )
    diverging = widgets.one_of("Colours of signed maps", "diverging", figures.DIVERGING, usual.diverging)
    mask = widgets.switch("Outline the object where it is known", "mask", usual.show_mask)
    return Style(width, opacity, colours, diverging, mask)


def _width_words(name: str) -> str:
    return f"{name.replace('-', ' ')}, {figures.WIDTHS[name]:g} in"


def _colour_words(name: str) -> str:
    return f"{name} (uneven: shows edges that are not there)" if name == "jet" else name
