"""All tables and figures of stored answers in one folder: an index to read, and LaTeX for a paper.

Each board (images, arithmetic, seed) has a folder of its own, and in it one for each scale of severity. A table comes
as CSV and as LaTeX, a figure as PDF, SVG and PNG, and each folder says in `manifest.json` which answers it rests on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data.datasets import Progress
from models.files import write_bytes, write_text
from xai import figures, report_index, result_manifest, tables
from xai.export import safe_stem
from xai.figure_parts import FORMATS
from xai.figure_robustness import FIGURES
from xai.report_errors import ERRORS
from xai.report_index import Drawn, Printed, Section
from xai.results import Board
from xai.robustness_board import Table, conditions, damaged, scales
from xai.robustness_tables import TABLES
from xai.tables import Rows

WHAT = "tables and figures"
INDEX, LATEX, MANIFEST = "index.html", "report.tex", "manifest.json"
FIRST = ("alexnet-", "resnet18_cifar-", "resnet18-")
"""How the names of the networks begin that are A and B unless others are named."""


@dataclass(frozen=True)
class Part:
    """What one folder of the report is about: a board, a scale of severity, and networks, of which two are A and B."""

    board: Board
    scale: str
    models: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Where it is written, below the report's folder."""
        setting = self.board.setting
        images = f"{setting.dataset}-{setting.split}-{setting.limit or 'all'}"
        more = [] if setting.precision == "fp32" else [setting.precision]
        more += [f"seed{setting.seed}"] if setting.seed else []
        return Path(safe_stem("-".join([images, *more, setting.data_sha256[:6]]))) / (self.scale or "clean")

    @property
    def title(self) -> str:
        """The images and the scale in words."""
        return f"{self.board.setting.title}: {self.scale or 'clean images only'}"


def parts(boards: Sequence[Board], wanted: Sequence[str] = ()) -> list[Part]:
    """A part for each board and each of its scales, with the networks `wanted` (default: all that were asked there).

    Raises `ValueError` when no board has a network that is wanted.
    """
    known = {model for board in boards for model in board.models}
    if missing := [name for name in wanted if name not in known]:
        raise ValueError(
            f"no answers of {missing[0]} are stored; stored are those of {', '.join(sorted(known))}."
        )
    found = []
    for board in boards:
        models = tuple(name for name in wanted or ordered(board.models) if name in board.models)
        found += [Part(board, scale, models) for scale in scales(board) or ("",) if models]
    return found


def ordered(models: Sequence[str]) -> list[str]:
    """The networks with those first that are compared unless told otherwise."""
    liked = [next((name for name in models if name.startswith(start)), "") for start in FIRST]
    return [name for name in dict.fromkeys([*liked, *models]) if name]


def write(
    found: Sequence[Part], out: Path, notes: Sequence[str] = (), progress: Progress | None = None
) -> list[Path]:
    """Write the report; returns the index and the LaTeX file. Files of an earlier report are replaced.

    `notes` are sentences on what was left out of the stored answers; they stand in the index.
    """
    total = len(found) * (len(TABLES) + len(ERRORS) + len(FIGURES))
    tell = _Teller(total, progress)
    sections = [_section(part, out, tell) for part in found]
    index, latex = out / INDEX, out / LATEX
    write_text(index, report_index.html(sections, notes))
    write_text(latex, report_index.latex(sections))
    return [index, latex]


def problems(found: Sequence[Part]) -> list[str]:
    """A sentence for each stored file of the parts that can't be read, each once."""
    return list(dict.fromkeys(words for part in found for words in damaged(part.board, _cells(part))))


def _cells(part: Part) -> tuple[result_manifest.Asked, ...]:
    return result_manifest.every(part.models, conditions(part.board, part.models, part.scale))


class _Teller:
    """Counts what was made."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.done, self.total, self.progress = 0, total, progress

    def __call__(self, what: str) -> None:
        self.done += 1
        if self.progress:
            self.progress(self.done, self.total, what)


def _section(part: Part, out: Path, tell: _Teller) -> Section:
    """Write the files of one part."""
    cells = _cells(part)
    choices = {"scale": part.scale, "networks": list(part.models)}
    write_bytes(out / part.folder / MANIFEST, result_manifest.manifest(part.board, cells, choices))
    return Section(
        part.title,
        part.folder.as_posix(),
        part.models,
        tuple(_figures(part, out, tell)),
        tuple(_tables(part, out, tell)),
        tuple(damaged(part.board, cells)),
    )


def _tables(part: Part, out: Path, tell: _Teller) -> Iterator[Printed]:
    """Write every table that the board has something for."""
    every: Mapping[str, Table] = {**TABLES, **ERRORS}
    for name, table in every.items():
        rows = table.make(part.board, part.models, part.scale)
        tell(WHAT)
        if rows:
            stem = part.folder / safe_stem(name)
            write_text(out / f"{stem}.csv", tables.as_csv(rows))
            write_text(out / f"{stem}.tex", report_index.compilable(_latex(part, table, rows)))
            yield Printed(name, table.caption, stem.as_posix(), rows)


def _latex(part: Part, table: Table, rows: Rows) -> str:
    return tables.as_latex(rows, f"{table.caption} {report_index.escaped(part.title)}.", table.wide)


def _figures(part: Part, out: Path, tell: _Teller) -> Iterator[Drawn]:
    """Write every figure that the board has something for."""
    for name, make in FIGURES.items():
        figure = make(part.board, part.models, part.scale)
        tell(WHAT)
        if figure is not None:
            stem = part.folder / f"figure-{safe_stem(name)}"
            _write_figure(figure, out / stem)
            yield Drawn(name, stem.as_posix(), tuple(map(float, figure.get_size_inches())))


def _write_figure(figure: figures.Figure, stem: Path) -> None:
    for file_format in FORMATS:
        write_bytes(stem.parent / f"{stem.name}.{file_format}", figures.render(figure, file_format))
