"""The parts of the Robustness page that boil a network down: corruption errors, calibration, the paper's own grid."""

from __future__ import annotations

from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from xai import (
    figure_calibration,
    figure_robustness,
    robustness_board,
    robustness_calibration,
    robustness_mce,
    robustness_paper,
)
from xai.result_manifest import every
from xai.results import UNTOUCHED, Board, Condition
from xai.ui import network_data, result_data, robustness_show, widgets
from xai.ui.robustness_show import Chosen

MCE_KEYS = ("reference", "errors")
CALIBRATION_KEYS = ("beside", "k")
REFERENCE_HELP = (
    "Its errors count as 100 %: the benchmark takes AlexNet, and so is our own AlexNet the usual choice."
)
ERRORS_HELP = (
    "Corruption error: errors on degraded images, as a share of the reference's. Relative: the errors that degradation "
    "adds to those on clean images, as a share of what it adds to the reference's."
)
BESIDE_HELP = "The degraded condition that is set beside clean images."
K_HELP = "Top-k accuracy counts an answer as right where the true class is among the k most likely ones."
ERRORS = {"plain": "Corruption error", "relative": "Relative to the clean error"}


def draw_mce(chosen: Chosen) -> None:
    """Corruption errors against a network of our own."""
    board, models, scale = chosen.board, chosen.models, chosen.scale
    left, right = st.columns(2, vertical_alignment="bottom")
    with left:
        usual = robustness_board.reference(board)
        against = widgets.one_of("Reference (100 %)", "reference", board.models, usual, help=REFERENCE_HELP)
    with right:
        options: dict[str, Any] = {"words": ERRORS.__getitem__, "draw": st.radio, "horizontal": True}
        options["help"] = ERRORS_HELP
        kind = widgets.one_of("In the figure", "errors", list(ERRORS), "plain", **options)
    rows = robustness_mce.mce_rows(board, models, scale, against)
    if not any(row["mCE %"] is not None for row in rows):
        st.info(f"No degradation has answers of {widgets.plain(against)} and of the chosen networks.")
        return
    relative = kind == "relative"
    make = lambda: figure_robustness.errors(board, models, scale, against, relative)  # noqa: E731
    words = robustness_show.alt(f"Corruption errors against {against}.", rows)
    robustness_show.figure(chosen, "corruption-errors", make, words, against, kind)
    fewer = "loses less of its clean accuracy" if relative else "makes fewer errors"
    st.markdown(
        f"Below 100 % a network {fewer} than the reference. Intervals are 95 % bootstrap ones over images, all "
        "conditions of an image and both networks together."
    )
    robustness_show.table(rows, "mce", f"Mean corruption error against {against} (100 %).", ("left out",))
    _mce_details(chosen, against)
    notes = [
        *robustness_mce.mce_notes(board, models, scale, against),
        "Relative robustness is degraded over clean accuracy, averaged over the conditions. The WAR-style score is "
        "that times a factor that only falls below 1 where the clean accuracy comes near guessing.",
        robustness_board.idle_note(board, chosen.degraded),
    ]
    cells = every(dict.fromkeys((*models, against)), chosen.conditions)
    robustness_show.finish(chosen, cells, notes, reference=against)


def _mce_details(chosen: Chosen, against: str) -> None:
    board, models, scale = chosen.board, chosen.models, chosen.scale
    with st.expander("Corruption error of each degradation"):
        rows = robustness_mce.error_rows(board, models, scale, against)
        robustness_show.table(rows, "corruption-errors", f"Corruption errors against {against} (100 %).")
    with st.expander("Relative robustness under each condition"):
        rows = robustness_mce.robustness_rows(board, models, scale)
        robustness_show.table(rows, "relative-robustness", "Degraded over clean accuracy.")


def draw_calibration(chosen: Chosen) -> None:
    """Whether confidence can be trusted, clean beside one condition."""
    board, models = chosen.board, chosen.models
    left, right = st.columns(2, vertical_alignment="bottom")
    with left:
        beside = robustness_show.condition(
            "Beside clean", "beside", chosen.degraded, _usual(chosen), BESIDE_HELP
        )
    with right:
        most = max(2, len(board.classes) - 1)
        options: dict[str, Any] = {"draw": st.number_input, "help": K_HELP}
        k = int(widgets.number("k of the top-k accuracy", "k", (1, most), min(5, most), 1, **options))
    pair = (UNTOUCHED, beside)
    rows = robustness_calibration.calibration_rows(board, models, pair)
    if not rows:
        st.info("None of the chosen networks was asked about these images.")
        return
    make = lambda: figure_calibration.reliability(board, models, pair)  # noqa: E731
    words = robustness_show.alt("Reliability diagrams.", rows)
    robustness_show.figure(chosen, "reliability", make, words, beside)
    st.caption(
        "Points are 15 bins of equal width with 95 % Wilson intervals. On the dotted line a network is as often right "
        "as its confidence says; below it, it is too sure. The steps show how many images each bin has."
    )
    robustness_show.table(rows, "calibration", "Calibration with 95 % bootstrap intervals.")
    st.subheader("Accuracy, F1, AUC and top-k")
    scores = robustness_calibration.score_rows(board, models, pair, k)
    robustness_show.table(scores, "scores", "Accuracy, macro F1, macro one-vs-rest AUC and top-k.")
    note = robustness_calibration.full_note(board, models, pair)
    units = "ECE in % (15 bins), NLL in nats an image, Brier score in 0 to 2: smaller is better for all."
    idle = robustness_board.idle_note(board, [beside])
    robustness_show.finish(chosen, every(models, pair), [units, note, idle], beside=beside, k=k)


def _usual(chosen: Chosen) -> Condition:
    """The middle severity of noise where there is noise, else of the first degradation."""
    found = chosen.degraded
    first = [c for c in found if c.degradation == "gaussian_noise"]
    first = first or [c for c in found if c.degradation == found[0].degradation]
    return first[(len(first) - 1) // 2]


def draw_paper(board: Board, _beside: DeltaGenerator) -> None:
    """The paper's own numbers beside ours."""
    cards = network_data.cards()
    stand = robustness_paper.ours(board, cards)
    names = tuple(name for each in stand for name in each.networks)
    chosen = Chosen(board, names, robustness_paper.SCALE)
    entries = robustness_paper.entries(board, cards)
    st.markdown(
        f'The accuracies that the paper "{robustness_paper.PAPER}" states for low, medium and high degradation, '
        "beside ours under the same conditions."
    )
    if any(entry.ours for entry in entries):
        rows = robustness_paper.grid_rows(board, cards)
        make = lambda: figure_robustness.papers(board, cards)  # noqa: E731
        words = robustness_show.alt("The paper's accuracies beside ours.", rows)
        robustness_show.figure(chosen, "paper", make, words, tuple(card.sha256 for card in cards.values()))
    else:
        st.info("None of our networks that stand for the paper's was asked about these images.")
        result_data.offer_others(
            lambda other: any(entry.ours for entry in robustness_paper.entries(other, cards))
        )
        rows = robustness_paper.grid_rows(board, cards)
    robustness_show.table(
        rows, "paper-grid", "Accuracy in % as the paper states it, beside ours.", ("caveat",)
    )
    cells = every(names, [entry.condition for entry in entries])
    robustness_show.finish(chosen, cells, robustness_paper.notes(board, cards), paper=robustness_paper.PAPER)
