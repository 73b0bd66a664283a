"""`python -m xai compare` from end to end, with sections that cost nothing."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from models import zoo
from tests import story_helpers as helpers
from tests.story_helpers import NAMES, fake, put
from xai.cli import main
from xai.compare import story
from xai.compare.bench import Bench
from xai.compare.sections import Measured

ASK = ["compare", *NAMES, "--dataset", "cue10", "--limit", "20", "--degradations", "gaussian_noise"]


@pytest.fixture(autouse=True)
def _sections(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = lambda bench, facts, rows: {"gallery": helpers.draw(facts, rows)["the values"]}  # noqa: E731
    put(monkeypatch, fake("drift", True, pictures=pictures), fake("agreement", False))


def test_it_writes_a_report_says_what_is_in_it_and_checks_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main([*ASK, "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("About drift: The value is ")
    assert "measured (s)" in said.out
    assert f"wrote {out / story.PAGE}" in said.out
    assert f"wrote {out / story.MANIFEST}" in said.out
    assert "left" in said.err
    assert (out / "figures" / "drift-gallery.png").is_file()
    facts = json.loads((out / "facts.json").read_text())
    assert facts["images"] == 20
    assert facts["study"]["degradations"] == ["gaussian_noise"]
    assert main(["compare", "--check", str(out)]) == 0
    numbers = json.loads((out / story.NUMBERS).read_text())
    numbers["drift"]["mean"]["high"] += 0.01
    (out / story.NUMBERS).write_text(json.dumps(numbers))
    capsys.readouterr()
    assert main(["compare", "--check", str(out)]) == 1
    assert "drift.mean.high: the report has" in capsys.readouterr().out
    assert main(["reproduce", str(out / story.MANIFEST), "--out", str(tmp_path / "again")]) == 0
    assert json.loads((tmp_path / "again" / "comparison.json").read_text())["same"] is True


def test_no_pictures_and_some_sections(tmp_path: Path) -> None:
    assert main([*ASK, "--out", str(tmp_path), "--no-pictures", "--sections", "drift"]) == 0
    assert not (tmp_path / "figures" / "drift-gallery.png").exists()
    assert list(json.loads((tmp_path / story.NUMBERS).read_text())) == ["drift"]


def test_own_layers_and_no_degradation_have_names(tmp_path: Path) -> None:
    more = ["--layers", "default", "layer3", "--degradations", "none", "--sections", "agreement"]
    assert main([*ASK, *more, "--out", str(tmp_path)]) == 0
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert facts["study"]["layers"] == ["", "layer3"]
    assert facts["study"]["degradations"] == []
    assert facts["networks"][1]["layer"] == "layer3"


def test_a_stopped_run_goes_on_where_it_was(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def first(bench: Bench) -> Measured:
        asked.append("drift")
        return helpers.measure(bench)

    def second(bench: Bench) -> Measured:
        asked.append("agreement")
        if asked.count("agreement") == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return helpers.measure(bench)

    put(monkeypatch, fake("drift", True, measure=first), fake("agreement", None, measure=second))
    assert main([*ASK, "--out", str(tmp_path)]) == 130
    assert "stopped; the same command goes on from here" in capsys.readouterr().err
    assert not (tmp_path / story.PAGE).exists()
    assert main([*ASK, "--out", str(tmp_path)]) == 0
    assert asked == ["drift", "agreement", "agreement"]


def test_a_section_that_fails_is_told_and_the_status_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(bench: Bench) -> Measured:
        raise ValueError("the maps are blank.")

    put(monkeypatch, fake("drift", True), fake("agreement", False, measure=failing))
    assert main([*ASK, "--out", str(tmp_path)]) == 1
    assert "About agreement: failed: the maps are blank." in capsys.readouterr().out
    assert "About agreement: the maps are blank." in (tmp_path / story.PAGE).read_text()


A, B = NAMES
BAD = {
    "one network": (["compare", A, "--dataset", "cue10"], "takes two networks; 1 were given"),
    "no such network": (["compare", A, "nobody", "--dataset", "cue10"], "nobody"),
    "no dataset": (["compare", A, B], "--dataset was not given"),
    "no such dataset": (["compare", A, B, "--dataset", "spells"], "spells"),
    "no class in common": (
        ["compare", A, "alexnet-cifar10-jpeg-s0", "--dataset", "cue10"],
        "none of the classes",
    ),
    "no such section": ([*ASK, "--sections", "spells"], "allowed are drift, agreement"),
    "no such method": ([*ASK, "--method", "spells"], "method is 'spells'"),
    "no such layer": ([*ASK, "--layers", "layer9", "layer4"], "layer9"),
    "no such degradation": ([*ASK, "--degradations", "spells"], "spells"),
    "a set and more": ([*ASK, "--degradations", "paper", "fog"], "a set stands alone"),
    "a set with another scale": ([*ASK, "--degradations", "cifar-c", "--scale", "paper"], "has its own"),
    "no such scale": ([*ASK, "--scale", "spells"], "spells"),
    "no such split": ([*ASK, "--split", "spells"], "spells"),
    "a negative seed": ([*ASK, "--seed", "-1"], "seed is -1"),
    "no such device": ([*ASK, "--device", "spells"], "spells"),
    "a check of nothing": (["compare", "--check", "/nowhere"], "can't be read"),
    "a check and more": (["compare", A, B, "--check", "/nowhere"], "nothing else"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_told_in_one_sentence(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, words = BAD[name]
    out = [] if "--check" in arguments else ["--out", str(tmp_path / "out")]
    assert main([*arguments, *out]) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert len(said.err.strip().splitlines()) == 1
    assert not said.out
    assert not (tmp_path / "out").exists()


def test_networks_of_another_input_size(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load = zoo.load
    monkeypatch.setattr(zoo, "load", lambda name, device="cpu": replace(load(name, device), input_size=32))
    assert main([*ASK, "--out", str(tmp_path)]) == 2
    assert "takes images of 32 px; cue10 has 64 px" in capsys.readouterr().err


def test_an_out_that_is_a_file_and_a_limit_that_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main([*ASK, "--out", str(tmp_path / "file")]) == 2
    assert "is a file; a folder is needed" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main([*ASK, "--limit", "-3", "--out", str(tmp_path)])
    assert stop.value.code == 2
    assert "allowed are whole numbers and all" in capsys.readouterr().err
