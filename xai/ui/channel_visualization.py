"""A picture made for a channel, a unit or a class: its settings, the job that makes it, and what can be taken home."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st
from torch import Tensor

from xai import export, visualization_export, visualization_store
from xai.feature_visualization import Settings
from xai.figure_visualization import PanelStyle
from xai.ui import channel_jobs, help_texts, network_data, take_home, widgets
from xai.ui.channel_choice import Chosen
from xai.ui.growing import Growing
from xai.ui.job import Report
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
SEED_HELP = "Another seed starts from other noise: what comes again in its picture is the channel's doing."
SMOOTH_HELP = "Draws the picture without the edges of its pixels; the picture is the same."
VIEWS_HELP = "Each step sees the picture moved, scaled and turned a little, so that no single pixel counts."


def draw(chosen: Chosen) -> None:
    """The visualisation of what is chosen: kept, growing, or the button that makes it."""
    st.subheader("What it looks for", anchor=False)
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
        steps = int(widgets.one_of("Steps", "steps", STEPS, str(usual.steps), help=help_texts.STEPS))
        count = int(widgets.one_of("Pictures", "pictures", COUNTS, "1", help=COUNT_HELP))
        views = {"auto": "sized for the input", **{name: name for name in TRANSFORMS}}
        transforms = widgets.one_of(
            "Random views", "views", list(views), "auto", views.__getitem__, help=VIEWS_HELP
        )
        seed = int(
            widgets.number("Seed", "visual_seed", (0, 2**31 - 1), 0, 1, st.number_input, help=SEED_HELP)
        )
    diversity = DIVERSITY if count > 1 else 0.0
    return Settings(steps=steps, transforms=transforms, seed=seed, diversity=diversity), count


def _offer(chosen: Chosen, objectives: Sequence[str], settings: Settings) -> None:
    st.caption(
        f"What excites {widgets.plain(chosen.words)} most, grown from noise in {settings.steps} steps. "
        "It is kept on this machine, so it is made once."
    )
    growing = Growing()
    title = f"Picture for {chosen.words} of {chosen.model.name}"
    key = ("picture", chosen.model.card.sha256, chosen.objective, settings, len(objectives))
    make = _work(chosen, objectives, settings, growing)
    channel_jobs.offer(title, "Make the picture", key, make, growing=growing)


def _work(
    chosen: Chosen, objectives: Sequence[str], settings: Settings, growing: Growing
) -> Callable[[Report, Callable[[], bool]], bool]:
    """What makes the pictures; they are kept on the disk."""

    def work(report: Report, cancelled: Callable[[], bool]) -> bool:
        def progress(done: int, total: int, pictures: Tensor) -> None:
            growing.take(pictures)
            report(done, total, "")

        visualization_store.stored(chosen.model, objectives, settings, progress=progress, cancelled=cancelled)
        return True

    return work


def _show(chosen: Chosen, found: Sequence[Kept], settings: Settings) -> None:
    """The pictures with the steps in which they grew, and everything to take home."""
    style = PanelStyle(smooth=widgets.switch("Smooth the pixels", "smooth", False, help=SMOOTH_HELP))
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
