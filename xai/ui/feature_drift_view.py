"""How much every layer's response changes with severity: where each network loses a picture, or images of a dataset."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from data import degradations
from models.registry import Model
from xai import export, feature_drift, feature_export, figure_drift
from xai.feature_drift import Drifting, DriftRow
from xai.feature_maps import FeatureComparison
from xai.figures import Style
from xai.ui import channel_data, channel_jobs, explaining, network_data, robustness_show, take_home, widgets
from xai.ui.channel_data import Images
from xai.ui.job import Report

KEYS = ("drift_of", "every_layer", *channel_data.KEYS)
OF = {"picture": "this picture", "images": "images of a dataset"}
OF_HELP = "One picture is an anecdote; over images of a dataset there are medians and quartiles, and it takes a while."
MOST_IMAGES = 200
"""Images that a page measures: each is shown at every severity to every network."""


def draw(done: FeatureComparison, models: Sequence[Model], style: Style) -> None:
    """The curves of all layers, by severity; over images of a dataset they are a job."""
    st.subheader("Where the networks lose the picture", anchor=False)
    if not done.degraded:
        st.caption("Choose a degradation and a severity above 0.")
        return
    of = widgets.one_of(
        "Measured on",
        "drift_of",
        list(OF),
        "picture",
        OF.__getitem__,
        st.radio,
        horizontal=True,
        help=OF_HELP,
    )
    drifting = _drifting(done)
    hashes = tuple((model.name, model.card.sha256) for model in models)
    if of == "picture":
        rows = _of_picture(done, models, drifting)
        _show(done, rows, ("drift", done.picture.sha256, hashes, drifting), style, done.picture.name)
        return
    picked = channel_data.choose(models[0])
    if picked is None:
        return
    if len({model.input_size for model in models}) > 1:
        st.info("Both networks have to take images of one size, so that they see the same.")
        return
    images = Images(picked.name, picked.split, min(picked.count, MOST_IMAGES))
    key = ("drift", images, hashes, drifting)
    rows = channel_jobs.kept(key)
    if rows is None:
        capped = images.capped(picked)
        why = f" {capped}: every network sees each at every severity." if capped else ""
        st.caption(f"Every layer is measured on {images.words}, at every severity.{why}")
        title = f"Change of every layer over {images.words}"
        make = _of_images(models, images, drifting)
        channel_jobs.offer(title, "Measure the layers", key, make, unit="images")
        return
    _show(done, rows, key, style, f"{images.name}-{images.split}")


def _drifting(done: FeatureComparison) -> Drifting:
    """The degradation that was chosen, at all whole severities of its scale."""
    request, scale = done.request, done.view(done.results[0]).scale
    levels = len(degradations.severity_levels(request.degradation, scale))
    severities = tuple(float(level) for level in range(1, levels + 1))
    return Drifting(request.degradation, severities, scale, request.seed)


def _of_picture(done: FeatureComparison, models: Sequence[Model], drifting: Drifting) -> Sequence[DriftRow]:
    views, memo = done.views, explaining.results()
    each = (
        feature_drift.picture_drift(model, done.picture, views[model.input_size], drifting, memo)
        for model in models
    )
    return [row for rows in each for row in rows]


def _of_images(
    models: Sequence[Model], images: Images, drifting: Drifting
) -> Callable[[Report, Callable[[], bool]], tuple[DriftRow, ...]]:
    def make(report: Report, cancelled: Callable[[], bool]) -> tuple[DriftRow, ...]:
        data = images.open()
        rows: list[DriftRow] = []
        for number, model in enumerate(models):

            def progress(done: float, total: float, what: str, before: int = number) -> None:
                report(before * total + done, len(models) * total, what)

            rows += feature_drift.layer_drift(model, data, drifting, progress=progress, cancelled=cancelled)
        return tuple(rows)

    return make


def _show(
    done: FeatureComparison, rows: Sequence[DriftRow], key: tuple[object, ...], style: Style, of: str
) -> None:
    """The figure with its manifest, and the numbers; `of` is what was measured, for the names of files."""
    title = degradations.DEGRADATIONS[rows[0].degradation].title
    every = widgets.switch(
        "All layers, also those within blocks",
        "every_layer",
        False,
        help="Besides whole blocks, every layer that can be looked at.",
    )
    names = [result.model for result in done.results]
    stem = export.safe_stem("-".join(["layers", *names, of, rows[0].degradation]))
    network_data.show(
        (*key, style, every),
        lambda: figure_drift.drift_figure(rows, style, every_layer=every),
        stem,
        f"How much each layer changes under {title.lower()}, by severity.",
        "content",
    )
    take_home.manifest(stem, lambda: feature_export.manifest_file(done, style, rows, every_layer=every))
    with st.expander("The numbers"):
        caption = f"Change of the layers of {' and '.join(names)} under {title.lower()}: medians over images."
        robustness_show.table(
            feature_drift.as_rows(rows), stem, caption, printed=feature_drift.paper_rows(rows)
        )
