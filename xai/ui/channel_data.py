"""The images that a channel is asked about, and its responses to them, kept for all visitors."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import streamlit as st

from data.catalogue import dataset
from data.datasets import DatasetError, ImageSource, evenly_spread
from models.registry import Model
from xai.responses import Responses, collect
from xai.ui import dataset_images, explaining, help_texts, job_panel, own_shelf, widgets

KEYS = ("channel_data", "channel_split", "channel_images")
COUNT_HELP = (
    "Spread evenly over the split. More images make everything below surer, and take longer the first time."
)
USUAL, LEAST, MOST, STEP = 500, 100, 10_000, 100


@dataclass(frozen=True)
class Images:
    """So many images of one split, evenly spread over it."""

    name: str
    split: str
    count: int

    @property
    def words(self) -> str:
        """What they are, in words."""
        return f"{self.count:,} images of {self.name} {self.split}, evenly spread"

    def capped(self, chosen: Images) -> str:
        """That these are fewer than those chosen, empty where they are not."""
        few = f"Measured on {self.count:,} of the {chosen.count:,} images chosen, evenly spread"
        return few if self.count < chosen.count else ""

    def open(self) -> ImageSource:
        """The images themselves; raises `DatasetError` where they are not here."""
        return evenly_spread(dataset_images.opened(self.name, self.split), self.count)


def choose(model: Model) -> Images | None:
    """Draw the choice of images that have the network's size; None, with what to do, where there are none."""
    offered = [name for name in dataset_images.names().values() if _fits(name, model)]
    if not offered:
        st.info(
            f"No dataset on this machine has images of {model.input_size} × {model.input_size} px, "
            f"which {widgets.plain(model.name)} takes."
        )
        return None
    own = model.card.dataset if model.card.dataset in offered else offered[0]
    with st.container(horizontal=True):
        name = widgets.one_of(
            "Images of", "channel_data", offered, own, own_shelf.words(), help=help_texts.IMAGES_OF
        )
        splits = dataset(name).splits
        usual = "test" if "test" in splits else splits[0]
        split = widgets.one_of("Their split", "channel_split", splits, usual, help=help_texts.SPLIT_OF)
        count = int(
            widgets.number(
                "Number of images",
                "channel_images",
                (LEAST, MOST),
                USUAL,
                STEP,
                st.number_input,
                help=COUNT_HELP,
            )
        )
    try:
        found = len(dataset_images.opened(name, split))
    except DatasetError as error:
        st.info(widgets.plain(error))
        return None
    return Images(name, split, min(count, found))


def _fits(name: str, model: Model) -> bool:
    try:
        return dataset(name).image_size == model.input_size
    except DatasetError:  # a folder that is no longer there
        return False


@contextmanager
def bar() -> Iterator[Callable[[int, int, str], None]]:
    """A progress bar that goes when the work is done; any other choice of the visitor ends the work."""
    place, started = st.empty(), time.monotonic()
    try:
        yield lambda done, total, what: _draw(place, done, total, what, time.monotonic() - started)
    finally:
        place.empty()


def _draw(place: st.delta_generator.DeltaGenerator, done: int, total: int, what: str, passed: float) -> None:
    """How far the work is and the seconds left at its present speed, after `passed` ones."""
    left = f", about {job_panel.duration(passed * (total - done) / done)} left" if done else ""
    words = f"{what}: {done:,} of {total:,}{left}. Another choice or page ends it."
    place.progress(done / max(total, 1), widgets.plain(words))


def responses(model: Model, layer: str, images: Images) -> Responses:
    """A layer's responses to the images."""

    def compute() -> Responses:
        with bar() as progress:
            return collect(model, images.open(), [layer], progress=progress)[layer]

    return explaining.results()(("responses", model.name, model.card.sha256, layer, images), compute)
