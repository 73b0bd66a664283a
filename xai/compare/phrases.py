"""Shares and differences of shares in words and as JSON, each with its interval and its n."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xai.compare.study import nan_to_none
from xai.metrics import Share
from xai.statistics import Difference, wilson
from xai.tables import p_value

FEWEST = 10
"""Images of a class, or answers counted, below which no share is given."""


def share(name: str, hits: np.ndarray) -> Share | None:
    """The share of `hits` bool `(n,)` that are true with Wilson's interval; None where there are none."""
    count, total = int(hits.sum()), len(hits)
    return Share(name, count, total, *wilson(count, total)) if total else None


def percent(found: Share | None) -> str:
    """Such as `71.2 % (68.0 to 74.2, n = 2,000)`, or `not defined (n = 0)`."""
    if found is None:
        return "not defined (n = 0)"
    value, low, high = (f"{100 * each:.1f}" for each in (found.share, found.low, found.high))
    return f"{value} % ({low} to {high}, n = {found.total:,})"


def points(found: Difference) -> str:
    """A difference in percentage points, such as `-3.1 points (-5.0 to -1.2, n = 2,000)`."""
    value, low, high = (f"{100 * each:+.1f}" for each in (found.difference, found.low, found.high))
    return f"{value} points ({low} to {high}, n = {found.n:,})"


def share_json(found: Share | None) -> dict[str, Any]:
    """As JSON has it; None for what is not defined."""
    if found is None:
        return {"value": None, "low": None, "high": None, "n": 0}
    return {"value": found.share, "low": found.low, "high": found.high, "n": found.total}


def difference_json(found: Difference | None, p_holm: float = float("nan")) -> dict[str, Any]:
    """As JSON has it, with the p value adjusted for its family; None for what is not defined."""
    if found is None:
        return {"value": None, "low": None, "high": None, "p": None, "p_holm": None, "n": 0}
    ends = {"value": found.difference, "low": found.low, "high": found.high}
    return ends | {"p": nan_to_none(found.p_value), "p_holm": nan_to_none(p_holm), "n": found.n}


def p_words(value: float) -> str:
    """Such as `p = 0.012` or `p < 0.001`."""
    words = p_value(value)
    return f"p {words}" if words.startswith("<") else f"p = {words}"


def moving_words(moving: int, idle: int) -> str:
    """Such as `13 conditions that change anything (2 leave every image as it is)`; `15 conditions` where all do."""
    if not idle:
        return f"{moving} conditions"
    leave = f"{idle} leave" if idle > 1 else "1 leaves"
    return f"{moving} conditions that change anything ({leave} every image as it is)"


def spread(counts: Sequence[int]) -> str:
    """Such as `2,000` or `1,990 to 2,000`; `0` for none."""
    low, high = min(counts, default=0), max(counts, default=0)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def listed(words: Sequence[str]) -> str:
    """Words as a sentence lists them: `a`, `a and b`, `a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""
