"""One question of the Compare page: what is known, figures, tables, what is not defined, and how it is measured."""

from __future__ import annotations

from typing import Any

import streamlit as st

from xai.compare import kept
from xai.compare.run import Compared
from xai.compare.sections import Section
from xai.compare.study import Study
from xai.export import safe_stem
from xai.ui import compare_pictures, explaining, network_data, robustness_show, widgets


def draw(study: Study, found: Compared, section: Section) -> None:
    """Draw one section of a comparison."""
    said, rows = found.found[section.name], found.rows[section.name]
    st.subheader(section.title)
    st.caption(widgets.plain(section.question))
    st.markdown(f"**{widgets.plain(said.verdict)}**")
    if said.sentences:
        st.markdown("\n".join(f"- {widgets.plain(sentence)}" for sentence in said.sentences))
    for name in _figure_names(found, section):
        network_data.show(
            (*key_of(study, section), name),
            lambda name=name: section.draw(found.facts, rows)[name],  # type: ignore[misc]
            f"compare-{section.name}-{name}",
            f"{section.title}, {name}: {said.verdict}",
        )
    compare_pictures.draw(study, found, section)
    for title, table in said.tables.items():
        if table:
            with st.expander(title):
                robustness_show.table(table, safe_stem(f"compare-{section.name}-{title}"), title)
    if said.undefined:
        st.markdown("**Left out, or without a number**")
        st.caption("\n".join(f"- {widgets.plain(sentence)}" for sentence in said.undefined))
    with st.expander("How this is measured"):
        st.markdown(widgets.plain(section.method(found.facts, rows)))


def key_of(study: Study, section: Section) -> tuple[Any, ...]:
    """What tells a section of a comparison from every other."""
    cards = explaining.cards()
    hashes = tuple(cards[name].sha256 for name in study.models)
    return ("compare", kept.plain(study), hashes, section.name, section.version)


def _figure_names(found: Compared, section: Section) -> list[str]:
    """Names of the section's figures, asked once."""
    key = (*key_of(found.facts.study, section), "names")
    names: list[str] = explaining.results()(
        key, lambda: list(section.draw(found.facts, found.rows[section.name]))
    )
    return names
