"""Short work of many visitors: a few at a time, first come, first served, and who waits for others' is told so."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, TypeGuard, TypeVar

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from xai import settings
from xai.ui.memo import Memo

T = TypeVar("T")
PATIENCE = 1.0
"""Seconds after which who waits is told."""
EVERY = 0.5
"""Seconds between two looks at a place in line."""
LONGEST = 1.0
"""Seconds that a long job waits at each of its steps for visitors' short work."""
SHORT = ("cams", "figure")
"""Results of the Explain page that are made in turns: the first part of their keys. Each has a line of its own:
heatmaps of a small network take 20 ms, and would wait half a second for every figure before them."""
Tell = Callable[[int, int], None]
"""Called as `tell(place, of)`, the place counted from 1."""


class Turns:
    """As many at a time as `most()` says."""

    def __init__(self, most: Callable[[], int]) -> None:
        self._most, self._changed = most, threading.Condition()
        self._waiting: list[object] = []
        self._working = 0

    def do(self, work: Callable[[], T], tell: Tell) -> T:
        """What `work` gives, once it is its turn; `tell` is called while that lasts, and may raise to give up."""
        self._wait(tell)
        try:
            return work()
        finally:
            with self._changed:
                self._working -= 1
                self._changed.notify_all()

    def _wait(self, tell: Tell) -> None:
        ticket, begin = object(), time.monotonic()
        with self._changed:
            self._waiting.append(ticket)
        try:
            while (place := self._place(ticket)) is not None:
                if time.monotonic() - begin >= PATIENCE:
                    tell(*place)
        except BaseException:
            self._give_up(ticket)
            raise

    def _place(self, ticket: object) -> tuple[int, int] | None:
        """Where the ticket stands after a while; None when its turn has come."""
        with self._changed:
            if self._changed.wait_for(partial(self._is_next, ticket), EVERY):
                self._waiting.remove(ticket)
                self._working += 1
                self._changed.notify_all()
                return None
            return self._waiting.index(ticket) + 1, len(self._waiting)

    def _is_next(self, ticket: object) -> bool:
        return self._waiting[0] is ticket and self._working < self._most()

    def _give_up(self, ticket: object) -> None:
        with self._changed:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
            self._changed.notify_all()


def at_once() -> int:
    """Heatmaps that are made at once, and as many figures: one for each core where nothing is set."""
    return settings.AT_ONCE.value() or os.cpu_count() or 1


class AtHand:
    """How much short work visitors are waiting for, so that long jobs can step aside for it."""

    def __init__(self) -> None:
        self._changed, self._count = threading.Condition(), 0

    def __enter__(self) -> AtHand:
        with self._changed:
            self._count += 1
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._count -= 1
            self._changed.notify_all()

    def give_way(self, longest: float) -> None:
        """Return once there is none, or after so many seconds, `LONGEST` at most."""
        with self._changed:
            self._changed.wait_for(lambda: not self._count, min(longest, LONGEST))


at_hand = AtHand()
"""Of all visitors of this server."""


class InTurns(Memo):
    """A memo whose short work for visitors is done in turns; what jobs do has its own line."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(max_bytes)
        self._turns = {kind: Turns(at_once) for kind in SHORT}

    def __call__(self, key: Hashable, compute: Callable[[], T]) -> T:
        """As a memo does."""
        if _is_short(key) and get_script_run_ctx(suppress_warning=True) is not None:
            return super().__call__(key, partial(self._in_turn, self._turns[key[0]], compute))
        return super().__call__(key, compute)

    def _in_turn(self, turns: Turns, compute: Callable[[], T]) -> T:
        with _Told() as told, at_hand:
            return turns.do(compute, told.tell)


def _is_short(key: Hashable) -> TypeGuard[tuple[Any, ...]]:
    return isinstance(key, tuple) and bool(key) and key[0] in SHORT


class _Told:
    """A line on the page that says where a visitor stands, gone when the turn is over."""

    def __init__(self) -> None:
        self._place: Any = None

    def __enter__(self) -> _Told:
        return self

    def tell(self, place: int, of: int) -> None:
        """Say it."""
        self._place = self._place or st.empty()
        self._place.caption(f"Others are being served: place {place} of {of} in line.")

    def __exit__(self, *_: object) -> None:
        if self._place is not None:
            self._place.empty()
