"""Imports every module that registers a section of the comparison."""

from __future__ import annotations

from xai.compare import errors, flips

__all__ = ["errors", "flips"]
