"""From an image on the Errors page to the Explain page: the same networks, condition and random draws."""

from __future__ import annotations

from urllib.parse import urlencode

from data.catalogue import file_stem
from data.datasets import DatasetError
from xai.evaluation_grid import CLEAN
from xai.ui.error_data import Chosen

Choices = dict[str, list[str]]


def explain(chosen: Chosen, image_id: str) -> Choices:
    """The choices of the Explain page that show one image of the board."""
    return {**_picture(chosen, image_id), "a": [chosen.a], "b": [chosen.b], **_degradation(chosen)}


def _picture(chosen: Chosen, image_id: str) -> Choices:
    setting = chosen.board.setting
    if setting.dataset == "cue10":  # one scene is drawn alone, with its mask
        return {
            "source": ["scene"],
            "split": [setting.split],
            "scene": [str(int(image_id.rpartition("/")[2]))],
        }
    try:
        stem = file_stem(setting.dataset)
    except DatasetError:  # a folder that is no longer there: the page says so
        stem = ""
    return {"source": ["dataset"], "images": [stem], "images_split": [setting.split], "image": [image_id]}


def _degradation(chosen: Chosen) -> Choices:
    condition = chosen.condition
    if condition.degradation == CLEAN:
        return {"degradation": ["none"]}
    seed = chosen.board.cell(chosen.a, condition).seed
    return {
        "degradation": [condition.degradation],
        "scale": [condition.scale],
        "severity": [f"{condition.severity:g}"],
        "seed": [str(seed)],
    }


def address(choices: Choices) -> str:
    """The link to them, from any page of the app."""
    return f"./?{urlencode(choices, doseq=True)}"
