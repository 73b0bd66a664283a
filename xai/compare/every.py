"""Imports every module that registers a section of the comparison."""

from __future__ import annotations

from xai.compare import agreement, errors, flips

__all__ = ["agreement", "errors", "flips"]
