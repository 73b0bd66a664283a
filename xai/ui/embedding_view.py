"""An embedding as the browser's plots take it, with the thumbnails that appear under the pointer."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import streamlit as st

from data import degradations, thumbnails
from data.datasets import DatasetError
from xai import embedding_looks
from xai.class_colours import NONE_COLOUR, class_looks
from xai.embedding import Embedding, Map, Said
from xai.embedding_looks import COLOURINGS, Coloured
from xai.ui import dataset_images, embedding_data, embedding_numbers, explaining, scatter, widgets
from xai.ui.scatter import Bar, Content, Contours, Entry, Group, Look, Panel, Sheet, Step

KEYS = ("colour", "arrows", "centres", "hulls", "density", "point_size")
WORDS = {
    "label": "label",
    "prediction": "prediction",
    "correctness": "right or wrong",
    "confidence": "confidence",
    "severity": "severity",
    "transition": "what degradation does",
}
COLOUR_HELP = (
    "Label is the true class, prediction what each network answers. From 11 classes on markers differ too; names at "
    "centres and the table of classes below tell them without colour."
)
MOST_THUMBNAILS = 20_000
MOST_BARE = 4
"""So few points have no density."""
SIDE, ACROSS = 32, 100
HEIGHT = 460


def choose(found: Embedding) -> tuple[str, Look]:
    """Draw the choices above the plots: the colours, and what is drawn besides points."""
    degraded = bool(found.maps[0].degraded)
    offered = [name for name in COLOURINGS if degraded or name not in ("severity", "transition")]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        colouring = widgets.one_of(
            "Colour by", "colour", offered, "label", WORDS.__getitem__, width=220, help=COLOUR_HELP
        )
        arrows = degraded and widgets.switch(
            "Arrows", "arrows", True, help="From each image when clean to where it is when degraded."
        )
        centres = widgets.switch(
            "Names at centres",
            "centres",
            False,
            help="The name of each class where the middle of its clean images lies.",
        )
        hulls = widgets.switch(
            "Outlines",
            "hulls",
            False,
            help="A line around the 90 % of each class's clean images that are nearest to its middle.",
        )
        density = widgets.switch(
            "Density", "density", False, help="Lines of equal density of all clean images."
        )
        larger = widgets.number(
            "Size of points",
            "point_size",
            (0.5, 2.0),
            1.0,
            0.25,
            width=160,
            help="1 is a size that fits the number of images.",
        )
    count = len(found.ids)
    size = larger * embedding_looks.diameter(count, HEIGHT * HEIGHT)
    return colouring, Look(
        round(size, 2), 0.85 if count < 3000 else 0.6, HEIGHT, arrows, centres, hulls, density
    )


def content(found: Embedding, colouring: str) -> tuple[dict[str, Any], str]:
    """The plots' content, kept for all visitors."""
    key = ("scatter", embedding_data.key_of(found.request), colouring)
    packed: tuple[dict[str, Any], str] = explaining.results()(
        key, lambda: scatter.packed(_content(found, colouring))
    )
    return packed


def _content(found: Embedding, colouring: str) -> Content:
    looks = [_looks(found, one, colouring) for one in found.maps]
    legend, scale, bar = _legend(looks[0][0])
    panels = tuple(
        _panel(found, one, f"{letter}: {one.model}", own, colouring)
        for letter, one, own in zip("AB", found.maps, looks, strict=False)
    )
    title = degradations.DEGRADATIONS[found.request.degradation].title if found.request.severities else ""
    severities = ("", *(f"{one:g}" for one in found.request.severities))
    return Content(
        panels,
        legend,
        scale,
        found.ids,
        found.labels,
        found.classes,
        title,
        severities,
        bar,
        faint=colouring == "severity",
        together=found.request.layout != "separate",
    )


def _panel(found: Embedding, one: Map, title: str, looks: list[Coloured], colouring: str) -> Panel:
    """One map, with the outlines, middles and density that its figure has."""
    points = one.coordinates
    contours = None
    if len(points) > MOST_BARE and np.ptp(points, axis=0).all():
        x, y, z, levels = embedding_looks.density(points)
        contours = Contours(x, y, z, tuple(levels))
    return Panel(
        title, tuple(_steps(found, one, looks, colouring)), tuple(_groups(found, points, colouring)), contours
    )


def _groups(found: Embedding, points: np.ndarray, colouring: str) -> Iterator[Group]:
    """The classes that there are images of."""
    middles = embedding_looks.centroids(points, found.labels, len(found.classes))
    looks = class_looks(len(found.classes))
    for number in np.unique(found.labels).tolist():
        corners = embedding_looks.hull(points[found.labels == number])
        outline = np.vstack([corners, corners[:1]])
        x, y = middles[number].tolist()
        place = number if colouring in ("label", "prediction") else -1
        yield Group(found.classes[number], looks[number].colour, (x, y), outline, place)


def _looks(found: Embedding, one: Map, colouring: str) -> list[Coloured]:
    severities = (0.0, *(each.severity for each in one.degraded))
    return [embedding_looks.coloured(found, one, colouring, severity) for severity in severities]


def _legend(
    looks: Coloured,
) -> tuple[tuple[Entry, ...], tuple[tuple[float, str], ...], Bar | None]:
    """The kinds of point; or one kind with a scale and its bar."""
    if looks.scale is not None:
        bar = Bar(looks.scale.words, f"{looks.scale.low:g}", f"{looks.scale.high:g}")
        return (Entry(looks.scale.words, NONE_COLOUR, "circle"),), tuple(looks.scale.for_plotly()), bar
    return tuple(Entry(name, look.colour, look.marker) for name, look in looks.kinds), (), None


def _steps(found: Embedding, one: Map, looks: list[Coloured], colouring: str) -> Iterator[Step]:
    about = ""
    if colouring == "transition":
        about = f"Colours: what severity {one.degraded[-1].severity:g} does. "
    yield _step(one.coordinates, one.answers, looks[0], about + embedding_numbers.map_words(found, one))
    for each, own in zip(one.degraded, looks[1:], strict=True):
        words = embedding_numbers.map_words(found, one, each)
        yield _step(each.coordinates, each.answers, own, words)


def _step(coordinates: np.ndarray, answers: Said, looks: Coloured, words: str) -> Step:
    value = None
    if looks.scale is not None and looks.values is not None:
        value = (looks.values - looks.scale.low) / ((looks.scale.high - looks.scale.low) or 1)
    return Step(coordinates, looks.rows, value, answers.classes, answers.probabilities, words)


def sheet(found: Embedding) -> Sheet | None:
    """Where the browser finds all thumbnails; None, with why, where there are none to show."""
    if len(found.ids) > MOST_THUMBNAILS:
        st.caption(f"Pictures appear under the pointer for up to {MOST_THUMBNAILS:,} images.")
        return None
    request = found.request
    try:
        data = embedding_data.images_of(request)
    except DatasetError as error:
        st.caption(widgets.plain(f"Points without pictures: {error}"))
        return None
    key = ("thumbnails", request.dataset, request.split, request.limit)
    picture: bytes = dataset_images.memo()(key, lambda: _drawn(data))
    return Sheet(_address(picture), ACROSS)


def _drawn(data: Any) -> bytes:
    """All thumbnails in rows of `ACROSS`, as JPEG."""
    import torch
    from PIL import Image
    from torch.nn.functional import adaptive_avg_pool2d

    rows = -(-len(data) // ACROSS)
    canvas = np.zeros((rows * SIDE, ACROSS * SIDE, 3), np.uint8)
    for start in range(0, len(data), ACROSS):
        pixels = thumbnails.small(data.pixels(slice(start, min(start + ACROSS, len(data))))).float()
        small = adaptive_avg_pool2d(pixels, SIDE).round().to(torch.uint8)
        line = small.permute(2, 0, 3, 1).reshape(SIDE, -1, 3).numpy()
        top = start // ACROSS * SIDE
        canvas[top : top + SIDE, : line.shape[1]] = line
    buffer = io.BytesIO()
    Image.fromarray(canvas).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _address(picture: bytes) -> str:
    """An address on this server; Streamlit forgets it with the session."""
    from streamlit.runtime import exists, get_instance

    if not exists():
        return ""
    return get_instance().media_file_mgr.add(picture, "image/jpeg", "embedding thumbnails")
