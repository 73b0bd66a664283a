"""`python -m xai import`: somebody's own network, from a file of weights to one that is listed with the others."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from xai.commands.common import option_values, show_progress, wrote

if TYPE_CHECKING:
    from models.import_request import Request
    from models.registry import Model
    from models.third_party import Brought
    from xai.own_network_rows import Check

_LARGEST_LIST = 2**20
_SAMPLES = "samples"
_IMAGENET = "imagenet"
Constants = tuple[Sequence[float], Sequence[float]]


def run_import(arguments: argparse.Namespace) -> int:
    """Say what the file holds; unless that is all that is asked for, build the network, check it and keep it."""
    from models import third_party

    architecture = _architecture(arguments)
    if arguments.inspect:
        options = _options(arguments)
        report = third_party.inspect(
            arguments.file,
            architecture=architecture,
            key=arguments.key,
            options=options,
            input_size=arguments.input_size,
        )
        _print(report.lines())
        return 0
    request = _request(arguments, architecture)
    brought = _brought(arguments.file, request)
    _print([*brought.report.lines(), *brought.notes, *_layer_lines(brought.model)])
    if arguments.check:
        _print(_check_lines(_checked(brought.model, arguments.check, arguments.check_images)))
    card = third_party.keep(brought, replace_it=arguments.replace)
    _print([f"{card.name} is listed with the others now; {_trust(arguments)}"])
    wrote(third_party.files_of(card.name))
    return 0


def _print(lines: Sequence[str]) -> None:
    from xai.tables import printable

    print("\n".join(map(printable, lines)))


def _trust(arguments: argparse.Namespace) -> str:
    if arguments.builder:
        from models.builders import ALLOWED

        return f"it loads where {ALLOWED}=1 is set and {arguments.builder} can be imported."
    return (
        "read the check above first."
        if arguments.check
        else "--check DATASET tries whether it is fed as trained."
    )


def _brought(path: Path, request: Request) -> Brought:
    from models import third_party
    from models.import_request import ImportRefused

    try:
        return third_party.bring(path, request)
    except ImportRefused as error:
        if error.fit is not None:
            _print(error.fit.lines())
        raise


def _architecture(arguments: argparse.Namespace) -> str | None:
    """The architecture's name; a builder is allowed for this process, as the command names it."""
    if arguments.builder is None:
        return arguments.architecture
    if arguments.architecture is not None:
        raise ValueError("--architecture and --builder were both given; allowed is one of them.")
    from models.builders import ALLOWED, PREFIX

    os.environ[ALLOWED] = "1"
    return PREFIX + arguments.builder


def _options(arguments: argparse.Namespace) -> dict[str, str | int | float] | None:
    return option_values(arguments.option) if arguments.option else None


def _request(arguments: argparse.Namespace, architecture: str | None) -> Request:
    from models.import_request import UNKNOWN, Request

    if arguments.name is None or arguments.input_size is None:
        raise ValueError("--name and --input-size are needed to import a network; --inspect needs neither.")
    classes, dataset = _classes(arguments)
    return Request(
        arguments.name,
        arguments.input_size,
        architecture,
        classes,
        _normalization(arguments.normalization),
        arguments.channels,
        arguments.key,
        _options(arguments),
        dataset or UNKNOWN,
        arguments.ignore_unexpected,
        arguments.replace,
    )


def _classes(arguments: argparse.Namespace) -> tuple[Sequence[str] | None, str]:
    """Names of the classes, None where they are not given, and the dataset that they are those of."""
    if arguments.classes and arguments.classes_from:
        raise ValueError("--classes and --classes-from were both given; allowed is one of them.")
    if not arguments.classes_from:
        return arguments.classes or None, ""
    path = Path(arguments.classes_from)
    if path.is_file():
        return _listed(path), ""
    if arguments.classes_from == _IMAGENET:
        from models.import_request import imagenet_classes

        return imagenet_classes(), _IMAGENET
    from data.catalogue import dataset

    found = dataset(arguments.classes_from)
    return found.classes, found.name


def _listed(path: Path) -> list[str]:
    """The lines of a file that are not empty."""
    if path.stat().st_size > _LARGEST_LIST:
        raise ValueError(
            f"{path} has {path.stat().st_size:,} bytes; allowed are {_LARGEST_LIST:,} for class names."
        )
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8 text; class names are read from text, one a line.") from error
    return [line.strip() for line in lines if line.strip()]


def _normalization(words: Sequence[str] | None) -> str | Constants | None:
    """A name, or mean and standard deviation as six numbers, or three and three with commas."""
    if words is None or (len(words) == 1 and "," not in words[0]):
        return words[0] if words else None
    try:
        numbers = [float(part) for word in words for part in word.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 6:
        raise ValueError(
            f"the normalisation is {' '.join(words)!r}; allowed are a name, or a mean and a std of three numbers each."
        )
    return numbers[:3], numbers[3:]


def _layer_lines(model: Model) -> list[str]:
    from xai import own_layers
    from xai.tables import as_text

    rows = [row for row in own_layers.layer_rows(model) if row["proposed"]]
    again = own_layers.called_again(model)
    more = f" and {len(again) - 10:,} more" if len(again) > 10 else ""
    called = (
        [f"Called several times (tap a later call as NAME#2): {', '.join(again[:10])}{more}."]
        if again
        else []
    )
    return [
        "",
        f"Layers proposed for heatmaps at {model.input_size} px:",
        *as_text(rows),
        own_layers.head_words(model),
        *called,
    ]


def _checked(model: Model, where: str, limit: int) -> Check:
    """The first check on a dataset's split, or on the sample pictures, of which no class is known."""
    from xai import own_network

    if where == _SAMPLES:
        return own_network.check_samples(model, show_progress())
    from data.catalogue import dataset as _registered  # noqa: F401 - registers every dataset
    from data.datasets import open_dataset

    return own_network.check(model, open_dataset(*_split(where), show_progress()), limit, show_progress())


def _split(where: str) -> tuple[str, str]:
    """Dataset and split of `DATASET` or `DATASET:SPLIT`; a folder is taken whole, another dataset's test split."""
    from data.catalogue import dataset

    name, colon, split = where.rpartition(":")
    if colon and split in ("train", "validation", "test", "all", "conflict", "shortcut"):
        return name, split
    splits = dataset(where).splits
    return where, "all" if "all" in splits else "test"


def _check_lines(check: Check) -> list[str]:
    from xai.tables import as_text

    return ["", "First check:", *check.sentences, *as_text(check.table()), ""]


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("import", help="bring in a network of your own, from a file of weights")
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="safetensors, or what torch.save wrote of weights"
    )
    parser.add_argument("--inspect", action="store_true", help="only say what is in it and what it resembles")
    parser.add_argument(
        "--architecture", metavar="NAME", help="ours, torchvision:NAME or timm:NAME (what fits)"
    )
    parser.add_argument(
        "--builder", metavar="PACKAGE.MODULE:FUNCTION", help="a function of yours that builds it"
    )
    help_option = "option of the architecture, such as width=32; may be repeated"
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help=help_option)
    parser.add_argument("--name", help="what the network is to be called")
    parser.add_argument(
        "--classes", nargs="+", metavar="NAME", help="class names, in the order of the outputs"
    )
    parser.add_argument(
        "--classes-from", metavar="FILE|DATASET", help="a file with one a line, a dataset, or imagenet"
    )
    parser.add_argument("--input-size", type=int, metavar="N", help="side of its images, in px")
    help_normalization = "imagenet, cifar10, half, none, bytes, or mean and std, such as .5,.5,.5 .2,.2,.2"
    parser.add_argument("--normalization", nargs="+", metavar="WORD", help=help_normalization)
    parser.add_argument("--channels", default="rgb", help="rgb, or bgr for a network trained on such (rgb)")
    parser.add_argument("--key", help="which entry of the file to take, such as ema")
    parser.add_argument(
        "--ignore-unexpected", action="store_true", help="leave weights out that the network has not"
    )
    parser.add_argument("--check", metavar="DATASET[:SPLIT]", help="try it on these images, or on samples")
    parser.add_argument("--check-images", type=int, default=200, metavar="N", help="how many of them (200)")
    parser.add_argument("--replace", action="store_true", help="replace a network of that name")
    parser.set_defaults(run=run_import)
