"""The changelog has the form that it claims, and its counts are those of the registries."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from data.degradations import DEGRADATIONS
from xai.attribution import METHODS

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_version_is_the_projects() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert re.findall(r"^## (.*)$", TEXT, re.MULTILINE)[0] == f"[{version}] - unreleased"


def test_the_kinds_of_change_are_those_of_keep_a_changelog() -> None:
    kinds = re.findall(r"^### (.*)$", TEXT, re.MULTILINE)
    assert kinds
    assert set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_counts_are_those_of_the_registries() -> None:
    assert f"{len(METHODS)} methods" in TEXT
    assert f"{len(DEGRADATIONS)} degradations" in TEXT
