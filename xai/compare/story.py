"""The report of a comparison: a page to read, figures and tables for a paper, its methods, and what it rests on.

A folder of a report holds `report.html`, `report.tex` and `methods.txt`, figures and tables, `numbers.json` with every
number that is quoted, the rows that these come from, and `manifest.json`, from which it can be made again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.files import write_bytes
from xai import tables
from xai.compare import kept, store, story_html, story_latex, story_manifest, story_methods
from xai.compare.clock import Told
from xai.compare.run import Compared
from xai.compare.sections import Section, section
from xai.compare.story_parts import Chapter, Shown, Story, pick
from xai.report_index import Printed, compilable, escaped
from xai.tables import Rows

if TYPE_CHECKING:
    from xai.compare.bench import Bench
    from xai.figure_parts import Figure

PAGE, LATEX, METHODS = "report.html", "report.tex", "methods.txt"
NUMBERS, MANIFEST = "numbers.json", "manifest.json"


@dataclass(frozen=True)
class Options:
    """What a report holds: `pictures` of the dataset, which need a bench; figures in which `formats`; whether tables
    have files of their own and there is LaTeX (`paper`); and whether only the smaller of each figure's formats that
    a page can show is kept (`light`)."""

    pictures: bool = True
    formats: tuple[str, ...] = ("pdf", "svg", "png")
    paper: bool = True
    light: bool = False


REPORT = Options()


def write(
    compared: Compared,
    out: Path,
    bench: Bench | None = None,
    options: Options = REPORT,
    told: Told | None = None,
) -> list[Path]:
    """Write the report of a comparison into a folder; returns the paths, the page to read first.

    Every file is written whole; those of an earlier report are replaced. Without a bench there are no pictures of the
    dataset.
    """
    found = files(compared, bench, options, told)
    for name, content in found.items():
        write_bytes(out / name, content)
    return [out / name for name in found]


def files(
    compared: Compared, bench: Bench | None = None, options: Options = REPORT, told: Told | None = None
) -> dict[str, bytes]:
    """The files of the report by their names below its folder, the page first."""
    options = replace(options, pictures=options.pictures and bench is not None)
    parts: dict[str, bytes] = {}
    chapters = tuple(_chapters(compared, bench, options, parts, told))
    methods = story_methods.paragraphs(compared.facts, compared.rows)
    story = Story(compared, chapters, methods, options.paper)
    latex = {LATEX: story_latex.document(story).encode()} if options.paper else {}
    return {
        PAGE: story_html.page(story).encode(),
        **latex,
        METHODS: methods_text(methods).encode(),
        **parts,
        **_sources(compared, options),
    }


def methods_text(paragraphs: dict[str, str]) -> str:
    """The methods as text: a paragraph for each heading."""
    return "\n\n".join(f"{heading}. {words}" for heading, words in paragraphs.items()) + "\n"


def _sources(compared: Compared, options: Options) -> dict[str, bytes]:
    """Numbers, rows and manifest."""
    rows = row_files(compared)
    numbers = numbers_of(compared)
    manifest = story_manifest.manifest(compared, rows, numbers, pictures=options.pictures)
    facts = story_manifest.as_json(compared.facts.to_json())
    return {NUMBERS: story_manifest.as_json(numbers), **rows, kept.FACTS: facts, MANIFEST: manifest}


def numbers_of(compared: Compared) -> dict[str, Any]:
    """Every number that the report quotes, by section, JSON-able."""
    return {name: story_manifest.plain(found.numbers) for name, found in compared.found.items()}


def row_files(compared: Compared) -> dict[str, bytes]:
    """The rows of all sections that were answered, as the files of `store`."""
    return {
        f"{kept.ROWS}/{path}": content
        for name in compared.found
        for path, content in store.encoded(compared.facts, section(name), compared.rows[name]).items()
    }


def _chapters(
    compared: Compared, bench: Bench | None, options: Options, parts: dict[str, bytes], told: Told | None
) -> Iterator[Chapter]:
    """Every section that was answered; its files are added to `parts`."""
    for place, (name, found) in enumerate(compared.found.items()):
        each = section(name)
        if told:
            told(place, len(compared.found), f"figures and tables: {each.title}")
        figures = each.draw(compared.facts, compared.rows[name])
        if each.pictures and bench is not None and options.pictures:
            figures = {**figures, **each.pictures(bench, compared.facts, compared.rows[name])}
        shown = tuple(_shown(each, title, figure, options, parts) for title, figure in figures.items())
        printed = tuple(_printed(compared, each, *table, options, parts) for table in found.tables.items())
        yield Chapter(each, found, shown, tuple(table for table in printed if table.rows))
    if told:
        told(1, 1, "")


def _shown(each: Section, title: str, figure: Figure, options: Options, parts: dict[str, bytes]) -> Shown:
    """Render a figure in all its formats."""
    from xai.figures import render

    stem = f"figures/{each.name}-{_stem(title)}"
    made = {ending: render(figure, ending) for ending in options.formats}
    best = pick(made)
    kept_ones = {best: made[best]} if options.light else made
    parts.update({f"{stem}.{ending}": content for ending, content in kept_ones.items()})
    return Shown(title, stem, tuple(kept_ones), best, float(figure.get_size_inches()[0]))


def _printed(
    compared: Compared, each: Section, title: str, rows: Rows, options: Options, parts: dict[str, bytes]
) -> Printed:
    """Write a table as CSV and LaTeX."""
    stem = f"tables/{each.name}-{_stem(title)}"
    rows = [{head: story_manifest.plain(cell) for head, cell in row.items()} for row in rows]
    caption = f"{each.title}: {title}. {' against '.join(compared.facts.names)}."
    if options.paper and rows:
        parts[f"{stem}.csv"] = tables.as_csv(rows).encode()
        parts[f"{stem}.tex"] = compilable(tables.as_latex(rows, escaped(caption))).encode()
    return Printed(title, caption, stem, rows)


def _stem(title: str) -> str:
    from xai.export import safe_stem

    return safe_stem(title)
