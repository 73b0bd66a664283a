"""The command line's parsers and commands.

Each command says what it does with a progress bar, ends with the paths it wrote, exits 0 only when the whole job
was done, 1 when some pictures could not be used, and on bad input exits 2 with one line that says what was given
and what is allowed. Libraries are imported where they are used, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from models.registry import Model
    from xai.comparison import Picture, Request
    from xai.figures import Style

Command = Callable[[argparse.Namespace], int]


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with 2."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _bar(total: int, what: str) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, desc=what, unit="", file=sys.stderr, dynamic_ncols=True)


def _progress() -> Callable[[int, int, str], None]:
    """A progress callback `(done, total, what)` that draws one bar per task."""
    bars: dict[str, Any] = {}

    def show(done: int, total: int, what: str) -> None:
        if what not in bars:
            bars[what] = _bar(total, what)
        bars[what].update(done - bars[what].n)
        if done >= total:
            bars.pop(what).close()

    return show


def _wrote(paths: Sequence[Path]) -> None:
    for path in paths:
        print(f"wrote {path}")


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f}"


def _model_rows() -> list[dict[str, Any]]:
    """One object per network on this machine, as `models --json` prints it."""
    from dataclasses import asdict

    from models import zoo

    columns = (
        "name",
        "architecture",
        "dataset",
        "seed",
        "device",
        "parameters",
        "macs",
        "accuracy",
        "sha256",
    )
    rows = []
    for card in zoo.cards().values():
        facts = asdict(card)
        row = {column: facts[column] for column in (*columns, "megabytes")}
        accuracy = {key: card.accuracy.get(key) for key in ("test", "validation", "validation_lossless")}
        rows.append({**row, "accuracy": accuracy, "shipped": zoo.is_shipped(card.name)})
    return rows


def _table(rows: list[dict[str, Any]], *, markdown: bool) -> list[str]:
    """The rows as lines of aligned text, or of a Markdown table."""
    head = ["name", "dataset", "device", "parameters", "MMAC", "test %", "validation %", "lossless %", "MB"]
    cells = [head]
    for row in rows:
        scores = [_percent(row["accuracy"][key]) for key in ("test", "validation", "validation_lossless")]
        numbers = [
            f"{row['parameters'] / 1e6:.2f} M",
            f"{row['macs'] / 1e6:.1f}",
            *scores,
            f"{row['megabytes']:.1f}",
        ]
        cells.append([row["name"], row["dataset"], row["device"], *numbers])
    if markdown:
        cells.insert(1, ["---"] * 3 + ["---:"] * 6)
        return ["| " + " | ".join(line) + " |" for line in cells]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    return [
        "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]


def run_models(arguments: argparse.Namespace) -> int:
    """List the networks at hand."""
    from models import zoo

    rows = _model_rows()
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return 0
    print("\n".join(_table(rows, markdown=arguments.markdown)))
    if not arguments.markdown:
        print(f"On request, with internet: {', '.join(zoo.IMAGENET)}")
    return 0


def _read_pictures(names: Sequence[str]) -> tuple[list[Picture], list[str]]:
    """Pictures from paths, `sample:NAME` and `cue10:SPLIT/NUMBER`, and a sentence for each that can't be used."""
    from data.datasets import DatasetError
    from data.images import ImageError, read_image
    from xai.comparison import picture_from_image
    from xai.export import ManifestError, find_picture

    pictures, problems = [], []
    for name in names:
        try:
            if name.startswith(("sample:", "cue10:")):
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


def _request(arguments: argparse.Namespace) -> Request:
    from data import degradations
    from xai.comparison import Request

    if (arguments.degradation == "none") != (arguments.severity == 0):
        given = f"--degradation {arguments.degradation} and --severity {arguments.severity:g}"
        raise ValueError(f"{given} were given; a degradation and a severity above 0 go together.")
    if arguments.degradation != "none":
        degradations.resolve_name(arguments.degradation)
    if arguments.scale:
        degradations.resolve_scale(arguments.scale)
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


def _check_device(device: str) -> None:
    from xai.training import find_device

    find_device(device)


def _explain_all(
    pictures: Sequence[Picture], request: Request, models: Sequence[Model], style: Style, out: Path
) -> tuple[list[Path], list[str]]:
    from xai.comparison import compare
    from xai.export import bundle, folder_names, write_bundle

    written, problems = [], []
    with _bar(len(pictures), "explaining") as bar:
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
    _check_device(arguments.device)
    style, request = Style(width=arguments.width, colours=arguments.colours), _request(arguments)
    models = [zoo.load(name, arguments.device) for name in arguments.models]
    pictures, problems = _read_pictures(arguments.images)
    if not pictures:
        raise ValueError(" ".join(problems))
    written, more = _explain_all(pictures, request, models, style, arguments.out)
    _wrote(written)
    for problem in problems + more:
        print(f"xai explain: {problem}", file=sys.stderr)
    if not written:
        return 2
    return 1 if problems or more else 0


def run_reproduce(arguments: argparse.Namespace) -> int:
    """Draw a manifest's figure again."""
    from xai.export import bundle, reproduce, write_bundle

    comparison, style = reproduce(arguments.manifest.read_bytes(), arguments.image)
    _wrote(write_bundle(bundle(comparison, style, every_width=False), arguments.out))
    return 0


def run_train(arguments: argparse.Namespace) -> int:
    """Train, measure and write one network."""
    from dataclasses import replace

    from xai import training

    recipe = training.default_recipe(arguments.architecture, arguments.dataset)
    chosen = (
        "epochs",
        "batch_size",
        "optimizer",
        "learning_rate",
        "weight_decay",
        "label_smoothing",
        "compile",
    )
    given = {name: getattr(arguments, name) for name in chosen if getattr(arguments, name) is not None}
    recipe = replace(recipe, **given)
    options = {} if arguments.width is None else {"width": arguments.width}
    bar = _bar(recipe.epochs, "training")

    def report(epoch: int, step: int, steps: int, loss: float, accuracy: float) -> None:
        bar.update(epoch + step / steps - bar.n)
        bar.set_postfix(loss=f"{loss:.3f}", accuracy=f"{accuracy:.3f}")

    with bar:
        card = training.train(
            arguments.architecture,
            arguments.dataset,
            arguments.out,
            seed=arguments.seed,
            device=arguments.device,
            recipe=recipe,
            options=options,
            limit=arguments.limit,
            report=report,
            progress=_progress(),
        )
    print(f"{card.name}: test accuracy {_percent(card.accuracy['test'])} %")
    _wrote(sorted(path for path in (arguments.out / card.name).iterdir() if not path.name.startswith(".")))
    return 0


def run_fetch(arguments: argparse.Namespace) -> int:
    """Download a dataset, or draw it."""
    from data.catalogue import dataset, load_dataset

    entry, progress = dataset(arguments.name), _progress()
    if entry.fetch:
        entry.fetch(progress)
    for split in entry.splits:
        print(f"{entry.name} {split}: {len(load_dataset(entry.name, split, progress)):,} images")
    return 0


def run_unpack(arguments: argparse.Namespace) -> int:
    """Unpack the archive of cifar10-jpeg."""
    from data.catalogue import cifar

    _wrote([cifar.unpack_archive(arguments.archive, _progress())])
    return 0


def _add_models(commands: Any) -> None:
    parser = commands.add_parser("models", help="list the networks at hand")
    parser.add_argument("--json", action="store_true", help="print a list of objects")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    parser.set_defaults(run=run_models)


def _add_explain(commands: Any) -> None:
    parser = commands.add_parser(
        "explain", help="heatmaps of pictures, clean and degraded, as figures and arrays"
    )
    parser.add_argument(
        "images", nargs="+", metavar="IMAGE", help="a file, sample:NAME or cue10:SPLIT/NUMBER"
    )
    parser.add_argument("--models", nargs="+", required=True, metavar="NAME", help="one or two names")
    parser.add_argument("--methods", nargs="+", default=["gradcam"], metavar="METHOD")
    parser.add_argument("--target", default="predicted", help="predicted, true or a class name")
    parser.add_argument("--layer", action="append", default=[], metavar="[MODEL=]LAYER[,LAYER]")
    parser.add_argument("--degradation", default="none")
    parser.add_argument("--severity", type=float, default=0.0)
    parser.add_argument("--scale", default="", help="paper-relative, paper-literal, cifar-c or imagenet-c")
    parser.add_argument("--resize", default="crop", help="crop, pad or squash")
    parser.add_argument("--width", default="two-column", help="two-column or one-column")
    parser.add_argument("--colours", default="viridis", help="colour map of evidence")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, required=True)
    parser.set_defaults(run=run_explain)


def _add_reproduce(commands: Any) -> None:
    parser = commands.add_parser("reproduce", help="draw the figure of a manifest again")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("image", type=Path, nargs="?", help="not needed for samples and cue10 scenes")
    parser.add_argument("--out", type=Path, required=True)
    parser.set_defaults(run=run_reproduce)


def _add_train(commands: Any) -> None:
    parser = commands.add_parser("train", help="train a network; goes on where a killed run stopped")
    parser.add_argument("--architecture", required=True)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--optimizer", help="sgd or adamw")
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--weight-decay", type=float)
    parser.add_argument("--label-smoothing", type=float)
    parser.add_argument("--compile", action="store_true", default=None, help="use torch.compile")
    parser.add_argument("--width", type=int, help="channels of a ResNet's first stage (64)")
    parser.add_argument("--limit", type=int, help="only so many images of each split, for a trial")
    parser.add_argument("--out", type=Path, required=True)
    parser.set_defaults(run=run_train)


def _add_data(commands: Any) -> None:
    data = commands.add_parser("data", help="fetch or unpack datasets")
    kinds = data.add_subparsers(required=True, metavar="ACTION", parser_class=_Parser)
    fetch = kinds.add_parser("fetch", help="download or draw a dataset")
    fetch.add_argument("name")
    fetch.set_defaults(run=run_fetch)
    unpack = kinds.add_parser("unpack", help="unpack the archive of cifar10-jpeg")
    unpack.add_argument("archive", type=Path)
    unpack.set_defaults(run=run_unpack)


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = _Parser(prog="python -m xai", description="See how convolutional networks decide.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    for add in (_add_models, _add_explain, _add_reproduce, _add_train, _add_data):
        add(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    parsed = build_parser().parse_args(arguments)
    run: Command = parsed.run
    try:
        return run(parsed)
    except (ValueError, OSError) as error:
        print(f"python -m xai: {_one_line(error)}", file=sys.stderr)
        return 2


def _one_line(error: ValueError | OSError) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'a file'} can't be used: {error.strerror}."
    return " ".join(str(error).split())
