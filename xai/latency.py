"""How long a network takes on this machine, one image at a time and in batches."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from models.registry import Model
from xai.shares import Told, part, untold
from xai.tables import Row

BATCHES = (1, 64)
WARM_UP = 3
LEAST_RUNS, MOST_RUNS = 5, 200
SECONDS = 1.5
"""After this time no further run of a batch begins, once there are `LEAST_RUNS`."""


@dataclass(frozen=True)
class Latency:
    """Forward passes of one batch: the median time and the quartiles around it, in milliseconds per batch."""

    model: str
    batch: int
    size: int
    runs: int
    median: float
    low: float
    high: float
    device: str
    threads: int

    @property
    def images_per_second(self) -> float:
        """Images per second at the median."""
        return 1000 * self.batch / self.median


def measure(
    model: Model, batches: Sequence[int] = BATCHES, seconds: float = SECONDS, told: Told = untold
) -> list[Latency]:
    """Time forward passes for each size of batch, after a warm-up, under the model's lock.

    What else runs on the machine is measured too: that is what the quartiles are for. `told` is called with the share
    in [0, 1] that is done, between passes. Raises `ValueError` for a batch below 1.
    """
    for batch in batches:
        if batch < 1:
            raise ValueError(f"the batch is {batch}; it must be at least 1.")
    with model.lock:
        return [
            _measure(model, batch, seconds, part(told, place, len(batches)))
            for place, batch in enumerate(batches)
        ]


def _measure(model: Model, batch: int, seconds: float, told: Told) -> Latency:
    shape = (batch, 3, model.input_size, model.input_size)
    images = torch.zeros(shape, device=model.device).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        for _ in range(WARM_UP):
            _run(model, images)
        times, began = list[float](), time.perf_counter()
        while len(times) < LEAST_RUNS or _goes_on(times, began, seconds):
            times.append(1000 * _run(model, images))
            told(_share(times, began, seconds))
    low, median, high = statistics.quantiles(times, n=4)
    device, threads = device_name(model.device), torch.get_num_threads()
    return Latency(model.name, batch, model.input_size, len(times), median, low, high, device, threads)


def _goes_on(times: Sequence[float], began: float, seconds: float) -> bool:
    return len(times) < MOST_RUNS and time.perf_counter() - began < seconds


def _share(times: Sequence[float], began: float, seconds: float) -> float:
    """How much is done: it ends with `MOST_RUNS`, or once both the time is over and there are `LEAST_RUNS`."""
    passed = (time.perf_counter() - began) / seconds if seconds else 1.0
    return min(1.0, max(len(times) / MOST_RUNS, min(len(times) / LEAST_RUNS, passed)))


def _run(model: Model, images: torch.Tensor) -> float:
    """Seconds of one forward pass."""
    began = time.perf_counter()
    model.network(images)
    if images.device.type == "cuda":
        torch.cuda.synchronize(images.device)
    return time.perf_counter() - began


def device_name(device: torch.device) -> str:
    """What the device calls itself."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return _processor() or platform.processor() or platform.machine()


def _processor() -> str:
    """The processor's name, where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")


def table(rows: Sequence[Latency]) -> list[Row]:
    """The rows with a heading for every column."""
    return [
        {
            "name": row.model,
            "batch": row.batch,
            "input (px)": row.size,
            "median (ms)": row.median,
            "25 % (ms)": row.low,
            "75 % (ms)": row.high,
            "images/s": round(row.images_per_second, 1),
            "runs": row.runs,
            "threads": row.threads,
            "device": row.device,
        }
        for row in rows
    ]
