"""The report of a comparison: a page to read, figures and tables for a paper, its methods, and what it rests on.

A folder of a report holds `report.html`, `report.tex` and `methods.txt`, figures and tables, `numbers.json` with every
number that is quoted, the rows that these come from, and `manifest.json`, from which it can be made again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.files import write_bytes
from xai import tables
from xai.compare import kept, light, store, story_html, story_latex, story_manifest, story_methods
from xai.compare.clock import Told
from xai.compare.run import Compared
from xai.compare.sections import Section, section
from xai.compare.story_parts import Chapter, Shown, Story, pick
from xai.report_index import TEXT_CM, Printed, compilable, escaped
from xai.tables import Rows

if TYPE_CHECKING:
    from xai.compare.bench import Bench
    from xai.figure_parts import Figure

FORMATS = ("pdf", "svg", "png")
PAGE, LATEX, METHODS = "report.html", "report.tex", "methods.txt"
NUMBERS, MANIFEST = "numbers.json", "manifest.json"


@dataclass(frozen=True)
class Options:
    """What a report holds: `pictures` of the dataset, which need a bench, and figures in which `formats`.

    A `light` one is for reading and checking alone: of each figure only the smaller of a small PNG and an SVG, few
    pictures, no LaTeX, and tables only on the page. Its rows are to be `light.rows`.
    """

    pictures: bool = True
    formats: tuple[str, ...] = FORMATS
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
    story = Story(compared, chapters, methods, paper=not options.light)
    latex = {LATEX: story_latex.document(story).encode()} if story.paper else {}
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
    dense = options.light
    rows, numbers = row_files(compared, light.LEVEL if dense else store.LEVEL), numbers_of(compared)
    return {
        NUMBERS: story_manifest.as_json(numbers, dense=dense),
        **rows,
        kept.FACTS: story_manifest.as_json(compared.facts.to_json()),
        MANIFEST: story_manifest.manifest(compared, rows, numbers, pictures=options.pictures, light=dense),
    }


def numbers_of(compared: Compared) -> dict[str, Any]:
    """Every number that the report quotes, by section, JSON-able."""
    return {name: story_manifest.plain(found.numbers) for name, found in compared.found.items()}


def row_files(compared: Compared, level: int) -> dict[str, bytes]:
    """The rows of all sections that were answered, as the files of `store`, packed by zstd's `level`."""
    return {
        f"{kept.ROWS}/{path}": content
        for name in compared.found
        for path, content in store.encoded(compared.facts, section(name), compared.rows[name], level).items()
    }


def _chapters(
    compared: Compared, bench: Bench | None, options: Options, parts: dict[str, bytes], told: Told | None
) -> Iterator[Chapter]:
    """Every section that was answered; its files are added to `parts`."""
    count = len(compared.found)
    for place, (name, found) in enumerate(compared.found.items()):
        each = section(name)
        if told:
            told(place, count, f"figures and tables: {each.title}")
        figures = _figures(compared, each, bench if options.pictures else None, options.light)
        shown = tuple(_shown(each, title, figure, options, parts) for title, figure in figures.items())
        printed = tuple(_printed(compared, each, *table, options, parts) for table in found.tables.items())
        yield Chapter(each, found, shown, tuple(table for table in printed if table.rows))
    if told:
        told(1, 1, "")


def _figures(compared: Compared, each: Section, bench: Bench | None, few: bool) -> dict[str, Figure]:
    """A section's figures, and with a bench those that show images, all or `few`."""
    facts, rows = compared.facts, compared.rows[each.name]
    pictures = each.pictures(bench, facts, rows) if each.pictures and bench else {}
    return {**each.draw(facts, rows), **dict(islice(pictures.items(), light.MOST_PICTURES if few else None))}


def _shown(each: Section, title: str, figure: Figure, options: Options, parts: dict[str, bytes]) -> Shown:
    """Render a figure in all its formats, or in the one that takes least space."""
    stem = f"figures/{each.name}-{_stem(title)}"
    made = _light_files(figure) if options.light else _files(figure, options.formats)
    parts.update({f"{stem}.{ending}": content for ending, content in made.items()})
    return Shown(title, stem, tuple(made), pick(made), float(figure.get_size_inches()[0]))


def _files(figure: Figure, formats: Sequence[str]) -> dict[str, bytes]:
    from xai.figures import render

    return {ending: render(figure, ending) for ending in formats}


def _light_files(figure: Figure) -> dict[str, bytes]:
    from xai.figures import render

    made = {"svg": render(figure, "svg"), "png": light.png(render(figure, "png", light.DPI))}
    best = pick(made)
    return {best: made[best]}


def _printed(
    compared: Compared, each: Section, title: str, rows: Rows, options: Options, parts: dict[str, bytes]
) -> Printed:
    """Write a table as CSV and LaTeX."""
    stem = f"tables/{each.name}-{_stem(title)}"
    rows = [{head: story_manifest.plain(cell) for head, cell in row.items()} for row in rows]
    caption = f"{each.title}: {title}. {' against '.join(compared.facts.names)}."
    if rows and not options.light:
        parts[f"{stem}.csv"] = tables.as_csv(rows).encode()
        parts[f"{stem}.tex"] = compilable(tables.as_latex(rows, escaped(caption), fit_cm=TEXT_CM)).encode()
    return Printed(title, caption, stem, rows, small=True)


def _stem(title: str) -> str:
    from xai.export import safe_stem

    return safe_stem(title)
