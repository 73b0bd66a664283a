"""What dataset images say of a channel: those that excite it most, the classes it speaks for, and degradations."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from data import degradations, thumbnails
from xai import channel_classes, channel_profile, figure_channel
from xai.channel_profile import TopImage
from xai.receptive_field import Box
from xai.ui import channel_data, explaining, image_cards, links, network_data, state, widgets
from xai.ui.channel_choice import Chosen
from xai.ui.channel_data import Images
from xai.ui.image_cards import Card, Line, Sheet

KEYS = (*channel_data.KEYS, "per_class", "channel_degradations", "channel_scale")
COUNT = 12
PER_CLASS = {"": "any number", "1": "one", "2": "two"}
SEVERITY_IMAGES = 200
"""Images that are degraded: each degradation and level asks for another pass over them."""
USUAL = ("gaussian_noise", "gaussian_blur", "jpeg_compression")
EXPLAIN = "xai/ui/pages/explain.py"


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
            "Of each class at most", "per_class", list(PER_CLASS), "", PER_CLASS.__getitem__
        )
    found = channel_data.responses(chosen.model, chosen.layer, picked)
    top = channel_profile.top_images(
        found, chosen.channel, COUNT, per_class=int(per_class) if per_class else None
    )
    st.caption(widgets.plain(" ".join([channel_profile.silence(found, chosen.channel), *found.notes])))
    if chosen.cell is not None:
        st.caption(
            "Images are those of the whole channel: a unit shares its weights with all cells of its channel."
        )
    if not top:
        return
    boxes = channel_profile.boxes(chosen.model, found, top, chosen.model.input_size)
    _gallery(chosen, picked, top, boxes)
    st.caption(widgets.plain(f"{picked.words}. {channel_profile.box_words(boxes, chosen.model.input_size)}"))


def _gallery(chosen: Chosen, picked: Images, top: Sequence[TopImage], boxes: Sequence[Box]) -> None:
    data = picked.open()
    pictures = thumbnails.images_of(data, [image.row for image in top])
    dimmed = thumbnails.outside_dimmed(
        pictures, [(box.top, box.left, box.bottom, box.right) for box in boxes]
    )
    small = thumbnails.small(dimmed)
    sheet = Sheet(thumbnails.sheet([small]), 1, small.shape[-1])
    cards = [
        Card(
            image.id,
            data.classes[image.label],
            (Line(f"response {image.value:.3g}"),),
            links.address(links.explain(chosen, picked.name, picked.split, image.id)),
        )
        for image in top
    ]
    opened = image_cards.draw(cards, sheet, "top images", f"Images that excite {chosen.words} most")
    if opened is not None:
        state.adopt(links.explain(chosen, picked.name, picked.split, opened))
        st.switch_page(EXPLAIN)
    with st.expander("As a figure"):
        network_data.show(
            ("top images", *_key(chosen, picked), tuple(image.id for image in top)),
            lambda: figure_channel.top_images_figure(
                top,
                pictures.float() / 255,
                boxes,
                data.classes,
                grid=chosen.info.grid,
                title=f"{chosen.words} of {chosen.model.name}",
                notes=[f"{picked.words}.", channel_profile.box_words(boxes, chosen.model.input_size)],
            ),
            f"top-images-{_stem(chosen)}",
            f"The {len(top)} images that excite {chosen.words} of {chosen.model.name} most.",
            "content",
        )


def _stem(chosen: Chosen) -> str:
    return f"{chosen.model.name}-{chosen.layer}-{chosen.channel}"


def _key(chosen: Chosen, picked: Images) -> tuple[object, ...]:
    return (chosen.model.name, chosen.model.card.sha256, chosen.objective, picked)


def classes(chosen: Chosen) -> None:
    """The classes that a channel speaks for and against."""
    picked = images(chosen)
    if chosen.class_name:
        st.caption("A class speaks for itself. Choose a channel to see which classes it speaks for.")
        return
    data = picked.open() if picked else None

    def compute() -> channel_classes.Classes:
        with st.spinner("Asking how each class depends on the channel."):
            return channel_classes.classes_for(chosen.model, chosen.layer, chosen.channel, data)

    found = explaining.results()(("classes", *_key(chosen, picked)), compute)  # type: ignore[arg-type]
    network_data.show(
        ("classes", *_key(chosen, picked)),  # type: ignore[arg-type]
        lambda: figure_channel.classes_figure(found, title=chosen.words),
        f"classes-{_stem(chosen)}",
        f"Classes that {chosen.words} speaks for.",
        "content",
    )


def severity(chosen: Chosen) -> None:
    """How the response to the images changes with severity, for several degradations."""
    picked = images(chosen)
    if picked is None:
        st.info("Choose images above: they are degraded and shown to the network.")
        return
    size = chosen.model.input_size
    scale = degradations.default_scale(size, size)
    names = degradations.degradations_in(scale)
    usual = [name for name in USUAL if name in names]
    titles = {name: degradations.DEGRADATIONS[name].title for name in names}
    wanted = widgets.some_of("Degradations", "channel_degradations", names, usual, titles.__getitem__)
    fewer = Images(picked.name, picked.split, min(picked.count, SEVERITY_IMAGES))
    if not wanted:
        return

    def compute() -> tuple[channel_profile.SeverityPoint, ...]:
        levels = range(1, 1 + max(len(degradations.severity_levels(name, scale)) for name in wanted))
        with channel_data.bar() as progress:
            return channel_profile.severity_response(
                chosen.model,
                fewer.open(),
                chosen.layer,
                chosen.channel,
                wanted,
                levels,
                scale=scale,
                progress=progress,
            )

    key = ("severity", *_key(chosen, fewer), wanted)
    points = explaining.results()(key, compute)
    network_data.show(
        (*key, "figure"),
        lambda: figure_channel.severity_figure(points, title=f"{chosen.words} of {chosen.model.name}"),
        f"severity-{_stem(chosen)}",
        f"Response of {chosen.words} against severity, mean over {fewer.words}.",
        "content",
    )
