"""Training: the schedule by hand, the augmentation against a reference, learning, and resuming after a kill."""

import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import files, registry, training, training_state
from models.augmentation import augment
from models.recipes import Recipe
from models.schedules import learning_rate
from models.training_state import LabelledImages, Run

CPU = torch.device("cpu")
SHORT = Recipe(epochs=3, batch_size=16, learning_rate=0.02, padding=2, average_epochs=0.5)

pytestmark = pytest.mark.usefixtures("one_thread")


def striped(count: int, seed: int) -> LabelledImages:
    """Noisy pictures of two classes: bright on the left, or bright at the top."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    images = torch.rand(count, 3, 16, 16, generator=generator) * 100
    images[labels == 0, :, :, :8] += 120
    images[labels == 1, :, :8, :] += 120
    return LabelledImages(images.to(torch.uint8), labels)


def fresh(kind: str = "tiny", width: int = 8) -> nn.Module:
    """A network with the same weights each time: a few layers of every kind that has a state, or AlexNet."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        if kind != "tiny":
            return registry.build(kind, 2, hidden=width)
        first = (nn.Conv2d(3, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.3))
        return nn.Sequential(*first, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * width, 2))


def run_training(folder: Path, network: nn.Module, recipe: Recipe = SHORT, **options: Any) -> Run:
    """Train on 48 pictures on the CPU."""
    data, validation = options.pop("data", striped(48, 0)), striped(20, 1)
    return training.train(
        network, data, validation, recipe, seed=options.pop("seed", 3), device=CPU, folder=folder, **options
    )


# Measuring


def test_answers_are_measured_in_full_precision() -> None:
    """PyTorch lets convolutions on a GPU round to TF32; where accuracy is measured they must not."""
    seen: list[bool] = []

    class Watching(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            seen.append(torch.backends.cudnn.allow_tf32)
            if len(seen) == 3:
                raise RuntimeError("stop")
            return images.mean(dim=(2, 3))

    before = torch.backends.cudnn.allow_tf32
    assert before, "the default, without which this test says nothing"
    assert training.logits(Watching(), striped(4, 0).images, CPU, batch_size=2).shape == (4, 3)
    with pytest.raises(RuntimeError, match="stop"):
        training.logits(Watching(), striped(4, 0).images, CPU)
    assert seen == [False] * 3
    assert torch.backends.cudnn.allow_tf32 == before


# Schedule


def test_one_cycle_by_hand() -> None:
    """A fifth of the run rises from 4 % to the peak; half-way down the cosine it is half the peak."""
    recipe = Recipe(learning_rate=0.5, warmup_share=0.2)
    expected = {0.0: 0.02, 0.1: 0.26, 0.2: 0.5, 0.6: 0.25, 1.0: 0.0}
    assert [learning_rate(recipe, at) for at in expected] == pytest.approx(list(expected.values()), abs=1e-12)


def test_cosine_by_hand() -> None:
    recipe = Recipe(optimizer="adamw", learning_rate=0.001, warmup_share=0.2)
    expected = {0.0: 0.001, 1 / 3: 0.00075, 0.5: 0.0005, 1.0: 0.0}
    assert [learning_rate(recipe, at) for at in expected] == pytest.approx(list(expected.values()), abs=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer": "lion"}, "optimizer is 'lion'; allowed are sgd, adamw, adam."),
        ({"epochs": 0}, r"epochs is 0; allowed are whole numbers from 1\."),
        ({"batch_size": 1}, r"batch_size is 1; allowed are whole numbers from 2\."),
        ({"padding": -1}, r"padding is -1; allowed are numbers from 0\."),
        ({"warmup_share": 1.0}, r"warmup_share is 1\.0; allowed are numbers in \[0, 1\)\."),
    ],
)
def test_impossible_recipes_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe(**change)


# Augmentation


def test_without_shift_and_flip_nothing_changes() -> None:
    images = torch.randint(
        0, 256, (4, 3, 7, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    result = augment(images, Recipe(padding=0, flip=False), torch.Generator().manual_seed(1))
    assert result.dtype is torch.float32
    assert torch.equal(result, images.float() / 255)


def crops(image: Tensor, padding: int) -> list[Tensor]:
    """All crops of the reflected image, then all their mirror images."""
    _, height, width = image.shape
    padded = F.pad(image[None].float() / 255, [padding] * 4, mode="reflect")[0]
    span = range(2 * padding + 1)
    plain = [padded[:, i : i + height, j : j + width] for i in span for j in span]
    return plain + [crop.flip(2) for crop in plain]


@pytest.mark.parametrize("flip", [False, True])
def test_every_result_is_a_reflected_crop_and_all_occur(flip: bool) -> None:
    generator = torch.Generator().manual_seed(2)
    image = torch.randint(0, 256, (3, 6, 8), dtype=torch.uint8, generator=generator)
    allowed = crops(image, padding=2)
    found = augment(
        image.expand(600, 3, 6, 8), Recipe(padding=2, flip=flip), torch.Generator().manual_seed(3)
    )
    used = {next(k for k, crop in enumerate(allowed) if torch.equal(crop, row)) for row in found}
    assert used == set(range(50 if flip else 25))


def test_mirrored_share_is_a_half() -> None:
    image = torch.arange(8, dtype=torch.uint8).expand(4000, 3, 4, 8)
    found = augment(image, Recipe(padding=0), torch.Generator().manual_seed(4))
    share = float((found[:, 0, 0, 0] > 0).float().mean())
    assert abs(share - 0.5) < 4 * 0.5 / math.sqrt(4000)


def test_augmentation_follows_its_generator_alone() -> None:
    images = torch.randint(0, 256, (8, 3, 8, 8), dtype=torch.uint8)
    first = augment(images, Recipe(), torch.Generator().manual_seed(9))
    torch.rand(5)
    assert torch.equal(augment(images, Recipe(), torch.Generator().manual_seed(9)), first)
    assert not torch.equal(augment(images, Recipe(), torch.Generator().manual_seed(10)), first)


# Learning


def test_a_small_network_learns(tmp_path: Path) -> None:
    recipe = replace(SHORT, epochs=8, flip=False)
    run = run_training(tmp_path, fresh(), recipe)
    assert run.curve[-1].train_loss < 0.7 * run.curve[0].train_loss
    assert run.curve[-1].validation_accuracy >= 0.9
    assert [row.epoch for row in run.curve] == list(range(8))
    stored = json.loads((tmp_path / training_state.CURVE_FILE).read_text())
    assert [row["train_loss"] for row in stored] == [row.train_loss for row in run.curve]


def test_evaluation_by_hand() -> None:
    """Logits are the red mean and the green mean: one of three pictures is mistaken."""

    class Means(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.mean((2, 3))[:, :2]

    images = torch.zeros(3, 3, 2, 2, dtype=torch.uint8)
    images[0, 0], images[1, 1], images[2, 1] = 255, 255, 255
    loss, accuracy = training.evaluate(Means(), LabelledImages(images, torch.tensor([0, 1, 0])), CPU)
    assert accuracy == pytest.approx(2 / 3)
    right, wrong = math.log(1 + math.exp(-1)), math.log(1 + math.exp(1))
    assert loss == pytest.approx((2 * right + wrong) / 3, abs=1e-6)


def test_evaluation_leaves_the_mode_as_it_was() -> None:
    network = fresh().train()
    training.evaluate(network, striped(4, 0), CPU)
    assert network.training


def test_average_starts_as_a_copy_and_follows_the_formula() -> None:
    """After the first copy each step moves the average by (1 - decay) towards the weights; here decay = 0.75."""
    linear, norm = nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1)
    network = nn.Sequential(linear, norm)
    run = training.start(network, Recipe(batch_size=8, average_epochs=1), samples=32, device=CPU)
    seen = []
    for value in (1.0, 2.0, 4.0):
        nn.init.constant_(linear.weight, value)
        run.average.update_parameters(network)
        seen.append(run.average.module.state_dict()["0.weight"].item())
    assert seen == pytest.approx([1.0, 1.25, 1.9375])
    assert run.average.module.state_dict()["1.num_batches_tracked"].dtype is torch.int64


def test_only_matrices_and_filters_decay() -> None:
    network = fresh()
    run = training.start(network, SHORT, samples=48, device=CPU)
    decayed, free = run.optimizer.param_groups
    assert {p.ndim for p in free["params"]} == {1}
    assert {p.ndim for p in decayed["params"]} == {2, 4}
    assert (decayed["weight_decay"], free["weight_decay"]) == (SHORT.weight_decay, 0.0)
    assert len(decayed["params"]) + len(free["params"]) == len(list(network.parameters()))


def test_training_leaves_the_global_generator_alone(tmp_path: Path) -> None:
    network = fresh()
    state = torch.get_rng_state()
    run_training(tmp_path, network, replace(SHORT, epochs=1))
    assert torch.equal(torch.get_rng_state(), state)


def test_fewer_images_than_a_batch_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError) as caught:
        run_training(tmp_path, fresh(), replace(SHORT, batch_size=64))
    assert str(caught.value) == (
        "there are 48 images to train on, fewer than one batch of 64; allowed are batches of up to 48."
    )


def test_a_training_that_diverges_ends_at_once_and_stores_nothing(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"^the training diverged in epoch 1; a lower learning rate may help\.$"
    ):
        run_training(tmp_path, fresh(), replace(SHORT, learning_rate=1e30))
    assert list(tmp_path.iterdir()) == []


# Resuming


class _Killed(Exception):
    """Stands for whatever ends a process."""


def assert_same_weights(first: Run, second: Run) -> None:
    """Network, average and their buffers are equal to the bit."""
    for ours, theirs in ((first.network, second.network), (first.average, second.average)):
        expected, found = ours.state_dict(), theirs.state_dict()
        assert [name for name, tensor in expected.items() if not torch.equal(found[name], tensor)] == []


@pytest.mark.parametrize(("kind", "optimizer"), [("tiny", "sgd"), ("tiny", "adamw"), ("alexnet", "sgd")])
def test_interrupted_training_ends_with_the_same_weights(kind: str, optimizer: str, tmp_path: Path) -> None:
    recipe = replace(SHORT, optimizer=optimizer, learning_rate=0.02 if optimizer == "sgd" else 0.002)

    def stop(run: Run) -> None:
        if run.epoch == 1:
            raise _Killed

    straight = run_training(tmp_path / "straight", fresh(kind), recipe)
    with pytest.raises(_Killed):
        run_training(tmp_path / "cut", fresh(kind), recipe, on_epoch=stop)
    torch.manual_seed(99)  # what the process drew in between must not matter
    resumed = run_training(tmp_path / "cut", fresh(kind), recipe)
    assert_same_weights(straight, resumed)
    assert [replace(row, seconds=0) for row in resumed.curve] == [
        replace(r, seconds=0) for r in straight.curve
    ]


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from tests.test_training import SMALL_BATCHES, fresh, run_training

def kill(epoch, step, steps, loss, accuracy):
    if epoch == 1:
        os.kill(os.getpid(), signal.SIGKILL)

torch.set_num_threads(1)
run_training(Path(sys.argv[1]), fresh(), SMALL_BATCHES, report=kill)
"""
SMALL_BATCHES = replace(SHORT, batch_size=4)
"""Twelve batches per epoch; progress is reported after the tenth."""


def test_a_process_killed_in_the_middle_of_an_epoch_goes_on(tmp_path: Path) -> None:
    root = Path(__file__).parent.parent
    command = [sys.executable, "-c", KILLED, str(tmp_path / "cut")]
    done = subprocess.run(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert len(json.loads((tmp_path / "cut" / training_state.CURVE_FILE).read_text())) == 1
    resumed = run_training(tmp_path / "cut", fresh(), SMALL_BATCHES)
    assert_same_weights(run_training(tmp_path / "straight", fresh(), SMALL_BATCHES), resumed)


def test_finished_training_is_not_repeated(tmp_path: Path) -> None:
    first = run_training(tmp_path, fresh(), replace(SHORT, epochs=1))
    steps: list[int] = []
    again = run_training(
        tmp_path, fresh(), replace(SHORT, epochs=1), report=lambda *numbers: steps.append(numbers[1])
    )
    assert steps == []
    assert again.curve == first.curve


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": replace(SHORT, epochs=1, learning_rate=0.01)},
        {"recipe": replace(SHORT, epochs=2)},
        {"seed": 4},
        {"data": striped(64, 0)},
        {"network": {"kind": "alexnet"}},
        {"network": {"width": 16}},
    ],
)
def test_another_training_in_the_folder_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    """A short trial, say, must not be taken for the whole training."""
    recipe = replace(SHORT, epochs=1)
    run_training(tmp_path, fresh(), recipe)
    before = files.sha256(tmp_path / training_state.STATE_FILE)
    network = fresh(**change.get("network", {}))
    change = {key: value for key, value in change.items() if key != "network"}
    with pytest.raises(ValueError, match=r"holds a training .*; choose another folder\.$"):
        run_training(tmp_path, network, **{"recipe": recipe, **change})
    assert files.sha256(tmp_path / training_state.STATE_FILE) == before


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_damaged_state_is_refused(share: float, tmp_path: Path) -> None:
    run_training(tmp_path, fresh(), replace(SHORT, epochs=1))
    path = tmp_path / training_state.STATE_FILE
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match=r"is damaged; delete it to start again\.$"):
        run_training(tmp_path, fresh(), replace(SHORT, epochs=1))


@pytest.mark.parametrize("content", [torch.zeros(3), {"recipe": {}}, {"seed": 3, "network": {}}])
def test_anything_else_is_not_taken_for_a_state(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / training_state.STATE_FILE)
    with pytest.raises(ValueError, match=r"is not the state of a training; delete it to start again\.$"):
        run_training(tmp_path, fresh(), replace(SHORT, epochs=1))


def test_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    def half(path: Path) -> None:
        path.write_bytes(b"half")
        assert (tmp_path / "state.pt").read_bytes() == b"whole"
        raise _Killed

    files.write_text(tmp_path / "state.pt", "whole")
    with pytest.raises(_Killed):
        files.write_by_rename(tmp_path / "state.pt", half)
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("state.pt", b"whole")]


def test_a_failed_write_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "folder", tmp_path / "folder" / ("x" * 300)):
        with pytest.raises(OSError) as caught:
            files.write_text(path, "text")
        assert caught.value.filename == str(path), "and not a temporary one"


@pytest.mark.parametrize("file", [training_state.STATE_FILE, training_state.CURVE_FILE])
def test_state_and_curve_are_replaced_whole(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every name that appears in the folder is final: it got there by a rename."""
    renamed: list[str] = []
    replace_file = os.replace

    def note(source: str, target: Path) -> None:
        renamed.append(Path(target).name)
        assert Path(source).parent == tmp_path
        replace_file(source, target)

    monkeypatch.setattr(os, "replace", note)
    run_training(tmp_path, fresh(), replace(SHORT, epochs=2))
    assert renamed.count(file) == 2
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [
        training_state.CURVE_FILE,
        training_state.STATE_FILE,
    ]


def test_a_processor_that_refuses_bfloat16_trains_in_full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    for has in (True, False):
        monkeypatch.setattr(training, "cpu_has_bf16", lambda has=has: has)
        with training._autocast(torch.device("cpu")):
            seen.append(torch.is_autocast_enabled("cpu"))
    assert seen == [True, False]
