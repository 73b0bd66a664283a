"""`python -m xai train`: one network, from dataset to checkpoint and card."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from xai.commands.common import percent, progress_bar, show_progress, wrote


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
    bar = progress_bar(recipe.epochs, "training")

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
            progress=show_progress(),
        )
    print(f"{card.name}: test accuracy {percent(card.accuracy['test'])} %")
    wrote(sorted(path for path in (arguments.out / card.name).iterdir() if not path.name.startswith(".")))
    return 0


def add(commands: Any) -> None:
    """Add the command's parser."""
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
