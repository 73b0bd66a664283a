"""Inversions taken home: figure, arrays, manifest, the same pictures again, and the command."""

from __future__ import annotations

import io
import json
import math
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pypdf import PdfReader

from models import zoo
from models.registry import Model
from xai import inversion_export, reproduction
from xai.cli import main
from xai.comparison import Request, make_view, picture_from_scene
from xai.feature_visualization import Settings
from xai.inversion import INVERSION, invert
from xai.inversion_export import Inversions, bundle, make, raw_arrays
from xai.manifests import ManifestError

pytestmark = pytest.mark.usefixtures("one_thread")
NAME = "resnet18_cifar-w16-cue10-s0"
SETTINGS = type(INVERSION)(steps=3, transforms="none")
REQUEST = Request((NAME,), layers={NAME: ("conv1", "layer1")}, degradation="gaussian_blur", severity=2.0)


@pytest.fixture(scope="module")
def model() -> Model:
    return zoo.load(NAME)


@pytest.fixture(scope="module")
def done(model: Model) -> Inversions:
    return make(REQUEST, picture_from_scene("test", 4), [model], SETTINGS)


@pytest.fixture(scope="module")
def files(done: Inversions) -> dict[str, bytes]:
    return bundle(done, every_width=False)


def test_arrays_are_the_images_and_what_invert_makes_of_them(done: Inversions, model: Model) -> None:
    view = make_view(done.picture, REQUEST, model.input_size)
    found = invert(model, torch.cat([view.clean, view.degraded]), "layer1", SETTINGS)
    arrays = raw_arrays(done)
    assert len(arrays) == 8
    for row, (name, image) in enumerate((("clean", view.clean), ("degraded", view.degraded))):
        np.testing.assert_array_equal(arrays[f"{NAME}/layer1/{name}"], image[0].numpy())
        np.testing.assert_array_equal(arrays[f"{NAME}/layer1/{name} inverted"], found.images[row].numpy())
    assert not np.array_equal(arrays[f"{NAME}/layer1/clean"], arrays[f"{NAME}/layer1/degraded"])


def test_the_figure_and_the_manifest_say_how_far_off_they_are(
    files: dict[str, bytes], done: Inversions
) -> None:
    text = " ".join(PdfReader(io.BytesIO(files["figure.pdf"])).pages[0].extract_text().split())
    listed = json.loads(files["manifest.json"])["rows"]
    for row, entry in zip(done.rows, listed, strict=True):
        for error, value in zip(row.found.errors.tolist(), entry["relative_l2"].values(), strict=True):
            assert value == error
            assert f"relative L2 {error:.3g}" in text
    assert f"conv1 of {NAME}" in text
    assert "Degraded: " in text


def test_the_manifest_gives_the_same_files(files: dict[str, bytes]) -> None:
    again = reproduction.reproduce_files(files["manifest.json"], None)
    assert again.keys() == files.keys()
    assert again["manifest.json"] == files["manifest.json"]
    assert again["figure.png"] == files["figure.png"]
    with (
        np.load(io.BytesIO(again["inversion.npz"])) as one,
        np.load(io.BytesIO(files["inversion.npz"])) as two,
    ):
        assert all(np.array_equal(one[name], two[name]) for name in two)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("rows", 0, "model", "sha256"), "0" * 64, f"checkpoint {NAME} is not the one"),
        (("rows", 1, "model", "sha256"), "0" * 64, f"checkpoint {NAME} is not the one"),
        (("image", "sha256"), "0" * 64, "not the one in the manifest"),
        (("settings", "steps"), "many", "not one that this program wrote"),
        (("settings", "steps"), 5.5, "not one that this program wrote"),
        (("settings", "seed"), None, "not one that this program wrote"),
        (("settings", "size"), math.inf, "not one that this program wrote"),
        (("request", "seed"), math.inf, "not one that this program wrote"),
        (("request", "severity"), math.inf, "not one that this program wrote"),
        (("request", "layers"), {NAME: ["conv1"], "other": ["conv1"]}, "of another version"),
        (("style", "smooth"), "x", "not one that this program wrote"),
        (("request", "models"), ["other"], "of another version"),
        (("request", "layers"), {NAME: ["layer9"]}, "can't be made again"),
    ],
)
def test_a_tampered_manifest_is_refused(
    files: dict[str, bytes], path: tuple[str | int, ...], value: Any, words: str
) -> None:
    found = json.loads(files["manifest.json"])
    place = found
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    with pytest.raises(ManifestError, match=words):
        inversion_export.reproduce(json.dumps(found).encode(), None)


def test_without_a_degradation_there_are_two_pictures(model: Model) -> None:
    done = make(Request((NAME,)), picture_from_scene("test", 4), [model], SETTINGS)
    assert set(raw_arrays(done)) == {
        f"{NAME}/{model.default_layer}/{what}" for what in ("clean", "clean inverted")
    }


def test_the_command_inverts_layers_of_two_networks(tmp_path: Path) -> None:
    asked = (
        f"visualize --model {NAME} alexnet-cue10-s0 --layer conv1 features.0 --invert cue10:test/4 --steps 2"
    )
    degraded = "--degradation jpeg --severity 2 --scale cifar-c"
    assert main(shlex.split(f"{asked} {degraded} --out {shlex.quote(str(tmp_path))}")) == 0
    text = PdfReader(tmp_path / "figure.pdf").pages[0].extract_text()
    assert f"conv1 of {NAME}" in text
    assert "features.0 of alexnet-cue10-s0" in text


def test_the_help_names_the_settings_that_are_used(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["visualize", "--help"])
    words = " ".join(capsys.readouterr().out.split())
    for name in ("steps", "learning_rate", "frequency_decay", "total_variation", "transforms", "colours"):
        usual, own = (str(getattr(each, name)).removesuffix(".0") for each in (Settings(), INVERSION))
        expected = f"({usual})" if usual == own else f"({usual}; --invert {own})"
        assert words.split(f"--{name.replace('_', '-')} ")[-1].split(")")[0].endswith(expected[:-1]), name


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("--invert cue10:test/4 --class 0", "--invert was given with other"),
        ("--class 0 --copies 1000000000", "--copies is 1000000000; allowed are 1 to 60"),
        ("--class 0 --frequency-decay 50", "frequency_decay is 50.0; allowed is 0 to 4"),
        ("--class 0 --seed -5", "seed is -5; allowed is 0 to"),
        ("--channel 0 --layer layer1#²", "no layer 'layer1#²'"),
        ("--class 0 1 2 --copies 60", "180 pictures were asked for; a figure takes 60"),
        ("--invert cue10:test/4 --degradation jpeg", "a severity above 0 go together"),
        ("--class 0 --degradation jpeg --severity 1", "without --invert"),
        ("--invert cue10:test/4 --layer layer9", "layer9"),
        ("--invert cue10:test/4 --degradation rain --severity 1", "rain"),
    ],
)
def test_bad_input_exits_2_with_one_line(
    command: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(shlex.split(f"visualize --model {NAME} {command} --out {shlex.quote(str(tmp_path))}")) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert words in line
