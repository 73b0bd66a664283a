"""Files of predictions: Parquet, written by rename, and read as what anybody may have made.

Columns: `id` (text), `label` and `predicted` (class numbers), and `p` (the softmax probabilities, a fixed-size
list of float16, about 3 significant digits). The file's own metadata says which weights and which data these are.

The compact form has, in place of `p`, only what most of what is derived needs: `confidence`, the probability of the
predicted class, and `label_probability`, that of the right one, both float16; the latter is null where the answer is
right, as it is the confidence there. `read` is for `Predictions`, with all probabilities; `read_answers` reads either
form as `Answers`, and `write` writes both.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from models.files import write_by_rename
from xai.predictions import Answers, Graded, Predictions, PredictionsError

COLUMNS = ("id", "label", "predicted", "p")
COMPACT_COLUMNS = ("id", "label", "predicted", "confidence", "label_probability")
MAX_BYTES = 2**29
MAX_ROWS = 2_000_000
MAX_PROBABILITIES = 2 * 10**8
MAX_CLASSES = 2**15
MAX_ID_LENGTH = 1_000
"""Limits of a file that is read: its size, rows, rows times classes, classes of the compact form,
and the bytes of one id."""
_SUM_TOLERANCE = 0.01  # float16 rounds each probability by at most 0.05 %
_COMPRESSION_LEVEL = 19
Content = TypeVar("Content")


def write(path: Path, predictions: Predictions | Answers, facts: Mapping[str, str]) -> None:
    """Write predictions as Parquet (zstd) by rename, with `facts` in the schema's metadata.

    Raises `PredictionsError` when the rows are not such as `read` or `read_answers` would take.
    """
    import pyarrow.parquet as pq

    _check(predictions, "predictions to write")
    table = _table(predictions).replace_schema_metadata(dict(facts))
    encodings = {
        "id": "DELTA_BYTE_ARRAY",  # ids share their beginnings
        "label": "PLAIN",
        "predicted": "PLAIN",
        "p.list.element": "BYTE_STREAM_SPLIT",
        "confidence": "BYTE_STREAM_SPLIT",
        "label_probability": "BYTE_STREAM_SPLIT",
    }

    def fill(temporary: Path) -> None:
        pq.write_table(
            table,
            temporary,
            compression="zstd",
            compression_level=_COMPRESSION_LEVEL,
            use_dictionary=False,
            column_encoding={
                column: how for column, how in encodings.items() if column.split(".")[0] in table.column_names
            },
            write_page_checksum=True,
        )

    write_by_rename(path, fill)


def _table(predictions: Predictions | Answers) -> Any:
    import pyarrow as pa

    highest = max(predictions.labels.max(), predictions.predicted.max())
    number = pa.uint8() if highest < 256 else pa.int16()
    columns = [
        pa.array(predictions.ids, pa.string()),
        pa.array(predictions.labels, number),
        pa.array(predictions.predicted, number),
    ]
    if isinstance(predictions, Answers):
        confidence, right = predictions.confidence, predictions.label_probability
        columns.append(pa.array(np.ascontiguousarray(confidence, np.float16)))
        columns.append(pa.array(np.ascontiguousarray(right, np.float16), mask=predictions.correct))
        return pa.table(columns, names=list(COMPACT_COLUMNS))
    flat = pa.array(np.ascontiguousarray(predictions.probabilities, np.float16).ravel())
    columns.append(pa.FixedSizeListArray.from_arrays(flat, predictions.probabilities.shape[1]))
    return pa.table(columns, names=list(COLUMNS))


def read(path: Path) -> Predictions:
    """Read what `write` wrote of all probabilities; the file may be anybody's.

    Raises `PredictionsError` with one sentence when it is missing, too large, damaged, or lacks sound columns.
    """
    return _guarded(path, _read)


def read_answers(path: Path) -> Answers:
    """Read either form as the compact one; raises `PredictionsError` as `read` does."""
    return _guarded(path, _read_answers)


def read_facts(path: Path) -> dict[str, str]:
    """What a file of either form says of itself, without reading its rows; raises `PredictionsError` as `read` does."""
    return _guarded(path, _read_facts)


def _guarded(path: Path, take: Callable[[Path], Content]) -> Content:
    import pyarrow as pa

    try:
        return take(path)
    except PredictionsError:
        raise
    except FileNotFoundError as error:
        raise PredictionsError(f"there is no file of predictions {path.name}.") from error
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise PredictionsError(f"{path.name} is not a Parquet file, or it is damaged.") from error


def _read(path: Path) -> Predictions:
    table, facts = _table_of(path, COLUMNS)
    return _predictions(table, facts, path.name)


def _read_answers(path: Path) -> Answers:
    with _opened(path) as stream:
        compact = "p" not in stream.schema_arrow.names
    if not compact:
        return _read(path).compact()
    table, facts = _table_of(path, COMPACT_COLUMNS)
    ids, labels, predicted = _graded(table, path.name)
    confidence, right = (
        table[name].to_numpy().astype(np.float16, copy=False) for name in COMPACT_COLUMNS[3:]
    )
    answers = Answers(
        ids, labels, predicted, confidence, np.where(labels == predicted, confidence, right), facts
    )
    _check(answers, path.name)
    return answers


def _read_facts(path: Path) -> dict[str, str]:
    with _opened(path) as stream:
        return _facts(stream.schema_arrow.metadata, path.name)


def _opened(path: Path) -> Any:
    import pyarrow.parquet as pq

    facts = path.stat()
    if not stat.S_ISREG(facts.st_mode):  # a pipe would be waited for
        raise PredictionsError(f"{path.name} is not a regular file.")
    if facts.st_size > MAX_BYTES:
        raise PredictionsError(f"{path.name} is larger than the allowed {MAX_BYTES // 2**20} MiB.")
    return pq.ParquetFile(path, page_checksum_verification=True)


def _table_of(path: Path, columns: Sequence[str]) -> tuple[Any, dict[str, str]]:
    """The columns and facts of a file that has them, of the right types, with no value missing."""
    with _opened(path) as stream:
        _check_schema(stream, path.name, columns)
        table = stream.read(columns=list(columns))
    if any(table[column].null_count for column in columns if column != "label_probability"):
        raise PredictionsError(f"{path.name} has rows with missing values.")
    return table, _facts(stream.schema_arrow.metadata, path.name)


def _graded(table: Any, name: str) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    labels, predicted = (table[column].to_numpy().astype(np.int64) for column in ("label", "predicted"))
    return _ids(table["id"], name), labels, predicted


def _predictions(table: Any, facts: dict[str, str], name: str) -> Predictions:
    classes, flat = table.schema.field("p").type.list_size, table["p"].combine_chunks().flatten()
    if flat.null_count or len(flat) != table.num_rows * classes:
        raise PredictionsError(f"{name} has rows with missing probabilities.")
    shares = flat.to_numpy(zero_copy_only=False).astype(np.float16, copy=False).reshape(-1, classes)
    predictions = Predictions(*_graded(table, name), shares, facts)
    _check(predictions, name)
    return predictions


def _check_schema(stream: Any, name: str, columns: Sequence[str]) -> None:
    """Raise `PredictionsError` unless columns and size are as they must be, before any row is read."""
    schema, rows = stream.schema_arrow, stream.metadata.num_rows
    allowed = _allowed_types()
    for column in columns:
        if schema.names.count(column) != 1 or not allowed[column](schema.field(column).type):
            raise PredictionsError(
                f"{name} has no sound column {column!r}; needed are {', '.join(columns)} as this program writes them."
            )
    classes = schema.field("p").type.list_size if "p" in columns else 1
    if not 1 <= rows <= MAX_ROWS or classes < 1 or rows * classes > MAX_PROBABILITIES:
        raise PredictionsError(
            f"{name} has {rows:,} rows of {classes:,} classes; allowed are 1 to {MAX_ROWS:,} rows "
            f"and {MAX_PROBABILITIES:,} probabilities."
        )
    sizes = (stream.metadata.row_group(k).total_byte_size for k in range(stream.metadata.num_row_groups))
    if sum(sizes) > 4 * MAX_BYTES:
        raise PredictionsError(f"{name} would unpack to more than the allowed {4 * MAX_BYTES // 2**20} MiB.")


def _allowed_types() -> dict[str, Callable[[Any], bool]]:
    from pyarrow import types

    return {
        "id": types.is_string,
        "label": types.is_integer,
        "predicted": types.is_integer,
        "p": lambda kind: types.is_fixed_size_list(kind) and types.is_floating(kind.value_type),
        "confidence": types.is_floating,
        "label_probability": types.is_floating,
    }


def _ids(column: Any, name: str) -> tuple[str, ...]:
    import pyarrow.compute as pc

    if pc.max(pc.binary_length(column)).as_py() > MAX_ID_LENGTH:
        raise PredictionsError(f"{name} has an id of more than {MAX_ID_LENGTH:,} bytes.")
    return tuple(column.to_pylist())


def _facts(metadata: Mapping[bytes, bytes] | None, name: str) -> dict[str, str]:
    try:
        facts = {key.decode(): value.decode() for key, value in (metadata or {}).items()}
    except UnicodeDecodeError as error:
        raise PredictionsError(f"{name} has metadata that is not text.") from error
    return {key: value for key, value in facts.items() if key != "pandas"}


def _check(rows: Predictions | Answers, name: str) -> None:
    """Raise `PredictionsError` when sizes disagree or a value is out of its range."""
    if isinstance(rows, Answers):
        _check_graded(rows, [rows.confidence, rows.label_probability], MAX_CLASSES, name)
        _check_confidence(rows, name)
    else:
        if rows.probabilities.ndim != 2:
            raise PredictionsError(f"{name}: the probabilities are no table.")
        _check_graded(rows, [rows.probabilities], rows.probabilities.shape[1], name)
        _check_shares(rows.probabilities, rows.predicted, name)


def _check_graded(rows: Graded, shares: Sequence[np.ndarray], classes: int, name: str) -> None:
    columns = [rows.labels, rows.predicted, *shares]
    if not len(rows) or any(len(column) != len(rows) for column in columns):
        raise PredictionsError(f"{name}: ids, labels, predicted classes and probabilities differ in number.")
    if len(set(rows.ids)) != len(rows):
        raise PredictionsError(f"{name} has an id twice.")
    for column in columns[:2]:
        if column.min() < 0 or column.max() >= classes:
            raise PredictionsError(f"{name} has a class outside 0 to {classes - 1}.")
    for share in shares:
        if not (np.isfinite(share).all() and share.min() >= 0 and share.max() <= 1):
            raise PredictionsError(f"{name} has a probability that is not a number in [0, 1].")


def _check_shares(shares: np.ndarray, predicted: np.ndarray, name: str) -> None:
    if np.abs(shares.sum(axis=1, dtype=np.float32) - 1).max() > _SUM_TOLERANCE:
        raise PredictionsError(f"{name} has probabilities that do not sum to 1.")
    if (shares[np.arange(len(shares)), predicted] < shares.max(axis=1)).any():
        raise PredictionsError(f"{name} has a predicted class that is not the most probable one.")


def _check_confidence(rows: Answers, name: str) -> None:
    differing = rows.confidence != rows.label_probability
    if (rows.label_probability > rows.confidence).any() or (differing & rows.correct).any():
        raise PredictionsError(f"{name} has a predicted class that is not the most probable one.")
