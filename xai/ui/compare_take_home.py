"""What a user takes home from the Compare page: the whole report, and the reports that come with the project."""

from __future__ import annotations

import streamlit as st

from xai.compare import kept
from xai.compare.run import Compared
from xai.compare.study import Facts, Study
from xai.ui import explaining, state, widgets


def draw(study: Study, found: Compared) -> None:
    """The whole report as one file."""
    del study, found


def offer_shipped() -> None:
    """Buttons for the comparisons that come with the project."""
    found = [facts for _, facts in kept.shipped()]
    if not found:
        return
    st.markdown("These come with the project, and open at once:")
    for number, facts in enumerate(found):
        names = " against ".join(network.name for network in facts.networks)
        st.button(
            widgets.plain(f"{names}, {facts.study.dataset} {facts.study.split}, {facts.images:,} images"),
            key=f"shipped comparison {number}",
            on_click=_open,
            args=(facts,),
            icon=":material/arrow_forward:",
        )


def _open(facts: Facts) -> None:
    """Choose what a shipped comparison is of."""
    study = facts.study
    choices = {
        "a": [study.models[0]],
        "b": [study.models[1]],
        "compare_images": [study.dataset],
        "compare_split": [study.split],
        "compare_count": ["all" if study.limit is None else str(study.limit)],
        "compare_method": [study.method],
        "compare_scale": [study.scale],
        "compare_seed": [str(study.seed)],
    }
    state.adopt({name: values for name, values in choices.items() if explaining.cards()})
    st.session_state[state.CHOICES].pop("compare_degradations", None)
    st.session_state.pop(f"compare_degradations {study.scale}", None)
