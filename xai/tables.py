"""Rows with a heading for every column, as aligned text, Markdown, CSV and LaTeX."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

Cell = str | int | float | None
Row = dict[str, Cell]
"""A row of a table: its cells by column."""
Rows = Sequence[Mapping[str, Cell]]
DIGITS = {
    "MMAC": 1,
    "MB": 1,
    "training (min)": 1,
    "images/s": 1,
    "median (ms)": 1,
    "25 % (ms)": 1,
    "75 % (ms)": 1,
}
"""Decimals of a column in text, where not two."""
_LETTER_CM, _PAD_CM = 0.1, 0.22
"""Width of a letter in print of 5 pt, and the space around a column."""
T = TypeVar("T")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def printable(text: str) -> str:
    """The text without control and formatting characters: cards are anybody's, and a terminal obeys such characters."""
    return "".join(character for character in text if unicodedata.category(character)[0] != "C")


def p_value(value: float | None) -> str:
    """A p value as a table shows it: three decimals (four beside 0.05), `< 0.001` below that, empty for none."""
    if value is None:
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.{4 if abs(value - 0.05) < 0.0005 else 3}f}"


def decimals(value: float, digits: int = 2, *, signed: bool = False) -> str:
    """A number with so many decimals, `signed` with a plus; what they show as 0 has no sign."""
    text = f"{value:{'+' if signed else ''}.{digits}f}"
    return text.lstrip("+-") if float(text) == 0 else text


def as_text(rows: Rows) -> list[str]:
    """Rows as lines of aligned text, the headings first; numbers are aligned to the right."""
    if not rows:
        return []
    columns = list(zip(*_lines(rows), strict=True))
    widths, right = [max(map(len, column)) for column in columns], _numeric(rows)
    return ["  ".join(map(_aligned, line, widths, right.values())).rstrip() for line in _lines(rows)]


def _lines(rows: Rows) -> list[list[str]]:
    """The headings and the cells as words."""
    return [list(rows[0]), *([_word(*entry) for entry in row.items()] for row in rows)]


def _numeric(rows: Rows) -> dict[str, bool]:
    """For each heading, whether no row has a word there."""
    return {head: all(not isinstance(row[head], str) for row in rows) for head in rows[0]} if rows else {}


def _aligned(word: str, width: int, right: bool) -> str:
    return word.rjust(width) if right else word.ljust(width)


def _word(head: str, cell: Cell) -> str:
    if isinstance(cell, float):
        return decimals(cell, DIGITS.get(head, 2))
    return "" if cell is None else printable(str(cell))


def as_words(rows: Rows) -> list[dict[str, str]]:
    """The same rows with every cell as a word, empty where there is nothing."""
    return [{head: _word(head, cell) for head, cell in row.items()} for row in rows]


def as_markdown(rows: Rows, right: Collection[str] = ()) -> list[str]:
    """Rows as a Markdown table; columns of numbers, and those named in `right`, are aligned to the right."""
    if not rows:
        return []
    marks = ["---:" if head in right or numeric else "---" for head, numeric in _numeric(rows).items()]
    words = [[cell.replace("|", "\\|") for cell in line] for line in _lines(rows)]
    return ["| " + " | ".join(line) + " |" for line in (words[0], marks, *words[1:])]


def as_csv(rows: Rows) -> str:
    """Rows as CSV; what is missing is empty.

    Words that a spreadsheet would take for a formula (those that begin with `=`, `+`, `-` or `@`) have an apostrophe
    before them: names of classes, images and networks are anybody's.
    """
    import pandas as pd

    safe = [{_no_formula(head): _no_formula(cell) for head, cell in row.items()} for row in rows]
    return pd.DataFrame(safe, dtype=object).to_csv(index=False)


def _no_formula(cell: T) -> T | str:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def as_latex(rows: Rows, caption: str, wide: Collection[str] = (), fit_cm: float | None = None) -> str:
    """Rows as a LaTeX `longtable` with the rules of booktabs; `wide` columns are paragraphs of 5 cm.

    With `fit_cm` the table is about that wide at most in print of 5 pt: the widest columns become paragraphs. Every
    character that LaTeX would take for a command is escaped, but for those of `caption`, which is LaTeX. Needs the
    packages `longtable`, `booktabs` and `array`.
    """
    import pandas as pd

    style = pd.DataFrame(as_words(rows)).style.hide(axis="index").format(escape="latex")
    limits = _limits(rows, fit_cm) if fit_cm else {}
    kinds = "".join(
        _kind(head in wide, numeric, limits.get(head)) for head, numeric in _numeric(rows).items()
    )
    table: str = style.format_index(escape="latex", axis="columns").to_latex(
        caption=caption, hrules=True, environment="longtable", column_format=kinds or "l"
    )
    return re.sub(r"(?m)^([\[*])", r"{\1}", table)  # after the end of a row, these would be an option of it


def _widths(rows: Rows) -> dict[str, float]:
    """About how wide each column is in print of 5 pt, in cm, with the space around it."""
    columns = zip(*_lines(rows), strict=True)
    return {
        head: _PAD_CM + _LETTER_CM * max(map(len, words))
        for head, words in zip(rows[0], columns, strict=True)
    }


def _limits(rows: Rows, most: float) -> dict[str, float]:
    """Widths in cm of the columns that have to be narrower for a table of `most` cm: the widest, all alike."""
    widths = _widths(rows) if rows else {}
    left, limit = most, math.inf
    for count, width in zip(range(len(widths), 0, -1), sorted(widths.values()), strict=True):
        limit = left / count  # what each of the columns not yet placed may have
        if width > limit:
            return {head: limit - _PAD_CM for head, own in widths.items() if own > limit}
        left -= width
    return {}


def _kind(wide: bool, numeric: bool, limit: float | None = None) -> str:
    if limit is not None:
        return rf">{{\raggedright\arraybackslash}}p{{{max(limit, _LETTER_CM):.2f}cm}}"
    return "p{5cm}" if wide else "r" if numeric else "l"
