"""`python -m xai visualize`: pictures made to excite channels, units and classes, and contact sheets of layers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xai.commands.common import check_device, check_folder, show_progress, wrote
from xai.commands.explain import check_degradation, read_pictures

if TYPE_CHECKING:
    from data.datasets import ImageSource
    from models.registry import Model
    from xai.comparison import Picture
    from xai.feature_visualization import Settings

_NUMBERS: dict[str, tuple[type, str]] = {
    "size": (int, "side of the pictures in px (the network's input)"),
    "steps": (int, "steps of the optimisation (256; --invert 400)"),
    "learning_rate": (float, "of Adam (0.05; --invert 0.02)"),
    "total_variation": (float, "weight of the penalty on steps between neighbours (0; --invert 1)"),
    "high_frequency": (float, "weight of the penalty on high frequencies (0)"),
    "frequency_decay": (float, "frequencies are scaled by 1/f to this power (1.25; --invert 1)"),
    "diversity": (float, "weight of the likeness of --copies (0)"),
    "contrast": (float, "of the noise at the start (0.01)"),
    "strip": (int, "intermediate pictures that are kept (6)"),
    "batch": (int, "pictures made at once (as memory allows)"),
    "seed": (int, "the same seed gives the same pictures (0)"),
}
"""Settings that are numbers; their defaults are those of `Settings`, and of `INVERSION` for --invert."""


def _settings(arguments: argparse.Namespace) -> Settings:
    from xai.feature_visualization import Settings
    from xai.inversion import INVERSION

    names = (*_NUMBERS, "transforms", "colours")
    given = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    return replace(INVERSION if arguments.invert else Settings(), **given)


def _layers(arguments: argparse.Namespace, models: Sequence[Model]) -> list[str]:
    """A layer for each network: those given, one for all, or each network's own."""
    given = arguments.layer or [model.default_layer for model in models]
    if len(given) not in (1, len(models)):
        raise ValueError(f"--layer takes one name, or one for each network; {len(given)} were given.")
    return list(given) * len(models) if len(given) == 1 else list(given)


def _objectives(arguments: argparse.Namespace, layer: str) -> list[str]:
    """Objectives of one network as text, in the order of the options."""
    found = [f"channel:{layer}:{channel}" for channel in arguments.channel]
    found += [f"unit:{layer}:{unit}" for unit in arguments.unit]
    found += [f"class:{name}" for name in arguments.class_names]
    found += arguments.objective
    found += [f"caricature:{layer}"] if arguments.caricature else []
    return [text for text in found for _copy in range(arguments.copies)]


def _check(arguments: argparse.Namespace) -> None:
    from xai.figure_visualization import MOST_PANELS

    if not 1 <= len(arguments.model) <= 2:
        raise ValueError(f"--model takes one or two names; {len(arguments.model)} were given.")
    if not 1 <= arguments.copies <= MOST_PANELS:
        raise ValueError(f"--copies is {arguments.copies}; allowed are 1 to {MOST_PANELS}.")
    wanted = _objectives(arguments, "LAYER")
    if not (arguments.sheet or arguments.invert or wanted):
        raise ValueError(
            "nothing to visualise was given; give --channel, --unit, --class, --objective, --caricature, --invert "
            "or --sheet."
        )
    if arguments.invert and (arguments.sheet or wanted or arguments.size):
        raise ValueError("--invert was given with other objectives or --size; it goes with --layer alone.")
    if arguments.degradation != "none" and not arguments.invert:
        raise ValueError(
            f"--degradation {arguments.degradation} was given without --invert, which it is for."
        )
    check_degradation(arguments)


def _read_picture(name: str) -> Picture:
    """The picture that is caricatured or inverted."""
    pictures, problems = read_pictures([name])
    if problems:
        raise ValueError(problems[0])
    return pictures[0]


def _write_figure(arguments: argparse.Namespace, models: Sequence[Model], settings: Settings) -> list[Path]:
    """Make the pictures of all networks, and write their figure, arrays and manifest."""
    from xai.export import write_bundle
    from xai.feature_visualization import without_pictures
    from xai.figure_visualization import MOST_PANELS, PanelStyle
    from xai.visualization_export import bundle, in_turns, square
    from xai.visualization_store import stored

    alone = bool(arguments.caricature) and not _objectives(arguments, "LAYER")[1:]
    style = PanelStyle(width=arguments.width, smooth=arguments.smooth, steps=not alone)
    picture = _read_picture(arguments.caricature) if arguments.caricature else None
    wanted = [_objectives(arguments, layer) for layer in _layers(arguments, models)]
    count = sum(map(len, wanted))
    if count > MOST_PANELS:
        raise ValueError(
            f"{count} pictures were asked for; a figure takes {MOST_PANELS}, and --sheet any number."
        )
    show, found = show_progress(), []
    for model, objectives in zip(models, wanted, strict=True):
        image = None if picture is None else square(picture, settings.size or model.input_size)
        tell = without_pictures(show, f"pictures of {model.name}")
        found.append(stored(model, objectives, settings, image=image, progress=tell))
    return write_bundle(bundle(in_turns(*found), style, picture, every_width=False), arguments.out)


def _write_inversion(
    arguments: argparse.Namespace, models: Sequence[Model], settings: Settings
) -> list[Path]:
    """Invert layers for a picture, clean and degraded, and write figure, arrays and manifest."""
    from xai import inversion_export
    from xai.comparison import Request
    from xai.export import write_bundle
    from xai.figure_visualization import PanelStyle

    style = PanelStyle(width=arguments.width, smooth=arguments.smooth)
    if len(models) == 1 and arguments.layer:
        layers = {models[0].name: tuple(dict.fromkeys(arguments.layer))}
    else:
        chosen = _layers(arguments, models)
        layers = {model.name: (layer,) for model, layer in zip(models, chosen, strict=True)}
    request = Request(
        tuple(model.name for model in models),
        layers=layers,
        degradation=arguments.degradation,
        severity=arguments.severity,
        scale=arguments.scale,
        seed=settings.seed,
    )
    picture = _read_picture(arguments.invert)
    done = inversion_export.make(request, picture, models, settings, progress=show_progress())
    return write_bundle(inversion_export.bundle(done, style, every_width=False), arguments.out)


def _images(arguments: argparse.Namespace, model: Model) -> tuple[ImageSource | None, str]:
    """The images of a sheet, or the sentence that says why there are none."""
    from data.datasets import DatasetError, dataset, evenly_spread, open_dataset

    name = arguments.dataset or model.card.dataset
    if name == "none":
        return None, "No images were asked for, so there are no examples."
    if arguments.limit is not None and arguments.limit < 1:
        raise ValueError(f"--limit is {arguments.limit}; allowed are whole numbers from 1.")
    if arguments.dataset:
        dataset(name)
    try:
        return evenly_spread(open_dataset(name, arguments.split), arguments.limit), ""
    except DatasetError as error:
        return None, f"There are no examples of images: {error}"


def _write_sheet(
    arguments: argparse.Namespace, model: Model, layer: str, settings: Settings
) -> tuple[Path, str]:
    """Write one network's sheet; returns its path and why it has no images, if it has none."""
    from xai import contact_sheet
    from xai.export import safe_stem

    show, (data, missing) = show_progress(), _images(arguments, model)
    out = arguments.out / f"sheet-{safe_stem(model.name)}-{safe_stem(layer)}.pdf"

    def progress(done: float, total: float, what: str) -> None:
        show(int(done), int(total), what)

    chosen = arguments.channel or None
    made = contact_sheet.make(model, layer, settings, data, out, progress, channels=chosen, missing=missing)
    pages = f"{made.pages} page{'s' if made.pages > 1 else ''}"
    print(f"{model.name}, {layer}: {made.channels} channels on {pages}")
    return made.path, missing


def run_visualize(arguments: argparse.Namespace) -> int:
    """Write a figure, raw pictures and a manifest, or the contact sheet of a layer."""
    from models import zoo

    _check(arguments)
    check_device(arguments.device)
    check_folder(arguments.out)
    settings = _settings(arguments)
    models = [zoo.load(name, arguments.device) for name in arguments.model]
    if not arguments.sheet:
        write = _write_inversion if arguments.invert else _write_figure
        wrote(write(arguments, models, settings))
        return 0
    layers = _layers(arguments, models)
    made = [_write_sheet(arguments, *both, settings) for both in zip(models, layers, strict=True)]
    wrote([path for path, _missing in made])
    for missing in dict.fromkeys(missing for _path, missing in made if missing):
        print(f"xai visualize: {missing}", file=sys.stderr)
    wanted = arguments.dataset not in (None, "none")
    return 1 if wanted and any(missing for _path, missing in made) else 0


def _add_objectives(parser: argparse.ArgumentParser) -> None:
    several: dict[str, Any] = {"nargs": "+", "default": []}
    parser.add_argument(
        "--layer", nargs="+", metavar="LAYER", help="one, or one for each network; any number for --invert"
    )
    parser.add_argument("--channel", type=int, metavar="K", help="channels of the layer", **several)
    parser.add_argument(
        "--unit", metavar="K[:ROW,COL]", help="cells of channels, the central one if none is named", **several
    )
    parser.add_argument(
        "--class", dest="class_names", metavar="NAME", help="classes, or their numbers", **several
    )
    parser.add_argument("--objective", metavar="TEXT", help="such as mix:layer3:4+7*0.5", **several)
    parser.add_argument(
        "--caricature", metavar="IMAGE", help="a file, sample:NAME, cue10:SPLIT/NUMBER or DATASET:SPLIT/ID"
    )
    parser.add_argument(
        "--copies", type=int, default=1, help="pictures of each objective, from different seeds"
    )


def _add_inversion(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--invert", metavar="IMAGE", help="what the layers keep of this image, clean and degraded"
    )
    parser.add_argument("--degradation", default="none")
    parser.add_argument("--severity", type=float, default=0.0)
    parser.add_argument("--scale", default="", help="paper-relative, paper-literal, cifar-c or imagenet-c")


def _add_sheet(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sheet", action="store_true", help="all channels of the layer as a PDF of several pages"
    )
    parser.add_argument("--dataset", help="images beside each channel (the network's own dataset), or none")
    parser.add_argument("--split", default="test")
    parser.add_argument("--limit", type=int, help="only so many of its images")


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("visualize", help="pictures made to excite a channel, a unit or a class")
    parser.add_argument("--model", nargs="+", required=True, metavar="NAME", help="one or two names")
    _add_objectives(parser)
    _add_inversion(parser)
    _add_sheet(parser)
    for name, (kind, words) in _NUMBERS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, help=words)
    views = "random views: auto, which is by size, none, small, medium or large (auto; --invert none)"
    parser.add_argument("--transforms", help=views)
    parser.add_argument("--colours", help="dataset, none, cue10, cifar10 or imagenet (dataset)")
    parser.add_argument("--width", default="two-column", help="two-column or one-column")
    parser.add_argument("--smooth", action="store_true", help="draw smooth pixels")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, required=True)
    parser.set_defaults(run=run_visualize)
