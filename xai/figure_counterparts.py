"""Figures of how two networks' layers and channels correspond: CKA matrices and matched channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from data.degradations import DEGRADATIONS
from xai.cka import CkaMatrix
from xai.counterparts import Chance, Correlations, Neighbour, Pair
from xai.feature_layers import LayerInfo
from xai.figure_parts import CLEAN_COLOUR, WIDTHS, Sheet, colour_bar, middle_cut, wrapped
from xai.figures import drawing

MOST_PANELS = 4
"""CKA matrices in one figure, two in a row."""
MOST_PRINTED = 8
"""Layers on the longer axis up to which the values are printed; more would overlap."""
MOST_NAMED = 24
"""Layers on an axis up to which all are named; of more, every second, third ... is."""
_RIGHT, _TOP, _LABEL, _LETTER = 0.6, 0.3, 0.42, 0.038
"""Inches: room for the colour bar, above a panel, for the name of a network, and for a letter of a layer's."""
_CHANCE_COLOUR = "#d55e00"
_NAME_LETTERS = 21


def cka_figure(matrices: Sequence[CkaMatrix], notes: Sequence[str] = ()) -> Figure:
    """One to four CKA matrices on one scale from 0 to 1.

    Layers are named with their grid, shallow to deep from left to right and from bottom to top. Values outside
    [0, 1] are coloured as the nearest end and printed as they are. Raises `ValueError` for none and for more.
    """
    if not 1 <= len(matrices) <= MOST_PANELS:
        raise ValueError(f"{len(matrices)} matrices were given; allowed are 1 to {MOST_PANELS}.")
    said = dict.fromkeys((*notes, *(note for matrix in matrices for note in matrix.notes)))
    below = wrapped(" ".join((_sentence(matrices[0]), *said)), 150)
    columns = min(len(matrices), 2)
    rows = math.ceil(len(matrices) / columns)
    names = _LETTER * max(len(_layer_words(layer)) for matrix in matrices for layer in _lines(matrix)) + 0.06
    left = names + _LABEL
    side = min((WIDTHS["two-column"] - _RIGHT) / columns - left, 2.6)
    height = _TOP + side + names + _LABEL
    with drawing():
        sheet = Sheet(WIDTHS["two-column"], rows * height + 0.1 * (below.count("\n") + 2))
        for place, matrix in enumerate(matrices):
            row, column = divmod(place, columns)
            axes = sheet.axes(left + column * (side + left), row * height + _TOP, side, side)
            drawn = _panel(axes, matrix, side, names)
        box = (columns * (side + left) + 0.12, _TOP, 0.09, side)
        colour_bar(sheet, drawn, box, "linear CKA (0 to 1)")
        sheet.text(0.1, rows * height + 0.05, below, fontsize=5.5)
        return sheet.figure


def _sentence(matrix: CkaMatrix) -> str:
    return (
        f"Unbiased linear CKA over {matrix.images:,} images in {matrix.batches:,} "
        f"{'batch' if matrix.batches == 1 else 'batches'}; 1: the same images are alike in both layers, 0: unrelated."
    )


def _lines(matrix: CkaMatrix) -> tuple[LayerInfo, ...]:
    return (*matrix.layers_a, *matrix.layers_b)


def _panel(axes: Axes, matrix: CkaMatrix, side: float, names: float) -> Any:
    """One matrix, the layers of A from bottom to top and those of B from left to right."""
    axes.set_facecolor("#dddddd")  # where there is no value
    drawn = axes.imshow(
        matrix.values.numpy(),
        cmap="viridis",
        vmin=0,
        vmax=1,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
    )
    _name_layers(axes, matrix)
    axes.yaxis.set_label_coords(-(names + 0.05) / side, 0.5)
    axes.xaxis.set_label_coords(0.5, -(names + 0.05) / side)
    axes.set_title(_words(matrix), fontsize=6.5)
    longest = max(matrix.values.shape)
    if longest <= MOST_PRINTED:
        _print_values(axes, matrix.values, fontsize=min(7.0, 26 * side / longest / 2.2))
    return drawn


def _words(matrix: CkaMatrix) -> str:
    """Under which conditions layers are compared; the axes name the networks."""
    conditions = dict.fromkeys((matrix.condition_a, matrix.condition_b))
    return " against ".join(map(_condition_words, conditions))


def _condition_words(condition: str) -> str:
    """`gaussian_noise 3` as people say it."""
    name, _, severity = condition.rpartition(" ")
    return f"{DEGRADATIONS[name].title} {severity}" if name in DEGRADATIONS else condition


def _name_layers(axes: Axes, matrix: CkaMatrix) -> None:
    for axis, layers, model, condition in (
        (axes.yaxis, matrix.layers_a, matrix.model_a, matrix.condition_a),
        (axes.xaxis, matrix.layers_b, matrix.model_b, matrix.condition_b),
    ):
        step = math.ceil(len(layers) / MOST_NAMED)
        names = [_layer_words(layer) for layer in layers[::step]]
        axis.set_ticks(range(0, len(layers), step), labels=names, fontsize=5)
        axis.set_label_text(f"{middle_cut(model, 34)}\n{_condition_words(condition)}", fontsize=6)
    axes.tick_params(axis="x", rotation=90, pad=1)
    axes.tick_params(axis="y", pad=1)


def _layer_words(layer: LayerInfo) -> str:
    """Name and grid, as `layer1 16×16`; a vector has none."""
    name = middle_cut(layer.name, _NAME_LETTERS)
    return name if layer.grid == (1, 1) else f"{name} {layer.grid[0]}×{layer.grid[1]}"


def _print_values(axes: Axes, values: Tensor, fontsize: float) -> None:
    for row, line in enumerate(values.tolist()):
        for column, value in enumerate(line):
            words, dark = ("none", False) if math.isnan(value) else (f"{value:.2f}", value < 0.55)
            axes.text(
                column,
                row,
                words.replace("-", "−"),
                ha="center",
                va="center",
                fontsize=fontsize,
                color="white" if dark else "black",
            )


def matched_figure(
    found: Correlations,
    pairs: Sequence[Pair],
    by_chance: Chance,
    names: tuple[str, str],
    *,
    chosen: Pair | None = None,
    interval: Neighbour | None = None,
    what: str = "spatial mean",
    called: tuple[str, str] | None = None,
) -> Figure:
    """The correlations of matched channels, sorted, with the level of chance; and the responses of one pair.

    `names` say which layer of which network A and B are, `what` how a channel's map became one number. `chosen` is
    the pair whose responses are drawn, None for the best; `called` names its two where their numbers do not, and
    `interval` gives the 95 % interval of its correlation.
    """
    chosen = chosen or max(pairs, key=lambda pair: pair.r, default=None)
    below = wrapped(" ".join((f"A: {names[0]}. B: {names[1]}.", _chance_words(by_chance), *found.notes)), 150)
    with drawing():
        sheet = Sheet(WIDTHS["two-column"], 2.65 + 0.1 * (below.count("\n") + 1))
        _sorted(sheet.axes(0.5, 0.3, 2.7, 1.85), pairs, by_chance)
        _scatter(sheet.axes(4.1, 0.3, 2.7, 1.85), found, chosen, interval, what, called)
        sheet.text(0.1, 2.62, below, fontsize=5.5)
        return sheet.figure


def _chance_words(by_chance: Chance) -> str:
    if math.isnan(by_chance.level):
        return ""
    count = len(by_chance.channels)
    return (
        f"Chance: 95 % of the best correlations of {count:,} channel{'s' * (count != 1)} of A with any of B stay below "
        f"it when B's images are shuffled ({len(by_chance.best)} times)."
    )


def _sorted(axes: Axes, pairs: Sequence[Pair], by_chance: Chance) -> None:
    strengths = sorted((pair.r for pair in pairs), reverse=True)
    mark = "." if len(strengths) <= 200 else ""
    axes.plot(
        range(1, len(strengths) + 1),
        strengths,
        "-",
        marker=mark,
        markersize=3,
        linewidth=1,
        color=CLEAN_COLOUR,
    )
    axes.set_title(f"{len(strengths):,} matched pairs of channels", fontsize=6.5)
    if not math.isnan(by_chance.level):
        axes.axhline(by_chance.level, linestyle="--", linewidth=0.9, color=_CHANCE_COLOUR)
        above = sum(strength > by_chance.level for strength in strengths)
        axes.set_title(
            f"{above:,} of {len(strengths):,} matched pairs above chance ({by_chance.level:.2f}, dashed)",
            fontsize=6.5,
        )
    axes.set_xlabel("pair, strongest first", fontsize=6.5)
    axes.set_ylabel("correlation r of the responses", fontsize=6.5)
    axes.set_ylim(min([0.0, *strengths]) - 0.03, 1.03)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.grid(axis="y", linewidth=0.3, color="#cccccc")
    axes.spines[["top", "right"]].set_visible(False)


def _scatter(
    axes: Axes,
    found: Correlations,
    chosen: Pair | None,
    interval: Neighbour | None,
    what: str,
    called: tuple[str, str] | None,
) -> None:
    if chosen is None:
        axes.set_axis_off()
        axes.text(
            0.5, 0.5, "no channels have a correlation", ha="center", transform=axes.transAxes, fontsize=6.5
        )
        return
    x, y = found.a[:, chosen.a].cpu().numpy(), found.b[:, chosen.b].cpu().numpy()
    axes.plot(
        x, y, "o", markersize=2, alpha=0.5, markeredgewidth=0, color=CLEAN_COLOUR, rasterized=len(x) > 5_000
    )
    between = f" (95 % interval {interval.low:.2f} to {interval.high:.2f})" if interval else ""
    words = f"r = {chosen.r:.2f}{between}, n = {found.images:,} images".replace("-", "−")
    axes.set_title(words, fontsize=6.5)
    first, second = called or (f"channel {chosen.a}", f"channel {chosen.b}")
    axes.set_xlabel(f"A, {first}: {what} (activation)", fontsize=6.5)
    axes.set_ylabel(f"B, {second}: {what} (activation)", fontsize=6.5)
    axes.spines[["top", "right"]].set_visible(False)
