"""What a network answered to every image of a split, kept in one small Parquet file per network and split.

Columns: `id` (text), `label` and `predicted` (class numbers), and `p` (the softmax probabilities, a fixed-size
list of float16, about 3 significant digits). The file's own metadata says which weights and which data these
are. Everything that is said of accuracy, confusion or calibration later is derived from such rows.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from data.datasets import ImageSet
from models import training
from models.cards import Card
from models.files import write_by_rename
from models.layers import evaluation_mode
from models.registry import Model

COLUMNS = ("id", "label", "predicted", "p")
MAX_BYTES = 2**29
MAX_ROWS = 2_000_000
MAX_PROBABILITIES = 2 * 10**8
MAX_ID_LENGTH = 1_000
"""Limits of a file that is read: its size, rows, rows times classes, and the bytes of one id."""

_SUM_TOLERANCE = 0.01  # float16 rounds each probability by at most 0.05 %
_COMPRESSION_LEVEL = 19


class PredictionsError(ValueError):
    """Predictions, or a file of them, that can't be used; the message is one sentence."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """The answers of one network to N images of K classes.

    `labels` and `predicted` are int64 `(N,)` in [0, K), `probabilities` float16 `(N, K)` in [0, 1], `ids` unique.
    `facts` is what the file says of itself (see `facts_of`), empty where the rows come from no file.
    """

    ids: tuple[str, ...]
    labels: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray
    facts: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def correct(self) -> np.ndarray:
        """Whether each answer is right, bool `(N,)`."""
        return self.predicted == self.labels

    @property
    def accuracy(self) -> float:
        """Share of right answers, in [0, 1]."""
        return float(self.correct.mean())


def predict(
    network: nn.Module | Model,
    data: ImageSet,
    device: torch.device | str | None = None,
    batch_size: int = 250,
) -> Predictions:
    """Answers to every image of `data`, in evaluation mode and float32, in batches on `device`.

    `device` is where the weights are, and need only be given to be explicit. A `Model` is used under its lock.
    Raises `ValueError` when the network does not have as many outputs as the data has classes.
    """
    lock = network.lock if isinstance(network, Model) else contextlib.nullcontext()
    module = network.network if isinstance(network, Model) else network
    where = torch.device(device) if device is not None else next(module.parameters()).device
    with lock, evaluation_mode(module):
        scores = training.logits(module, data.images, where, batch_size)
    if scores.shape[1] != len(data.classes):
        raise ValueError(
            f"the network tells {scores.shape[1]} classes apart, but {data.name} has {len(data.classes)}."
        )
    shares = scores.softmax(dim=1).numpy().astype(np.float16)
    return Predictions(data.ids, data.labels.cpu().numpy(), scores.argmax(dim=1).numpy(), shares)


def aligned(a: Predictions, b: Predictions) -> Predictions:
    """The answers of `b` in the order of `a`'s images, so that row n of both is the same image.

    Raises `PredictionsError` (a `ValueError`) when the two are not answers to the same images with the same labels.
    """
    if a.ids != b.ids:
        b = _rows_in_order(b, _places(a, b))
    differing = np.flatnonzero(a.labels != b.labels)
    if len(differing):
        first = differing[0]
        raise PredictionsError(
            f"{_who(a, b)} differ in the labels of {len(differing):,} of {len(a):,} images, first of "
            f"{a.ids[first]}: {a.labels[first]} and {b.labels[first]}."
        )
    return b


def _places(a: Predictions, b: Predictions) -> list[int]:
    """Where each image of `a` stands in `b`."""
    places = {image: place for place, image in enumerate(b.ids)}
    missing = [image for image in a.ids if image not in places]
    if missing or len(a) != len(b):
        raise PredictionsError(
            f"{_who(a, b)} are of {len(a):,} and {len(b):,} images, of which {len(a) - len(missing):,} are the same; "
            "compared are only answers to the same images."
        )
    return [places[image] for image in a.ids]


def _rows_in_order(rows: Predictions, order: list[int]) -> Predictions:
    columns = {column.name: getattr(rows, column.name) for column in fields(rows)}
    arrays: dict[str, Any] = {
        name: value[order] for name, value in columns.items() if isinstance(value, np.ndarray)
    }
    return replace(rows, ids=tuple(rows.ids[place] for place in order), **arrays)


def _who(a: Predictions, b: Predictions) -> str:
    names = [rows.facts.get("model") for rows in (a, b)]
    return f"the answers of {names[0]} and {names[1]}" if all(names) else "the two sets of answers"


def facts_of(card: Card, split: str) -> dict[str, str]:
    """What a file of predictions says of itself: network, its sha256, dataset, split, classes and versions (JSON)."""
    return {
        "model": card.name,
        "sha256": card.sha256,
        "dataset": card.dataset,
        "split": split,
        "classes": json.dumps(card.classes),
        "versions": json.dumps(card.versions),
    }


def write(path: Path, predictions: Predictions, facts: Mapping[str, str]) -> None:
    """Write predictions as Parquet (zstd) by rename, with `facts` in the schema's metadata.

    Raises `PredictionsError` when the rows are not such as `read` would take.
    """
    import pyarrow.parquet as pq

    _check(predictions, "predictions to write")
    table = _table(predictions).replace_schema_metadata(dict(facts))
    encodings = {
        "id": "DELTA_BYTE_ARRAY",  # ids share their beginnings
        "label": "PLAIN",
        "predicted": "PLAIN",
        "p.list.element": "BYTE_STREAM_SPLIT",
    }

    def fill(temporary: Path) -> None:
        pq.write_table(
            table,
            temporary,
            compression="zstd",
            compression_level=_COMPRESSION_LEVEL,
            use_dictionary=False,
            column_encoding=encodings,
            write_page_checksum=True,
        )

    write_by_rename(path, fill)


def _table(predictions: Predictions) -> Any:
    import pyarrow as pa

    classes = predictions.probabilities.shape[1]
    number = pa.uint8() if classes <= 256 else pa.int16()
    flat = pa.array(np.ascontiguousarray(predictions.probabilities, np.float16).ravel())
    columns = [
        pa.array(predictions.ids, pa.string()),
        pa.array(predictions.labels, number),
        pa.array(predictions.predicted, number),
        pa.FixedSizeListArray.from_arrays(flat, classes),
    ]
    return pa.table(columns, names=list(COLUMNS))


def read(path: Path) -> Predictions:
    """Read what `write` wrote; the file may be anybody's.

    Raises `PredictionsError` with one sentence when it is missing, too large, damaged, or lacks sound columns.
    """
    import pyarrow as pa

    try:
        return _read(path)
    except PredictionsError:
        raise
    except FileNotFoundError as error:
        raise PredictionsError(f"there is no file of predictions {path.name}.") from error
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise PredictionsError(f"{path.name} is not a Parquet file, or it is damaged.") from error


def _read(path: Path) -> Predictions:
    import pyarrow.parquet as pq

    if path.stat().st_size > MAX_BYTES:
        raise PredictionsError(f"{path.name} is larger than the allowed {MAX_BYTES // 2**20} MiB.")
    with pq.ParquetFile(path, page_checksum_verification=True) as stream:
        classes = _check_schema(stream, path.name)
        table = stream.read(columns=list(COLUMNS))
    if any(column.null_count for column in table.columns):
        raise PredictionsError(f"{path.name} has rows with missing values.")
    flat = table["p"].combine_chunks().flatten()
    if flat.null_count or len(flat) != table.num_rows * classes:
        raise PredictionsError(f"{path.name} has rows with missing probabilities.")
    predictions = Predictions(
        _ids(table["id"], path.name),
        table["label"].to_numpy().astype(np.int64),
        table["predicted"].to_numpy().astype(np.int64),
        flat.to_numpy(zero_copy_only=False).astype(np.float16, copy=False).reshape(-1, classes),
        _facts(stream.schema_arrow.metadata, path.name),
    )
    _check(predictions, path.name)
    return predictions


def _check_schema(stream: Any, name: str) -> int:
    """Number of classes of a file whose columns and size are as they must be, before any row is read."""
    from pyarrow import types

    schema, rows = stream.schema_arrow, stream.metadata.num_rows
    allowed: dict[str, Callable[[Any], bool]] = {
        "id": types.is_string,
        "label": types.is_integer,
        "predicted": types.is_integer,
        "p": lambda kind: types.is_fixed_size_list(kind) and types.is_floating(kind.value_type),
    }
    for column, fits in allowed.items():
        if schema.names.count(column) != 1 or not fits(schema.field(column).type):
            raise PredictionsError(
                f"{name} has no sound column {column!r}; needed are {', '.join(COLUMNS)} as this program writes them."
            )
    classes = schema.field("p").type.list_size
    if not 1 <= rows <= MAX_ROWS or classes < 1 or rows * classes > MAX_PROBABILITIES:
        raise PredictionsError(
            f"{name} has {rows:,} rows of {classes:,} classes; allowed are 1 to {MAX_ROWS:,} rows "
            f"and {MAX_PROBABILITIES:,} probabilities."
        )
    sizes = (stream.metadata.row_group(k).total_byte_size for k in range(stream.metadata.num_row_groups))
    if sum(sizes) > 4 * MAX_BYTES:
        raise PredictionsError(f"{name} would unpack to more than the allowed {4 * MAX_BYTES // 2**20} MiB.")
    return classes


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


def _check(predictions: Predictions, name: str) -> None:
    """Raise `PredictionsError` when sizes disagree or a value is out of its range."""
    shares, count = predictions.probabilities, len(predictions.ids)
    if (
        shares.ndim != 2
        or not len(shares) == len(predictions.labels) == len(predictions.predicted) == count > 0
    ):
        raise PredictionsError(f"{name}: ids, labels, predicted classes and probabilities differ in number.")
    if len(set(predictions.ids)) != count:
        raise PredictionsError(f"{name} has an id twice.")
    for column in (predictions.labels, predictions.predicted):
        if column.min() < 0 or column.max() >= shares.shape[1]:
            raise PredictionsError(f"{name} has a class outside 0 to {shares.shape[1] - 1}.")
    _check_shares(shares, predictions.predicted, name)


def _check_shares(shares: np.ndarray, predicted: np.ndarray, name: str) -> None:
    if not (np.isfinite(shares).all() and shares.min() >= 0 and shares.max() <= 1):
        raise PredictionsError(f"{name} has a probability that is not a number in [0, 1].")
    if np.abs(shares.sum(axis=1, dtype=np.float32) - 1).max() > _SUM_TOLERANCE:
        raise PredictionsError(f"{name} has probabilities that do not sum to 1.")
    if (shares[np.arange(len(shares)), predicted] < shares.max(axis=1)).any():
        raise PredictionsError(f"{name} has a predicted class that is not the most probable one.")
