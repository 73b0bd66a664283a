"""Where things stand on a figure: the two-column and the one-column layout of a comparison."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.figure import Figure

from xai.attribution import INPUT_LAYERS, METHODS
from xai.comparison import Comparison, ModelResult
from xai.figure_parts import (
    CLIP_SHARE,
    POINT,
    WIDTHS,
    Panel,
    Sheet,
    Style,
    change_peak,
    change_words,
    colour_bar,
    colour_strip,
    common_peak,
    difference_peak,
    evidence_words,
    is_signed,
    outline,
    overlay_peak,
    short,
    show_image,
    show_map,
    show_overlay,
    signed_overlay,
    top_classes,
    wrapped,
)
from xai.map_agreement import Agreement, difference_between
from xai.view_words import view_sentences


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
    words = "\n".join(wrapped(line, 19) for line in where)
    return f"{words}\n{height}×{width} grid\nfor {short(result.classes[result.target], 18)}"


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


def _tap_sentence(result: ModelResult) -> str:
    """The layers, grids and class behind a model's maps, once for methods that share them."""
    taps = {maps["clean"].tap for maps in result.heatmaps.values()}
    places = [
        "pixels"
        if tap.layers == INPUT_LAYERS
        else f"{', '.join(tap.layers)} ({tap.position}, {tap.grid[0]}×{tap.grid[1]})"
        for tap in taps
    ]
    return f"maps for {result.classes[result.target]} at {'; '.join(sorted(places))}"


def _validity_words(value: float) -> str:
    return f"Grad-CAM/HiResCAM agreement {f'{value:.2f}' if math.isfinite(value) else 'not defined'}"


def _caption(comparison: Comparison, *, taps: bool = False) -> str:
    """One paragraph with what is needed to read the figure: picture, resizing, degradation, targets, validity."""
    picture, methods = comparison.picture, comparison.request.methods
    words = [f"{picture.name}.", *view_sentences(comparison)]
    if len(comparison.views) > 1:
        words.append("The picture is shown as A sees it.")
    if picture.label:
        words.append(f"True class: {picture.label}.")
    for letter, result in _letters(comparison):
        if taps:
            words.append(f"{letter}, {_tap_sentence(result)}.")
        if result.gradcam_hirescam is not None:
            words.append(f"{letter}: {_validity_words(result.gradcam_hirescam)}.")
    if any(not signed_overlay(method) for method in methods):
        words.append("Overlays of class activation maps show positive evidence only.")
    if any(not METHODS[method].layered for method in methods):
        words.append(
            f"p{100 * CLIP_SHARE:g}: maps of pixels are drawn up to that percentile of their strength."
        )
    words.append("Clean and degraded maps of a model share one scale.")
    return " ".join(words)


class Wide:
    """The two-column layout: a row per model, overlays beside raw maps, clean beside degraded."""

    left, cell, gap, bar, bar_label = 0.98, 0.94, 0.06, 0.07, 0.45
    header, block_title, row_gap, footer = 1.55, 0.36, 0.13, 0.1

    def __init__(self, comparison: Comparison, style: Style) -> None:
        self.comparison, self.style = comparison, style
        self.letters = _letters(comparison)
        rows = len(self.letters) + (len(self.letters) == 2)
        self.block = self.block_title + rows * (self.cell + self.row_gap) + 0.1
        words = _caption(comparison)
        self.caption = wrapped(words, 150)
        self.caption_height = 0.115 * (self.caption.count("\n") + 1) + 0.08
        height = (
            self.header + len(comparison.request.methods) * self.block + self.caption_height + self.footer
        )
        self.sheet = Sheet(WIDTHS["two-column"], height)

    def draw(self) -> Figure:
        """Draw everything and return the figure."""
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
            panel = self.sheet.panel(x, 0.2, 1.1, 1.1)
            show_image(panel, view.image(condition))
            if self.style.show_mask:
                outline(panel, self.comparison.picture.mask, view.size)
            panel.set_title(condition)
            x += 1.18
        x = 2.45
        for letter, result in self.letters:
            axes = self.sheet.axes(x + 1.0, 0.2, 1.15, 1.0)
            title = f"{letter}: {short(result.model, 34)}"
            top_classes(axes, result, title, degraded=self.comparison.degraded, names=20)
            x += 2.3

    def _x(self, column: int) -> float:
        after_first_bar = self.bar + self.bar_label if column == 4 else 0
        return self.left + column * (self.cell + self.gap) + after_first_bar

    def _panel(self, column: int, y: float) -> Panel:
        return self.sheet.panel(self._x(column), y, self.cell, self.cell)

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
        words = f"{wrapped(result.model, 18)}\n{_tap_words(result, method)}"
        self.sheet.text(0.2, y + 0.03, words, fontsize=5.5, linespacing=1.2)
        maps, view = result.heatmaps[method], self.comparison.view(result)
        peak, top, signed = common_peak(maps), overlay_peak(maps, method), is_signed(method)
        colours, low = (self.style.diverging, -peak) if signed else (self.style.colours, 0.0)
        for index, condition in enumerate(("clean", "degraded") if self.comparison.degraded else ("clean",)):
            show_overlay(self._panel(2 * index, y), view.image(condition), maps[condition], top, self.style)
            drawn = show_map(self._panel(2 * index + 1, y), maps[condition].values[0], colours, low, peak)
        last = 3 if self.comparison.degraded else 1
        words = evidence_words(maps, method)
        colour_bar(self.sheet, drawn, (self._x(last) + self.cell + 0.04, y, self.bar, self.cell), words)
        if self.comparison.degraded:
            change = maps["clean"].values[0] - maps["degraded"].values[0]
            peak = change_peak(change, peak)
            drawn = show_map(self._panel(4, y), change, self.style.diverging, -peak, peak)
            colour_bar(
                self.sheet,
                drawn,
                (self._x(4) + self.cell + 0.04, y, self.bar, self.cell),
                change_words(change),
            )

    def _draw_difference(self, method: str, y: float) -> None:
        (_, a), (_, b) = self.letters
        self.sheet.text(0.05, y + 0.02, "A − B", fontsize=8, fontweight="bold")
        words = "each map divided by\nits largest clean value,\non a common grid"
        self.sheet.text(0.05, y + 0.2, words, fontsize=5.5, linespacing=1.2)
        conditions = ("clean", "degraded") if self.comparison.degraded else ("clean",)
        maps = [
            difference_between(a.heatmaps[method], b.heatmaps[method], condition) for condition in conditions
        ]
        peak = difference_peak(maps)
        for index, (condition, values) in enumerate(zip(conditions, maps, strict=True)):
            drawn = show_map(self._panel(2 * index + 1, y), values, self.style.diverging, -peak, peak)
            row = _find(self.comparison, method, f"A and B: {condition}")
            if row:
                self.sheet.text(
                    self._x(2 * index), y + 0.03, _agreement_words(row), fontsize=5.5, linespacing=1.3
                )
        last = 3 if self.comparison.degraded else 1
        colour_bar(
            self.sheet, drawn, (self._x(last) + self.cell + 0.04, y, self.bar, self.cell), "A − B (relative)"
        )
        found = [_find(self.comparison, method, f"{letter}: clean") for letter in "AB"]
        for index, row in enumerate(row for row in found if row):
            place = y + 0.03 + 0.48 * index
            self.sheet.text(self._x(4), place, _agreement_words(row), fontsize=5, linespacing=1.15)


class Narrow:
    """The one-column layout: overlays and differences, three to a row."""

    left, cell, gap = 0.22, 0.94, 0.08

    def __init__(self, comparison: Comparison, style: Style) -> None:
        self.comparison, self.style = comparison, style
        self.letters = _letters(comparison)
        self.caption = wrapped(_caption(comparison, taps=True), 70)
        self.caption_height = 0.105 * (self.caption.count("\n") + 1) + 0.1
        rows = len(self.letters) + (len(self.letters) == 2)
        self.block = 0.34 + rows * (self.cell + 0.3)
        height = 1.25 + len(comparison.request.methods) * self.block + self.caption_height
        self.sheet = Sheet(WIDTHS["one-column"], height)

    def _panel(self, column: int, y: float) -> Panel:
        return self.sheet.panel(self.left + column * (self.cell + self.gap), y, self.cell, self.cell)

    def draw(self) -> Figure:
        """Draw everything and return the figure."""
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
            panel = self._panel(column, 0.18)
            show_image(panel, view.image(condition))
            if self.style.show_mask:
                outline(panel, self.comparison.picture.mask, view.size)
            panel.set_title(condition)
        words = "\n".join(self._prediction(letter, result) for letter, result in self.letters)
        self.sheet.text(self.left + 2 * (self.cell + self.gap), 0.18, words, fontsize=5, linespacing=1.2)

    def _prediction(self, letter: str, result: ModelResult) -> str:
        lines = [f"{letter}: {wrapped(result.model, 22)}"]
        for condition in ("clean", "degraded") if self.comparison.degraded else ("clean",):
            share = float(result.probabilities[condition].max())
            lines += [f"  {condition} {share:.2f}:", f"  {short(result.predicted(condition), 22)}"]
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
        peak, top = common_peak(maps), overlay_peak(maps, method)
        conditions = ("clean", "degraded") if self.comparison.degraded else ("clean",)
        for column, condition in enumerate(conditions):
            panel = self._panel(column, y)
            show_overlay(panel, view.image(condition), maps[condition], top, self.style)
            panel.set_title(f"{letter}, {condition}")
        panel = self._panel(2, y)
        if self.comparison.degraded:
            values = maps["clean"].values[0] - maps["degraded"].values[0]
            peak, title, words = change_peak(values, peak), "clean − degraded", "difference"
        else:
            values, title, words = maps["clean"].values[0], "raw map", "evidence"
        drawn = show_map(panel, values, self.style.diverging, -peak, peak)
        panel.set_title(title)
        self._bar_below(drawn, 2, y, words)

    def _bar_below(self, drawn: Any, column: int, y: float, words: str) -> None:
        box = (self.left + column * (self.cell + self.gap), y + self.cell + 0.03, self.cell, 0.04)
        low, high = drawn.get_clim()
        colour_strip(self.sheet, drawn, box, across=True)
        x, y, width, height = box
        written = (f"−{-low:.2g}", words, f"{high:.2g}")
        for share, label, side in zip((0, 0.5, 1), written, ("left", "center", "right"), strict=True):
            self.sheet.text(x + share * width, y + height + 2 * POINT, label, fontsize=5, ha=side)

    def _draw_difference(self, method: str, y: float) -> None:
        (_, a), (_, b) = self.letters
        conditions = ("clean", "degraded") if self.comparison.degraded else ("clean",)
        maps = [
            difference_between(a.heatmaps[method], b.heatmaps[method], condition) for condition in conditions
        ]
        peak = difference_peak(maps)
        for column, (condition, values) in enumerate(zip(conditions, maps, strict=True)):
            panel = self._panel(column, y)
            drawn = show_map(panel, values, self.style.diverging, -peak, peak)
            panel.set_title(f"A − B, {condition}")
            self._bar_below(drawn, column, y, "relative")
        row = _find(self.comparison, method, f"A and B: {conditions[-1]}")
        if row:
            x = self.left + 2 * (self.cell + self.gap)
            self.sheet.text(x, y, _agreement_words(row), fontsize=5, linespacing=1.25)
