"""The plan of the zoo: complete, buildable, in an order in which it can be done."""

from __future__ import annotations

from collections import Counter

import pytest

from data.catalogue import DatasetError, dataset
from models import registry
from models.complexity import count_macs, count_parameters
from models.recipes import RECIPES
from xai.ablation_list import ABLATIONS
from xai.zoo_plan import CIFAR, COMPARED, CUE10, SEEDS, VARIANTS, Job, plan

JOBS = plan()
NAMES = [job.name for job in JOBS]


def test_the_compared_networks_have_three_seeds_on_both_datasets() -> None:
    assert set(COMPARED) == {CIFAR, CUE10}
    for name, architectures in COMPARED.items():
        assert len(architectures) == 4
        for architecture in architectures:
            found = [
                job.seed
                for job in JOBS
                if (job.dataset, job.architecture, job.recipe) == (name, architecture, "standard")
            ]
            assert sorted(found) == sorted(SEEDS) == [0, 1, 2]


def test_names_are_unique_and_say_what_is_trained() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert NAMES[0] == "alexnet-cifar10-jpeg-s0"
    assert "resnet18_cifar-tuned_resnet18-cifar10-jpeg-s0" in NAMES
    assert "resnet50-transfer-cifar10-jpeg-s0" in NAMES


@pytest.mark.parametrize("architecture", sorted({job.architecture for job in JOBS}))
def test_every_architecture_is_registered_and_takes_the_datasets_images(architecture: str) -> None:
    least = registry.architecture(architecture).min_size
    sizes = {dataset(job.dataset).image_size for job in JOBS if job.architecture == architecture}
    assert min(sizes) >= least


def test_every_architecture_that_takes_small_images_is_planned() -> None:
    """Of two stems the CIFAR stem; alexnet_224 can't run at 32 px."""
    planned = {job.architecture for job in JOBS}
    for name, entry in registry.ARCHITECTURES.items():
        if entry.min_size <= 32:
            assert name in planned or f"{name}_cifar" in planned, name


def test_every_recipe_is_registered_and_every_other_than_the_standard_is_planned() -> None:
    assert {job.recipe for job in JOBS} == set(RECIPES)
    for job in JOBS:
        assert job.full_recipe().name == job.recipe


def test_every_ablation_finds_both_its_networks() -> None:
    planned = {(job.architecture, job.recipe) for job in plan(CIFAR)}
    for ablation in ABLATIONS.values():
        for side in (ablation.baseline, ablation.variant):
            assert (side.architecture, side.recipe) in planned, ablation.name


def test_teachers_come_before_their_pupils_and_are_larger() -> None:
    pupils = [job for job in JOBS if job.teacher]
    assert {job.architecture for job in pupils} == {"resnet18_cifar", "resnet50_cifar"}
    for job in pupils:
        assert NAMES.index(job.teacher) < NAMES.index(job.name)
        teacher = JOBS[NAMES.index(job.teacher)]
        assert teacher.recipe == "standard"
        assert teacher.estimate.macs > job.estimate.macs
        assert job.full_recipe().teacher == job.teacher
        assert job.full_recipe().teacher_weight > 0


def test_recipes_that_need_something_have_it() -> None:
    for entry in VARIANTS:
        needs = set(RECIPES[entry.recipe].needs)
        assert needs == {name for name in ("teacher", "initial") if getattr(entry, name)}


def test_important_jobs_come_first() -> None:
    assert [job.priority for job in JOBS] == sorted(job.priority for job in JOBS)
    first = {(job.architecture, job.dataset) for job in JOBS[:8]}
    assert first == {(name, kind) for kind, names in COMPARED.items() for name in names}
    assert Counter(job.seed for job in JOBS[:8]) == {0: 8}
    assert JOBS[-1].initial == "resnet50-imagenet"


def test_another_dataset_gets_the_plan_of_the_cifar_data() -> None:
    jpeg, lossless = plan(CIFAR), plan("cifar10")
    assert [job.name.replace("-cifar10-jpeg-", "-cifar10-") for job in jpeg] == [job.name for job in lossless]
    assert {job.teacher for job in lossless} == {
        job.teacher.replace("cifar10-jpeg", "cifar10") for job in jpeg
    }
    assert sorted(NAMES) == sorted(job.name for job in (*jpeg, *plan(CUE10)))
    with pytest.raises(DatasetError, match="mnist"):
        plan("mnist")


def test_the_estimate_is_that_of_the_network() -> None:
    job = Job("resnet18", CUE10, options={"width": 8})
    network = registry.build("resnet18", 10, width=8)
    assert job.estimate.macs == count_macs(network, 64)
    whole = job.full_recipe()
    yardstick = Job("resnet18_cifar", CUE10).estimate
    assert yardstick.cost == 1.0
    expected = job.estimate.macs * whole.epochs / (yardstick.macs * yardstick_epochs())
    assert job.estimate.cost == pytest.approx(expected)
    weights = 20 * count_parameters(network) / 1e9
    assert weights + 2.0 < job.gigabytes < yardstick.gigabytes


def yardstick_epochs() -> int:
    return Job("resnet18_cifar", CUE10).full_recipe().epochs


def test_activations_are_counted_by_hand() -> None:
    """AlexNet's memory grows with the batch by two bytes for every number that a module puts out."""
    from torch import nn

    from xai.zoo_plan import _outputs

    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    assert _outputs(network, 8) == 4 * 64 + 4 * 64 + 4 * 16 + 4 * 16


def test_epochs_replace_the_recipes_own() -> None:
    assert Job("resnet18", CUE10).full_recipe(epochs=3).epochs == 3
    with pytest.raises(ValueError, match="epochs is 0"):
        Job("resnet18", CUE10).full_recipe(epochs=0)
