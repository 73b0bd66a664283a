"""Embeddings of the same images in one Parquet file: columns of small whole numbers, and JSON that says what they are.

Coordinates are whole steps of their range (16 bits unless fewer are asked for; `coordinate_error` says how far off
that is), the three largest probabilities have 8 bits (off by at most 0.002), and shared neighbours are counts. Several
embeddings, such as the t-SNE and the UMAP of one network, share the columns in which they agree. A file that is read
may be anybody's: nothing in it is run, and every size, type and range is checked.
"""

from __future__ import annotations

import base64
import json
import math
import stat
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xai.attribution_types import ExplanationError
from xai.embedding import (
    MOST_NEIGHBOURS,
    Between,
    Degraded,
    Embedding,
    EmbeddingRequest,
    Map,
    Quality,
    Said,
    Share,
)
from xai.embedding_writing import FORMAT, KEY, write

__all__ = ["EmbeddingFileError", "read", "read_facts", "rounded", "write"]

MAX_BYTES = 2**26
MAX_ROWS = 1_000_000
MAX_COLUMNS = 4_000
MAX_VALUES = 2**27
MAX_FACTS = 2**25
MAX_CLASSES = 2**15 - 1
MAX_ID_LENGTH = 1_000
"""Limits of a file that is read: bytes, rows, columns, rows times columns, bytes of its JSON, classes, and the bytes
of one id."""


_ROUNDING = 1e-6
"""By how much a measure may be outside its range."""


class EmbeddingFileError(ExplanationError):
    """A file of embeddings that can't be used; the message is one sentence."""


def rounded(found: Embedding) -> Embedding:
    """The embedding as it would be read again, so that one just computed and one that was kept look the same."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "embedding.parquet"
        write(path, [found], level=1)
        return read(path)[0]


def read(path: Path) -> tuple[Embedding, ...]:
    """The embeddings of a file that `write` wrote; the file may be anybody's.

    Raises `EmbeddingFileError` with one sentence when it is missing, too large, damaged, or not sound.
    """
    return _guarded(path, _read)


def read_facts(path: Path) -> dict[str, Any]:
    """What a file says of itself, without its rows: `embeddings` (their requests and maps), `classes`, `versions`."""
    return _guarded(path, lambda stream, name: _facts(stream, name))


def _guarded(path: Path, take: Any) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode) or state.st_size > MAX_BYTES:
            raise EmbeddingFileError(
                f"{path.name} is no file of an embedding; allowed are regular files of up to {MAX_BYTES // 2**20} MiB."
            )
        return take(pq.ParquetFile(path, page_checksum_verification=True), path.name)
    except EmbeddingFileError:
        raise
    except FileNotFoundError as error:
        raise EmbeddingFileError(f"there is no file {path.name}.") from error
    except (pa.ArrowException, OSError, MemoryError, RecursionError) as error:
        raise EmbeddingFileError(f"{path.name} is not a Parquet file, or it is damaged.") from error
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, zlib.error) as error:
        raise EmbeddingFileError(f"{path.name} is not an embedding that this program wrote.") from error


def _facts(stream: Any, name: str) -> dict[str, Any]:
    """The JSON of a file whose sizes are allowed."""
    shape = stream.metadata
    sizes = sum(shape.row_group(group).total_byte_size for group in range(shape.num_row_groups))
    if not (
        1 <= shape.num_rows <= MAX_ROWS
        and shape.num_columns <= MAX_COLUMNS
        and shape.num_rows * shape.num_columns <= MAX_VALUES
        and sizes <= 8 * MAX_VALUES
    ):
        raise EmbeddingFileError(
            f"{name} has {shape.num_rows:,} rows of {shape.num_columns:,} columns, which is more than is allowed."
        )
    unpacker = zlib.decompressobj()
    text = unpacker.decompress(base64.b85decode((shape.metadata or {})[KEY]), MAX_FACTS)
    facts: dict[str, Any] = json.loads(text)
    if facts["format"] != FORMAT or not facts["embeddings"]:
        raise ValueError("another format")
    classes = _texts(facts["classes"])
    if not 1 <= len(set(classes)) == len(classes) <= MAX_CLASSES:
        raise ValueError("no classes, or one twice")
    return facts


def _read(stream: Any, name: str) -> tuple[Embedding, ...]:
    facts = _facts(stream, name)
    schema = stream.schema_arrow
    if len(set(schema.names)) != len(schema.names):
        raise ValueError("a column twice")
    reader = _Reader(stream.read(), tuple(facts["classes"]))
    return tuple(reader.embedding(each) for each in facts["embeddings"])


class _Reader:
    """The columns of a file as the arrays of embeddings; raises `ValueError` or the like for what is not sound."""

    def __init__(self, table: Any, classes: tuple[str, ...]) -> None:
        import pyarrow.compute as pc
        from pyarrow import types

        self.table, self.classes, self.rows = table, classes, table.num_rows
        ids = table["id"]
        if not types.is_string(ids.type) or pc.max(pc.binary_length(ids)).as_py() > MAX_ID_LENGTH:
            raise ValueError("ids that are no short texts")
        self.ids = tuple(ids.to_pylist())
        if len(set(self.ids)) != self.rows or None in self.ids:
            raise ValueError("an id twice")
        self.labels = _within(self.column("label"), 0, len(classes)).astype(np.int64)

    def column(self, name: str) -> np.ndarray:
        """A column of whole numbers."""
        from pyarrow import types

        column = self.table[str(name)]
        if not types.is_integer(column.type) or column.null_count:
            raise ValueError("a column that is not of whole numbers")
        return column.to_numpy()

    def columns(self, names: Sequence[str], count: int | None = None) -> np.ndarray:
        """Columns side by side, `(N, count)` int64."""
        if not isinstance(names, list) or (count is not None and len(names) != count):
            raise ValueError("another number of columns")
        found = [self.column(name).astype(np.int64) for name in names]
        return np.stack(found, axis=1) if found else np.zeros((self.rows, 0), np.int64)

    def embedding(self, found: Mapping[str, Any]) -> Embedding:
        """The embedding that the file's account of itself describes; `ValueError` where parts do not fit."""
        request = EmbeddingRequest.from_json(found["request"])
        maps = tuple(self.map(each) for each in found["maps"])
        if tuple(each.model for each in maps) != request.models:
            raise ValueError("maps of other networks than the request's")
        for each in maps:
            if tuple(one.severity for one in each.degraded) != request.severities:
                raise ValueError("other severities than the request's")
            if each.neighbours.shape[1] != min(request.k, self.rows - 1):
                raise ValueError("another number of neighbours than the request's")
        between = self.between(found["between"], maps)
        return Embedding(request, self.ids, self.labels, self.classes, maps, between, _texts(found["notes"]))

    def map(self, found: Mapping[str, Any]) -> Map:
        """One network's map, every part within the limits of what may be stored."""
        neighbours = self.neighbours(found["neighbours"])
        return Map(
            str(found["model"]),
            str(found["sha256"]),
            str(found["layer"]),
            _whole(found["dimensions"], 1, MAX_VALUES),
            self.coordinates(found["coordinates"]),
            neighbours,
            self.answers(found["answers"]),
            self.quality(found["quality"]),
            tuple(self.degraded(each, neighbours.shape[1]) for each in found["degraded"]),
            str(found["engine"]),
            _texts(found["notes"]),
        )

    def neighbours(self, names: Sequence[str]) -> np.ndarray:
        """Rows of other images, `(N, k)`, none twice in a row."""
        if len(names) > MOST_NEIGHBOURS:
            raise ValueError("too many neighbours")
        found = _within(self.columns(names), 0, self.rows).astype(np.int32)
        own = np.arange(self.rows, dtype=np.int32)[:, None]
        if not np.diff(np.sort(np.hstack([own, found]))).all():
            raise ValueError("an image that is its own neighbour, or one twice")
        return found

    def coordinates(self, found: Mapping[str, Any]) -> np.ndarray:
        """Points `(N, 2)` float32 from whole steps of their range."""
        last = 2 ** _whole(found["bits"], 8, 16) - 1
        low, high = (_numbers(found[end], (2,)) for end in ("low", "high"))
        if not np.isfinite([low, high]).all() or (high < low).any():
            raise ValueError("no range of coordinates")
        if np.abs([low, high]).max() > np.finfo(np.float32).max / 2:
            raise ValueError("coordinates beyond single precision")
        steps = _within(self.columns(found["columns"], 2), 0, last + 1)
        return (low + steps * ((high - low) / last)).astype(np.float32)

    def answers(self, found: Mapping[str, Any]) -> Said:
        """Class numbers int16 `(N, 3)`, -1 for none, and their probabilities float32, from 256 steps."""
        classes = _within(self.columns(found["classes"], 3), -1, len(self.classes))
        shares = _within(self.columns(found["probabilities"], 3), 0, 256)
        if (classes[:, 0] < 0).any():
            raise ValueError("an answer without a class")
        return Said(classes.astype(np.int16), (shares / 255).astype(np.float32))

    def degraded(self, found: Mapping[str, Any], k: int) -> Degraded:
        return Degraded(
            _number(found["severity"]),
            self.coordinates(found["coordinates"]),
            self.answers(found["answers"]),
            self.shared(found["overlap"], k),
            self.share(found["knn_accuracy"]),
            _ranged(_numbers(found["drift"], (len(self.classes),)), 0, math.inf),
        )

    def shared(self, name: str, k: int) -> np.ndarray:
        """Shares `(N,)` of the k neighbours, from counts; NaN for a k of 0."""
        return _within(self.column(name), 0, k + 1) / k if k else np.full(self.rows, np.nan)

    def quality(self, found: Mapping[str, Any]) -> Quality:
        count = len(self.classes)
        return Quality(
            _measure(found["trustworthiness"]),
            _measure(found["continuity"]),
            _whole(found["judged"], 0, self.rows),
            self.share(found["knn_accuracy"]),
            self.share(found["knn_accuracy_2d"]),
            _ranged(_numbers(found["silhouette"], (count,)), -1, 1),
            _measure(found["mean_silhouette"], -1),
            _ranged(_numbers(found["distances"], (count, count)), 0, math.inf),
            _texts(found["warnings"]),
        )

    def between(self, found: Mapping[str, Any] | None, maps: Sequence[Map]) -> Between | None:
        """What is said of two maps; None of a single one."""
        if (found is None) != (len(maps) == 1):
            raise ValueError("two maps with nothing said between them, or one with something")
        if found is None:
            return None
        numbers = (_measure(found[name]) for name in ("chance", "residual", "residual_2d"))
        overlap = self.shared(found["overlap"], maps[0].neighbours.shape[1])
        return Between(overlap, self.share(found["mean"]), *numbers)

    def share(self, found: Sequence[Any]) -> Share:
        """A share with its interval, of some of the images."""
        value, low, high, n = found
        return Share(_measure(value), _measure(low), _measure(high), _whole(n, 0, self.rows))


def _within(values: np.ndarray, low: int, end: int) -> np.ndarray:
    if len(values) and values.size and (values.min() < low or values.max() >= end):
        raise ValueError(f"a number outside {low} to {end - 1}")
    return values


def _number(value: Any) -> float:
    if value is not None and type(value) not in (int, float):
        raise ValueError("no number")
    return math.nan if value is None else float(value)


def _numbers(values: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of a shape, NaN for None."""
    found = np.array(values, dtype=object)
    if found.shape != shape:
        raise ValueError(f"numbers of the shape {found.shape} instead of {shape}")
    return np.array([_number(each) for each in found.ravel()], np.float64).reshape(shape)


def _ranged(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Numbers from `low` to `high`, but for rounding, or NaN."""
    if (values < low - _ROUNDING).any() or (values > high + _ROUNDING).any() or np.isinf(values).any():
        raise ValueError(f"a measure outside {low} to {high}")
    return values


def _measure(value: Any, low: float = 0) -> float:
    """A number from `low` to 1, NaN for None."""
    return float(_ranged(np.array([_number(value)]), low, 1)[0])


def _whole(value: Any, low: int, high: int) -> int:
    """A whole number from `low` to `high`."""
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"no whole number from {low} to {high}")
    return value


def _texts(found: Any) -> tuple[str, ...]:
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise ValueError("notes that are no texts")
    return tuple(found)
