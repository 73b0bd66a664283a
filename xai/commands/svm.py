"""`python -m xai svm`: a support vector machine in place of a network's classifier."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from xai.commands.common import percent, show_progress, wrote


def run_svm(arguments: argparse.Namespace) -> int:
    """Fit, measure and write one network with a new head."""
    from xai import svm_head

    card = svm_head.make(
        arguments.model,
        arguments.dataset,
        arguments.out,
        device=arguments.device,
        limit=arguments.limit,
        progress=show_progress(),
    )
    shown = f"C {card.recipe['C']:g}, stored as {card.storage}"
    print(f"{card.name}: {shown}, test accuracy {percent(card.accuracy['test'])} %")
    wrote(sorted(path for path in (arguments.out / card.name).iterdir() if not path.name.startswith(".")))
    return 0


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "svm", help="put a support vector machine in place of a network's classifier"
    )
    parser.add_argument("--model", required=True, help="network whose features are used")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--limit", type=int, help="only so many images of each split, for a trial")
    parser.add_argument("--out", type=Path, required=True)
    parser.set_defaults(run=run_svm)
