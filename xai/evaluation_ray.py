"""A sweep on Ray Data: the networks are asked by processes of a Ray cluster, for sets that outgrow one machine.

Every worker holds the networks and takes parts of the images: it decodes, degrades and asks as a sweep does anywhere,
and pixels depend on the image alone, so the cells are those of the local engine. This process only plans, gathers and
stores. Ray is an optional requirement. Without the environment variable `RAY_ADDRESS` it is started here, reachable
from this machine alone, and ended with the sweep. With it the cluster at that address is joined and left running; its
machines must have the same program at the same place, and see the same folders of pictures and networks.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.datasets import ImageSource
from data.folder_stream import ImageStream
from models.registry import Model
from xai.evaluation import (
    Cancelled,
    Engine,
    Images,
    Shares,
    SweepError,
    Work,
    ask,
    claim,
    forward_batch_size,
    store,
)
from xai.evaluation_grid import Cell

PART = 512
"""Images that a worker takes at a time, about: less is more messages, more is a longer wait at the end."""
MOST_GROUPS = 256
"""Groups taken at a time: each holds a lock, which is an open file, and other processes wait for it."""
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # on any system: Ray listens to this machine alone
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""What Ray reads from the environment when it is started here: no reports to anybody, no open ports, no chatter."""
_STORE_BYTES = 512 * 2**20


@dataclass(frozen=True)
class Plan:
    """What every worker needs to know; `data` is the clean images of all groups."""

    groups: list[list[Cell]]
    data: ImageSource
    device: torch.device
    batch_size: int | None
    load: Callable[[str, torch.device], Model]


Answers = dict[Cell, Shares | str]
"""What each network says, or the reason why it can't."""


class Worker:
    """Asks the networks of the plan; lives in a process of the cluster."""

    def __init__(self, plan: Plan) -> None:
        torch.set_num_threads(1)
        self.plan = plan
        self.state = Work(Path(), plan.device, plan.batch_size, False, None, lambda: False, plan.load)
        self.parts: dict[tuple[int, int], ImageSource] = {}

    def __call__(self, parts: Mapping[str, np.ndarray]) -> dict[str, list[Any]]:
        """The answers to each part of the images, pickled; a part is a number of a group, and its rows."""
        rows = zip(parts["group"].tolist(), parts["start"].tolist(), parts["stop"].tolist(), strict=True)
        answers = [pickle.dumps(self.answers(*each)) for each in rows]
        return {**{name: column.tolist() for name, column in parts.items()}, "answers": answers}

    def answers(self, group: int, start: int, stop: int) -> Answers:
        """What the networks of a group say to the images from `start` up to `stop`."""
        self.state.summary.failed.clear()
        found = ask(self.state, self.plan.groups[group], self._part(start, stop))
        return {**found, **self.state.summary.failed}

    def _part(self, start: int, stop: int) -> ImageSource:
        """Some of the images; those of small streams stay, as other groups need them too."""
        if (start, stop) in self.parts:
            return self.parts[start, stop]
        part = self.plan.data.take(torch.arange(start, stop))
        if isinstance(self.plan.data, ImageStream) and self.plan.data.is_kept:
            self.parts[start, stop] = part
        return part


@dataclass
class _Gathered:
    """A group whose answers come in: its lock, and those of each part, under its first row."""

    cells: list[Cell]
    lock: ExitStack
    parts: dict[int, Answers] = field(default_factory=dict)
    rows: int = 0

    def cell(self, cell: Cell) -> Shares | str:
        """All answers of one network, or the first reason why there are none."""
        found = [self.parts[start][cell] for start in sorted(self.parts)]
        shares = [each for each in found if not isinstance(each, str)]
        if len(shares) < len(found):
            return next(each for each in found if isinstance(each, str))
        predicted, probabilities = zip(*shares, strict=True)
        return np.concatenate(predicted), np.concatenate(probabilities)


@contextlib.contextmanager
def ray_engine(workers: int | None = None) -> Iterator[Engine]:
    """Ray as the engine of sweeps within the `with`; `workers` processes, None for one per core (or GPU) it has.

    Ray is started when there is something to do. Raises `SweepError` when it is not installed, or, within the sweep,
    when there is no such cluster.
    """
    if importlib.util.find_spec("ray") is None:
        raise SweepError(
            "--engine ray needs Ray, which is not installed; pip install 'ray[data]' installs it."
        )
    running: list[Any] = []
    with ExitStack() as stack:

        def run(state: Work, groups: Sequence[list[Cell]], images: Images) -> list[list[Cell]]:
            if not running:
                state.tell(0, "starting Ray")
                running.append(stack.enter_context(_started(workers)))
            return _run(running[0], workers, state, groups, images)

        yield run


@contextlib.contextmanager
def _started(workers: int | None) -> Iterator[Any]:
    """Ray, running; ended, or left, at the end."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    import ray

    address = os.environ.get("RAY_ADDRESS")
    here: dict[str, Any] = {
        "num_cpus": workers,
        "include_dashboard": False,
        "object_store_memory": _STORE_BYTES,
    }
    with _handlers_kept():
        try:
            ray.init(address, logging_level=40, log_to_driver=False, **({} if address else here))
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise SweepError(f"Ray can't be started: {' '.join(str(error).split())[:200]}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _handlers_kept() -> Iterator[None]:
    """Ray sets handlers of signals, over those of who uses it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(
    ray: Any, workers: int | None, state: Work, groups: Sequence[list[Cell]], images: Images
) -> list[list[Cell]]:
    """Do the first groups, as many as may be locked, that no other process is at; return the others."""
    with ExitStack() as locks:
        gathered: list[_Gathered] = []
        busy = list(groups[MOST_GROUPS:])
        for group in groups[:MOST_GROUPS]:
            lock = locks.enter_context(ExitStack())
            missing = lock.enter_context(claim(state, group, images))
            if missing is None:
                busy.append(group)
            elif missing:
                gathered.append(_Gathered(missing, lock))
        if gathered:
            _gather(ray, workers, state, gathered, images)
    return busy


def _gather(ray: Any, workers: int | None, state: Work, groups: Sequence[_Gathered], images: Images) -> None:
    """Have all parts answered; a group is stored, and free for others, as soon as it is complete."""
    try:
        state.tell(0, "starting Ray's workers")
        for number, start, stop, answers in _answered(ray, workers, state, groups, images.data):
            group = groups[number]
            condition = group.cells[0].condition
            group.parts[start] = answers
            group.rows += stop - start
            if group.rows == len(images.data):
                _finish(state, group, images)
            state.tell(sum(len(each.cells) * each.rows for each in groups) / len(images.data), condition)
    except Cancelled:
        raise
    except Exception as error:  # of Ray: a worker that can't be started again, or a machine that went away
        for group in groups:
            for cell in group.cells:
                state.fail(cell, error)


def _finish(state: Work, group: _Gathered, images: Images) -> None:
    for cell in group.cells:
        answers = group.cell(cell)
        if isinstance(answers, str):
            state.summary.failed[cell] = answers
        else:
            store(state, cell, images, answers)
    group.cells, group.parts = [], {}
    group.lock.close()


def _answered(
    ray: Any, workers: int | None, state: Work, groups: Sequence[_Gathered], data: ImageSource
) -> Iterator[tuple[int, int, int, Answers]]:
    """Number of the group, first and last row, and answers of each part, as they come."""
    if isinstance(data, ImageStream):
        data = replace(data, workers=0)  # each worker of the cluster decodes for itself
    plan = Plan([group.cells for group in groups], data, state.device, state.batch_size, state.load)
    size = state.batch_size or forward_batch_size(data.pixels(slice(0)), state.device)
    step = size * max(1, PART // size)  # batches are those of the local engine
    parts = [
        {"group": number, "start": start, "stop": min(start + step, len(data))}
        for number in range(len(groups))
        for start in range(0, len(data), step)
    ]
    needs = {"num_gpus": 1} if state.device.type == "cuda" else {"num_cpus": 1}
    count = workers or max(1, int(ray.cluster_resources().get("GPU" if "num_gpus" in needs else "CPU", 1)))
    _quiet(ray)
    answered = ray.data.from_items(parts, override_num_blocks=len(parts)).map_batches(
        Worker,
        fn_constructor_args=(plan,),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(count, len(parts))),
        **needs,
    )
    for row in answered.iter_rows():
        yield row["group"], row["start"], row["stop"], pickle.loads(row["answers"])


def _quiet(ray: Any) -> None:
    """No progress bars and messages of Ray's own; parts are done in order, so that cells are complete early."""
    import logging

    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    logging.getLogger("ray.data").setLevel(logging.ERROR)
