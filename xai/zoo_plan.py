"""The plan of the whole zoo as data: which networks are trained, in the order of their importance."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from data.catalogue import dataset as registered_dataset
from models import recipes, registry
from models.complexity import count_macs, count_parameters
from models.layers import meta_copy
from models.recipes import Recipe
from xai.training_cards import checkpoint_name

CIFAR, CUE10 = "cifar10-jpeg", "cue10"
SEEDS = (0, 1, 2)
COMPARED = {
    CIFAR: ("alexnet", "resnet18", "resnet18_cifar", "resnet50_cifar"),
    CUE10: ("alexnet", "resnet18", "resnet18_cifar", "resnet50"),
}
"""The networks that are compared with one another, each with three seeds."""
OTHERS = (
    "resnet50",
    "alexnet_bn",
    "alexnet_lrn",
    "alexnet_cbam",
    "alexnet_tmaxavg",
    "vgg16_bn",
    "resnet34_cifar",
    "resnext50_cifar",
    "resnext50_msff_cifar",
    "vit_small",
    "se_resnet50_cifar",
    "cbam_resnet50_cifar",
    "fpn_resnet50_cifar",
    "swish_resnet50_cifar",
    "dropout_resnet50_cifar",
    "wide_resnet50_cifar",
    "resnet101_cifar",
    "mmff_resnet50_cifar",
    "hff_senet_cifar",
)
"""The other networks of the papers, one seed each, on the CIFAR data."""
_YARDSTICK = "resnet18_cifar"


@dataclass(frozen=True)
class Variant:
    """An architecture under a recipe of its own; `teacher` is the architecture that teaches it."""

    architecture: str
    recipe: str
    teacher: str = ""
    initial: str = ""


VARIANTS = (
    Variant("resnext50_cifar", "plateau"),
    Variant("resnext50_msff_cifar", "plateau"),
    Variant("resnext50_msff_cifar", "msff"),
    Variant("resnet18", "tuned_resnet18"),
    Variant("resnet18_cifar", "tuned_resnet18"),
    Variant("resnet18_cifar", "distillation", teacher="resnet50_cifar"),
    Variant("resnet50_cifar", "distillation", teacher="wide_resnet50_cifar"),
    Variant("resnet50_cifar", "no_smoothing"),
    Variant("resnet50_cifar", "plateau"),
    Variant("resnext50_cifar", "no_smoothing"),
    Variant("alexnet", "noise_injection"),
    Variant("alexnet", "degradation_aware"),
    Variant("resnet18_cifar", "degradation_aware"),
    Variant("resnet50_cifar", "degradation_aware"),
    Variant("resnet50", "transfer", initial="resnet50-imagenet"),
)
"""The papers' recipes and their ablations, one seed each, on the CIFAR data."""


@dataclass(frozen=True)
class Estimate:
    """What a training needs: MACs per image, GPU memory in GB, and MACs x epochs beside the yardstick's."""

    macs: int
    gigabytes: float
    cost: float


@dataclass(frozen=True)
class Job:
    """One training. It waits for the checkpoint `teacher` of the same plan; `initial` are weights to start from.

    A lower `priority` comes first.
    """

    architecture: str
    dataset: str
    seed: int = 0
    recipe: str = "standard"
    options: dict[str, Any] = field(default_factory=dict)
    teacher: str = ""
    initial: str = ""
    priority: int = 0

    @property
    def name(self) -> str:
        """Name of the checkpoint that it makes."""
        return checkpoint_name(self.architecture, self.dataset, self.seed, self.options, self.recipe)

    @property
    def estimate(self) -> Estimate:
        """Estimated needs; builds the network on the meta device when first asked."""
        return _estimate(self.architecture, self.dataset, self.recipe, tuple(sorted(self.options.items())))

    @property
    def gigabytes(self) -> float:
        """Estimated GPU memory with activations at the recipe's batch size, in GB."""
        return self.estimate.gigabytes

    def full_recipe(self, epochs: int | None = None) -> Recipe:
        """The hyper-parameters; `epochs` replaces the recipe's own. Raises `ValueError` when it is below 1."""
        recipe = recipes.recipe_for(self.architecture, self.recipe, self.dataset)
        given = {"teacher": self.teacher or None, "initial": self.initial or None, "epochs": epochs}
        changed: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        return replace(recipe, **changed)


def plan(dataset: str | None = None) -> tuple[Job, ...]:
    """Every training, the most important first: the networks compared, then the others, then the recipes.

    Of one dataset where `dataset` says so; any but `cue10` gets what is planned for the CIFAR data. Raises
    `DatasetError` with one sentence when there is no such dataset.
    """
    if dataset is None:
        return tuple(sorted(plan(CIFAR) + plan(CUE10), key=lambda job: job.priority))
    registered_dataset(dataset)
    if dataset == CUE10:
        return _compared(CUE10, CUE10)
    others = tuple(Job(name, dataset, priority=3) for name in OTHERS)
    return _compared(CIFAR, dataset) + others + tuple(_variant(entry, dataset) for entry in VARIANTS)


def _compared(kind: str, dataset: str) -> tuple[Job, ...]:
    """One seed of all before the next seed of any."""
    return tuple(Job(name, dataset, seed, priority=seed) for seed in SEEDS for name in COMPARED[kind])


def _variant(entry: Variant, dataset: str) -> Job:
    teacher = Job(entry.teacher, dataset).name if entry.teacher else ""
    priority = 5 if entry.initial else 4
    return Job(
        entry.architecture,
        dataset,
        recipe=entry.recipe,
        teacher=teacher,
        initial=entry.initial,
        priority=priority,
    )


@functools.cache
def _estimate(
    architecture: str, dataset: str, recipe_name: str, options: tuple[tuple[str, Any], ...]
) -> Estimate:
    recipe = recipes.recipe_for(architecture, recipe_name, dataset)
    size = registered_dataset(dataset).image_size
    macs, parameters, numbers = _sizes(architecture, size, options)
    yardstick = _sizes(_YARDSTICK, size, ())[0] * recipes.recipe_for(_YARDSTICK, "standard", dataset).epochs
    # float32 weights, gradients, two moments and the average; bfloat16 activations; images, context and libraries
    held = 20 * parameters + 2 * numbers * recipe.batch_size
    return Estimate(macs, 2.0 + held / 1e9, macs * recipe.epochs / yardstick)


@functools.cache
def _sizes(architecture: str, size: int, options: tuple[tuple[str, Any], ...]) -> tuple[int, int, int]:
    """MACs, parameters, and numbers that all modules put out for one image of `size` px."""
    with torch.device("meta"):
        network = registry.build(architecture, 10, **dict(options))
    return count_macs(network, size), count_parameters(network), _outputs(network, size)


def _outputs(network: nn.Module, size: int) -> int:
    copied, counts = meta_copy(network).eval(), list[int]()

    def note(_module: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            counts.append(output.numel())

    for module in copied.modules():
        if not list(module.children()):
            module.register_forward_hook(note)
    with torch.no_grad():
        copied(torch.zeros(1, 3, size, size, device="meta"))
    return sum(counts)
