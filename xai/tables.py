"""Rows with a heading for every column, as aligned text, Markdown, CSV and LaTeX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Cell = str | int | float | None
Rows = Sequence[Mapping[str, Cell]]
DIGITS = {"MMAC": 1, "MB": 1, "training (min)": 1}
"""Decimals of a column in text, where not two."""


def as_text(rows: Rows) -> list[str]:
    """Rows as lines of aligned text, the headings first; numbers are aligned to the right."""
    if not rows:
        return []
    columns = [[head, *(_word(head, row[head]) for row in rows)] for head in rows[0]]
    widths = [max(map(len, column)) for column in columns]
    numeric = [all(not isinstance(row[head], str) for row in rows) for head in rows[0]]
    lines = zip(*columns, strict=True)
    return ["  ".join(map(_aligned, line, widths, numeric)).rstrip() for line in lines]


def _aligned(word: str, width: int, right: bool) -> str:
    return word.rjust(width) if right else word.ljust(width)


def _word(head: str, cell: Cell) -> str:
    if isinstance(cell, float):
        return f"{cell:.{DIGITS.get(head, 2)}f}"
    return "" if cell is None else str(cell)


def as_markdown(rows: Rows) -> list[str]:
    """Rows as a Markdown table."""
    if not rows:
        return []
    numeric = {head for head in rows[0] if all(not isinstance(row[head], str) for row in rows)}
    marks = ["---:" if head in numeric else "---" for head in rows[0]]
    lines = [list(rows[0]), marks, *([_word(*entry) for entry in row.items()] for row in rows)]
    return ["| " + " | ".join(line) + " |" for line in lines]


def as_csv(rows: Rows) -> str:
    """Rows as CSV; what is missing is empty."""
    import pandas as pd

    return pd.DataFrame(list(rows), dtype=object).to_csv(index=False)


def as_latex(rows: Rows, caption: str, wide: Sequence[str] = ()) -> str:
    """Rows as a LaTeX `longtable` with the rules of booktabs; `wide` columns are paragraphs of 5 cm.

    Every character that LaTeX would take for a command is escaped, but for those of `caption`, which is LaTeX.
    Needs the packages `longtable`, `booktabs` and `array`.
    """
    import pandas as pd

    words = [{head: _word(head, cell) for head, cell in row.items()} for row in rows]
    style = pd.DataFrame(words).style.hide(axis="index").format(escape="latex")
    style = style.format_index(escape="latex", axis="columns")
    numeric = {head for head in (rows[0] if rows else ()) if all(not isinstance(r[head], str) for r in rows)}
    kinds = [
        "p{5cm}" if head in wide else "r" if head in numeric else "l" for head in (rows[0] if rows else ())
    ]
    layout: dict[str, Any] = {"hrules": True, "environment": "longtable", "column_format": "".join(kinds)}
    return style.to_latex(caption=caption, **layout)
