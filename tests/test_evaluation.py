"""Sweeps of shipped networks over drawn scenes: compared with the networks themselves, killed, shared, gone on with."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from data import cue10
from data.catalogue import load_dataset
from data.datasets import ImageSet
from data.degradations import degrade
from data.remedies import remedy
from models import zoo
from models.precision import cpu_has_bf16
from models.registry import Model
from xai import evaluation
from xai.cli import main
from xai.evaluation import sweep
from xai.evaluation_grid import CLEAN, Cell, grid
from xai.evaluation_store import stored, summary_rows
from xai.predictions import PredictionsError, predict
from xai.predictions_file import read, read_answers, read_facts
from xai.statistics import wilson

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).resolve().parent.parent
PAIR = ("alexnet-cue10-s0", "resnet18-cue10-s0")
SCENES = 40
ASKED = ("gaussian_noise", "pixelate")


@pytest.fixture(scope="module", autouse=True)
def _small_cue10(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cue10 with few test scenes, cached in a folder of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XAI_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setitem(cue10.SPLITS, "test", SCENES)
        yield


@pytest.fixture(scope="module")
def networks() -> dict[str, Model]:
    return {name: zoo.load(name) for name in PAIR}


@pytest.fixture(scope="module")
def load(networks: dict[str, Model]) -> Callable[[str, torch.device], Model]:
    return lambda name, _device: networks[name]


@pytest.fixture(scope="module")
def data() -> ImageSet:
    return load_dataset("cue10", "test")


def cells_of(*degradations: str, models: tuple[str, ...] = PAIR, **others: object) -> tuple[Cell, ...]:
    cards = [zoo.cards()[name] for name in models]
    return grid(["cue10"], cards, degradations, **{"severities": [2.0], **others})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, load: Callable[[str, torch.device], Model]) -> Path:
    """A folder with the answers of two networks under three conditions; not to be changed."""
    folder = tmp_path_factory.mktemp("swept")
    summary = sweep(cells_of(*ASKED), folder, load=load, batch_size=SCENES)
    assert (len(summary.computed), summary.skipped, summary.failed) == (6, [], {})
    return folder


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Name and number of images of every time that a network is asked."""
    calls: list[tuple[str, int]] = []
    shares = evaluation.shares

    def note(model: Model, pixels: Tensor, precision: str) -> evaluation.Shares:
        calls.append((model.name, len(pixels)))
        return shares(model, pixels, precision)

    monkeypatch.setattr(evaluation, "shares", note)
    return calls


# What is stored


def test_the_answers_are_those_of_the_networks_to_the_degraded_images(
    swept: Path, networks: dict[str, Model], data: ImageSet
) -> None:
    for cell in cells_of(*ASKED):
        pixels = data.float_images()
        if cell.degradation != CLEAN:
            pixels = degrade(pixels, cell.degradation, 2, scale="cifar-c", image_ids=data.ids, seed=0)
        expected = networks[cell.model].predict(pixels.contiguous(memory_format=torch.channels_last))
        rows = read(swept / cell.path)
        assert rows.ids == data.ids
        assert rows.labels.tolist() == data.labels.tolist()
        assert rows.predicted.tolist() == expected.argmax(1).tolist()
        assert np.abs(rows.probabilities - expected.numpy()).max() < 2.5e-4  # what half precision rounds off


def test_clean_answers_are_those_that_a_training_stores(
    swept: Path, networks: dict[str, Model], data: ImageSet
) -> None:
    for cell in cells_of(CLEAN):
        expected = predict(networks[cell.model], data)
        assert read(swept / cell.path).predicted.tolist() == expected.predicted.tolist()


def test_a_file_says_everything_that_its_numbers_depend_on(swept: Path, data: ImageSet) -> None:
    (cell,) = (each for each in cells_of(*ASKED, models=PAIR[:1]) if each.degradation == "gaussian_noise")
    facts = read_facts(swept / cell.path)
    assert facts["model_sha256"] == zoo.cards()[PAIR[0]].sha256
    told = ("dataset", "split", "model", "degradation", "scale", "severity", "seed", "precision", "form")
    expected = ["cue10", "test", PAIR[0], "gaussian_noise", "cifar-c", "2.0", "0", "fp32", "full"]
    assert [facts[name] for name in told] == expected
    assert facts["degradation_version"] == "1"
    assert json.loads(facts["constants"]) == {"sigma": 0.06}
    assert tuple(json.loads(facts["classes"])) == data.classes
    assert json.loads(facts["versions"])["torch"] == torch.__version__
    assert stored(swept)[0][cell] == swept / cell.path


@pytest.mark.parametrize("size", [1, 7])
def test_the_size_of_batches_does_not_matter(
    size: int, swept: Path, tmp_path: Path, load: Callable[[str, torch.device], Model]
) -> None:
    cells = cells_of("gaussian_noise", models=PAIR[:1])
    sweep(cells, tmp_path, load=load, batch_size=size)
    for cell in cells:
        ours, theirs = read(tmp_path / cell.path), read(swept / cell.path)
        assert (ours.ids, ours.predicted.tolist()) == (theirs.ids, theirs.predicted.tolist())
        assert np.abs(ours.probabilities - theirs.probabilities).max() < 1e-3


@pytest.mark.parametrize("degradation", ["gaussian_noise", "motion_blur", "impulse_noise", "contrast"])
def test_pixels_depend_on_the_image_alone(degradation: str, data: ImageSet) -> None:
    (cell,) = cells_of(degradation, models=PAIR[:1])[1:]
    whole = evaluation.degraded_batch(data, cell, slice(None), torch.device("cpu"))
    order = torch.randperm(SCENES, generator=torch.Generator().manual_seed(1))
    mixed = evaluation.degraded_batch(data.take(order), cell, slice(5, 12), torch.device("cpu"))
    assert torch.equal(mixed, whole[order[5:12]])
    other = evaluation.degraded_batch(data, replace(cell, seed=1), slice(None), torch.device("cpu"))
    assert torch.equal(other, whole) == (degradation == "contrast")


def test_batches_are_degraded_once_for_all_networks(
    tmp_path: Path,
    load: Callable[[str, torch.device], Model],
    monkeypatch: pytest.MonkeyPatch,
    asked: list[tuple[str, int]],
) -> None:
    seen: list[int] = []

    def note(images: Tensor, *_: object, **__: object) -> Tensor:
        seen.append(len(images))
        return images

    monkeypatch.setattr(evaluation, "degrade", note)
    sweep(cells_of("gaussian_noise"), tmp_path, load=load, batch_size=16)
    assert seen == [16, 16, 8]
    assert asked == [(name, count) for _ in range(2) for count in (16, 16, 8) for name in PAIR]


# What is not computed again


def test_what_is_stored_is_skipped(swept: Path, asked: list[tuple[str, int]]) -> None:
    before = {path: path.stat().st_mtime_ns for path in swept.rglob("*.parquet")}

    def never(name: str, _device: torch.device) -> Model:
        raise AssertionError(f"{name} was loaded")

    summary = sweep(cells_of(*ASKED), swept, load=never)
    assert (summary.computed, len(summary.skipped), asked) == ([], 6, [])
    assert {path: path.stat().st_mtime_ns for path in swept.rglob("*.parquet")} == before


def test_results_on_other_images_are_computed_again(
    tmp_path: Path,
    load: Callable[[str, torch.device], Model],
    monkeypatch: pytest.MonkeyPatch,
    data: ImageSet,
) -> None:
    cells = cells_of(CLEAN)
    sweep(cells, tmp_path, load=load)
    changed = replace(data, images=255 - data.images)
    monkeypatch.setattr(evaluation, "open_dataset", lambda *_: changed)
    assert sweep(cells, tmp_path, load=load).computed == list(cells)
    assert sweep(cells, tmp_path, load=load).skipped == list(cells)


def test_the_compact_form_tells_the_same(
    swept: Path, tmp_path: Path, load: Callable[[str, torch.device], Model]
) -> None:
    cells = cells_of(*ASKED)
    sweep(cells, tmp_path, load=load, compact=True, batch_size=SCENES)
    for cell in cells:
        full, short = read(swept / cell.path), read_answers(tmp_path / cell.path)
        assert (short.ids, short.accuracy) == (full.ids, full.accuracy)
        rows = np.arange(SCENES)
        assert np.array_equal(short.confidence, full.probabilities.max(axis=1))
        assert np.array_equal(short.label_probability, full.probabilities[rows, full.labels])
        assert short.facts == {**full.facts, "form": "compact"}
        with pytest.raises(PredictionsError, match="has no sound column 'p'"):
            read(tmp_path / cell.path)
    ours, theirs = summary_rows(tmp_path)[0], summary_rows(swept)[0]
    assert ours == theirs
    assert sweep(cells, swept, load=load, compact=True).skipped == list(cells)
    assert sweep(cells[:1], tmp_path, load=load).computed == [cells[0]]
    assert read(tmp_path / cells[0].path).predicted.tolist() == read(swept / cells[0].path).predicted.tolist()


def test_a_processor_that_refuses_bfloat16_is_told_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("models.precision.cpu_has_bf16", lambda: False)
    asked = ["evaluate", "--models", PAIR[0], "--dataset", "cue10", "--degradations", "clean"]
    assert main([*asked, "--precision", "bf16", "--out", str(tmp_path)]) == 2
    assert "use the precision fp32" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.parquet"))
    assert main([*asked, "--precision", "fp32", "--out", str(tmp_path)]) == 0


def test_bfloat16_is_another_cell(
    tmp_path: Path, swept: Path, load: Callable[[str, torch.device], Model]
) -> None:
    if not cpu_has_bf16():
        pytest.skip("this processor refuses bfloat16 instructions")
    full, reduced = (cells_of(CLEAN, precision=name) for name in ("fp32", "bf16"))
    assert not set(full) & set(reduced)
    sweep(reduced, tmp_path, load=load)
    for exact, cell in zip(full, reduced, strict=True):
        ours, theirs = read(tmp_path / cell.path), read(swept / exact.path)
        assert ours.facts["precision"] == "bf16"
        difference = np.abs(ours.probabilities - theirs.probabilities.astype(np.float32)).max()
        assert 0 < difference < 0.1


# What fails, and what does not belong there


class Broken(nn.Module):
    """A network that answers the first batch, and then fails as it was told to."""

    def __init__(self, network: nn.Module, failure: Callable[[], Tensor]) -> None:
        super().__init__()
        self.network, self.failure, self.calls = network, failure, 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        return self.network(images) if self.calls == 1 else self.failure()


def _crash() -> Tensor:
    raise RuntimeError("no memory\nleft")


FAILURES: dict[str, tuple[Callable[[], Tensor], str]] = {
    "raises": (_crash, "RuntimeError: no memory left"),
    "not a number": (
        lambda: torch.full((20, 10), float("nan")),
        "predictions to write has a probability that is not a number in [0, 1].",
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_network_that_fails_does_not_stop_the_others(
    name: str, tmp_path: Path, networks: dict[str, Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    failure, reason = FAILURES[name]
    cells = cells_of(CLEAN)
    good, bad = networks[PAIR[0]], replace(networks[PAIR[1]])
    bad.network = Broken(bad.network, failure)
    monkeypatch.setattr(evaluation, "folded", lambda model: model)
    both = {PAIR[0]: good, PAIR[1]: bad}
    summary = sweep(cells, tmp_path, load=lambda each, _: both[each], batch_size=20)
    assert summary.computed == [cells[0]]
    assert summary.failed == {cells[1]: reason}
    rows, problems = summary_rows(tmp_path, summary.failed)
    assert (rows[cells[0]]["failure"], rows[cells[1]]["failure"], problems) == ("", reason, ())
    assert [row["accuracy"] is None for row in rows.values()] == [False, True]
    assert [path.stem for path in tmp_path.rglob("*.parquet")] == [cells[0].key]
    again = sweep(cells, tmp_path, load=lambda each, _: networks[each])
    assert (again.skipped, again.computed) == ([cells[0]], [cells[1]])


def test_a_network_that_can_not_be_had_is_noted(tmp_path: Path, networks: dict[str, Model]) -> None:
    cells = cells_of(CLEAN)
    other = replace(cells[1], model_sha256="0" * 64)

    def load(name: str, _device: torch.device) -> Model:
        if name == PAIR[0]:
            raise OSError("gone")
        return networks[name]

    summary = sweep([cells[0], other], tmp_path, load=load)
    assert summary.failed == {
        cells[0]: "OSError: gone",
        other: f"the weights of {PAIR[1]} are others than when the sweep was planned.",
    }
    assert list(tmp_path.rglob("*.parquet")) == []


def test_files_that_are_no_results_are_named_and_passed_over(
    swept: Path, tmp_path: Path, load: Callable[[str, torch.device], Model]
) -> None:
    cells = cells_of(CLEAN)
    sweep(cells, tmp_path, load=load)
    first, second = (tmp_path / cell.path for cell in cells)
    own = zoo.predictions_path(PAIR[0])
    assert own is not None
    (tmp_path / "foreign.parquet").write_bytes(own.read_bytes())
    (tmp_path / "text.parquet").write_text("no table")
    (first.parent / "renamed.parquet").write_bytes(first.read_bytes())
    second.write_bytes(second.read_bytes()[:1000])
    found, problems = stored(tmp_path)
    assert list(found) == [cells[0]]
    assert sorted(problems) == sorted(
        [
            f"{second.name} is not a Parquet file, or it is damaged.",
            "foreign.parquet is no result of a sweep of this version of the program.",
            f"renamed.parquet holds another cell than its name says: {cells[0].key}.",
            "text.parquet is not a Parquet file, or it is damaged.",
        ]
    )
    summary = sweep(cells, tmp_path, load=load)
    assert (summary.skipped, summary.computed) == ([cells[0]], [cells[1]])
    assert set(stored(tmp_path)[0]) == set(cells)


def test_a_file_damaged_in_its_rows_is_named_by_the_summary(swept: Path, tmp_path: Path) -> None:
    (cell, _) = cells_of(CLEAN)
    path = tmp_path / cell.path
    path.parent.mkdir(parents=True)
    content = bytearray((swept / cell.path).read_bytes())
    content[40:60] = bytes(20)
    path.write_bytes(content)
    rows, problems = summary_rows(tmp_path)
    assert (rows, problems) == ({}, (f"{path.name} is not a Parquet file, or it is damaged.",))


def test_a_remedy_of_another_version_fails_its_cell(
    tmp_path: Path, load: Callable[[str, torch.device], Model]
) -> None:
    (cell,) = cells_of(CLEAN, models=PAIR[:1], remedies=["median"])
    other = replace(cell, remedy="median.v99")
    summary = sweep([cell, other], tmp_path, load=load)
    assert summary.computed == [cell]
    assert list(summary.failed) == [other]
    assert "median.v99" in summary.failed[other]


def test_a_repaired_cell_is_what_the_network_says_of_the_repaired_images(
    tmp_path: Path, load: Callable[[str, torch.device], Model], networks: dict[str, Model], data: ImageSet
) -> None:
    cells = cells_of("motion_blur", models=PAIR[:1], remedies=["wiener+told"], scale="cifar-c", seed=5)
    (cell,) = cells
    assert sweep(cells, tmp_path, load=load, batch_size=16).computed == [cell]
    rows = read(tmp_path / cell.path)
    known: dict[str, Any] = {"severity": 2.0, "scale": "cifar-c", "image_ids": data.ids, "seed": 5}
    pixels = degrade(data.images.float() / 255, "motion_blur", **known)
    pixels = remedy(pixels, "wiener+told", degradation="motion_blur", **known)
    _, expected = evaluation.shares(networks[PAIR[0]], pixels, "fp32")
    np.testing.assert_allclose(rows.probabilities, expected, atol=2e-3)
    assert json.loads(rows.facts["remedy_constants"]) == {"balance": 1e-3}
    assert {"scikit-image", "scipy"} < set(json.loads(rows.facts["versions"]))


def test_cancelling_keeps_what_is_stored(tmp_path: Path, load: Callable[[str, torch.device], Model]) -> None:
    reports: list[tuple[float, int, str]] = []
    summary = sweep(
        cells_of(*ASKED),
        tmp_path,
        load=load,
        batch_size=16,
        progress=lambda *told: reports.append(told),
        cancelled=lambda: reports[-1][0] > 3,
    )
    assert summary.cancelled
    assert len(summary.computed) == 2 == len(stored(tmp_path)[0])
    assert all(total == 6 for _done, total, _what in reports)
    assert [done for done, _total, _what in reports] == sorted(done for done, _total, _what in reports)
    rest = sweep(cells_of(*ASKED), tmp_path, load=load)
    assert (len(rest.skipped), len(rest.computed), rest.cancelled) == (2, 4, False)


def test_pictures_of_some_of_the_classes_are_counted_by_the_networks_numbers(
    tmp_path: Path, data: ImageSet, load: Callable[[str, torch.device], Model]
) -> None:
    root, names = tmp_path / "set", ("star_zigzag", "disc_plain")
    renamed = tuple(name.replace("/", "_") for name in data.classes)
    for name in names:
        (root / name).mkdir(parents=True)
        for row in torch.nonzero(data.labels == renamed.index(name))[:, 0].tolist():
            Image.fromarray(data.images[row].permute(1, 2, 0).numpy()).save(root / name / f"{row}.png")
    card = replace(zoo.cards()[PAIR[0]], classes=renamed)
    model = replace(load(PAIR[0], torch.device("cpu")), card=card, classes=renamed)
    cells = grid([f"folder:{root}"], [card], [CLEAN], split="train")
    assert sweep(cells, tmp_path / "out", load=lambda *_: model).failed == {}
    rows = read(tmp_path / "out" / cells[0].path)
    assert {image.split("/")[0]: int(label) for image, label in zip(rows.ids, rows.labels, strict=True)} == {
        "disc_plain": 0,
        "star_zigzag": 4,
    }
    assert rows.accuracy > 0.8


# The command


def command(out: Path, *degradations: str, models: tuple[str, ...] = PAIR) -> list[str]:
    return [
        "evaluate",
        "--models",
        *models,
        "--dataset",
        "cue10",
        "--out",
        str(out),
        "--degradations",
        *degradations,
    ]


def test_the_command_writes_a_summary_that_the_rows_bear_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*command(tmp_path, "jpeg", models=PAIR[:1]), "--severities", "1", "5", "--limit", "30"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    with (tmp_path / "summary.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["degradation"], row["severity"]) for row in rows] == [
        ("clean", "0.0"),
        ("jpeg_compression", "1.0"),
        ("jpeg_compression", "5.0"),
    ]
    for row, path in zip(rows, stored(tmp_path)[0].items(), strict=True):
        answers = read(path[1])
        right = sum(a == b for a, b in zip(answers.labels.tolist(), answers.predicted.tolist(), strict=True))
        assert (int(row["n"]), int(row["right"]), float(row["accuracy"])) == (30, right, right / 30)
        assert (float(row["low"]), float(row["high"])) == pytest.approx(wilson(right, 30))
        assert f"{100 * right / 30:.2f} ({100 * float(row['low']):.2f} to" in printed
        assert row["model_sha256"] == path[0].model_sha256
    assert f"wrote {tmp_path / 'summary.csv'}" in printed
    assert "3 of 3 cells are stored: 3 computed, 0 before" in printed
    assert main(arguments) == 0
    assert "3 of 3 cells are stored: 0 computed, 3 before" in capsys.readouterr().out


BAD: dict[str, tuple[list[str], str]] = {
    "remedy": (["--remedies", "nothing"], "remedy 'nothing' is unknown; allowed are clahe, nlm"),
    "told remedy": (["--remedies", "none", "nlm+told"], "nlm+told does not apply to pixelate; allowed are"),
    "network": (["--models", "nobody"], "there is no network 'nobody'"),
    "classes": (["--models", "alexnet-cifar10-jpeg-s0"], "does not know 10 of the 10 classes of cue10"),
    "degradation": (["--degradations", "rain"], "degradation 'rain' is unknown; allowed are "),
    "severity": (
        ["--severities", "6"],
        "severity 6 is out of range; pixelate on scale 'cifar-c' takes 0 to 5",
    ),
    "scale": (
        ["--degradations", "paper", "--scale", "cifar-c"],
        "the set paper was asked for on scale 'cifar-c'",
    ),
    "split": (["--split", "nowhere"], "cue10 has no split 'nowhere'; allowed are train"),
    "limit": (["--limit", "0"], "--limit is 0; it must be at least 1."),
    "precision": (["--precision", "int8"], "the precision is 'int8'; allowed are fp32, bf16."),
    "dataset": (["--dataset", "mnist"], "there is no dataset 'mnist'"),
    "device": (["--device", "tpu"], "device is 'tpu'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given, message = BAD[name]
    assert main([*command(tmp_path / "out", "pixelate", models=PAIR[:1]), *given]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
    assert not (tmp_path / "out").exists()


def start(out: Path) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-m", "tests.evaluation_child", str(SCENES), *command(out, "paper")]
    return subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_files(out: Path, count: int, child: subprocess.Popen[str]) -> None:
    until = time.time() + 120
    while len(list(out.rglob("*.parquet"))) < count:
        assert child.poll() is None, child.communicate()
        assert time.time() < until, "it did not happen in time"
        time.sleep(0.02)


def test_two_processes_share_a_folder_and_one_ends_what_the_other_was_killed_at(tmp_path: Path) -> None:
    killed, other = start(tmp_path), start(tmp_path)
    wait_for_files(tmp_path, 3, killed)
    killed.kill()
    killed.communicate()
    before = {path: path.read_bytes() for path in stored(tmp_path)[0].values()}
    assert 3 <= len(before) < 32
    printed, errors = other.communicate(timeout=240)
    assert other.returncode == 0, errors
    assert "32 of 32 cells are stored" in printed
    assert all(path.read_bytes() == content for path, content in before.items())
    found, problems = stored(tmp_path)
    assert (set(found), problems) == (set(cells_of("paper", severities=None)), ())
    assert all(len(read(path)) == SCENES for path in found.values())
    assert [path for path in tmp_path.rglob(".*.parquet.*")] == []


def test_nothing_is_computed_twice_by_two_at_once(
    tmp_path: Path, load: Callable[[str, torch.device], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "WAIT_SECONDS", 0.01)
    cells = cells_of(*ASKED, severities=[1.0, 2.0])
    with ThreadPoolExecutor(2) as pool:
        ends = list(pool.map(lambda _: sweep(cells, tmp_path, load=load), range(2)))
    assert sorted(ends[0].computed + ends[1].computed) == sorted(cells)
    assert all(len(end.computed) + len(end.skipped) == len(cells) for end in ends)


def test_left_overs_of_a_killed_writer_are_removed(
    tmp_path: Path, load: Callable[[str, torch.device], Model]
) -> None:
    (cell,) = cells_of(CLEAN, models=PAIR[:1])
    path = tmp_path / cell.path
    path.parent.mkdir(parents=True)
    (path.parent / f".{path.name}.abc123").write_bytes(b"half a file")
    sweep([cell], tmp_path, load=load)
    assert list(path.parent.iterdir()) == [path]


def test_an_interrupt_ends_the_command_and_keeps_what_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shares, calls = evaluation.shares, iter(range(100))

    def interrupt(*given: Any) -> evaluation.Shares:
        if next(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return shares(*given)

    monkeypatch.setattr(evaluation, "shares", interrupt)
    handler = signal.getsignal(signal.SIGINT)
    assert main([*command(tmp_path, "jpeg", models=PAIR[:1]), "--batch-size", "40"]) == 130
    printed, errors = capsys.readouterr()
    assert "not computed" in printed
    assert "stopped; the same command goes on from here." in errors
    assert len(stored(tmp_path)[0]) == 3
    assert signal.getsignal(signal.SIGINT) is handler
