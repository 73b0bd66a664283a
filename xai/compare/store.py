"""Rows of sections on disk: Parquet files that say what they are of, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models.files import write_bytes
from xai.compare.sections import Measured, Section, Table
from xai.compare.study import Facts

FORMAT = "xai-compare-rows-1"
LIST = "tables.json"
"""The file of a section that names its tables."""
LEVEL = 9
"""Of zstd, unless said otherwise."""
LARGEST_FILE = 256 * 2**20
LARGEST_LIST = 2**16
MOST_COLUMNS, MOST_VALUES = 1_000, 2**28
"""Limits of a file that is read, which may be anybody's: bytes, columns, and columns times rows."""


class RowsError(ValueError):
    """A file of rows that can't be read, or is of another comparison."""


def key_of(facts: Facts, section: Section) -> str:
    """What a section's rows depend on, as text."""
    named = json.dumps([FORMAT, section.name, section.version, facts.to_json()], sort_keys=True)
    return hashlib.sha256(named.encode()).hexdigest()


def write(folder: Path, facts: Facts, section: Section, rows: Measured) -> None:
    """Write a section's tables into `folder/SECTION`, and last of all which tables there are."""
    for name, content in encoded(facts, section, rows).items():
        write_bytes(folder / name, content)


def encoded(facts: Facts, section: Section, rows: Measured, level: int = LEVEL) -> dict[str, bytes]:
    """The files of a section's tables by their names, `SECTION/TABLE.parquet` and last `SECTION/tables.json`.

    `level` is that of zstd. The same rows give the same bytes with the same version of pyarrow.
    """
    key = key_of(facts, section)
    files = {
        f"{section.name}/{_plain(name)}.parquet": _bytes(table, {"key": key}, level)
        for name, table in rows.items()
    }
    listed = json.dumps({"key": key, "tables": list(rows)}).encode()
    return {**files, f"{section.name}/{LIST}": listed}


def read(folder: Path, facts: Facts, section: Section) -> Measured | None:
    """The rows that `write` wrote, None where there are none of this very comparison that can be read."""
    place, key = folder / section.name, key_of(facts, section)
    try:
        if (place / LIST).stat().st_size > LARGEST_LIST:
            return None
        listed = json.loads((place / LIST).read_text())
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
        with pq.ParquetFile(path) as stream:
            _check_size(path.name, stream.metadata)
            found = stream.read()
    except (OSError, pa.ArrowException) as error:
        raise RowsError(f"{path.name} can't be read.") from error
    metadata = found.schema.metadata or {}
    if key and metadata.get(b"key", b"").decode() != key:
        raise RowsError(f"{path.name} is of another comparison.")
    return {name: _column(found[name]) for name in found.column_names}


def _check_size(name: str, shape: Any) -> None:
    """Raise `RowsError` for more than any comparison has, before it is unpacked."""
    groups = range(shape.num_row_groups)
    unpacked = sum(shape.row_group(group).total_byte_size for group in groups)
    many = shape.num_columns > MOST_COLUMNS or shape.num_columns * shape.num_rows > MOST_VALUES
    if many or unpacked > 8 * MOST_VALUES:
        raise RowsError(
            f"{name} has {shape.num_rows:,} rows of {shape.num_columns:,} columns, which is more than is allowed."
        )


def _column(values: object) -> np.ndarray:
    found: np.ndarray = values.to_numpy()  # type: ignore[attr-defined]
    return found.astype(str) if found.dtype == object else found


def _plain(name: object) -> str:
    if not isinstance(name, str) or not name.replace("_", "").isalnum():
        raise RowsError("a table's name is not one that this program wrote.")
    return name


def _bytes(table: Table, facts: Mapping[str, str], level: int) -> bytes:
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        name: values.astype(str) if values.dtype.kind in "UO" else values for name, values in table.items()
    }
    made = pa.table({name: pa.array(values) for name, values in columns.items()}, metadata=dict(facts))
    split = [name for name, values in columns.items() if _is_spread(values)]
    buffer = io.BytesIO()
    pq.write_table(
        made,
        buffer,
        compression="zstd",
        compression_level=level,
        use_dictionary=[name for name in columns if name not in split],
        use_byte_stream_split=split,
        write_statistics=False,
    )
    return buffer.getvalue()


def _is_spread(values: np.ndarray) -> bool:
    """Whether a column is of fractions that hardly ever come twice, which a dictionary does not make smaller."""
    return values.dtype.kind == "f" and values.itemsize > 2 and len(np.unique(values)) > len(values) / 4
