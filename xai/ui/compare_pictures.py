"""Pictures of single images on the Compare page: where answers flip, and examples that were chosen honestly."""

from __future__ import annotations

from xai.compare.run import Compared
from xai.compare.sections import Section
from xai.compare.study import Study

KEYS: tuple[str, ...] = ()


def draw(study: Study, found: Compared, section: Section) -> None:
    """What a section shows of single images."""
    del study, found, section
