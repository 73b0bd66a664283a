"""Which frequencies the answers need: accuracy and true-class logit when bands of the images are passed or stopped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from data.datasets import ImageSource, evenly_spread
from models.registry import Model
from xai.compare import forwards
from xai.compare.bands import LEAST_SIZE, Filter, apply, filters
from xai.compare.bench import Bench
from xai.compare.frequencies_found import method, summarise
from xai.compare.maps import labels_of
from xai.compare.sections import Measured, Section, register
from xai.compare.study import Facts
from xai.evaluation import forward_batch_size
from xai.results import UNTOUCHED

if TYPE_CHECKING:
    from xai.figure_parts import Figure

MOST_PIXELS, LEAST_IMAGES = 2**22, 100
"""Images are asked about until they have this many pixels: 4,096 of 32 px, 1,024 of 64 px; never fewer than so many."""
HALF_STEP = 0.5 / 255
"""How far beyond [0, 1] a pixel counts as clipped: what rounding to 8 bits would not undo."""


def applies(facts: Facts) -> str:
    """Why the question can't be asked of these images, or nothing."""
    if facts.size < LEAST_SIZE:
        return f"Images of {facts.size} px have too few frequencies; at least {LEAST_SIZE} px are needed."
    return ""


def measure(bench: Bench) -> Measured:
    """Every image through every filter, asked of both networks.

    `images` has the right class of each `image`, `pixels` for each `image` and `filter` the share of pixel values
    that were `clipped` and the share `kept` of the image's variance, `answers` for each `image`, `network` and
    `filter` whether the answer is `correct` and the `margin` of the true class, its logit less the mean logit.
    """
    data = evenly_spread(bench.data, max(LEAST_IMAGES, MOST_PIXELS // bench.size**2))
    places = _places(bench.data, data)
    tables: dict[str, defaultdict[str, list[np.ndarray]]] = {
        name: defaultdict(list) for name in ("pixels", "answers")
    }
    for rows, number, chosen, images in _filtered(bench, data):
        changed = apply(images, chosen)
        seen = {"image": places[rows], "filter": np.full(len(images), number, np.int16)}
        _add(tables["pixels"], **seen, clipped=_clipped(changed), kept=_kept(images, changed))
        for place, model in enumerate(bench.models):
            network = np.full(len(images), place, np.int8)
            answers = _graded(model, changed.clamp(0, 1), labels_of(model, data)[rows])
            _add(tables["answers"], **seen, network=network, correct=answers[0], margin=answers[1])
    joined = {
        name: {head: np.concatenate(parts) for head, parts in table.items()} for name, table in tables.items()
    }
    labels = data.labels.numpy().astype(np.int16)
    return {"images": {"image": places, "label": labels}, **joined}


def _places(whole: ImageSource, data: ImageSource) -> np.ndarray:
    """Where the images are among all of the study's, int32 `(n,)`."""
    rows = {name: row for row, name in enumerate(whole.ids)}
    return np.array([rows[name] for name in data.ids], np.int32)


def _filtered(bench: Bench, data: ImageSource) -> Iterator[tuple[slice, int, Filter, Tensor]]:
    """The clean images batch by batch, with every filter that they are to go through."""
    model, chosen = bench.models[0], filters(bench.size)
    size = forward_batch_size(data.pixels(slice(0)), model.device)
    for start in range(0, len(data), size):
        rows = slice(start, min(start + size, len(data)))
        images = bench.images(model, data, UNTOUCHED, rows)
        for number, each in enumerate(chosen):
            done = start + (rows.stop - start) * number // len(chosen)
            bench.tell(done, len(data), "bands of frequency")
            yield rows, number, each, images


def _add(table: defaultdict[str, list[np.ndarray]], **columns: np.ndarray) -> None:
    for name, values in columns.items():
        table[name].append(values)


def _clipped(changed: Tensor) -> np.ndarray:
    outside = (changed < -HALF_STEP) | (changed > 1 + HALF_STEP)
    return outside.flatten(1).float().mean(dim=1).cpu().numpy()


def _kept(images: Tensor, changed: Tensor) -> np.ndarray:
    """Share of the variance over the pixels, all channels together; NaN for an image of one colour."""
    before, after = (each.flatten(2).double().var(dim=2).sum(dim=1) for each in (images, changed))
    return torch.where(before > 0, after / before, torch.nan).float().cpu().numpy()


def _graded(model: Model, images: Tensor, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether the answers are right, bool `(n,)`, and margins of the true class, float32 `(n,)`, NaN for one that the
    network does not know."""
    logits = forwards.logits(model, images)
    own = np.take_along_axis(logits, np.maximum(labels, 0)[:, None], axis=1)[:, 0]
    margins = np.where(labels >= 0, own - logits.mean(axis=1), np.nan).astype(np.float32)
    return logits.argmax(axis=1) == labels, margins


def draw(facts: Facts, rows: Measured) -> dict[str, Figure]:
    """Accuracy by band passed and stopped, and the loss of each class."""
    from xai.figure_compare_frequencies import frequencies_figure

    return {"frequencies": frequencies_figure(facts, rows)}


register(
    Section(
        "frequencies",
        "Which frequencies",
        "Which details, coarse or fine, do the answers of each network need?",
        measure,
        summarise,
        draw,
        method,
        applies,
    )
)
