"""How a visitor's network was trained, as the visitor says: classes, image size, normalisation, and its name."""

from __future__ import annotations

import re
from collections.abc import Callable

import streamlit as st

from data.catalogue import dataset
from data.datasets import DatasetError
from models import registry
from models.cards import INPUT_SIZES
from models.import_request import CHANNELS, MOST_CLASSES, NORMALIZATIONS, UNKNOWN, Request, imagenet_classes
from models.nearest import Fit
from xai.ui import dataset_images, explaining, own_shelf, state, widgets
from xai.ui.own_shelf import OwnFile

MOST_TEXT = 400_000
CLASSES = {
    "numbers": "Numbers",
    "typed": "Typed, one a line",
    "dataset": "Those of a dataset",
    "network": "Those of another network",
    "imagenet": "ImageNet's 1,000",
}
OWN, TYPED = "as published", "typed"
NORMALIZATION_WORDS = {
    OWN: "What the file brings, else the architecture's own",
    "imagenet": "ImageNet's mean and standard deviation",
    "cifar10": "CIFAR-10's mean and standard deviation",
    "half": "To −1 … 1 (mean and standard deviation 0.5)",
    "none": "None: 0 … 1",
    "bytes": "Bytes: 0 … 255",
    TYPED: "Typed",
}
Names = tuple[tuple[str, ...] | None, str]
"""Class names, None for numbers, and the dataset that they are those of, empty for none."""


def request(file: OwnFile, fit: Fit, entry: str) -> Request:
    """Draw the choices and put them together; raises `ValueError` with one sentence for what can't be read."""
    left, right = st.columns(2)
    with left:
        classes, trained_on = _classes(fit.outputs or 0)
    with right:
        size = _size(fit, trained_on)
        normalization = _normalization()
        channels = widgets.one_of(
            "Order of colours",
            "own_channels",
            CHANNELS,
            "rgb",
            str.upper,
            help="BGR for networks that were trained on pictures as OpenCV or Caffe read them.",
        )
        name = _name(file)
    return Request(
        name,
        size,
        fit.architecture,
        classes,
        normalization,
        channels,
        entry,
        dataset=UNKNOWN if trained_on.startswith("upload:") else trained_on or UNKNOWN,
        ignore_unexpected=bool(fit.unexpected),
    )


def _classes(outputs: int) -> Names:
    """Names for that many outputs of the head."""
    sources: dict[str, Callable[[int], Names]] = {
        "numbers": lambda _outputs: (None, ""),
        "typed": _typed,
        "dataset": _of_dataset,
        "network": _of_network,
    }
    if outputs == 1000:
        sources["imagenet"] = lambda _outputs: (imagenet_classes(), "imagenet")
    source = widgets.one_of(
        f"Names of the {outputs:,} classes",
        "own_classes_from",
        list(sources),
        "numbers",
        CLASSES.__getitem__,
        help="In the order of the head's outputs. The file does not tell them, and in a wrong order every answer is "
        "wrong: the first check below shows it.",
    )
    return sources[source](outputs)


def _typed(outputs: int) -> Names:
    key, label = "own_typed", "Class names, one a line"

    def read(values: object) -> str | None:
        return values[0] if isinstance(values, list) and len(values) == 1 else None

    state.seed(key, lambda value: isinstance(value, str), lambda: state.recall(key, label, read, ""))
    text = st.text_area(
        label,
        key=key,
        height=160,
        max_chars=MOST_TEXT,
        help=f"{outputs:,} lines, in the order of the head's outputs; empty lines do not count.",
    )
    state.keep(key, [text], [""])
    lines = [line.strip() for line in text.splitlines() if line.strip()][: MOST_CLASSES + 1]
    st.caption(f"{len(lines):,} of {outputs:,} names.")
    if not lines:
        raise ValueError(f"type the {outputs:,} class names, one a line, or choose Numbers.")
    return tuple(lines), ""


def _of_dataset(outputs: int) -> Names:
    fitting = {}
    for name in dataset_images.names().values():
        try:
            found = dataset(name).classes
        except DatasetError:  # a folder that is no longer there
            continue
        if len(found) == outputs:
            fitting[name] = found
    if not fitting:
        raise ValueError(f"no dataset here has {outputs:,} classes: type them, or choose Numbers.")
    help_words = "Choose the one that the network was trained on: its classes are taken in their order."
    name = widgets.one_of(
        "Dataset with as many classes",
        "own_classes_dataset",
        list(fitting),
        next(iter(fitting)),
        own_shelf.words(),
        help=help_words,
    )
    st.caption(widgets.plain(_listed(fitting[name])))
    return fitting[name], name


def _of_network(outputs: int) -> Names:
    known = explaining.cards()
    fitting = {name: card for name, card in known.items() if len(card.classes) == outputs}
    if not fitting:
        raise ValueError(f"no network here tells {outputs:,} classes apart: type them, or choose Numbers.")
    help_words = "Its class names are taken in their order."
    name = widgets.one_of(
        "Network with as many classes",
        "own_classes_network",
        list(fitting),
        next(iter(fitting)),
        help=help_words,
    )
    st.caption(widgets.plain(_listed(fitting[name].classes)))
    return fitting[name].classes, fitting[name].dataset


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - 12:,} more" if len(names) > 12 else ""
    return f"In this order: {', '.join(names[:12])}{more}."


def _size(fit: Fit, trained_on: str) -> int:
    """The side of the images; at first that of the dataset it was trained on, else the architecture's usual one."""
    usual = registry.architecture(fit.architecture).default_size
    if trained_on and trained_on != "imagenet":
        usual = dataset(trained_on).image_size if _is_there(trained_on) else usual
    help_words = (
        "The side of the square that the network was trained on. Another one is taken, and answers get worse."
    )
    bounds = (INPUT_SIZES[0], INPUT_SIZES[-1])
    key = f"own_size {fit.architecture} {usual}"
    return int(widgets.number("Input size in px", key, bounds, usual, 1, st.number_input, help=help_words))


def _is_there(name: str) -> bool:
    try:
        dataset(name)
    except DatasetError:  # what another network of this name was trained on
        return False
    return True


def _normalization() -> str | tuple[tuple[float, ...], tuple[float, ...]] | None:
    chosen = widgets.one_of(
        "Normalisation",
        "own_normalization",
        list(NORMALIZATION_WORDS),
        OWN,
        NORMALIZATION_WORDS.__getitem__,
        help="What was subtracted from the images and what they were divided by in training. The first check tries "
        "the usual ones.",
    )
    if chosen != TYPED:
        return chosen if chosen in NORMALIZATIONS else None
    return _numbers("Mean", "own_mean"), _numbers("Standard deviation", "own_std")


def _numbers(label: str, key: str) -> tuple[float, ...]:
    help_words = "Red, green and blue, of images in 0 … 1, such as 0.49 0.48 0.45."
    text = widgets.text(f"{label} of red, green and blue", key, 100, help=help_words)
    try:
        numbers = tuple(float(word) for word in re.split(r"[\s,;]+", text.strip()))
    except ValueError:
        numbers = ()
    if len(numbers) != 3:
        raise ValueError(
            f"the {label.lower()} is {text!r}; allowed are three numbers, such as 0.49 0.48 0.45."
        )
    return numbers


def _name(file: OwnFile) -> str:
    """What it is to be called, at first after its file."""
    key = f"own_name {file.token}"
    usual = re.sub(r"[^A-Za-z0-9._+-]+", "-", file.name.rpartition(".")[0] or file.name).strip("-._+")[:60]
    if key not in st.session_state.get(state.CHOICES, {}):
        state.keep(key, [usual or "own-network"], [""])
    help_words = "Every page lists it under this name: up to 80 letters, digits and . _ + -"
    return widgets.text("Name", key, 80, help=help_words).strip()
