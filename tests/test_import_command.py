"""`python -m xai import`: what it prints, keeps and refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from models import builders, nearest, zoo
from tests import import_helpers as helpers
from xai.cli import main


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAI_MODELS", str(tmp_path / "networks"))
    monkeypatch.setenv(builders.ALLOWED, "0")  # so that it is put back after a command that sets it
    monkeypatch.setattr(nearest, "nearest", lambda *_given, **_options: [])


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A shipped network's weights as somebody else would have them."""
    network = zoo.load("resnet18_cifar-w16-cue10-s0").network
    state = {key: value for key, value in network.state_dict().items() if not key.startswith("normalize.")}
    torch.save({"epoch": 3, "state_dict": helpers.prefixed(state, "module.")}, tmp_path / "a.pth")
    return tmp_path / "a.pth"


def command(weights: Path, *words: Any, size: int = 64, name: str = "mine") -> list[str]:
    start = [
        "import",
        str(weights),
        "--architecture",
        "resnet18_cifar",
        "--name",
        name,
        "--input-size",
        str(size),
    ]
    return [*start, *map(str, words)]


def test_a_network_is_brought_checked_and_listed(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (
        "--classes-from",
        "cue10",
        "--normalization",
        "none",
        "--check",
        "cue10:validation",
        "--check-images",
        40,
    )
    assert main(command(weights, *words)) == 0
    printed = capsys.readouterr().out
    for expected in (
        "Taken: its entry 'state_dict', 122 tensors (float32 (102), int64 (20)).",
        "resnet18_cifar (width 16) fits: all 102 weights agree, with a head of 10 classes.",
        "The prefix 'module.' was taken off the names.",
        "Layers proposed for heatmaps at 64 px:",
        "normalisation imagenet fits best",
        "mine is listed with the others now",
    ):
        assert expected in printed
    assert printed.splitlines()[-1] == f"wrote {zoo.local_folder() / 'mine' / 'mine.safetensors'}"
    assert zoo.cards()["mine"].dataset == "cue10"
    assert main(["models"]) == 0
    assert "imported" in next(
        line for line in capsys.readouterr().out.splitlines() if line.startswith("mine ")
    )


def test_inspecting_keeps_nothing(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "--inspect", str(weights), "--architecture", "resnet18"]) == 0
    printed = capsys.readouterr().out
    assert (
        "resnet18 (width 16) does not fit: 0 weights are missing, 0 unexpected, 1 of another shape" in printed
    )
    assert "conv1.weight: 16x3x3x3 in the file, 16x3x7x7 needed" in printed
    assert not zoo.local_folder().exists()


def test_sample_pictures_need_no_classes(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(weights, "--check", "samples", "--normalization", ".5,.5,.5", ".25,.25,.25")) == 0
    printed = capsys.readouterr().out
    assert "No class names were given: the 10 classes are numbered." in printed
    assert "without the right classes that is a hint and no proof" in printed
    assert zoo.cards()["mine"].recipe["std"] == "0.25 0.25 0.25"


def test_a_builder_is_used_and_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(helpers.seeded(helpers.small).state_dict(), tmp_path / "b.pth")
    builder = "tests.import_helpers:small"
    words = ["import", str(tmp_path / "b.pth"), "--builder", builder, "--name", "built", "--input-size", "32"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "Called several times (tap a later call as NAME#2): model.1 (ReLU, 2 calls)." in printed
    assert f"it loads where XAI_ALLOW_BUILDERS=1 is set and {builder} can be imported." in printed
    assert zoo.load("built").card.architecture == f"builder:{builder}"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--classes", "a", "b"], "the head tells 10 classes apart, but 2 class names were given."),
        (["--classes", "a", "--classes-from", "cue10"], "--classes and --classes-from were both given"),
        (["--classes-from", "cue11"], "there is no dataset 'cue11'"),
        (["--normalization", "1", "2"], "the normalisation is '1 2'; allowed are a name, or a mean and a std"),
        (["--normalization", "imgnet"], "the normalisation is 'imgnet'; allowed are imagenet"),
        (["--check", "cue11"], "there is no dataset 'cue11'"),
        (["--check", "cue10:night"], "there is no dataset 'cue10:night'"),
        (["--builder", "a:b"], "--architecture and --builder were both given"),
        (["--option", "width"], "option is 'width'; allowed is KEY=VALUE"),
        (["--key", "ema"], "a.pth has no weights under 'ema'; allowed are 'state_dict'."),
        (["--name", "a/b"], "the name is 'a/b'"),
        (["--option", "width=8"], "resnet18_cifar (width 8) does not fit"),
    ],
)  # fmt: skip
def test_bad_input_ends_with_one_sentence(
    words: list[str], message: str, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(weights, *words)) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("python -m xai: ")
    assert message in error
    assert not zoo.local_folder().exists()


def test_name_and_size_are_needed(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(weights)]) == 2
    assert "--name and --input-size are needed" in capsys.readouterr().err


def test_harmful_files_are_refused_and_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"a": torch.zeros(2, 2), "b": helpers.Harm(tmp_path / "harm")}, tmp_path / "bad.pth")
    assert main(["import", "--inspect", str(tmp_path / "bad.pth")]) == 2
    assert "holds Python objects besides weights" in capsys.readouterr().err
    assert not (tmp_path / "harm").exists()


def test_class_names_are_read_from_a_file(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"thing {number}" for number in range(10)]
    (tmp_path / "names.txt").write_text("\ufeff" + "\r\n".join(names) + "\r\n\r\n", encoding="utf-8")
    assert main(command(weights, "--classes-from", tmp_path / "names.txt")) == 0
    assert zoo.cards()["mine"].classes == tuple(names)
    (tmp_path / "names.txt").write_bytes(b"\xff\xfe\x00")
    assert main(command(weights, "--classes-from", tmp_path / "names.txt", "--replace")) == 2
    assert "is no UTF-8 text" in capsys.readouterr().err
