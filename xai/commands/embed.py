"""`python -m xai embed`: how one or two networks arrange the images of a dataset, as a figure, points and measures."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xai.commands.common import check_device, progress_bar, wrote

if TYPE_CHECKING:
    from data.datasets import Dataset
    from models.cards import Card
    from xai.embedding import Embedding, EmbeddingRequest
    from xai.figure_embedding import MapStyle
    from xai.projection import Projecting

_NUMBERS: dict[str, tuple[type, str]] = {
    "perplexity": (float, "about how many neighbours t-SNE keeps together (30)"),
    "iterations": (int, "steps of t-SNE after its first 250 (500)"),
    "neighbours": (int, "how many neighbours UMAP keeps together (15)"),
    "min_distance": (float, "how tightly UMAP packs points, 0 to 1 (0.1)"),
    "pca": (int, "dimensions kept by PCA first, 0 for all (50)"),
    "seed": (int, "the same seed gives the same map and the same degraded images (0)"),
}
"""Settings of the projection that are numbers; their defaults are those of `Projecting`."""
_LAYOUTS = {"separate": "separate", "aligned": "aligned", "shared-start": "shared start"}
_PARTS = {
    "degraded": "show the degraded points too",
    "arrows": "lines from clean to degraded points",
    "centroids": "names at the middles of classes",
    "hulls": "hulls around classes",
    "density": "contours of density",
}
"""What a figure may show besides points."""


def _projecting(arguments: argparse.Namespace) -> Projecting:
    from xai.projection import Projecting

    given = {name: value for name in _NUMBERS if (value := getattr(arguments, name)) is not None}
    return Projecting(method=arguments.method, **given)


def _layers(arguments: argparse.Namespace) -> tuple[str, ...]:
    """A layer for each network: one for all, or one for each."""
    given, count = tuple(arguments.layer), len(arguments.models)
    return given * count if len(given) == 1 else given


def _request(arguments: argparse.Namespace) -> EmbeddingRequest:
    from data import degradations
    from xai.embedding import EmbeddingRequest

    if (arguments.degradation == "none") != (not arguments.severities):
        raise ValueError(
            f"--degradation {arguments.degradation} was given with {len(arguments.severities)} --severities; a "
            "degradation and severities above 0 go together."
        )
    if arguments.layout not in _LAYOUTS:
        raise ValueError(f"--layout is {arguments.layout!r}; allowed are {', '.join(_LAYOUTS)}.")
    if arguments.limit is not None and arguments.limit < 1:
        raise ValueError(f"--limit is {arguments.limit}; allowed are whole numbers from 1.")
    named = arguments.degradation != "none"
    return EmbeddingRequest(
        models=tuple(arguments.models),
        dataset=arguments.dataset,
        split=arguments.split,
        limit=arguments.limit,
        layers=_layers(arguments),
        projecting=_projecting(arguments),
        layout=_LAYOUTS[arguments.layout],
        degradation=degradations.resolve_name(arguments.degradation) if named else "none",
        severities=tuple(sorted(arguments.severities)),
        scale=degradations.resolve_scale(arguments.scale) if arguments.scale else "",
        seed=arguments.seed or 0,
        k=arguments.k,
    )


def _styles(arguments: argparse.Namespace) -> list[MapStyle]:
    """A style for each colouring."""
    from xai.figure_embedding import MapStyle

    parts = {name: getattr(arguments, name) for name in _PARTS}
    return [MapStyle(width=arguments.width, colour=colour, **parts) for colour in arguments.colour]


def _check(arguments: argparse.Namespace) -> None:
    from data.datasets import dataset

    degraded = [name for name in ("degraded", "arrows") if getattr(arguments, name)]
    degraded += [name for name in arguments.colour if name in ("severity", "transition")]
    if degraded and not arguments.severities:
        raise ValueError(
            f"{degraded[0]} was asked for without --degradation and --severities, which it needs."
        )
    if len(set(arguments.colour)) != len(arguments.colour):
        raise ValueError("--colour names one colouring twice.")
    dataset(arguments.dataset)
    check_device(arguments.device)


@contextmanager
def _one_bar() -> Iterator[Callable[[int, int, str], None]]:
    """A progress callback that draws one bar, which says what is being done."""
    with progress_bar(1, "embedding") as bar:
        bar.bar_format = "{l_bar}{bar}| {elapsed}"

        def show(done: int, total: int, what: str) -> None:
            bar.set_description(what, refresh=False)
            bar.total, bar.n = total, done
            bar.refresh()

        yield show
        bar.n = bar.total


def _check_request(request: EmbeddingRequest, device: str) -> None:
    """Raise `ValueError` for a severity out of range or a network that does not fit, before anything is computed."""
    from data.datasets import dataset
    from data.degradations import default_scale
    from models import zoo
    from xai.embedding_run import check_severities

    images, cards = dataset(request.dataset), zoo.cards()
    scale = request.scale or default_scale(images.image_size, images.image_size)
    check_severities(replace(request, scale=scale))
    for name in request.models:
        _check_network(cards[name] if name in cards else zoo.load(name, device).card, images)


def _check_network(card: Card, images: Dataset) -> None:
    if card.input_size != images.image_size:
        raise ValueError(
            f"{card.name} takes images of {card.input_size} px, and those of {images.name} have {images.image_size}; "
            "allowed are networks and images of one size."
        )
    if images.classes and not set(images.classes) & set(card.classes):  # some are known only with the images
        raise ValueError(
            f"{card.name} knows none of the classes of {images.name}; allowed are networks that know some of them."
        )


def _said(found: Embedding) -> list[str]:
    """What is to be known of the maps: what was not as asked, and how far they can't be trusted."""
    return [words for one in found.maps for words in (*one.notes, *one.quality.warnings)]


def run(arguments: argparse.Namespace) -> int:
    """Print what is measured, and write figures, points, measures and a manifest."""
    from models import zoo
    from xai.embedding_export import bundle, metrics_text
    from xai.embedding_store import stored
    from xai.embedding_words import fewer_words
    from xai.export import figure_files, write_bundle
    from xai.figure_embedding import embedding_figure

    request, styles = _request(arguments), _styles(arguments)
    _check(arguments)
    _check_request(request, arguments.device)
    with _one_bar() as progress:
        found = stored(request, load=lambda name: zoo.load(name, arguments.device), progress=progress)
    for line in metrics_text(found):
        print(line)
    for words in dict.fromkeys([*_said(found), *fewer_words(found)]):
        print(words)
    files = bundle(found, styles[0], every_width=False)
    for style in styles[1:]:
        files |= figure_files(embedding_figure(found, style), f"figure-{style.colour}")
    wrote(write_bundle(files, arguments.out))
    return 0


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "embed", help="how one or two networks arrange the images of a dataset, clean and degraded"
    )
    parser.add_argument("--models", nargs="+", required=True, metavar="NAME", help="one or two names")
    parser.add_argument("--dataset", required=True, metavar="NAME", help="a dataset or folder:PATH")
    parser.add_argument("--split", default="test")
    parser.add_argument("--limit", type=int, help="how many images, evenly spread (all)")
    words = "of all networks or one for each: a layer's name (penultimate, what the classifier reads)"
    parser.add_argument("--layer", nargs="+", default=[], metavar="LAYER", help=words)
    parser.add_argument("--method", default="tsne", help="tsne, umap or pca")
    for name, (kind, meaning) in _NUMBERS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, help=meaning)
    words = "of the second map: separate, aligned (turned onto the first) or shared-start"
    parser.add_argument("--layout", default="aligned", help=words)
    parser.add_argument("--k", type=int, default=10, help="how many nearest neighbours are counted")
    _add_degradation(parser)
    _add_figure(parser)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, required=True)
    parser.set_defaults(run=run)


def _add_degradation(parser: Any) -> None:
    parser.add_argument("--degradation", default="none")
    parser.add_argument("--severities", nargs="+", type=float, default=[], metavar="S", help="above 0")
    parser.add_argument("--scale", default="", help="paper-relative, paper-literal, cifar-c or imagenet-c")


def _add_figure(parser: Any) -> None:
    words = "label, prediction, correctness, confidence, severity or transition; a figure for each"
    parser.add_argument("--colour", nargs="+", default=["label"], metavar="BY", help=words)
    parser.add_argument("--width", default="two-column", help="two-column or one-column")
    for name, meaning in _PARTS.items():
        parser.add_argument(f"--{name}", action="store_true", help=meaning)
