"""One network: its card, curves, classes, stages, speed and seeds."""

from __future__ import annotations

from functools import partial

import streamlit as st

from models import zoo
from models.cards import Card, training_command
from xai import figure_networks, latency, metrics, network_curves, network_shape, network_table, tables
from xai.latency import Latency
from xai.network_curves import Curve
from xai.ui import cards_view, explaining, network_data, showing, widgets
from xai.ui.patience import patient

LATENCIES = "latencies"
MEASURE_HELP = "Runs the network on this server with one image and with 64 at a time; takes some seconds."
SIDE = 425
"""Width, in px, of the card and of the figure beside it; both fit beside each other in a window of 1400 px."""
READING = (
    "Height × width × channels. A box is as high as the logarithm of the grid and as wide as that of the channels; "
    "hatched is the layer that heatmaps tap by default. Branches are drawn one after another."
)


def draw(name: str) -> None:
    """Everything that is known of one network."""
    card = network_data.cards()[name]
    st.subheader(widgets.plain(name), anchor=False)
    if not zoo.has_weights(name):
        st.info(
            "Its weights don't come with the project, so it can be looked at but not used. "
            f"This trains it: `{training_command(card)}`"
        )
    with st.container(horizontal=True, gap="medium"):  # one below the other where the window is narrow
        with st.container(width=SIDE):
            cards_view.draw(card)
        with st.container(width=SIDE), showing.one_sentence():
            _classes(card)
    for part in (_stages, _curves):
        with showing.one_sentence():
            part(card)
    _latency(card)
    _seeds(card)


def _stages(card: Card) -> None:
    st.markdown("**Stages**")
    found = network_shape.stages(card)
    words = ", ".join(f"{stage.name} {stage.words}{' (tapped)' if stage.tapped else ''}" for stage in found)
    make = partial(figure_networks.stages_figure, found, len(card.classes))
    network_data.show(
        ("stages", repr(found), len(card.classes)), make, f"{card.name}-stages", f"Stages: {words}."
    )
    st.caption(READING)


def _curves(card: Card) -> None:
    st.markdown("**Training**")
    curve = network_curves.curve_of(card)
    if curve is None:
        st.caption("No training curve is stored with this network.")
        return
    _show_curves([("", curve)], network_curves.notes(card), card)


def _show_curves(curves: list[tuple[str, Curve]], notes: list[str], card: Card) -> None:
    images = network_table.validation_images(card)
    last = "; ".join(
        f"{name or card.name}: {network_table.accuracy_words(curve[-1]['validation_accuracy'], images)} after "
        f"{len(curve)} epochs"
        for name, curve in curves
    )
    key = ("curves", card.name, card.sha256, tuple((name, len(curve)) for name, curve in curves))
    make = partial(figure_networks.curves_figure, curves, notes)
    stem = f"{card.name}-{'seeds' if len(curves) > 1 else 'training'}"
    network_data.show(key, make, stem, f"Training curves. Validation accuracy of {last}.")


def _classes(card: Card) -> None:
    st.markdown("**Accuracy by class**")
    found = network_table.predictions_of(card)
    if found is None:
        st.caption("No answers on the test images are stored with this network.")
        return
    rows = metrics.class_accuracies(found, card.classes)
    make = partial(figure_networks.class_figure, rows)
    words = ", ".join(f"{row.name} {row.right} of {row.total}" for row in rows)
    network_data.show(
        ("classes", card.name, card.sha256), make, f"{card.name}-classes", f"By class: {words}."
    )


def _latency(card: Card) -> None:
    """A button that measures forward passes here, and what was measured in this session."""
    if not zoo.has_weights(card.name):
        return
    st.markdown("**Latency**")
    kept: dict[str, list[Latency]] = st.session_state.setdefault(LATENCIES, {})
    if st.button("Measure latency here", icon=":material/timer:", key="measure", help=MEASURE_HELP):
        with showing.one_sentence():
            title = "Timing forward passes, one image and 64 at a time"
            timed = partial(latency.measure, explaining.model(card.name))
            kept[card.sha256] = patient("latency", title, lambda told: timed(told=told))
    if card.sha256 in kept:
        _timed(kept[card.sha256])


def _timed(rows: list[Latency]) -> None:
    left_out = ("name", "device", "threads")
    widgets.table(
        [{h: w for h, w in row.items() if h not in left_out} for row in tables.as_words(latency.table(rows))]
    )
    where = f"{rows[0].device}, {rows[0].threads} {'thread' if rows[0].threads == 1 else 'threads'}"
    st.caption(
        f"Median and quartiles of repeated forward passes after a warm-up on {widgets.plain(where)}; what else ran "
        "at the time is measured too."
    )


def _seeds(card: Card) -> None:
    """The other seeds of the same training, as rows and as curves on one scale."""
    groups = network_table.by_training(network_data.rows())
    names = next(row.names for row in groups if card.name in row.names)
    with st.expander(f"Seeds of this training ({len(names)})", key="seeds", on_change="rerun") as box:
        if not box.open:
            return
        known = network_data.cards()
        same = [row for row in network_data.rows() if row.name in names]
        widgets.table(cards_view.seed_rows(same))
        if len(names) < 2:
            st.caption("There is one seed only, so nothing is known of how much the result depends on it.")
            return
        curves = [(f"seed {known[name].seed}", network_curves.curve_of(known[name])) for name in names]
        stored = [(name, curve) for name, curve in curves if curve is not None]
        with showing.one_sentence():
            if len(stored) > 1:
                _show_curves(stored, network_curves.notes(card), card)
