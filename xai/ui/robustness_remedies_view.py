"""The part of the Robustness page on remedies before the network."""

from __future__ import annotations

import streamlit as st

from xai import figure_remedies, robustness_remedies
from xai.result_manifest import every
from xai.results import UNTOUCHED
from xai.ui import result_data, robustness_show, widgets
from xai.ui.robustness_show import Chosen

REMEDY_KEYS = ("repaired",)
NETWORK_HELP = "The figure shows one network; the tables below show all that are chosen above."
_HOW = (
    "python -m xai evaluate --models NAME --dataset DATASET --degradations clean paper --remedies none all "
    "--compact --out RESULTS"
)


def draw_remedies(chosen: Chosen) -> None:
    """What each remedy wins back, and what it costs on clean images."""
    board, models, scale = chosen.board, chosen.models, chosen.scale
    with_gains = [name for name in models if robustness_remedies.found(board, name, scale)]
    if not with_gains:
        _say_where()
        return
    model = widgets.one_of("Network in the figure", "repaired", with_gains, with_gains[0], help=NETWORK_HELP)
    rows = robustness_remedies.remedy_rows(board, models, scale)
    make = lambda: figure_remedies.remedies(board, model, scale)  # noqa: E731
    words = robustness_show.alt("What remedies win back under each condition.", rows)
    robustness_show.figure(chosen, "remedies", make, words, model)
    st.subheader("What each remedy wins back")
    st.markdown(
        "The gain is the accuracy on repaired images less that on the same degraded ones, with a 95 % bootstrap "
        "interval; `won back` is its share of what the degradation costs, empty where that is not more than chance. "
        "A told remedy knows the degradation and its severity, a blind one does not. Tests are corrected by Holm over "
        "all remedies and conditions of a network, clean images among them."
    )
    robustness_show.table(rows, "remedies", "What remedies win back, with 95 % intervals.")
    st.subheader("What each remedy costs on clean images")
    costs = robustness_remedies.cost_rows(board, models, scale)
    robustness_show.table(costs, "remedy-costs", "What remedies cost on clean images, with 95 % intervals.")
    if not costs:
        st.caption("No answers to clean images with a remedy are stored.")
    used = robustness_remedies.repaired(board, models, scale)
    conditions = dict.fromkeys([UNTOUCHED, *(c.plain for c in used), *used])
    robustness_show.finish(chosen, every(models, conditions), repaired=model)


def _say_where() -> None:
    """Which other images were repaired, or how that is done."""
    st.info("Of these images, networks and scale no answers to repaired images are stored.")
    if not result_data.offer_others(lambda board: any(c.remedy for c in board.conditions)):
        st.caption("They come from a small sweep below, or from:")
        st.code(_HOW, language="bash", wrap_lines=True)
