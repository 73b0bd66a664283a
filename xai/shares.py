"""How far work is that consists of parts: each says its own share, which becomes its place in the share of all."""

from __future__ import annotations

from collections.abc import Callable

Told = Callable[[float], None]
"""Called with the share in [0, 1] that is done; it may raise, to end the work."""


def untold(_share: float) -> None:
    """Nobody wants to know."""


def part(told: Told, place: int, count: int) -> Told:
    """What one of `count` parts, counted from 0, says its own share to."""
    return lambda share: told((place + share) / count)
