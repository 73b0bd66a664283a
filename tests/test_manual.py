"""README and docs: links lead somewhere, tables follow the registries, quoted numbers are those of the reports."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from tests import diagrams
from xai.attribution import METHODS
from xai.compare import every, sections

ROOT = diagrams.ROOT
PAGES = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
)
README = (ROOT / "README.md").read_text(encoding="utf-8")
LINK = re.compile(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"")


def anchors(text: str) -> set[str]:
    """What GitHub makes of the headings of a page."""
    heads = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def section(heading: str) -> str:
    """The README under one heading of the second level."""
    return README.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """Cells of all rows of all tables."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in ("".join(found) for found in LINK.findall(page.read_text(encoding="utf-8"))):
        if link.startswith("http"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), link


def test_every_page_and_picture_of_docs_is_linked() -> None:
    linked = {
        "".join(found).split("#")[0] for page in PAGES for found in LINK.findall(page.read_text("utf-8"))
    }
    there = {path.name for path in (ROOT / "docs").iterdir()}
    assert (
        there == {Path(link).name for link in linked if link.startswith("docs/") or "/" not in link} & there
    )


def test_every_method_has_its_row_and_its_paper() -> None:
    names = [re.findall(r"`(.+)`", row[0]) for row in rows(section(HEADING)) if "`" in row[0]]
    titles = {row[0].split(" `")[0] for row in rows(section(HEADING)) if "`" in row[0]}
    assert [name for (name,) in names] == list(METHODS)
    assert titles == {method.title for method in METHODS.values()}
    papers = (ROOT / "docs/citing.md").read_text(encoding="utf-8")
    assert [row[0].strip("`") for row in rows(papers) if row[0].startswith("`")] == list(METHODS)


HEADING = "What each method means, and when not to trust it"


def test_every_question_of_a_comparison_has_its_row() -> None:
    assert every
    asked = {row[0].split(":")[0] for row in rows(section(HEADING)) if ":" in row[0]}
    assert asked == {found.title for found in sections.SECTIONS.values()}


def test_numbers_of_the_findings_are_those_of_the_reports() -> None:
    text = section("What was found with the shipped networks").split("[Sweeps]")[0].split("in short:")[1]
    shown = set(re.findall(r"\d+\.\d+|\d+ %|\d+ points|\d+ more", text))
    told = json.loads((ROOT / "data/reports/index.json").read_text(encoding="utf-8"))
    reports = "".join(
        re.sub(
            r"<[^>]+>", "", (ROOT / f"data/reports/{study['folder']}/report.html").read_text(encoding="utf-8")
        )
        for study in told
    )
    assert len(shown) > 8
    missing = [one for one in shown if not re.search(rf"(?<![\d.]){one.split()[0]}(?!\d)", reports)]
    assert missing == []


def test_the_citation_file_is_whole_and_of_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors", "version"} <= set(cited)
    assert cited["cff-version"] == "1.2.0"
    assert cited["version"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert all("name" in author for author in cited["authors"])


def test_the_pictures_stay_small() -> None:
    assert sum(path.stat().st_size for path in (ROOT / "docs").iterdir()) < 1.5e6


def test_the_readme_can_be_read_in_one_go() -> None:
    assert len(README.splitlines()) <= 330
