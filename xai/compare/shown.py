"""The images of one condition, degraded once for all networks that are to see them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from data.datasets import ImageSource
from models.registry import Model
from xai import passes
from xai.evaluation import forward_batch_size
from xai.evaluation_grid import Cell

LIMIT = 256 * 2**20
"""Bytes of images that are kept: 20,000 of 32 px, 5,000 of 64 px."""


class Shown:
    """Keeps the images of the condition that was asked for last, up to `limit` bytes of them; for one thread."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self._of: tuple[Any, ...] = (None, None, None)
        self._kept: dict[int, Tensor] = {}

    def batches(
        self, model: Model, data: ImageSource, cell: Cell, tell: Callable[[int], None]
    ) -> Iterator[tuple[slice, Tensor]]:
        """What `passes.batches` gives of all images, with the rows that they are."""
        if self._of[0] is not data or self._of[1:] != (cell.pixels, model.device):
            self._of, self._kept = (data, cell.pixels, model.device), {}
        size = forward_batch_size(data.pixels(slice(0)), model.device)
        for start in range(0, len(data), size):
            tell(start)
            rows = slice(start, min(start + size, len(data)))
            yield rows, self._batch(data, cell, rows, model)

    def _batch(self, data: ImageSource, cell: Cell, rows: slice, model: Model) -> Tensor:
        found = self._kept.get(rows.start)
        if found is None:
            found = passes.degraded_batch(data, cell, rows, model.device)
            held = sum(each.nbytes for each in self._kept.values())
            if held + found.nbytes <= self.limit:
                self._kept[rows.start] = found
        return found
