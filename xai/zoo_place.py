"""Where the trainings of a zoo run: how many at once, in which environment, and by what command."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from xai.training_request import find_device
from xai.zoo_plan import Job
from xai.zoo_state import Settings

MOST_AT_ONCE = 8
_ROOT = Path(__file__).resolve().parent.parent
_TORCHRUN = re.compile(
    r"^(RANK|WORLD_SIZE|LOCAL_RANK|LOCAL_WORLD_SIZE|GROUP_\w+|ROLE_\w+|MASTER_\w+|TORCHELASTIC_\w+)$"
)


@dataclass(frozen=True)
class Place:
    """Where the trainings of one runner go: how many at once, in how much GPU memory (GB), and the environment."""

    slots: int
    gigabytes: float
    environment: dict[str, str]


def command(job: Job, settings: Settings) -> list[str]:
    """The arguments of `python -m xai` that train this job."""
    words = ["train", "--architecture", job.architecture, "--dataset", job.dataset, "--seed", str(job.seed)]
    words += ["--recipe", job.recipe, "--device", settings.device, "--out", str(settings.out)]
    for key, value in sorted(job.options.items()):
        words += ["--option", f"{key}={value}"]
    given = {
        "teacher": job.teacher,
        "initial": job.initial,
        "epochs": settings.epochs,
        "limit": settings.limit,
    }
    for key, value in given.items():
        words += [f"--{key}", str(value)] if value else []
    return words


def place(settings: Settings) -> Place:
    """Room on this process's device; raises `ValueError` when this machine doesn't have the device.

    A process of `torchrun` takes the GPU of its local rank and its share of the processor's cores.
    """
    device = find_device(settings.device)
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    cores = max(1, _cores() // beside)
    if device.type == "cpu":
        slots = settings.parallel or 1
        return Place(slots, math.inf, _environment(settings, cores // slots, None))
    gpu, visible = _gpu(device)
    free = torch.cuda.mem_get_info(gpu)[0] / 1e9 / math.ceil(beside / torch.cuda.device_count())
    slots = settings.parallel or min(MOST_AT_ONCE, cores)
    room = math.inf if settings.parallel else 0.95 * free
    return Place(slots, room, _environment(settings, cores // slots, visible))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _gpu(device: torch.device) -> tuple[int, str | None]:
    """The GPU's index in this process, and the value of CUDA_VISIBLE_DEVICES that shows a training that one alone."""
    if "LOCAL_RANK" not in os.environ:
        return device.index or 0, None
    count = torch.cuda.device_count()
    index = int(os.environ["LOCAL_RANK"]) % count
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    return index, given.split(",")[index] if given else str(index)


def _environment(settings: Settings, threads: int, visible: str | None) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not _TORCHRUN.match(key)}
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    # teachers are found among the results; torchrun's own OMP_NUM_THREADS=1 is no wish of the user's
    kept |= {"PYTHONPATH": os.pathsep.join(paths), "XAI_MODELS": str(settings.out.resolve())}
    if "LOCAL_RANK" in os.environ or "OMP_NUM_THREADS" not in kept:
        kept["OMP_NUM_THREADS"] = str(max(1, threads))
    return kept if visible is None else {**kept, "CUDA_VISIBLE_DEVICES": visible}
