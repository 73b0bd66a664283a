"""How an embedding becomes columns of small whole numbers and JSON, and a Parquet file of these (`embedding_file`)."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from models.files import write_by_rename
from xai.attribution_types import ExplanationError
from xai.embedding import Between, Degraded, Embedding, Map, Quality, Said, Share

FORMAT = "xai-embedding-file-1"
KEY = b"xai-embedding"
"""Under which the file's metadata has the JSON, compressed."""
PROBABILITY_ERROR = 0.5 / 255
"""How far off a probability may be as it is kept."""
_DIGITS = 6
"""Significant digits of numbers that are not of single images."""


def coordinate_error(low: float, high: float, bits: int = 16) -> float:
    """How far off a coordinate between `low` and `high` may be as it is kept, in the same unit."""
    return (high - low) / (2**bits - 1) / 2


def write(path: Path, embeddings: Sequence[Embedding], bits: int = 16, level: int = 19) -> None:
    """Write embeddings of the same images by rename; coordinates have `bits` bits, 8 to 16, and zstd's `level`.

    Raises `ExplanationError` for none, for images or classes that differ, and for coordinates that are no numbers.
    """
    if not embeddings or not 8 <= bits <= 16:
        raise ExplanationError(
            f"{len(embeddings)} embeddings with {bits} bits were given; allowed are 1 or more, and 8 to 16."
        )
    first = embeddings[0]
    for each in embeddings[1:]:
        same = each.ids == first.ids and each.classes == first.classes
        if not same or not np.array_equal(each.labels, first.labels):
            raise ExplanationError("embeddings of different images or classes were given for one file.")
    writer = _Writer(bits, level)
    facts = {
        "format": FORMAT,
        "classes": list(first.classes),
        "embeddings": [writer.embedding(each) for each in embeddings],
        "versions": versions(),
    }
    write_by_rename(path, lambda temporary: writer.write(temporary, first, facts))


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that maps depend on."""
    from importlib import metadata

    from xai.manifests import package_versions

    names = ("scikit-learn", "umap-learn", "openTSNE", "pyarrow")
    return package_versions() | {name: metadata.version(name) for name in names}


@dataclass
class _Writer:
    """Columns by name, each kept once."""

    bits: int
    level: int
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    names: dict[bytes, str] = field(default_factory=dict)

    def put(self, columns: Iterable[np.ndarray]) -> list[str]:
        """Keep columns `(N,)`; returns their names."""
        return [self._put(np.ascontiguousarray(column)) for column in columns]

    def _put(self, column: np.ndarray) -> str:
        digest = hashlib.sha256(str(column.dtype).encode() + column.tobytes()).digest()
        name = self.names.setdefault(digest, f"c{len(self.names)}")
        self.columns[name] = column
        return name

    def embedding(self, one: Embedding) -> dict[str, Any]:
        """What is said of an embedding, its arrays by the names of their columns."""
        return {
            "request": one.request.to_json(),
            "notes": list(one.notes),
            "maps": [self.map(each) for each in one.maps],
            "between": self.between(one.between, one.maps),
        }

    def map(self, one: Map) -> dict[str, Any]:
        narrow = np.uint16 if len(one.neighbours) <= 2**16 else np.int32
        return {
            "model": one.model,
            "sha256": one.model_sha256,
            "layer": one.layer,
            "dimensions": one.dimensions,
            "coordinates": self.coordinates(one.coordinates),
            "neighbours": self.put(one.neighbours.astype(narrow).T),
            "answers": self.answers(one.answers),
            "quality": quality_json(one.quality),
            "degraded": [self.degraded(each, one.neighbours.shape[1]) for each in one.degraded],
            "engine": one.engine,
            "notes": list(one.notes),
        }

    def coordinates(self, points: np.ndarray) -> dict[str, Any]:
        """Points `(N, 2)` as whole steps of their range: off by at most `coordinate_error`."""
        if not np.isfinite(points).all():
            raise ExplanationError("the map has a point whose coordinates are no numbers; it can't be kept.")
        places = points.astype(np.float64)
        low, high = places.min(0, initial=np.inf), places.max(0, initial=-np.inf)
        unit = np.where(high > low, high - low, 1.0) / (2**self.bits - 1)
        steps = np.round((places - low) / unit).astype(np.uint16)
        return {"columns": self.put(steps.T), "low": low.tolist(), "high": high.tolist(), "bits": self.bits}

    def answers(self, one: Said) -> dict[str, Any]:
        """Class numbers, and probabilities in 256 steps: off by at most `PROBABILITY_ERROR`."""
        narrow = np.int8 if one.classes.max(initial=0) < 128 else np.int16
        shares = np.round(255 * one.probabilities.astype(np.float64)).clip(0, 255)
        return {
            "classes": self.put(one.classes.astype(narrow).T),
            "probabilities": self.put(shares.astype(np.uint8).T),
        }

    def degraded(self, one: Degraded, k: int) -> dict[str, Any]:
        return {
            "severity": one.severity,
            "coordinates": self.coordinates(one.coordinates),
            "answers": self.answers(one.answers),
            "overlap": self.shared(one.overlap, k),
            "knn_accuracy": share_json(one.knn_accuracy),
            "drift": plain(one.drift),
        }

    def shared(self, overlap: np.ndarray, k: int) -> str:
        """Shares of k neighbours as counts."""
        return self._put(np.round(np.nan_to_num(overlap) * k).astype(np.uint8))

    def between(self, one: Between | None, maps: Sequence[Map]) -> dict[str, Any] | None:
        if one is None:
            return None
        return {
            "overlap": self.shared(one.overlap, maps[0].neighbours.shape[1]),
            "mean": share_json(one.mean),
            "chance": plain(one.chance),
            "residual": plain(one.residual),
            "residual_2d": plain(one.residual_2d),
        }

    def write(self, path: Path, one: Embedding, facts: Mapping[str, Any]) -> None:
        """Write the Parquet file."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        text = json.dumps(facts, allow_nan=False, separators=(",", ":")).encode()
        table = pa.table({"id": pa.array(one.ids, pa.string()), "label": one.labels, **self.columns})
        coded = base64.b85encode(zlib.compress(text, 9))
        encodings = dict.fromkeys(table.column_names, "PLAIN")
        encodings |= {"id": "DELTA_BYTE_ARRAY", "label": "DELTA_BINARY_PACKED"}
        wide = [name for name, column in self.columns.items() if column.dtype.itemsize > 1]
        encodings |= dict.fromkeys(wide, "BYTE_STREAM_SPLIT")  # 13 % smaller than whole numbers one by one
        with pq.ParquetWriter(
            path,
            table.schema,
            compression="zstd",
            compression_level=self.level,
            use_dictionary=False,
            column_encoding=encodings,
            write_statistics=False,
            write_page_checksum=True,
            store_schema=False,  # it would hold the metadata once more
        ) as writer:
            writer.write_table(table)
            writer.add_key_value_metadata({KEY: coded})


def plain(value: Any) -> Any:
    """A number or an array as JSON: rounded, and None for what is no number."""
    if isinstance(value, np.ndarray):
        return [plain(each) for each in value]
    number = float(value)
    return float(f"{number:.{_DIGITS}g}") if math.isfinite(number) else None


def share_json(one: Share) -> list[Any]:
    """Value, ends and number."""
    return [plain(one.value), plain(one.low), plain(one.high), one.n]


def quality_json(one: Quality) -> dict[str, Any]:
    """All fields of a `Quality`, JSON-able."""
    numbers = ("trustworthiness", "continuity", "silhouette", "mean_silhouette", "distances")
    return {
        **{name: plain(getattr(one, name)) for name in numbers},
        "judged": one.judged,
        "knn_accuracy": share_json(one.knn_accuracy),
        "knn_accuracy_2d": share_json(one.knn_accuracy_2d),
        "warnings": list(one.warnings),
    }
