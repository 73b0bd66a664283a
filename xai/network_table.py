"""Every trained network as a row: what it is, how it was trained, how well it does and how sure that is.

The page, the command line and the downloads are made of these rows. Accuracies are shares in [0, 1] until they are
written into a table, where they are percent.
"""

from __future__ import annotations

import contextlib
import json
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from data.catalogue import DATASETS
from models import registry, zoo
from models.cards import Card, recipe_name, training_key, trial_limit
from models.complexity import count_macs, count_parameters
from xai.predictions import Predictions, PredictionsError
from xai.predictions_file import read
from xai.statistics import wilson
from xai.tables import Cell

CIFAR_IMAGES = {"test": 10_000, "validation": 4_000}
SHIPPED, LOCAL, NOT_KEPT = "with the project", "on this machine", "not kept"
"""Where a network's weights are."""
UNTRAINED_CLASSES = 10
"""Classes for which the size of an architecture without a trained network is counted."""


@dataclass(frozen=True)
class Network:
    """One trained network, or several seeds of one training.

    Accuracies are shares in [0, 1], None where not measured. `interval` is Wilson's 95 % interval of `test` over
    `images` test images, for one network only; `spread` the least and the largest `test` over the `seeds`. `names`
    are those of the networks in the row, `weights` says where their weights are, and `training` is the same for seeds
    of one training.
    """

    name: str
    names: tuple[str, ...]
    architecture: str
    title: str
    family: str
    dataset: str
    recipe: str
    options: str
    epochs: int
    seeds: tuple[int, ...]
    parameters: int
    macs: int
    megabytes: float
    test: float | None
    interval: tuple[float, float] | None
    spread: tuple[float, float] | None
    images: int | None
    validation: float | None
    lossless: float | None
    seconds: float
    device: str
    weights: str
    sha256: str
    training: str


@dataclass(frozen=True)
class Untrained:
    """An architecture of which no network was trained: its size, at `size` px and `UNTRAINED_CLASSES` classes."""

    architecture: str
    title: str
    family: str
    size: int
    parameters: int
    macs: int


def networks(cards: Mapping[str, Card] | None = None) -> list[Network]:
    """One row for each network of `cards` (default: all that `zoo.records()` knows), in their order."""
    return [network(card) for card in (zoo.records() if cards is None else cards).values()]


def network(card: Card) -> Network:
    """The row of one network."""
    title, family = _title(card.architecture)
    images, test = test_images(card), card.accuracy.get("test")
    return Network(
        name=card.name,
        names=(card.name,),
        architecture=card.architecture,
        title=title,
        family=family,
        dataset=card.dataset,
        recipe=recipe_name(card),
        options=", ".join(f"{key} {value}" for key, value in card.options.items()),
        epochs=card.epochs,
        seeds=(card.seed,),
        parameters=card.parameters,
        macs=card.macs,
        megabytes=card.megabytes,
        test=test,
        interval=None if test is None or images is None else wilson(round(test * images), images),
        spread=None,
        images=images,
        validation=card.accuracy.get("validation"),
        lossless=card.accuracy.get("validation_lossless"),
        seconds=card.training_seconds,
        device=card.device,
        weights=_weights(card.name),
        sha256=card.sha256,
        training=training_key(card),
    )


def _title(architecture: str) -> tuple[str, str]:
    """Title and family of an architecture, also of one that this version doesn't know."""
    try:
        entry = registry.architecture(architecture)
    except ValueError:
        return architecture, "unknown"
    return entry.title, entry.family


def _weights(name: str) -> str:
    if not zoo.has_weights(name):
        return NOT_KEPT
    return SHIPPED if zoo.is_shipped(name) else LOCAL


def test_images(card: Card) -> int | None:
    """How many images the test accuracy rests on: the stored predictions', else the split's; None where unknown.

    A trial's card says how many images it was limited to, but not how many the split has.
    """
    path = zoo.predictions_path(card.name)
    if path is not None and (rows := _rows_of(path, card.sha256)):
        return rows
    return _split_size(card.dataset, "test") if trial_limit(card) is None else None


def _rows_of(path: Path, sha256: str) -> int | None:
    """Rows of a file of predictions of these weights, without reading them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with contextlib.suppress(pa.ArrowException, OSError, ValueError):
        found = pq.read_metadata(path)
        if (found.metadata or {}).get(b"sha256") == sha256.encode():
            return int(found.num_rows)
    return None


def validation_images(card: Card) -> int | None:
    """How many images the validation accuracy rests on; None where the card alone does not tell."""
    return _split_size(card.dataset, "validation") if trial_limit(card) is None else None


def _split_size(dataset: str, split: str) -> int | None:
    from data import cue10

    if dataset == "cue10":
        return cue10.SPLITS[split]
    return CIFAR_IMAGES[split] if dataset in DATASETS and dataset.startswith("cifar") else None


def predictions_of(card: Card) -> Predictions | None:
    """The stored test predictions of exactly these weights, None where there are none.

    Raises `PredictionsError` with one sentence when the file is damaged or belongs to other weights.
    """
    path = zoo.predictions_path(card.name)
    if path is None:
        return None
    found = read(path)
    if found.facts.get("sha256") != card.sha256:
        raise PredictionsError(
            f"the predictions in {path.name} are those of other weights than {card.name}'s."
        )
    if found.probabilities.shape[1] != len(card.classes):
        raise PredictionsError(
            f"the predictions in {path.name} are of {found.probabilities.shape[1]:,} classes, "
            f"but {card.name} tells {len(card.classes):,} apart."
        )
    return found


def readable_predictions(card: Card) -> Predictions | None:
    """As `predictions_of`, with None also for a file that can't be used."""
    with contextlib.suppress(PredictionsError):
        return predictions_of(card)
    return None


def by_training(rows: Iterable[Network]) -> list[Network]:
    """Networks that differ by their seed alone as one row: the mean of what was measured, and its spread."""
    groups: dict[str, list[Network]] = {}
    for row in rows:
        groups.setdefault(row.training, []).append(row)
    return [_group(members) for members in groups.values()]


def _group(members: list[Network]) -> Network:
    first = members[0]
    if len(members) == 1:
        return first
    measured = [row.test for row in members if row.test is not None]
    return replace(
        first,
        name=first.name.rsplit("-s", 1)[0],
        names=tuple(row.name for row in members),
        seeds=tuple(row.seeds[0] for row in members),
        test=_mean([row.test for row in members]),
        interval=None,
        spread=(min(measured), max(measured)) if measured else None,
        validation=_mean([row.validation for row in members]),
        lossless=_mean([row.lossless for row in members]),
        seconds=statistics.fmean(row.seconds for row in members),
        device=_joined(row.device for row in members),
        weights=_joined(row.weights for row in members),
        sha256="",
    )


def _mean(values: Sequence[float | None]) -> float | None:
    """Mean of all values; None unless every one was measured."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known and len(known) == len(values) else None


def _joined(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(words))


def untrained(trained: Collection[str] | None = None) -> list[Untrained]:
    """The registered architectures other than the `trained` (default: those of all records); takes seconds once."""
    names = {card.architecture for card in zoo.records().values()} if trained is None else trained
    return [_sketch(name) for name in registry.ARCHITECTURES if name not in names]


@lru_cache(maxsize=256)
def _sketch(name: str) -> Untrained:
    entry = registry.architecture(name)
    return Untrained(
        name,
        entry.title,
        entry.family,
        entry.default_size,
        *counted(name, UNTRAINED_CLASSES, entry.default_size),
    )


@lru_cache(maxsize=256)
def counted(architecture: str, classes: int, size: int) -> tuple[int, int]:
    """Parameters and multiply-accumulates of an architecture at `size` px, counted without computing anything."""
    import torch

    with torch.device("meta"):
        built = registry.build(architecture, classes)
    return count_parameters(built), count_macs(built, size)


def percent(share: float | None, digits: int = 2) -> float | None:
    """A share in [0, 1] as percent."""
    return None if share is None else round(100 * share, digits)


def accuracy_words(share: float | None, images: int | None) -> str:
    """A share in [0, 1] of right answers in words, with Wilson's interval where it is known of how many images."""
    if share is None:
        return "not measured"
    if images is None:
        return f"{percent(share):.2f} %"
    low, high = wilson(round(share * images), images)
    return f"{percent(share):.2f} % (95 %: {percent(low):.2f} to {percent(high):.2f}; {images:,} images)"


def table(rows: Iterable[Network], *, seeds: bool = False) -> list[dict[str, Cell]]:
    """The rows with a heading for every column, in its unit; `seeds` for rows of `by_training`."""
    return [{**_what(row), **_sizes(row), **_scores(row, seeds), **_making(row)} for row in rows]


def _what(row: Network) -> dict[str, Cell]:
    return {
        "name": row.name,
        "architecture": row.title,
        "dataset": row.dataset,
        "recipe": row.recipe,
        "options": row.options,
        "epochs": row.epochs,
        "seed": ", ".join(str(seed) for seed in row.seeds),
    }


def _sizes(row: Network) -> dict[str, Cell]:
    return {
        "parameters (M)": round(row.parameters / 1e6, 2),
        "MMAC": round(row.macs / 1e6, 1),
        "MB": round(row.megabytes, 1),
    }


def _scores(row: Network, seeds: bool) -> dict[str, Cell]:
    ends = (row.spread if seeds else row.interval) or (None, None)
    names = ("least", "most") if seeds else ("95 % from", "to")
    test = "mean test %" if seeds else "test %"
    scores: dict[str, Cell] = {
        test: percent(row.test),
        names[0]: percent(ends[0]),
        names[1]: percent(ends[1]),
    }
    return {**scores, "validation %": percent(row.validation), "lossless %": percent(row.lossless)}


def _making(row: Network) -> dict[str, Cell]:
    return {"training (min)": round(row.seconds / 60, 1), "trained on": row.device, "weights": row.weights}


def untrained_table(rows: Iterable[Untrained]) -> list[dict[str, Cell]]:
    """Rows of `untrained`, marked so that none can be taken for a result."""
    return [
        {
            "architecture": row.architecture,
            "title": row.title,
            "family": row.family,
            "input (px)": row.size,
            "parameters (M)": round(row.parameters / 1e6, 2),
            "MMAC": round(row.macs / 1e6, 1),
            "accuracy": "not trained",
        }
        for row in rows
    ]


def facts(row: Network) -> dict[str, Any]:
    """The row as plain values, for JSON."""
    return json.loads(json.dumps(asdict(row)))
