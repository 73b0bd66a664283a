"""Hyper-parameters of a training, and the named recipes: the papers' and our own, in one table."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any

from models import registry, zoo

OPTIMIZERS = ("sgd", "adamw", "adam")
SCHEDULES = ("one_cycle", "cosine", "plateau", "constant")
AUTO = "auto"
LEARN = ("all", "last", "head")
KEEP = ("last", "best")
OWN_PICTURES = ("folder:", "upload:")
"""How the names of datasets begin that are the user's own pictures."""
STEPS = 8
"""Batches of an epoch below which batches are made smaller."""
SMALLEST_BATCH = 8
FITTED = ("batch_size", "learning_rate")
"""What is changed where there are few images."""


@dataclass(frozen=True)
class Recipe:
    """Hyper-parameters of one training, flat plain values because they are kept in the network's card.

    `optimizer` is `sgd` (Nesterov momentum 0.9), `adamw` (decoupled weight decay) or `adam` (weight decay is an L2
    term of the gradient). `schedule` is one of `SCHEDULES`, or `auto`: one-cycle for `sgd`, cosine for the others;
    `plateau` multiplies the rate by `plateau_factor` whenever the validation loss has not been lower than ever
    before for `plateau_patience` epochs. Pictures are shifted by up to `padding` px (reflected), mirrored with
    `flip`, turned by up to `rotation` degrees, their brightness, contrast and saturation multiplied by
    1 +- `colour_jitter` and their hue turned by up to half of it; the share `degraded_share` of each batch is
    degraded, and Gaussian noise of standard deviation `noise` (of pixels in [0, 1]) is added. `initial` names the
    network whose weights are the start and `teacher` the one that is imitated with `teacher_weight` at
    `temperature`, '' for none; their `_sha256` are filled in by the training. The network that is kept is an
    exponential average over about `average_epochs` epochs of weights, that of the last epoch or, with `keep` `best`,
    of the one with the highest validation accuracy. `learn` says which weights move: `all`, those of the `last` stage
    and what follows it, or those of the `head` alone, which tells the classes apart. Gradients are clipped to a norm
    of 2.
    """

    name: str = "standard"
    epochs: int = 30
    batch_size: int = 256
    optimizer: str = "sgd"
    schedule: str = AUTO
    learning_rate: float = 0.2
    weight_decay: float = 5e-4
    label_smoothing: float = 0.1
    padding: int = 4
    flip: bool = True
    rotation: float = 0.0
    colour_jitter: float = 0.0
    noise: float = 0.0
    degraded_share: float = 0.0
    warmup_share: float = 0.2
    plateau_factor: float = 0.2
    plateau_patience: int = 3
    average_epochs: float = 1.0
    initial: str = ""
    initial_sha256: str = ""
    teacher: str = ""
    teacher_sha256: str = ""
    temperature: float = 4.0
    teacher_weight: float = 0.0
    compile: bool = False
    learn: str = "all"
    keep: str = "last"

    def __post_init__(self) -> None:
        for key, choices in _WORDS.items():
            if getattr(self, key) not in choices:
                raise ValueError(f"{key} is {getattr(self, key)!r}; allowed are {', '.join(choices)}.")
        for key, (allowed, words) in _LIMITS.items():
            if not allowed(getattr(self, key)):
                raise ValueError(f"{key} is {getattr(self, key)}; allowed are {words}.")

    def explicit(self) -> Recipe:
        """The same recipe with the schedule that `auto` stands for written out."""
        return self if self.schedule != AUTO else replace(self, schedule=self.chosen_schedule)

    @property
    def chosen_schedule(self) -> str:
        """The schedule in force, one of `SCHEDULES`."""
        automatic = "one_cycle" if self.optimizer == "sgd" else "cosine"
        return automatic if self.schedule == AUTO else self.schedule


def _at_least(least: float) -> Callable[[float], bool]:
    return lambda value: least <= value < math.inf


_WORDS = {"optimizer": OPTIMIZERS, "schedule": (AUTO, *SCHEDULES), "learn": LEARN, "keep": KEEP}
_POSITIVE = (lambda value: 0 < value < math.inf, "numbers above 0")
_NOT_NEGATIVE = (_at_least(0), "numbers from 0")
_COUNT = (_at_least(1), "whole numbers from 1")
_SHARE = (lambda value: 0 <= value <= 1, "numbers in [0, 1]")
_BELOW_ONE = (lambda value: 0 <= value < 1, "numbers in [0, 1)")
_LIMITS: dict[str, tuple[Callable[[float], bool], str]] = {
    "epochs": _COUNT,
    "batch_size": (_at_least(2), "whole numbers from 2"),
    "learning_rate": _POSITIVE,
    "weight_decay": _NOT_NEGATIVE,
    "label_smoothing": _BELOW_ONE,
    "padding": _NOT_NEGATIVE,
    "rotation": (lambda value: 0 <= value <= 180, "degrees from 0 to 180"),
    "colour_jitter": _BELOW_ONE,
    "noise": _SHARE,
    "degraded_share": _SHARE,
    "warmup_share": _BELOW_ONE,
    "plateau_factor": (lambda value: 0 < value < 1, "numbers in (0, 1)"),
    "plateau_patience": _COUNT,
    "average_epochs": _NOT_NEGATIVE,
    "temperature": _POSITIVE,
    "teacher_weight": _SHARE,
}


@dataclass(frozen=True)
class NamedRecipe:
    """A recipe with its source, and what that source leaves open and we chose.

    `options` are the architecture options that it implies, given to the architectures that have them; `needs` are
    the fields of the recipe that the caller must fill in.
    """

    name: str
    title: str
    source: str
    recipe: Recipe
    options: dict[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    choices: str = ""


RECIPES: dict[str, NamedRecipe] = {}


def register(entry: NamedRecipe) -> NamedRecipe:
    """Add a recipe; raises `ValueError` when the name is taken, or is not that of the recipe itself."""
    if entry.name in RECIPES:
        raise ValueError(f"the recipe {entry.name!r} is registered twice.")
    if entry.recipe.name != entry.name:
        raise ValueError(f"the recipe {entry.name!r} calls itself {entry.recipe.name!r}.")
    RECIPES[entry.name] = entry
    return entry


def named(name: str) -> NamedRecipe:
    """Look a recipe up; raises `ValueError` naming those that exist."""
    if name not in RECIPES:
        raise ValueError(f"there is no recipe {name!r}; allowed are {', '.join(RECIPES)}.")
    return RECIPES[name]


_PAPER = Recipe(label_smoothing=0.0, average_epochs=0.0)
"""What the papers have in common here: neither label smoothing, unless they say so, nor averaged weights."""


_TABLE = (
    NamedRecipe(
        "standard",
        "Strong and short",
        "ours: SGD with Nesterov momentum, one-cycle, label smoothing, shifts and flips, averaged weights",
        Recipe(),
    ),
    NamedRecipe(
        "transfer",
        "Transfer learning",
        "the paper on ResNet50 by transfer learning on CIFAR-10 (New-ResNet50)",
        replace(
            _PAPER,
            name="transfer",
            epochs=50,
            batch_size=64,
            schedule="cosine",
            learning_rate=0.01,
            label_smoothing=0.1,
        ),
        needs=("initial",),
        choices="SGD with a rate of 0.01 and smoothing of 0.1; pictures are normalised as the initial network "
        "was trained (the paper: mean = std = 0.5), because weights travel with their normalisation",
    ),
    NamedRecipe(
        "tuned_resnet18",
        "Modified ResNet-18's recipe",
        "the paper on a modified ResNet-18 on CIFAR-100",
        replace(
            _PAPER,
            name="tuned_resnet18",
            batch_size=64,
            optimizer="adamw",
            schedule="cosine",
            learning_rate=1e-3,
            weight_decay=1e-4,
            rotation=15.0,
            colour_jitter=0.2,
        ),
        choices="a colour jitter of 0.2",
    ),
    NamedRecipe(
        "msff",
        "Improved ResNeXt50's recipe",
        "the paper on an improved ResNeXt50 on CIFAR-10: Adam, dropout, L2, crop, rotate, flip, adaptive rate",
        replace(
            _PAPER,
            name="msff",
            batch_size=128,
            optimizer="adam",
            schedule="plateau",
            learning_rate=1e-3,
            weight_decay=1e-4,
            rotation=15.0,
        ),
        options={"dropout": 0.3},
        choices="rate, epochs, batch size, L2, angle, dropout and the adaptive rate's rule: the paper gives none",
    ),
    NamedRecipe(
        "noise_injection",
        "Noise injection",
        "the paper on AlexNet against ResNet-50 on low-quality images (sigma 0.01)",
        Recipe(name="noise_injection", noise=0.01),
        choices="everything but the noise is the standard recipe",
    ),
    NamedRecipe(
        "degradation_aware",
        "Degradation-aware",
        "ours: the standard recipe with half of each batch degraded",
        Recipe(name="degradation_aware", degraded_share=0.5),
    ),
    NamedRecipe(
        "distillation",
        "Knowledge distillation",
        "Hinton, Vinyals & Dean 2015, arXiv 1503.02531",
        Recipe(name="distillation", teacher_weight=0.9),
        needs=("teacher",),
        choices="temperature 4, weight 0.9, and otherwise the standard recipe",
    ),
    NamedRecipe(
        "plateau",
        "Adaptive learning rate",
        "ours: the standard recipe, its rate cut when the validation loss stops falling",
        Recipe(name="plateau", schedule="plateau", learning_rate=0.1),
        choices="starts at half the one-cycle's highest rate",
    ),
    NamedRecipe(
        "no_smoothing",
        "Without label smoothing",
        "ours: the standard recipe without label smoothing",
        Recipe(name="no_smoothing", label_smoothing=0.0),
    ),
)
for _entry in _TABLE:
    register(_entry)


def recipe_for(architecture: str, recipe_name: str, dataset_name: str) -> Recipe:
    """The named recipe as it suits an architecture and a dataset; not tuned.

    AlexNets and VGGs get a lower SGD rate, vision transformers AdamW with a warm-up in place of SGD. Pictures of
    the user's own folder are not mirrored: writing may be among them. Transfer starts from ImageNet weights where
    the zoo has them. Raises `ValueError` when there is no such recipe.
    """
    entry = named(recipe_name)
    recipe = replace(entry.recipe, flip=entry.recipe.flip and not dataset_name.startswith(OWN_PICTURES))
    if "initial" in entry.needs:
        recipe = replace(recipe, initial=_imagenet_weights(architecture))
    return _suited(architecture.split(":")[-1], recipe) if recipe.optimizer == "sgd" else recipe


def fitted(recipe: Recipe, samples: int, free: Collection[str] = FITTED) -> Recipe:
    """The recipe for a set of so many images, with smaller batches where an epoch would have fewer than `STEPS`.

    Batches are halved down to `SMALLEST_BATCH` and, where there are still fewer images, to their number. The rate of
    SGD falls with the square root of the batch (Krizhevsky, One weird trick, 2014); that of Adam stays. Only fields
    in `free` are changed, of `FITTED`.
    """
    if "batch_size" not in free:
        return recipe
    size = recipe.batch_size
    while size > SMALLEST_BATCH and size * STEPS > samples:
        size = max(size // 2, SMALLEST_BATCH)
    size = max(min(size, samples), 2)
    falls = recipe.optimizer == "sgd" and "learning_rate" in free
    share = math.sqrt(size / recipe.batch_size) if falls else 1.0
    return replace(recipe, batch_size=size, learning_rate=recipe.learning_rate * share)


def _suited(kind: str, recipe: Recipe) -> Recipe:
    """An SGD recipe for that kind of network."""
    if kind.startswith(("alexnet", "vgg")):
        most = (
            0.1 if kind.endswith("_bn") else 0.05
        )  # without batch norm a higher rate does not start to learn
        return replace(recipe, learning_rate=min(recipe.learning_rate, most))
    if kind.startswith(("vit", "deit", "swin")):
        schedule = "one_cycle" if recipe.schedule == AUTO else recipe.schedule
        rate = recipe.learning_rate / 200
        return replace(recipe, optimizer="adamw", schedule=schedule, learning_rate=rate, weight_decay=0.05)
    return recipe


def _imagenet_weights(architecture: str) -> str:
    return next((name for name, entry in zoo.IMAGENET.items() if entry[0] == architecture), "")


def implied_options(architecture: str, recipe_name: str) -> dict[str, Any]:
    """The options of the architecture that the recipe implies: those of its list that this architecture has.

    Raises `ValueError` when there is no such architecture; a recipe that is not registered implies nothing.
    """
    entry = RECIPES.get(recipe_name)
    if entry is None or not entry.options:
        return {}
    allowed = inspect.signature(registry.architecture(architecture).build).parameters
    return {key: value for key, value in entry.options.items() if key in allowed}
