"""What figures are made of: a sheet measured in inches, pictures, overlays, maps, colour bars.

The only place, with `figures.py`, that draws with matplotlib.
"""

from __future__ import annotations

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
from matplotlib.ticker import MaxNLocator
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
_LONGEST_TICK = 6
"""Characters of a number beside a colour bar, for which there is room."""
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
CLEAN_COLOUR, DEGRADED_COLOUR = "#0072b2", "#e69f00"

RC: dict[Any, Any] = {
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
    "text.parse_math": False,  # names are shown as they are, dollar signs too
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


def pixels(image: Tensor) -> np.ndarray:
    """`(1, 3, H, W)` in [0, 1] -> `(H, W, 3)`."""
    return image[0].permute(1, 2, 0).cpu().numpy()


def bare(axes: Axes) -> Axes:
    """Axes without ticks."""
    axes.xaxis.set_visible(False)  # cheaper than empty tick lists, which make and drop tick objects
    axes.yaxis.set_visible(False)
    return axes


def show_image(axes: Axes, image: Tensor) -> None:
    """Show `(1, 3, H, W)` in [0, 1]; small images with hard pixels."""
    small = image.shape[-1] < 128
    bare(axes).imshow(pixels(image), interpolation="nearest" if small else "antialiased", vmin=0, vmax=1)


def outline(axes: Axes, mask: Tensor | None, size: int) -> None:
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


def show_overlay(axes: Axes, image: Tensor, heatmap: Heatmap, peak: float, style: Style) -> None:
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


def show_map(axes: Axes, values: Tensor, colours: str, low: float, high: float) -> Any:
    """Show a map `(h, w)` with hard cells; returns what a colour bar needs."""
    return bare(axes).imshow(values.numpy(), cmap=colours, vmin=low, vmax=high, interpolation="nearest")


def colour_bar(sheet: Sheet, drawn: Any, box: tuple[float, float, float, float], words: str) -> None:
    """Draw a named colour bar in `box`, inches from the top left."""
    bar = sheet.figure.colorbar(drawn, cax=sheet.axes(*box))
    bar.set_label(words, fontsize=5.5, labelpad=2)
    bar.ax.tick_params(labelsize=5.5, pad=1)
    low, high = drawn.get_clim()
    ticks = [tick for tick in MaxNLocator(4).tick_values(low, high) if low <= tick <= high]
    labels, unit = tick_labels(ticks)
    bar.set_ticks(ticks, labels=labels)
    bar.ax.text(0, 1.03, unit, transform=bar.ax.transAxes, fontsize=5, va="bottom")
    bar.outline.set_linewidth(0.4)  # type: ignore[operator]


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
