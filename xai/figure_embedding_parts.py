"""What the maps of an embedding are drawn of: points, contours, arrows, names of classes and a bar of colours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize

from xai.class_colours import MARKERS
from xai.embedding_looks import (
    Coloured,
    density,
)
from xai.figure_parts import Sheet, short

MOST_ARROWS = 150
_CHUNKS = 8


def put_together(shown: Sequence[tuple[np.ndarray, Coloured]]) -> tuple[np.ndarray, Coloured]:
    """Points coloured by one scale as one set, so that none hides the others by coming later."""
    values = np.concatenate([looks.values for _, looks in shown if looks.values is not None])
    points = np.concatenate([coordinates for coordinates, _ in shown])
    return points, Coloured((), np.zeros(len(values), np.int64), shown[0][1].scale, values)


def draw_points(axes: Axes, points: np.ndarray, looks: Coloured, wide: float, *, faint: bool) -> None:
    """Points in an order drawn by lot, so that no class hides the others; `faint` ones lie behind others."""
    order = np.random.default_rng(0).permutation(len(points))
    colours, markers = looks.colours, looks.markers
    for part in np.array_split(order, min(_CHUNKS, max(1, len(order) // 50))):
        for marker in dict.fromkeys(markers[part].tolist()):
            rows = part[markers[part] == marker]
            axes.scatter(
                points[rows, 0],
                points[rows, 1],
                s=wide**2,
                c=colours[rows].tolist(),
                marker=MARKERS[marker],
                linewidths=0,
                alpha=0.3 if faint else 0.85,
                zorder=1,
            )


def draw_contours(axes: Axes, points: np.ndarray) -> None:
    """Lines around 50 % and 90 % of the points `(N, 2)`, as `embedding_looks.density` puts them."""
    x, y, values, levels = density(points)
    axes.contour(
        x, y, values, levels=levels, colors="#222222", linewidths=(0.4, 0.8)[: len(levels)], zorder=3
    )


def arrow_rows(count: int) -> np.ndarray:
    """The images whose arrows are drawn: all, or `MOST_ARROWS` evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, MOST_ARROWS)).astype(int))


def draw_arrows(axes: Axes, clean: np.ndarray, moved: np.ndarray) -> None:
    """Lines from some points `(N, 2)` to where they moved, which has a dot; see `arrow_rows`."""
    rows = arrow_rows(len(clean))
    ends = np.stack([clean[rows], moved[rows]], axis=1)
    axes.add_collection(
        LineCollection(list(ends), colors="#222222", linewidths=0.35, zorder=3), autolim=False
    )
    axes.scatter(moved[rows, 0], moved[rows, 1], s=2.2, c="#222222", linewidths=0, zorder=3)


def draw_names(axes: Axes, middles: np.ndarray, classes: Sequence[str]) -> None:
    """A name at the middle of each class, but for those that would lie on another; all have a cross."""
    low, high = np.array([axes.get_xlim(), axes.get_ylim()]).T
    inches = axes.get_position().width * axes.figure.get_figwidth()  # type: ignore[union-attr]
    taken: list[np.ndarray] = []
    axes.scatter(
        middles[:, 0], middles[:, 1], s=9, marker="P", c="black", edgecolors="white", linewidths=0.4, zorder=4
    )
    for name, middle in zip(classes, middles, strict=True):
        place = (middle - low) / (high - low) * inches
        size = np.array([0.045 * min(len(name), 18) + 0.06, 0.13])
        if not np.isfinite(place).all() or any(
            (np.abs(place - box[0]) * 2 < size + box[1]).all() for box in taken
        ):
            continue
        taken.append(np.stack([place, size]))
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.8}
        axes.annotate(
            short(name, 18),
            middle,
            (0, 3.2),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=5.5,
            bbox=box,
            zorder=5,
            annotation_clip=True,
        )


def draw_bar(sheet: Sheet, looks: Coloured, top: float) -> None:
    """A horizontal bar of the scale's colours."""
    scale = looks.scale
    if scale is None:
        return
    colours = LinearSegmentedColormap.from_list("scale", list(scale.colours))
    drawn = ScalarMappable(Normalize(scale.low, scale.high or 1.0), colours)
    axes = sheet.axes(sheet.width / 2 - 1.2, top + 0.02, 2.4, 0.08)
    bar = sheet.figure.colorbar(drawn, cax=axes, orientation="horizontal")
    bar.set_label(scale.words, fontsize=5.5, labelpad=1)
    bar.ax.tick_params(labelsize=5.5, pad=1)
    bar.outline.set_linewidth(0.4)  # type: ignore[operator]
