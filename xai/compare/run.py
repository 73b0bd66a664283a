"""Runs a comparison, section after section, and keeps the rows; goes on where it was stopped."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from xai.compare import store
from xai.compare.bench import Bench
from xai.compare.clock import Clock, Told, listening
from xai.compare.sections import Found, Measured, Section, all_sections, section
from xai.compare.study import Facts

NOT_THE_SAME = (
    "The two networks' heatmaps are not the same thing (see Validity): this tells how each of them behaves, and is no "
    "difference in what the networks look at."
)


@dataclass(frozen=True)
class Compared:
    """A finished comparison: the rows of each section, what they say, and why questions were not asked.

    `failed` says why sections could not be answered; `seconds` is how long measuring took where it was done just now,
    and `summarising` how long it took to say what the rows mean.
    """

    facts: Facts
    rows: dict[str, Measured]
    found: dict[str, Found]
    skipped: dict[str, str]
    failed: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    summarising: dict[str, float] = field(default_factory=dict)
    tasks: dict[str, int] = field(default_factory=dict)


def run(
    bench: Bench, folder: Path | None = None, wanted: Collection[str] | None = None, told: Told | None = None
) -> Compared:
    """Measure every section, or those `wanted`, that can be asked; rows are kept in `folder` and read from there.

    `told` hears of shares of the time. A section that raises `ValueError` stands in `failed`; the others are asked all
    the same. Raises `Cancelled` when the bench is told to end (sections that are done stay), and `ValueError` for a
    section that there is not.
    """
    chosen = selected(wanted)
    skipped = {each.name: why for each in chosen if (why := each.applies(bench.facts))}
    asked = [each for each in chosen if each.name not in skipped]
    rows = _stored(bench.facts, asked, folder)
    clock = Clock([each for each in asked if each.name not in rows], len(bench.facts.conditions), told)
    seconds, failed = {}, {}
    with listening(bench, clock):
        for each in clock.sections:
            clock.begin(each)
            started = time.monotonic()
            try:
                rows[each.name] = _measured(bench, each, folder)
            except ValueError as error:
                failed[each.name] = " ".join(str(error).split())
            seconds[each.name] = time.monotonic() - started
    clock.finish()
    return summarised(bench.facts, rows, skipped, failed=failed, seconds=seconds, tasks=clock.tasks)


def selected(wanted: Collection[str] | None) -> list[Section]:
    """The sections named, or all, in order; raises `ValueError` for one that there is not."""
    names = None if wanted is None else {section(name).name for name in wanted}
    return [each for each in all_sections() if names is None or each.name in names]


def _stored(facts: Facts, sections: Collection[Section], folder: Path | None) -> dict[str, Measured]:
    found = {each.name: store.read(folder, facts, each) for each in sections} if folder else {}
    return {name: rows for name, rows in found.items() if rows is not None}


def measured(bench: Bench, section: Section, folder: Path | None = None) -> Measured:
    """The rows of one section, read where they are there."""
    found = store.read(folder, bench.facts, section) if folder else None
    return _measured(bench, section, folder) if found is None else found


def _measured(bench: Bench, section: Section, folder: Path | None) -> Measured:
    found = section.measure(bench)
    if folder:
        store.write(folder, bench.facts, section, found)
    return found


def summarised(
    facts: Facts,
    rows: Mapping[str, Measured],
    skipped: Mapping[str, str],
    *,
    failed: Mapping[str, str] | None = None,
    seconds: Mapping[str, float] | None = None,
    tasks: Mapping[str, int] | None = None,
) -> Compared:
    """What rows say, computed from them alone; sections in their order."""
    found, took, problems = {}, {}, dict(failed or {})
    ordered = {each.name: rows[each.name] for each in all_sections() if each.name in rows}
    for name, tables in ordered.items():
        started = time.monotonic()
        try:
            found[name] = section(name).summarise(facts, tables)
        except ValueError as error:
            problems[name] = " ".join(str(error).split())
        took[name] = time.monotonic() - started
    return Compared(
        facts,
        ordered,
        _cautioned(found),
        dict(skipped),
        problems,
        dict(seconds or {}),
        took,
        dict(tasks or {}),
    )


def _cautioned(found: Mapping[str, Found]) -> dict[str, Found]:
    """What sections found, but that no difference of heatmaps counts as one where these are not the same thing."""
    validity = found.get("validity")
    if validity is None or validity.numbers.get("comparable") is not False:
        return dict(found)
    return {name: _no_difference(each) if section(name).of_maps else each for name, each in found.items()}


def _no_difference(found: Found) -> Found:
    return replace(found, verdict=f"{found.verdict} {NOT_THE_SAME}", differs=None)
