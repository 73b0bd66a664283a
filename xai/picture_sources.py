"""Where a picture can be had again: the source that it names, or a file that a manifest was given with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from data import images, samples
from data.catalogue import DATASETS
from data.datasets import ImageSource, open_dataset
from xai.comparison import (
    Picture,
    picture_from_dataset,
    picture_from_image,
    picture_from_scene,
)
from xai.manifests import (
    ManifestError,
)

_OF_A_FOLDER = re.compile(r"(folder:.+):((?:train|validation|test)/.+)", re.DOTALL)
"""A folder's name may hold colons and slashes."""


def _named(source: str) -> tuple[str, str]:
    """Name of the dataset (or `sample`) and what is named of it; the first is empty where the source names none."""
    if match := _OF_A_FOLDER.fullmatch(source):
        return match[1], match[2]
    name, _, rest = source.partition(":")
    return name, rest


def is_source(text: str) -> bool:
    """Whether a text has the form of what `find_picture` takes, and so is no path."""
    name = _named(text)[0]
    return text != name and (name == "sample" or name in DATASETS or name.startswith("folder:"))


def find_picture(source: str, label: str | None = None) -> Picture:
    """The picture of a source: `sample:NAME`, `cue10:SPLIT/INDEX`, or `DATASET:SPLIT/ID` with an id of the split.

    Raises `ManifestError` for another, and `DatasetError` for a dataset that is not on this machine.
    """
    kind, rest = _named(source)
    if kind == "sample" and rest in samples.SAMPLES:
        return picture_from_image(samples.load_sample(rest), source, label)
    split, _, number = rest.partition("/")
    if kind == "cue10" and number.isdigit() and len(number) < 7:
        return picture_from_scene(split, int(number))
    if number and (kind in DATASETS or kind.startswith("folder:")):
        return _of_dataset(open_dataset(kind, split), number)
    raise ManifestError(
        f"There is no picture {source!r}; allowed are sample:NAME, cue10:SPLIT/NUMBER and DATASET:SPLIT/ID."
    )


def _of_dataset(data: ImageSource, image_id: str) -> Picture:
    for known in (
        image_id,
        f"{data.split}/{image_id}",
    ):  # ids that begin with their split may be given without
        if known in data.ids:
            return picture_from_dataset(data, data.ids.index(known))
    raise ManifestError(
        f"There is no image {image_id!r} in {data.name} {data.split}; its ids are such as {data.ids[0]!r}."
    )


def picture_again(facts: Mapping[str, Any], image: Path | None) -> Picture:
    """The picture of a manifest, from its source or from the file of an upload; `ManifestError` when it is another."""
    if image is None:
        if facts["source"] == "upload":
            raise ManifestError(f"The picture {facts['name']} was uploaded: give its file too.")
        picture = find_picture(str(facts["source"]), facts["label"])
    else:
        read = images.read_image(image.read_bytes(), str(facts["name"]))
        picture = picture_from_image(read, str(facts["source"]), facts["label"])
    if picture.sha256 != facts["sha256"]:
        raise ManifestError(
            f"The picture given is not the one in the manifest ({facts['name']}): its sha256 differs."
        )
    return replace(picture, image_id=facts.get("image_id", ""))
