"""The two ways into a report: an HTML index to read, and a LaTeX file to compile."""

from __future__ import annotations

import html as markup
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from xai import tables
from xai.tables import Rows

SHOWN_ROWS = 40
"""Rows of a table that the index shows; the rest is in its CSV file."""
PRINTED_ROWS = 120
"""Rows up to which a table is part of the compiled LaTeX; longer ones stay files of their own."""
WIDE_COLUMNS = 9
"""Columns up to which a table has the usual size of print."""
TEXT_INCHES = 9.0
TEXT_CM = 26.0
SMALLEST = r"\tiny"

STYLE = """
:root {color-scheme: light dark; --line: #8886}
body {font: 15px/1.5 system-ui, sans-serif; max-width: 78rem; margin: 2rem auto; padding: 0 1rem}
h1 {font-size: 1.6rem} h2 {margin-top: 3rem; border-top: 2px solid var(--line); padding-top: 1rem}
img {max-width: 100%; background: white; padding: 6px; box-sizing: border-box}
.scroll {overflow-x: auto} table {border-collapse: collapse; font-size: 13px}
caption {text-align: left; padding: 4px 0} th, td {padding: 2px 10px 2px 0; border-bottom: 1px solid var(--line)}
th {text-align: left; position: sticky; top: 0} td.number {text-align: right; font-variant-numeric: tabular-nums}
"""
"""What pages of this kind look like, in the dark and in the light."""
_PREAMBLE = r"""\documentclass{article}
\usepackage[utf8]{inputenc}
\usepackage[T1]{fontenc}
\usepackage[landscape,a4paper,margin=1.5cm]{geometry}
\usepackage{array,booktabs,graphicx,longtable}
\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}
\setlength{\tabcolsep}{3pt}
\begin{document}
\title{TITLE}
\date{}
\maketitle
"""
_PLAIN = {
    "\u2212": "-",
    "\u2013": "--",
    "\u2014": "---",
    "\u201c": "``",
    "\u201d": "''",
    "\u2018": "`",
    "\u2019": "'",
    "\u2026": r"\ldots{}",
    "\u2020": r"\dag{}",
    "\u2264": r"$\leq$",
    "\u2265": r"$\geq$",
}
"""What LaTeX writes otherwise."""


@dataclass(frozen=True)
class Printed:
    """A table of the report: its name, its caption (LaTeX), its files without their endings, and its rows; `small`
    ones were made for the smallest print."""

    name: str
    caption: str
    stem: str
    rows: Rows
    small: bool = False


@dataclass(frozen=True)
class Drawn:
    """A figure of the report: its name, its files without their endings, and width and height in inches."""

    name: str
    stem: str
    size: tuple[float, ...]


@dataclass(frozen=True)
class Section:
    """One folder of the report, with `problems` in sentences."""

    title: str
    folder: str
    models: tuple[str, ...]
    figures: tuple[Drawn, ...]
    tables: tuple[Printed, ...]
    problems: tuple[str, ...] = ()


def html(sections: Sequence[Section], notes: Sequence[str] = ()) -> str:
    """The index as one page that needs nothing but the files beside it."""
    left_out = [f"<p>Left out: {markup.escape(note)}</p>" for note in notes]
    contents = [
        f'<li><a href="#{place}">{markup.escape(s.title)}</a></li>' for place, s in enumerate(sections)
    ]
    body = [line for place, section in enumerate(sections) for line in _html_section(place, section)]
    lines = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width"><title>Stored answers</title>',
        f"<style>{STYLE}</style></head><body><h1>Stored answers: tables and figures</h1>",
        "<p>The same as LaTeX: <a href='report.tex'>report.tex</a>.</p>",
        *left_out,
        f"<ul>{''.join(contents)}</ul>",
        *body,
        "</body></html>",
    ]
    return "\n".join(lines) + "\n"


def _html_section(place: int, section: Section) -> Iterator[str]:
    yield f'<h2 id="{place}">{markup.escape(section.title)}</h2>'
    named = "; ".join(f"{letter}: {name}" for letter, name in zip("AB", section.models, strict=False))
    more = ", ".join(section.models[2:])
    words = f"{named}{f'. Also {more}' if more else ''}."
    manifest = f"{section.folder}/manifest.json"
    yield f"<p>{markup.escape(words)} What it rests on: <a href='{manifest}'>{manifest}</a>.</p>"
    for problem in section.problems:
        yield f"<p>{markup.escape(problem)}</p>"
    for figure in section.figures:
        yield from _html_figure(figure)
    for table in section.tables:
        yield from html_table(table)


def _html_figure(figure: Drawn) -> Iterator[str]:
    name = markup.escape(upper_first(figure.name))
    yield f"<h3>{name}</h3>"
    yield f"<img src='{figure.stem}.svg' alt='Figure: {name}' loading='lazy' width='{96 * figure.size[0]:.0f}'>"
    yield f"<p>{links(figure.stem, ('pdf', 'svg', 'png'))}</p>"


def html_table(table: Printed, endings: Sequence[str] = ("csv", "tex")) -> Iterator[str]:
    """A table's first rows in HTML, and links to its files with those endings."""
    shown = tables.as_words(table.rows[:SHOWN_ROWS])
    caption = markup.escape(table.caption.replace("\\%", "%"))
    yield f"<h3>{markup.escape(upper_first(table.name))}</h3><div class='scroll'><table>"
    yield f"<caption>{caption}</caption><thead><tr>"
    yield "".join(f"<th scope='col'>{markup.escape(head)}</th>" for head in shown[0])
    yield "</tr></thead><tbody>"
    for row, words in zip(table.rows, shown, strict=False):
        yield f"<tr>{''.join(_html_cell(row[head], word) for head, word in words.items())}</tr>"
    yield "</tbody></table></div>"
    rest = f"The first {SHOWN_ROWS} of {len(table.rows):,} rows. " if len(table.rows) > SHOWN_ROWS else ""
    yield f"<p>{rest}{links(table.stem, endings)}</p>"


def _html_cell(value: tables.Cell, word: str) -> str:
    kind = "" if isinstance(value, str) or value is None else " class='number'"
    return f"<td{kind}>{markup.escape(word)}</td>"


def upper_first(words: str) -> str:
    """Words with a capital first letter; the others stay as they are, as in `Grad-CAM`."""
    return words[:1].upper() + words[1:]


def links(stem: str, endings: Sequence[str]) -> str:
    """Links to the files of a figure or table, by their endings."""
    return " · ".join(f"<a href='{stem}.{ending}'>{ending.upper()}</a>" for ending in endings)


def latex(sections: Sequence[Section]) -> str:
    """A LaTeX document of all figures and of the tables that fit a document; pdflatex compiles it beside its files."""
    body = [line for section in sections for line in _latex_section(section)]
    return compilable(
        "\n".join([preamble("Stored answers: tables and figures"), *body, r"\end{document}", ""])
    )


def preamble(title: str) -> str:
    """A document's first lines, up to its title (words, not LaTeX)."""
    return _PREAMBLE.replace("TITLE", escaped(title))


def _latex_section(section: Section) -> Iterator[str]:
    yield rf"\section{{{escaped(section.title)}}}"
    named = [f"{letter}: {name}" for letter, name in zip("AB", section.models, strict=False)]
    yield escaped("; ".join([*named, *section.models[2:]]) + ".")
    for figure in section.figures:
        yield latex_figure(figure.stem, figure.size[0], f"{upper_first(figure.name)}. {section.title}.")
    yield r"\clearpage"
    for table in section.tables:
        yield latex_table(table)
    yield r"\clearpage"


def latex_figure(stem: str, inches: float, caption: str) -> str:
    """A figure from its PDF, as wide as it was drawn where the page has room; the caption is words, not LaTeX."""
    width = min(1.0, inches / TEXT_INCHES)
    most = rf"width={width:.2f}\linewidth,height=0.8\textheight,keepaspectratio"
    return (
        rf"\begin{{figure}}[htbp]\centering\includegraphics[{most}]{{{stem}.pdf}}"
        rf"\caption{{{escaped(caption)}}}\end{{figure}}"
    )


def latex_table(table: Printed) -> str:
    """A table that fits a document, from its file, or a word on where the longer one is."""
    if len(table.rows) > PRINTED_ROWS:
        words = f"{upper_first(table.name)}: {len(table.rows):,} rows, in {table.stem}.csv and .tex."
        return rf"\par\noindent {escaped(words)}"
    size = SMALLEST if table.small or len(table.rows[0]) > WIDE_COLUMNS else r"\scriptsize"
    return rf"{{{size}\input{{{table.stem}.tex}}}}"


_COMMANDS: dict[str, str] = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def escaped(words: str) -> str:
    """Words with every character that LaTeX would take for a command written out."""
    return "".join(_COMMANDS.get(character, character) for character in words)


def compilable(text: str) -> str:
    """The text with what pdflatex's fonts lack written otherwise: a letter by its base, anything else by its number."""
    replace: Callable[[re.Match[str]], str] = lambda found: _substitute(found[0])  # noqa: E731
    return re.sub(r"[^\x00-\x7f]", replace, text)


def _substitute(character: str) -> str:
    if character in _PLAIN:
        return _PLAIN[character]
    if 0xA0 <= ord(character) <= 0xFF:  # T1 has Latin 1
        return character
    base = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    if base[:1] in ("[", "*"):  # after the end of a row, these would be an option of it
        return f"{{{base}}}"
    return escaped(base) or f"U+{ord(character):04X}"
