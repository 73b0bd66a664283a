"""Links from a channel to the Channel page, and from an image that excites it to Explain."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from data.catalogue import file_stem
from data.datasets import DatasetError

if TYPE_CHECKING:
    from xai.ui.channel_choice import Chosen

Choices = dict[str, list[str]]


def channel(model: str, layer: str, number: int, other: str = "") -> Choices:
    """The choices of the Channel page that show one channel of `model`, and its counterpart in `other`."""
    chosen = {"a": [model], "feature_layer": [layer], "what": ["channel"], "channel": [str(number)]}
    return {**chosen, "b": [other]}


def picture(dataset: str, split: str, image_id: str) -> Choices:
    """The choices of a page that shows one picture: an image of a dataset."""
    if dataset == "cue10":  # one scene is drawn alone, with its mask
        return {"source": ["scene"], "split": [split], "scene": [str(int(image_id.rpartition("/")[2]))]}
    try:
        stem = file_stem(dataset)
    except DatasetError:  # a folder that is no longer there: the page says so
        stem = ""
    return {"source": ["dataset"], "images": [stem], "images_split": [split], "image": [image_id]}


def explain(chosen: Chosen, dataset: str, split: str, image_id: str) -> Choices:
    """The choices of the Explain page that show an image, with the networks of the Channel page."""
    other = [chosen.other.name] if chosen.other else [""]
    return {**picture(dataset, split, image_id), "a": [chosen.model.name], "b": other}


def address(choices: Choices, page: str = "") -> str:
    """The link to them, from any page of the app; the Explain page, the first one, has no name."""
    return f"./{page}?{urlencode(choices, doseq=True)}"
