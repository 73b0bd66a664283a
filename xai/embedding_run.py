"""From a request to an embedding: extract, project, place what is degraded, and measure in feature space."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from data.datasets import ImageSource, Progress, evenly_spread, open_dataset
from data.degradations import default_scale, max_severity
from models import zoo
from models.registry import Model
from xai import alignment, embedding_classes, embedding_metrics, embedding_quality, projection
from xai.alignment import Aligned
from xai.attribution_types import ExplanationError
from xai.embedding import Between, Degraded, Embedding, EmbeddingRequest, Map, Said
from xai.embedding_features import Features, extract
from xai.embedding_metrics import near_of
from xai.evaluation import Cancelled
from xai.feature_blocks import Cancel
from xai.neighbours import Neighbours
from xai.projection import Projection


def embed(
    request: EmbeddingRequest,
    *,
    load: Callable[[str], Model] = zoo.load,
    data: ImageSource | None = None,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> Embedding:
    """Arrange the images as each network does, and say how far that can be trusted.

    `data` are the images where they are at hand; `progress(done, total, what)` counts stages of the work. Features
    stay on disk, so that work that was stopped goes on. Raises `Cancelled`, `DatasetError`, `CheckpointError` and
    `ExplanationError`.
    """
    if request.projecting.method == "umap":
        threading.Thread(target=projection.warm_up, name="UMAP is compiled", daemon=True).start()
    if data is None:
        data = open_dataset(request.dataset, request.split, progress)
    images = evenly_spread(data, request.limit)
    request = settled(request, data)
    check_severities(request)
    models = [load(name) for name in request.models]
    work = _Work(request, progress, cancelled or (lambda: False))
    classes = tuple(dict.fromkeys([*images.classes, *(name for model in models for name in model.classes)]))
    return work.run(models, images, classes)


def settled(request: EmbeddingRequest, data: ImageSource) -> EmbeddingRequest:
    """The request with what the split settles: the scale of severity that fits its images, where the request names
    none, and no limit where there are not more images than that."""
    size = data.pixels(slice(0)).shape[-1]
    limit = None if request.limit is not None and request.limit >= len(data) else request.limit
    return replace(request, limit=limit, scale=request.scale or default_scale(size, size))


def check_severities(request: EmbeddingRequest) -> None:
    """Raise `ValueError` for a severity that the scale of a settled request does not have."""
    if not request.severities:
        return
    highest = max_severity(request.degradation, request.scale)
    if request.severities[-1] > highest:
        raise ExplanationError(
            f"the severities go up to {request.severities[-1]:g}; {request.degradation} on the scale {request.scale} "
            f"takes up to {highest}."
        )


@dataclass
class _Arranged:
    """What is known of one network while its map is made."""

    model: Model
    clean: Features
    near: Neighbours
    projection: Projection
    onto: Aligned | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def coordinates(self) -> np.ndarray:
        return self.laid(self.projection.coordinates)

    def laid(self, coordinates: np.ndarray) -> np.ndarray:
        """Coordinates of this network's projection as they stand in the picture."""
        return coordinates if self.onto is None else self.onto.apply(coordinates)


@dataclass
class _Work:
    request: EmbeddingRequest
    progress: Progress | None
    cancelled: Cancel
    stage: int = 0

    @property
    def stages(self) -> int:
        return len(self.request.models) * (3 + 2 * len(self.request.severities))

    def report(self, done: float, total: float, what: str) -> None:
        """Tell how far the whole work is, in thousandths of a stage."""
        if self.progress:
            share = 1000 * done / max(total, 1)
            self.progress(round(1000 * self.stage + share), 1000 * self.stages, what)

    def next(self, what: str) -> None:
        """A stage is done, or the first begins."""
        if self.cancelled():
            raise Cancelled
        self.report(0, 1, what)

    def run(self, models: Sequence[Model], images: ImageSource, classes: tuple[str, ...]) -> Embedding:
        arranged: list[_Arranged] = []
        maps: list[Map] = []
        for model in models:
            arranged.append(self.arrange(model, images, arranged[0] if arranged else None))
            maps.append(self.map(arranged[-1], images, classes))
        between = _between(arranged) if len(arranged) > 1 else None
        labels = images.labels.numpy().astype(np.int64)
        return Embedding(self.request, images.ids, labels, classes, tuple(maps), between, images.notes)

    def arrange(self, model: Model, images: ImageSource, first: _Arranged | None) -> _Arranged:
        """Features, neighbours and points of one network; `first` is what they are laid onto, or start from."""
        request = self.request
        clean = self.features(model, images, 0.0)
        self.next(f"neighbours in {model.name}")
        near = near_of(clean.vectors, request.k, progress=self.report, cancelled=self.cancelled)
        self.stage += 1
        self.next(f"map of {model.name}")
        start = first.projection.coordinates if first and request.layout == "shared start" else None
        made = projection.project(
            clean.vectors,
            request.projecting,
            start=start,
            neighbours=near,
            progress=self.report,
            cancelled=self.cancelled,
        )
        self.stage += 1
        done = _Arranged(model, clean, near, made)
        if first and request.layout != "separate":
            done.onto = alignment.overlaid(first.coordinates, made.coordinates)
        return done

    def features(self, model: Model, images: ImageSource, severity: float) -> Features:
        """The features of one stage: clean at severity 0."""
        request = self.request
        found = extract(
            model,
            images,
            request.layer_of(model.name),
            degradation=request.degradation if severity else "none",
            severity=severity,
            scale=request.scale,
            seed=request.seed,
            progress=self.report,
            cancelled=self.cancelled,
        )
        self.stage += 1
        return found

    def map(self, done: _Arranged, images: ImageSource, classes: tuple[str, ...]) -> Map:
        request, model = self.request, done.model
        labels = images.labels.numpy()
        near = done.near
        quality = embedding_quality.quality(
            done.clean.vectors, done.coordinates, near, labels, classes, cancelled=self.cancelled
        )
        degraded = tuple(
            self.degraded(done, near, images, classes, severity) for severity in request.severities
        )
        return Map(
            model.name,
            model.card.sha256,
            request.layer_of(model.name),
            done.clean.vectors.shape[1],
            done.coordinates,
            near.index,
            answers_of(done.clean, model.classes, classes),
            quality,
            degraded,
            done.projection.engine,
            tuple(dict.fromkeys([*done.clean.notes, *done.projection.notes, *done.notes])),
        )

    def degraded(
        self,
        done: _Arranged,
        near: Neighbours,
        images: ImageSource,
        classes: tuple[str, ...],
        severity: float,
    ) -> Degraded:
        """The images at one severity, beside their clean selves."""
        found = self.features(done.model, images, severity)
        self.next(f"{done.model.name} at severity {severity:g}")
        labels, clean = images.labels.numpy(), done.clean.vectors
        done.notes.extend(f"At severity {severity:g}: {note}" for note in found.notes)
        others = near_of(clean, near.k, queries=found.vectors, own=np.arange(len(clean)))
        placed = Degraded(
            severity,
            done.laid(done.projection.place(found.vectors, cancelled=self.cancelled)),
            answers_of(found, done.model.classes, classes),
            embedding_metrics.overlap(near, others),
            embedding_metrics.knn_accuracy(others, labels),
            embedding_classes.drift(clean, found.vectors, labels, len(classes)),
        )
        self.stage += 1
        return placed


def answers_of(found: Features, own: Sequence[str], classes: Sequence[str]) -> Said:
    """The three largest probabilities, with class numbers that mean `classes` instead of the network's `own`.

    A probability that is no number is 0, as it is kept; the features' notes say so.
    """
    top, probabilities = found.top(3)
    numbers = np.array([classes.index(name) for name in own], np.int16)
    return Said(np.where(top >= 0, numbers[top], np.int16(-1)), np.nan_to_num(probabilities, nan=0.0))


def _between(arranged: Sequence[_Arranged]) -> Between:
    """How alike two networks arrange the same images."""
    a, b = arranged
    shared = embedding_metrics.overlap(a.near, b.near)
    return Between(
        shared,
        embedding_metrics.mean_share(shared),
        embedding_metrics.chance_overlap(len(shared), a.near.k),
        alignment.feature_residual(a.clean.vectors, b.clean.vectors),
        alignment.procrustes(a.projection.coordinates, b.projection.coordinates).residual,
    )
