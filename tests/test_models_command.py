"""`python -m xai models` in its forms: each list can be had as text, Markdown and JSON."""

from __future__ import annotations

import json

import pytest

from models import zoo
from xai import latency, network_table
from xai.cli import main


def test_architectures_without_a_network_are_printed_in_every_form(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = network_table.Untrained("alexnet", "AlexNet", "AlexNet", 32, 4_560_714, 57_200_000)
    monkeypatch.setattr(network_table, "untrained", lambda: [row])
    assert main(["models", "--untrained", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert (entry["architecture"], entry["parameters (M)"]) == ("alexnet", 4.56)
    assert entry["accuracy"] == "not trained"
    assert main(["models", "--untrained", "--markdown"]) == 0
    assert capsys.readouterr().out.startswith("| architecture |")
    assert main(["models", "--untrained"]) == 0
    assert capsys.readouterr().out.split()[0] == "architecture"
    monkeypatch.setattr(network_table, "untrained", list)
    assert main(["models", "--untrained", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_latency_as_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    times = latency.Latency("one", 1, 32, 5, 2.0, 1.0, 3.0, "cpu", 1)
    monkeypatch.setattr(zoo, "load", str)
    monkeypatch.setattr(latency, "measure", lambda _model: [times])
    assert main(["models", "--latency", "one", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert (entry["name"], entry["median (ms)"], entry["images/s"]) == ("one", 2.0, 500.0)


def test_seeds_go_with_trained_networks_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--untrained", "--seeds"]) == 2
    assert "--seeds is for the list of trained networks" in capsys.readouterr().err
