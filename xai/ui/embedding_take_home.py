"""What a user takes home from the Embeddings page: the figure, points, measures and the manifest."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from xai import embedding_export, tables
from xai.embedding import Embedding
from xai.export import safe_stem
from xai.figure_embedding import MapStyle, embedding_figure
from xai.ui import embedding_data, network_data, widgets
from xai.ui.scatter import Look

DRAW_HELP = (
    "Drawn in the file formats for papers, with what is switched on above; hidden classes are drawn too."
)
PARQUET = "application/vnd.apache.parquet"


def draw(found: Embedding, colouring: str, look: Look, step: int) -> None:
    """The figure with the colours of the page, and buttons; what they give is made when they are pressed."""
    with st.expander("The figure to take home"):
        if not widgets.switch("Draw it", "embed_figure", False, st.toggle, help=DRAW_HELP):
            st.caption("It has the colours and the severity chosen above.")
            return
        style = _style(found, colouring, look, step)
        key = (*embedding_data.key_of(found.request), style)
        networks = " and ".join(found.request.models)
        alt = f"Maps of {len(found.ids):,} images by {networks}, coloured by {colouring}."
        network_data.show(key, lambda: embedding_figure(found, style), _stem(found), alt, "content")
        _files(found, style)


def _style(found: Embedding, colouring: str, look: Look, step: int) -> MapStyle:
    severity = found.request.severities[step - 1] if step else None
    return MapStyle(
        colour=colouring,
        degraded=step > 0,
        arrows=step > 0 and look.arrows,
        severity=severity,
        centroids=look.centres,
        hulls=look.hulls,
        density=look.density,
    )


def _stem(found: Embedding) -> str:
    request = found.request
    return safe_stem("-".join([request.dataset, request.projecting.method, *request.models]))


def _files(found: Embedding, style: MapStyle) -> None:
    stem = _stem(found)
    measures = embedding_export.metric_rows(found)
    files: dict[str, tuple[str, str, Callable[[], bytes]]] = {
        "Points (CSV)": (f"{stem}-points.csv", "text/csv", lambda: embedding_export.points_csv(found)),
        "Points (Parquet)": (
            f"{stem}-points.parquet",
            PARQUET,
            lambda: embedding_export.points_parquet(found),
        ),
        "Measures (CSV)": (f"{stem}-measures.csv", "text/csv", lambda: tables.as_csv(measures).encode()),
        "Measures (LaTeX)": (
            f"{stem}-measures.tex",
            "text/plain",
            lambda: embedding_export.metrics_latex(found),
        ),
        "Manifest (.json)": (
            f"{stem}-manifest.json",
            "application/json",
            lambda: embedding_export.as_json(embedding_export.manifest(found, style)),
        ),
    }
    with st.container(horizontal=True):
        for label, (name, media_type, make) in files.items():
            widgets.download(label, make, name, media_type, key=f"take {name}")
