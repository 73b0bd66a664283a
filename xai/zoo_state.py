"""Where a training of the zoo stands, read from its folder alone, and the lock that gives it to one runner."""

from __future__ import annotations

import fcntl
import functools
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, BinaryIO

from models.cards import Card, CardError, read_card, trial_limit
from models.files import sha256
from models.recipes import Recipe
from models.training_state import CURVE_FILE
from xai.network_curves import Curve, CurveError, read_curve
from xai.training import PREDICTIONS_FILE
from xai.zoo_plan import Job

LOCK_FILE = ".lock"
FAILED_FILE = "failed.txt"
LOG_FILE = "log.txt"
_SHOWN = ("train_loss", "validation_accuracy", "seconds")
"""Columns of a curve that are made use of here."""
_UNPLANNED: dict[str, Any] = {"compile": False, "initial_sha256": "", "teacher_sha256": ""}
"""Fields of a recipe that the plan doesn't say: how it is run, and what the training fills in."""


class ZooError(ValueError):
    """A training whose result can't be used, with the reason in one sentence."""


@dataclass(frozen=True)
class Settings:
    """What holds for all trainings of one call; `epochs` and `limit` (images of each split, a trial) override."""

    out: Path
    device: str = "cpu"
    epochs: int | None = None
    limit: int | None = None
    parallel: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class State:
    """Where a job stands: `done`, `running`, `partial`, `failed`, `waiting` or `needs`, and what to say of it."""

    kind: str
    detail: str = ""


@dataclass(frozen=True)
class Progress:
    """A running job after its last whole epoch; loss and accuracy (share) are NaN before the first."""

    name: str
    epoch: int
    epochs: int
    loss: float
    accuracy: float
    seconds_left: float


def finished_card(folder: Path) -> Card:
    """The card of a finished training whose weights are those that it describes; raises `ZooError` if not."""
    name = folder.name
    try:
        card = read_card(folder / f"{name}.json")
    except CardError as error:
        raise ZooError(f"{name} has no readable card yet.") from error
    if card.name != name:
        raise ZooError(f"the card in {folder} is that of {card.name}.")
    if card.epochs != card.recipe.get("epochs") or card.accuracy.get("test") is None:
        raise ZooError(f"{name} is not finished: epoch {card.epochs} of {card.recipe.get('epochs')}.")
    weights = folder / f"{name}.safetensors"
    if not weights.is_file() or _digest(weights, weights.stat().st_mtime_ns) != card.sha256:
        raise ZooError(f"the weights of {name} are missing or differ from its card.")
    return card


@functools.cache
def _digest(path: Path, _modified: int) -> str:
    return sha256(path)


def same_recipe(card: Card, recipe: Recipe) -> bool:
    """Whether the card's training followed that recipe; a card may say more than a recipe does."""
    known = {entry.name: card.recipe[entry.name] for entry in fields(Recipe) if entry.name in card.recipe}
    try:
        found = Recipe(**known).explicit()
    except (TypeError, ValueError):
        return False
    return replace(found, **_UNPLANNED) == replace(recipe.explicit(), **_UNPLANNED)


def is_done(job: Job, settings: Settings) -> bool:
    """Whether the job's result is there: finished, with weights and answers, and as these settings would make it."""
    folder = settings.out / job.name
    try:
        card = finished_card(folder)
    except ZooError:
        return False
    if not (folder / PREDICTIONS_FILE).is_file():  # they are written last
        return False
    return same_recipe(card, job.full_recipe(settings.epochs)) and trial_limit(card) == settings.limit


def state(job: Job, settings: Settings) -> State:
    """Where the job stands, for a table."""
    folder, epochs = settings.out / job.name, job.full_recipe(settings.epochs).epochs
    if is_done(job, settings):
        return State("done", f"test accuracy {100 * (finished_card(folder).accuracy['test'] or 0):.2f} %")
    made = len(curve(folder))
    if is_locked(folder):
        return State("running", f"epoch {made} of {epochs}")
    if (folder / FAILED_FILE).is_file():
        return State("failed", (folder / FAILED_FILE).read_text(encoding="utf-8").strip())
    if made:
        return State("partial", f"epoch {made} of {epochs}")
    if job.teacher and not teacher_done(job, settings):
        return State("needs", job.teacher)
    return State("waiting", f"starts from {job.initial}" if job.initial else "")


def teacher_done(job: Job, settings: Settings) -> bool:
    """Whether the checkpoint that teaches this job is finished, and nobody is at work on it."""
    folder = settings.out / job.teacher
    try:
        finished_card(folder)
    except ZooError:
        return False
    return not is_locked(folder)


def curve(folder: Path) -> Curve:
    """The rows of the epochs made so far, none where there is no readable curve."""
    try:
        return read_curve(folder / CURVE_FILE, folder.name, _SHOWN)
    except CurveError:
        return []


def progress(job: Job, settings: Settings, running_seconds: float) -> Progress:
    """How far a job is that has been running for so many seconds since its last epoch or its start."""
    rows, epochs = curve(settings.out / job.name), job.full_recipe(settings.epochs).epochs
    if not rows:
        return Progress(job.name, 0, epochs, float("nan"), float("nan"), float("nan"))
    recent = [row["seconds"] for row in rows[-3:]]
    left = max(0.0, (epochs - len(rows)) * sum(recent) / len(recent) - running_seconds)
    return Progress(
        job.name, len(rows), epochs, rows[-1]["train_loss"], rows[-1]["validation_accuracy"], left
    )


def curve_time(folder: Path) -> float:
    """When the last epoch was written, in seconds since 1970, or 0."""
    path = folder / CURVE_FILE
    return path.stat().st_mtime if path.is_file() else 0.0


def take_lock(folder: Path) -> BinaryIO | None:
    """The open, locked file of a job's folder, or None while another process holds it.

    The lock lasts until every process that has the file open closes it or ends, however it ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stream = (folder / LOCK_FILE).open("ab")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.close()
        return None
    return stream


def is_locked(folder: Path) -> bool:
    """Whether some process holds the lock of a job's folder."""
    if not (folder / LOCK_FILE).is_file():
        return False
    stream = take_lock(folder)
    if stream:
        stream.close()
    return stream is None
