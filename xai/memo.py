"""What is costly goes through `memo(key, compute)`, so that a caller who keeps results computes only what is new."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")
Memo = Callable[[tuple[Any, ...], Callable[[], T]], T]
"""`memo(key, compute)` gives what was computed for the key before, or computes it."""


def no_memo(_key: tuple[Any, ...], compute: Callable[[], T]) -> T:
    """The memo that keeps nothing."""
    return compute()


class Kept:
    """A memo without a limit."""

    def __init__(self) -> None:
        self._values: dict[Hashable, Any] = {}
        self._lock = threading.RLock()

    def __call__(self, key: Hashable, compute: Callable[[], T]) -> T:
        with self._lock:
            if key not in self._values:
                self._values[key] = compute()
            kept: T = self._values[key]
            return kept
