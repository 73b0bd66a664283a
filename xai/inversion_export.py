"""What a user takes home of inversions: clean and degraded image beside what a layer keeps of each, and a manifest."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models import zoo
from models.registry import Model
from xai.attribution_types import ExplanationError
from xai.comparison import Picture, Request, View, is_degraded, make_view
from xai.export import figure_files, npz, safe_stem
from xai.feature_visualization import Progress, Settings
from xai.figure_visualization import DEFAULT_PANELS, InversionRow, PanelStyle, inversion_figure, value_words
from xai.figures import WIDTHS, Figure
from xai.inversion import INVERSION, Inversion, invert
from xai.manifests import ManifestError, is_picture, package_versions, picture_facts, reading, same_model
from xai.picture_sources import picture_again
from xai.visualization_export import Load, as_json, manifest_device
from xai.visualization_store import model_facts

FORMAT = "xai-inversion-1"


@dataclass(frozen=True)
class Row:
    """One layer of one network: the picture as the network saw it, and what was made from the layer's activations."""

    model: Mapping[str, Any]
    device: str
    view: View
    found: Inversion

    @property
    def conditions(self) -> tuple[str, ...]:
        """`clean`, and `degraded` where something was degraded."""
        return ("clean", "degraded")[: len(self.found.images)]


@dataclass(frozen=True)
class Inversions:
    """Inversions of one picture at some layers of one or two networks."""

    request: Request
    settings: Settings
    picture: Picture
    rows: tuple[Row, ...]


def make(
    request: Request,
    picture: Picture,
    models: Sequence[Model],
    settings: Settings = INVERSION,
    *,
    progress: Callable[[int, int, str], None] | None = None,
    watch: Callable[[Tensor], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Inversions:
    """Invert a picture, clean and degraded, at the request's layers of each network (default: the network's own).

    Pictures have the network's input size; methods and target of the request are not looked at.
    `progress(done, total, what)` counts steps of one layer, `watch` is given its pictures `(N, 3, S, S)` as far as they
    are. Raises `ExplanationError` or another `ValueError` for
    what can't be, and `Cancelled`.
    """
    rows = []
    for model in models:
        view = make_view(picture, request, model.input_size)
        images = torch.cat([view.clean, view.degraded] if is_degraded(request) else [view.clean])
        for layer in request.layers.get(model.name) or (model.default_layer,):
            tell = _teller(progress, watch, f"Inverting {layer} of {model.name}.")
            found = invert(model, images, layer, settings, tell, cancelled)
            rows.append(Row(model_facts(model), str(model.device), view, found))
    return Inversions(request, settings, picture, tuple(rows))


def _teller(
    progress: Callable[[int, int, str], None] | None, watch: Callable[[Tensor], None] | None, what: str
) -> Progress:
    def tell(done: int, total: int, pictures: Tensor) -> None:
        if watch:
            watch(pictures)
        if progress:
            progress(done, total, what)

    return tell


def _pictures(row: Row) -> dict[str, Tensor]:
    """The pictures of a row `(3, S, S)` by name."""
    found = {}
    for place, condition in enumerate(row.conditions):
        found[condition] = row.view.image(condition)[0].cpu()
        found[f"{condition} inverted"] = row.found.images[place]
    return found


def _figure_row(row: Row) -> InversionRow:
    errors = dict(
        zip((f"{name} inverted" for name in row.conditions), row.found.errors.tolist(), strict=True)
    )
    titles = {
        name: f"inverted, relative L2 {value_words(errors[name])}" if name in errors else name
        for name in _pictures(row)
    }
    notes = " ".join(filter(None, row.found.notes))
    words = f"{row.found.layer} of {row.model['name']}. {notes}".strip()
    return InversionRow(words, tuple((titles[name], image) for name, image in _pictures(row).items()))


def _notes(done: Inversions) -> str:
    chosen, first = done.rows[0].found.settings, done.rows[0].view
    degraded = [f"Degraded: {first.degradation}."] if is_degraded(done.request) else []
    return " ".join(
        [
            f"{done.picture.name}, {first.resized}.",
            *degraded,
            "Each inverted picture is made from grey so that the layer answers to it as to the picture on its left;",
            "relative L2 is how far off that answer is, as a share of its length (0: the layer sees no difference); "
            "above about 0.1 what is missing may be the optimiser's doing.",
            f"{chosen.steps:,} steps, total variation {chosen.total_variation:g}, seed {chosen.seed}, made on "
            f"{done.rows[0].device}.",
        ]
    )


def figure(done: Inversions, style: PanelStyle = DEFAULT_PANELS) -> Figure:
    """A row of pictures for each layer."""
    return inversion_figure([_figure_row(row) for row in done.rows], style, _notes(done))


def _name(row: Row) -> str:
    return f"{safe_stem(row.model['name'])}/{safe_stem(row.found.layer)}"


def raw_arrays(done: Inversions) -> dict[str, np.ndarray]:
    """`MODEL/LAYER/clean` and so on, `(3, S, S)` float32 in [0, 1]."""
    return {
        f"{_name(row)}/{what}": image.numpy() for row in done.rows for what, image in _pictures(row).items()
    }


def manifest(done: Inversions, style: PanelStyle) -> dict[str, Any]:
    """Everything needed to make the pictures again, JSON-able."""
    return {
        "format": FORMAT,
        "image": picture_facts(done.picture),
        "request": asdict(done.request),
        "settings": done.settings.to_json(),
        "style": asdict(style),
        "rows": [
            {
                "model": dict(row.model),
                "device": row.device,
                "layer": row.found.layer,
                "arrays": _name(row),
                "relative_l2": dict(zip(row.conditions, row.found.errors.tolist(), strict=True)),
                "notes": list(row.found.notes),
                "degradation": {
                    "words": row.view.degradation,
                    "scale": row.view.scale,
                    **row.view.parameters,
                },
            }
            for row in done.rows
        ],
        "threads": torch.get_num_threads(),
        "versions": package_versions(),
    }


def bundle(
    done: Inversions, style: PanelStyle = DEFAULT_PANELS, *, every_width: bool = True
) -> dict[str, bytes]:
    """Files by name: the figure as PDF, SVG and PNG at 300 and 600 dpi, `inversion.npz` and the manifest."""
    files: dict[str, bytes] = {}
    for width in WIDTHS if every_width else (style.width,):
        stem = "figure" if width == style.width else f"figure-{width}"
        files |= figure_files(figure(done, replace(style, width=width)), stem)
    files["inversion.npz"] = npz(raw_arrays(done))
    files["manifest.json"] = as_json(manifest(done, style))
    return files


def _read(content: bytes) -> tuple[dict[str, Any], Request, Settings, PanelStyle]:
    with reading():
        found = json.loads(content)
        asked = dict(found["request"])
        for key in ("models", "methods"):
            asked[key] = tuple(str(value) for value in asked[key])
        asked["layers"] = {str(name): tuple(layers) for name, layers in asked["layers"].items()}
        request, settings = Request(**asked), Settings(**found["settings"])
        style = PanelStyle(**found["style"])
        named = {str(row["model"]["name"]) for row in found["rows"]}
        hashed = all({"sha256", "card_sha256"} <= row["model"].keys() for row in found["rows"])
        sound = found["format"] == FORMAT and is_picture(found["image"]) and hashed
        sound = sound and set(request.layers) <= named
    if not sound or named != set(request.models):
        raise ManifestError("The manifest is not one that this program wrote, or of another version of it.")
    return found, request, settings, style


def reproduce(content: bytes, image: Path | None, load: Load = zoo.load) -> tuple[Inversions, PanelStyle]:
    """Make a manifest's inversions again, on the device it names where this machine has it.

    Raises `ManifestError` when the picture or a checkpoint is not the one the manifest names, and what `make` and the
    zoo raise.
    """
    found, request, settings, style = _read(content)
    picture = picture_again(found["image"], image)
    models = [_model(name, found["rows"], load) for name in request.models]
    try:
        return make(request, picture, models, settings), style
    except ExplanationError as error:
        raise ManifestError(f"The manifest's pictures can't be made again: {error}") from error


def _model(name: str, rows: Sequence[Mapping[str, Any]], load: Load) -> Model:
    """The network of that name, when it is the one of all rows that name it."""
    own = [row for row in rows if row["model"]["name"] == name]
    model = load(name, manifest_device(str(own[0]["device"])))
    for row in own:
        same_model(model, row["model"])
    return model


def reproduce_files(content: bytes, image: Path | None) -> dict[str, bytes]:
    """The bundle of a manifest, made again; raises as `reproduce` does."""
    done, style = reproduce(content, image)
    return bundle(done, style, every_width=False)
