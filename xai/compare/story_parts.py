"""What the page and the LaTeX of a report are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from xai.compare.run import Compared
from xai.compare.sections import Found, Section
from xai.report_index import Printed

ON_PAGES = ("svg", "png")
"""Formats of figures that a page can show."""


@dataclass(frozen=True)
class Shown:
    """A figure: its title, its files without their endings, these endings, the one that a page shows, and its width in
    inches."""

    title: str
    stem: str
    endings: tuple[str, ...]
    best: str
    width: float


@dataclass(frozen=True)
class Chapter:
    """A section that was answered, with its figures and tables."""

    section: Section
    found: Found
    figures: tuple[Shown, ...]
    tables: tuple[Printed, ...]


@dataclass(frozen=True)
class Story:
    """A whole report; `paper`: whether tables have files of their own, and there is LaTeX."""

    compared: Compared
    chapters: tuple[Chapter, ...]
    methods: Mapping[str, str]
    paper: bool

    @property
    def title(self) -> str:
        """Which networks, on which images."""
        facts = self.compared.facts
        return (
            f"{facts.names[0]} against {facts.names[1]} on {facts.study.dataset} ({facts.study.split}): "
            "how they decide"
        )

    @property
    def groups(self) -> dict[str, tuple[Chapter, ...]]:
        """Chapters by what is known: whether the networks differ there."""
        words = {
            True: "What differs",
            False: "Where no difference was found",
            None: "Other questions, and what can't be said",
        }
        return {
            heading: tuple(each for each in self.chapters if each.found.differs is differs)
            for differs, heading in words.items()
        }

    @property
    def unanswered(self) -> dict[str, str]:
        """Sections without an answer, by name, each with its reason."""
        return {**self.compared.skipped, **self.compared.failed}


def pick(made: Mapping[str, bytes]) -> str:
    """The ending of the smallest file that a page can show; the first where it can show none."""
    able = [ending for ending in ON_PAGES if ending in made]
    return min(able, key=lambda ending: len(made[ending])) if able else next(iter(made))
