"""What a user takes home of an embedding: figure, points, neighbours, measures, and a manifest.

`embedding_reproduction` makes an embedding again from its manifest.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from xai import tables
from xai.embedding import Between, Embedding, Map, Said, Share
from xai.embedding_words import UNDEFINED
from xai.embedding_writing import plain, quality_json, share_json, versions
from xai.export import figure_files
from xai.figure_embedding import DEFAULT_MAPS, MapStyle, embedding_figure
from xai.figures import WIDTHS
from xai.tables import Row

FORMAT = "xai-embedding-1"
SAMPLE = 200
"""Points of each map that the manifest holds, so that a map made again can be laid onto the first."""
_DECIMALS = 5
_CAPTION = "What is measured of the embedding, with 95 \\% intervals where there are any."


def point_columns(found: Embedding) -> dict[str, list[Any]]:
    """One row for each network, severity and image, by column.

    `row` numbers the images from 0; `neighbours` are the rows of the nearest clean images in feature space, nearest
    first, for clean images only; `class_2` and `class_3` are the next most probable classes.
    """
    columns: dict[str, list[Any]] = {}
    for one in found.maps:
        near = [list(rows) for rows in one.neighbours.tolist()]
        _add(columns, found, one, 0.0, one.coordinates, one.answers, near)
        for each in one.degraded:
            none: list[Any] = [None] * len(found.ids)
            _add(columns, found, one, each.severity, each.coordinates, each.answers, none)
    return columns


def _add(
    columns: dict[str, list[Any]],
    found: Embedding,
    one: Map,
    severity: float,
    points: np.ndarray,
    answers: Said,
    near: list[Any],
) -> None:
    count, names = len(found.ids), [*found.classes, None]  # -1 is none
    rows: dict[str, list[Any]] = {
        "model": [one.model] * count,
        "severity": [severity] * count,
        "row": list(range(count)),
        "id": list(found.ids),
        "label": [names[number] for number in found.labels],
        "x": [float(value) for value in points[:, 0]],
        "y": [float(value) for value in points[:, 1]],
    }
    for place in range(3):
        suffix = f"_{place + 1}" if place else ""
        rows[f"class{suffix}"] = [names[number] for number in answers.classes[:, place]]
        rows[f"probability{suffix}"] = [float(value) for value in answers.probabilities[:, place]]
    rows["neighbours"] = near
    for name, values in rows.items():
        columns.setdefault(name, []).extend(values)


def points_csv(found: Embedding) -> bytes:
    """The points as CSV, neighbours as rows with spaces between."""
    columns = point_columns(found)
    columns["neighbours"] = [
        None if near is None else " ".join(map(str, near)) for near in columns["neighbours"]
    ]
    rounded = {
        name: [round(value, _DECIMALS) for value in values] if isinstance(values[0], float) else values
        for name, values in columns.items()
    }
    rows = zip(*rounded.values(), strict=True)
    return tables.as_csv([dict(zip(rounded, row, strict=True)) for row in rows]).encode()


def points_parquet(found: Embedding) -> bytes:
    """The points as Parquet, neighbours as lists of rows, with the request in the schema's metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"row": pa.int32(), "x": pa.float32(), "y": pa.float32(), "neighbours": pa.list_(pa.int32())}
    kinds |= {name: pa.float32() for name in ("severity", "probability", "probability_2", "probability_3")}
    columns = point_columns(found)
    table = pa.table({name: pa.array(values, kinds.get(name)) for name, values in columns.items()})
    facts = {"format": FORMAT, "request": json.dumps(found.request.to_json())}
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(facts), buffer, compression="zstd")
    return buffer.getvalue()


def metric_rows(found: Embedding) -> list[Row]:
    """Everything that is measured, one row for each measure: network (or `A and B`), measure, value, interval, n."""
    rows = [row for one in found.maps for row in _map_rows(found, one)]
    if found.between is not None:
        both, names = found.between, " and ".join(one.model for one in found.maps)
        rows.append(_row(names, "neighbours in common", both.mean))
        rows.append(_row(names, "neighbours in common by chance", both.chance))
        rows.append(_row(names, "Procrustes residual of the features", both.residual))
        rows.append(_row(names, "Procrustes residual of the pictures", both.residual_2d))
    return rows


def _map_rows(found: Embedding, one: Map) -> Iterator[Row]:
    quality = one.quality
    for words in ("trustworthiness", "continuity"):
        yield {**_row(one.model, words, getattr(quality, words)), "n": quality.judged}
    yield _row(one.model, "label by neighbours", quality.knn_accuracy)
    yield _row(one.model, "label by neighbours in the picture", quality.knn_accuracy_2d)
    yield _row(one.model, "silhouette", quality.mean_silhouette)
    for name, value in zip(found.classes, quality.silhouette, strict=True):
        yield _row(one.model, f"silhouette of {name}", value)
    for each in one.degraded:
        after = f"at severity {each.severity:g}"
        yield _row(one.model, f"label by neighbours {after}", each.knn_accuracy)
        yield {
            **_row(one.model, f"neighbours kept {after}", float(each.overlap.mean())),
            "n": len(each.overlap),
        }
        for name, value in zip(found.classes, each.drift, strict=True):
            yield _row(one.model, f"drift of {name} {after}", value)


def _row(model: str, measure: str, value: Share | float) -> Row:
    share = value if isinstance(value, Share) else Share(float(value), math.nan, math.nan, 0)
    numbers = {"value": share.value, "95 % from": share.low, "to": share.high}
    known = {name: round(number, 4) if math.isfinite(number) else None for name, number in numbers.items()}
    return {"network": model, "measure": measure, **known, "n": share.n or None}


def _printed(rows: Sequence[Row]) -> list[Row]:
    """Rows with four decimals, as tables show two, and words for what is not defined."""
    return [{name: _word(name, cell) for name, cell in row.items()} for row in rows]


def _word(name: str, cell: tables.Cell) -> tables.Cell:
    if name == "value" and cell is None:
        return UNDEFINED
    return f"{cell:.4f}" if isinstance(cell, float) else cell


def metrics_latex(found: Embedding) -> bytes:
    """Everything that is measured as a LaTeX table."""
    return tables.as_latex(_printed(metric_rows(found)), _CAPTION).encode()


def metrics_text(found: Embedding) -> list[str]:
    """The measures as aligned lines, those of single classes left out."""
    named = tuple(f"{word} of {name}" for word in ("silhouette", "drift") for name in found.classes)
    rows = [row for row in metric_rows(found) if not str(row["measure"]).startswith(named)]
    return tables.as_text(_printed(rows))


def distance_rows(found: Embedding) -> list[Row]:
    """Distances between class centres in feature space, one row for each network and class."""
    return [
        {
            "network": one.model,
            "class": name,
            **{f"to {other}": plain(value) for other, value in zip(found.classes, line, strict=True)},
        }
        for one in found.maps
        for name, line in zip(found.classes, one.quality.distances, strict=True)
    ]


def manifest(found: Embedding, style: MapStyle) -> dict[str, Any]:
    """Everything needed to make the embedding and its figure again, JSON-able, and what there was to compare."""
    return {
        "format": FORMAT,
        "request": found.request.to_json(),
        "style": asdict(style),
        "images": {"count": len(found.ids), "sha256": images_digest(found), "notes": list(found.notes)},
        "classes": list(found.classes),
        "models": [map_facts(one) for one in found.maps],
        "between": between_facts(found.between),
        "versions": versions(),
    }


def map_facts(one: Map) -> dict[str, Any]:
    """What a manifest says of one map: its network, its measures, and some of its points."""
    rows = _sample(len(one.coordinates))
    return {
        "name": one.model,
        "sha256": one.model_sha256,
        "layer": one.layer,
        "dimensions": one.dimensions,
        "engine": one.engine,
        "notes": list(one.notes),
        "quality": quality_json(one.quality),
        "sample": {"rows": rows.tolist(), "coordinates": one.coordinates[rows].tolist()},
        "degraded": [
            {
                "severity": each.severity,
                "knn_accuracy": share_json(each.knn_accuracy),
                "neighbours_kept": plain(each.overlap.mean()),
            }
            for each in one.degraded
        ],
    }


def between_facts(one: Between | None) -> dict[str, Any] | None:
    """What a manifest says of two maps together, None of one alone."""
    if one is None:
        return None
    numbers = {name: plain(getattr(one, name)) for name in ("chance", "residual", "residual_2d")}
    return {"mean": share_json(one.mean), **numbers}


def _sample(count: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(count, SAMPLE)).astype(np.int64))


def images_digest(found: Embedding) -> str:
    """Hash of the ids and labels of the images, in their order."""
    said = json.dumps([list(found.ids), found.labels.tolist()])
    return hashlib.sha256(said.encode()).hexdigest()


def bundle(found: Embedding, style: MapStyle = DEFAULT_MAPS, *, every_width: bool = True) -> dict[str, bytes]:
    """Files by name: the figure as PDF, SVG and PNG at 300 and 600 dpi, points, measures and manifest.

    `points.csv` and `points.parquet` have coordinates, answers and neighbours of every image, `metrics.csv` and
    `metrics.tex` what is measured, `distances.csv` the distances between classes. With `every_width` the other
    column width is added, as `figure-one-column.pdf` and so on.
    """
    files: dict[str, bytes] = {}
    for width in WIDTHS if every_width else (style.width,):
        stem = "figure" if width == style.width else f"figure-{width}"
        files |= figure_files(embedding_figure(found, replace(style, width=width)), stem)
    rows = metric_rows(found)
    files["points.csv"] = points_csv(found)
    files["points.parquet"] = points_parquet(found)
    files["metrics.csv"] = tables.as_csv(rows).encode()
    files["metrics.tex"] = metrics_latex(found)
    files["distances.csv"] = tables.as_csv(distance_rows(found)).encode()
    files["manifest.json"] = as_json(manifest(found, style))
    return files


def as_json(content: Mapping[str, Any]) -> bytes:
    """A manifest as a file."""
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()
