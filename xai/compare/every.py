"""Imports every module that registers a section of the comparison."""

from __future__ import annotations

from xai.compare import agreement, cues, drift, errors, examples, flips, frequencies, validity

__all__ = ["agreement", "cues", "drift", "errors", "examples", "flips", "frequencies", "validity"]
