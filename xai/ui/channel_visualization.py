"""A picture made for a channel, a unit or a class: its settings, the job that makes it, and what can be taken home."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import streamlit as st
import torch
from torch import Tensor

from data import thumbnails
from xai import export, visualization_export, visualization_store
from xai.evaluation import Cancelled
from xai.feature_visualization import Settings
from xai.figure_visualization import PanelStyle
from xai.ui import channel_jobs, network_data, take_home, widgets
from xai.ui.channel_choice import Chosen
from xai.ui.job import Report
from xai.ui.job_panel import watch
from xai.visualization_store import Kept
from xai.visualization_transforms import TRANSFORMS

KEYS = ("steps", "pictures", "visual_seed", "views", "smooth")
STEPS = ("64", "128", "256", "512", "1024")
COUNTS = ("1", "2", "4")
DIVERSITY = 1.0
"""Weight of the penalty for likeness where several pictures are made."""
COUNT_HELP = (
    "Several pictures of the same channel are kept unlike each other, which shows what else it answers to."
)
VIEWS_HELP = "Each step sees the picture moved, scaled and turned a little, so that no single pixel counts."
GROWING = "growing"
SIDE = 256
"""Least width in px of the growing picture on the page."""


@dataclass
class Growing:
    """The picture as far as it has come, written by the job and read by its visitor's page."""

    picture: np.ndarray | None = None

    def show(self) -> None:
        """Draw it as it is now."""
        if self.picture is not None:
            st.image(self.picture, width=self.picture.shape[1], alt="The picture as far as it has come.")

    def take(self, pictures: Tensor) -> None:
        """Keep the pictures `(N, 3, S, S)` in [0, 1], with hard pixels at the size of the page."""
        self.picture = thumbnails.enlarged(torch.cat(list(pictures), dim=2), SIDE)


def draw(chosen: Chosen) -> None:
    """The visualisation of what is chosen: kept, growing, or the button that makes it."""
    st.subheader("What it looks for", anchor=False)
    panel = channel_jobs.PANEL
    panel.say_refused()
    panel.say_error()
    if panel.running() is not None:
        growing: Growing | None = st.session_state.get(GROWING)
        watch(panel, growing.show if growing else None)
    settings, count = _settings()
    objectives = [chosen.objective] * count
    found = visualization_store.find_all(chosen.model, objectives, settings)
    if found is None:
        _offer(chosen, objectives, settings)
    else:
        _show(chosen, found, settings)


def _settings() -> tuple[Settings, int]:
    """How the pictures are made, and how many."""
    usual = Settings()
    with st.expander("Settings of the visualisation"), st.container(horizontal=True):
        steps = int(widgets.one_of("Steps", "steps", STEPS, str(usual.steps)))
        count = int(widgets.one_of("Pictures", "pictures", COUNTS, "1", help=COUNT_HELP))
        views = {"auto": "sized for the input", **{name: name for name in TRANSFORMS}}
        transforms = widgets.one_of(
            "Random views", "views", list(views), "auto", views.__getitem__, help=VIEWS_HELP
        )
        seed = int(widgets.number("Seed", "visual_seed", (0, 2**31 - 1), 0, 1, st.number_input))
    diversity = DIVERSITY if count > 1 else 0.0
    return Settings(steps=steps, transforms=transforms, seed=seed, diversity=diversity), count


def _offer(chosen: Chosen, objectives: Sequence[str], settings: Settings) -> None:
    st.caption(
        f"What excites {widgets.plain(chosen.words)} most, grown from noise in {settings.steps} steps. "
        "It is kept on this machine, so it is made once."
    )
    busy = channel_jobs.PANEL.running() is not None
    if st.button("Make the picture", icon=":material/play_arrow:", disabled=busy):
        growing = st.session_state[GROWING] = Growing()
        title = f"Picture for {chosen.words} of {chosen.model.name}"
        channel_jobs.PANEL.start(title, _work(chosen, objectives, settings, growing))
        st.rerun()


def _work(
    chosen: Chosen, objectives: Sequence[str], settings: Settings, growing: Growing
) -> Callable[[Report, Callable[[], bool]], None]:
    def work(report: Report, cancelled: Callable[[], bool]) -> None:
        def progress(done: int, total: int, pictures: Tensor) -> None:
            growing.take(pictures)
            report(done, total, "")

        with suppress(Cancelled):
            visualization_store.stored(
                chosen.model, objectives, settings, progress=progress, cancelled=cancelled
            )

    return work


def _show(chosen: Chosen, found: Sequence[Kept], settings: Settings) -> None:
    """The pictures with the steps in which they grew, and everything to take home."""
    style = PanelStyle(smooth=widgets.switch("Smooth the pixels", "smooth", False))
    stem = export.safe_stem(f"{chosen.model.name}-{chosen.objective}")
    key = (
        "visualisation",
        chosen.model.name,
        chosen.model.card.sha256,
        chosen.objective,
        settings,
        len(found),
    )
    network_data.show(
        (*key, style),
        lambda: visualization_export.figure(found, style),
        stem,
        f"Visualisation of {chosen.words} of {chosen.model.name}, and the steps in which it grew.",
        "content",
    )
    take_home.raw_and_manifest(
        stem,
        lambda: export.npz(visualization_export.raw_arrays(found)),
        lambda: visualization_export.as_json(visualization_export.manifest(found, style)),
    )
    st.caption("`python -m xai reproduce MANIFEST` makes the same pictures again.")
