"""The Train page from its first widget to its last link."""

from __future__ import annotations

from typing import Any

import streamlit as st

from xai.own_training import Wish
from xai.ui import explaining, showing, state, train_choice, train_job, train_outcome, widgets
from xai.ui.job_panel import engaged
from xai.ui.train_choice import MOST_BYTES, Pictures
from xai.ui.train_job import MOST_SECONDS, PANEL

START_HELP = "It can be cancelled at any time; nothing is kept for the other pages before you say so."


def draw() -> None:
    """Draw the page; what can't be done is said in one sentence."""
    with showing.one_sentence():
        _draw()


def _draw() -> None:
    busy = engaged(PANEL, show=_curves)
    if not busy:
        PANEL.say_error()
        PANEL.say_refused()
        with showing.one_sentence():
            train_outcome.draw()
    wish, pictures = train_choice.choose()  # drawn also meanwhile: widgets that go away may lose their values
    showing.ignored()
    state.write_link(train_choice.KEYS)
    if not busy:
        _offer(wish, pictures)


def _curves() -> None:
    job = PANEL.mine()
    if job is not None and isinstance(job.about, train_job.Live):
        train_job.show_curves(job.about)


def _offer(wish: Wish, pictures: Pictures) -> None:
    """What would be trained and what it takes, the button that starts it, and the command that does the same."""
    counts = pictures.counts(wish.limit or sum(map(sum, pictures.by_class.values())))
    st.subheader("What it will take")
    _say_images(wish, pictures, counts)
    seconds = train_job.cost(wish, pictures, counts["train"]).seconds(wish.epochs, counts)
    about = _duration(seconds)
    reason = _too_much(seconds, 3 * pictures.size**2 * sum(counts.values()))
    if reason:
        st.warning(widgets.plain(f"{reason} Choose less, or use the command line:"), icon=":material/block:")
    else:
        st.markdown(f"**About {about}** on this server for {wish.epochs} epochs, measured on one batch.")
        label, icon = f"Start the training ({about})", ":material/play_arrow:"
        options: dict[str, Any] = {"type": "primary", "icon": icon, "help": START_HELP}
        st.button(label, key="start training", on_click=train_job.start, args=(wish,), **options)
        st.caption("On the command line, where it can be stopped and gone on with:")
    st.code(wish.command(_elsewhere(wish.dataset)), language="bash", wrap_lines=True)


def _say_images(wish: Wish, pictures: Pictures, counts: dict[str, int]) -> None:
    """How many images of how many classes, and what to be careful about."""
    listed = ", ".join(f"{count:,} {split}" for split, count in counts.items())
    words = f"{len(pictures.classes):,} classes, images of {pictures.size} px: {listed}."
    st.markdown(widgets.plain(words))
    source = explaining.cards().get(wish.initial)
    if source is not None and source.dataset == wish.dataset:
        st.caption(widgets.plain(f"{source.name} has learned of these very training images before."))
    train = pictures.by_class["train"]
    if min(train) < max(train) / 3:
        st.caption(
            widgets.plain(
                f"Classes differ in size (training images {min(train):,} to {max(train):,}): compare the accuracy with "
                "that of the commonest class."
            )
        )
    for note in pictures.notes:
        st.caption(widgets.plain(note))


def _too_much(seconds: float, size: int) -> str:
    """Why a page does not start it, empty where it does."""
    if seconds > MOST_SECONDS:
        most = _duration(MOST_SECONDS)
        return f"This would take about {_duration(seconds)}; a training from this page may take {most}."
    if size > MOST_BYTES:
        return f"These images take {size / 2**20:,.0f} MiB of memory; a page may use {MOST_BYTES // 2**20:,} MiB."
    return ""


def _duration(seconds: float) -> str:
    return f"{max(seconds, 1):.0f} s" if seconds < 90 else f"{seconds / 60:,.0f} min"


def _elsewhere(name: str) -> str:
    """The dataset as a command names it: an upload is here for a session only."""
    return f"folder:YOUR_FOLDER{''.join(name.partition('@')[1:])}" if name.startswith("upload:") else name
