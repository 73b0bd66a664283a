"""`python -m xai explain` and `reproduce`: figures of heatmaps."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xai.commands.common import check_device, check_folder, progress_bar, wrote

if TYPE_CHECKING:
    from models.registry import Model
    from xai.comparison import Picture, Request
    from xai.figures import Style


def read_pictures(names: Sequence[str]) -> tuple[list[Picture], list[str]]:
    """Pictures from paths, `sample:NAME` and `DATASET:SPLIT/ID`, and a sentence for each that can't be used."""
    from data.datasets import DatasetError
    from data.images import ImageError, read_image
    from xai.comparison import picture_from_image
    from xai.manifests import ManifestError
    from xai.picture_sources import find_picture, is_source

    pictures, problems = [], []
    for name in names:
        try:
            if is_source(name):
                pictures.append(find_picture(name))
            else:
                pictures.append(picture_from_image(read_image(Path(name).read_bytes(), Path(name).name)))
        except (ImageError, ManifestError, DatasetError) as error:
            problems.append(str(error))
        except OSError as error:
            problems.append(f"{name} can't be read: {error.strerror}.")
    return pictures, problems


def _layers(pairs: Sequence[str], models: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """`MODEL=LAYER[,LAYER]` or `LAYER` (for every model) -> layers per model."""
    found: dict[str, tuple[str, ...]] = {}
    for pair in pairs:
        model, separator, layers = pair.rpartition("=")
        if separator and model not in models:
            raise ValueError(f"--layer names the model {model!r}; allowed are {', '.join(models)}.")
        for name in (model,) if separator else models:
            found[name] = tuple(layers.split(","))
    return found


def check_degradation(arguments: argparse.Namespace) -> None:
    """Raise `ValueError` for a degradation or scale that is not known, and for a degradation without severity."""
    from data import degradations

    if arguments.degradation != "none":
        degradations.resolve_name(arguments.degradation)
    if (arguments.degradation == "none") != (arguments.severity == 0):
        given = f"--degradation {arguments.degradation} and --severity {arguments.severity:g}"
        raise ValueError(f"{given} were given; a degradation and a severity above 0 go together.")
    if arguments.scale:
        degradations.resolve_scale(arguments.scale)


def _request(arguments: argparse.Namespace) -> Request:
    from xai.comparison import Request

    check_degradation(arguments)
    return Request(
        models=tuple(arguments.models),
        methods=tuple(arguments.methods),
        target=arguments.target,
        layers=_layers(arguments.layer, arguments.models),
        degradation=arguments.degradation,
        severity=arguments.severity,
        scale=arguments.scale,
        resize=arguments.resize,
        seed=arguments.seed,
    )


def _explain_all(
    pictures: Sequence[Picture], request: Request, models: Sequence[Model], style: Style, out: Path
) -> tuple[list[Path], list[str]]:
    from xai.comparison import compare
    from xai.export import bundle, folder_names, write_bundle

    written, problems = [], []
    with progress_bar(len(pictures), "explaining") as bar:
        names = folder_names([picture.name for picture in pictures])
        for folder, picture in zip(names, pictures, strict=True):
            try:
                files = bundle(compare(request, picture, models), style, every_width=False)
                written += write_bundle(files, out / folder)
            except ValueError as error:
                problems.append(f"{picture.name}: {error}")
            bar.update()
    return written, problems


def run_explain(arguments: argparse.Namespace) -> int:
    """Write a figure, raw maps and a manifest for every picture."""
    from models import zoo
    from xai.figures import Style

    if not 1 <= len(arguments.models) <= 2:
        raise ValueError(f"--models takes one or two names; {len(arguments.models)} were given.")
    check_device(arguments.device)
    check_folder(arguments.out)
    style, request = Style(width=arguments.width, colours=arguments.colours), _request(arguments)
    models = [zoo.load(name, arguments.device) for name in arguments.models]
    pictures, problems = read_pictures(arguments.images)
    if not pictures:
        raise ValueError(" ".join(problems))
    written, more = _explain_all(pictures, request, models, style, arguments.out)
    wrote(written)
    for problem in problems + more:
        print(f"xai explain: {problem}", file=sys.stderr)
    if not written:
        return 2
    return 1 if problems or more else 0


def run_reproduce(arguments: argparse.Namespace) -> int:
    """Draw a manifest's figure again."""
    from xai.export import write_bundle
    from xai.reproduction import reproduce_files

    files = reproduce_files(arguments.manifest.read_bytes(), arguments.image)
    wrote(write_bundle(files, arguments.out))
    return 0


def add_conditions(parser: Any) -> None:
    """Add what every command takes that makes a figure of a picture: degradation, style, seed, device and folder."""
    parser.add_argument("--degradation", default="none", help="name of a degradation (none)")
    parser.add_argument("--severity", type=float, default=0.0, help="above 0 with a degradation (0)")
    words = "paper-relative, paper-literal, cifar-c or imagenet-c (what fits the network's input)"
    parser.add_argument("--scale", default="", help=words)
    parser.add_argument("--resize", default="crop", help="crop, pad or squash (crop)")
    parser.add_argument("--width", default="two-column", help="two-column or one-column (two-column)")
    parser.add_argument("--colours", default="viridis", help="colour map of what is not signed (viridis)")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn at random (0)")
    parser.add_argument("--device", default="cpu", help="where the networks run (cpu)")
    parser.add_argument("--out", type=Path, required=True, help="folder that the files are written to")


def _add_explain(commands: Any) -> None:
    parser = commands.add_parser(
        "explain", help="heatmaps of pictures, clean and degraded, as figures and arrays"
    )
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="a file, sample:NAME, cue10:SPLIT/NUMBER or DATASET:SPLIT/ID",
    )
    parser.add_argument("--models", nargs="+", required=True, metavar="NAME", help="one or two names")
    parser.add_argument("--methods", nargs="+", default=["gradcam"], metavar="METHOD")
    parser.add_argument("--target", default="predicted", help="predicted, true or a class name")
    parser.add_argument("--layer", action="append", default=[], metavar="[MODEL=]LAYER[,LAYER]")
    add_conditions(parser)
    parser.set_defaults(run=run_explain)


def _add_reproduce(commands: Any) -> None:
    parser = commands.add_parser("reproduce", help="draw the figure of a manifest again")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("image", type=Path, nargs="?", help="not needed for samples and cue10 scenes")
    parser.add_argument("--out", type=Path, required=True)
    parser.set_defaults(run=run_reproduce)


def add(commands: Any) -> None:
    """Add the commands' parsers."""
    _add_explain(commands)
    _add_reproduce(commands)
