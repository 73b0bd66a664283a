"""What the Features page shows: the channels as cards that open, their figure, all layers, and the first filters."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from data import thumbnails
from models.registry import Model
from xai import (
    export,
    feature_export,
    feature_filters,
    figure_features,
    figure_tiles,
    figures,
)
from xai.feature_maps import ORDERS, FeatureComparison, LayerResult
from xai.figures import Style
from xai.ui import explaining, image_cards, links, network_data, showing, widgets
from xai.ui.image_cards import Card, Line, Sheet
from xai.view_words import view_sentences

BAR_DPI = 120
PICTURE = 128
"""Pixels that the picture has on the page."""


def picture(done: FeatureComparison) -> None:
    """The picture as each network sees it, clean and degraded, and what was done to it."""
    with st.container(horizontal=True):
        for size, view in done.views.items():
            which = f", {size} px" if len(done.views) > 1 else ""
            for condition in done.conditions:
                pixels = thumbnails.enlarged(view.image(condition)[0], PICTURE)
                st.image(
                    pixels, f"{condition}{which}", PICTURE, alt=f"{done.picture.name}, {condition}{which}"
                )
    label = f" Its class: {done.picture.label}." if done.picture.label else ""
    st.caption(widgets.plain(" ".join([f"{done.picture.name}.{label}", *view_sentences(done)])))


def gallery(done: FeatureComparison, style: Style) -> None:
    """The channels of each network, each a link to the Channel page."""
    for column, letter, result in zip(st.columns(len(done.results)), "AB", done.results, strict=False):
        with column:
            label = f"Channels of {result.layer} of {result.model}"
            image_cards.draw(
                _cards(done, result),
                _sheet(done, result, style),
                f"channels {letter}",
                label,
                "Open on the Channel page",
            )
            _scale(done, result, style)


def _link(done: FeatureComparison, result: LayerResult, channel: int) -> links.Choices:
    others = [other.model for other in done.results if other is not result]
    return links.channel(result.model, result.layer, channel, others[0] if others else "")


def _cards(done: FeatureComparison, result: LayerResult) -> list[Card]:
    order = ORDERS[done.request.order]
    cards = []
    for channel in result.shown:
        lines = (
            [] if order.name == "index" else [Line(f"{order.words} {result.scores[order.name][channel]:.3g}")]
        )
        lines += [Line("dead here")] if result.dead[channel] else []
        link = links.address(_link(done, result, channel), "channel")
        name = f"channel {channel}"
        cards.append(Card(name, name, tuple(lines), link))
    return cards


def _sheet(done: FeatureComparison, result: LayerResult, style: Style) -> Sheet:
    """Clean, degraded and difference of every channel shown, in the colours of the figure."""

    def draw() -> bytes:
        shown, (low, high) = list(result.shown), result.scale
        lines = [result.maps(name)[shown] for name in done.conditions]
        colours = figure_features.map_colours(result, style)
        tiles = [figure_tiles.coloured(maps, low, high, colours) for maps in lines]
        if done.degraded:
            peak = result.difference_peak
            difference = result.difference[shown]
            tiles.append(figure_tiles.coloured(difference, -peak, peak, style.diverging))
        return thumbnails.sheet([thumbnails.small(line) for line in tiles])

    key = ("channel tiles", key_of(done), result.model, style.colours, style.diverging)
    rows = 3 if done.degraded else 1
    return Sheet(explaining.results()(key, draw), rows, max(result.grid), hard=True)


def key_of(done: FeatureComparison) -> tuple[object, ...]:
    """What tells a comparison from every other."""
    hashes = tuple(result.sha256 for result in done.results)
    picture = done.picture
    return (repr(done.request), hashes, picture.sha256, picture.name, picture.image_id, picture.label)


def _scale(done: FeatureComparison, result: LayerResult, style: Style) -> None:
    """What the cards show, and what their colours mean."""
    bars = explaining.results()(
        ("colour bars", key_of(done), result.model, style.colours, style.diverging),
        lambda: figures.render(
            figure_features.colours_figure(result, style, degraded=done.degraded), "png", BAR_DPI, quick=True
        ),
    )
    st.image(bars, alt=_ends(done, result))
    shown = "From left to right: clean, degraded, clean − degraded. " if done.degraded else ""
    zero = " Zero is in the middle of the colours." if result.signed else ""
    st.caption(
        widgets.plain(f"{shown}One scale for the {len(result.shown)} channels shown of this network.{zero}")
    )


def _ends(done: FeatureComparison, result: LayerResult) -> str:
    """The colour bars, for those who can't see them."""
    (low, high), peak = result.scale, result.difference_peak
    words = f"Colours: activation from {low:.3g} to {high:.3g}"
    return f"{words}; clean − degraded from {-peak:.3g} to {peak:.3g}." if done.degraded else f"{words}."


def take_home(done: FeatureComparison, style: Style) -> None:
    """The figure, its files, the raw maps, the scores of all channels, and the manifest."""
    stem = export.safe_stem(f"{done.picture.name}-features")
    layers = ", ".join(f"{result.layer} of {result.model}" for result in done.results)
    with st.expander("The figure to take home"):
        network_data.show(
            ("feature figure", key_of(done), style),
            lambda: figure_features.channels_figure(done, style),
            stem,
            f"Channels of {layers} for {done.picture.name}.",
            "content",
        )
        with st.container(horizontal=True):
            files = {
                "Raw maps (.npz)": (lambda: export.npz(feature_export.raw_arrays(done)), f"{stem}.npz"),
                "Scores of all channels (.csv)": (
                    lambda: feature_export.scores(done),
                    f"{stem}-channels.csv",
                ),
                "Manifest (.json)": (
                    lambda: feature_export.manifest_file(done, style),
                    f"{stem}-manifest.json",
                ),
            }
            for label, (content, name) in files.items():
                widgets.download(label, content, name)
        st.caption("`python -m xai reproduce MANIFEST IMAGE` draws the same figure again.")


def filters(models: Sequence[Model], style: Style) -> None:
    """The first convolutions' filters as pictures."""
    with st.expander("Filters of the first layer"), showing.one_sentence():
        found = [feature_filters.first_filters(model) for model in models]
        network_data.show(
            ("filters", *((each.model, each.sha256) for each in found), style),
            lambda: figure_features.filters_figure(found, style),
            "-".join([each.model for each in found]) + "-filters",
            "Filters of " + ", ".join(f"{each.layer} of {each.model}" for each in found) + ".",
            "content",
        )
