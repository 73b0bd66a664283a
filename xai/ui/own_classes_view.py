"""Class names of a visitor's pictures and those of a network: proposed by name, corrected in a select box for each."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from data import class_names, uploads
from data.class_names import HOW, ClassMapping, Match
from xai.ui import explaining, own_data_view, own_keep_view, widgets
from xai.ui.own_shelf import Archive

LEFT_OUT = ""
MOST_BOXES = 60
"""Classes with a select box; of more, those that need a word come first."""
COLUMNS = 3


def draw(kept: Archive) -> None:
    """Draw the mapping to a network's classes, or the one that the pictures have."""
    st.subheader("Class names")
    if kept.checked.mapping is not None:
        _given(kept.checked.mapping)
        return
    model = _network()
    if model is None:
        st.info("No network is on this machine: bring one under Network.")
        return
    known = explaining.cards()[model].classes
    proposed = class_names.propose(kept.checked.classes, known)
    if all(match.own == match.known for match in proposed.matches):
        st.success(widgets.plain(f"All {len(known):,} names are those of {model}, or among them."))
        return
    _say(proposed, model)
    chosen = proposed.corrected(_corrections(kept, model, proposed, known), known)
    _apply(kept, chosen, model)


def _network() -> str | None:
    names = list(explaining.cards())
    if not names:
        return None
    usual = own_keep_view.kept() or explaining.first_choice(tuple(names))[0]
    help_words = "So that its answers can be told right or wrong on your pictures."
    return widgets.one_of(
        "Network whose class names are taken", "own_classes_of", names, usual, help=help_words
    )


def _given(mapping: ClassMapping) -> None:
    st.caption("These pictures have the class names of a network already.")
    pairs = mapping.pairs.items()
    with st.expander(f"Class names: {len(mapping.classes):,} used, {len(mapping.left_out):,} left out"):
        widgets.table([{"folder": own, "class": known or "(left out)"} for own, known in pairs])


def _say(proposed: ClassMapping, model: str) -> None:
    sure = sum(match.sure for match in proposed.matches)
    likely = sum(match.known is not None for match in proposed.matches) - sure
    words = f"{sure:,} of {len(proposed.matches):,} classes were found among those of {model} by name"
    more = f", and {likely:,} more have a similar one: please confirm or correct them." if likely else "."
    said = f"{words}{more} What has no class is left out; at least {class_names.LEAST_CLASSES} are needed."
    (st.markdown if sure + likely else st.warning)(widgets.plain(said))


def _corrections(
    kept: Archive, model: str, proposed: ClassMapping, known: Sequence[str]
) -> dict[str, str | None]:
    """What the select boxes say, of all classes or of those that need a word most."""
    ordered = sorted(proposed.matches, key=lambda match: match.sure)
    asked = proposed.matches if len(ordered) <= MOST_BOXES else ordered[:MOST_BOXES]
    found: dict[str, str | None] = {}
    columns = st.columns(COLUMNS)
    for number, match in enumerate(asked):
        if number and number % COLUMNS == 0:  # in a narrow window columns are shown one below the other
            columns = st.columns(COLUMNS)
        with columns[number % COLUMNS]:
            found[match.own] = _box(f"own_class {kept.name} {model} {match.own}", match, known) or None
    if len(asked) < len(ordered):
        st.caption(f"{len(ordered) - len(asked):,} more classes are taken as they were found.")
    return found


def _box(key: str, match: Match, known: Sequence[str]) -> str:
    return widgets.one_of(
        widgets.plain(match.own),
        key,
        [LEFT_OUT, *known],
        match.known or LEFT_OUT,
        lambda name: name or "(leave out)",
        help=f"Proposed: {widgets.plain(match.known or 'none')}, {HOW[match.how]}.",
    )


def _apply(kept: Archive, chosen: ClassMapping, model: str) -> None:
    """The button that makes pictures with these names; raises `DatasetError` where they do not do."""
    used, left = len(chosen.classes), len(chosen.left_out)
    st.caption(f"{used:,} classes of the network are used; {left:,} of yours are left out.")
    help_words = "The same pictures again under the network's names, beside these; nothing is copied."
    if st.button("Use these names", icon=":material/check:", help=help_words):
        stored = uploads.with_classes(kept.name, chosen)
        own_data_view.put(stored, f"{kept.title}, classes of {model}", own_data_view.bar())
        st.session_state["own_archive"] = stored.name
        st.rerun()
