"""What is said of somebody's own network when it is brought in, and what of that is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models import zoo
from models.cards import INPUT_SIZES
from models.layers import IMAGENET_MEAN, IMAGENET_STD
from models.nearest import Fit
from models.state_dicts import shown

UNKNOWN = "unknown"
"""Dataset of a network of which it was not said what it was trained on."""
NORMALIZATIONS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "bytes": ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)),
}
"""Mean and standard deviation per channel (red, green, blue), of images in [0, 1]; `bytes` gives 0 to 255."""
CHANNELS = ("rgb", "bgr")
MOST_CLASSES = 25_000
_LONGEST_CLASS = 200
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,79}")
_RESERVED = {"records", "curves", "predictions"}


class ImportRefused(ValueError):
    """A network that can't be brought in; the message is one sentence. `fit`, where there is one, says why in full."""

    def __init__(self, message: str, fit: Fit | None = None) -> None:
        super().__init__(message)
        self.fit = fit


@dataclass(frozen=True)
class Request:
    """How to bring a network in.

    `classes` are in the order of the head's outputs; None names them by number. `normalization` is a name of
    `NORMALIZATIONS` or mean and standard deviation (red, green, blue; of images in [0, 1]); None takes the file's
    own, else that of the architecture. `channels` is the order that the network was trained with. `options` are the
    architecture's, None finds them. `dataset` is what it was trained on, if it is one of ours.
    """

    name: str
    input_size: int
    architecture: str | None = None
    classes: Sequence[str] | None = None
    normalization: str | tuple[Sequence[float], Sequence[float]] | None = None
    channels: str = "rgb"
    key: str | None = None
    options: Mapping[str, Any] | None = None
    dataset: str = UNKNOWN
    ignore_unexpected: bool = False
    replace: bool = False


def in_words(values: Sequence[float]) -> str:
    """Numbers as the card and messages show them."""
    return " ".join(f"{value:.6g}" for value in values)


def check_name(name: str, replace_it: bool = False) -> None:
    """Raise `ImportRefused` unless a network may have this name: a plain one, and a free one or one to replace."""
    if not _NAME.fullmatch(name) or name.lower() in _RESERVED:
        raise ImportRefused(
            f"the name is {shown(name)!r}; allowed are up to 80 letters, digits and . _ + - "
            "that begin with a letter or a digit."
        )
    if name in zoo.IMAGENET or zoo.is_shipped(name):
        raise ImportRefused(
            f"the name {name} is that of a network that comes with the project; choose another."
        )
    if name in zoo.records() and not replace_it:
        raise ImportRefused(f"there is a network {name} already; choose another name, or replace it.")


def check_request(request: Request) -> None:
    """Raise `ImportRefused` unless input size, channels, normalisation and class names are such as are allowed."""
    if request.input_size not in INPUT_SIZES:
        raise ImportRefused(
            f"the input size is {request.input_size} px; allowed are {INPUT_SIZES[0]} to {INPUT_SIZES[-1]}."
        )
    if request.channels not in CHANNELS:
        raise ImportRefused(f"the channels are {request.channels!r}; allowed are {', '.join(CHANNELS)}.")
    asked = request.normalization
    if isinstance(asked, str) and asked not in NORMALIZATIONS:
        names = ", ".join(NORMALIZATIONS)
        raise ImportRefused(
            f"the normalisation is {asked!r}; allowed are {names}, and mean and std of three numbers each."
        )
    if asked is not None and not isinstance(asked, str):
        _check_constants(*asked)
    _check_classes(request.classes)


def _check_constants(mean: Sequence[float], std: Sequence[float]) -> None:
    sound = (
        len(mean) == len(std) == 3
        and all(abs(value) < 1e4 for value in mean)
        and all(1e-4 < each < 1e4 for each in std)
    )
    if not sound:
        raise ImportRefused(
            f"the normalisation has mean {in_words(mean)} and std {in_words(std)}; allowed are three numbers each, "
            "and std above 0."
        )


def _check_classes(classes: Sequence[str] | None) -> None:
    if classes is None:
        return
    if not 1 <= len(classes) <= MOST_CLASSES:
        raise ImportRefused(f"{len(classes):,} class names were given; allowed are 1 to {MOST_CLASSES:,}.")
    bad = next(
        (
            name
            for name in classes
            if not name.strip() or len(name) > _LONGEST_CLASS or not name.isprintable()
        ),
        None,
    )
    if bad is not None:
        raise ImportRefused(
            f"a class is named {shown(bad)!r}; allowed are 1 to {_LONGEST_CLASS} printable characters."
        )
    if len(set(classes)) < len(classes):
        twice = next(name for name in classes if list(classes).count(name) > 1)
        raise ImportRefused(
            f"the class {shown(twice)!r} was named twice; every class needs a name of its own."
        )


def class_names(given: Sequence[str] | None, outputs: int) -> tuple[str, ...]:
    """Names of the head's `outputs`: those given, else `class 0` and so on; `ImportRefused` for another number."""
    if given is None:
        return tuple(f"class {index}" for index in range(outputs))
    if len(given) != outputs:
        raise ImportRefused(
            f"the head tells {outputs:,} classes apart, but {len(given):,} class names were given."
        )
    return tuple(given)


def imagenet_classes() -> tuple[str, ...]:
    """The 1000 names of ImageNet's classes, in the usual order (by WordNet number), as torchvision has them."""
    from torchvision.models import AlexNet_Weights

    names = AlexNet_Weights.IMAGENET1K_V1.meta["categories"]
    return tuple(name if names.count(name) == 1 else f"{name} ({index})" for index, name in enumerate(names))
