"""Images of datasets for the pages: opened once for all visitors, in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from data.catalogue import DATASETS, dataset, file_stem
from data.datasets import DatasetError, ImageSource, evenly_spread, open_dataset
from xai import settings
from xai.results import Setting
from xai.ui import own_shelf, result_data, widgets
from xai.ui.memo import Memo


@st.cache_resource(show_spinner=False)
def memo() -> Memo:
    """The store of images that all visitors share; 10,000 of 32 px take 30 MB, 2,000 of 64 px 25 MB."""
    return Memo(settings.IMAGE_CACHE.bytes())


def names() -> dict[str, str]:
    """Datasets that may be opened from a page, by a short name that holds no path.

    Those that are registered, what this visitor uploaded, and folders that stored answers name: never one that a
    visitor typed, nor what another one uploaded.
    """
    found = {name: name for name in DATASETS} | own_shelf.datasets()
    for setting in result_data.stored().boards:
        if setting.dataset not in DATASETS:
            found |= _folder(setting.dataset)
    return found


def _folder(name: str) -> dict[str, str]:
    try:
        return {file_stem(name): name}
    except DatasetError:  # it is no longer there
        return {}


def splits(name: str) -> tuple[str, ...]:
    """The splits of a dataset; a folder is looked at once."""
    found: tuple[str, ...] = memo()(("splits", name), lambda: dataset(name).splits)
    return found


def opened(name: str, split: str) -> ImageSource:
    """One split of a dataset, with a bar while it is drawn or read; raises `DatasetError` where it is not here."""

    def load() -> ImageSource:
        place = st.empty()
        try:
            return open_dataset(name, split, lambda done, total, what: _tell(place, done, total, what))
        finally:
            place.empty()

    found: ImageSource = memo()(("images", name, split), load)
    return found


def _tell(place: st.delta_generator.DeltaGenerator, done: int, total: int, what: str) -> None:
    place.progress(done / max(total, 1), widgets.plain(f"{what}: {done:,} of {total:,}"))


def rows(name: str, split: str) -> Mapping[str, int]:
    """The row of each image of a split by its id."""

    def number() -> dict[str, int]:
        return {image_id: row for row, image_id in enumerate(opened(name, split).ids)}

    found: Mapping[str, int] = memo()(("rows", name, split), number)
    return found


def of_setting(setting: Setting) -> ImageSource:
    """The very images that answers are of; raises `DatasetError` where they are not here, or are others."""

    def check() -> ImageSource:
        from xai.evaluation_store import data_sha256

        data = evenly_spread(opened(setting.dataset, setting.split), setting.limit or None)
        if data_sha256(data) != setting.data_sha256:
            raise DatasetError(
                f"the images of {setting.dataset} on this machine are not those that the networks were asked about."
            )
        return data

    found: ImageSource = memo()(("setting", setting), check)
    return found
