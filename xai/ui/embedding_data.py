"""Embeddings for the page: those that are there at once, small ones computed on the spot, large ones as a job."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import streamlit as st

from data.datasets import DatasetError, ImageSource, evenly_spread
from data.degradations import DEGRADATIONS
from xai import embedding_store
from xai.embedding import Embedding, EmbeddingRequest
from xai.evaluation import Cancelled
from xai.evaluation_store import data_sha256
from xai.projection import METHODS
from xai.ui import channel_data, dataset_images, explaining, widgets
from xai.ui.job import Report, Work
from xai.ui.job_panel import Words, engaged, panel, watch

AT_ONCE = 1_000
"""Images whose maps are made while the visitor waits."""


PANEL = panel(
    "embedding",
    Words(
        "thousandths",
        "Cancel",
        "It ends after the step at hand; features that are done stay.",
        "It goes on when you look at another page.",
    ),
)


def hashes(request: EmbeddingRequest) -> tuple[str, ...]:
    """Hashes of the networks' weights."""
    return tuple(explaining.cards()[name].sha256 for name in request.models)


def key_of(request: EmbeddingRequest) -> tuple[Any, ...]:
    """What tells an embedding from every other."""
    return ("embedding", request, hashes(request))


def images_of(request: EmbeddingRequest) -> ImageSource:
    """The images of a request; raises `DatasetError` where they are not here."""
    return evenly_spread(dataset_images.opened(request.dataset, request.split), request.limit)


def get(request: EmbeddingRequest) -> Embedding | None:
    """The embedding, computed on the spot where it is small; None, with a job to start or to watch, where it is not.

    The server makes one large embedding at a time, which may be another visitor's, or one that was asked for before.
    """
    found: Embedding | None = explaining.results().get(key_of(request)) or _read(request)
    if found is not None:
        return found
    job = PANEL.making(key_of(request)) or PANEL.seen()
    if job is not None and job.about == key_of(request):
        if job.running:
            watch(PANEL, job)
            return None
        PANEL.say_error()
    PANEL.say_refused()
    count = len(images_of(request))
    if count <= AT_ONCE:
        with channel_data.bar() as progress:
            return _keep(request, embedding_store.stored(request, load=explaining.model, progress=progress))
    _offer(request, count)
    return None


def clean_of(request: EmbeddingRequest) -> Embedding | None:
    """The maps of the clean images alone, where they are there."""
    if not request.severities:
        return None
    clean = replace(request, degradation="none", severities=(), scale="", seed=0)
    found: Embedding | None = explaining.results().get(key_of(clean)) or _read(clean)
    return found


def _read(request: EmbeddingRequest) -> Embedding | None:
    """An embedding that was computed before, or came with the project."""
    images = _digest(request) if ":" in request.dataset else ""
    found = embedding_store.find(request, hashes(request), images)
    return None if found is None else _keep(request, found)


def _digest(request: EmbeddingRequest) -> str:
    try:
        data = dataset_images.opened(request.dataset, request.split)
    except DatasetError:
        return ""
    found: str = dataset_images.memo()(("digest", request.dataset, request.split), lambda: data_sha256(data))
    return found


def _keep(request: EmbeddingRequest, found: Embedding) -> Embedding:
    kept: Embedding = explaining.results()(key_of(request), lambda: found)
    return kept


def _offer(request: EmbeddingRequest, count: int) -> None:
    """The button that starts the work on many images, or what it has to wait for."""
    title = _title(request, count)
    running = PANEL.mine()
    st.info(
        widgets.plain(
            f"The {title} has not been made yet. That takes some minutes and goes on in the background; "
            f"up to {AT_ONCE:,} images are arranged at once."
            + (" Another map is being made: this one can be started when that ends." if running else "")
        )
    )
    if engaged(PANEL):
        return
    st.button(
        "Make the maps",
        key="start maps",
        on_click=PANEL.start,
        args=(title, _work(request), key_of(request)),
        icon=":material/play_arrow:",
        help="Runs in the background, with progress and a button that cancels it; what is done is kept for everybody.",
        type="primary",
    )


def _title(request: EmbeddingRequest, count: int) -> str:
    """What is to be made, in words that tell it from others."""
    method = METHODS[request.projecting.method].title
    degraded = f" under {DEGRADATIONS[request.degradation].title}" if request.severities else ""
    networks = " and ".join(request.models)
    return f"{method} map of {count:,} images of {request.dataset} {request.split}{degraded} by {networks}"


def _work(request: EmbeddingRequest) -> Work[None]:
    def run(report: Report, cancelled: Any) -> None:
        try:
            found = embedding_store.stored(
                request, load=explaining.model, progress=report, cancelled=cancelled
            )
        except Cancelled:
            return
        _keep(request, found)

    return run
