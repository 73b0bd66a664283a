"""`python -m xai models`: the networks at hand."""

from __future__ import annotations

import argparse
import json
from typing import Any

from xai.commands.common import percent


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
        scores = [percent(row["accuracy"][key]) for key in ("test", "validation", "validation_lossless")]
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


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("models", help="list the networks at hand")
    parser.add_argument("--json", action="store_true", help="print a list of objects")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    parser.set_defaults(run=run_models)
