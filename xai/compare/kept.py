"""Comparisons on this machine: those made here, in the cache folder, and those that come with the project.

A place holds `facts.json`, and rows in `rows/SECTION/`. A comparison may be unfinished: what is there is shown.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from data.catalogue import dataset
from data.storage import cache_folder
from models.cards import Card
from models.files import write_text
from xai.attribution import ExplanationError
from xai.compare import run, store
from xai.compare.run import Compared
from xai.compare.sections import all_sections
from xai.compare.study import Facts, Study, with_scale

SHIPPED = Path(__file__).resolve().parent.parent.parent / "data" / "reports"
"""Comparisons that come with the project, each in a folder."""
FACTS, ROWS = "facts.json", "rows"
LARGEST_FACTS = 2**20


def folder() -> Path:
    """Where comparisons made here are kept."""
    return cache_folder() / "comparisons"


def place(study: Study, cards: Mapping[str, Card], images: str = "") -> Path:
    """The folder of a comparison: one for each study, weights, and (for a user's own folder) content of the images."""
    hashes = [cards[name].sha256 if name in cards else name for name in study.models]
    asked = json.dumps([plain(study).to_json(), hashes, images], sort_keys=True)
    return folder() / hashlib.sha256(asked.encode()).hexdigest()[:32]


def plain(study: Study) -> Study:
    """The study with its scale named, as a registered dataset's size has it, and no limit that a split is known to keep
    anyway."""
    data = dataset(study.dataset)
    found = with_scale(study, data.image_size)
    whole = study.limit is not None and study.limit >= data.counts.get(study.split, math.inf)
    return replace(found, limit=None) if whole else found


def keep_facts(where: Path, facts: Facts) -> None:
    """Write what the rows of a place are of."""
    write_text(where / FACTS, json.dumps(facts.to_json(), indent=1) + "\n")


def find(study: Study, cards: Mapping[str, Card], images: str = "") -> Compared | None:
    """What is known of a study, with the sections that are there; None where nothing is.

    `cards` are the networks on this machine: what was measured of other weights is not taken.
    """
    for where in (place(study, cards, images), *_shipped_of(study)):
        facts = read_facts(where)
        if facts is not None and _is_of(facts, study, cards):
            return read(where, facts)
    return None


def read(where: Path, facts: Facts) -> Compared:
    """The sections whose rows are in a place, and what they say."""
    rows, skipped = {}, {}
    for section in all_sections():
        if why := section.applies(facts):
            skipped[section.name] = why
        elif (found := store.read(where / ROWS, facts, section)) is not None:
            rows[section.name] = found
    return run.summarised(facts, rows, skipped)


def read_facts(where: Path) -> Facts | None:
    """What a place says of itself, None where it says nothing that can be read."""
    with suppress(OSError, ValueError, RecursionError):
        path = where / FACTS
        if path.stat().st_size <= LARGEST_FACTS:
            return Facts.from_json(json.loads(path.read_text()))
    return None


def shipped() -> Iterator[tuple[Path, Facts]]:
    """Every comparison that comes with the project."""
    for path in sorted(SHIPPED.glob(f"*/{FACTS}")):
        facts = read_facts(path.parent)
        if facts is not None:
            yield path.parent, facts


def _shipped_of(study: Study) -> Iterator[Path]:
    yield from (where for where, facts in shipped() if _same(facts.study, study))


def _same(one: Study, other: Study) -> bool:
    try:
        return plain(one) == plain(other)
    except (ExplanationError, ValueError):
        return False


def _is_of(facts: Facts, study: Study, cards: Mapping[str, Card]) -> bool:
    current = [cards[name].sha256 if name in cards else "" for name in study.models]
    return _same(facts.study, study) and [network.sha256 for network in facts.networks] == current
