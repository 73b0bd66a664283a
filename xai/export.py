"""What a user takes home: figures, raw arrays and a manifest from which the same figure can be drawn again."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from data import images, samples
from data.catalogue import DATASETS
from data.datasets import ImageSource, open_dataset
from models import zoo
from models.registry import Model
from xai import figures
from xai.comparison import (
    Comparison,
    Picture,
    Request,
    compare,
    picture_from_dataset,
    picture_from_image,
    picture_from_scene,
)
from xai.figures import DEFAULT_STYLE, Style
from xai.memo import Memo, no_memo

MANIFEST_FORMAT = 1
PACKAGES = ("torch", "numpy", "matplotlib", "captum", "grad-cam", "pillow")
PNG_DPI = (300, 600)


class ManifestError(ValueError):
    """A manifest that can't be used, or that does not belong to what it was given with."""


@contextmanager
def reading() -> Iterator[None]:
    """Says in one sentence, as a `ManifestError`, that a manifest can't be read, whatever of it is not as it should be.

    Manifests come from anywhere: numbers may be infinite, texts numbers, and lists anything.
    """
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ManifestError("The manifest is not one that this program wrote.") from error


def whole(value: Any, least: int = 0) -> int:
    """A manifest's whole number from `least`; raises `ValueError` for anything else, also for 2.0 and true."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{value!r} was given; allowed are whole numbers from {least}.")
    return value


def raw_arrays(comparison: Comparison) -> dict[str, np.ndarray]:
    """Raw signed maps `(h, w)` float32 under `model/method/clean` and `model/method/degraded`."""
    return {
        f"{result.model}/{method}/{condition}": heatmap.values[0].numpy()
        for result in comparison.results
        for method, maps in result.heatmaps.items()
        for condition, heatmap in maps.items()
    }


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that figures depend on."""
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}}


def _model_facts(comparison: Comparison) -> list[dict[str, Any]]:
    facts = []
    for result in comparison.results:
        taps = {
            method: {**asdict(maps["clean"].tap), "settings": maps["clean"].settings}
            for method, maps in result.heatmaps.items()
        }
        view = comparison.view(result)
        facts.append(
            {
                "name": result.model,
                "architecture": result.architecture,
                "dataset": result.dataset,
                "sha256": result.sha256,
                "card_sha256": card_digest(result.architecture, result.size, result.classes),
                "device": result.device,
                "input": view.resized,
                "target": result.classes[result.target],
                "predicted": {condition: result.predicted(condition) for condition in result.probabilities},
                "taps": taps,
                "gradcam_hirescam_agreement": _finite(result.gradcam_hirescam),
                "degradation": {"words": view.degradation, "scale": view.scale, **view.parameters},
                "psnr_db": _finite(view.psnr),
                "ssim": _finite(view.ssim),
            }
        )
    return facts


def _finite(value: float | None) -> float | None:
    """NaN and infinity are no JSON."""
    return value if value is not None and np.isfinite(value) else None


def card_digest(architecture: str, input_size: int, classes: Sequence[str]) -> str:
    """Hash of what a card says of the weights that a figure depends on."""
    return hashlib.sha256(json.dumps([architecture, input_size, list(classes)]).encode()).hexdigest()


def picture_facts(picture: Picture) -> dict[str, Any]:
    """What a manifest says of a picture, from which `picture_again` finds it."""
    height, width = picture.pixels.shape[-2:]
    return {
        "name": picture.name,
        "sha256": picture.sha256,
        "source": picture.source,
        "label": picture.label,
        "image_id": picture.image_id,
        "width": width,
        "height": height,
    }


def manifest(comparison: Comparison, style: Style) -> dict[str, Any]:
    """Everything needed to draw the figure again, JSON-able."""
    return {
        "format": MANIFEST_FORMAT,
        "image": picture_facts(comparison.picture),
        "request": asdict(comparison.request),
        "style": asdict(style),
        "models": _model_facts(comparison),
        "agreements": [
            {key: _finite(value) if isinstance(value, float) else value for key, value in asdict(row).items()}
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


def is_picture(facts: Mapping[str, Any]) -> bool:
    """Whether a manifest's facts of its picture have the right types."""
    named = all(isinstance(facts[key], str) for key in ("name", "sha256", "source"))
    return named and isinstance(facts["label"], str | None) and isinstance(facts.get("image_id", ""), str)


_OF_A_FOLDER = re.compile(r"(folder:.+):((?:train|validation|test)/.+)", re.DOTALL)
"""A folder's name may hold colons and slashes."""


def _named(source: str) -> tuple[str, str]:
    """Name of the dataset (or `sample`) and what is named of it; the first is empty where the source names none."""
    if match := _OF_A_FOLDER.fullmatch(source):
        return match[1], match[2]
    name, _, rest = source.partition(":")
    return name, rest


def is_source(text: str) -> bool:
    """Whether a text has the form of what `find_picture` takes, and so is no path."""
    name = _named(text)[0]
    return text != name and (name == "sample" or name in DATASETS or name.startswith("folder:"))


def find_picture(source: str, label: str | None = None) -> Picture:
    """The picture of a source: `sample:NAME`, `cue10:SPLIT/INDEX`, or `DATASET:SPLIT/ID` with an id of the split.

    Raises `ManifestError` for another, and `DatasetError` for a dataset that is not on this machine.
    """
    kind, rest = _named(source)
    if kind == "sample" and rest in samples.SAMPLES:
        return picture_from_image(samples.load_sample(rest), source, label)
    split, _, number = rest.partition("/")
    if kind == "cue10" and number.isdigit() and len(number) < 7:
        return picture_from_scene(split, int(number))
    if number and (kind in DATASETS or kind.startswith("folder:")):
        return _of_dataset(open_dataset(kind, split), number)
    raise ManifestError(
        f"There is no picture {source!r}; allowed are sample:NAME, cue10:SPLIT/NUMBER and DATASET:SPLIT/ID."
    )


def _of_dataset(data: ImageSource, image_id: str) -> Picture:
    for known in (
        image_id,
        f"{data.split}/{image_id}",
    ):  # ids that begin with their split may be given without
        if known in data.ids:
            return picture_from_dataset(data, data.ids.index(known))
    raise ManifestError(
        f"There is no image {image_id!r} in {data.name} {data.split}; its ids are such as {data.ids[0]!r}."
    )


def picture_again(facts: Mapping[str, Any], image: Path | None) -> Picture:
    """The picture of a manifest, from its source or from the file of an upload; `ManifestError` when it is another."""
    if image is None:
        if facts["source"] == "upload":
            raise ManifestError(f"The picture {facts['name']} was uploaded: give its file too.")
        picture = find_picture(str(facts["source"]), facts["label"])
    else:
        read = images.read_image(image.read_bytes(), str(facts["name"]))
        picture = picture_from_image(read, str(facts["source"]), facts["label"])
    if picture.sha256 != facts["sha256"]:
        raise ManifestError(
            f"The picture given is not the one in the manifest ({facts['name']}): its sha256 differs."
        )
    return replace(picture, image_id=facts.get("image_id", ""))


def _models(request: Request, found: dict[str, Any], load: Callable[[str], Model]) -> list[Model]:
    entries = {entry["name"]: entry for entry in found["models"]}
    return [same_model(load(name), entries[name]) for name in request.models]


def same_model(model: Model, entry: Mapping[str, Any]) -> Model:
    """The model, when it is the one of a manifest's entry with `sha256` and `card_sha256`; `ManifestError` if not."""
    if model.card.sha256 != entry["sha256"]:
        raise ManifestError(
            f"The checkpoint {model.name} is not the one in the manifest: its sha256 differs."
        )
    digest = card_digest(model.card.architecture, model.input_size, model.classes)
    if digest != entry["card_sha256"]:
        raise ManifestError(
            f"The card of {model.name} names other classes or another input than the manifest's."
        )
    return model


def reproduce(
    content: bytes, image: Path | None, load: Callable[[str], Model] = zoo.load, memo: Memo = no_memo
) -> tuple[Comparison, Style]:
    """Compute a manifest's comparison again.

    Raises `ManifestError` when the picture or a checkpoint is not the one the manifest names, and what `compare`,
    the intake and the zoo raise.
    """
    request, style, found = read_manifest(content)
    return compare(request, picture_again(found["image"], image), _models(request, found, load), memo), style
