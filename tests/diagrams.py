"""The two pictures of the README's "How it is built": `python -m tests.diagrams` writes `docs/modules.svg` and
`docs/flows.svg` from the descriptions here; `tests/test_diagrams.py` holds both to the source."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[1]
WIDTH = 960
INK, GREY, LINE = "#1a1a1a", "#555555", "#00588f"
FONT = "font-family='Helvetica, Arial, sans-serif'"


@dataclass(frozen=True)
class Part:
    """A box of the picture of modules: files by pattern, what they do in lines, where the box is, in pixels, and the
    boxes whose modules its own import, as drawn."""

    title: str
    files: tuple[str, ...]
    lines: tuple[str, ...]
    box: tuple[int, int, int, int]
    fill: str
    uses: tuple[str, ...] = ()


SCREEN, SCIENCE, GROUND = "#e3f0f9", "#fdf3de", "#e6f3e6"
PARTS = {
    "app": Part(
        "app.py",
        ("app.py",),
        ("table of pages, one navigation",),
        (20, 16, 250, 54),
        SCREEN,
        ("ui",),
    ),
    "ui": Part(
        "xai/ui",
        ("xai/ui/*.py", "xai/ui/pages/*.py"),
        ("everything Streamlit: pages, widgets, links, caches, jobs",),
        (20, 104, 450, 54),
        SCREEN,
        ("compare", "embedding"),
    ),
    "commands": Part(
        "xai/cli.py, xai/commands",
        ("xai/cli.py", "xai/commands/*.py"),
        ("python -m xai, one module per command",),
        (490, 104, 450, 54),
        SCREEN,
        ("channels", "sweeps"),
    ),
    "compare": Part(
        "xai/compare",
        ("xai/compare/*.py",),
        ("two networks: one module", "and more per question,", "intervals, tests, report"),
        (20, 206, 215, 92),
        SCIENCE,
        ("explain",),
    ),
    "embedding": Part(
        "embedding, projection",
        ("xai/embedding*.py", "xai/projection*.py", "xai/neighbours.py", "xai/alignment.py"),
        ("features of a layer; PCA,", "t-SNE, UMAP; what is", "measured of the maps"),
        (255, 206, 215, 92),
        SCIENCE,
        ("explain",),
    ),
    "channels": Part(
        "features, channels, pictures",
        ("xai/feature_*.py", "xai/channel_*.py", "xai/visualization_*.py", "xai/inversion.py", "xai/cka.py"),
        ("what channels answer,", "pictures made for them,", "counterparts, CKA"),
        (490, 206, 215, 92),
        SCIENCE,
        ("figures",),
    ),
    "sweeps": Part(
        "sweeps, results, reports",
        ("xai/evaluation*.py", "xai/results.py", "xai/robustness*.py", "xai/error_*.py", "xai/report*.py"),
        ("answers stored cell by cell;", "metrics, statistics, tables", "and reports from them"),
        (725, 206, 215, 92),
        SCIENCE,
        ("figures",),
    ),
    "explain": Part(
        "attribution, cam, perturbation, hooks, comparison",
        ("xai/attribution*.py", "xai/cam.py", "xai/perturbation.py", "xai/hooks.py", "xai/comparison.py"),
        (
            "one signature for every method, raw signed maps,",
            "networks frozen and locked, hooks that clean up",
        ),
        (20, 340, 450, 74),
        SCIENCE,
        ("models",),
    ),
    "figures": Part(
        "figures, figure_*, export, tables",
        ("xai/figures.py", "xai/figure_*.py", "xai/export.py", "xai/tables.py"),
        (
            "the only place that draws and colours; PDF, SVG, PNG,",
            "LaTeX, and manifests that make a figure again",
        ),
        (490, 340, 450, 74),
        SCIENCE,
        ("data",),
    ),
    "models": Part(
        "models",
        ("models/*.py",),
        ("architectures and their registry, checkpoints,", "cards, training; knows neither data nor xai"),
        (20, 456, 450, 74),
        GROUND,
    ),
    "data": Part(
        "data",
        ("data/*.py",),
        (
            "pictures taken in, datasets, degradations, remedies,",
            "shipped answers; knows neither models nor xai",
        ),
        (490, 456, 450, 74),
        GROUND,
    ),
}


@dataclass(frozen=True)
class Step:
    """A box of a flow: its title, the module that does it, the name there, and what goes in or comes out."""

    title: str
    module: str
    name: str
    note: str = ""


@dataclass(frozen=True)
class Flow:
    """One row of the picture of flows, and what comes out at its end."""

    title: str
    steps: tuple[Step, ...]
    ends: tuple[str, ...] = field(default=())


FLOWS = (
    Flow(
        "From a picture to a heatmap",
        (
            Step("take it in", "data.images", "read_image", "limits, orientation"),
            Step("degrade it", "data.degradations", "degrade", "seeded by image"),
            Step("explain it", "xai.attribution", "explain", "under the lock"),
            Step("set side by side", "xai.comparison", "compare", "raw maps, A and B"),
            Step("draw it", "xai.figures", "comparison_figure", "scales, colours"),
        ),
        ("the page: the same figure", "PDF, SVG, PNG, raw maps", "manifest → reproduce"),
    ),
    Flow(
        "From a dataset to a report",
        (
            Step("open a split", "data.datasets", "load_dataset", "images and labels"),
            Step("degrade a batch", "xai.evaluation", "degraded_batch", "once for all networks"),
            Step("ask networks", "xai.evaluation", "shares", "one pass each"),
            Step("store a cell", "xai.evaluation_store", "save", "Parquet, resumable"),
            Step("read boards", "xai.result_folders", "open_results", "what is comparable"),
        ),
        ("pages: only read", "metrics, intervals, tests", "tables, figures, LaTeX"),
    ),
)


def text(x: float, y: float, words: str, size: int = 13, colour: str = INK, **more: str) -> str:
    """One line of text; `more` are further attributes."""
    added = "".join(f" {name.replace('_', '-')}='{value}'" for name, value in more.items())
    return f"<text x='{x:g}' y='{y:g}' font-size='{size}' fill='{colour}'{added}>{escape(words)}</text>"


def rectangle(box: Sequence[float], fill: str) -> str:
    """A box `(x, y, width, height)` with round corners."""
    x, y, width, height = box
    size = f"width='{width:g}' height='{height:g}'"
    return f"<rect x='{x:g}' y='{y:g}' {size} rx='6' fill='{fill}' stroke='{LINE}' stroke-width='1'/>"


def arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    """A line with a head at its end."""
    (x1, y1), (x2, y2) = start, end
    ends = f"x1='{x1:g}' y1='{y1:g}' x2='{x2:g}' y2='{y2:g}'"
    return f"<line {ends} stroke='{GREY}' stroke-width='1.5' marker-end='url(#head)'/>"


def drawing(height: int, title: str, parts: Iterator[str]) -> str:
    """A whole SVG file on white, which dark pages need."""
    head = (
        "<marker id='head' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' markerHeight='7' orient='auto'>"
        f"<path d='M0 0L8 4L0 8z' fill='{GREY}'/></marker>"
    )
    size = f"width='{WIDTH}' height='{height}'"
    lines = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' {size} {FONT}>",
        f"<title>{escape(title)}</title><defs>{head}</defs>",
        f"<rect width='{WIDTH}' height='{height}' fill='#ffffff'/>",
        *parts,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _part(part: Part) -> Iterator[str]:
    x, y, _, _ = part.box
    yield rectangle(part.box, part.fill)
    yield text(x + 12, y + 22, part.title, 14, font_weight="bold")
    for row, words in enumerate(part.lines):
        yield text(x + 12, y + 42 + 18 * row, words)


def _joined(start: Part, end: Part) -> str:
    """An arrow from the lower edge of a box to the upper edge of another, straight down where they overlap."""
    x, y, width, height = start.box
    left, top, wide, _ = end.box
    low, high = max(x, left), min(x + width, left + wide)
    where = (low + high) / 2 if low < high else x + width / 2
    return arrow((where, y + height), (min(max(where, left + 12), left + wide - 12), top - 1))


def modules() -> str:
    """The picture of modules."""

    def parts() -> Iterator[str]:
        for part in PARTS.values():
            yield from _part(part)
        for part in PARTS.values():
            yield from (_joined(part, PARTS[name]) for name in part.uses)
        yield text(292, 38, "An arrow points to what is imported; all point down.", 12, GREY)
        yield text(292, 56, "These are the main ones; none runs against them.", 12, GREY)

    return drawing(546, "Modules of the XAI workbench", parts())


BOX, GAP, LEFT, TALL = 138, 18, 20, 88


def _step(step: Step, x: float, y: float) -> Iterator[str]:
    yield rectangle((x, y, BOX, TALL), SCIENCE if step.module.startswith("xai") else GROUND)
    yield text(x + 9, y + 21, step.title, 14, font_weight="bold")
    yield text(x + 9, y + 41, step.module, 11, LINE)
    yield text(x + 9, y + 57, step.name, 11, LINE)
    yield text(x + 9, y + 76, step.note, 12, GREY)


def _flow(flow: Flow, top: float) -> Iterator[str]:
    yield text(LEFT, top, flow.title, 15, font_weight="bold")
    for row, step in enumerate(flow.steps):
        x = LEFT + row * (BOX + GAP)
        yield from _step(step, x, top + 14)
        yield arrow((x + BOX, top + 14 + TALL / 2), (x + BOX + GAP - 1, top + 14 + TALL / 2))
    for row, words in enumerate(flow.ends):
        yield text(LEFT + len(flow.steps) * (BOX + GAP) + 4, top + 38 + 22 * row, words, 12)


def flows() -> str:
    """The picture of the two flows."""
    parts = (line for row, flow in enumerate(FLOWS) for line in _flow(flow, 30 + 140 * row))
    return drawing(290, "Two flows of data", parts)


PICTURES = {"modules.svg": modules, "flows.svg": flows}


def main() -> int:
    """Write both pictures and print their paths."""
    for name, draw in PICTURES.items():
        path = ROOT / "docs" / name
        path.write_text(draw(), encoding="utf-8")
        print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
