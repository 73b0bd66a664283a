"""Which cue the answers follow: shape or texture where they disagree, and a tag in the corner that gives the class
away."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
import torch

from data import cue10
from data.datasets import ImageSet, evenly_spread
from models.registry import Model
from xai.compare import forwards
from xai.compare import maps as heatmaps
from xai.compare.bench import Bench
from xai.compare.cues_found import method, summarise
from xai.compare.sections import Measured, Section, Table, register
from xai.compare.study import Facts
from xai.evaluation import forward_batch_size
from xai.faithfulness import mask_energy
from xai.results import UNTOUCHED, Condition

if TYPE_CHECKING:
    from xai.figure_parts import Figure

DATASET = "cue10"
DEGRADED_IMAGES = 500
"""Of how many scenes with conflicting cues the degraded versions are asked about."""
TAGGED_IMAGES = 500
"""About how many scenes with a tag networks are asked, each with the right tag, without one and with a wrong one."""
Columns = defaultdict[str, list[np.ndarray]]


def applies(facts: Facts) -> str:
    """Why the question can't be asked of these images, or nothing."""
    if facts.study.dataset != DATASET:
        return f"Cues are known in {DATASET} alone, whose scenes are drawn; these images are {facts.study.dataset}."
    return ""


def measure(bench: Bench) -> Measured:
    """What both networks answer to conflicting cues and to tags, as class numbers of the dataset.

    `conflict`: for each `image` (of the split's `limit` scenes), `network` and `condition` (its number among those of
    the study) the classes of `shape` and `texture`, and the answer `predicted`. `tags`: for each `image` and `network`
    the class `label`, the class `wrong` whose tag was planted, the answers to the scene `tagged`, `plain` (without
    the tag) and `planted`, the probabilities of the right class, and the shares of the map's positive energy in the
    tag's place, `energy_tagged` and `energy_plain`. `corner`: that share for each `image` and `network` in the split
    `test`. It is NaN for a map without a positive part.
    """
    conflict, tags, corner = defaultdict(list), defaultdict(list), defaultdict(list)  # type: ignore[var-annotated]
    for place, model in enumerate(bench.models):
        _conflicts(bench, place, model, conflict)
        _tags(bench, place, model, tags)
        _corners(bench, place, model, corner)
    return {"conflict": _joined(conflict), "tags": _joined(tags), "corner": _joined(corner)}


def _joined(columns: Columns) -> Table:
    return {name: np.concatenate(parts) for name, parts in columns.items()}


def _add(table: Columns, place: int, images: np.ndarray, **columns: np.ndarray) -> None:
    table["image"].append(images.astype(np.int32))
    table["network"].append(np.full(len(images), place, np.int8))
    for name, values in columns.items():
        table[name].append(values.astype(np.int16 if values.dtype.kind == "i" else np.float32))


def _conflicts(bench: Bench, place: int, model: Model, table: Columns) -> None:
    """Answers to the scenes of split `conflict`; of all clean ones, and of `DEGRADED_IMAGES` under each condition."""
    data = _scenes(bench, "conflict", bench.study.limit)
    fewer = evenly_spread(data, DEGRADED_IMAGES)
    rows = {name: row for row, name in enumerate(data.ids)}
    for number, condition in enumerate(bench.facts.conditions):
        asked = data if condition == UNTOUCHED else fewer
        cues = {name: asked.attributes[name].numpy() for name in ("shape", "texture")}
        images = np.array([rows[name] for name in asked.ids])
        conditions = np.full(len(asked), number)
        answers = _answers(bench, model, asked, condition)
        _add(table, place, images, condition=conditions, **cues, predicted=answers)


def _scenes(bench: Bench, split: str, limit: int | None) -> ImageSet:
    data = bench.split(split, limit)
    assert isinstance(data, ImageSet)  # cue10 is held in memory
    return data


def _answers(bench: Bench, model: Model, data: ImageSet, condition: Condition) -> np.ndarray:
    """Classes of the dataset that the network answers, int64 `(n,)`; -1 for one that only it knows."""
    size, parts = forward_batch_size(data.pixels(slice(0)), model.device), []
    for start in range(0, len(data), size):
        bench.tell(start, len(data), f"{data.split} cues of {model.name}, {condition.words}")
        images = bench.images(model, data, condition, slice(start, min(start + size, len(data))))
        parts.append(forwards.logits(model, images).argmax(axis=1))
    return forwards.dataset_numbers(model, data)[np.concatenate(parts)]


def _tags(bench: Bench, place: int, model: Model, table: Columns) -> None:
    """Answers and maps to scenes with their tag and without it, and answers with the tag of another class."""
    data = _scenes(bench, "shortcut", min(bench.study.limit or TAGGED_IMAGES, TAGGED_IMAGES))
    wrong = _wrong_classes(data)
    tagged = _maps(bench, model, data)
    plain = _maps(bench, model, cue10.untagged(data), tagged.targets)
    planted = _answers(bench, model, cue10.retagged(data, torch.from_numpy(wrong)), UNTOUCHED)
    numbers, labels = forwards.dataset_numbers(model, data), heatmaps.labels_of(model, data)
    columns = {"label": data.labels.numpy(), "wrong": wrong, "planted": planted}
    for name, found in (("tagged", tagged), ("plain", plain)):
        columns[name] = numbers[found.predicted]
        columns[f"right_{name}"] = _right(found, labels)
        columns[f"energy_{name}"] = _energies(bench, found)
    _add(table, place, np.arange(len(data)), **columns)


def _wrong_classes(data: ImageSet) -> np.ndarray:
    """For each scene another class than its own, all nine in turn, int64 `(n,)`."""
    turns = np.array([int(name.rsplit("/", 1)[1]) // len(data.classes) for name in data.ids])
    others = len(data.classes) - 1
    return (data.labels.numpy() + 1 + turns % others) % len(data.classes)


def _maps(bench: Bench, model: Model, data: ImageSet, targets: np.ndarray | None = None) -> heatmaps.Maps:
    return heatmaps.compute(
        model,
        data,
        layer=bench.layer(model),
        methods=(bench.study.method,),
        targets=targets,
        progress=bench.tell,
        cancelled=bench.cancelled,
    )


def _right(found: heatmaps.Maps, labels: np.ndarray) -> np.ndarray:
    """Probability of the right class, float32 `(n,)`; NaN for one that the network does not know."""
    own = np.take_along_axis(found.probabilities, np.maximum(labels, 0)[:, None], axis=1)[:, 0]
    return np.where(labels >= 0, own, np.nan)


def _energies(bench: Bench, found: heatmaps.Maps) -> np.ndarray:
    """Share of each map's positive energy in the tag's place, float64 `(n,)`; NaN without a positive part."""
    place = torch.zeros(cue10.SIZE, cue10.SIZE, dtype=torch.bool)
    place[: cue10.TAG, : cue10.TAG] = True
    maps = torch.from_numpy(found.maps[bench.study.method])
    return np.array([mask_energy(values, place) for values in maps], np.float64)


def _corners(bench: Bench, place: int, model: Model, table: Columns) -> None:
    """How much of maps of ordinary scenes lies where a tag would be."""
    if bench.study.split == "test":
        found = bench.maps(model)
    else:
        found = _maps(bench, model, _scenes(bench, "test", TAGGED_IMAGES))
    _add(table, place, np.arange(len(found)), energy=_energies(bench, found))


def draw(facts: Facts, rows: Measured) -> dict[str, Figure]:
    """Shape bias by condition and by class, and what the tag does."""
    from xai.figure_compare_cues import cues_figure

    return {"cues": cues_figure(facts, rows)}


register(
    Section(
        "cues",
        "Which cue",
        "Do the answers follow shape or texture, and would a tag in the corner mislead them?",
        measure,
        summarise,
        draw,
        method,
        applies,
    )
)
