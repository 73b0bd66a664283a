"""A bounded store of results for all visitors: computed once, the least recently used forgotten first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

T = TypeVar("T")
OVERHEAD = 200
"""Bytes counted for any value beside its data."""


def size_in_bytes(value: Any) -> int:
    """Roughly how much memory a result of tensors, arrays, bytes, dataclasses and containers of these takes."""
    if isinstance(value, (bytes, str)):
        return OVERHEAD + len(value)
    if isinstance(value, Mapping):
        return OVERHEAD + sum(size_in_bytes(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return OVERHEAD + sum(size_in_bytes(item) for item in value)
    if is_dataclass(value):
        return OVERHEAD + sum(size_in_bytes(getattr(value, entry.name)) for entry in fields(value))
    return OVERHEAD + int(getattr(value, "nbytes", 0))


class Memo:
    """`memo(key, compute)` returns the stored result of `key`, or computes and stores it.

    Two threads that ask for the same key compute it once; different keys don't wait for each other. What `compute`
    raises is passed on and not stored. Values are shared, so callers must not change them.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self._lock = threading.Lock()
        self._values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._computing: dict[Hashable, threading.Lock] = {}

    def __len__(self) -> int:
        return len(self._values)

    def __call__(self, key: Hashable, compute: Callable[[], T]) -> T:
        with self._lock:
            if key in self._values:
                return self._found(key)
            computing = self._computing.setdefault(key, threading.Lock())
        with computing:
            with self._lock:
                if key in self._values:
                    return self._found(key)
            try:
                value = compute()
                self._store(key, value)
            finally:
                with self._lock:
                    self._computing.pop(key, None)
        return value

    def get(self, key: Hashable) -> Any:
        """The stored result of `key`, or None."""
        with self._lock:
            return self._found(key) if key in self._values else None

    def _found(self, key: Hashable) -> Any:
        self._values.move_to_end(key)
        return self._values[key][0]

    def _store(self, key: Hashable, value: Any) -> None:
        size = size_in_bytes(value)
        with self._lock:
            self.bytes += size - self._values.pop(key, (None, 0))[1]
            self._values[key] = (value, size)
            while self.bytes > self.max_bytes and len(self._values) > 1:
                _, (_, freed) = self._values.popitem(last=False)
                self.bytes -= freed
