"""Deletion and insertion curves, computed when asked for: they run a network more than a hundred times."""

from __future__ import annotations

from functools import partial

import streamlit as st

from xai import faithfulness, figures
from xai.attribution import METHODS
from xai.comparison import Comparison, ModelResult
from xai.faithfulness import Faithfulness
from xai.shares import Told, untold
from xai.ui import explaining, widgets, words
from xai.ui.patience import patient
from xai.ui.words import Row

EXPLANATION = (
    "Deletion paints the most important pixels over first: a faithful map makes the probability fall at once. "
    "Insertion brings them back first: a faithful map makes it rise at once. Beside it, a random map on the same grid."
)

CURVES_HELP = "Shows the network the clean picture about a hundred times, with more and more pixels changed."


def draw(done: Comparison) -> None:
    """Curves of the first method's clean maps beside a random map."""
    with st.expander("Faithfulness: deletion and insertion"):
        st.caption(EXPLANATION)
        if not widgets.switch("Compute the curves (a few seconds)", "curves", False, help=CURVES_HELP):
            return
        method = done.request.methods[0]
        for letter, result in words.lettered(done):
            name = f"{letter}: {result.model}, {METHODS[method].title}"
            found = patient(
                f"curves_{letter}",
                f"Curves of {letter}",
                partial(measured, done, result, method),
                (explaining.key_of(done), result.model, method),
            )
            st.markdown(f"**{widgets.plain(name)}**")
            st.image(_curves(found, done, name), width=500, alt=_alt(found, name))
            widgets.table(rows(found))


def measured(done: Comparison, result: ModelResult, method: str, told: Told = untold) -> Faithfulness:
    """The curves of one network's clean map, kept for as long as there is room."""
    image, heatmap = done.view(result).clean, result.heatmaps[method]["clean"]
    model = explaining.model(result.model)

    def compute() -> Faithfulness:
        return faithfulness.deletion_insertion(
            model, image, heatmap.values[0], result.target, seed=done.request.seed, told=told
        )

    return explaining.results()(("faithfulness", *explaining.key_of(done), result.model, method), compute)


def rows(found: Faithfulness) -> list[Row]:
    """Areas under the curves."""
    return [
        {
            "area under": "deletion (low is faithful)",
            "this map": f"{found.deletion_auc:.3f}",
            "random map": f"{found.random_deletion_auc:.3f}",
        },
        {
            "area under": "insertion (high is faithful)",
            "this map": f"{found.insertion_auc:.3f}",
            "random map": f"{found.random_insertion_auc:.3f}",
        },
    ]


def _curves(found: Faithfulness, done: Comparison, name: str) -> bytes:
    x = found.fractions.tolist()
    lines = [
        ("deletion", x, found.deletion.tolist()),
        ("insertion", x, found.insertion.tolist()),
        ("deletion, random map", x, found.random_deletion.tolist()),
        ("insertion, random map", x, found.random_insertion.tolist()),
    ]
    labels = ("share of pixels changed", "probability of the class")

    def draw_curves() -> bytes:
        return figures.render(figures.curves_figure(lines, labels), "png", explaining.PAGE_DPI, quick=True)

    return explaining.results()(("curves", *explaining.key_of(done), name), draw_curves)


def _alt(found: Faithfulness, name: str) -> str:
    return (
        f"Curves for {name}: deletion area {found.deletion_auc:.3f} (random {found.random_deletion_auc:.3f}), "
        f"insertion area {found.insertion_auc:.3f} (random {found.random_insertion_auc:.3f})."
    )
