"""Every page runs, and every control of it says what it is for, in its default state and in its main modes."""

from __future__ import annotations

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from models import zoo
from tests.page_helpers import PAGES, visit

FEW = {"channel_images": "100"}
"""Few images, where a page asks networks about some."""
CUES = {"a": "alexnet-cue10-s0", "b": "resnet18_cifar-w16-cue10-s0"}
MODES: dict[str, tuple[dict[str, str], ...]] = {
    "explain": ({}, {"source": "sample", "b": ""}, {"source": "dataset"}, {"source": "upload"}),
    "features": ({"shown": "8"}, {"drift_of": "images", "b": "", **FEW}),
    "channel": (
        FEW,
        {**FEW, "what": "unit", "channel_part": "severity", "channel_degradations": "gaussian_noise"},
        {**FEW, "what": "class", "channel_part": "layers"},
        {**FEW, "channel_part": "counterpart"},
        {**FEW, "channel_part": "sheet"},
    ),
    "embeddings": (
        {**CUES, "embed_count": "500", "method": "pca", "embed_degradation": "none", "search": "0000"},
        {"method": "umap", "b": ""},
        {"embed_images": "cifar10-jpeg"},
    ),
    "compare": (
        {**CUES, "compare_part": "examples"},
        {**CUES, "compare_part": "flips"},
        {"compare_seed": "7"},
    ),
    "robustness": ({}, {"part": "grid"}, {"part": "mce"}, {"part": "calibration"}, {"part": "paper"}),
    "errors": ({}, {"table": "confusions"}, {"table": "transitions"}),
    "models": ({}, {"view": "papers"}, {"view": "ablations"}),
    "own": ({}, {"own": "images"}),
    "train": ({}, {"train_start": "scratch"}),
    "about": ({},),
}
"""By page, the links that lead to its main modes."""


@pytest.fixture(autouse=True)
def _networks() -> None:
    if not any(zoo.is_shipped(name) for name in zoo.cards()):
        pytest.skip("no network ships with this checkout")


def controls(app: AppTest) -> list[Any]:
    """What is drawn of every control of the page, in its main part and in the column beside it."""
    drawn = [getattr(node, "proto", None) for part in (app.main, app.sidebar) for node in part]
    return [proto for proto in drawn if all(hasattr(proto, name) for name in ("id", "label", "help"))]


@pytest.mark.parametrize("page", MODES)
def test_every_page_runs_and_every_control_has_help(page: str) -> None:
    without = set()
    for link in MODES[page]:
        app = visit(page, **link)
        assert not app.exception
        assert not app.error
        assert app.title[0].value == PAGES[page]
        assert not app.warning or "link" not in app.warning[0].value, app.warning[0].value
        drawn = controls(app)
        assert drawn or page == "about"
        without |= {proto.label for proto in drawn if not proto.help.strip()}
    assert without == set()
