"""The contact sheet of a layer: every channel's picture and top images as a PDF, made in the background."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st

from data.storage import cache_folder
from xai import contact_sheet, export, visualization_store
from xai.feature_visualization import Settings
from xai.ui import channel_images, channel_jobs, help_texts, widgets
from xai.ui.channel_choice import Chosen
from xai.ui.channel_data import Images
from xai.ui.job import Report

KEYS = ("sheet_steps", "sheet_channels")
STEPS = ("64", "128", "256", "512")
ALL = "all"
SOME = ("16", "64", ALL)
KEPT = 8
"""How many sheets of this page stay on the disk."""
SHEET_HELP = "All channels of the layer, a picture made for each beside the image parts that excite it most."
CHANNELS_HELP = "How many of the layer's channels are on the sheet. All of a wide layer take a while."


def draw(chosen: Chosen) -> None:
    """The sheet to take home, or the button that makes it."""
    if chosen.class_name:
        st.info("A contact sheet is of a layer's channels: choose a channel above.")
        return
    picked = channel_images.images(chosen)
    settings, which = _settings(chosen)
    channels = None if which == ALL else range(min(int(which), chosen.info.channels))
    key = ("sheet", chosen.model.name, chosen.model.card.sha256, chosen.layer, settings, which, picked)
    path = _path(key)
    if path.is_file():
        name = f"{export.safe_stem(f'{chosen.model.name}-{chosen.layer}')}-channels.pdf"
        widgets.download("Contact sheet (PDF)", path.read_bytes, name, "application/pdf", help=SHEET_HELP)
    else:
        st.caption(
            "Each channel's picture beside the image parts that excite it most. "
            "Pictures that are done are kept, so a sheet that was cancelled goes on where it stopped."
        )
        title = f"Contact sheet of {chosen.layer} of {chosen.model.name}"
        make = _work(chosen, picked, settings, channels, path)
        wanted = channels or range(chosen.info.channels)
        left = lambda: _left(chosen, settings, wanted)  # noqa: E731
        channel_jobs.offer(title, "Make the contact sheet", key, make, unit="channels", left=left)


def _settings(chosen: Chosen) -> tuple[Settings, str]:
    """How the pictures are made, and of which channels."""
    words = {number: f"the first {number}" for number in SOME[:-1]} | {ALL: f"all {chosen.info.channels:,}"}
    with st.container(horizontal=True):
        steps = int(
            widgets.one_of("Steps of each picture", "sheet_steps", STEPS, "128", help=help_texts.STEPS)
        )
        which = widgets.one_of(
            "Channels", "sheet_channels", SOME, "16", words.__getitem__, help=CHANNELS_HELP
        )
    return Settings(steps=steps, strip=0), which


def _left(chosen: Chosen, settings: Settings, channels: Sequence[int]) -> str:
    """What there is of a sheet that was cancelled."""
    texts = [f"channel:{chosen.layer}:{channel}" for channel in channels]
    kept = sum(visualization_store.find(chosen.model, text, settings) is not None for text in texts)
    return f"The pictures of {kept:,} of {len(texts):,} channels are kept, and a sheet goes on from there."


def _path(key: tuple[object, ...]) -> Path:
    """Where a sheet lies: a name of our own, nothing that a visitor typed."""
    return cache_folder() / "sheets" / f"{hashlib.sha256(repr(key).encode()).hexdigest()[:32]}.pdf"


def _work(
    chosen: Chosen, picked: Images | None, settings: Settings, channels: Sequence[int] | None, path: Path
) -> Callable[[Report, Callable[[], bool]], bool]:
    def make(report: Report, cancelled: Callable[[], bool]) -> bool:
        data = picked.open() if picked else None
        total = len(channels) if channels else chosen.info.channels

        def told(done: float, of: float, what: str) -> None:
            made = what.startswith("channels")  # before that, images are looked at
            report(done if made else 0, of if made else total, "" if made else "Looking at the images.")

        contact_sheet.make(
            chosen.model, chosen.layer, settings, data, path, told, cancelled, channels=channels
        )
        _forget_old(path)
        return True

    return make


def _forget_old(newest: Path) -> None:
    sheets = sorted(newest.parent.glob("*.pdf"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in sheets[KEPT:]:
        path.unlink(missing_ok=True)
