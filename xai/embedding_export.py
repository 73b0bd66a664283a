"""What a user takes home of an embedding: figure, points, neighbours, measures, and a manifest that makes it again."""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from data.datasets import Progress
from models import zoo
from models.registry import Model
from xai import tables
from xai.embedding import Embedding, EmbeddingRequest, Map, Said, Share
from xai.embedding_file import rounded
from xai.embedding_writing import plain, quality_json, share_json, versions
from xai.export import ManifestError, figure_files
from xai.figure_embedding import DEFAULT_MAPS, MapStyle, embedding_figure
from xai.figures import WIDTHS

FORMAT = "xai-embedding-1"
SAMPLE = 200
"""Points of each map that the manifest holds, so that a map made again can be laid onto the first."""
TOLERANCE = 0.01
"""How far a measure made again may be off: other versions, processors and threads add up in another order."""
_DECIMALS = 5
Row = dict[str, tables.Cell]
Load = Callable[[str], Model]
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
    """Rows with four decimals, as tables show two."""
    return [
        {name: f"{cell:.4f}" if isinstance(cell, float) else cell for name, cell in row.items()}
        for row in rows
    ]


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
        "models": [_map_facts(one) for one in found.maps],
        "between": None
        if found.between is None
        else {
            "mean": share_json(found.between.mean),
            "chance": plain(found.between.chance),
            "residual": plain(found.between.residual),
            "residual_2d": plain(found.between.residual_2d),
        },
        "versions": versions(),
    }


def _map_facts(one: Map) -> dict[str, Any]:
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
            {"severity": each.severity, "knn_accuracy": share_json(each.knn_accuracy)}
            for each in one.degraded
        ],
    }


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


def read_manifest(content: bytes) -> tuple[EmbeddingRequest, MapStyle, dict[str, Any]]:
    """Parse a manifest; raises `ManifestError` with one sentence when it is not one."""
    try:
        found = json.loads(content)
        request, style = EmbeddingRequest.from_json(found["request"]), MapStyle(**found["style"])
        entries = {str(entry["name"]): str(entry["sha256"]) for entry in found["models"]}
        known = found["format"] == FORMAT and tuple(entries) == request.models
        _ = int(found["images"]["count"]), str(found["images"]["sha256"])
        for entry in found["models"]:
            _ = _sampled(entry), [_measure(value) for value in _held(entry["quality"])]
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ManifestError("The manifest is not one that this program wrote.") from error
    if not known:
        raise ManifestError("The manifest is not one that this program wrote, or of another version of it.")
    return request, style, found


def _held(quality: Mapping[str, Any]) -> list[Any]:
    """The measures of a manifest that are compared."""
    return [quality["trustworthiness"], quality["continuity"], quality["knn_accuracy"][0]]


def _measure(value: Any) -> float | None:
    """A measure as a manifest holds it; raises `ValueError` for anything but a number or nothing."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ValueError("no measure")
    return value


def _sampled(entry: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and coordinates that a manifest holds of a map."""
    rows = np.array(entry["sample"]["rows"], np.int64)
    points = np.array(entry["sample"]["coordinates"], np.float32)
    if points.shape != (len(rows), 2) or not np.isfinite(points).all():
        raise ValueError("no sample of a map")
    return rows, points


def reproduce(
    content: bytes, load: Load = zoo.load, progress: Progress | None = None
) -> tuple[Embedding, MapStyle, dict[str, Any]]:
    """Compute a manifest's embedding again, and say how near it comes to what the manifest holds of it.

    Raises `ManifestError` when a checkpoint or the images are others than the manifest names, and what `embed`,
    datasets and the zoo raise.
    """
    from xai.embedding_run import embed

    request, style, held = read_manifest(content)
    hashes = {entry["name"]: entry["sha256"] for entry in held["models"]}

    def checked(name: str) -> Model:
        model = load(name)
        if model.card.sha256 != hashes[name]:
            raise ManifestError(f"The checkpoint {name} is not the one in the manifest: its sha256 differs.")
        return model

    found = rounded(embed(request, load=checked, progress=progress))
    if images_digest(found) != held["images"]["sha256"]:
        raise ManifestError(
            f"The images of {request.dataset} {request.split} are not those of the manifest: "
            "their ids or labels differ."
        )
    return found, style, compared(held, found)


def compared(held: Mapping[str, Any], found: Embedding) -> dict[str, Any]:
    """How far an embedding made again is from a manifest's: per network the largest difference of a coordinate of the
    sample, the Procrustes residual, and the differences of measures; `same` is whether these are within 0.01."""
    entries = [
        _compared_map(entry, one, len(found.ids))
        for entry, one in zip(held["models"], found.maps, strict=True)
    ]
    return {"models": entries, "same": all(entry["same"] for entry in entries)}


def _compared_map(entry: Mapping[str, Any], one: Map, count: int) -> dict[str, Any]:
    from xai.alignment import procrustes

    rows, points = _sampled(entry)
    if len(rows) and (rows.min() < 0 or rows.max() >= count):
        raise ManifestError("The manifest names images that there are not.")
    again, now = one.coordinates[rows], quality_json(one.quality)
    pairs = {name: (entry["quality"][name], now[name]) for name in ("trustworthiness", "continuity")}
    pairs["knn_accuracy"] = entry["quality"]["knn_accuracy"][0], now["knn_accuracy"][0]
    differences = {name: _difference(*values) for name, values in pairs.items()}
    return {
        "name": one.model,
        "coordinates": plain(np.abs(again - points).max(initial=0.0)),
        "procrustes_residual": plain(procrustes(points, again).residual),
        "measures": differences,
        "same": all(_agree(*values) for values in pairs.values()),
    }


def _agree(before: float | None, after: float | None) -> bool:
    """Whether two measures are as good as equal, or both undefined."""
    if before is None or after is None:
        return before is after
    return abs(before - after) <= TOLERANCE


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else plain(abs(before - after))


def reproduce_files(content: bytes, image: Path | None = None) -> dict[str, bytes]:
    """The bundle of a manifest, made again, with `comparison.json`; raises as `reproduce` does.

    Raises `ManifestError` for a picture, as there is none to give.
    """
    if image is not None:
        raise ManifestError(f"The picture {image.name} was given, but an embedding is of a dataset.")
    found, style, comparison = reproduce(content)
    return bundle(found, style, every_width=False) | {"comparison.json": as_json(comparison)}
