"""What a user takes home of feature maps: figures, raw maps, scores, and a manifest that draws the same again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from data.datasets import Progress, open_dataset
from models import zoo
from models.registry import Model
from xai import feature_drift, tables
from xai.export import figure_files, npz
from xai.feature_drift import Drifting, DriftRow
from xai.feature_filters import Filters, first_filters
from xai.feature_maps import FeatureComparison, FeatureRequest, LayerResult, examine, score_rows
from xai.figure_drift import drift_figure
from xai.figure_features import channels_figure, filters_figure
from xai.figure_parts import WIDTHS
from xai.figures import DEFAULT_STYLE, Figure, Style
from xai.manifests import (
    ManifestError,
    answer_facts,
    is_picture,
    package_versions,
    picture_facts,
    reading,
    same_model,
    whole,
)
from xai.picture_sources import picture_again

FORMAT = "xai-features-1"


def raw_arrays(comparison: FeatureComparison) -> dict[str, np.ndarray]:
    """Raw maps of all channels `(C, h, w)` float32 under `model/layer/clean` and, if any, `model/layer/degraded`."""
    return {
        f"{result.model}/{result.layer}/{condition}": result.maps(condition).numpy()
        for result in comparison.results
        for condition in comparison.conditions
    }


def filter_arrays(filters: Sequence[Filters]) -> dict[str, np.ndarray]:
    """Raw weights `(K, 3, kh, kw)` float32 under `model/layer`."""
    return {f"{found.model}/{found.layer}": found.weights.numpy() for found in filters}


def manifest(
    comparison: FeatureComparison,
    style: Style,
    drift: Sequence[DriftRow] = (),
    filters: Sequence[Filters] = (),
    *,
    every_layer: bool = False,
) -> dict[str, Any]:
    """Everything needed to draw the figures again, JSON-able."""
    return {
        "format": FORMAT,
        "image": picture_facts(comparison.picture),
        "request": asdict(comparison.request),
        "style": asdict(style),
        "models": [_model_facts(comparison, result) for result in comparison.results],
        "drift": _drift_facts(drift, every_layer=every_layer),
        "filters": bool(filters),
        "versions": package_versions(),
    }


def _model_facts(comparison: FeatureComparison, result: LayerResult) -> dict[str, Any]:
    layer = {
        "name": result.layer,
        "position": result.position,
        "grid": list(result.grid),
        "channels": result.channels,
        "shown": list(result.shown),
        "scale": list(result.scale),
        "difference_scale": result.difference_peak,
        "notes": list(result.notes),
    }
    return answer_facts(result, comparison.view(result), comparison.conditions, {"layer": layer})


def _drift_facts(rows: Sequence[DriftRow], *, every_layer: bool) -> dict[str, Any] | None:
    if not rows:
        return None
    facts = {name: getattr(rows[0], name) for name in ("images", "n", "degradation", "scale", "seed")}
    severities = list(dict.fromkeys(row.severity for row in rows))
    return facts | {"severities": severities, "every_layer": every_layer}


def manifest_file(
    comparison: FeatureComparison,
    style: Style,
    drift: Sequence[DriftRow] = (),
    filters: Sequence[Filters] = (),
    *,
    every_layer: bool = False,
) -> bytes:
    """The manifest as a JSON file."""
    content = manifest(comparison, style, drift, filters, every_layer=every_layer)
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()


def scores(comparison: FeatureComparison) -> bytes:
    """The scores of all channels of every network as a CSV file."""
    return tables.as_csv([row for result in comparison.results for row in score_rows(result)]).encode()


def bundle(
    comparison: FeatureComparison,
    style: Style = DEFAULT_STYLE,
    *,
    drift: Sequence[DriftRow] = (),
    filters: Sequence[Filters] = (),
    every_width: bool = True,
    every_layer: bool = False,
) -> dict[str, bytes]:
    """Files by name: figures as PDF, SVG and PNG at 300 and 600 dpi, raw maps, scores of all channels and manifest.

    `drift`, rows of all networks, adds `drift.*`, which draws `every_layer` or the main ones, and `layers.csv` of all;
    `filters` adds `filters.*` and `filters.npz`. With `every_width` figures of the other column width are added, as
    `figure-one-column.pdf` and so on.
    """
    drawn: dict[str, Callable[[Style], Figure]] = {"figure": lambda style: channels_figure(comparison, style)}
    if drift:
        drawn["drift"] = lambda style: drift_figure(drift, style, every_layer=every_layer)
    if filters:
        drawn["filters"] = lambda style: filters_figure(filters, style)
    files: dict[str, bytes] = {}
    for stem, draw in drawn.items():
        for width in WIDTHS if every_width else (style.width,):
            name = stem if width == style.width else f"{stem}-{width}"
            files |= figure_files(draw(replace(style, width=width)), name)
    files["features.npz"] = npz(raw_arrays(comparison))
    files["channels.csv"] = scores(comparison)
    if drift:
        files["layers.csv"] = tables.as_csv(feature_drift.as_rows(drift)).encode()
    if filters:
        files["filters.npz"] = npz(filter_arrays(filters))
    files["manifest.json"] = manifest_file(comparison, style, drift, filters, every_layer=every_layer)
    return files


def drift_of(
    comparison: FeatureComparison, models: Sequence[Model], drifting: Drifting
) -> tuple[DriftRow, ...]:
    """The drift of every network on the comparison's picture."""
    return tuple(
        row
        for model, result in zip(models, comparison.results, strict=True)
        for row in feature_drift.picture_drift(model, comparison.picture, comparison.view(result), drifting)
    )


def drift_over(
    models: Sequence[Model], images: str, n: int, drifting: Drifting, progress: Progress | None = None
) -> tuple[DriftRow, ...]:
    """The drift of every network over `n` images of `DATASET:SPLIT`, evenly spread.

    Raises `DatasetError` for a dataset or split that is not on this machine.
    """
    name, _, split = images.rpartition(":")
    data = open_dataset(name, split)
    rows = (feature_drift.layer_drift(model, data, drifting, limit=n, progress=progress) for model in models)
    return tuple(row for of_one in rows for row in of_one)


def read_manifest(content: bytes) -> tuple[FeatureRequest, Style, dict[str, Any]]:
    """Parse a manifest; raises `ManifestError` with one sentence when it is not one."""
    with reading():
        found = json.loads(content)
        asked = dict(found["request"])
        asked["models"] = tuple(str(name) for name in asked["models"])
        asked["layers"] = {str(name): str(layer) for name, layer in asked["layers"].items()}
        request, style = FeatureRequest(**asked), Style(**found["style"])
        known = found["format"] == FORMAT and is_picture(found["image"])
        known = known and set(_entries(found)) == set(request.models)
        _ = _drifting(found), found["filters"]
    if not known:
        raise ManifestError("The manifest is not one that this program wrote, or of another version of it.")
    return request, style, found


def _entries(found: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {
        str(entry["name"]): {key: entry[key] for key in ("sha256", "card_sha256")}
        for entry in found["models"]
    }


def _drifting(found: Mapping[str, Any]) -> Drifting | None:
    facts = found["drift"]
    if facts is None:
        return None
    _ = str(facts["images"]), whole(facts["n"], 1)
    return Drifting(str(facts["degradation"]), tuple(facts["severities"]), str(facts["scale"]), facts["seed"])


def reproduce_features(
    content: bytes, image: Path | None = None, load: Callable[[str], Model] = zoo.load
) -> dict[str, bytes]:
    """Compute a manifest's maps again and draw its figures: the files of its bundle in the style's width.

    Raises `ManifestError` when the picture or a checkpoint is not the one the manifest names, and what `examine`, the
    intake, datasets and the zoo raise.
    """
    request, style, found = read_manifest(content)
    entries = _entries(found)
    models = [same_model(load(name), entries[name]) for name in request.models]
    comparison = examine(request, picture_again(found["image"], image), models)
    filters = [first_filters(model) for model in models] if found["filters"] else []
    drift = _drift_again(found, comparison, models)
    every = bool((found["drift"] or {}).get("every_layer"))
    return bundle(comparison, style, drift=drift, filters=filters, every_width=False, every_layer=every)


def _drift_again(
    found: Mapping[str, Any], comparison: FeatureComparison, models: Sequence[Model]
) -> tuple[DriftRow, ...]:
    drifting = _drifting(found)
    if drifting is None:
        return ()
    images = found["drift"]["images"]
    if images == comparison.picture.source:
        return drift_of(comparison, models, drifting)
    return drift_over(models, images, found["drift"]["n"], drifting)
