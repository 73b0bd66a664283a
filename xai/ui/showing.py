"""The main part of the Explain page: a comparison in sentences, the figure and tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from xai import figures
from xai.comparison import Comparison
from xai.figures import Style
from xai.ui import explaining, loading, state, widgets, words
from xai.ui.pictures import Offer
from xai.view_words import view_sentences


@contextmanager
def one_sentence() -> Iterator[None]:
    """What can't be done is said in one sentence on the page; the libraries below raise `ValueError`s made for that."""
    try:
        yield
    except widgets.NothingYet as missing:
        st.info(widgets.plain(missing))
    except ValueError as error:
        st.error(widgets.plain(error), icon=":material/error:")


def pick(offer: Offer) -> str | None:
    """Say what was refused, let the user pick one of several pictures and return its source."""
    for problem in offer.problems:
        st.warning(widgets.plain(problem), icon=":material/broken_image:")
    if not offer.sources:
        st.info("Choose a picture on the left: upload one, or take a sample or a drawn scene.")
        return None
    if len(offer.sources) == 1:
        return offer.sources[0]
    names = dict(zip(offer.sources, offer.names, strict=True))
    with st.expander(f"All {len(names)} pictures"):
        st.image(list(offer.thumbnails), list(offer.names), width=96, alt=list(offer.names))
    return widgets.one_of(
        "Picture to look at",
        "look",
        list(names),
        offer.sources[0],
        names.__getitem__,
        help="Each upload by its name; all of them go into the ZIP.",
    )


def ignored() -> None:
    """Say what the link asked for and is not offered."""
    if found := state.ignored():
        listed = ", ".join(found)
        st.warning(
            widgets.plain(
                f"The link asked for what is not offered here ({listed}): the usual choice is shown."
            )
        )


def summary(done: Comparison) -> None:
    """What was done to the picture, what the networks say, and what to be careful about."""
    steps = [f"{note[:1].upper()}{note[1:]}." for note in done.picture.notes] + view_sentences(done)
    st.caption(widgets.plain(f"{done.picture.name}: {' '.join(steps)}"))
    said = [
        (f"{letter}: {result.model}", words.verdict(done, result)) for letter, result in words.lettered(done)
    ]
    st.markdown(
        "  \n".join(f"**{widgets.plain(name)}** says {widgets.plain(verdict)}" for name, verdict in said)
    )
    cautions = words.cautions(done)
    if cautions:
        st.warning(widgets.plain(" ".join(cautions)), icon=":material/warning:")


def notes(done: Comparison) -> None:
    """What a reader of the figure should know besides."""
    for note in words.notes(done):
        st.caption(widgets.plain(note))


def figure(done: Comparison, style: Style) -> None:
    """The figure, the same that is exported."""
    pixels = round(
        figures.WIDTHS[style.width] * explaining.PAGE_DPI
    )  # its own width, so that it is sent as it is
    st.image(explaining.page_figure(done, style), width=pixels, alt=words.caption(done))
    loading.figure_drawn()


def tables(done: Comparison) -> None:
    """The numbers behind the figure."""
    with st.expander("Top 5 classes"):
        for letter, result in words.lettered(done):
            st.markdown(f"**{letter}: {widgets.plain(result.model)}**")
            widgets.table(words.top_rows(done, result))
    with st.expander("How alike the maps are"):
        rows = words.agreement_rows(done)
        widgets.table(rows)
        if not rows:
            st.caption("Choose a second network or a degradation to compare maps.")
    _object_table(done)
    with st.expander("What was tapped"):
        widgets.table(words.tap_rows(done))


def _object_table(done: Comparison) -> None:
    if done.picture.mask is None:
        return
    with st.expander("Does the map find the object"):
        widgets.table(words.object_rows(done))
        for sentence in words.object_notes(done):
            st.caption(widgets.plain(sentence))
