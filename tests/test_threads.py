"""Threads that share models get the maps they would get alone."""

from __future__ import annotations

import contextlib
import copy
import random
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor

from models.complexity import count_macs
from models.registry import Model
from tests.explain_helpers import make_model
from xai import attribution
from xai.attribution import METHODS
from xai.hooks import count_hooks

THREADS = 8
SETTINGS: dict[str, dict[str, Any]] = {
    "integrated_gradients": {"steps": 3},
    "smoothgrad": {"samples": 2},
    "gradient_shap": {"samples": 2},
    "occlusion": {"window": 16, "stride": 16},
    "rise": {"samples": 4, "cells": 2},
}
Job = tuple[int, str, int]


def _models() -> list[Model]:
    return [
        make_model("alexnet", 32, hidden=16),
        make_model("alexnet_bn", 32, hidden=16),
        make_model("resnet18", 32, width=4),
        make_model("resnet50", 32, width=4),
    ]


def _map(models: Sequence[Model], job: Job) -> Tensor:
    index, name, target = job
    # several images of one size, so that a tensor of another call would fit and go unnoticed
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(target))
    return attribution.explain(models[index], images, name, targets=target, **SETTINGS.get(name, {})).values


def _disagreements(models: Sequence[Model], jobs: Sequence[Job], expected: dict[Job, Tensor]) -> list[str]:
    """What went wrong when the jobs ran in threads: wrong maps, exceptions, hooks left."""
    start = threading.Barrier(THREADS)

    def work(part: Sequence[Job]) -> list[str]:
        torch.set_num_threads(1)
        start.wait()
        problems = []
        for job in part:
            try:
                gap = float(
                    (_map(models, job) - expected[job]).abs().max()
                    / expected[job].abs().max().clamp_min(1e-12)
                )
            except Exception as error:
                problems.append(f"{job}: {type(error).__name__}: {error}")
            else:
                problems += [f"{job}: off by {gap}"] if not gap <= 1e-6 else []
        return problems

    with ThreadPoolExecutor(THREADS) as pool:
        found = [
            problem for part in pool.map(work, [jobs[i::THREADS] for i in range(THREADS)]) for problem in part
        ]
    return found + [
        f"{model.name}: {count} hooks left" for model in models if (count := count_hooks(model.network))
    ]


@pytest.fixture
def one_thread_each() -> Any:
    """Torch's own threads would only get in each other's way, and rounding depends on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _jobs(methods: Sequence[str]) -> list[Job]:
    jobs = [(index, name, target) for index in range(4) for name in methods for target in (2, 5)]
    random.Random(0).shuffle(jobs)
    return jobs


@pytest.mark.usefixtures("one_thread_each")
def test_eight_threads_four_models_all_methods_at_once() -> None:
    jobs = _jobs(tuple(METHODS))
    alone = _models()
    expected = {job: _map(alone, job) for job in jobs}
    assert _disagreements(_models(), jobs, expected) == []


@pytest.mark.usefixtures("one_thread_each")
def test_counting_macs_of_another_network_disturbs_no_map() -> None:
    jobs = _jobs(("saliency", "gradcam", "guided_backprop"))
    models, other, stop = _models(), make_model("resnet18", 32, width=4).network, threading.Event()
    expected = {job: _map(models, job) for job in jobs}

    def count() -> set[int]:
        found = {count_macs(other, 32)}
        while not stop.is_set():
            found.add(count_macs(other, 32))
        return found

    with ThreadPoolExecutor(1) as pool:
        counting = pool.submit(count)
        try:
            problems = _disagreements(models, jobs, expected)
        finally:
            stop.set()
        assert problems == []
        assert len(counting.result()) == 1


@pytest.mark.usefixtures("one_thread_each")
def test_without_the_lock_the_same_test_fails() -> None:
    names = ("gradcam", "guided_backprop", "saliency", "deeplift", "hirescam")
    jobs = _jobs(names)
    expected = {job: _map(_models(), job) for job in jobs}
    models = [copy.copy(model) for model in _models()]
    for model in models:
        model.lock = contextlib.nullcontext()  # type: ignore[assignment]
    # a race may be won by chance once, not ten times over
    assert any(_disagreements(models, jobs, expected) for _ in range(10))
