"""Sweeps on Ray: the same files as the local engine makes, on a cluster of two workers on this machine."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from data.datasets import open_dataset
from models import zoo
from tests.test_sweep_reliability import PAIR, cells_of, write_pictures
from xai import evaluation_ray
from xai.cli import main
from xai.evaluation import Engine, Images, Work, ask, claim, sweep
from xai.evaluation_grid import Cell, grid
from xai.evaluation_ray import Plan, Worker, ray_engine
from xai.evaluation_store import data_sha256, stored

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).resolve().parent.parent
CPU = torch.device("cpu")
with_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None,
    reason="Ray is optional, and not installed: pip install 'ray[data]'",
)


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XAI_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set")
    for seed, name in enumerate(("cat", "dog")):
        write_pictures(folder / name, 60, seed=seed)
    return folder


def command(root: Path, out: Path, *others: str) -> list[str]:
    given = ["evaluate", "--models", *PAIR, "--dataset", f"folder:{root}@32", "--out", str(out)]
    return [*given, "--degradations", "gaussian_noise", "--split", "train", *others]


def both(root: Path) -> tuple[Cell, ...]:
    """Two networks, a random degradation at two severities and one that draws nothing."""
    cards = [zoo.cards()[name] for name in PAIR]
    return grid(
        [f"folder:{root}@32"], cards, ["gaussian_noise", "pixelate"], severities=[1.0, 3.0], split="train"
    )


def test_parts_are_what_the_whole_is(root: Path) -> None:
    cells = [cell for cell in both(root) if cell.condition == "gaussian_noise 3"]
    data = open_dataset(f"folder:{root}@32", "train")
    state = Work(Path(), CPU, 16, False, None, lambda: False, zoo.load)
    whole = ask(state, cells, data)
    worker = Worker(Plan([cells], data, CPU, 16, zoo.load))
    parts = [worker.answers(0, start, min(start + 32, len(data))) for start in range(0, len(data), 32)]
    for cell in cells:
        for k in range(2):
            joined = np.concatenate([part[cell][k] for part in parts])
            assert np.array_equal(joined, whole[cell][k])  # type: ignore[arg-type]


def test_a_worker_gives_the_reason_when_a_network_fails(root: Path) -> None:
    cells = [replace(cell, model_sha256="0" * 64) for cell in cells_of(root)[:1]]
    data = open_dataset(f"folder:{root}@32", "train")
    worker = Worker(Plan([cells], data, CPU, 16, zoo.load))
    for _ in range(2):
        (reason,) = worker.answers(0, 0, 16).values()
        assert reason == f"the weights of {PAIR[0]} are others than when the sweep was planned."


def test_without_ray_one_line_says_how_to_install_it(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(evaluation_ray.importlib.util, "find_spec", lambda _name: None)
    assert main(command(root, tmp_path / "out", "--engine", "ray")) == 2
    assert "Ray, which is not installed; pip install 'ray[data]' installs it." in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_workers_are_rays_alone(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(root, tmp_path / "out", "--workers", "2")) == 2
    assert "--workers is 2, but only --engine ray has workers." in capsys.readouterr().err


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with ray_engine(workers=2) as started:
        yield started


@with_ray
def test_cells_are_byte_for_byte_those_of_the_local_engine(
    engine: Engine, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation_ray, "PART", 16)
    here, there, cells = tmp_path / "here", tmp_path / "there", both(root)
    wrong = replace(cells[0], model_sha256="0" * 64)
    told: list[float] = []
    sweep(cells, here, batch_size=16)
    busy = next(cell for cell in cells if cell.condition == "pixelate 1")
    data = open_dataset(busy.dataset, busy.split)
    state = Work(there, CPU, None, False, None, lambda: False, zoo.load)
    other = claim(state, [busy], evaluation_ray.Images(data, data_sha256(data)))

    def note(done: float, _total: int, _what: str) -> None:
        told.append(done)
        if done >= 4:  # another process is at one group for a while
            other.__exit__(None, None, None)

    other.__enter__()
    summary = sweep([*cells, wrong], there, batch_size=16, engine=engine, progress=note)
    assert summary.failed == {wrong: f"the weights of {PAIR[0]} are others than when the sweep was planned."}
    assert set(summary.computed) == set(cells)
    for cell in cells:
        assert (there / cell.path).read_bytes() == (here / cell.path).read_bytes()
    assert told == sorted(told)
    assert sweep(cells, there, engine=engine).skipped == list(cells)


@with_ray
def test_cancelling_keeps_what_is_stored(engine: Engine, root: Path, tmp_path: Path) -> None:
    reports: list[float] = []

    def stop() -> bool:
        return bool(reports) and reports[-1] > 0

    summary = sweep(
        both(root),
        tmp_path,
        batch_size=16,
        engine=engine,
        cancelled=stop,
        progress=lambda done, _total, _what: reports.append(done),
    )
    assert summary.cancelled
    assert len(summary.computed) < len(both(root))
    assert set(stored(tmp_path)[0]) == set(summary.computed)


@with_ray
@pytest.mark.slow
def test_an_interrupt_ends_ray_and_everything_it_started(root: Path, tmp_path: Path) -> None:
    arguments = command(root, tmp_path / "out", "--engine", "ray", "--workers", "1", "--batch-size", "1")
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.evaluation_child", "1", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until = time.time() + 120
    while not list((tmp_path / "out").rglob("*.parquet")):
        assert child.poll() is None, child.communicate()
        assert time.time() < until, "it did not happen in time"
        time.sleep(0.05)
    started = psutil.Process(child.pid).children(recursive=True)
    os.killpg(child.pid, signal.SIGINT)  # as a terminal does
    _printed, errors = child.communicate(timeout=120)
    assert child.returncode == 130, errors
    assert "stopped; the same command goes on from here." in errors
    assert len(started) >= 3
    assert psutil.wait_procs(started, timeout=30)[1] == []


def test_only_so_many_groups_are_locked_at_a_time(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    monkeypatch.setattr(evaluation_ray, "MOST_GROUPS", 2)
    monkeypatch.setattr(evaluation_ray, "_gather", lambda *given: taken.append(len(given[3])))
    data = open_dataset(f"folder:{root}@32", "train")
    groups = [[cell] for cell in both(root) if cell.model == PAIR[0]]
    state = Work(tmp_path, CPU, None, False, None, lambda: False, zoo.load)
    left = evaluation_ray._run(None, None, state, groups, Images(data, data_sha256(data)))
    assert taken == [2]
    assert left == groups[2:]
