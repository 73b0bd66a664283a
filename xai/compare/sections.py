"""The questions of a comparison: one registry, whose members the page, the report and the tests go through.

A question's functions all have the same arguments. What is costly stands in `measure`, which asks the networks and
gives rows, one per image and more; nothing but `Facts` and those rows decides what `summarise` says and `draw` shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from xai.compare.study import Facts
from xai.tables import Rows

if TYPE_CHECKING:
    from xai.compare.bench import Bench
    from xai.figure_parts import Figure

Table = dict[str, np.ndarray]
"""Columns of equal length `(rows,)`: numbers, bool, or text (of dtype `U` or object)."""
Measured = Mapping[str, Table]
"""The rows of a section: tables by name."""


@dataclass(frozen=True)
class Found:
    """What rows say.

    `verdict` is the answer in one sentence for the top of the page, `sentences` are what there is to say, each with its
    n and its interval. `numbers` are all numbers quoted, JSON-able (None: not defined). `tables` are for reading, by
    title. `undefined` are sentences on what was counted but has no number, and `differs` says whether the two networks
    differ in this (None: the question is another, or can't be answered).
    """

    verdict: str
    sentences: tuple[str, ...] = ()
    numbers: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, Rows] = field(default_factory=dict)
    undefined: tuple[str, ...] = ()
    differs: bool | None = None


@dataclass(frozen=True)
class Section:
    """One question.

    `applies(facts)` is empty, or the sentence why the question can't be asked of these images. `measure(bench)` gives
    the rows, `summarise(facts, rows)` what they say, `draw(facts, rows)` figures by name (none where there is nothing
    to draw), `method(facts, rows)` the sentences of a paper's methods section, with real settings and sizes.
    """

    name: str
    title: str
    question: str
    measure: Callable[[Bench], Measured]
    summarise: Callable[[Facts, Measured], Found]
    draw: Callable[[Facts, Measured], dict[str, Figure]]
    method: Callable[[Facts, Measured], str]
    applies: Callable[[Facts], str] = lambda facts: ""
    version: int = 1
    """To be raised when the same study no longer gives the same rows, so that those stored before are not taken."""
    pictures: Callable[[Bench, Facts, Measured], dict[str, Figure]] | None = None
    """Figures by name that show images of the dataset, which a report may leave out."""
    of_maps: bool = False
    """Whether the answer compares A's heatmaps with B's, which means nothing where these are not the same thing."""


SECTIONS: dict[str, Section] = {}
"""By name, in the order of the page and the report."""
ORDER = ("validity", "drift", "agreement", "flips", "cues", "frequencies", "errors", "examples")


def register(section: Section) -> Section:
    """Add a section; raises `ValueError` when its name is taken or has no place in `ORDER`."""
    if section.name in SECTIONS:
        raise ValueError(f"the section {section.name!r} is registered twice.")
    if section.name not in ORDER:
        raise ValueError(f"the section {section.name!r} has no place; allowed are {', '.join(ORDER)}.")
    SECTIONS[section.name] = section
    return section


def all_sections() -> tuple[Section, ...]:
    """Every section, in order."""
    from xai.compare import every  # noqa: F401  (imports the modules that register)

    return tuple(SECTIONS[name] for name in ORDER if name in SECTIONS)


def section(name: str) -> Section:
    """Look a section up; raises `ValueError` naming those that exist."""
    found = {each.name: each for each in all_sections()}
    if name not in found:
        raise ValueError(f"there is no section {name!r}; allowed are {', '.join(found)}.")
    return found[name]
