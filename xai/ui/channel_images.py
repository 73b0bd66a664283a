"""What dataset images say of a channel: those that excite it most, the classes it speaks for, and degradations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict

import streamlit as st

from data import degradations, thumbnails
from xai import channel_classes, channel_export, channel_profile, figure_channel
from xai.channel_profile import TopImage
from xai.figures import Figure
from xai.receptive_field import Box
from xai.responses import Responses
from xai.ui import (
    channel_data,
    explaining,
    image_cards,
    links,
    network_data,
    take_home,
    widgets,
)
from xai.ui.channel_choice import Chosen
from xai.ui.channel_data import Images
from xai.ui.image_cards import Card, Line, Sheet

KEYS = (*channel_data.KEYS, "per_class", "channel_degradations")
COUNT = 12
PER_CLASS = {"": "any number", "1": "one", "2": "two"}
SEVERITY_IMAGES = 200
"""Images that are degraded: each degradation and level asks for another pass over them."""
USUAL = ("gaussian_noise", "gaussian_blur", "jpeg_compression")
PER_CLASS_HELP = (
    "Without a limit all of them may be of one class; with one, other things that excite it are seen."
)
DEGRADATIONS_HELP = "Each is one line: the response to the images at every severity."


def images(chosen: Chosen) -> Images | None:
    """The images that were chosen above; None where there are none."""
    found: Images | None = st.session_state.get("channel_images_chosen")
    return found


def draw(chosen: Chosen) -> None:
    """The images that excite it most, as cards that open in Explain and as a figure."""
    st.subheader("The images that excite it most", anchor=False)
    picked = channel_data.choose(chosen.model)
    st.session_state["channel_images_chosen"] = picked
    if picked is None:
        return
    with st.container(width=320):
        per_class = widgets.one_of(
            "Of each class at most",
            "per_class",
            list(PER_CLASS),
            "",
            PER_CLASS.__getitem__,
            help=PER_CLASS_HELP,
        )
    found = channel_data.responses(chosen.model, chosen.layer, picked)
    top = channel_profile.top_images(
        found, chosen.channel, COUNT, per_class=int(per_class) if per_class else None
    )
    silent = [] if chosen.class_name else [channel_profile.silence(found, chosen.channel)]
    st.caption(widgets.plain(" ".join([*silent, *found.notes])))
    if chosen.cell is not None:
        st.caption(
            "Images are those of the whole channel: a unit shares its weights with all cells of its channel."
        )
    if not top:
        return
    boxes = channel_profile.boxes(chosen.model, found, top, chosen.model.input_size)
    _gallery(chosen, picked, top, boxes)
    st.caption(widgets.plain(f"{picked.words}. {_said(chosen, found)} {_framed(chosen, boxes)}"))


def _said(chosen: Chosen, found: Responses) -> str:
    """What a response is, beside the number below a picture that was made."""
    if chosen.info.grid == (1, 1):
        what = "logit" if chosen.class_name else "activation"
        return f"Response: the {what}, of which there is one for each image."
    mean = found.mean[:, chosen.channel]
    most = float(mean[mean.isfinite()].max()) if bool(mean.isfinite().any()) else float("nan")
    return (
        "Response: the channel's maximum over its map. Its mean over the map, which a picture made for the channel is "
        f"to raise, is at most {most:.3g} for these images."
    )


def _framed(chosen: Chosen, boxes: Sequence[Box]) -> str:
    """What the frames are."""
    return channel_profile.box_words(boxes, chosen.model.input_size)


def _gallery(chosen: Chosen, picked: Images, top: Sequence[TopImage], boxes: Sequence[Box]) -> None:
    data = picked.open()
    pictures = thumbnails.images_of(data, [image.row for image in top])
    sides = [(box.top, box.left, box.bottom, box.right) for box in boxes]
    dimmed = thumbnails.outside_dimmed(pictures, sides)
    small = thumbnails.framed(thumbnails.small(dimmed), sides, pictures.shape[-2:])
    sheet = Sheet(thumbnails.sheet([small]), 1, small.shape[-1])
    image_cards.draw(
        _cards(chosen, picked, top), sheet, "top images", f"Images that excite {chosen.channel_words} most"
    )
    with st.expander("As a figure"):
        _figure(chosen, picked, top, boxes)


def _cards(chosen: Chosen, picked: Images, top: Sequence[TopImage]) -> list[Card]:
    classes = picked.open().classes
    return [
        Card(
            image.id,
            classes[image.label],
            (Line(f"response {image.value:.3g}"),),
            links.address(links.explain(chosen, picked.name, picked.split, image.id)),
        )
        for image in top
    ]


def _figure(chosen: Chosen, picked: Images, top: Sequence[TopImage], boxes: Sequence[Box]) -> None:
    def draw() -> Figure:
        data = picked.open()
        return figure_channel.top_images_figure(
            top,
            thumbnails.images_of(data, [image.row for image in top]).float() / 255,
            boxes,
            data.classes,
            grid=chosen.info.grid,
            title=f"{chosen.channel_words} of {chosen.model.name}",
            notes=[f"{picked.words}.", _framed(chosen, boxes)],
        )

    stem = f"top-images-{chosen.stem}-{picked.name}"
    network_data.show(
        ("top images", *_key(chosen, picked), tuple(image.id for image in top)),
        draw,
        stem,
        f"The {len(top)} images that excite {chosen.channel_words} of {chosen.model.name} most.",
        "content",
    )
    _numbers(
        "top images", chosen, picked, stem, lambda: channel_export.top_rows(top, boxes, picked.open().classes)
    )


def _numbers(
    figure: str,
    chosen: Chosen,
    picked: Images | None,
    stem: str,
    rows: Callable[[], list[channel_export.Row]],
    **more: object,
) -> None:
    """The numbers of a figure as a table, and what they rest on."""
    asked = {**chosen.facts, "images": asdict(picked) if picked else None, **more}
    take_home.rows_and_manifest(stem, rows, lambda: channel_export.manifest(figure, [chosen.model], asked))


def _key(chosen: Chosen, picked: Images) -> tuple[object, ...]:
    return (chosen.model.name, chosen.model.card.sha256, chosen.layer, chosen.channel, picked)


def classes(chosen: Chosen) -> None:
    """The classes that a channel speaks for and against."""
    picked = images(chosen)
    if chosen.class_name:
        st.caption("A class speaks for itself. Choose a channel to see which classes it speaks for.")
        return
    data = picked.open() if picked else None
    if data is None and channel_classes.linear_head(chosen.model, chosen.layer) is None:
        st.info(
            "Choose images above that are on this machine: they say which classes this channel speaks for."
        )
        return

    def compute() -> channel_classes.Classes:
        with st.spinner("Asking how each class depends on the channel."):
            return channel_classes.classes_for(chosen.model, chosen.layer, chosen.channel, data)

    found = explaining.results()(("classes", *_key(chosen, picked)), compute)  # type: ignore[arg-type]
    stem = f"classes-{chosen.stem}"
    network_data.show(
        ("classes", *_key(chosen, picked)),  # type: ignore[arg-type]
        lambda: figure_channel.classes_figure(found, title=chosen.channel_words),
        stem,
        f"Classes that {chosen.channel_words} speaks for.",
        "content",
    )
    _numbers(
        "classes",
        chosen,
        picked if found.n else None,
        stem,
        lambda: channel_export.class_rows(found),
        n=found.n,
    )
    if picked and found.n and found.n < picked.count:
        st.caption(
            f"Of the {picked.count:,} images chosen above {found.n:,}, evenly spread: each asks for derivatives."
        )


def severity(chosen: Chosen) -> None:
    """How the response to the images changes with severity, for several degradations."""
    picked = images(chosen)
    if picked is None:
        st.info("Choose images above: they are degraded and shown to the network.")
        return
    scale = degradations.default_scale(chosen.model.input_size, chosen.model.input_size)
    names = degradations.degradations_in(scale)
    usual = [name for name in USUAL if name in names]
    titles = {name: degradations.DEGRADATIONS[name].title for name in names}
    wanted = widgets.some_of(
        "Degradations", "channel_degradations", names, usual, titles.__getitem__, help=DEGRADATIONS_HELP
    )
    fewer = Images(picked.name, picked.split, min(picked.count, SEVERITY_IMAGES))
    if not wanted:
        return
    key, stem = ("severity", *_key(chosen, fewer), wanted), f"severity-{chosen.stem}-{fewer.name}"
    points = explaining.results()(key, lambda: _severities(chosen, fewer, wanted, scale))
    network_data.show(
        (*key, "figure"),
        lambda: figure_channel.severity_figure(
            points, title=f"{chosen.channel_words} of {chosen.model.name}"
        ),
        stem,
        f"Response of {chosen.channel_words} against severity, mean over {fewer.words}.",
        "content",
    )
    _numbers("severity", chosen, fewer, stem, lambda: channel_export.severity_rows(points))
    if capped := fewer.capped(picked):
        st.caption(widgets.plain(f"{capped}: each degradation and severity asks for another pass over them."))


def _severities(
    chosen: Chosen, picked: Images, wanted: Sequence[str], scale: str
) -> tuple[channel_profile.SeverityPoint, ...]:
    """The response at every level of the degradations."""
    levels = range(1, 1 + max(len(degradations.severity_levels(name, scale)) for name in wanted))
    with channel_data.bar() as progress:
        return channel_profile.severity_response(
            chosen.model,
            picked.open(),
            chosen.layer,
            chosen.channel,
            wanted,
            levels,
            scale=scale,
            progress=progress,
        )
