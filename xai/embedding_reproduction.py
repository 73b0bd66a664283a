"""Makes an embedding again from its manifest, and says how near it comes to what the manifest holds of the first."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data.datasets import Progress
from models import zoo
from models.registry import Model
from xai.embedding import Embedding, EmbeddingRequest, Map
from xai.embedding_export import FORMAT, as_json, between_facts, bundle, images_digest, map_facts
from xai.embedding_file import rounded
from xai.embedding_writing import plain
from xai.figure_embedding import MapStyle
from xai.manifests import ManifestError

TOLERANCE = 0.01
"""How far a measure made again may be off: other versions, processors and threads add up in another order."""
_OF_PICTURES = ("residual_2d",)
"""Measures of pictures, which may settle otherwise: how far they are off is told, but says nothing of sameness."""
_SWITCHES = ("degraded", "arrows", "centroids", "hulls", "density")
Load = Callable[[str], Model]
Measures = dict[str, float | None]


def read_manifest(content: bytes) -> tuple[EmbeddingRequest, MapStyle, dict[str, Any]]:
    """Parse a manifest; raises `ManifestError` with one sentence when it is not one."""
    try:
        found = json.loads(content)
        request = EmbeddingRequest.from_json(found["request"])
        style = _style(found["style"], request)
        entries = {str(entry["name"]): str(entry["sha256"]) for entry in found["models"]}
        known = found["format"] == FORMAT and tuple(entries) == request.models
        _ = int(found["images"]["count"]), str(found["images"]["sha256"])
        for entry in found["models"]:
            _ = _sampled(entry), _measures(entry)
            known &= tuple(each["severity"] for each in entry["degraded"]) == request.severities
        known &= (len(_between_measures(found["between"])) > 0) == (len(entries) > 1)
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ManifestError("The manifest is not one that this program wrote.") from error
    if not known:
        raise ManifestError("The manifest is not one that this program wrote, or of another version of it.")
    return request, style, found


def _style(values: Mapping[str, Any], request: EmbeddingRequest) -> MapStyle:
    """The style of a manifest; raises `ValueError` or `TypeError` for values of other kinds."""
    style = MapStyle(**values)
    if not all(isinstance(getattr(style, name), bool) for name in _SWITCHES):
        raise ValueError("a switch that is neither on nor off")
    if style.severity is not None and _measure(style.severity) not in request.severities:
        raise ValueError("a severity that was not asked for")
    return style


def _measures(entry: Mapping[str, Any]) -> Measures:
    """The measures by name that a manifest holds of a map; raises `ValueError` or the like for what are none."""
    quality = entry["quality"]
    found = {name: quality[name] for name in ("trustworthiness", "continuity")}
    found["knn_accuracy"] = quality["knn_accuracy"][0]
    for each in entry["degraded"]:
        after = f"at severity {each['severity']:g}"
        found[f"knn_accuracy {after}"] = each["knn_accuracy"][0]
        if "neighbours_kept" in each:  # which manifests did not hold at first
            found[f"neighbours_kept {after}"] = each["neighbours_kept"]
    return {name: _measure(value) for name, value in found.items()}


def _between_measures(held: Mapping[str, Any] | None) -> Measures:
    """The measures by name that a manifest holds of two maps together, none of one alone."""
    if held is None:
        return {}
    numbers = {"mean": held["mean"][0], **{name: held[name] for name in ("residual", "residual_2d")}}
    return {name: _measure(value) for name, value in numbers.items()}


def _measure(value: Any) -> float | None:
    """A measure as a manifest holds it; raises `ValueError` for anything but a number or nothing."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ValueError("no measure")
    return value


def _sampled(entry: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Rows `(n,)` and coordinates `(n, 2)` that a manifest holds of a map."""
    given = entry["sample"]["rows"]
    if not isinstance(given, list) or not all(type(row) is int for row in given):
        raise ValueError("rows that are no whole numbers")
    points = np.array(entry["sample"]["coordinates"], np.float32)
    if points.shape != (len(given), 2) or not np.isfinite(points).all():
        raise ValueError("no sample of a map")
    return np.array(given, np.int64), points


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
    """How far an embedding made again is from a manifest's.

    For each network the largest difference of a coordinate of the sample, the Procrustes residual, and the differences
    of its measures, clean and degraded; `between` has those of two networks together. `same` is whether all are within
    0.01, but for what is of pictures alone.
    """
    entries = [
        _compared_map(entry, one, len(found.ids))
        for entry, one in zip(held["models"], found.maps, strict=True)
    ]
    between = _compared(_between_measures(held["between"]), _between_measures(between_facts(found.between)))
    same = all(entry["same"] for entry in [*entries, between])
    return {"models": entries, "between": between if found.between else None, "same": same}


def _compared_map(entry: Mapping[str, Any], one: Map, count: int) -> dict[str, Any]:
    from xai.alignment import procrustes

    rows, points = _sampled(entry)
    if len(rows) and (rows.min() < 0 or rows.max() >= count):
        raise ManifestError("The manifest names images that there are not.")
    again = one.coordinates[rows]
    return {
        "name": one.model,
        "coordinates": plain(np.abs(again - points).max(initial=0.0)),
        "procrustes_residual": plain(procrustes(points, again).residual) if len(rows) else None,
        **_compared(_measures(entry), _measures(map_facts(one))),
    }


def _compared(before: Measures, after: Measures) -> dict[str, Any]:
    """The differences of measures by name, and whether they are the `same`."""
    differences = {name: _difference(value, after[name]) for name, value in before.items()}
    judged = [name for name in before if name not in _OF_PICTURES]
    return {"measures": differences, "same": all(_agree(before[name], after[name]) for name in judged)}


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
