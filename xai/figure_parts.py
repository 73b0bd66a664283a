"""What figures are made of: a sheet measured in inches, pictures, overlays, maps, colour bars.

The only place, with `figures.py`, that draws with matplotlib.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import matplotlib
import numpy as np
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox, BboxTransformTo, TransformedBbox
from torch import Tensor

from xai.attribution import METHODS, Heatmap
from xai.comparison import ModelResult

WIDTHS = {"two-column": 7.0, "one-column": 3.35}
"""Width in inches of a figure over two columns and over one, as most journals have them."""
SEQUENTIAL = ("viridis", "cividis", "magma", "inferno", "jet")
DIVERGING = ("PuOr_r", "RdBu_r", "BrBG_r")
FORMATS = ("pdf", "svg", "png")
CLIP_SHARE, CLIP_CELLS = 0.995, 1024
"""Maps of more than `CLIP_CELLS` cells are drawn up to this quantile of their strength; the colour bar says so."""
_BAR_SIZE, _SHADES = 5.5, 256
"""Points of the numbers and words beside a colour bar, and the shades in one."""
_LONGEST_TICK = 6
"""Characters of a number beside a colour bar, for which there is room."""
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
CLEAN_COLOUR, DEGRADED_COLOUR = "#0072b2", "#e69f00"
POINT = 1 / 72
"""Inches."""
FRAME, TICK = 0.5, 2.0
"""Points: the width of the line around a picture, the length of a tick."""
_LETTER_WIDTHS = {".": 0.318, "−": 0.838}
"""Of DejaVu Sans, in heights of the font; a digit has `_DIGIT_WIDTH`."""
_DIGIT_WIDTH = 0.636
Box = tuple[float, float, float, float]
"""x, y, width and height in inches from the top left of a sheet."""

RC: dict[Any, Any] = {
    "font.size": 7,
    "font.family": "DejaVu Sans",
    "axes.linewidth": FRAME,
    "axes.titlesize": 7,
    "axes.titlepad": 3,
    "xtick.labelsize": 6,
    "ytick.labelsize": 6,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "xtick.major.size": TICK,
    "ytick.major.size": TICK,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "text.parse_math": False,  # names are shown as they are, dollar signs too
    "svg.hashsalt": "xai",
    "image.composite_image": False,  # pictures that share axes stay sharp, each with its own pixels
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


DEFAULT_STYLE = Style()


class Sheet:
    """A figure on which things are placed in inches from the top left corner."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height))
        FigureCanvasAgg(self.figure)

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        """Add axes at `(x, y)`, inches from the top left."""
        bottom = 1 - (y + height) / self.height
        return self.figure.add_axes((x / self.width, bottom, width / self.width, height / self.height))

    def text(self, x: float, y: float, words: str, **style: Any) -> None:
        """Write at `(x, y)`, inches from the top left."""
        self.figure.text(x / self.width, 1 - y / self.height, words, **{"va": "top", "ha": "left", **style})

    @cached_property
    def ground(self) -> Axes:
        """Axes without a frame over the whole sheet, in inches from the top left: what panels share."""
        axes = self.axes(0, 0, self.width, self.height)
        axes.set(xlim=(0, self.width), ylim=(self.height, 0))
        axes.set_axis_off()
        axes.autoscale(False)
        return axes

    def panel(self, x: float, y: float, width: float, height: float) -> Panel:
        """A framed place for one picture at `(x, y)`, inches from the top left."""
        return Panel(self, (x, y, width, height))


class Panel:
    """A framed place for one picture. It takes what axes take of what is used here: axes of its own for every picture
    were half the time of a figure."""

    def __init__(self, sheet: Sheet, box: Box) -> None:
        self.sheet, self.box = sheet, box
        x, y, width, height = box
        area = TransformedBbox(Bbox(((x, y + height), (x + width, y))), sheet.ground.transData)
        self.transAxes = BboxTransformTo(area)
        self.text = sheet.ground.text

    def imshow(self, values: np.ndarray, **how: Any) -> AxesImage:
        """The picture `(h, w)` or `(h, w, 3)`, as wide or as high as there is room, and its frame."""
        x, y, width, height = self.box
        cell = min(width / values.shape[1], height / values.shape[0])
        across, down = cell * values.shape[1], cell * values.shape[0]
        left, top = x + (width - across) / 2, y + (height - down) / 2
        self.box = (left, top, across, down)
        extent = (left, left + across, top + down, top)
        drawn = self.sheet.ground.imshow(values, extent=extent, aspect="auto", **how)
        frame(self.sheet, self.box, FRAME)
        return drawn

    def contour(self, values: np.ndarray, **how: Any) -> None:
        """Lines of equal value, over a picture of as many pixels `(h, w)`."""
        x, y, width, height = self.box
        rows, columns = ((np.arange(number) + 0.5) / number for number in values.shape)
        self.sheet.ground.contour(x + width * columns, y + height * rows, values, **how)

    def set_title(self, words: str) -> None:
        """Write above the picture."""
        x, y, width, _ = self.box
        self.sheet.text(x + width / 2, y - 3 * POINT, words, ha="center", va="baseline")


P = TypeVar("P", bound=Axes | Panel)


def frame(sheet: Sheet, box: Box, linewidth: float) -> None:
    """A thin black line around `(x, y, width, height)`, inches from the top left."""
    x, y, width, height = box
    sheet.ground.add_patch(
        Rectangle((x, y), width, height, fill=False, edgecolor="black", linewidth=linewidth)
    )


def pixels(image: Tensor) -> np.ndarray:
    """`(1, 3, H, W)` in [0, 1] -> `(H, W, 3)`."""
    return image[0].permute(1, 2, 0).cpu().numpy()


def bare(axes: P) -> P:
    """Axes without ticks; a panel has none."""
    if isinstance(axes, Panel):
        return axes
    axes.xaxis.set_visible(False)  # cheaper than empty tick lists, which make and drop tick objects
    axes.yaxis.set_visible(False)
    return axes


def show_image(axes: Axes | Panel, image: Tensor) -> None:
    """Show `(1, 3, H, W)` in [0, 1]; small images with hard pixels."""
    small = image.shape[-1] < 128
    bare(axes).imshow(pixels(image), interpolation="nearest" if small else "antialiased", vmin=0, vmax=1)


def outline(axes: Axes | Panel, mask: Tensor | None, size: int) -> None:
    """Draw the border of a known object, where the mask has the size of the picture shown."""
    if mask is not None and tuple(mask.shape) == (size, size):
        axes.contour(mask.numpy(), levels=[0.5], colors="white", linewidths=0.7)


def is_signed(method: str) -> bool:
    """Whether values below zero speak against the class."""
    return METHODS[method].signed


def signed_overlay(method: str) -> bool:
    """Class activation maps are laid over the picture as positive evidence, maps of pixels with their sign."""
    return METHODS[method].signed and not METHODS[method].layered


def common_peak(maps: dict[str, Heatmap]) -> float:
    """The common scale of the clean and the degraded map: the largest absolute value of either, for maps of
    pixels that of all but the strongest 0.5 % (their few outliers would leave nothing else to see)."""
    strength = [heatmap.values.abs().flatten() for heatmap in maps.values()]
    return max(float(values.quantile(share(values))) for values in strength) or 1.0


def share(values: Tensor) -> float:
    """The quantile up to which a map is drawn."""
    return CLIP_SHARE if values.numel() > CLIP_CELLS else 1.0


def evidence_words(maps: dict[str, Heatmap], method: str) -> str:
    """What the colour bar of a method's maps shows."""
    if share(maps["clean"].values) < 1:
        return f"evidence (to p{100 * CLIP_SHARE:g})"
    return "evidence (signed)" if is_signed(method) else "positive evidence"


def change_peak(change: Tensor, peak: float) -> float:
    """The scale of clean - degraded: that of the two maps, or more where the difference exceeds both."""
    return max(peak, float(change.abs().flatten().quantile(share(change))))


def difference_peak(maps: Sequence[Tensor]) -> float:
    """The common scale of A - B: the largest absolute value; NaN, where a difference is not defined, counts as 0."""
    return max(float(values.nan_to_num().abs().max()) for values in maps) or 1.0


def change_words(change: Tensor) -> str:
    """What the colour bar of clean - degraded shows."""
    return f"difference (to p{100 * CLIP_SHARE:g})" if share(change) < 1 else "difference"


def overlay_peak(maps: dict[str, Heatmap], method: str) -> float:
    """The common scale of the overlays: of positive values only, where only those are shown."""
    if signed_overlay(method):
        return common_peak(maps)
    strength = [heatmap.values.clamp_min(0).flatten() for heatmap in maps.values()]
    return max(float(values.quantile(share(values))) for values in strength) or 1.0


def coloured(values: Tensor, peak: float, style: Style, *, signed: bool) -> np.ndarray:
    """Colours `(h, w, 3)` of a map; without sign, negative values count as no evidence."""
    if signed:
        return matplotlib.colormaps[style.diverging]((values.numpy() / peak + 1) / 2)[..., :3]
    return matplotlib.colormaps[style.colours](values.clamp_min(0).numpy() / peak)[..., :3]


def overlay(image: Tensor, heatmap: Heatmap, peak: float, style: Style) -> np.ndarray:
    """The map, bilinearly brought to the picture's size, over the picture: `(H, W, 3)` in [0, 1]."""
    size = image.shape[-2:]
    values = F.interpolate(heatmap.values[:1, None], size=size, mode="bilinear", align_corners=False)[0, 0]
    signed = signed_overlay(heatmap.method)
    strength = (values.abs() / peak).clamp_max(1).sqrt().numpy()[..., None] if signed else 1.0
    opacity = (
        style.opacity * strength
    )  # the middle of a diverging map is white and would only veil the picture
    return (1 - opacity) * pixels(image) + opacity * coloured(values, peak, style, signed=signed)


def show_overlay(axes: Axes | Panel, image: Tensor, heatmap: Heatmap, peak: float, style: Style) -> None:
    """Show the overlay, or the bare picture with a word where there is no positive evidence."""
    if bool(heatmap.no_evidence[0]):
        show_image(axes, image)
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5}
        place: dict[str, Any] = {"transform": axes.transAxes, "ha": "center", "va": "center", "bbox": box}
        axes.text(0.5, 0.5, "no positive\nevidence", fontsize=6, **place)
        return
    small = image.shape[-1] < 128
    pixels = overlay(image, heatmap, peak, style)
    bare(axes).imshow(pixels, interpolation="nearest" if small else "antialiased")


def show_map(axes: Axes | Panel, values: Tensor, colours: str, low: float, high: float) -> Any:
    """Show a map `(h, w)` with hard cells; returns what a colour bar needs."""
    return bare(axes).imshow(values.numpy(), cmap=colours, vmin=low, vmax=high, interpolation="nearest")


def colour_strip(sheet: Sheet, drawn: Any, box: Box, *, across: bool = False) -> None:
    """The colours of what was drawn, from its lowest value to its highest, upwards or to the right."""
    x, y, width, height = box
    shades = drawn.cmap(np.linspace(0, 1, _SHADES))[:, None, :]
    shades = shades.transpose(1, 0, 2) if across else shades[::-1]
    extent = (x, x + width, y + height, y)
    sheet.ground.imshow(shades, extent=extent, aspect="auto", interpolation="nearest")
    frame(sheet, box, 0.4)


def colour_bar(sheet: Sheet, drawn: Any, box: Box, words: str) -> None:
    """Draw a named colour bar in `box`."""
    x, y, width, height = box
    low, high = drawn.get_clim()
    ticks = [tick for tick in MaxNLocator(4).tick_values(low, high) if low <= tick <= high]
    labels, unit = tick_labels(ticks)
    places = [y + height * (high - tick) / (high - low) for tick in ticks]
    colour_strip(sheet, drawn, box)
    right = x + width + TICK * POINT
    sheet.ground.hlines(places, x + width, right, colors="black", linewidths=FRAME)
    right += POINT
    for place, label in zip(places, labels, strict=True):
        sheet.text(right, place, label, fontsize=_BAR_SIZE, va="center_baseline")
    sheet.text(x, y - 0.03 * height, unit, fontsize=5, va="bottom")
    right += max(map(_inches, labels)) + 2 * POINT
    sheet.text(right, y + height / 2, words, fontsize=_BAR_SIZE, va="center", rotation=90)


def _inches(number: str) -> float:
    """How wide a number beside a colour bar is."""
    return _BAR_SIZE * POINT * sum(_LETTER_WIDTHS.get(letter, _DIGIT_WIDTH) for letter in number)


def tick_labels(ticks: Sequence[float]) -> tuple[list[str], str]:
    """Numbers beside a colour bar, and the power of ten that they are to be multiplied by where they would be long."""
    labels = [f"{tick:.3g}" for tick in ticks]
    if all(len(label) <= _LONGEST_TICK and "e" not in label for label in labels):
        return [label.replace("-", "−") for label in labels], ""
    power = math.floor(math.log10(max(map(abs, ticks))) + 1e-9)
    labels = [f"{tick / 10**power:.3g}".replace("-", "−") for tick in ticks]
    return labels, f"×10{str(power).translate(_RAISED)}"


def top_classes(axes: Axes, result: ModelResult, title: str, *, degraded: bool, names: int) -> None:
    """Bars of the five most probable classes, clean beside degraded; class names are cut to `names` letters."""
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
    axes.set_yticks(place, [short(row[0], names) for row in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.5, 1])
    axes.set_xlabel("probability", labelpad=1, fontsize=6)
    axes.set_title(title, loc="right")
    axes.spines[["top", "right"]].set_visible(False)


def short(words: str, length: int) -> str:
    """At most `length` letters."""
    return words if len(words) <= length else words[: length - 1] + "…"


def middle_cut(words: str, length: int) -> str:
    """At most `length` letters, shortened in the middle: names of networks differ at their end, in the seed."""
    if len(words) <= length:
        return words
    end = max(1, (length - 1) // 2)
    return f"{words[: max(0, length - 1 - end)]}…{words[-end:]}"


def wrapped(words: str, length: int) -> str:
    """Lines of at most `length` letters."""
    return "\n".join(textwrap.wrap(words, length))
