"""The manifest says which stored answers a table or figure is made of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.board_helpers import board_of, relative, right_of
from xai.result_manifest import every, manifest
from xai.results import UNTOUCHED

NOISE = relative("gaussian_noise", 2)


def test_it_names_cells_weights_images_and_what_is_missing(tmp_path: Path) -> None:
    board = board_of(
        tmp_path, {("a", UNTOUCHED): right_of(30), ("a", NOISE): right_of(20), ("b", UNTOUCHED): right_of(10)}
    )
    found = json.loads(manifest(board, every(("a", "b"), (UNTOUCHED, NOISE)), {"scale": "paper-relative"}))
    assert [(cell["model"], cell["degradation"], cell["severity"]) for cell in found["cells"]] == [
        ("a", "clean", 0.0),
        ("a", "gaussian_noise", 2.0),
        ("b", "clean", 0.0),
    ]
    assert found["cells"][1]["model_sha256"] == board.cell("a", NOISE).model_sha256
    assert found["cells"][1]["constants"] == {"sigma": 0.3}
    assert (tmp_path / "cifar10-jpeg" / "a" / found["cells"][1]["file"]).is_file()
    assert found["missing"] == [{"model": "b", "condition": "gaussian_noise 2", "scale": "paper-relative"}]
    assert found["images"]["data_sha256"] == board.setting.data_sha256
    assert (found["images"]["n"], found["images"]["classes"]) == (40, ["cat", "dog", "ship", "frog"])
    assert found["choices"] == {"scale": "paper-relative"}


def test_the_same_cells_give_the_same_bytes_and_each_stands_once(tmp_path: Path) -> None:
    board = board_of(tmp_path, {("a", UNTOUCHED): right_of(30)})
    twice = [("a", UNTOUCHED), ("a", UNTOUCHED)]
    assert manifest(board, twice, {}) == manifest(board, twice[:1], {})


def test_choices_may_be_conditions_but_no_objects(tmp_path: Path) -> None:
    board = board_of(tmp_path, {("a", UNTOUCHED): right_of(30)})
    assert json.loads(manifest(board, [], {"condition": NOISE, "some": {"b", "a"}}))["choices"] == {
        "condition": "gaussian_noise 2",
        "some": ["a", "b"],
    }
    with pytest.raises(TypeError, match="no part of a manifest"):
        manifest(board, [], {"bad": object()})
