"""Runs a comparison, section after section, and keeps the rows; goes on where it was stopped."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from xai.compare import store
from xai.compare.bench import Bench
from xai.compare.sections import Found, Measured, Section, all_sections
from xai.compare.study import Facts

Told = Callable[[float, float, str], None]
"""Called as `told(done, total, what)`, in sections."""


@dataclass(frozen=True)
class Compared:
    """A finished comparison: the rows of each section, what they say, and why questions were not asked."""

    facts: Facts
    rows: dict[str, Measured]
    found: dict[str, Found]
    skipped: dict[str, str]


def run(
    bench: Bench, folder: Path | None = None, wanted: Collection[str] | None = None, told: Told | None = None
) -> Compared:
    """Measure every section, or those `wanted`, that can be asked; rows are kept in `folder` and read from there.

    Raises `Cancelled` when the bench is told to end (sections that are done stay), and `ValueError` with one sentence.
    """
    facts, rows, skipped = bench.facts, {}, {}
    chosen = [section for section in all_sections() if wanted is None or section.name in wanted]
    for place, section in enumerate(chosen):
        if told:
            told(place, len(chosen), section.title)
        if why := section.applies(facts):
            skipped[section.name] = why
        else:
            rows[section.name] = measured(bench, section, folder)
    if told:
        told(len(chosen), len(chosen), "")
    return summarised(facts, rows, skipped)


def measured(bench: Bench, section: Section, folder: Path | None = None) -> Measured:
    """The rows of one section, read where they are there."""
    found = store.read(folder, bench.facts, section) if folder else None
    if found is None:
        found = section.measure(bench)
        if folder:
            store.write(folder, bench.facts, section, found)
    return found


def summarised(facts: Facts, rows: dict[str, Measured], skipped: dict[str, str]) -> Compared:
    """What rows say, computed from them alone."""
    by_name = {section.name: section for section in all_sections()}
    found = {name: by_name[name].summarise(facts, measured) for name, measured in rows.items()}
    return Compared(facts, rows, found, skipped)
