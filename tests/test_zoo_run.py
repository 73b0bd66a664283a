"""The runner of the zoo: real trainings in real processes, stopped, killed, shared and gone on with."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from models import registry, zoo
from models.cards import Card, read_card
from models.files import sha256
from tests.zoo_child import CHILD, LIMIT, tiny
from xai import predictions, predictions_file, zoo_collect, zoo_place, zoo_run, zoo_state
from xai.cli import main
from xai.commands.zoo import Display, line
from xai.predictions import Predictions
from xai.zoo_plan import Job
from xai.zoo_state import (
    Progress,
    Settings,
    State,
    ZooError,
    curve,
    finished_card,
    is_locked,
    state,
    take_lock,
)

ROOT = Path(__file__).resolve().parent.parent
SLEEPER = (sys.executable, "-S", "-c", "import time; time.sleep(600)")


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a cache of its own for the small cue10; processes started from here use one thread."""
    folder = tmp_path_factory.mktemp("zoo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XAI_CACHE", str(folder / "cache"))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield folder


def wait_for(condition: Callable[[], Any], seconds: float = 120.0) -> None:
    until = time.time() + seconds
    while not condition():
        assert time.time() < until, "it did not happen in time"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def first_call(workplace: Path) -> tuple[dict[str, State], list[str], Settings, list[Job]]:
    """A plan with a bad job, a pupil before its teacher, and one whose teacher is not planned."""
    settings = Settings(workplace / "first", epochs=2, limit=LIMIT, parallel=2)
    pupil = dataclasses.replace(tiny(1), recipe="distillation", teacher=tiny(0).name)
    orphan = dataclasses.replace(tiny(2), recipe="distillation", teacher="nobody")
    jobs = [Job("resnet18", "mnist"), pupil, tiny(0), orphan]
    notes: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zoo_run, "CHILD", CHILD)
        states, number = zoo_run.run(jobs, settings, note=notes.append)
    assert number == 0
    return states, notes, settings, jobs


def test_one_bad_job_does_not_stop_the_others(first_call: tuple[Any, ...]) -> None:
    states, notes, settings, (bad, pupil, teacher, orphan) = first_call
    assert [states[job.name].kind for job in (bad, pupil, teacher, orphan)] == [
        "failed",
        "done",
        "done",
        "needs",
    ]
    failure = (settings.out / bad.name / "failed.txt").read_text()
    assert failure.startswith("there is no dataset 'mnist'; allowed are ")
    assert f"failed {bad.name}: {failure.strip()}" in notes
    assert states[orphan.name].detail == "nobody, which is not trained."
    assert notes.index(f"started {pupil.name}") > notes.index(
        f"done {teacher.name}: {states[teacher.name].detail}"
    )


def test_what_a_job_leaves_is_a_whole_result(first_call: tuple[Any, ...]) -> None:
    _states, _notes, settings, (_bad, pupil, teacher, _orphan) = first_call
    for job in (pupil, teacher):
        folder = settings.out / job.name
        card = finished_card(folder)
        assert (card.name, card.epochs, card.options) == (job.name, 2, {"width": 8})
        assert len(curve(folder)) == 2
        assert predictions_file.read(folder / "predictions.parquet").facts["sha256"] == card.sha256
    assert read_card(settings.out / pupil.name / f"{pupil.name}.json").recipe["teacher"] == teacher.name


def test_a_second_call_starts_nothing(
    first_call: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _states, _notes, settings, (bad, pupil, teacher, _orphan) = first_call
    monkeypatch.setattr(zoo_run.subprocess, "Popen", None)
    states, _number = zoo_run.run([pupil, teacher], settings)
    assert {found.kind for found in states.values()} == {"done"}
    assert capsys.readouterr().out == ""
    assert state(bad, settings).kind == "failed"


def test_another_recipe_or_the_whole_dataset_is_not_done(first_call: tuple[Any, ...]) -> None:
    _states, _notes, settings, (_bad, _pupil, teacher, _orphan) = first_call
    assert state(teacher, settings).kind == "done"
    assert state(teacher, dataclasses.replace(settings, epochs=3)) == State("partial", "epoch 2 of 3")
    for limit in (None, LIMIT + 1):
        assert state(teacher, dataclasses.replace(settings, limit=limit)).kind == "partial"


def test_trials_are_not_collected(first_call: tuple[Any, ...], tmp_path: Path) -> None:
    _states, _notes, settings, (bad, _pupil, teacher, _orphan) = first_call
    written, refused = zoo_collect.collect(settings.out, tmp_path / "shipped")
    assert written == []
    assert "is a trial" in refused[teacher.name]
    assert "no readable card" in refused[bad.name]
    with pytest.raises(ZooError, match="is a trial"):
        zoo_collect.collect(settings.out, tmp_path / "shipped", [teacher.name])


def start_runner(out: Path, epochs: int, **environment: str) -> subprocess.Popen[str]:
    command = [*CHILD, "runner", str(out), str(epochs)]
    given = {**os.environ, **environment}
    return subprocess.Popen(command, cwd=ROOT, env=given, stdout=subprocess.PIPE, text=True)


def test_a_killed_runner_takes_its_trainings_along_and_two_go_on(workplace: Path) -> None:
    """SIGKILL in mid-training; then two processes as torchrun starts them share what is left."""
    out, epochs = workplace / "killed", 12
    folder = out / tiny(0).name
    runner = start_runner(out, epochs)
    wait_for(lambda: len(zoo_state.curve(folder)) >= 2)
    runner.kill()
    runner.communicate()
    wait_for(lambda: not is_locked(folder), 20)  # the training holds the lock as long as it lives
    before = curve(folder)
    assert 2 <= len(before) <= epochs
    ranks = [
        start_runner(out, epochs, RANK=rank, WORLD_SIZE="2", LOCAL_RANK=rank, LOCAL_WORLD_SIZE="2")
        for rank in "01"
    ]
    printed = [runner.communicate(timeout=240)[0] for runner in ranks]
    assert [runner.returncode for runner in ranks] == [0, 0]
    started = [text.splitlines()[0] for text in printed]
    assert started == [f"started {tiny(0).name}", f"started {tiny(1).name}"]
    assert "".join(printed).count("started") == 2
    assert curve(folder)[: len(before)] == before
    for seed in (0, 1):
        assert finished_card(out / tiny(seed).name).epochs == epochs
        assert len(curve(out / tiny(seed).name)) == epochs


def end_this(_rows: object) -> None:
    """Send this process what `kill` sends; the runner that calls it has its handlers in place."""
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_signal_ends_the_trainings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo_run, "CHILD", SLEEPER)
    before, folder = signal.getsignal(signal.SIGTERM), tmp_path / tiny(0).name
    states, number = zoo_run.run([tiny(0), tiny(1)], Settings(tmp_path), show=end_this)
    assert number == signal.SIGTERM
    assert [found.kind for found in states.values()] == ["waiting", "waiting"]
    assert not is_locked(folder)
    assert not (folder / "failed.txt").exists()
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_time_that_was_given_ends_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo_run, "CHILD", SLEEPER)
    seen: list[list[Progress]] = []
    states, number = zoo_run.run([tiny(0), tiny(1)], Settings(tmp_path, seconds=0.7), show=seen.append)
    assert number == 0
    assert {found.kind for found in states.values()} == {"waiting"}
    assert [row.name for row in seen[0]] == [tiny(0).name]
    assert not is_locked(tmp_path / tiny(0).name)


def test_a_killed_training_is_a_failure_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = "import os, signal; print('epoch 1', flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    monkeypatch.setattr(zoo_run, "CHILD", (sys.executable, "-S", "-c", killed))
    folder = tmp_path / tiny(0).name
    folder.mkdir()
    (folder / ".state.pt.abc").write_text("half a file of an earlier training that was killed")
    states, _number = zoo_run.run([tiny(0)], Settings(tmp_path))
    assert states[tiny(0).name] == State("failed", "it was ended by SIGKILL.")
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "failed.txt", "log.txt"]
    monkeypatch.setattr(zoo_run, "CHILD", (sys.executable, "-S", "-c", "pass"))
    states, _number = zoo_run.run([tiny(0)], Settings(tmp_path))
    assert states[tiny(0).name] == State("failed", "it ended with status 0 and left no finished card.")


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        ("training: 10%|#\rtraining: 20%|##\npython -m xai: limit is 0.\n", "limit is 0."),
        (
            "Traceback (most recent call last):\n  File x\ntorch.OutOfMemoryError: CUDA out of memory.\nbye\n",
            "torch.OutOfMemoryError: CUDA out of memory.",
        ),
        ("Killed by something\n", "Killed by something"),
        ("", "it ended with status 1 and left no finished card."),
    ],
)
def test_the_reason_is_the_last_error_line(log: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text(log)
    assert zoo_run._reason(tmp_path, 1) == reason


def test_missing_initial_weights_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise zoo_run.CheckpointError(f"the ImageNet weights of {name} could not be downloaded.")

    monkeypatch.setattr(zoo_run.zoo, "load", refuse)
    monkeypatch.setattr(zoo_run.subprocess, "Popen", None)
    job = Job("resnet50", "cifar10-jpeg", recipe="transfer", initial="resnet50-imagenet")
    states, _number = zoo_run.run([job], Settings(tmp_path))
    reason = "resnet50-imagenet: the ImageNet weights of resnet50-imagenet could not be downloaded."
    assert states[job.name] == State("needs", reason)
    assert not is_locked(tmp_path / job.name)


def test_a_lock_lasts_until_its_last_holder_ends(tmp_path: Path) -> None:
    lock = take_lock(tmp_path / "job")
    assert lock
    with subprocess.Popen(SLEEPER, pass_fds=(lock.fileno(),)) as holder:
        lock.close()
        assert is_locked(tmp_path / "job")
        assert take_lock(tmp_path / "job") is None
        holder.kill()
    assert not is_locked(tmp_path / "job")
    assert not is_locked(tmp_path / "nothing")


def test_commands_say_all_that_a_job_is(tmp_path: Path) -> None:
    job = Job("resnet18", "cue10", 3, "distillation", {"width": 8}, teacher="big", initial="old")
    words = zoo_place.command(job, Settings(tmp_path, "cuda", epochs=2, limit=64))
    expected = "train --architecture resnet18 --dataset cue10 --seed 3 --recipe distillation --device cuda"
    rest = ["--option", "width=8", "--teacher", "big", "--initial", "old", "--epochs", "2", "--limit", "64"]
    assert words == [*expected.split(), "--out", str(tmp_path), *rest]
    assert "--teacher" not in zoo_place.command(tiny(0), Settings(tmp_path))


@pytest.fixture
def four_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with four GPUs of 100 GB and 32 cores."""
    monkeypatch.setattr(zoo_place, "find_device", torch.device)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (100e9, 100e9))
    monkeypatch.setattr(zoo_place, "_cores", lambda: 32)
    for name in ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("four_gpus")
def test_one_runner_fills_one_gpu(tmp_path: Path) -> None:
    room = zoo_place.place(Settings(tmp_path, "cuda"))
    assert (room.slots, room.gigabytes, room.environment["OMP_NUM_THREADS"]) == (8, 95.0, "4")
    assert "CUDA_VISIBLE_DEVICES" not in room.environment
    assert room.environment["XAI_MODELS"] == str(tmp_path)
    room = zoo_place.place(Settings(tmp_path, "cuda", parallel=3))
    assert (room.slots, room.gigabytes) == (3, float("inf"))
    room = zoo_place.place(Settings(tmp_path))
    assert (room.slots, room.environment["OMP_NUM_THREADS"]) == (1, "32")


@pytest.mark.usefixtures("four_gpus")
@pytest.mark.parametrize(("visible", "shown"), [(None, "2"), ("7,6,5,4", "5")])
def test_a_process_of_torchrun_takes_the_gpu_of_its_local_rank(
    visible: str | None, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torchrun = {"RANK": "2", "LOCAL_RANK": "2", "LOCAL_WORLD_SIZE": "4", "OMP_NUM_THREADS": "1"}
    for name, value in {**torchrun, **({"CUDA_VISIBLE_DEVICES": visible} if visible else {})}.items():
        monkeypatch.setenv(name, value)
    room = zoo_place.place(Settings(tmp_path, "cuda"))
    assert room.environment["CUDA_VISIBLE_DEVICES"] == shown
    assert (room.slots, room.environment["OMP_NUM_THREADS"]) == (8, "1")
    assert not {"RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE"} & room.environment.keys()


def test_jobs_start_side_by_side_only_as_far_as_they_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2.0 GB and a little each: two fit into 5 GB, and one runs even where none fits."""
    monkeypatch.setattr(zoo_run, "CHILD", SLEEPER)
    for gigabytes, expected in ((5.0, 2), (1.0, 1)):
        room = zoo_place.Place(8, gigabytes, dict(os.environ))
        monkeypatch.setattr(zoo_run, "place", lambda _settings, room=room: room)
        seen: list[list[Progress]] = []
        jobs = [tiny(seed) for seed in range(4)]
        assert 2.0 < jobs[0].gigabytes < 2.5

        def note_and_end(rows: list[Progress], seen: list[list[Progress]] = seen) -> None:
            seen.append(rows)
            end_this(rows)

        zoo_run.run(jobs, Settings(tmp_path), show=note_and_end)
        assert len(seen[0]) == expected


OUT_OF_MEMORY = """
import pathlib, sys, time
folder = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
with (folder / "times.txt").open("a") as times:
    times.write(f"start {sys.argv[sys.argv.index('--seed') + 1]}\\n")
time.sleep(0.3)
with (folder / "times.txt").open("a") as times:
    times.write("end\\n")
sys.exit("torch.OutOfMemoryError: CUDA out of memory.")
"""


def test_a_training_without_enough_memory_is_tried_once_more_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zoo_run, "CHILD", (sys.executable, "-S", "-c", OUT_OF_MEMORY))
    monkeypatch.setattr(zoo_run, "POLL_SECONDS", 0.05)
    jobs, notes = [tiny(0), tiny(1)], list[str]()
    states, _number = zoo_run.run(jobs, Settings(tmp_path, parallel=2), note=notes.append)
    assert {found.kind for found in states.values()} == {"failed"}
    assert "CUDA out of memory" in states[jobs[0].name].detail
    assert sum(note.startswith("once more, alone ") for note in notes) == 2
    told = (tmp_path / "times.txt").read_text().split("\n")[:-1]
    assert sorted(line for line in told if line != "end") == ["start 0"] * 2 + ["start 1"] * 2
    assert [line.split()[0] for line in told[-4:]] == ["start", "end"] * 2


def fake_result(folder: Path, name: str, seed: int) -> Card:
    """A result as a finished training leaves it; the weights are random."""
    torch.manual_seed(seed)
    classes = tuple("abc")
    recipe = {"name": "standard", "epochs": 1}
    accuracy = {"test": 0.5, "validation": 0.5, "validation_lossless": None}
    card = Card(name, "alexnet", "cue10", classes, 64, 0, "cpu", recipe, {"hidden": 8}, 1, accuracy=accuracy)
    card = zoo.save(registry.build("alexnet", 3, hidden=8), card, folder / name)
    (folder / name / "curve.json").write_text("[]")
    rows = torch.tensor([0, 1])
    answers = Predictions(("a", "b"), rows.numpy(), rows.numpy(), torch.eye(3)[:2].half().numpy())
    predictions_file.write(folder / name / "predictions.parquet", answers, predictions.facts_of(card, "test"))
    return card


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for seed, name in enumerate(("one", "two")):
        fake_result(tmp_path / "runs", name, seed)
    return tmp_path / "runs"


def test_results_are_collected_into_the_shipped_layout(results: Path, tmp_path: Path) -> None:
    into = tmp_path / "shipped"
    written, refused = zoo_collect.collect(results, into, ["one"])
    assert refused == {}
    expected = {"one.json", "one.safetensors", "records/two.json"}
    expected |= {f"curves/{name}.json" for name in ("one", "two")}
    expected |= {f"predictions/{name}.parquet" for name in ("one", "two")}
    assert {str(path.relative_to(into)) for path in into.rglob("*") if path.is_file()} == expected
    assert {str(path.relative_to(into)) for path in written} == expected
    assert sha256(into / "one.safetensors") == read_card(into / "one.json").sha256
    zoo_collect.collect(results, into, ["two"])
    assert not (into / "records" / "two.json").exists()
    assert (into / "one.safetensors").is_file()


def test_a_record_does_not_stand_beside_other_shipped_weights(results: Path, tmp_path: Path) -> None:
    zoo_collect.collect(results, tmp_path / "shipped", ["one"])
    fake_result(results, "one", 7)
    with pytest.raises(ZooError, match="ships other weights of one; name it in --weights"):
        zoo_collect.collect(results, tmp_path / "shipped")


def test_unfinished_and_changed_results_are_left_out(results: Path, tmp_path: Path) -> None:
    weights = results / "one" / "one.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    card = json.loads((results / "two" / "two.json").read_text())
    (results / "two" / "two.json").write_text(json.dumps({**card, "epochs": 0}))
    fake_result(results, "three", 3)
    fake_result(results, "four", 4)
    (results / "four" / "predictions.parquet").write_bytes(
        (results / "three" / "predictions.parquet").read_bytes()
    )
    written, refused = zoo_collect.collect(results, tmp_path / "shipped")
    assert {path.stem for path in written} == {"three"}
    assert refused == {
        "one": "the weights of one are missing or differ from its card.",
        "two": "two is not finished: epoch 0 of 1.",
        "four": "the predictions of four were made with other weights.",
    }
    with pytest.raises(ZooError, match="of five can't be shipped: there is no training 'five'"):
        zoo_collect.collect(results, tmp_path / "shipped", ["five"])


def test_weights_have_a_limit_together(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = (results / "one" / "one.safetensors").stat().st_size
    monkeypatch.setattr(zoo_collect, "LARGEST_TOTAL", round(1.5 * size))
    zoo_collect.collect(results, tmp_path / "shipped", ["one"])
    with pytest.raises(ZooError, match="MB together; allowed are"):
        zoo_collect.collect(results, tmp_path / "shipped", ["two"])
    assert not (tmp_path / "shipped" / "two.safetensors").exists()


def test_the_command_collects(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (results / "three").mkdir()
    arguments = ["zoo", "--collect", str(results), "--into", str(tmp_path / "shipped"), "--weights", "two"]
    assert main(arguments) == 1
    printed = capsys.readouterr()
    assert f"wrote {tmp_path / 'shipped' / 'two.safetensors'}" in printed.out
    assert printed.err == "left out: three has no readable card yet.\n"


def test_the_list_shows_where_every_job_stands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--list", "--out", str(tmp_path)]
    assert main(["zoo", *out, "--only", "alexnet-cue10-*", "resnet18_cifar-dist*"]) == 0
    lines = [text.split() for text in capsys.readouterr().out.splitlines()]
    assert [words[0] for words in lines[1:5]] == [
        "alexnet-cue10-s0",
        "alexnet-cue10-s1",
        "alexnet-cue10-s2",
        "resnet18_cifar-distillation-cifar10-jpeg-s0",
    ]
    assert lines[1][1] == "222.5"
    assert lines[1][4:] == ["waiting"]
    assert lines[4][4:] == ["needs", "resnet50_cifar-cifar10-jpeg-s0"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--out {out} --only nothing*", "nothing*"),
        ("--out {out} --dataset mnist", "mnist"),
        ("--out {out} --device tpu", "'tpu'"),
        ("--out {out} --parallel 0", "'0'"),
        ("--out {out} --epochs 0", "epochs is 0"),
        ("--out {out} --limit 0", "--limit is 0"),
        ("--out {out} --minutes -1", "--minutes is -1; allowed are numbers above 0."),
        ("--out {out} --minutes nan", "--minutes is nan; allowed are numbers above 0."),
        ("--collect {out}", "--into is missing"),
        ("--collect {out} --into {out}", "holds no folders"),
    ],
)
def test_bad_input_exits_2_with_one_line(
    arguments: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status: object
    try:
        status = main(["zoo", *arguments.format(out=tmp_path / "out").split()])
    except SystemExit as end:
        status = end.code
    printed = capsys.readouterr().err.splitlines()
    assert (status, len(printed)) == (2, 1)
    assert words in printed[0]


def test_the_summary_and_the_status_say_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(zoo_run, "CHILD", (sys.executable, "-S", "-c", "raise ValueError('no')"))
    assert main(["zoo", "--out", str(tmp_path), "--only", "alexnet-cue10-s0"]) == 1
    printed = capsys.readouterr()
    assert printed.out.splitlines()[1].split() == ["alexnet-cue10-s0", "failed", "ValueError:", "no"]
    assert "failed alexnet-cue10-s0: ValueError: no" in printed.err.splitlines()


def test_progress_is_printed_once_for_each_epoch_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    display = Display(stream)
    rows = [Progress("a", epoch, 3, 0.5, 0.25, 90.0) for epoch in (0, 1, 1, 2)]
    for row in rows:
        display.show([row])
    printed = stream.getvalue().splitlines()
    assert printed == [line(rows[1]), line(rows[3])]
    words = "epoch  1 of 3  loss 0.500  validation accuracy 25.00 %  1.5 min left"
    assert printed[0].split(maxsplit=1) == ["a", words]


def test_a_terminal_shows_the_running_trainings_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True)
    display = Display(stream)
    nan = float("nan")
    display.show([Progress("a", 0, 3, nan, nan, nan), Progress("b", 0, 3, nan, nan, nan)])
    display.note("done a")
    display.show([])
    assert stream.getvalue().splitlines()[2] == "\x1b[2A\x1b[Jdone a"


def test_time_left_is_that_of_the_last_epochs(tmp_path: Path) -> None:
    """Epochs of 9, 2, 3 and 4 seconds: four more of three each, less the two seconds already spent."""
    folder = tmp_path / tiny(0).name
    folder.mkdir()
    rows = [{"seconds": s, "train_loss": 1.0, "validation_accuracy": 0.5} for s in (9.0, 2.0, 3.0, 4.0)]
    (folder / "curve.json").write_text(json.dumps(rows))
    found = zoo_state.progress(tiny(0), Settings(tmp_path, epochs=8), 2.0)
    assert found == Progress(tiny(0).name, 4, 8, 1.0, 0.5, 10.0)
