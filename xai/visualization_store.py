"""Feature visualisations kept on disk by network, objective and settings, one file for each picture.

A file is never seen half written, one that is damaged counts as missing, and the least recently used are removed once
all together take more than the limit. Several processes may use one folder: at worst they make a picture twice.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from data.storage import cache_folder
from models.files import write_by_rename
from models.registry import Model
from xai.attribution_types import ExplanationError
from xai.evaluation_store import versions
from xai.feature_visualization import Progress, Settings, Visualization, chunks, goals_of, visualize
from xai.manifests import card_digest
from xai.responses_store import weights_sha256
from xai.settings import VISUALIZATIONS
from xai.visualization_network import PrivateNetwork
from xai.visualization_objectives import Goal
from xai.visualization_transforms import GREY

FORMAT = "xai-kept-visualization-1"
ALGORITHM = 3
"""To be raised when the same settings no longer give the same pictures, so that those kept before are not taken."""
FOLDER = "visualizations"
_LEFT_OVER = 24 * 3600
"""Seconds after which half a file is one of a process that was killed."""


@dataclass(frozen=True)
class Kept:
    """One visualisation: `image` `(3, S, S)` and `strip` `(T, 3, S, S)` in [0, 1], `value` its final activation.

    `objective` is the text as `parse_objective` writes it. The strip is rounded to 8 bits per colour, the image is
    not. `facts` is JSON-able: `model` (see `model_facts`), `settings`, `note` and `remarks`, `device`, `threads`,
    `versions`, and `batch`, the objectives that were made at once, with `row`, the place among them: on a GPU a
    picture may differ where it is made beside others.
    """

    objective: str
    image: Tensor
    value: float
    strip: Tensor
    strip_steps: tuple[int, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)


def model_facts(model: Model) -> dict[str, Any]:
    """What a picture's file and a manifest say of the network: `sha256` is that of its file, `weights` of its numbers.

    The first says which file to load, the second what was looked at: a network may have learned more since it was
    loaded.
    """
    card, weights = model.card, weights_sha256(model.network)
    return {
        "name": model.name,
        "architecture": card.architecture,
        "dataset": card.dataset,
        "sha256": card.sha256 or weights,
        "weights": weights,
        "card_sha256": card_digest(card.architecture, model.input_size, model.classes),
        "input": model.input_size,
    }


def _key(facts: Mapping[str, Any], settings: Settings, text: str, copy: int, copies: int) -> str:
    """What a picture depends on, as text; `copies` of one objective differ by their number `copy`."""
    chosen = {**settings.to_json(), "batch": None}  # how many are made at once changes nothing
    among = copies if settings.diversity else 0
    return json.dumps([FORMAT, ALGORITHM, {**facts, "name": ""}, chosen, text, copy, among], sort_keys=True)


@dataclass(frozen=True)
class Store:
    """A folder of pictures of at most `limit` bytes."""

    folder: Path
    limit: int = VISUALIZATIONS.default * 2**20

    def path(self, key: str) -> Path:
        """Where the picture of a key is kept."""
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:40]}.safetensors"

    def find(self, key: str) -> Kept | None:
        """The picture of a key, and a note that it was used; None where there is none or a damaged one."""
        path = self.path(key)
        kept = _read(path, key)
        if kept is not None:
            with suppress(OSError):  # another process removed it, or the folder is only readable
                os.utime(path)
        return kept

    def keep(self, key: str, kept: Kept) -> None:
        """Write a picture by rename."""
        tensors = {"image": kept.image, "strip": as_bytes(kept.strip), "value": torch.tensor(kept.value)}
        said = {"objective": kept.objective, "strip_steps": list(kept.strip_steps), "facts": dict(kept.facts)}
        text = {"key": key, "digest": _digest(tensors), "said": json.dumps(said)}
        write_by_rename(self.path(key), lambda path: save_file(tensors, path, text))

    def tidy(self) -> None:
        """Remove the least recently used pictures above the limit, and what killed processes left half written."""
        room = self.limit
        for _used, size, path in sorted(self._files(), reverse=True):
            room -= size
            if room < 0:
                path.unlink(missing_ok=True)
        for path in self.folder.glob(".*"):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _LEFT_OVER:
                    path.unlink()

    def _files(self) -> Iterator[tuple[int, int, Path]]:
        """When each was last used, and its size in bytes."""
        for path in self.folder.glob("*.safetensors"):
            with suppress(FileNotFoundError):
                state = path.stat()
                yield state.st_mtime_ns, state.st_size, path


def default_store() -> Store:
    """The store in the cache folder; raises `SettingError` when `$XAI_VISUALIZATION_MB` is no allowed number."""
    return Store(cache_folder() / FOLDER, VISUALIZATIONS.bytes())


def as_bytes(images: Tensor) -> Tensor:
    """Images in [0, 1] with 8 bits per colour, uint8."""
    return (images.clamp(0, 1) * 255).round().to(torch.uint8)


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _read(path: Path, key: str) -> Kept | None:
    """What `keep` wrote under that key, or None."""
    try:
        with safe_open(path, "pt") as file:
            text = file.metadata()
            tensors = {name: file.get_tensor(name) for name in ("image", "strip", "value")}
        if text["key"] != key or text["digest"] != _digest(tensors):
            return None
        said = json.loads(text["said"])
        image, strip, value = tensors["image"], tensors["strip"].float() / 255, float(tensors["value"])
        return Kept(said["objective"], image, value, strip, tuple(said["strip_steps"]), said["facts"])
    except (SafetensorError, OSError, ValueError, KeyError, TypeError):
        return None


@dataclass
class _Work:
    """One call of `stored`: what is asked for, and what is there of it by row."""

    model: Model
    facts: dict[str, Any]
    settings: Settings
    goals: tuple[Goal, ...]
    store: Store
    found: dict[int, Kept] = field(default_factory=dict)

    def key(self, row: int) -> str:
        texts = [goal.text for goal in self.goals]
        text = texts[row]
        return _key(self.facts, self.settings, text, texts[:row].count(text), texts.count(text))

    def missing(self) -> list[int]:
        """Rows to be made: all copies of an objective where one is missing, as they are numbered in a run."""
        lost = {goal.text for row, goal in enumerate(self.goals) if row not in self.found}
        return [row for row, goal in enumerate(self.goals) if goal.text in lost]

    def look(self) -> None:
        """Read what is kept."""
        for row in range(len(self.goals)):
            if (kept := self.store.find(self.key(row))) is not None:
                self.found[row] = kept

    def keep(self, rows: Sequence[int], made: Visualization) -> None:
        """Write what was made, and take it as it is read again."""
        for place, row in enumerate(rows):
            kept = kept_of(made, place, self.facts)
            self.store.keep(self.key(row), kept)
            self.found[row] = kept
        self.store.tidy()


def kept_of(made: Visualization, row: int, facts: Mapping[str, Any]) -> Kept:
    """One picture of a run, as it is kept; `facts` are those of its network."""
    said = {
        "model": dict(facts),
        "settings": made.settings.to_json(),
        "note": made.notes[row],
        "remarks": list(made.remarks),
        "device": made.device,
        "threads": torch.get_num_threads(),
        "versions": versions(),
        "batch": list(made.objectives),
        "row": row,
    }
    strip = as_bytes(made.strip[row]).float() / 255
    image, value = made.images[row].contiguous(), float(made.values[row])
    return Kept(made.objectives[row], image, value, strip, tuple(made.strip_steps), said)


def stored(
    model: Model,
    objectives: Sequence[str],
    settings: Settings | None = None,
    *,
    image: Tensor | None = None,
    store: Store | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> tuple[Kept, ...]:
    """The pictures of the objectives, in their order: those kept are read, the others made and kept batch by batch.

    Arguments are those of `feature_visualization.visualize`, but for goals of one's own: their texts need not say what
    they are, which is all that a picture can be found by. `progress(done, total, pictures)` counts the steps of
    the pictures that have to be made, and its `pictures` are all those asked for as far as they are. Raises
    `ExplanationError` for what can't be made, and `Cancelled`: the batches that were finished stay.
    """
    settings = (settings or Settings()).resolved(model)
    goals = _named_goals(objectives, model, settings, image)
    work = _Work(model, model_facts(model), settings, goals, store or default_store())
    work.look()
    rows, watch = work.missing(), _Watch(work, progress)
    for batch in _batches(work, rows):
        chosen = [goals[row] for row in batch]
        made = visualize(model, chosen, settings, progress=watch.of(batch, len(rows)), cancelled=cancelled)
        work.keep(batch, made)
    return tuple(work.found[row] for row in range(len(goals)))


def find(
    model: Model,
    objective: str,
    settings: Settings | None = None,
    *,
    image: Tensor | None = None,
    store: Store | None = None,
) -> Kept | None:
    """The kept picture of one objective, None where it has to be made; arguments and errors are those of `stored`."""
    found = find_all(model, [objective], settings, image=image, store=store)
    return found[0] if found else None


def find_all(
    model: Model,
    objectives: Sequence[str],
    settings: Settings | None = None,
    *,
    image: Tensor | None = None,
    store: Store | None = None,
) -> tuple[Kept, ...] | None:
    """What `stored` would give, None where some of it has to be made; arguments and errors are those of `stored`."""
    settings = (settings or Settings()).resolved(model)
    goals = _named_goals(objectives, model, settings, image)
    work = _Work(model, model_facts(model), settings, goals, store or default_store())
    work.look()
    return None if work.missing() else tuple(work.found[row] for row in range(len(goals)))


def _named_goals(
    objectives: Sequence[str], model: Model, settings: Settings, image: Tensor | None
) -> tuple[Goal, ...]:
    """The goals that texts name; raises `ExplanationError` for goals of one's own."""
    for objective in objectives:
        if not isinstance(objective, str):
            raise ExplanationError(
                f"a {type(objective).__name__} was given; only pictures of objectives given as text are kept."
            )
    return goals_of(objectives, model, settings, image)


def _batches(work: _Work, rows: Sequence[int]) -> Iterator[list[int]]:
    """Rows that are made at once, as many as `visualize` itself would take; copies of one objective together."""
    if not rows:
        return
    ordered = sorted(rows, key=lambda row: [goal.text for goal in work.goals].index(work.goals[row].text))
    goals = [work.goals[row] for row in ordered]
    network = PrivateNetwork(work.model, [layer for goal in goals for layer in goal.layers])
    start = 0
    for chunk in chunks(network, goals, work.settings):
        stop = chunk.stop
        while stop < len(goals) and goals[stop].text == goals[stop - 1].text:
            stop += 1
        if stop > start:
            yield ordered[start:stop]
            start = stop


class _Watch:
    """Tells how far all pictures are, those that are kept already and those that grow."""

    def __init__(self, work: _Work, progress: Progress | None) -> None:
        self.progress, self.done = progress, 0
        assert work.settings.size is not None
        self.pictures = torch.full((len(work.goals), 3, work.settings.size, work.settings.size), GREY)
        for row, kept in work.found.items():
            self.pictures[row] = kept.image

    def of(self, rows: Sequence[int], count: int) -> Progress:
        """The progress of one batch as that of `count` pictures."""
        before = self.done

        def watch(done: int, total: int, pictures: Tensor) -> None:
            self.pictures[list(rows)] = pictures
            self.done = before + done
            if self.progress:
                self.progress(self.done, total // len(rows) * count, self.pictures)

        return watch
