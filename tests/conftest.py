"""Fixtures that several test files share."""

import os

if (
    "PYTEST_XDIST_WORKER" in os.environ
):  # before torch is imported: two workers with two threads each wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from models import zoo
from models.cards import Card
from models.registry import Model, architecture, build

TinyModel = Callable[..., Model]
"""`tiny_model(architecture, size=None, num_classes=10, **options)`."""


@pytest.fixture(scope="session", autouse=True)
def _threads() -> Iterator[None]:
    """At most two threads: small networks gain nothing from more, and other work may run beside the tests."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(2, int(os.environ.get("OMP_NUM_THREADS", 2)), os.cpu_count() or 1))
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """One thread: the smallest networks spend more time on waiting for a second one than on computing."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def photo() -> Tensor:
    """A photograph that comes with scikit-image (an astronaut), `(1, 3, 512, 512)` float32 in [0, 1]."""
    from skimage.data import astronaut

    return torch.from_numpy(astronaut().copy()).permute(2, 0, 1)[None].float() / 255


def make_tiny_model(name: str, size: int | None = None, num_classes: int = 10, **options: Any) -> Model:
    """A `Model` with seeded random weights: it has learned nothing, and its name says so."""
    entry = architecture(name)
    narrow = {"width": 64 if entry.family == "ViT" else 8, "hidden": 32}
    taken = inspect.signature(entry.build).parameters
    options = {key: value for key, value in narrow.items() if key in taken} | options
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build(name, num_classes, **options)
    classes = tuple(f"class {k}" for k in range(num_classes))
    side = size or entry.default_size
    return zoo.wrap(network, Card(f"untrained-{name}", name, "none", classes, side, 0, "cpu", {}, options))


@pytest.fixture(scope="session")
def tiny_model() -> TinyModel:
    """Factory of small untrained models of any registered architecture."""
    return make_tiny_model


@pytest.fixture(scope="session")
def shipped_models() -> dict[str, Model]:
    """Every network that comes with the project, loaded, by name."""
    return {name: zoo.load(name) for name in zoo.cards() if zoo.is_shipped(name)}
