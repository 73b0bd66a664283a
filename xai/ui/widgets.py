"""Widgets whose value is kept across pages and is part of the link, and text that can't be taken for Markdown."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import streamlit as st

from xai.ui import help_texts, state

BINARY = "application/octet-stream"


NO_NETWORK = (
    "No network is on this machine: bring one in on the page Your own, or train one on the page Train."
)


class NothingYet(ValueError):
    """There is nothing to show: its sentence says why, and what to do first."""


def plain(words: object) -> str:
    """Text for a Markdown place that shows exactly these words: all ASCII punctuation is escaped."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(str(words).split()))


def table(rows: Sequence[Mapping[str, object]]) -> None:
    """A real HTML table, which a screen reader reads out; nothing for no rows."""
    if rows:
        heads = list(rows[0])
        lines: list[list[object]] = [list(heads), *([row[head] for head in heads] for row in rows)]
        marked = ["| " + " | ".join(plain(cell) for cell in line) + " |" for line in lines]
        marked.insert(1, "|" + " --- |" * len(heads))
        st.markdown("\n".join(marked))


def one_of(
    label: str,
    key: str,
    options: Sequence[str],
    default: str,
    words: Callable[[str], str] = str,
    draw: Callable[..., Any] = st.selectbox,
    **more: Any,
) -> str:
    """One of `options`, drawn by `draw` (a select box or radio buttons)."""

    def read(values: Sequence[str]) -> str | None:
        return values[0] if len(values) == 1 and values[0] in options else None

    state.follow(key, default)
    state.seed(key, lambda value: value in options, lambda: state.recall(key, label, read, default))
    value = draw(label, options, key=key, format_func=words, **more)
    state.keep(key, [value], [default])
    return value


def some_of(
    label: str,
    key: str,
    options: Sequence[str],
    default: Sequence[str],
    words: Callable[[str], str] = str,
    part: str = "",
    **more: Any,
) -> tuple[str, ...]:
    """Some of `options`, in the order chosen; for another `part` (such as a network) the default starts afresh."""

    def allowed(values: Iterable[str]) -> bool:
        return set(values) <= set(options)

    def read(values: Sequence[str]) -> list[str] | None:
        return list(dict.fromkeys(values)) if values and allowed(values) else None

    name = f"{key} {part}".strip()
    state.seed(name, allowed, lambda: list(state.recall(key, label, read, list(default))))
    values = tuple(st.multiselect(label, options, key=name, format_func=words, **more))
    state.keep(key, values, default)
    return values


def number(
    label: str,
    key: str,
    bounds: tuple[float, float],
    default: float,
    step: float,
    draw: Callable[..., Any] = st.slider,
    **more: Any,
) -> float:
    """A number within `bounds`, drawn by `draw` (a slider or a number field); whole when `step` is whole."""
    kind = type(step)
    low, high, default = kind(bounds[0]), kind(bounds[1]), kind(default)

    def read(values: Sequence[str]) -> float | None:
        try:
            value = float(values[0]) if len(values) == 1 else math.nan
        except ValueError:
            return None
        return kind(value) if low <= value <= high else None

    state.seed(key, lambda value: low <= value <= high, lambda: state.recall(key, label, read, default))
    value = draw(label, low, high, key=key, step=step, **more)
    state.keep(key, [_digits(value)], [_digits(default)])
    return value


def _digits(value: float) -> str:
    """A number in full, as a link must give it back."""
    return str(value) if isinstance(value, int) else f"{value:.15g}"


def text(label: str, key: str, most: int, **more: Any) -> str:
    """A line of text of at most `most` characters."""

    def read(values: Sequence[str]) -> str | None:
        return values[0] if len(values) == 1 and len(values[0]) <= most else None

    state.seed(key, lambda value: isinstance(value, str), lambda: state.recall(key, label, read, ""))
    value = st.text_input(label, key=key, max_chars=most, **more)
    state.keep(key, [value], [""])
    return value


def switch(label: str, key: str, default: bool, draw: Callable[..., Any] = st.checkbox, **more: Any) -> bool:
    """On or off, drawn by `draw` (a box to tick or a toggle)."""

    def read(values: Sequence[str]) -> bool | None:
        return {"on": True, "off": False}.get(values[0]) if len(values) == 1 else None

    state.seed(key, lambda value: isinstance(value, bool), lambda: state.recall(key, label, read, default))
    value = draw(label, key=key, **more)
    state.keep(key, ["on" if value else "off"], ["on" if default else "off"])
    return value


def download(label: str, content: Any, name: str, media_type: str = BINARY, **more: Any) -> None:
    """A button that gives a file; `content` are its bytes, its text, or a function that makes them when it is pressed.

    Unless `help` says otherwise, its help is what is known of files whose name ends so.
    """
    options = {"on_click": "ignore", "icon": ":material/download:", "help": help_texts.of_file(name), **more}
    st.download_button(label, content, name, media_type, **options)
