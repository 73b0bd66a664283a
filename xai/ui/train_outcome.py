"""What came of a visitor's training: accuracy and what it is worth, curves, keeping the network, and where to go on."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from functools import partial

import streamlit as st

from models.cards import Card
from xai import figure_networks, network_curves, own_training
from xai.own_training import Outcome
from xai.ui import explaining, network_data, train_job, ways, widgets
from xai.ui.job import Job

KEPT, FAILED = "training_kept", "training_failed"
_LONGEST_NAME = 80


def draw() -> None:
    """Draw the outcome of the last training that this visitor started."""
    job = train_job.mine()
    if job is None or job.outcome is None or not isinstance(job.about, train_job.Live):
        return
    st.subheader("What came of it")
    words = "It was cancelled; this is what was done by then." if job.cancelled else ""
    st.success(widgets.plain(" ".join([f"{job.title}.", words])), icon=":material/check:")
    for sentence in job.outcome.sentences():
        st.markdown(widgets.plain(sentence))
    _figure(job.outcome, job.about)
    with st.expander("Card"):
        st.code(json.dumps(asdict(job.outcome.card), indent=2), language="json")
    _keep(job, job.outcome, job.about)


def _figure(found: Outcome, live: train_job.Live) -> None:
    curve = live.curve()
    if not curve:
        return
    notes = network_curves.notes(found.card)
    alt = f"Training curves of {len(curve)} epochs."
    make = partial(figure_networks.curves_figure, [("", curve)], notes)
    network_data.show(("own training", str(live.folder), len(curve)), make, "training", alt)


def _keep(job: Job[Outcome], found: Outcome, live: train_job.Live) -> None:
    """The button that keeps the network, or links once it is kept."""
    name, of_job = st.session_state.get(KEPT, ("", None))
    if of_job is job and name in explaining.cards():
        st.success(widgets.plain(f"{name} is listed on every page."), icon=":material/save:")
        card = ("Its card", "All that is known of it.", "models", lambda: {"network": [name]})
        ways.draw(replace(found.card, name=name), live.wish.dataset, [card])
        return
    help_words = "Letters, digits and . _ + -; every page lists the network by it, for all visitors."
    name = st.text_input(
        "Name of the network", _proposed(found.card), _LONGEST_NAME, key="kept_name", help=help_words
    )
    label, words = (
        "Keep this network",
        "Until it is kept it stays until your next training, or until you leave.",
    )
    st.button(label, on_click=_store, args=(job, found, name), icon=":material/save:", help=words)
    if failed := st.session_state.pop(FAILED, None):
        st.error(widgets.plain(failed), icon=":material/error:")


def _proposed(card: Card) -> str:
    """A name that is free."""
    stem = "-".join([card.architecture.rpartition(":")[2], "own"])
    taken = explaining.cards()
    return next(name for k in range(1, len(taken) + 2) if (name := f"{stem}-{k}") not in taken)


def _store(job: Job[Outcome], found: Outcome, name: str) -> None:
    try:
        card = own_training.keep(found, name.strip())
    except (ValueError, OSError) as error:
        st.session_state[FAILED] = str(error)
        return
    explaining.cards.clear()
    network_data.clear()
    st.session_state[KEPT] = (card.name, job)
