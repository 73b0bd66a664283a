"""`python -m xai models`: the trained networks, what was not trained, and how quick they are here."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from xai.commands.common import percent, progress_bar

if TYPE_CHECKING:
    from xai.network_table import Network
    from xai.tables import Rows

_CARD = (
    "name",
    "architecture",
    "dataset",
    "seed",
    "device",
    "parameters",
    "macs",
    "accuracy",
    "sha256",
    "megabytes",
)
_ADDED = ("title", "family", "recipe", "epochs", "images", "interval", "seconds", "weights")
_NUMBERS = ("parameters", "MMAC", "test %", "validation %", "lossless %", "MB")


def _objects(rows: Iterable[Network]) -> list[dict[str, Any]]:
    """One object per network, as `models --json` prints it."""
    from models import zoo
    from xai import network_table

    cards, objects = zoo.records(), []
    for row in rows:
        card, facts = cards[row.name], network_table.facts(row)
        entry: dict[str, Any] = {column: getattr(card, column) for column in _CARD}
        scores = {key: card.accuracy.get(key) for key in ("test", "validation", "validation_lossless")}
        entry |= {"accuracy": scores, "shipped": zoo.is_shipped(card.name), "options": card.options}
        objects.append(entry | {column: facts[column] for column in _ADDED})
    return objects


def _overview(rows: Iterable[Network]) -> list[dict[str, Any]]:
    """The networks whose weights are here, in the few columns of the README."""
    from xai import network_table

    return [
        {
            "name": row.name,
            "dataset": row.dataset,
            "device": row.device,
            "parameters": f"{row.parameters / 1e6:.2f} M",
            "MMAC": f"{row.macs / 1e6:.1f}",
            "test %": percent(row.test),
            "validation %": percent(row.validation),
            "lossless %": percent(row.lossless),
            "MB": f"{row.megabytes:.1f}",
        }
        for row in rows
        if row.weights != network_table.NOT_KEPT
    ]


def _json(rows: list[Network], seeds: bool) -> list[str]:
    from xai import network_table

    objects = [network_table.facts(row) for row in rows] if seeds else _objects(rows)
    return [json.dumps(objects, indent=2)]


def _markdown(rows: list[Network], seeds: bool) -> list[str]:
    from xai import network_table, tables

    if seeds:
        return tables.as_markdown(network_table.table(rows, seeds=True))
    return tables.as_markdown(_overview(rows), right=_NUMBERS)


def _text(rows: list[Network], seeds: bool) -> list[str]:
    from models import zoo
    from xai import network_table, tables

    lines = tables.as_text(network_table.table(rows, seeds=seeds)) or ["No network has been trained here."]
    missing = sum(network_table.NOT_KEPT in row.weights for row in rows)
    if missing:
        counted = "row" if missing == 1 else "rows"
        lines.append(
            f"Of {missing} {counted} the weights don't come with the project: they can be looked at, not used."
        )
    return [*lines, f"On request, with internet: {', '.join(zoo.IMAGENET)}"]


def _untrained(arguments: argparse.Namespace) -> list[str]:
    from xai import network_table

    found = network_table.untrained_table(network_table.untrained())
    if not found and not arguments.json:
        return ["Of every architecture there is a trained network."]
    return _written(found, arguments)


def _latency(arguments: argparse.Namespace) -> list[str]:
    """Times of each network, with a progress bar."""
    from models import zoo
    from xai import latency

    with progress_bar(len(arguments.latency), "measuring") as bar:
        rows = []
        for name in arguments.latency:
            rows += latency.measure(zoo.load(name))
            bar.update()
    return _written(latency.table(rows), arguments)


def _written(cells: Rows, arguments: argparse.Namespace) -> list[str]:
    """A table in the form that is asked for."""
    from xai import tables

    if arguments.json:
        return [json.dumps(list(cells), indent=2)]
    return tables.as_markdown(cells) if arguments.markdown else tables.as_text(cells)


def run_models(arguments: argparse.Namespace) -> int:
    """List the networks."""
    from xai import network_table

    if arguments.seeds and (arguments.latency or arguments.untrained):
        raise ValueError("--seeds is for the list of trained networks; leave it out.")
    if arguments.latency or arguments.untrained:
        print("\n".join((_latency if arguments.latency else _untrained)(arguments)))
        return 0
    rows = network_table.networks()
    rows = network_table.by_training(rows) if arguments.seeds else rows
    write = _json if arguments.json else _markdown if arguments.markdown else _text
    print("\n".join(write(rows, arguments.seeds)))
    return 0


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("models", help="list the trained networks, or measure how quick they are")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print a list of objects")
    form.add_argument("--markdown", action="store_true", help="print a Markdown table of those with weights")
    parser.add_argument("--seeds", action="store_true", help="one row for all seeds of a training")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--untrained", action="store_true", help="list architectures without a trained network")
    what.add_argument("--latency", nargs="+", metavar="NAME", help="measure forward passes on this machine")
    parser.set_defaults(run=run_models)
