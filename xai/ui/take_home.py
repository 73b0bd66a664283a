"""Buttons for what goes with a figure of made pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st


def raw_and_manifest(stem: str, arrays: Callable[[], bytes], manifest: Callable[[], bytes]) -> None:
    """Raw pictures as `.npz` and the manifest, made when they are asked for."""
    with st.container(horizontal=True):
        options: dict[str, Any] = {"on_click": "ignore", "icon": ":material/download:"}
        st.download_button("Raw pictures (.npz)", arrays, f"{stem}.npz", key=f"{stem}.npz", **options)
        name = f"{stem}-manifest.json"
        st.download_button("Manifest (.json)", manifest, name, "application/json", key=name, **options)
