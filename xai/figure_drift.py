"""Figure of how much every layer's response changes as a degradation grows."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from data.degradations import DEGRADATIONS, SCALES, resolve_name
from xai.feature_drift import MEASURES, DriftRow
from xai.figure_networks import SEED_COLOURS
from xai.figure_parts import DEFAULT_STYLE, WIDTHS, Sheet, Style, short, wrapped
from xai.figures import drawing

_WORDS = {
    "relative_l2": "relative L2\n|clean − degraded| / |clean|",
    "cosine": "cosine of clean\nand degraded",
    "dying": "share of channels\nthat die",
}
_DASHES, _MARKS = (":", "--", "-"), "os^Dv"
_MOST_LINES = 3
"""Severities of each network where two are drawn."""


def drift_figure(rows: Sequence[DriftRow], style: Style = DEFAULT_STYLE) -> Figure:
    """Relative L2, cosine and dying channels over the layers of one network by name, or of two by relative depth.

    A line for each severity above 0; of two networks at most three severities. Bands are quartiles over images.
    """
    networks = list(dict.fromkeys(row.model for row in rows))
    width, high = WIDTHS[style.width], 1.05
    left, right = 0.62, 0.08
    names = 1.0 if len(networks) == 1 else 0.4
    with drawing():
        caption = wrapped(_caption(rows, networks), int(24 * (width - 0.16)))
        below = 0.1 * (caption.count("\n") + 1) + 0.1
        top = 0.2 + 0.11 * _legend_rows(rows, networks, width)
        sheet = Sheet(width, top + len(MEASURES) * (high + 0.12) + names + below)
        panels = []
        for number, measure in enumerate(MEASURES):
            axes = sheet.axes(left, top + number * (high + 0.12), width - left - right, high)
            _draw_panel(axes, rows, networks, measure)
            panels.append(axes)
        _finish(panels, rows, networks, width - left - right)
        handles, labels = panels[0].get_legend_handles_labels()
        sheet.figure.legend(
            handles,
            labels,
            loc="upper center",
            ncols=_legend_columns(networks, width),
            frameon=False,
            fontsize=5.5,
        )
        sheet.text(
            0.08, sheet.height - below + 0.05, caption, fontsize=5.5, color="#333333", linespacing=1.15
        )
        return sheet.figure


def _legend_columns(networks: Sequence[str], width: float) -> int:
    return max(1, int(width / (0.95 if len(networks) == 1 else 2.3)))


def _legend_rows(rows: Sequence[DriftRow], networks: Sequence[str], width: float) -> int:
    lines = len(networks) * len(shown_severities(rows, networks))
    return -(-lines // _legend_columns(networks, width))


def shown_severities(rows: Sequence[DriftRow], networks: Sequence[str]) -> list[float]:
    """The severities that are drawn: above 0, and of two networks the least, a middle one and the largest."""
    found = sorted({row.severity for row in rows if row.severity})
    if len(networks) == 1 or len(found) <= _MOST_LINES:
        return found
    return [found[0], found[len(found) // 2], found[-1]]


def _draw_panel(axes: Axes, rows: Sequence[DriftRow], networks: Sequence[str], measure: str) -> None:
    severities = shown_severities(rows, networks)
    for number, network in enumerate(networks):
        for index, severity in enumerate(severities):
            line = [row for row in rows if row.model == network and row.severity == severity]
            x = [row.place if len(networks) == 1 else row.depth for row in line]
            single = len(networks) == 1
            colour = _shade(index, len(severities)) if single else SEED_COLOURS[number]
            dash = "-" if single else _DASHES[-len(severities) :][index]
            label = (
                f"severity {severity:g}" if single else f"{'AB'[number]}: {short(network, 28)}, {severity:g}"
            )
            mark = _MARKS[(index if single else number) % len(_MARKS)]
            axes.plot(
                x,
                [getattr(row, measure) for row in line],
                dash,
                color=colour,
                label=label,
                linewidth=0.9,
                marker=mark,
                markersize=1.8,
            )
            if line and line[0].n > 1:
                low, top = ([getattr(row, f"{measure}_{end}") for row in line] for end in ("low", "high"))
                axes.fill_between(x, low, top, color=colour, alpha=0.12, linewidth=0)
    axes.set_ylabel(_WORDS[measure], fontsize=5.2, labelpad=2)
    axes.tick_params(labelsize=5.5)
    axes.grid(axis="both", linewidth=0.25, color="#cccccc")
    axes.spines[["top", "right"]].set_visible(False)


def _shade(index: int, count: int) -> tuple[float, float, float, float]:
    """From light to dark with severity, told apart by lightness alone too."""
    return matplotlib.colormaps["cividis_r"](0.15 + 0.85 * (index + 1) / count)


def _finish(panels: Sequence[Axes], rows: Sequence[DriftRow], networks: Sequence[str], width: float) -> None:
    """Layers by name below the last panel, as many as there is room for, or the depth."""
    for axes in panels:
        if len(networks) == 1:
            layers = list(dict.fromkeys(row.layer for row in rows))
            step = max(1, -(-len(layers) // int(width / 0.085)))
            axes.set_xticks(range(0, len(layers), step), [short(name, 22) for name in layers[::step]])
            axes.tick_params(axis="x", labelsize=4.5, rotation=90, labelbottom=axes is panels[-1])
            axes.set_xlim(-0.5, len(layers) - 0.5)
        else:
            axes.tick_params(axis="x", labelbottom=axes is panels[-1])
            axes.set_xlim(-0.01, 1.01)
    panels[0].set_ylim(bottom=0)
    panels[1].set_ylim(top=1.0)
    panels[2].set_ylim(bottom=0)
    if len(networks) > 1:
        panels[-1].set_xlabel("relative depth (0: first layer, 1: logits)", fontsize=6, labelpad=1)


def _caption(rows: Sequence[DriftRow], networks: Sequence[str]) -> str:
    first = rows[0]
    title = DEGRADATIONS[resolve_name(first.degradation)].title
    words = [f"{title} ({SCALES[first.scale]})."]
    words.append(f"{networks[0]}." if len(networks) == 1 else "The number behind a network is the severity.")
    if first.n > 1:
        words.append(f"Medians and quartiles over {first.n:,} images.")
    words.append(
        "Layers stand in the order in which they run; those that only pass on another's output are left out."
    )
    words.append(
        "A channel dies where it is active on the clean picture and zero in every cell when degraded."
    )
    return " ".join(words)
