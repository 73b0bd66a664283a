"""The Features page from its first widget to its last figure."""

from __future__ import annotations

import streamlit as st

from models.registry import Model
from xai import feature_maps
from xai.comparison import Picture
from xai.feature_maps import ORDERS, FeatureComparison, FeatureRequest
from xai.ui import (
    channel_jobs,
    controls,
    explaining,
    feature_drift_view,
    feature_show,
    feature_survival,
    layer_choice,
    pictures,
    showing,
    state,
    widgets,
    words,
)
from xai.ui.controls import Degrading, Networks
from xai.ui.layer_choice import MATCH

SHOWN = (8, 16, 24, 32, 64)
"""How many channels a page may show."""
LAYER_KEYS = ("feature_layer", "feature_layer_b")
LINK_KEYS = (
    *controls.LINK_KEYS,
    *LAYER_KEYS,
    "order",
    "shown",
    "first",
    *feature_drift_view.KEYS,
    *feature_survival.KEYS,
)

ORDER_HELP = (
    "Which channels come first. What the order goes by stands below, and its number under each channel."
)
SHOWN_HELP = "Of each network, side by side on one page."
PAGE_HELP = "The next channels in the order that was chosen."


def draw() -> None:
    """Draw the page; what can't be done is said in one sentence."""
    with showing.one_sentence():
        _draw()


def _draw() -> None:
    top = st.container()
    with st.sidebar:
        st.subheader("Picture")
        offer = pictures.choose()
    source = showing.pick(offer)
    if source is None:
        return
    picture = pictures.open_picture(source)
    with st.sidebar:
        st.subheader("Networks")
        chosen = controls.networks()
    degrading = controls.degrading(chosen.size)
    layers = _layers(chosen)
    with st.sidebar:
        st.subheader("Channels")
        request = _request(chosen, picture, degrading, layers)
        st.subheader("Figure")
        style = controls.plain_style()
    models = [explaining.model(name) for name in request.models]
    done = feature_maps.examine(request, picture, models, explaining.results())
    elsewhere = channel_jobs.begin()
    _say(done)
    feature_show.gallery(done, style)
    feature_show.take_home(done, style)
    feature_drift_view.draw(done, models, style)
    feature_survival.draw(done, models)
    feature_show.filters(models, style)
    channel_jobs.finish(elsewhere)
    with top:
        showing.ignored()
    state.write_link(LINK_KEYS)


def _layers(chosen: Networks) -> dict[str, str]:
    """The layer of each network: by name beside the other's, or picked on its drawing."""
    first, *others = chosen.models
    columns = st.columns(2)
    with columns[0]:
        layers = {first.name: layer_choice.choose(first, LAYER_KEYS[0], first.default_layer, "Layer of A")}
    for model in others:
        fits = feature_maps.matching_layer(first, layers[first.name], model)
        with columns[1]:
            layers[model.name] = layer_choice.choose(
                model,
                LAYER_KEYS[1],
                MATCH,
                "Layer of B",
                {MATCH: _fit(first, layers[first.name], model, fits)},
            )
        if layers[model.name] == MATCH:
            layers[model.name] = fits
    with st.expander("Pick a layer on a drawing of the network"):
        for letter, key, model in zip("AB", LAYER_KEYS, chosen.models, strict=False):
            st.markdown(f"**{letter}: {widgets.plain(model.name)}**")
            layer_choice.draw(model, key, layers[model.name], f"Layers of {model.name}")
    return layers


def _fit(a: Model, layer: str, b: Model, fits: str) -> str:
    """Why a layer of B was chosen beside one of A."""
    grids = [layer_choice.info(*each).grid for each in ((a, layer), (b, fits))]
    height, width = grids[1]
    return f"same grid: {fits}" if grids[0] == grids[1] else f"nearest grid, {height} × {width}: {fits}"


def _request(
    chosen: Networks, picture: Picture, degrading: Degrading, layers: dict[str, str]
) -> FeatureRequest:
    degraded = degrading.degradation != "none" and degrading.severity > 0
    offered = [name for name, order in ORDERS.items() if degraded or not order.compares]
    titles = {name: ORDERS[name].title for name in offered}
    order = widgets.one_of(
        "Order of channels", "order", offered, "maximum", titles.__getitem__, help=ORDER_HELP
    )
    st.caption(ORDERS[order].description)
    target = controls.target(chosen, picture)
    count = int(
        widgets.one_of(
            "Channels on the page", "shown", [str(number) for number in SHOWN], "16", help=SHOWN_HELP
        )
    )
    start = _start(chosen, layers, count)
    return FeatureRequest(
        tuple(model.name for model in chosen.models),
        layers,
        target,
        order,
        degrading.degradation,
        degrading.severity,
        degrading.scale,
        controls.resize(),
        degrading.seed,
        count,
        start,
    )


def _start(chosen: Networks, layers: dict[str, str], count: int) -> int:
    """The place of the first channel, by the number of the page."""
    most = max(layer_choice.channels(model, layers[model.name]) for model in chosen.models)
    pages = -(-most // count)
    if pages == 1:
        return 0
    page = widgets.number(
        f"Page of channels, of {pages:,}", "first", (1, pages), 1, 1, st.number_input, help=PAGE_HELP
    )
    return (int(page) - 1) * count


def _say(done: FeatureComparison) -> None:
    """The picture as the networks see it, what they say of it, what is shown, and what to be careful about."""
    feature_show.picture(done)
    for caution in words.strangers(done.picture.label, done.results):
        st.warning(widgets.plain(caution), icon=":material/warning:")
    for letter, result in zip("AB", done.results, strict=False):
        said = f"says {result.predicted('clean')}"
        if done.degraded:
            said += f" on the clean picture and {result.predicted('degraded')} on the degraded one"
        tapped = f"{result.layer}, {result.position}: {layer_choice.words(result.grid, result.channels)}"
        st.markdown(
            f"**{letter}: {widgets.plain(result.model)}** {widgets.plain(said)} · {widgets.plain(tapped)}"
        )
        if result.notes:
            st.caption(widgets.plain(" ".join(result.notes)))
