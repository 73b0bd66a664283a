"""`python -m xai features`: what a layer of one or two networks shows for a picture, as figures, arrays and tables."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from xai.commands.common import check_device, check_folder, progress_bar, show_progress, wrote
from xai.commands.explain import add_conditions, check_degradation, read_pictures

if TYPE_CHECKING:
    from models.registry import Model
    from xai.feature_drift import DriftRow
    from xai.feature_maps import FeatureComparison, FeatureRequest

PICTURE = "picture"
IMAGES = 200
"""Of a dataset, for --drift."""


def _layers(given: Sequence[str], models: Sequence[str]) -> dict[str, str]:
    """`MODEL=LAYER`, or `LAYER` of the first model -> layer per model."""
    found: dict[str, str] = {}
    for text in given:
        model, separator, layer = text.rpartition("=")
        name = model if separator else models[0]
        if name not in models:
            raise ValueError(f"--layer names the model {name!r}; allowed are {', '.join(models)}.")
        if name in found:
            raise ValueError(
                f"--layer names two layers of {name}, {found[name]!r} and {layer!r}; one is allowed."
            )
        found[name] = layer
    return found


def _request(arguments: argparse.Namespace) -> FeatureRequest:
    from xai.feature_maps import FeatureRequest

    check_degradation(arguments)
    return FeatureRequest(
        models=tuple(arguments.model),
        layers=_layers(arguments.layer, arguments.model),
        target=arguments.target,
        order=arguments.order,
        degradation=arguments.degradation,
        severity=arguments.severity,
        scale=arguments.scale,
        resize=arguments.resize,
        seed=arguments.seed,
        count=arguments.channels,
        start=arguments.start,
    )


def _drift(
    arguments: argparse.Namespace, done: FeatureComparison, models: Sequence[Model]
) -> tuple[DriftRow, ...]:
    """The change of every layer with severity, of the picture or over images of a dataset."""
    from data import degradations
    from xai.feature_drift import Drifting
    from xai.feature_export import drift_of, drift_over

    if not arguments.drift:
        return ()
    scale = arguments.scale or done.view(done.results[0]).scale
    highest = degradations.max_severity(arguments.degradation, scale)
    severities = tuple(float(severity) for severity in range(highest + 1))
    drifting = Drifting(arguments.degradation, severities, scale, arguments.seed)
    if arguments.drift == PICTURE:
        return drift_of(done, models, drifting)
    limit = IMAGES if arguments.limit is None else arguments.limit
    return drift_over(models, arguments.drift, limit, drifting, show_progress())


def run(arguments: argparse.Namespace) -> int:
    """Write a figure of a layer's channels, raw maps, scores and a manifest, and what else was asked for."""
    from models import zoo
    from xai.export import write_bundle
    from xai.feature_export import bundle
    from xai.feature_filters import first_filters
    from xai.feature_maps import examine
    from xai.figures import Style

    if not 1 <= len(arguments.model) <= 2:
        raise ValueError(f"--model takes one or two names; {len(arguments.model)} were given.")
    if arguments.drift and arguments.degradation == "none":
        raise ValueError("--drift was given without --degradation and --severity; it needs them.")
    if arguments.limit is not None and arguments.drift in ("", PICTURE):
        raise ValueError(
            f"--limit {arguments.limit} was given without --drift DATASET:SPLIT, whose images it counts."
        )
    check_device(arguments.device)
    check_folder(arguments.out)
    style, request = Style(width=arguments.width, colours=arguments.colours), _request(arguments)
    models = [zoo.load(name, arguments.device) for name in arguments.model]
    pictures, problems = read_pictures([arguments.image])
    if not pictures:
        raise ValueError(" ".join(problems))
    with progress_bar(3, "feature maps") as bar:
        done = examine(request, pictures[0], models)
        bar.update()
        drift = _drift(arguments, done, models)
        filters = [first_filters(model) for model in models] if arguments.filters else []
        bar.update()
        every = arguments.every_layer
        files = bundle(done, style, drift=drift, filters=filters, every_width=False, every_layer=every)
        bar.update()
    wrote(write_bundle(files, arguments.out))
    return 0


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("features", help="feature maps of a layer for a picture, clean and degraded")
    parser.add_argument(
        "image", metavar="IMAGE", help="a file, sample:NAME, cue10:SPLIT/NUMBER or DATASET:SPLIT/ID"
    )
    parser.add_argument("--model", nargs="+", required=True, metavar="NAME", help="one or two names")
    words = "the first network's, unless it names another; the second's is one that fits it"
    parser.add_argument("--layer", action="append", default=[], metavar="[MODEL=]LAYER", help=words)
    orders = "index, mean, maximum, sparsity, gradient_x_activation or change (index)"
    parser.add_argument("--order", default="index", help=f"of the channels: {orders}")
    parser.add_argument("--channels", type=int, default=16, help="how many are shown (16)")
    parser.add_argument("--start", type=int, default=0, help="place of the first one, from 0 (0)")
    parser.add_argument("--target", default="predicted", help="predicted, true or a class name (predicted)")
    words = "also how much every layer changes with severity, for the picture or for images of a dataset"
    parser.add_argument("--drift", nargs="?", const=PICTURE, default="", metavar="DATASET:SPLIT", help=words)
    words = f"images of the dataset for --drift DATASET:SPLIT ({IMAGES})"
    parser.add_argument("--limit", type=int, help=words)
    words = (
        "draw all layers of --drift, not only outputs of blocks, of activations outside of them, and logits"
    )
    parser.add_argument("--every-layer", action="store_true", help=words)
    parser.add_argument("--filters", action="store_true", help="also the first convolution's filters")
    add_conditions(parser)
    parser.set_defaults(run=run)
