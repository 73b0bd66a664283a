"""Sections made up for tests of a comparison's report: cheap, and with words and numbers that are hard to show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from xai.compare import resampling, sections
from xai.compare.run import Compared, summarised
from xai.compare.sections import Found, Measured, Section
from xai.compare.study import Facts, Network, Study
from xai.figure_parts import Figure, Sheet

HOSTILE = "50% <script>alert(1)</script> & _x_ \\input{/etc/passwd} †"
IMAGES = 40
WIDE = [{f"a heading of many words, number {k}": f"{k} and (0.12 to 0.34, n = 1,000)" for k in range(14)}]
NAMES = ("alexnet-cue10-s0", "resnet18_cifar-w16-cue10-s0")


def measure(bench: Any) -> Measured:
    """A value for each image and network: the mean of its pixels, and where there is none NaN."""
    bench.tell(0, 1, "looking")
    means = bench.data.pixels(slice(0, len(bench.data))).float().mean(dim=(1, 2, 3)).numpy() / 255
    bench.tell(1, 1, "looking")
    return table(np.asarray(means))


def table(values: np.ndarray) -> Measured:
    """Rows of images with a value each; the last has none."""
    values = np.array(values, np.float32)
    values[-1] = np.nan
    names = np.array([HOSTILE if k % 2 else "plain" for k in range(len(values))])
    rows = {"image": np.arange(len(values), dtype=np.int32), "value": values, "name": names}
    return {"images": rows}


def found(differs: bool | None) -> Callable[[Facts, Measured], Found]:
    """What the rows say, with that verdict."""

    def summarise(facts: Facts, rows: Measured) -> Found:
        mean = resampling.mean(rows["images"]["value"])
        return Found(
            f"The value is {mean.words(3)} for {facts.names[0]}, {HOSTILE}.",
            (f"It is {mean.value:.4f} on average.",),
            {"mean": mean.to_json(), "each": rows["images"]["value"], "nested": {"none": np.float32(np.nan)}},
            {
                "values by image": [{"image": HOSTILE, "value (share)": float(mean.value)}],
                "empty": [],
                "wide": WIDE,
            },
            (f"{mean.undefined} of {len(rows['images']['value'])} images have no value.",),
            differs,
        )

    return summarise


def draw(_facts: Facts, _rows: Measured) -> dict[str, Figure]:
    """A figure."""
    return {"the values": _sheet("values")}


def _sheet(words: str) -> Figure:
    sheet = Sheet(3.0, 1.0)
    sheet.figure.text(0.1, 0.5, words)
    return sheet.figure


def fake(name: str, differs: bool | None, **more: Any) -> Section:
    """A section that takes the place of a real one."""
    settings: dict[str, Any] = {"measure": measure, "summarise": found(differs), "draw": draw, **more}

    def method(facts: Facts, rows: Measured) -> str:
        return f"{name}: we looked at {facts.images} images."

    return Section(name, f"About {name}", f"What of {name}?", method=method, **settings)


def put(monkeypatch: pytest.MonkeyPatch, *members: Section) -> None:
    """Let these be all sections there are."""
    sections.all_sections()  # the real ones have registered, and do not come again
    monkeypatch.setattr(sections, "SECTIONS", {each.name: each for each in members})


def facts(**changes: Any) -> Facts:
    """Facts of a comparison that nobody made."""
    networks = tuple(
        Network(name, title, "alexnet", "cue10", 0, letter * 64, "pool_linear", "layer", (8, 8), 1234, ("p",))
        for name, title, letter in zip(NAMES, ("AlexNet", "ResNet-18 & co"), "ab", strict=True)
    )
    settings: dict[str, Any] = {
        "study": Study(NAMES, "cue10", scale="paper-relative"),
        "networks": networks,
        "classes": ("a", HOSTILE),
        "images": IMAGES,
        "size": 64,
        "data_sha256": "c" * 64,
        **changes,
    }
    return Facts(**settings)


def comparison() -> Compared:
    """A comparison of the sections that are registered, with rows made up; the last section can't be asked."""
    values = np.random.default_rng(0).normal(0.5, 0.1, IMAGES)
    *answered, last = sections.all_sections()
    rows = {each.name: table(values) for each in answered}
    return summarised(facts(), rows, {last.name: f"There are no masks, {HOSTILE}."})
