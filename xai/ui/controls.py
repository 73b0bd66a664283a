"""The column of choices of the Explain page: what is chosen comes back as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from data import degradations, resizing
from models import zoo
from models.registry import Model
from xai import figures
from xai.attribution import METHODS
from xai.attribution_types import FAMILIES
from xai.comparison import Picture, Request
from xai.figures import Style
from xai.ui import explaining, help_texts, state, widgets

AUTOMATIC = "auto"
STEP, SCALE = 0.25, "scale"
LINK_KEYS = (
    *(
        "source",
        "split",
        "scene",
        "sample",
        "images",
        "images_split",
        "image",
        "a",
        "b",
        "methods",
        "target",
        "layers_a",
        "layers_b",
    ),
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

TARGET_HELP = (
    "Maps show evidence for one class. Predicted: what each network says of the clean picture, which may differ; "
    ""
    "a named class is the same for both."
)
RESIZE_HELP = "Networks take squares: what is done to a picture of another shape before they see it."
OPACITY_HELP = "Of the heatmap over the picture: 0 shows the picture alone, 1 the map alone."
MASK_HELP = "The true outline of the object; drawn scenes and some folders have one."
WIDTH_HELP = "As wide as one or two columns of a paper; text keeps its size."
COLOURS_HELP = "Of values from nothing to most. All but jet are even to the eye, also to colour-blind ones."
SIGNED_HELP = (
    "Of values around zero, which stays white. All of these pairs are told apart by colour-blind readers."
)

WIDTH_WORDS = {
    name: f"{name.replace('two-column', 'two columns').replace('-', ' ')}, {inches:g} in"
    for name, inches in figures.WIDTHS.items()
}
SIGNED_WORDS = {"PuOr_r": "purple to orange", "RdBu_r": "blue to red", "BrBG_r": "teal to brown"}


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
    names, local = explaining.names(), bool(explaining.cards())
    first, second = explaining.first_choice(names) if local else ("", "")
    offered = names if local else ("", *names)  # nothing is downloaded that nobody asked for
    a = widgets.one_of("Network A", "a", offered, first, _network_words, help=help_texts.NETWORK_A)
    b = widgets.one_of("Network B", "b", ("", *names), second, _network_words, help=help_texts.NETWORK_B)
    if not (a or b):
        raise widgets.NothingYet(f"{widgets.NO_NETWORK} Or download one: choose it on the left.")
    return Networks(tuple(explaining.model(name) for name in dict.fromkeys((a, b)) if name))


def _network_words(name: str) -> str:
    return f"{name} (download)" if name in zoo.IMAGENET else name or "none"


@dataclass(frozen=True)
class Degrading:
    """How the picture is degraded; the fields are those of a request."""

    degradation: str
    scale: str
    severity: float
    seed: int


def explanation(chosen: Networks, picture: Picture, degrading: Degrading) -> Request:
    """Choose methods, class, layers and resizing; with the degradation they make the request."""
    methods, wanted = _methods(), target(chosen, picture)
    layers = {model.name: _layers(letter, model) for letter, model in zip("ab", chosen.models, strict=False)}
    return Request(
        models=tuple(model.name for model in chosen.models),
        methods=methods,
        target=wanted,
        layers={name: taps for name, taps in layers.items() if taps},
        degradation=degrading.degradation,
        severity=degrading.severity,
        scale=degrading.scale,
        resize=resize(),
        seed=degrading.seed,
    )


def _methods() -> tuple[str, ...]:
    ordered = sorted(METHODS, key=lambda name: FAMILIES.index(METHODS[name].family))
    words = {name: f"{METHODS[name].title} · {METHODS[name].family}" for name in ordered}
    help_words = "Gradient methods answer at once; perturbation methods run the network hundreds of times."
    return widgets.some_of("Methods", "methods", ordered, ("gradcam",), words.__getitem__, help=help_words)


def target(chosen: Networks, picture: Picture) -> str:
    """Choose the class whose evidence is asked for: `predicted`, `true` or a class that all networks know."""
    words = {"predicted": "predicted class"}
    if picture.label is not None:
        words["true"] = f"true class: {picture.label}"
    options = [*words, *chosen.common_classes()]
    return widgets.one_of(
        "Class to explain",
        "target",
        options,
        "predicted",
        lambda name: words.get(name, name),
        help=TARGET_HELP,
    )


def _layers(letter: str, model: Model) -> tuple[str, ...]:
    grids = explaining.layers(model)
    words = {name: f"{name} ({height} × {width})" for name, (height, width) in grids.items()}
    label = f"Layers of {letter.upper()} (grid)"
    help_words = f"Where CAM methods look; several are fused. {model.default_layer} when none is chosen."
    key, default = f"layers_{letter}", (model.default_layer,)
    return widgets.some_of(label, key, list(grids), default, words.__getitem__, model.name, help=help_words)


def degrading(size: int) -> Degrading:
    """Choose a degradation for a network of that input size in pixels, and how severe it is."""
    row = st.container(horizontal=True)  # in a narrow window one below the other, so that no name is cut off
    places = [row.container(width=width) for width in (175, 190, 245, 100)]
    fitting = degradations.default_scale(size, size)
    words = {AUTOMATIC: f"{degradations.SCALES[fitting]} (fits the input)", **degradations.SCALES}
    scale = _kept_scale(words)
    names = ("none", *degradations.degradations_in(fitting if scale == AUTOMATIC else scale))
    with places[0]:
        name = widgets.one_of(
            "Degradation",
            "degradation",
            names,
            "gaussian_noise",
            _degradation_words,
            help=help_texts.DEGRADATION,
        )
    if name == "none":
        return Degrading(name, "" if scale == AUTOMATIC else scale, 0.0, 0)
    with places[2]:
        scale = widgets.one_of(
            "Scale of severity", SCALE, list(words), AUTOMATIC, words.__getitem__, help=help_texts.SCALE
        )
    resolved, scale = (fitting, "") if scale == AUTOMATIC else (scale, scale)
    with places[1]:
        severity = _severity(degradations.severity_levels(name, resolved))
    with places[3]:
        seed = int(
            widgets.number(
                "Seed", "seed", (0, 2**31 - 1), 0, 1, st.number_input, help=help_texts.DEGRADATION_SEED
            )
        )
    return Degrading(name, scale, severity, seed)


def _kept_scale(words: Mapping[str, str]) -> str:
    """The scale that was chosen, before it is drawn: it says which degradations there are."""

    def read(values: Sequence[str]) -> str | None:
        return values[0] if len(values) == 1 and values[0] in words else None

    shown = st.session_state.get(SCALE)
    return str(shown) if shown in words else state.recall(SCALE, "Scale of severity", read, AUTOMATIC)


def _severity(levels: tuple[str, ...]) -> float:
    help_words = f"0 is the clean picture; whole numbers are {', '.join(levels)}."
    middle = (len(levels) + 1) / 2
    return widgets.number("Severity", "severity", (0.0, len(levels)), middle, STEP, help=help_words)


def _degradation_words(name: str) -> str:
    return degradations.DEGRADATIONS[name].title if name != "none" else "none"


def resize() -> str:
    """Choose how a picture is fitted to the network's square."""
    options = list(resizing.RESIZE_MODES)
    return widgets.one_of(
        "Fit to the network's square",
        "resize",
        options,
        "crop",
        lambda name: RESIZE_WORDS.get(name, name),
        help=RESIZE_HELP,
    )


def style() -> Style:
    """Choose how the figure looks."""
    usual = Style()
    width = _width()
    opacity = widgets.number(
        "Opacity of the heatmap", "opacity", (0.0, 1.0), usual.opacity, 0.05, help=OPACITY_HELP
    )
    colours, diverging = _colours("Colours of evidence")
    mask = widgets.switch("Outline the object where it is known", "mask", usual.show_mask, help=MASK_HELP)
    return Style(width, opacity, colours, diverging, mask)


def plain_style() -> Style:
    """Choose how a figure without a picture under its maps looks."""
    width = _width()
    colours, diverging = _colours("Colours of activations")
    return Style(width, colours=colours, diverging=diverging)


def _width() -> str:
    words = WIDTH_WORDS.__getitem__
    return widgets.one_of(
        "Width of the figure", "width", list(figures.WIDTHS), Style().width, words, help=WIDTH_HELP
    )


def _colours(label: str) -> tuple[str, str]:
    """Colours of values of one sign, and of signed ones."""
    usual = Style()
    colours = widgets.one_of(
        label, "colours", figures.SEQUENTIAL, usual.colours, _colour_words, help=COLOURS_HELP
    )
    words = SIGNED_WORDS.__getitem__
    return colours, widgets.one_of(
        "Colours of signed maps", "diverging", figures.DIVERGING, usual.diverging, words, help=SIGNED_HELP
    )


def _colour_words(name: str) -> str:
    return f"{name} (uneven: shows edges that are not there)" if name == "jet" else name
