"""The parts of the Robustness page that set networks side by side: curves, and the grid of all conditions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from xai import figure_robustness, robustness_board, robustness_curves, robustness_grid
from xai.results import UNTOUCHED
from xai.robustness_board import title
from xai.tables import Rows
from xai.ui import robustness_show, widgets
from xai.ui.robustness_show import Chosen

CURVE_KEYS = ("degradations", "by_class", "degradation")
GRID_KEYS = ("cells", "a", "b")
FIRST = ("gaussian_noise", "gaussian_blur", "motion_blur", "fog", "pixelate", "jpeg_compression")
"""Degradations that are drawn first; there may be 17."""
BY_CLASS_HELP = "Off: all images, several degradations. On: every class apart, one degradation at a time."
DEGRADATIONS_HELP = (
    "One curve for each network and degradation. Fewer make larger pictures; none is the usual choice."
)
A_HELP = "The network set beside B in what looks at two alone: seeds of one training, and shared errors."
ONE_HELP = "What is done to the images, in growing severity."
CELLS_HELP = (
    "Accuracy of each network, or each network's accuracy less that of one, with a test of every difference."
)
CELLS = {"accuracy": "Accuracy", "difference": "Difference A − B"}


def draw_curves(chosen: Chosen) -> None:
    """Accuracy against severity, of all images or of each class."""
    found = robustness_board.degradations(chosen.board, chosen.models, chosen.scale)
    if widgets.switch("By class: which classes die first", "by_class", False, help=BY_CLASS_HELP):
        _by_class(chosen, found)
        return
    usual = tuple(name for name in found if name in FIRST) or found
    options: dict[str, Any] = {"part": chosen.scale, "help": DEGRADATIONS_HELP}
    picked = widgets.some_of("Degradations", "degradations", found, usual, title, **options) or usual
    rows = robustness_curves.area_rows(chosen.board, chosen.models, chosen.scale, picked)
    make = lambda: figure_robustness.curves(chosen.board, chosen.models, chosen.scale, picked)  # noqa: E731
    words = robustness_show.alt("Accuracy against severity with 95 % Wilson bands.", rows)
    robustness_show.figure(chosen, "curves", make, words, picked)
    st.caption("Bands are 95 % Wilson intervals; dotted is the accuracy of guessing.")
    st.subheader("Area under each curve")
    st.markdown(
        "The mean accuracy over the scale, clean included: a network that loses nothing has its clean accuracy. The "
        "interval is a 95 % bootstrap over images, all severities of an image together."
    )
    robustness_show.table(rows, "areas", "Area under accuracy against severity, with 95 % interval.")
    _points(chosen)
    used = [cell for cell in chosen.cells if cell[1] == UNTOUCHED or cell[1].degradation in picked]
    idle = robustness_board.idle_note(chosen.board, [c for c in chosen.degraded if c.degradation in picked])
    robustness_show.finish(chosen, used, [idle], degradations=picked)


def _points(chosen: Chosen) -> None:
    """Read when it is asked for: it needs every condition, not only the chosen degradations."""
    box = st.expander("Accuracy under every condition", key="every_condition", on_change="rerun")
    if not box.open:
        return
    with box:
        rows = robustness_curves.accuracy_rows(chosen.board, chosen.models, chosen.scale)
        robustness_show.table(rows, "accuracy", "Accuracy under every condition, with 95 % Wilson interval.")


def _by_class(chosen: Chosen, found: Sequence[str]) -> None:
    """Each class against severity of one degradation."""
    board, models, scale = chosen.board, chosen.models, chosen.scale
    name = widgets.one_of("Degradation", "degradation", found, found[0], title, help=ONE_HELP)
    rows = robustness_curves.death_rows(board, models, scale, [name])
    make = lambda: figure_robustness.classes(board, models, scale, name)  # noqa: E731
    words = robustness_show.alt("Accuracy of each class against severity with 95 % Wilson bands.", rows)
    robustness_show.figure(chosen, "classes", make, words, name)
    st.subheader("Which classes die first")
    st.markdown(
        "A class dies where less than half of its clean accuracy is left, also if it recovers later. It is certain "
        "only where the fall is beyond both intervals. Of a class that survives, what is left at the highest "
        "severity is shown. A class also survives where a network gives it as the answer to nearly everything: the "
        "confusions on the Errors page tell."
    )
    robustness_show.table(rows, "deaths", "Which classes die first, with 95 % Wilson intervals.")
    most = figure_robustness.MOST_CLASSES
    many = (
        f"Of {len(board.classes):,} classes the {most} that lose most are drawn."
        if len(board.classes) > most
        else ""
    )
    idle = robustness_board.idle_note(board, [c for c in chosen.degraded if c.degradation == name])
    used = [cell for cell in chosen.cells if cell[1] == UNTOUCHED or cell[1].degradation == name]
    robustness_show.finish(chosen, used, [many, idle], degradation=name, by_class=True)


def draw_grid(chosen: Chosen) -> None:
    """All conditions of all networks: accuracies or differences, and what two networks share."""
    options: dict[str, Any] = {
        "words": CELLS.__getitem__,
        "draw": st.radio,
        "horizontal": True,
        "help": CELLS_HELP,
    }
    shown = widgets.one_of("In the cells", "cells", list(CELLS), "accuracy", **options)
    if shown == "difference" and len(chosen.models) < 2:
        st.info("A difference needs a second network: choose one above.")
        return
    if shown == "difference":
        _differences(chosen)
    else:
        _accuracies(chosen)


def _accuracies(chosen: Chosen) -> None:
    board, models, scale = chosen.board, chosen.models, chosen.scale
    rows = robustness_curves.accuracy_rows(board, models, scale)
    make = lambda: figure_robustness.grid(board, models, scale)  # noqa: E731
    words = robustness_show.alt("Accuracy of each network under each condition.", rows)
    robustness_show.figure(chosen, "grid", make, words)
    robustness_show.table(rows, "accuracy", "Accuracy under every condition, with 95 % Wilson interval.")
    idle = robustness_board.idle_note(board, chosen.degraded)
    robustness_show.finish(chosen, chosen.cells, [idle], shown="accuracy")


def _differences(chosen: Chosen) -> None:
    """Each network less B under each condition, then A and B more closely."""
    board, models, scale = chosen.board, chosen.models, chosen.scale
    left, right = st.columns(2)
    with right:
        b = widgets.one_of(
            "B", "b", models, models[1], help="Its accuracy is subtracted from that of every other network."
        )
    others = [name for name in models if name != b]
    with left:
        a = widgets.one_of("A, where only two are compared", "a", others, others[0], help=A_HELP)
    rows = robustness_grid.difference_rows(board, models, scale, b)
    make = lambda: figure_robustness.differences(board, models, scale, b)  # noqa: E731
    words = robustness_show.alt(f"Difference of accuracy to {b} under each condition.", rows)
    if not rows:
        st.info("No condition has answers of both networks.")
        return
    robustness_show.figure(chosen, "differences", make, words, b)
    st.caption("Where only a few images tip, all to one side, the interval is too narrow: go by p.")
    robustness_show.table(
        rows, "differences", "Differences of accuracy, exact McNemar tests, Holm over all rows."
    )
    _means(robustness_grid.mean_rows(board, models, scale, b))
    _seeds(chosen, a, b)
    _shared_errors(chosen, a, b)
    idle = robustness_board.idle_note(board, chosen.degraded)
    robustness_show.finish(chosen, _with_seeds(chosen, a, b), [idle], shown="difference", a=a, b=b)


def _with_seeds(chosen: Chosen, a: str, b: str) -> list[Any]:
    """The cells of the networks shown, and of all seeds that stand behind the null."""
    names = dict.fromkeys(
        [*chosen.models, *(s for m in (a, b) for s in robustness_board.seeds(chosen.board, m))]
    )
    return [(name, condition) for name in names for condition in chosen.conditions]


def _means(rows: Rows) -> None:
    st.subheader("Averaged over the degraded conditions")
    st.markdown(
        "Images are resampled with all their conditions together, so that the interval is not too narrow; p is that "
        "of giving each image's mean difference a random sign."
    )
    robustness_show.table(rows, "mean-differences", "Differences averaged over the degraded conditions.")


def _seeds(chosen: Chosen, a: str, b: str) -> None:
    """The difference of two trainings beside what two seeds of one training differ by."""
    board, scale = chosen.board, chosen.scale
    st.subheader("Beside two seeds of one training")
    rows = robustness_grid.seed_rows(board, a, b, scale)
    if not rows:
        st.caption("A and B are seeds of one training: their difference is the null itself.")
        return
    st.markdown(
        "A test on images says whether these two networks differ. Whether the architectures do, more than chance in "
        "training does, is seen only against two seeds of one training: the grey bars."
    )
    make = lambda: figure_robustness.seeds(board, a, b, scale)  # noqa: E731
    words = robustness_show.alt("Differences between two trainings beside those between seeds.", rows)
    robustness_show.figure(chosen, "seeds", make, words, a, b)
    robustness_show.table(rows, "seeds", "Differences of trainings beside those of two seeds of one.")
    clean = robustness_grid.between_seeds(board, a, b, UNTOUCHED)
    if clean is not None:
        st.caption(widgets.plain(f"On clean images: {clean.sentence}"))


def _shared_errors(chosen: Chosen, a: str, b: str) -> None:
    """Computed when it is asked for: many confusion matrices."""
    box = st.expander("Do they fail on the same images", key="shared_errors", on_change="rerun")
    if box.open:
        with box:
            _consistency(chosen, a, b)


def _consistency(chosen: Chosen, a: str, b: str) -> None:
    st.markdown(
        "Kappa is 1 for the same errors, 0 for as many in common as chance gives, with a 95 % bootstrap interval. The "
        "confusion distance is 0 where each class is mistaken for the same others, at most 1. Both stand beside those "
        "of two seeds of one training, where these are stored."
    )
    rows = robustness_grid.consistency_rows(chosen.board, a, b, chosen.scale)
    robustness_show.table(rows, "shared-errors", "Error consistency and confusion distance.")
