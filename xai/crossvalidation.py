"""k-fold cross-validation of architectures: the same stratified folds for all, and a test that knows they overlap.

The images are those of the training and validation splits; the test split is never touched. Every fold trains a
fresh network from scratch, and its averaged weights after the last epoch are measured on the images held out. A fold
is stored when it is done, and one that was killed goes on from its last whole epoch.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data.catalogue import ImageSet
from models import recipes, training_state, transfer
from models import training as loop
from models.cards import LARGEST_FILE
from models.files import write_text
from models.recipes import Recipe
from models.training_state import LabelledImages
from xai import degraded_training, training_request
from xai.crossvalidation_summary import CrossValidation, FoldResult, summarise
from xai.statistics import TTest

FOLDS = range(2, 21)
SEEDS = range(4_000_000)  # a thousand seeds of folds for each, below scikit-learn's limit of 2^32
ROWS_FILE = "folds.csv"
COMPARISON_FILE = "comparison.json"
PLAN_FILE = "plan.json"
VALIDATION_SHARE = 0.1
"""Share of a fold's training images that steer the learning rate, with a recipe that looks at them."""

OnProgress = Callable[[str, int, float], None]
"""Called as `report(architecture, fold, done)`, `done` being the share of the fold's training in [0, 1]."""


@dataclass(frozen=True)
class Settings:
    """What is cross-validated and how; `changes` replace values of the recipe, `limit` is images of each split."""

    dataset: str
    folds: int = 5
    seed: int = 0
    recipe: str = "standard"
    changes: Mapping[str, Any] | None = None
    options: Mapping[str, Any] | None = None
    limit: int | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.folds not in FOLDS:
            raise ValueError(f"folds is {self.folds}; allowed are {FOLDS[0]} to {FOLDS[-1]}.")
        if self.seed not in SEEDS:
            raise ValueError(f"seed is {self.seed}; allowed are {SEEDS[0]} to {SEEDS[-1]:,}.")

    def recipe_of(self, architecture: str) -> Recipe:
        """The recipe as it suits the architecture; raises `ValueError` when it builds on another network."""
        recipe = recipes.recipe_for(architecture, self.recipe, self.dataset)
        if recipes.named(self.recipe).needs:
            raise ValueError(
                f"the recipe {self.recipe} builds on another network, which may have seen the images held out; "
                "cross-validation trains from scratch."
            )
        return replace(recipe, **self.changes or {}).explicit()

    def options_of(self, architecture: str) -> dict[str, Any]:
        """The architecture's options: those that the recipe implies, and those given."""
        return {**recipes.implied_options(architecture, self.recipe), **(self.options or {})}


def crossvalidate(
    architectures: Sequence[str],
    settings: Settings,
    folder: Path,
    report: OnProgress | None = None,
    progress: training_request.Progress | None = None,
) -> CrossValidation:
    """Train and measure every architecture on every fold, and write `ROWS_FILE` and `COMPARISON_FILE` into `folder`.

    Folds that `folder` holds are taken from there. Raises `ValueError` with one sentence when something asked for
    is impossible, or `folder` holds a cross-validation of other data, other folds or another recipe.
    """
    if len(set(architectures)) < len(architectures) or not architectures:
        raise ValueError(
            f"architectures are {', '.join(architectures)}; needed is at least one, and none twice."
        )
    device = _check(architectures, settings)
    pool = load_pool(settings.dataset, settings.limit, progress)
    folds = stratified_folds(pool.labels, settings.folds, settings.seed)
    _check_plan(folder, pool, settings)
    results = [
        _fold(architecture, number, pool, held_out, settings, folder, device, report)
        for number, held_out in enumerate(folds)
        for architecture in architectures
    ]
    results.sort(key=lambda result: (architectures.index(result.architecture), result.fold))
    found = replace(summarise(pool.name, results), notes=pool.notes)
    write_text(folder / ROWS_FILE, _as_csv(results))
    write_text(folder / COMPARISON_FILE, json.dumps(as_json(found, settings), indent=1) + "\n")
    return found


def _check(architectures: Sequence[str], settings: Settings) -> torch.device:
    """The device, after a look at everything that would fail later."""
    for architecture in architectures:
        device = training_request.check_request(
            architecture, settings.dataset, settings.device, settings.limit
        )
        settings.recipe_of(architecture)
        transfer.class_weights(architecture, settings.options_of(architecture))  # it can be built
    return device


def load_pool(
    dataset: str, limit: int | None = None, progress: training_request.Progress | None = None
) -> ImageSet:
    """Training and validation split as one set; `limit` keeps only so many images of either."""
    first, second = (
        training_request.load_split(dataset, split, limit, progress) for split in ("train", "validation")
    )
    images, labels = torch.cat([first.images, second.images]), torch.cat([first.labels, second.labels])
    notes = tuple(dict.fromkeys(first.notes + second.notes))
    return ImageSet(first.name, "pool", images, labels, first.classes, first.ids + second.ids, notes=notes)


def stratified_folds(labels: Tensor, folds: int, seed: int) -> tuple[Tensor, ...]:
    """Indices held out in each fold, ascending; each class is spread over the folds as evenly as can be (sklearn).

    Raises `ValueError` when a class has fewer images than there are folds.
    """
    from sklearn.model_selection import StratifiedKFold

    least = int(labels.bincount()[labels.unique()].min())
    if least < folds:
        raise ValueError(
            f"there are {folds} folds, but a class with only {least} images; allowed are {least}."
        )
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    return tuple(torch.from_numpy(test) for _train, test in splitter.split(labels, labels))


def fold_seed(seed: int, fold: int) -> int:
    """Seed of a fold's training: another one for every fold of every seed."""
    return 1000 * seed + fold


def _fold(
    architecture: str,
    number: int,
    pool: ImageSet,
    held_out: Tensor,
    settings: Settings,
    folder: Path,
    device: torch.device,
    report: OnProgress | None,
) -> FoldResult:
    """The stored result of a fold, or its training and measurement."""
    path = folder / architecture.replace(":", "-").replace("/", "-") / f"fold{number}.json"
    recipe, options = settings.recipe_of(architecture), settings.options_of(architecture)
    facts: dict[str, Any] = {"recipe": asdict(replace(recipe, compile=False)), "options": options}
    stored = _stored(path, facts)
    if stored is None:
        stored = _train(architecture, number, pool, held_out, settings, path.with_suffix(""), device, report)
        facts |= {
            "result": asdict(stored),
            "device": training_request.device_name(device),
            "torch": torch.__version__,
        }
        write_text(path, json.dumps(facts, indent=1) + "\n")
        (path.with_suffix("") / training_state.STATE_FILE).unlink(
            missing_ok=True
        )  # hundreds of MB that nobody needs now
    if report:
        report(architecture, number, 1.0)
    return stored


def _stored(path: Path, facts: dict[str, Any]) -> FoldResult | None:
    """The result in a fold's file, None where there is none; raises `ValueError` when it is of another training."""
    content = _read_json(path)
    if content is None:
        return None
    try:
        found = FoldResult(**{entry.name: content["result"][entry.name] for entry in fields(FoldResult)})
        same = {key: content[key] for key in facts} == facts
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged; delete it, and the fold is trained again.") from error
    if not same:
        raise ValueError(
            f"{path} is of a training with another recipe or other options; choose another folder."
        )
    return found


def _read_json(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        with path.open("rb") as stream:
            content = json.loads(stream.read(LARGEST_FILE))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged; delete it to have it made again.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged; delete it to have it made again.")
    return content


def _train(
    architecture: str,
    number: int,
    pool: ImageSet,
    held_out: Tensor,
    settings: Settings,
    folder: Path,
    device: torch.device,
    report: OnProgress | None,
) -> FoldResult:
    recipe, seed = settings.recipe_of(architecture), fold_seed(settings.seed, number)
    train, watched = _training_images(pool.labels, held_out, recipe, seed)
    network = transfer.build_seeded(architecture, len(pool.classes), seed, settings.options_of(architecture))

    def on_step(epoch: int, step: int, steps: int, _loss: float, _accuracy: float) -> None:
        if report:
            report(architecture, number, (epoch + step / steps) / recipe.epochs)

    run = loop.train(
        network,
        _rows(pool, train),
        _rows(pool, watched),
        recipe,
        seed=seed,
        device=device,
        folder=folder,
        degrade=degraded_training.degrade_mixture if recipe.degraded_share else None,
        report=on_step,
    )
    share = loop.evaluate(run.average.module, _rows(pool, held_out), device)[1]  # type: ignore[arg-type]
    accuracy = round(share * len(held_out)) / len(held_out)  # the share is float32
    return FoldResult(architecture, number, seed, len(train), len(held_out), accuracy)


def _rows(pool: ImageSet, rows: Tensor) -> LabelledImages:
    return LabelledImages(pool.images[rows], pool.labels[rows])


def _training_images(labels: Tensor, held_out: Tensor, recipe: Recipe, seed: int) -> tuple[Tensor, Tensor]:
    """Rows to train on, and rows on which the loss is watched.

    Those held out are watched where nothing depends on it. A recipe whose learning rate does gets some of the
    training images for that, or the held-out ones would have had a say in the training.
    """
    kept = torch.ones(len(labels), dtype=torch.bool)
    kept[held_out] = False
    train = kept.nonzero()[:, 0]
    if recipe.chosen_schedule != "plateau":
        return train, held_out
    from sklearn.model_selection import train_test_split

    chosen, watched = train_test_split(
        train.numpy(), test_size=VALIDATION_SHARE, random_state=seed, stratify=labels[train].numpy()
    )
    return torch.from_numpy(np.sort(chosen)), torch.from_numpy(np.sort(watched))


def _check_plan(folder: Path, pool: ImageSet, settings: Settings) -> None:
    """Note what the folds are made of, or raise `ValueError` when the folder holds folds of something else."""
    digest = hashlib.sha256(json.dumps([pool.classes, pool.ids]).encode())
    digest.update(pool.labels.numpy().tobytes())
    digest.update(pool.images.contiguous().numpy().tobytes())
    plan = {
        "dataset": pool.name,
        "images": len(pool),
        "sha256": digest.hexdigest(),
        "folds": settings.folds,
        "seed": settings.seed,
    }
    found = _read_json(folder / PLAN_FILE)
    for key, value in plan.items():
        if found is not None and found.get(key) != value:
            what = "images" if key == "sha256" else key
            raise ValueError(f"{folder} holds a cross-validation with another {what}; choose another folder.")
    write_text(folder / PLAN_FILE, json.dumps(plan, indent=1) + "\n")


def as_json(found: CrossValidation, settings: Settings) -> dict[str, Any]:
    """What `COMPARISON_FILE` holds: accuracies and differences as shares; null where there is no number."""
    return {
        "dataset": found.dataset,
        "folds": settings.folds,
        "seed": settings.seed,
        "recipe": settings.recipe,
        "architectures": {
            name: _numbers(mean, ("mean", "low", "high")) for name, mean in found.means.items()
        },
        "pairs": [
            {
                "a": pair.a,
                "b": pair.b,
                "corrected": {**_numbers(pair.corrected), "p_holm": _number(pair.p_holm)},
                "naive": _numbers(pair.naive),
            }
            for pair in found.pairs
        ],
    }


def _numbers(
    test: TTest, names: Sequence[str] = ("mean", "low", "high", "t", "p_value")
) -> dict[str, float | None]:
    return {name: _number(getattr(test, name)) for name in names}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _as_csv(results: Sequence[FoldResult]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, [entry.name for entry in fields(FoldResult)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(result) for result in results)
    return text.getvalue()
