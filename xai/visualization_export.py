"""What a user takes home of feature visualisations: figure, raw pictures, and a manifest that makes them again."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data import resizing
from models import zoo
from models.registry import Model
from xai import figure_visualization as drawn
from xai.attribution_types import ExplanationError
from xai.comparison import Picture
from xai.export import figure_files, npz, safe_stem
from xai.feature_visualization import Progress, Settings, visualize
from xai.figure_visualization import DEFAULT_PANELS, MOST_PANELS, Panel, PanelStyle, objective_words
from xai.figures import WIDTHS, Figure
from xai.manifests import (
    ManifestError,
    is_picture,
    package_versions,
    picture_facts,
    reading,
    same_model,
    whole,
)
from xai.picture_sources import picture_again
from xai.visualization_store import Kept, kept_of, model_facts

FORMAT = "xai-visualization-1"
_VALUES = {
    "channel": "mean activation {}",
    "unit": "activation {}",
    "class": "logit {}",
    "caricature": "likeness × strength {} (the image: 1)",
}
"""What the number of a picture is, by the kind of its objective; of others it is the objective's value."""
RESIZE = "crop"
"""How an image that is caricatured becomes a square."""
Load = Callable[[str, str], Model]
"""`load(name, device)`."""


def square(picture: Picture, size: int) -> Tensor:
    """A picture as caricatures and inversions get it: `(1, 3, size, size)` in [0, 1]."""
    return resizing.resize_pixels(picture.pixels, size, RESIZE)


def in_turns(*networks: Sequence[Kept]) -> tuple[Kept, ...]:
    """The pictures of several networks in turns, so that a figure has A beside B."""
    return tuple(kept for together in zip(*networks, strict=True) for kept in together)


def panels(pictures: Sequence[Kept], image: Picture | None = None) -> list[Panel]:
    """What a figure shows of pictures, after the image that they are caricatures of."""
    found = [_panel(kept) for kept in pictures]
    if image is None:
        return found
    size = pictures[0].image.shape[-1]
    own = square(image, size)[0]
    return [Panel("the image itself", image.name, own, own.new_zeros(0, 3, size, size)), *found]


def _panel(kept: Kept) -> Panel:
    kind = kept.objective.partition(":")[0]
    value = _VALUES.get(kind, "value {}").format(drawn.value_words(kept.value))
    words = f"{kept.facts['model']['name']}: {value}"
    title = objective_words(kept.objective)
    return Panel(title, f"{words}. {kept.facts['note']}".strip(), kept.image, kept.strip, kept.strip_steps)


def sentences(facts: Mapping[str, Any]) -> str:
    """How a picture was made, from its facts."""
    chosen = facts["settings"]
    colours = "the network's dataset" if chosen["colours"] == "dataset" else chosen["colours"]
    words = [f"{chosen['steps']:,} steps", f"random views: {chosen['transforms']}", f"colours of {colours}"]
    for name in ("total_variation", "high_frequency", "diversity"):
        words += [f"{name.replace('_', ' ')} {chosen[name]:g}"] if chosen[name] else []
    if chosen.get("starts", 1) > 1:
        words.append(f"the best of {chosen['starts']} starts")
    words.append(f"seed {chosen['seed']}")
    return " ".join([f"{', '.join(words)}, made on {facts['device']}.", *facts["remarks"]])


def figure(
    pictures: Sequence[Kept], style: PanelStyle = DEFAULT_PANELS, image: Picture | None = None
) -> Figure:
    """The figure of pictures; give those of two networks in turns (`in_turns`)."""
    notes = " ".join(dict.fromkeys(sentences(kept.facts) for kept in pictures))
    return drawn.visualizations_figure(panels(pictures, image), style, notes)


def _names(pictures: Sequence[Kept]) -> list[str]:
    """A distinct name `MODEL/OBJECTIVE` for the arrays of each picture."""
    found: list[str] = []
    for kept in pictures:
        stem = f"{safe_stem(kept.facts['model']['name'])}/{safe_stem(kept.objective)}"
        again = sum(name == stem or name.startswith(f"{stem}#") for name in found)
        found.append(f"{stem}#{again + 1}" if again else stem)
    return found


def raw_arrays(pictures: Sequence[Kept]) -> dict[str, np.ndarray]:
    """`MODEL/OBJECTIVE/image` `(3, S, S)` and `MODEL/OBJECTIVE/strip` `(T, 3, S, S)`, float32 in [0, 1]."""
    return {
        f"{name}/{what}": getattr(kept, what).numpy()
        for name, kept in zip(_names(pictures), pictures, strict=True)
        for what in ("image", "strip")
    }


def manifest(pictures: Sequence[Kept], style: PanelStyle, image: Picture | None = None) -> dict[str, Any]:
    """Everything needed to make the pictures again, JSON-able."""
    return {
        "format": FORMAT,
        "style": asdict(style),
        "image": None if image is None else picture_facts(image),
        "pictures": [
            {
                "objective": kept.objective,
                "words": objective_words(kept.objective),
                "arrays": name,
                "value": kept.value if math.isfinite(kept.value) else None,
                "strip_steps": list(kept.strip_steps),
                **kept.facts,
            }
            for name, kept in zip(_names(pictures), pictures, strict=True)
        ],
        "versions": package_versions(),
    }


def as_json(content: Mapping[str, Any]) -> bytes:
    """A manifest as a file."""
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()


def bundle(
    pictures: Sequence[Kept],
    style: PanelStyle = DEFAULT_PANELS,
    image: Picture | None = None,
    *,
    every_width: bool = True,
) -> dict[str, bytes]:
    """Files by name: the figure as PDF, SVG and PNG at 300 and 600 dpi, `visualization.npz` and the manifest.

    `image` is what the pictures are caricatures of. With `every_width` the other column width is added, as
    `figure-one-column.pdf` and so on. Raises `ValueError` for none or more than a figure takes.
    """
    files: dict[str, bytes] = {}
    for width in WIDTHS if every_width else (style.width,):
        stem = "figure" if width == style.width else f"figure-{width}"
        files |= figure_files(figure(pictures, replace(style, width=width), image), stem)
    files["visualization.npz"] = npz(raw_arrays(pictures))
    files["manifest.json"] = as_json(manifest(pictures, style, image))
    return files


@dataclass(frozen=True)
class _Run:
    """One call of `visualize` that a manifest names, and the place of the picture in it."""

    model: Mapping[str, Any]
    device: str
    settings: Settings
    batch: tuple[str, ...]
    row: int

    @property
    def key(self) -> tuple[Any, ...]:
        """The same for pictures that were made at once."""
        return self.model["sha256"], self.device, self.settings, self.batch


def read_manifest(content: bytes) -> tuple[list[_Run], PanelStyle, dict[str, Any] | None]:
    """Parse a manifest; raises `ManifestError` with one sentence when it is not one."""
    with reading():
        found = json.loads(content)
        runs, style = [_run(entry) for entry in found["pictures"]], PanelStyle(**found["style"])
        image = found["image"]
        sound = found["format"] == FORMAT and (image is None or is_picture(image))
    if not sound or not 1 <= len(runs) <= MOST_PANELS:
        raise ManifestError("The manifest is not one that this program wrote, or of another version of it.")
    return runs, style, image


def _run(entry: Mapping[str, Any]) -> _Run:
    model = {name: str(entry["model"][name]) for name in ("name", "sha256", "card_sha256")}
    batch = tuple(str(text) for text in entry["batch"])
    row = whole(entry["row"])
    if row >= len(batch) or batch[row] != entry["objective"]:
        raise ValueError("the picture is not among those made at once")
    return _Run(model, str(entry["device"]), Settings(**entry["settings"]), batch, row)


def reproduce(
    content: bytes, image: Path | None, load: Load = zoo.load, progress: Progress | None = None
) -> tuple[tuple[Kept, ...], PanelStyle, Picture | None]:
    """Make a manifest's pictures again, beside the same others as then; what is kept on disk is not looked at.

    On the device it names and with as many threads, the same pictures come again to the bit; where this machine does
    not have that device, they are made on the CPU, which the new manifest says. Raises `ManifestError` when the image
    or a checkpoint is not the one the manifest names, and what `visualize` and the zoo raise.
    """
    runs, style, facts = read_manifest(content)
    picture = None if facts is None else picture_again(facts, image)
    made: dict[tuple[Any, ...], tuple[Kept, ...]] = {}
    for run in runs:
        if run.key not in made:
            made[run.key] = _again(run, picture, load, progress)
    return tuple(made[run.key][run.row] for run in runs), style, picture


def _again(run: _Run, picture: Picture | None, load: Load, progress: Progress | None) -> tuple[Kept, ...]:
    model = same_model(load(run.model["name"], manifest_device(run.device)), run.model)
    size = run.settings.size or model.input_size
    image = None if picture is None else square(picture, size)
    texts = [text.partition("@")[0] if text.startswith("caricature:") else text for text in run.batch]
    try:
        made = visualize(model, texts, run.settings, image=image, progress=progress)
    except ExplanationError as error:
        raise ManifestError(f"The manifest's pictures can't be made again: {error}") from error
    if made.objectives != run.batch:
        raise ManifestError("The manifest names other objectives than those that were made from it.")
    facts = model_facts(model)
    return tuple(kept_of(made, row, facts) for row in range(len(run.batch)))


def manifest_device(name: str) -> str:
    """The device that a manifest names, or the CPU."""
    kind = name.split(":")[0]
    return name if kind == "cuda" and torch.cuda.is_available() else "cpu"


def reproduce_files(content: bytes, image: Path | None) -> dict[str, bytes]:
    """The bundle of a manifest, made again; raises as `reproduce` does."""
    pictures, style, picture = reproduce(content, image)
    return bundle(pictures, style, picture, every_width=False)
