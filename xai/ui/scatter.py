"""Two linked scatter plots as one element, drawn in the browser by plotly: what it is given, and what is selected."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from streamlit.components import v1

HERE = Path(__file__).parent
MOST_ARROWS = 2000
SIGNS = {
    "circle": "●",
    "square": "■",
    "diamond": "◆",
    "cross": "✚",
    "x": "✖",
    "triangle-up": "▲",
    "triangle-down": "▼",
    "star": "★",
    "pentagon": "⬟",
    "hexagon": "⬢",
}
"""Letters that look like plotly's markers, for the legend."""


@dataclass(frozen=True)
class Entry:
    """A kind of point: its name, colour `#rrggbb` and plotly marker."""

    name: str
    colour: str
    marker: str


@dataclass(frozen=True)
class Step:
    """The N points of a panel at one severity: coordinates `(N, 2)`, the place of each point's kind in the legend
    `(N,)`, values in [0, 1] to colour by instead or None, the numbers `(N, 3)` of the three likeliest classes (-1 for
    none) with their probabilities, and a line of words below the panel."""

    coordinates: np.ndarray
    group: np.ndarray
    value: np.ndarray | None
    top: np.ndarray
    share: np.ndarray
    words: str

    def packed(self) -> dict[str, Any]:
        """As the browser reads it."""
        return {
            "x": _text(self.coordinates[:, 0], np.float32),
            "y": _text(self.coordinates[:, 1], np.float32),
            "group": _text(self.group, np.uint16),
            "value": None if self.value is None else _text(self.value, np.float32),
            "top": _text(self.top, np.int16),
            "share": _text((self.share * 255).round(), np.uint8),
            "words": self.words,
        }


@dataclass(frozen=True)
class Group:
    """A class: its name, colour, middle, the corners `(M, 2)` of its outline, closed, and its place in the legend (-1
    where the legend is not of classes)."""

    name: str
    colour: str
    middle: tuple[float, float]
    outline: np.ndarray
    place: int = -1

    def packed(self) -> dict[str, Any]:
        """As the browser reads it."""
        (x, y), corners = self.middle, self.outline
        hull = {"x": corners[:, 0].tolist(), "y": corners[:, 1].tolist()}
        return {"name": self.name, "colour": self.colour, "x": x, "y": y, "hull": hull, "group": self.place}


@dataclass(frozen=True)
class Contours:
    """Density over a grid: `x` `(n,)`, `y` `(m,)`, `z` `(m, n)`, and the rising values at which lines are drawn."""

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    levels: tuple[float, ...]

    def packed(self) -> dict[str, Any]:
        """As the browser reads it, which needs two levels."""
        levels = self.levels if len(self.levels) > 1 else (self.levels[0], self.levels[0] * 1.0001)
        peak = float(self.z.max()) or 1.0
        z = (self.z / peak).round(5).tolist()
        return {"x": self.x.tolist(), "y": self.y.tolist(), "z": z, "levels": [one / peak for one in levels]}


@dataclass(frozen=True)
class Panel:
    """One network's map, clean first and then at each severity, with classes and density of the clean points."""

    title: str
    steps: tuple[Step, ...]
    classes: tuple[Group, ...] = ()
    contours: Contours | None = None

    def packed(self) -> dict[str, Any]:
        """As the browser reads it."""
        return {
            "title": self.title,
            "steps": [step.packed() for step in self.steps],
            "classes": [one.packed() for one in self.classes],
            "contours": None if self.contours is None else self.contours.packed(),
        }


@dataclass(frozen=True)
class Bar:
    """What a colour bar says: of what, and its ends."""

    words: str
    low: str
    high: str


@dataclass(frozen=True)
class Sheet:
    """Where the browser finds a picture of all thumbnails, so many `across`."""

    url: str
    across: int


@dataclass(frozen=True)
class Look:
    """How the plots look: size in px and opacity of points, height of a plot in px, and what is drawn besides."""

    size: float
    opacity: float
    height: int = 460
    arrows: bool = True
    centres: bool = False
    hulls: bool = False
    density: bool = False


@dataclass(frozen=True)
class Start:
    """What plots begin with that are drawn anew: the rows that are selected, the number of the severity, the name of
    the last search that they have seen, and the kinds of points in the legend that are not shown."""

    rows: tuple[int, ...] = ()
    step: int = 0
    nonce: str = ""
    hidden: tuple[str, ...] = ()


@dataclass(frozen=True)
class Content:
    """Everything that the plots show; `severities` are words, the first empty for the clean images.

    With a `bar`, points are coloured by `scale` and there is one kind of them; `faint` shows the clean points below
    degraded ones, and `together` gives all panels one frame.
    """

    panels: tuple[Panel, ...]
    legend: tuple[Entry, ...]
    scale: tuple[tuple[float, str], ...]
    ids: tuple[str, ...]
    labels: np.ndarray
    classes: tuple[str, ...]
    degradation: str
    severities: tuple[str, ...]
    bar: Bar | None = None
    faint: bool = False
    together: bool = False

    def packed(self) -> dict[str, Any]:
        """As the browser reads it."""
        return {
            "panels": [panel.packed() for panel in self.panels],
            "legend": [{**asdict(entry), "sign": SIGNS[entry.marker]} for entry in self.legend],
            "scale": self.scale,
            "ids": self.ids,
            "labels": _text(self.labels, np.uint16),
            "classes": self.classes,
            "degradation": self.degradation,
            "severities": self.severities,
            "bar": None if self.bar is None else asdict(self.bar),
            "faint": self.faint,
            "together": self.together,
        }


def _text(values: np.ndarray, kind: type[np.generic]) -> str:
    """Numbers in base 64, little-endian."""
    return base64.b64encode(
        np.ascontiguousarray(values).astype(np.dtype(kind).newbyteorder("<")).tobytes()
    ).decode()


def packed(content: Content) -> tuple[dict[str, Any], str]:
    """The content as the browser reads it, and a name for exactly that content."""
    found = content.packed()
    return found, hashlib.sha256(json.dumps(found).encode()).hexdigest()[:16]


_component = st.components.v2.component(
    "scatter",
    html=(HERE / "scatter.html").read_text(),
    css=(HERE / "scatter.css").read_text(),
    js=(HERE / "scatter.js").read_text(),
    isolate_styles=False,
)


def draw(
    content: tuple[dict[str, Any], str],
    look: Look,
    sheet: Sheet | None,
    key: str,
    start: Start,
    wanted: tuple[int, ...] | None = None,
    nonce: str = "",
) -> tuple[tuple[int, ...], int, tuple[str, ...]]:
    """Draw the plots; the rows that are selected, the number of the severity that is shown (0: clean), and the kinds of
    points in the legend that are not.

    They begin with `start`, which is to stay the same as long as they are on the page. `wanted` rows are selected
    instead when `nonce` is one that the plots have not seen yet.
    """
    body, version = content
    data = {
        **body,
        **asdict(look),
        "version": hashlib.sha256(f"{version}{look}".encode()).hexdigest()[:16],
        "mostArrows": MOST_ARROWS,
        "plotly": plotly_address(),
        "thumbnails": None if sheet is None else asdict(sheet),
        "start": asdict(start),
        "wanted": None if wanted is None else {"rows": wanted, "nonce": nonce},
    }
    found = _component(
        key=key,
        data=data,
        default={"selected": list(start.rows), "step": start.step, "hidden": list(start.hidden)},
        on_selected_change=lambda: None,
        on_step_change=lambda: None,
        on_hidden_change=lambda: None,
    )
    count = len(body["ids"])
    return (
        _rows(found.get("selected"), count),
        _step(found.get("step"), len(body["severities"])),
        _hidden(found.get("hidden"), [entry["name"] for entry in body["legend"]]),
    )


def _rows(given: object, count: int) -> tuple[int, ...]:
    """What the browser sent, as rows of images; anything else is no selection."""
    if not isinstance(given, Sequence) or isinstance(given, str):
        return ()
    return tuple(sorted({row for row in given if type(row) is int and 0 <= row < count}))


def _hidden(given: object, names: Sequence[str]) -> tuple[str, ...]:
    """The names among those of the legend that the browser sent."""
    sent = given if isinstance(given, list) else []
    return tuple(name for name in names if name in sent)


def _step(given: object, count: int) -> int:
    return given if type(given) is int and 0 <= given < count else 0


@st.cache_resource(show_spinner=False)
def plotly_address() -> str:
    """Where this server gives out the plotly.js that the plotly package brings along."""
    import plotly

    folder = Path(plotly.__file__).parent / "package_data"
    made = v1.declare_component("plotly", path=str(folder))
    return f"component/{made.name}/plotly.min.js"
