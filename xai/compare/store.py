"""Rows of sections on disk: Parquet files that say what they are of, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from models.files import write_bytes
from xai.compare.sections import Measured, Section, Table
from xai.compare.study import Facts

FORMAT = "xai-compare-rows-1"
LARGEST_FILE = 256 * 2**20


class RowsError(ValueError):
    """A file of rows that can't be read, or is of another comparison."""


def key_of(facts: Facts, section: Section) -> str:
    """What a section's rows depend on, as text."""
    named = json.dumps([FORMAT, section.name, section.version, facts.to_json()], sort_keys=True)
    return hashlib.sha256(named.encode()).hexdigest()


def write(folder: Path, facts: Facts, section: Section, rows: Measured) -> None:
    """Write a section's tables into `folder/SECTION`, and last of all which tables there are."""
    place, key = folder / section.name, key_of(facts, section)
    for name, table in rows.items():
        write_bytes(place / f"{name}.parquet", _bytes(table, {"key": key}))
    write_bytes(place / "tables.json", json.dumps({"key": key, "tables": list(rows)}).encode())


def read(folder: Path, facts: Facts, section: Section) -> Measured | None:
    """The rows that `write` wrote, None where there are none of this very comparison that can be read."""
    place, key = folder / section.name, key_of(facts, section)
    try:
        listed = json.loads((place / "tables.json").read_text())
        if listed["key"] != key:
            return None
        return {name: read_table(place / f"{_plain(name)}.parquet", key) for name in listed["tables"]}
    except (OSError, KeyError, TypeError, ValueError, RecursionError):
        return None


def read_table(path: Path, key: str = "") -> Table:
    """Columns of a Parquet file; raises `RowsError` for one that is none, or is of another comparison than `key`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if path.stat().st_size > LARGEST_FILE:
            raise RowsError(f"{path.name} is larger than {LARGEST_FILE // 2**20} MiB.")
        found = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise RowsError(f"{path.name} can't be read.") from error
    metadata = found.schema.metadata or {}
    if key and metadata.get(b"key", b"").decode() != key:
        raise RowsError(f"{path.name} is of another comparison.")
    return {name: _column(found[name]) for name in found.column_names}


def _column(values: object) -> np.ndarray:
    found: np.ndarray = values.to_numpy()  # type: ignore[attr-defined]
    return found.astype(str) if found.dtype == object else found


def _plain(name: object) -> str:
    if not isinstance(name, str) or not name.replace("_", "").isalnum():
        raise RowsError("a table's name is not one that this program wrote.")
    return name


def _bytes(table: Table, facts: Mapping[str, str]) -> bytes:
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        name: values.astype(str) if values.dtype.kind in "UO" else values for name, values in table.items()
    }
    made = pa.table({name: pa.array(values) for name, values in columns.items()}, metadata=dict(facts))
    buffer = io.BytesIO()
    pq.write_table(made, buffer, compression="zstd")
    return buffer.getvalue()
