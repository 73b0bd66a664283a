"""Imports every module that registers a section of the comparison."""

from __future__ import annotations

__all__: list[str] = []
