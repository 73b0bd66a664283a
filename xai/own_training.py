"""Small trainings on somebody's own pictures: what one will cost, how good it came out, and keeping the network.

The command line and the Train page share it, so that both train the same network and say the same of it.
"""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models import recipes, registry, training, transfer, zoo
from models.cards import Card
from models.complexity import count_macs
from models.import_request import check_name
from models.recipes import Recipe, recipe_for
from models.training_state import LabelledImages
from xai import metrics, predictions, predictions_file
from xai import training as workbench_training
from xai.metrics import Share
from xai.statistics import wilson

TRIED = 2e9
"""Multiply-adds of the forward pass over the images that a cost is measured on."""
_MOST_TRIED = 32


@dataclass(frozen=True)
class Wish:
    """A training as a user wants it: from scratch, or from the network `initial`, of which `learn` moves.

    `limit` is the most images of each split. Nothing of it is checked before it is used.
    """

    dataset: str
    architecture: str
    options: Mapping[str, Any] = field(default_factory=dict)
    initial: str = ""
    learn: str = "all"
    epochs: int = 5
    seed: int = 0
    limit: int | None = None
    keep: str = "best"

    def recipe(self) -> Recipe:
        """The recipe, before its batches are made to suit the number of images; raises `ValueError`."""
        found = recipe_for(self.architecture, "transfer" if self.initial else "standard", self.dataset)
        return replace(
            found, initial=self.initial, learn=self.learn, epochs=self.epochs, keep=self.keep
        ).explicit()

    def command(self, dataset: str = "") -> str:
        """The command that does the same; `dataset` stands for a name that means nothing elsewhere."""
        start = ["--from", self.initial] if self.initial else ["--architecture", self.architecture]
        words = [
            "python -m xai train",
            *map(shlex.quote, start),
            "--dataset",
            shlex.quote(dataset or self.dataset),
        ]
        if not self.initial:
            words += [f"--option {shlex.quote(f'{key}={value}')}" for key, value in self.options.items()]
        words += [f"--learn {self.learn}"] if self.learn != "all" else []
        words += [f"--epochs {self.epochs}", f"--seed {self.seed}", f"--keep {self.keep}"]
        words += [f"--limit {self.limit}"] if self.limit else []
        return " ".join(words)


def continued(name: str) -> tuple[str, dict[str, Any]]:
    """Architecture and options of a network here, to go on from; raises `CheckpointError` when there is none."""
    card = zoo.cards().get(name) or zoo.load(name).card
    return card.architecture, dict(card.options)


@dataclass(frozen=True)
class Cost:
    """Seconds for one image in a training, and for one that is only asked about."""

    trained: float
    asked: float

    def seconds(self, epochs: int, counts: Mapping[str, int]) -> float:
        """Seconds of a training with so many images in each split, from its first batch to its accuracies."""
        epoch = counts["train"] * self.trained + counts["validation"] * self.asked
        return epochs * epoch + (counts["validation"] + counts["test"]) * self.asked


def cost(wish: Wish, classes: int, size: int, samples: int) -> Cost:
    """What the images of a training take on this machine, measured on one batch of black ones.

    `size` is their side in px, `samples` how many there are to train on. The weights are random, for only the time is
    looked at; what else runs at the same time counts as well. Raises `ValueError` when such a network can't be built,
    or takes no such images.
    """
    least = registry.architecture(wish.architecture).min_size
    if size < least:
        raise ValueError(f"{wish.architecture} needs images of {least} px or more, but these have {size} px.")
    options, recipe = dict(wish.options), recipes.fitted(wish.recipe(), samples)
    network = transfer.build_seeded(wish.architecture, classes, 0, options)
    transfer.learn_only(network, wish.architecture, options, wish.learn, size)
    macs = max(count_macs(network, size), 1)
    count = max(2, min(_MOST_TRIED, recipe.batch_size, int(TRIED // macs)))
    images = torch.zeros(count, 3, size, size, dtype=torch.uint8)
    batch, device = LabelledImages(images, torch.arange(count) % classes), torch.device("cpu")
    speed = training.images_per_second(
        network, batch, replace(recipe, batch_size=count), steps=1, device=device, warmup=1
    )
    began = time.perf_counter()
    training.evaluate(network, batch, device)
    return Cost(1 / speed, (time.perf_counter() - began) / count)


@dataclass(frozen=True)
class Outcome:
    """A trained network: its card, the folder of its files, how often it is right, and what that is worth.

    `chance` is the share that guessing gets right, `commonest` that of always answering the commonest class of the
    test images, both in [0, 1].
    """

    card: Card
    folder: Path
    validation: Share
    test: Share
    chance: float
    commonest: float

    def sentences(self) -> list[str]:
        """How good it is and what to hold against that, and which epoch it is of."""
        good = f"Test accuracy {share_words(self.test)}; validation accuracy {share_words(self.validation)}."
        level = f"Guessing gets {_percent(self.chance)} % right, the commonest class {_percent(self.commonest)} %."
        return [good, level, *self._doubts(), *epoch_words(self.card)]

    def _doubts(self) -> list[str]:
        if self.test.low > max(self.chance, self.commonest):
            return []
        return ["That can't be told from guessing: don't trust a heatmap of this network."]


def share_words(share: Share) -> str:
    """A share with its interval and number of images."""
    return (
        f"{_percent(share.share)} % ({_percent(share.low)} to {_percent(share.high)}, "
        f"{share.right:,} of {share.total:,} images)"
    )


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def epoch_words(card: Card) -> list[str]:
    """Which epoch the weights are of, where that is not plainly the last."""
    planned = card.recipe["epochs"]
    if card.recipe["keep"] == "best":
        return [f"Kept is epoch {card.epochs:,} of {planned:,}, the best on the validation images."]
    return [] if card.epochs == planned else [f"It was stopped after epoch {card.epochs:,} of {planned:,}."]


def outcome(plan: workbench_training.Plan, card: Card) -> Outcome:
    """How good the network of `card` is that came out of a plan; reads its answers to the test images."""
    answers = predictions_file.read(plan.folder / workbench_training.PREDICTIONS_FILE)
    total = len(plan.splits["validation"])
    right = round((card.accuracy["validation"] or 0.0) * total)
    held = Share("validation", right, total, *wilson(right, total))
    commonest = float(np.bincount(answers.labels).max() / len(answers))
    test = metrics.accuracy(answers, "test")
    return Outcome(card, plan.folder, held, test, 1 / len(card.classes), commonest)


def keep(found: Outcome, name: str) -> Card:
    """Copy a trained network into the local folder under a name of its own, where everything finds it.

    Raises `ImportRefused` (a `ValueError`) when the name is not allowed or taken.
    """
    check_name(name)
    target, card = zoo.local_folder() / name, replace(found.card, name=name)
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(found.folder / "curve.json", target / "curve.json")
    answers = predictions_file.read(found.folder / workbench_training.PREDICTIONS_FILE)
    predictions_file.write(
        target / workbench_training.PREDICTIONS_FILE, answers, predictions.facts_of(card, "test")
    )
    weights = found.folder / f"{found.card.name}.safetensors"
    shutil.copyfile(weights, target / f"{name}.safetensors")
    card.write(target / f"{name}.json")  # last: a network is one that has a card
    return card
