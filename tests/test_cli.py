"""The command line, run as a user runs it."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from xai.cli import main

ROOT = Path(__file__).resolve().parent.parent
PAIR = ("alexnet-cue10-s0", "resnet18-cue10-s0")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "xai", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def written(done: subprocess.CompletedProcess[str]) -> list[Path]:
    return [
        ROOT / line.removeprefix("wrote ") for line in done.stdout.splitlines() if line.startswith("wrote ")
    ]


def test_models_as_json_has_the_documented_fields() -> None:
    rows = json.loads(run("models", "--json").stdout)
    assert {row["name"] for row in rows} >= set(PAIR)
    fields = {"name", "architecture", "dataset", "seed", "device", "parameters", "macs"}
    fields |= {"accuracy", "sha256", "megabytes", "shipped", "title", "family", "recipe", "options", "epochs"}
    fields |= {"images", "interval", "seconds", "weights"}
    for row in rows:
        assert set(row) == fields
        assert set(row["accuracy"]) == {"test", "validation", "validation_lossless"}


def test_explain_then_reproduce(tmp_path: Path) -> None:
    degraded = ("--degradation", "jpeg", "--severity", "5", "--scale", "cifar-c")
    done = run(
        "explain",
        "cue10:test/4",
        "--models",
        *PAIR,
        "--methods",
        "gradcam",
        *degraded,
        "--out",
        str(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    assert all(path.is_file() for path in written(done))
    folder = tmp_path / "cue10-test-4"
    with np.load(folder / "heatmaps.npz", allow_pickle=False) as arrays:
        assert set(arrays) == {f"{name}/gradcam/{c}" for name in PAIR for c in ("clean", "degraded")}
    again = run("reproduce", str(folder / "manifest.json"), "--out", str(tmp_path / "again"))
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "again" / "figure.png").read_bytes() == (folder / "figure.png").read_bytes()


def test_a_bad_file_does_not_stop_the_others(tmp_path: Path) -> None:
    bad = tmp_path / "text.png"
    bad.write_text("not a picture")
    done = run("explain", str(bad), "sample:chelsea", "--models", PAIR[1], "--out", str(tmp_path / "out"))
    assert done.returncode == 1
    assert "text.png" in done.stderr
    assert len(written(done)) == 6


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("explain nowhere.png --models resnet18-cue10-s0 --out {out}", "nowhere.png"),
        ("explain sample:unicorn --models resnet18-cue10-s0 --out {out}", "sample:unicorn"),
        ("explain sample:chelsea --models resnet19 --out {out}", "resnet19"),
        ("explain sample:chelsea --models a b c --out {out}", "3 were given"),
        ("explain sample:chelsea --models resnet18-cue10-s0 --methods magic --out {out}", "magic"),
        (
            "explain sample:chelsea --models resnet18-cue10-s0 --degradation rain --severity 1 --out {out}",
            "rain",
        ),
        ("explain sample:chelsea --models resnet18-cue10-s0 --layer x=y --out {out}", "'x'"),
        ("explain sample:chelsea --models resnet18-cue10-s0 --layer layer9 --out {out}", "layer9"),
        ("explain sample:chelsea --models resnet18-cue10-s0 --target zebra --out {out}", "zebra"),
        ("explain sample:chelsea --models resnet18-cue10-s0 --device tpu --out {out}", "'tpu'"),
        ("explain sample:chelsea --models resnet18-cue10-s0 --severity 3 --out {out}", "--severity 3"),
        (
            "explain sample:chelsea --models resnet18-cue10-s0 --degradation fog --out {out}",
            "--degradation fog",
        ),
        ("explain sample:chelsea --models resnet18-cue10-s0 --seed -1 --out {out}", "-1"),
        ("features nowhere.png --model resnet18-cue10-s0 --out {out}", "nowhere.png"),
        ("features sample:chelsea --model a b c --out {out}", "3 were given"),
        ("features sample:chelsea --model resnet18-cue10-s0 --layer x=y --out {out}", "'x'"),
        ("features sample:chelsea --model resnet18-cue10-s0 --layer layer9 --out {out}", "layer1.0.conv1"),
        ("features sample:chelsea --model resnet18-cue10-s0 --order size --out {out}", "'size'"),
        ("features sample:chelsea --model resnet18-cue10-s0 --channels 0 --out {out}", "0 channels"),
        ("features sample:chelsea --model resnet18-cue10-s0 --drift --out {out}", "--drift"),
        ("reproduce nowhere.json --out {out}", "nowhere.json"),
        ("train --architecture vgg --dataset cue10 --out {out}", "vgg"),
        ("train --architecture resnet18 --dataset mnist --out {out}", "mnist"),
        ("train --architecture resnet18 --dataset cue10 --optimizer lion --out {out}", "lion"),
        ("train --architecture resnet18 --dataset cue10 --width 0 --out {out}", "width is 0"),
        ("zoo --only a\x1b[2J\u202eb --out {out}", "--only a[2Jb fits no job"),
        ("data fetch mnist", "mnist"),
        ("data unpack nowhere.tar", "nowhere.tar"),
        ("dance", "dance"),
    ],
)
def test_bad_input_exits_2_with_one_line(
    arguments: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status: object
    try:
        status = main(shlex.split(arguments.format(out=tmp_path / "out")))
    except SystemExit as end:  # argparse's own refusals
        status = end.code
    printed = capsys.readouterr().err.replace("\r", "\n").splitlines()
    lines = [line for line in printed if line.strip() and not re.search(r"\d+/\d+", line)]
    assert status == 2
    assert len(lines) == 1, lines
    assert words in lines[0]


def test_a_bad_command_is_refused_without_a_traceback() -> None:
    done = run("explain", "nowhere.png", "--models", PAIR[1], "--out", "nowhere")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "nowhere.png" in done.stderr


def test_a_small_training_writes_a_network_that_explain_takes(tmp_path: Path) -> None:
    options = "--architecture resnet18 --dataset cue10 --width 8 --limit 128 --epochs 1 --batch-size 32"
    done = run("train", *options.split(), "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    name = "resnet18-w8-cue10-s0"
    assert {path.name for path in written(done)} == {
        "curve.json",
        "state.pt",
        "predictions.parquet",
        f"{name}.json",
        f"{name}.safetensors",
    }
    out = ("--out", str(tmp_path / "out"))
    shown = run("explain", "cue10:test/1", "--models", name, *out, XAI_MODELS=str(tmp_path / name))
    assert shown.returncode == 0, shown.stderr


def _manual() -> str:
    """README and the pages of docs that it links to."""
    return "\n".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    )


def _readme_commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", _manual(), re.DOTALL)
    lines = dict.fromkeys(line for block in blocks for line in block.splitlines())
    return [line.removeprefix("python -m xai ") for line in lines if line.startswith("python -m xai ")]


def test_the_readme_names_every_command() -> None:
    assert {line.split()[0] for line in _readme_commands()} == {
        "models",
        "papers",
        "ablations",
        "compare",
        "docs",
        "embed",
        "explain",
        "features",
        "import",
        "visualize",
        "reproduce",
        "train",
        "svm",
        "crossvalidate",
        "zoo",
        "evaluate",
        "report",
        "data",
    }


def test_the_readme_shows_the_networks_as_the_command_prints_them(tmp_path: Path) -> None:
    printed = run("models", "--markdown", XAI_MODELS=str(tmp_path)).stdout.strip()
    assert len(printed.splitlines()) >= 4
    assert printed in (ROOT / "docs/networks.md").read_text(encoding="utf-8")


def test_the_readmes_commands_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All but the long ones, in order, writing into a folder of their own; in this process, to start it once."""
    monkeypatch.chdir(ROOT)
    for line in _readme_commands():
        if line.startswith(("train", "svm", "crossvalidate", "data unpack", "import")):
            continue
        written = ("exports", "again", "results", "report")
        command, *words = line.split()
        moved = [f"{tmp_path}/{word}" if word.split("/")[0] in written else word for word in words]
        code = main(
            [command, *(word.replace("folder:exports", f"folder:{tmp_path}/exports") for word in moved)]
        )
        assert code == 0, f"{line}\n{capsys.readouterr().err}"


def test_the_readmes_python_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", _manual(), re.DOTALL)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Tap(" in done.stdout
