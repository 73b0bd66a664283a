"""What of the picture a layer keeps: pictures made anew from its activations, clean and degraded, and a caricature."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import streamlit as st
from torch import Tensor

from models.registry import Model
from xai import export, inversion_export, visualization_export, visualization_store
from xai.feature_maps import FeatureComparison
from xai.feature_visualization import Settings
from xai.figure_visualization import PanelStyle
from xai.inversion import INVERSION
from xai.inversion_export import Inversions
from xai.ui import channel_jobs, help_texts, network_data, take_home, widgets
from xai.ui.growing import Growing
from xai.ui.job import Report
from xai.visualization_store import Kept

KEYS = ("inversion_steps",)
STEPS = ("100", "200", "400", "800")


def draw(done: FeatureComparison, models: Sequence[Model]) -> None:
    """Both kinds of pictures, or the buttons that make them; one job at a time on this server."""
    st.subheader("What of the picture survives in this layer", anchor=False)
    with st.container(width=320):
        usual = str(INVERSION.steps)
        steps = int(
            widgets.one_of(
                "Steps of each picture made", "inversion_steps", STEPS, usual, help=help_texts.STEPS
            )
        )
    _inverted(done, models, steps)
    _caricatured(done, models, steps)


def _key(done: FeatureComparison, steps: int) -> tuple[object, ...]:
    request = done.request
    seen = (request.degradation, request.severity, request.scale, request.seed) if done.degraded else ()
    layers = tuple((result.model, result.sha256, result.layer) for result in done.results)
    return (layers, done.picture.sha256, done.picture.image_id, request.resize, seen, steps)


def _inverted(done: FeatureComparison, models: Sequence[Model], steps: int) -> None:
    key = ("inversion", *_key(done, steps))
    request = replace(done.request.base, layers={result.model: (result.layer,) for result in done.results})
    settings = replace(INVERSION, steps=steps)

    growing = Growing()

    def make(report: Report, cancelled: Callable[[], bool]) -> Inversions:
        options = {"progress": report, "watch": growing.take, "cancelled": cancelled}
        return inversion_export.make(request, done.picture, models, settings, **options)  # type: ignore[arg-type]

    found = channel_jobs.kept(key)
    if found is None:
        st.caption(
            "Inversion grows a picture from grey until the layer answers to it as to the picture itself: what the "
            "layer no longer knows is missing from it. Where relative L2 stays above about 0.1, what is missing may be "
            "the optimiser's doing: take more steps."
        )
        title = f"Inversion of {_layers(done)}"
        channel_jobs.offer(title, "Invert the layer", key, make, growing=growing)
        return
    style = PanelStyle()
    stem = export.safe_stem(f"{done.picture.name}-inverted")
    network_data.show(
        (*key, "figure"),
        lambda: inversion_export.figure(found, style),
        stem,
        f"The picture, and what was made from {_layers(done)}.",
        "content",
    )
    take_home.raw_and_manifest(
        stem,
        lambda: export.npz(inversion_export.raw_arrays(found)),
        lambda: visualization_export.as_json(inversion_export.manifest(found, style)),
    )


def _caricatured(done: FeatureComparison, models: Sequence[Model], steps: int) -> None:
    key, growing = ("caricature", *_key(done, steps)), Growing()

    def make(report: Report, cancelled: Callable[[], bool]) -> tuple[Kept, ...]:
        made: list[Kept] = []
        for model, result in zip(models, done.results, strict=True):
            image = visualization_export.square(done.picture, model.input_size)
            what = f"{result.layer} of {model.name}"
            made += visualization_store.stored(
                model,
                [f"caricature:{result.layer}"],
                Settings(steps=steps),
                image=image,
                progress=_telling(report, what, growing),
                cancelled=cancelled,
            )
        return tuple(made)

    found = channel_jobs.kept(key)
    if found is None:
        st.caption("A caricature exaggerates what the layer answers to in the clean picture.")
        left = (
            "Of networks whose caricature was finished it is kept."
            if len(models) > 1
            else "Nothing of it is kept."
        )
        title = f"Caricature by {_layers(done)}"
        channel_jobs.offer(title, "Make a caricature", key, make, growing=growing, left=lambda: left)
        return
    _show_caricatures(done, found, key)


def _show_caricatures(done: FeatureComparison, found: Sequence[Kept], key: tuple[object, ...]) -> None:
    style = PanelStyle(steps=False)
    stem = export.safe_stem(f"{done.picture.name}-caricature")
    network_data.show(
        (*key, "figure"),
        lambda: visualization_export.figure(found, style, done.picture),
        stem,
        f"The picture, and caricatures of it by {_layers(done)}.",
        "content",
    )
    take_home.raw_and_manifest(
        stem,
        lambda: export.npz(visualization_export.raw_arrays(found)),
        lambda: visualization_export.as_json(visualization_export.manifest(found, style, done.picture)),
    )


def _telling(report: Report, what: str, growing: Growing) -> Callable[[int, int, Tensor], None]:
    def tell(step: int, total: int, pictures: Tensor) -> None:
        growing.take(pictures)
        report(step, total, what)

    return tell


def _layers(done: FeatureComparison) -> str:
    return " and ".join(f"{result.layer} of {result.model}" for result in done.results)
