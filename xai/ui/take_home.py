"""Buttons for what goes with a figure of made pictures."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from xai import tables
from xai.ui import widgets


def raw_and_manifest(stem: str, arrays: Callable[[], bytes], manifest_file: Callable[[], bytes]) -> None:
    """Raw pictures as `.npz` and the manifest, made when they are asked for."""
    with st.container(horizontal=True):
        _button("Raw pictures (.npz)", arrays, f"{stem}.npz")
        _button("Manifest (.json)", manifest_file, f"{stem}-manifest.json")


def rows_and_manifest(stem: str, rows: Callable[[], tables.Rows], manifest_file: Callable[[], bytes]) -> None:
    """The numbers of a figure as CSV and the manifest, made when they are asked for."""
    with st.container(horizontal=True):
        _button("Numbers (.csv)", lambda: tables.as_csv(rows()).encode(), f"{stem}.csv")
        _button("Manifest (.json)", manifest_file, f"{stem}-manifest.json")


def manifest(stem: str, content: Callable[[], bytes]) -> None:
    """The manifest that goes with a figure, made when it is asked for."""
    _button("Manifest (.json)", content, f"{stem}-manifest.json")


def _button(label: str, content: Callable[[], bytes], name: str) -> None:
    widgets.download(label, content, name, key=name)
