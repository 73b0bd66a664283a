"""Figures: a `Comparison` becomes one matplotlib `Figure`, the same on the page and in the exported file.

Everything is placed in inches, so that a figure has exactly the width of a paper's column and nothing moves when
a number changes. Colour and clipping happen here only, and every colour bar says what it shows.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from xai.attribution import INPUT_LAYERS, METHODS, Heatmap
from xai.comparison import Agreement, Comparison, ModelResult, difference_between

WIDTHS = {"two-column": 7.0, "one-column": 3.35}
"""Width in inches of a figure over two columns and over one, as most journals have them."""
SEQUENTIAL = ("viridis", "cividis", "magma", "inferno", "jet")
DIVERGING = ("PuOr_r", "RdBu_r", "BrBG_r")
FORMATS = ("pdf", "svg", "png")
CLIP_SHARE, CLIP_CELLS = 0.995, 1024
"""Maps of more than `CLIP_CELLS` cells are drawn up to this quantile of their strength; the colour bar says so."""
CLEAN_COLOUR, DEGRADED_COLOUR = "#0072b2", "#e69f00"

_RC: dict[Any, Any] = {
    "font.size": 7,
    "font.family": "DejaVu Sans",
    "axes.linewidth": 0.5,
    "axes.titlesize": 7,
    "axes.titlepad": 3,
    "xtick.labelsize": 6,
    "ytick.labelsize": 6,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "xtick.major.size": 2,
    "ytick.major.size": 2,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "xai",
}


@dataclass(frozen=True)
class Style:
    """How a figure looks; nothing here changes a number.

    `opacity` in [0, 1] is that of the map over the picture, `colours` a sequential colour map for evidence and
    `diverging` one for signed maps and differences.
    """

    width: str = "two-column"
    opacity: float = 0.55
    colours: str = "viridis"
    diverging: str = "PuOr_r"
    show_mask: bool = True

    def __post_init__(self) -> None:
        for value, allowed in ((self.width, WIDTHS), (self.colours, SEQUENTIAL), (self.diverging, DIVERGING)):
            if value not in allowed:
                raise ValueError(f"{value!r} was given; allowed are {', '.join(allowed)}.")
        if not 0 <= self.opacity <= 1:
            raise ValueError(f"the opacity is {self.opacity}; allowed is 0 to 1.")


class _Sheet:
    """A figure on which things are placed in inches from the top left corner."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height))
        FigureCanvasAgg(self.figure)

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        bottom = 1 - (y + height) / self.height
        return self.figure.add_axes((x / self.width, bottom, width / self.width, height / self.height))

    def text(self, x: float, y: float, words: str, **style: Any) -> None:
        self.figure.text(x / self.width, 1 - y / self.height, words, **{"va": "top", "ha": "left", **style})


def _pixels(image: Tensor) -> np.ndarray:
    """`(1, 3, H, W)` in [0, 1] -> `(H, W, 3)`."""
    return image[0].permute(1, 2, 0).cpu().numpy()


def _bare(axes: Axes) -> Axes:
    axes.xaxis.set_visible(False)  # cheaper than empty tick lists, which make and drop tick objects
    axes.yaxis.set_visible(False)
    return axes


def _show_image(axes: Axes, image: Tensor) -> None:
    small = image.shape[-1] < 128
    _bare(axes).imshow(_pixels(image), interpolation="nearest" if small else "antialiased", vmin=0, vmax=1)


def _outline(axes: Axes, mask: Tensor | None, size: int) -> None:
    if mask is not None and tuple(mask.shape) == (size, size):
        axes.contour(mask.numpy(), levels=[0.5], colors="white", linewidths=0.7)


def _signed(method: str) -> bool:
    return METHODS[method].signed


def _signed_overlay(method: str) -> bool:
    """Class activation maps are laid over the picture as positive evidence, maps of pixels with their sign."""
    return METHODS[method].signed and not METHODS[method].layered


def _peak(maps: dict[str, Heatmap]) -> float:
    """The common scale of the clean and the degraded map: the largest absolute value of either, for maps of
    pixels that of all but the strongest 0.5 % (their few outliers would leave nothing else to see)."""
    strength = [heatmap.values.abs().flatten() for heatmap in maps.values()]
    return max(float(values.quantile(_share(values))) for values in strength) or 1.0


def _share(values: Tensor) -> float:
    return CLIP_SHARE if values.numel() > CLIP_CELLS else 1.0


def _evidence_words(maps: dict[str, Heatmap], method: str) -> str:
    if _share(maps["clean"].values) < 1:
        return f"evidence, clipped at p{100 * CLIP_SHARE:g}"
    return "evidence (signed)" if _signed(method) else "positive evidence"


def _overlay_peak(maps: dict[str, Heatmap], method: str) -> float:
    """The common scale of the overlays: of positive values only, where only those are shown."""
    if _signed_overlay(method):
        return _peak(maps)
    strength = [heatmap.values.clamp_min(0).flatten() for heatmap in maps.values()]
    return max(float(values.quantile(_share(values))) for values in strength) or 1.0


def _coloured(values: Tensor, peak: float, style: Style, *, signed: bool) -> np.ndarray:
    """Colours `(h, w, 3)` of a map; without sign, negative values count as no evidence."""
    if signed:
        return matplotlib.colormaps[style.diverging]((values.numpy() / peak + 1) / 2)[..., :3]
    return matplotlib.colormaps[style.colours](values.clamp_min(0).numpy() / peak)[..., :3]


def overlay(image: Tensor, heatmap: Heatmap, peak: float, style: Style) -> np.ndarray:
    """The map, bilinearly brought to the picture's size, over the picture: `(H, W, 3)` in [0, 1]."""
    size = image.shape[-2:]
    values = F.interpolate(heatmap.values[:1, None], size=size, mode="bilinear", align_corners=False)[0, 0]
    signed = _signed_overlay(heatmap.method)
    strength = (values.abs() / peak).clamp_max(1).sqrt().numpy()[..., None] if signed else 1.0
    opacity = (
        style.opacity * strength
    )  # the middle of a diverging map is white and would only veil the picture
    return (1 - opacity) * _pixels(image) + opacity * _coloured(values, peak, style, signed=signed)


def _show_overlay(axes: Axes, image: Tensor, heatmap: Heatmap, peak: float, style: Style) -> None:
    if bool(heatmap.no_evidence[0]):
        _show_image(axes, image)
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5}
        place: dict[str, Any] = {"transform": axes.transAxes, "ha": "center", "va": "center", "bbox": box}
        axes.text(0.5, 0.5, "no positive\nevidence", fontsize=6, **place)
        return
    small = image.shape[-1] < 128
    pixels = overlay(image, heatmap, peak, style)
    _bare(axes).imshow(pixels, interpolation="nearest" if small else "antialiased")


def _show_map(axes: Axes, values: Tensor, colours: str, low: float, high: float) -> Any:
    return _bare(axes).imshow(values.numpy(), cmap=colours, vmin=low, vmax=high, interpolation="nearest")


def _bar(sheet: _Sheet, drawn: Any, box: tuple[float, float, float, float], words: str) -> None:
    bar = sheet.figure.colorbar(drawn, cax=sheet.axes(*box))
    bar.set_label(words, fontsize=5.5, labelpad=2)
    bar.ax.tick_params(labelsize=5.5, pad=1)
    bar.ax.locator_params(nbins=4)
    bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:.2g}".replace("-", "−"))
    bar.outline.set_linewidth(0.4)  # type: ignore[operator]


def _top_classes(axes: Axes, result: ModelResult, title: str, *, degraded: bool, names: int) -> None:
    rows = result.top(5)
    place = np.arange(len(rows))
    height = 0.38 if degraded else 0.6
    axes.barh(
        place - (height / 2 if degraded else 0),
        [r[1] for r in rows],
        height,
        color=CLEAN_COLOUR,
        label="clean",
    )
    if degraded:
        axes.barh(
            place + height / 2,
            [r[2] for r in rows],
            height,
            color=DEGRADED_COLOUR,
            label="degraded",
            hatch="////",
        )
        axes.legend(fontsize=5.5, frameon=False, loc="lower right", handlelength=1.2, borderpad=0)
    axes.set_yticks(place, [_short(row[0], names) for row in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.5, 1])
    axes.set_xlabel("probability", labelpad=1, fontsize=6)
    axes.set_title(title, loc="right")
    axes.spines[["top", "right"]].set_visible(False)


def _short(words: str, length: int) -> str:
    return words if len(words) <= length else words[: length - 1] + "…"


def _wrapped(words: str, length: int) -> str:
    return "\n".join(textwrap.wrap(words, length))


def _letters(comparison: Comparison) -> list[tuple[str, ModelResult]]:
    return list(zip("AB", comparison.results, strict=False))


def _tap_words(result: ModelResult, method: str) -> str:
    heatmap = result.heatmaps[method]["clean"]
    height, width = heatmap.tap.grid
    where = (
        ["pixels"]
        if heatmap.tap.layers == INPUT_LAYERS
        else [", ".join(heatmap.tap.layers), heatmap.tap.position]
    )
    words = "\n".join(_wrapped(line, 19) for line in where)
    return f"{words}\n{height}×{width} grid\nfor {_short(result.classes[result.target], 18)}"


def _agreement_words(row: Agreement) -> str:
    numbers = [("rank correlation", row.spearman, "{:.2f}"), ("top-20% overlap", row.top_overlap, "{:.2f}")]
    lines = [
        f"{label} {form.format(value) if math.isfinite(value) else 'n/a'}" for label, value, form in numbers
    ]
    shift = f"{100 * row.centre_shift:.0f} % of width" if math.isfinite(row.centre_shift) else "n/a"
    return "\n".join([row.between, f"({row.grid[0]}×{row.grid[1]} grid)", *lines, f"centre shift {shift}"])


def _find(comparison: Comparison, method: str, between: str) -> Agreement | None:
    rows = comparison.agreements
    return next((row for row in rows if row.method == method and row.between.startswith(between)), None)


class _Wide:
    """The two-column layout: a row per model, overlays beside raw maps, clean beside degraded."""

    left, cell, gap, bar, bar_label = 0.98, 0.94, 0.06, 0.07, 0.45
    header, block_title, row_gap, footer = 1.55, 0.36, 0.1, 0.1

    def __init__(self, comparison: Comparison, style: Style) -> None:
        self.comparison, self.style = comparison, style
        self.letters = _letters(comparison)
        rows = len(self.letters) + (len(self.letters) == 2)
        self.block = self.block_title + rows * (self.cell + self.row_gap) + 0.1
        words = _caption(comparison)
        self.caption = _wrapped(words, 150)
        self.caption_height = 0.115 * (self.caption.count("\n") + 1) + 0.08
        height = (
            self.header + len(comparison.request.methods) * self.block + self.caption_height + self.footer
        )
        self.sheet = _Sheet(WIDTHS["two-column"], height)

    def draw(self) -> Figure:
        self._draw_header()
        y = self.header
        for method in self.comparison.request.methods:
            self._draw_block(method, y)
            y += self.block
        self.sheet.text(0.05, y + 0.02, self.caption, fontsize=6, color="#333333", linespacing=1.15)
        return self.sheet.figure

    def _draw_header(self) -> None:
        view = self.comparison.view(self.comparison.results[0])
        conditions = ("clean", "degraded") if self.comparison.degraded else ("clean",)
        x = 0.08
        for condition in conditions:
            axes = self.sheet.axes(x, 0.2, 1.1, 1.1)
            _show_image(axes, view.image(condition))
            if self.style.show_mask:
                _outline(axes, self.comparison.picture.mask, view.size)
            axes.set_title(condition)
            x += 1.18
        x = 2.45
        for letter, result in self.letters:
            axes = self.sheet.axes(x + 1.0, 0.2, 1.15, 1.0)
            title = f"{letter}: {_short(result.model, 34)}"
            _top_classes(axes, result, title, degraded=self.comparison.degraded, names=20)
            x += 2.3

    def _x(self, column: int) -> float:
        after_first_bar = self.bar + self.bar_label if column == 4 else 0
        return self.left + column * (self.cell + self.gap) + after_first_bar

    def _axes(self, column: int, y: float) -> Axes:
        return self.sheet.axes(self._x(column), y, self.cell, self.cell)

    def _draw_block(self, method: str, y: float) -> None:
        self.sheet.text(0.05, y, METHODS[method].title, fontsize=8, fontweight="bold")
        titles = ["clean", "clean, raw map", "degraded", "degraded, raw map", "clean − degraded"]
        if not self.comparison.degraded:
            titles = titles[:2]
        for column, title in enumerate(titles):
            x = self._x(column) + self.cell / 2
            self.sheet.text(x, y + self.block_title - 0.14, title, ha="center")
        y += self.block_title
        for letter, result in self.letters:
            self._draw_model(letter, result, method, y)
            y += self.cell + self.row_gap
        if len(self.letters) == 2:
            self._draw_difference(method, y)

    def _draw_model(self, letter: str, result: ModelResult, method: str, y: float) -> None:
        self.sheet.text(0.05, y + 0.02, letter, fontsize=9, fontweight="bold")
        words = f"{_wrapped(result.model, 18)}\n{_tap_words(result, method)}"
        self.sheet.text(0.2, y + 0.03, words, fontsize=5.5, linespacing=1.2)
        maps, view = result.heatmaps[method], self.comparison.view(result)
        peak, top, signed = _peak(maps), _overlay_peak(maps, method), _signed(method)
        colours, low = (self.style.diverging, -peak) if signed else (self.style.colours, 0.0)
        for index, condition in enumerate(("clean", "degraded") if self.comparison.degraded else ("clean",)):
            _show_overlay(self._axes(2 * index, y), view.image(condition), maps[condition], top, self.style)
            drawn = _show_map(self._axes(2 * index + 1, y), maps[condition].values[0], colours, low, peak)
        last = 3 if self.comparison.degraded else 1
        words = _evidence_words(maps, method)
        _bar(self.sheet, drawn, (self._x(last) + self.cell + 0.04, y, self.bar, self.cell), words)
        if self.comparison.degraded:
            change = maps["clean"].values[0] - maps["degraded"].values[0]
            drawn = _show_map(self._axes(4, y), change, self.style.diverging, -peak, peak)
            _bar(self.sheet, drawn, (self._x(4) + self.cell + 0.04, y, self.bar, self.cell), "difference")

    def _draw_difference(self, method: str, y: float) -> None:
        (_, a), (_, b) = self.letters
        self.sheet.text(0.05, y + 0.02, "A − B", fontsize=8, fontweight="bold")
        words = "each map divided by\nits largest clean value,\non a common grid"
        self.sheet.text(0.05, y + 0.2, words, fontsize=5.5, linespacing=1.2)
        conditions = ("clean", "degraded") if self.comparison.degraded else ("clean",)
        maps = [
            difference_between(a.heatmaps[method], b.heatmaps[method], condition) for condition in conditions
        ]
        peak = max(float(values.abs().max()) for values in maps) or 1.0
        for index, (condition, values) in enumerate(zip(conditions, maps, strict=True)):
            drawn = _show_map(self._axes(2 * index + 1, y), values, self.style.diverging, -peak, peak)
            row = _find(self.comparison, method, f"A and B: {condition}")
            if row:
                self.sheet.text(
                    self._x(2 * index), y + 0.03, _agreement_words(row), fontsize=5.5, linespacing=1.3
                )
        last = 3 if self.comparison.degraded else 1
        _bar(
            self.sheet, drawn, (self._x(last) + self.cell + 0.04, y, self.bar, self.cell), "A − B (relative)"
        )
        found = [_find(self.comparison, method, f"{letter}: clean") for letter in "AB"]
        for index, row in enumerate(row for row in found if row):
            place = y + 0.03 + 0.48 * index
            self.sheet.text(self._x(4), place, _agreement_words(row), fontsize=5, linespacing=1.15)


class _Narrow:
    """The one-column layout: overlays and differences, three to a row."""

    left, cell, gap = 0.22, 0.94, 0.08

    def __init__(self, comparison: Comparison, style: Style) -> None:
        self.comparison, self.style = comparison, style
        self.letters = _letters(comparison)
        self.caption = _wrapped(_caption(comparison), 78)
        self.caption_height = 0.11 * (self.caption.count("\n") + 1) + 0.1
        rows = len(self.letters) + (len(self.letters) == 2)
        self.block = 0.34 + rows * (self.cell + 0.3)
        height = 1.25 + len(comparison.request.methods) * self.block + self.caption_height
        self.sheet = _Sheet(WIDTHS["one-column"], height)

    def _axes(self, column: int, y: float) -> Axes:
        return self.sheet.axes(self.left + column * (self.cell + self.gap), y, self.cell, self.cell)

    def draw(self) -> Figure:
        self._draw_header()
        y = 1.25
        for method in self.comparison.request.methods:
            self.sheet.text(0.05, y, METHODS[method].title, fontsize=8, fontweight="bold")
            self._draw_block(method, y + 0.34)
            y += self.block
        self.sheet.text(0.05, y, self.caption, fontsize=5.5, color="#333333", linespacing=1.15)
        return self.sheet.figure

    def _draw_header(self) -> None:
        view = self.comparison.view(self.comparison.results[0])
        conditions = ("clean", "degraded") if self.comparison.degraded else ("clean",)
        for column, condition in enumerate(conditions):
            axes = self._axes(column, 0.18)
            _show_image(axes, view.image(condition))
            axes.set_title(condition)
        words = "\n".join(self._prediction(letter, result) for letter, result in self.letters)
        self.sheet.text(self.left + 2 * (self.cell + self.gap), 0.18, words, fontsize=5.5, linespacing=1.25)

    def _prediction(self, letter: str, result: ModelResult) -> str:
        lines = [f"{letter}: {_wrapped(result.model, 20)}"]
        for condition in ("clean", "degraded") if self.comparison.degraded else ("clean",):
            share = float(result.probabilities[condition].max())
            lines.append(f"{condition}: {_short(result.predicted(condition), 16)}")
            lines[-1] += f" {share:.2f}"
        return "\n".join(lines)

    def _draw_block(self, method: str, y: float) -> None:
        for letter, result in self.letters:
            self.sheet.text(0.05, y, letter, fontsize=8, fontweight="bold")
            self._draw_model(letter, result, method, y)
            y += self.cell + 0.3
        if len(self.letters) == 2:
            self._draw_difference(method, y)

    def _draw_model(self, letter: str, result: ModelResult, method: str, y: float) -> None:
        maps, view = result.heatmaps[method], self.comparison.view(result)
        peak, top = _peak(maps), _overlay_peak(maps, method)
        conditions = ("clean", "degraded") if self.comparison.degraded else ("clean",)
        for column, condition in enumerate(conditions):
            axes = self._axes(column, y)
            _show_overlay(axes, view.image(condition), maps[condition], top, self.style)
            axes.set_title(f"{letter}, {condition}")
        change = maps["clean"].values[0] - maps["degraded"].values[0]
        values, title = (
            (change, "clean − degraded") if self.comparison.degraded else (maps["clean"].values[0], "raw map")
        )
        axes = self._axes(2, y)
        drawn = _show_map(axes, values, self.style.diverging, -peak, peak)
        axes.set_title(title)
        self._bar_below(drawn, 2, y, "evidence")

    def _bar_below(self, drawn: Any, column: int, y: float, words: str) -> None:
        box = (self.left + column * (self.cell + self.gap), y + self.cell + 0.03, self.cell, 0.04)
        bar = self.sheet.figure.colorbar(drawn, cax=self.sheet.axes(*box), orientation="horizontal")
        low, high = drawn.get_clim()
        bar.set_ticks([low, 0, high], labels=[f"−{-low:.2g}", words, f"{high:.2g}"])
        for label, side in zip(bar.ax.get_xticklabels(), ("left", "center", "right"), strict=True):
            label.set_ha(side)
        bar.ax.tick_params(labelsize=5, pad=1, length=1)
        bar.outline.set_linewidth(0.4)  # type: ignore[operator]

    def _draw_difference(self, method: str, y: float) -> None:
        (_, a), (_, b) = self.letters
        conditions = ("clean", "degraded") if self.comparison.degraded else ("clean",)
        maps = [
            difference_between(a.heatmaps[method], b.heatmaps[method], condition) for condition in conditions
        ]
        peak = max(float(values.abs().max()) for values in maps) or 1.0
        for column, (condition, values) in enumerate(zip(conditions, maps, strict=True)):
            axes = self._axes(column, y)
            drawn = _show_map(axes, values, self.style.diverging, -peak, peak)
            axes.set_title(f"A − B, {condition}")
            self._bar_below(drawn, column, y, "relative")
        row = _find(self.comparison, method, f"A and B: {conditions[-1]}")
        if row:
            x = self.left + 2 * (self.cell + self.gap)
            self.sheet.text(x, y, _agreement_words(row), fontsize=5, linespacing=1.25)


def _caption(comparison: Comparison) -> str:
    """One paragraph with what is needed to read the figure: picture, resizing, degradation, targets, validity."""
    picture, view = comparison.picture, comparison.view(comparison.results[0])
    words = [f"{picture.name}: {view.resized}."]
    if picture.label:
        words.append(f"True class: {picture.label}.")
    if comparison.degraded:
        words.append(f"Degraded: {view.degradation}; PSNR {view.psnr:.1f} dB, SSIM {view.ssim:.2f}.")
    for letter, result in _letters(comparison):
        if result.gradcam_hirescam is not None:
            words.append(f"{letter}: Grad-CAM/HiResCAM agreement {result.gradcam_hirescam:.2f}.")
    if any(not _signed_overlay(method) for method in comparison.request.methods):
        words.append("Overlays of class activation maps show positive evidence only.")
    words.append("Clean and degraded maps of a model share one scale.")
    return " ".join(words)


def comparison_figure(comparison: Comparison, style: Style = Style()) -> Figure:
    """Draw a comparison in the style's column width."""
    with matplotlib.rc_context(_RC):
        layout = _Wide(comparison, style) if style.width == "two-column" else _Narrow(comparison, style)
        return layout.draw()


def render(figure: Figure, file_format: str, dpi: int = 300, *, quick: bool = False) -> bytes:
    """The figure as PDF or SVG (text stays text) or PNG; the same figure gives the same bytes.

    `quick` compresses a PNG less, for the screen. Raises `ValueError` for another format.
    """
    if file_format not in FORMATS:
        raise ValueError(f"the format {file_format!r} was given; allowed are {', '.join(FORMATS)}.")
    metadata: dict[str, Any] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}[file_format]
    options: dict[str, Any] = {"pil_kwargs": {"compress_level": 1}} if quick and file_format == "png" else {}
    buffer = io.BytesIO()
    with matplotlib.rc_context(_RC):
        figure.savefig(buffer, format=file_format, dpi=dpi, metadata=metadata, **options)
    return buffer.getvalue()


def curves_figure(
    curves: Sequence[tuple[str, Sequence[float], Sequence[float]]], labels: tuple[str, str]
) -> Figure:
    """Lines `(name, x, y)` with named axes, told apart by dash as well as colour."""
    with matplotlib.rc_context(_RC):
        sheet = _Sheet(WIDTHS["one-column"], 2.1)
        axes = sheet.axes(0.5, 0.15, 2.7, 1.5)
        for (name, x, y), dash in zip(curves, ("-", "--", ":", "-."), strict=False):
            axes.plot(x, y, dash, label=name, linewidth=1.2)
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        axes.legend(frameon=False, fontsize=6)
        axes.spines[["top", "right"]].set_visible(False)
        return sheet.figure
