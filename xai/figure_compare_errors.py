"""Figures of two networks' errors: accuracy and shared errors, the flow from clean to degraded, shifted classes."""

from __future__ import annotations

from matplotlib.figure import Figure

from xai.compare.error_results import Errors
from xai.compare.study import Facts


def error_figures(facts: Facts, found: Errors) -> dict[str, Figure]:
    """All figures by name."""
    return {}
