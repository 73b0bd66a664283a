"""What a user takes home: figures, raw arrays and a manifest from which the same figure can be drawn again."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from models import zoo
from models.registry import Model
from xai import figures
from xai.comparison import (
    CONDITIONS,
    Comparison,
    Request,
    compare,
)
from xai.figures import DEFAULT_STYLE, Style
from xai.manifests import (
    ManifestError,
    answer_facts,
    finite,
    is_picture,
    package_versions,
    picture_facts,
    reading,
    same_model,
)
from xai.memo import Memo, no_memo
from xai.picture_sources import picture_again

MANIFEST_FORMAT = 1
PNG_DPI = (300, 600)


def raw_arrays(comparison: Comparison) -> dict[str, np.ndarray]:
    """Raw signed maps `(h, w)` float32 under `model/method/clean` and `model/method/degraded`."""
    return {
        f"{result.model}/{method}/{condition}": heatmap.values[0].numpy()
        for result in comparison.results
        for method, maps in result.heatmaps.items()
        for condition, heatmap in maps.items()
    }


def _model_facts(comparison: Comparison) -> list[dict[str, Any]]:
    facts = []
    for result in comparison.results:
        taps = {
            method: {**asdict(maps["clean"].tap), "settings": maps["clean"].settings}
            for method, maps in result.heatmaps.items()
        }
        agreement = finite(result.gradcam_hirescam)
        own = {"taps": taps, "gradcam_hirescam_agreement": agreement}
        facts.append(answer_facts(result, comparison.view(result), CONDITIONS, own))
    return facts


def manifest(comparison: Comparison, style: Style) -> dict[str, Any]:
    """Everything needed to draw the figure again, JSON-able."""
    return {
        "format": MANIFEST_FORMAT,
        "image": picture_facts(comparison.picture),
        "request": asdict(comparison.request),
        "style": asdict(style),
        "models": _model_facts(comparison),
        "agreements": [
            {key: finite(value) if isinstance(value, float) else value for key, value in asdict(row).items()}
            for row in comparison.agreements
        ],
        "versions": package_versions(),
    }


def manifest_file(comparison: Comparison, style: Style) -> bytes:
    """The manifest as a JSON file."""
    return (json.dumps(manifest(comparison, style), indent=2, allow_nan=False) + "\n").encode()


def npz(arrays: dict[str, np.ndarray]) -> bytes:
    """Arrays as a compressed `.npz` file."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def bundle(
    comparison: Comparison, style: Style = DEFAULT_STYLE, *, every_width: bool = True
) -> dict[str, bytes]:
    """Files by name: the figure as PDF, SVG and PNG at 300 and 600 dpi, raw arrays and manifest.

    With `every_width` the other column width is added too, as `figure-one-column.pdf` and so on.
    """
    files: dict[str, bytes] = {}
    for width in figures.WIDTHS if every_width else (style.width,):
        figure = figures.comparison_figure(comparison, replace(style, width=width))
        stem = "figure" if width == style.width else f"figure-{width}"
        files |= figure_files(figure, stem)
    files["heatmaps.npz"] = npz(raw_arrays(comparison))
    files["manifest.json"] = manifest_file(comparison, style)
    return files


def figure_files(figure: figures.Figure, stem: str) -> dict[str, bytes]:
    """A figure's files by name: `stem.pdf`, `stem.svg`, `stem.png` at 300 dpi and `stem-600dpi.png`."""
    return {
        f"{stem}.pdf": figures.render(figure, "pdf"),
        f"{stem}.svg": figures.render(figure, "svg"),
        f"{stem}.png": figures.render(figure, "png", PNG_DPI[0]),
        f"{stem}-{PNG_DPI[1]}dpi.png": figures.render(figure, "png", PNG_DPI[1]),
    }


def safe_stem(name: str) -> str:
    """A file name part made of letters, digits, `.`, `_` and `-` only, never empty and never hidden."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:80] or "picture"


def folder_names(names: Sequence[str]) -> list[str]:
    """One safe, distinct folder name for each picture name."""
    taken: set[str] = set()
    chosen = []
    for name in names:
        stem = base = safe_stem(Path(name).stem if "." in name else name)
        number = 2
        while stem.lower() in taken:
            stem, number = f"{base}-{number}", number + 1
        taken.add(stem.lower())
        chosen.append(stem)
    return chosen


def zip_bundles(
    bundles: Iterable[tuple[str, dict[str, bytes]]], progress: Callable[[int], None] | None = None
) -> bytes:
    """One ZIP with a folder for each `(folder, files)`; `progress(done)` is called after each."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for done, (folder, files) in enumerate(bundles, start=1):
            for name, content in files.items():
                archive.writestr(zipfile.ZipInfo(f"{folder}/{name}", (2026, 1, 1, 0, 0, 0)), content)
            if progress:
                progress(done)
    return buffer.getvalue()


def write_bundle(files: dict[str, bytes], folder: Path) -> list[Path]:
    """Write a bundle's files, each by rename; returns their paths."""
    from models.files import write_by_rename

    paths = []
    for name, content in files.items():
        write_by_rename(folder / name, lambda path, content=content: path.write_bytes(content))  # type: ignore[misc]
        paths.append(folder / name)
    return paths


def read_manifest(content: bytes) -> tuple[Request, Style, dict[str, Any]]:
    """Parse a manifest; raises `ManifestError` with one sentence when it is not one."""
    with reading():
        found = json.loads(content)
        asked, style = dict(found["request"]), Style(**found["style"])
        for key in ("models", "methods"):
            asked[key] = tuple(str(value) for value in asked[key])
        asked["layers"] = {str(name): tuple(layers) for name, layers in asked["layers"].items()}
        request = Request(**asked)
        known = found["format"] == MANIFEST_FORMAT and is_picture(found["image"])
        hashes = {str(entry["name"]): (entry["sha256"], entry["card_sha256"]) for entry in found["models"]}
    if not known or set(hashes) != set(request.models):
        raise ManifestError("The manifest is not one that this program wrote, or of another version of it.")
    return request, style, found


def _models(request: Request, found: dict[str, Any], load: Callable[[str], Model]) -> list[Model]:
    entries = {entry["name"]: entry for entry in found["models"]}
    return [same_model(load(name), entries[name]) for name in request.models]


def reproduce(
    content: bytes, image: Path | None, load: Callable[[str], Model] = zoo.load, memo: Memo = no_memo
) -> tuple[Comparison, Style]:
    """Compute a manifest's comparison again.

    Raises `ManifestError` when the picture or a checkpoint is not the one the manifest names, and what `compare`,
    the intake and the zoo raise.
    """
    request, style, found = read_manifest(content)
    return compare(request, picture_again(found["image"], image), _models(request, found, load), memo), style
