"""`python -m xai train`: one network, from dataset to checkpoint and card."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xai.commands.common import (
    check_folder,
    option_values,
    percent,
    progress_bar,
    show_progress,
    stop_signals,
    wrote,
)

if TYPE_CHECKING:
    from models.recipes import Recipe
    from xai.training import Plan

_OVERRIDES = (
    "epochs",
    "batch_size",
    "optimizer",
    "schedule",
    "learning_rate",
    "weight_decay",
    "label_smoothing",
    "initial",
    "teacher",
    "compile",
    "learn",
    "keep",
)
"""Flags that replace a value of the recipe."""


def run_train(arguments: argparse.Namespace) -> int:
    """Train, measure and write one network; the first Ctrl-C ends it and keeps the whole epochs."""
    from models import zoo
    from models.recipes import FITTED, OWN_PICTURES
    from xai import training

    _settle_start(arguments)
    folder = arguments.out or zoo.local_folder()
    own = arguments.dataset.startswith(OWN_PICTURES)
    check_folder(folder)
    plan = training.prepare(
        arguments.architecture,
        arguments.dataset,
        folder,
        seed=arguments.seed,
        device=arguments.device,
        recipe=_recipe(arguments),
        options=arguments.options,
        limit=arguments.limit,
        progress=show_progress(),
        name=arguments.name or "",
        fit=[key for key in FITTED if own and getattr(arguments, key) is None],
    )
    return _run(plan)


def _run(plan: Plan) -> int:
    from xai import own_training, training

    bar = progress_bar(plan.recipe.epochs, "training")

    def report(epoch: int, step: int, steps: int, loss: float, accuracy: float) -> None:
        bar.update(epoch + step / steps - bar.n)
        bar.set_postfix(loss=f"{loss:.3f}", accuracy=f"{accuracy:.3f}")

    with bar, stop_signals() as signals:
        card = training.run(plan, report, lambda: bool(signals))
    print(f"{card.name}: test accuracy {percent(card.accuracy['test'])} %")
    print("\n".join(own_training.outcome(plan, card).sentences()))
    wrote(sorted(path for path in plan.folder.iterdir() if not path.name.startswith(".")))
    if signals:
        print("stopped: the same command goes on from the last whole epoch.")
        return 128 + signals[0]
    return 0


def _settle_start(arguments: argparse.Namespace) -> None:
    """What `--from NAME` stands for: its architecture and options, and the recipe that starts from its weights."""
    from xai.own_training import continued

    arguments.options = _options(arguments)
    if arguments.start is None:
        if arguments.architecture is None:
            raise ValueError(
                "nothing says what to train: give --architecture NAME, or --from NAME to fine-tune."
            )
        return
    given = [flag for flag in ("architecture", "initial", "recipe") if getattr(arguments, flag) is not None]
    if given or arguments.options:
        raise ValueError(
            f"--from says how the network is built; --{[*given, 'option'][0]} can't be given with it."
        )
    arguments.architecture, arguments.options = continued(arguments.start)
    arguments.recipe, arguments.initial = "transfer", arguments.start


def _recipe(arguments: argparse.Namespace) -> Recipe:
    """The named recipe as it suits architecture and dataset, with the values given by flags."""
    from dataclasses import replace

    from models.recipes import recipe_for

    recipe = recipe_for(arguments.architecture, arguments.recipe or "standard", arguments.dataset)
    given = {name: getattr(arguments, name) for name in _OVERRIDES}
    return replace(recipe, **{name: value for name, value in given.items() if value is not None})


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The architecture options of `--option KEY=VALUE` and `--width`."""
    options = {} if arguments.width is None else {"width": arguments.width}
    return options | option_values(arguments.option)


class _ListRecipes(argparse.Action):
    """Prints the table of recipes and ends the program."""

    def __call__(self, parser: argparse.ArgumentParser, *_given: Any) -> None:
        print("\n".join(_recipe_lines()))
        parser.exit()


def _recipe_lines() -> Sequence[str]:
    """One line per recipe and what it is made of below it."""
    from models.recipes import RECIPES

    lines = []
    for entry in RECIPES.values():
        lines.append(f"{entry.name}: {entry.title}. Source: {entry.source}.")
        lines.append(f"  {_differences(entry.recipe)}")
        lines += [f"  needs --{need} NAME" for need in entry.needs]
        lines += [f"  architecture options: {entry.options}"] if entry.options else []
        lines += [f"  chosen here: {entry.choices}"] if entry.choices else []
    return lines


def _differences(recipe: Recipe) -> str:
    """The recipe's values, those of the standard recipe left out where they are the same."""
    from dataclasses import asdict

    from models.recipes import Recipe

    values, standard = asdict(recipe.explicit()), asdict(Recipe().explicit())
    own = {key: value for key, value in values.items() if value != standard[key] and key != "name"}
    shown = own or {key: value for key, value in values.items() if value and key != "name"}
    return ", ".join(f"{key} {value}" for key, value in shown.items())


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("train", help="train a network; goes on where a killed run stopped")
    parser.add_argument("--architecture", help="what to train from scratch, or by the recipe's rules")
    parser.add_argument(
        "--from",
        dest="start",
        metavar="NAME",
        help="fine-tune this network: its head is new for other classes",
    )
    parser.add_argument("--dataset", required=True, help="name of a dataset, or folder:PATH")
    parser.add_argument(
        "--learn", help="all weights, those of the last stage and the head, or the head: all, last, head"
    )
    parser.add_argument("--keep", help="the last epoch, or the best on the validation images: last, best")
    parser.add_argument("--name", help="what to call the network (made of architecture, dataset and seed)")
    parser.add_argument("--recipe", help="name of a recipe (standard)")
    parser.add_argument("--recipes", action=_ListRecipes, nargs=0, help="list the recipes and stop")
    parser.add_argument("--initial", help="network whose weights are the start, for the recipe transfer")
    parser.add_argument("--teacher", help="network that is imitated, for the recipe distillation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--optimizer", help="sgd, adamw or adam")
    parser.add_argument("--schedule", help="one_cycle, cosine, plateau or constant")
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--weight-decay", type=float)
    parser.add_argument("--label-smoothing", type=float)
    parser.add_argument("--compile", action="store_true", default=None, help="use torch.compile")
    parser.add_argument("--width", type=int, help="channels of a ResNet's first stage (64)")
    option_help = "option of the architecture, such as hidden=512; may be repeated"
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help=option_help)
    parser.add_argument("--limit", type=int, help="only so many images of each split, for a trial")
    parser.add_argument("--out", type=Path, help="where its folder goes (among your own networks)")
    parser.set_defaults(run=run_train)
