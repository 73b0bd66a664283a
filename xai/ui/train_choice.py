"""What the Train page trains: the images, where it starts from, and how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st
import torch

from data.catalogue import dataset
from xai.own_training import Wish, continued
from xai.training_request import SEEDS, SPLITS
from xai.ui import dataset_images, explaining, own_shelf, widgets

SCRATCH: dict[str, tuple[str, dict[str, Any]]] = {
    "alexnet": ("alexnet", {}),
    "alexnet_bn": ("alexnet_bn", {}),
    "resnet18_cifar, width 16": ("resnet18_cifar", {"width": 16}),
    "resnet18_cifar, width 32": ("resnet18_cifar", {"width": 32}),
    "resnet18, width 16": ("resnet18", {"width": 16}),
    "resnet18": ("resnet18", {}),
    "vit_small": ("vit_small", {}),
}
"""Architectures that learn something of few images within minutes, with their options."""
USUAL = "resnet18_cifar, width 16"
STARTS = {"tuning": "Fine-tune a network that is here", "scratch": "From scratch"}
STARTS_HELP = (
    "Fine-tuning goes on from weights that know something of pictures, and needs few images and minutes; from scratch "
    "all weights are random at first, which needs many more."
)
LEARN = {"all": "all layers", "last": "the last stage and the head", "head": "the head alone"}
IMAGES, MOST_IMAGES, STEP = 500, 5_000, 100
EPOCHS, MOST_EPOCHS = 5, 30
MOST_BYTES = 512 * 2**20
"""Decoded images that a page's training may hold."""
KEYS = (
    *("train_images", "train_start", "train_architecture", "train_from", "train_learn"),
    *("train_epochs", "train_limit", "train_seed"),
)


@dataclass(frozen=True)
class Pictures:
    """What a dataset has: classes, side in px, and for each split the images of each class."""

    classes: tuple[str, ...]
    size: int
    by_class: Mapping[str, tuple[int, ...]]
    notes: tuple[str, ...]

    def counts(self, limit: int) -> dict[str, int]:
        """Images of each split, of which at most `limit` are taken."""
        return {split: min(sum(by_class), limit) for split, by_class in self.by_class.items()}


def choose() -> tuple[Wish, Pictures]:
    """Draw the choices in the column on the left; raises `DatasetError` where the images are not here."""
    with st.sidebar:
        st.subheader("Images")
        name, pictures = _images()
        st.subheader("Network")
        options: dict[str, Any] = {"words": STARTS.__getitem__, "draw": st.radio, "help": STARTS_HELP}
        offered = [*STARTS] if explaining.cards() else ["scratch"]
        start = widgets.one_of("Start", "train_start", offered, offered[0], **options)
        architecture, options, initial, learn = _tuning() if start == "tuning" else _scratch()
        st.subheader("Training")
        help_words = (
            "How often every training image is shown. The best epoch on the validation images is kept."
        )
        epochs = widgets.number("Epochs", "train_epochs", (1, MOST_EPOCHS), EPOCHS, 1, help=help_words)
        help_words = "Of each split, spread evenly over its classes."
        bounds = (STEP, MOST_IMAGES)
        limit = widgets.number("Images at most", "train_limit", bounds, IMAGES, STEP, help=help_words)
        help_words = "The first weights, the order of images and their random changes follow from it."
        bounds = (SEEDS[0], SEEDS[-1])
        seed = widgets.number("Seed", "train_seed", bounds, 0, 1, st.number_input, help=help_words)
    wish = Wish(name, architecture, options, initial, learn, int(epochs), int(seed), int(limit))
    return wish, pictures


def _images() -> tuple[str, Pictures]:
    offered = dataset_images.names()
    own = [stem for stem, name in offered.items() if name.startswith("upload:")]
    usual = own[-1] if own else "cue10"
    help_words = "Upload a ZIP of your own pictures on the page “Your own”: it is offered here then."
    called = own_shelf.words()
    words = lambda stem: called(offered[stem]) if stem in own else stem  # noqa: E731
    stem = widgets.one_of("Images of", "train_images", list(offered), usual, words, help=help_words)
    return offered[stem], pictures_of(offered[stem])


def pictures_of(name: str) -> Pictures:
    """What a dataset has; it is opened for that once. Raises `DatasetError`."""
    found: Pictures = dataset_images.memo()(("what there is to train on", name), lambda: _look(name))
    return found


def _look(name: str) -> Pictures:
    splits = {split: dataset_images.opened(name, split) for split in SPLITS}
    classes = splits["train"].classes
    by_class = {
        split: tuple(torch.bincount(data.labels, minlength=len(classes)).tolist())
        for split, data in splits.items()
    }
    return Pictures(classes, dataset(name).image_size, by_class, splits["train"].notes)


def _scratch() -> tuple[str, dict[str, Any], str, str]:
    help_words = "Small ones, with random weights at first. The command line trains every architecture."
    chosen = widgets.one_of("Architecture", "train_architecture", list(SCRATCH), USUAL, help=help_words)
    return (*SCRATCH[chosen], "", "all")


def _tuning() -> tuple[str, dict[str, Any], str, str]:
    names = list(explaining.cards())
    usual = next((name for name in names if name.startswith("resnet18_cifar-w16-cue10")), names[0])
    help_words = "Its weights are the start; where the classes are others, its head is made anew."
    initial = widgets.one_of("Network to go on from", "train_from", names, usual, help=help_words)
    help_words = (
        "Fewer layers learn faster and forget less; all of them fit the new images best, given enough images."
    )
    learn = widgets.one_of(
        "What learns", "train_learn", list(LEARN), "all", LEARN.__getitem__, help=help_words
    )
    return (*continued(initial), initial, learn)


def spoken(name: str) -> str:
    """A dataset's name where others may read it too."""
    return own_shelf.spoken(name)
