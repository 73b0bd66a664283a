"""The networks at hand: shipped, trained here, and torchvision's ImageNet weights on request."""

from __future__ import annotations

import os
import pickle
import platform
from dataclasses import replace
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import nn

from models import checkpoints, registry
from models.cards import Card, CardError, read_card
from models.checkpoints import CheckpointError
from models.complexity import count_macs, count_parameters
from models.registry import Model

SHIPPED = Path(__file__).resolve().parent / "checkpoints"
IMAGENET = {
    "alexnet-imagenet": ("alexnet_224", "AlexNet_Weights"),
    "resnet18-imagenet": ("resnet18", "ResNet18_Weights"),
    "resnet50-imagenet": ("resnet50", "ResNet50_Weights"),
}
"""Names of torchvision's ImageNet weights (their version 1), downloaded when first asked for."""


def local_folder() -> Path:
    """Folder of networks trained on this machine: `$XAI_MODELS`, else `~/.cache/xai-workbench/models`."""
    return Path(os.environ.get("XAI_MODELS") or Path.home() / ".cache" / "xai-workbench" / "models")


def cards() -> dict[str, Card]:
    """Cards of all networks whose weights are on this machine, shipped ones first; unreadable ones are left out."""
    found: dict[str, Card] = {}
    for folder in (SHIPPED, local_folder()):
        for path in sorted(folder.glob("*.json")):
            try:
                card = read_card(path)
            except CardError:
                continue
            if card.name == path.stem and path.with_suffix(".safetensors").is_file():
                found.setdefault(card.name, card)
    return found


def names() -> tuple[str, ...]:
    """Every name that `load` takes."""
    return (*cards(), *IMAGENET)


def is_shipped(name: str) -> bool:
    """Whether the network comes with the project."""
    return all((SHIPPED / f"{name}{suffix}").is_file() for suffix in (".json", ".safetensors"))


def load(name: str, device: str | torch.device = "cpu") -> Model:
    """Load a network by name, in evaluation mode on `device`.

    Raises `CheckpointError` with one sentence when the name is unknown, the file differs from its card, or the
    ImageNet weights can't be downloaded.
    """
    if name in IMAGENET:
        return _load_imagenet(name, device)
    card = cards().get(name)
    if card is None:
        raise CheckpointError(f"there is no network {name!r}; allowed are {', '.join(names())}.")
    folder = SHIPPED if is_shipped(name) else local_folder()
    return load_checkpoint(folder / f"{name}.safetensors", card, device)


def load_checkpoint(path: Path, card: Card, device: str | torch.device = "cpu") -> Model:
    """Load the checkpoint at `path`; raises `CheckpointError` when it is not what its card describes."""
    try:
        network = registry.build(card.architecture, len(card.classes), **card.options)
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"the card of {card.name} asks for {card.architecture!r} with {card.options}, which can't be built."
        ) from error
    checkpoints.load_into(network, checkpoints.read(path, card.sha256), card.name)
    return wrap(network, card, device)


def wrap(network: nn.Module, card: Card, device: str | torch.device = "cpu") -> Model:
    """Make a `Model` of a loaded network and its card."""
    architecture = registry.architecture(card.architecture)
    network = network.eval().requires_grad_(False)
    layer = registry.default_layer(network, architecture.stages, card.input_size)
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Model(
        card.name, network, card.classes, card.input_size, layer, architecture.head, architecture.stages, card
    )


def describe(network: nn.Module, card: Card) -> Card:
    """The card with parameters, multiply-accumulates and versions filled in."""
    versions = {"torch": torch.__version__, "python": platform.python_version()}
    macs = count_macs(network, card.input_size)
    return replace(card, parameters=count_parameters(network), macs=macs, versions=versions)


def save(network: nn.Module, card: Card, folder: Path, storage: str = "int8") -> Card:
    """Write weights and card into `folder` by rename; returns the card with hash and size filled in."""
    path = folder / f"{card.name}.safetensors"
    digest = checkpoints.save(network, path, storage)
    size = round(path.stat().st_size / 1e6, 2)
    card = replace(describe(network, card), sha256=digest, megabytes=size, storage=storage)
    card.write(path.with_suffix(".json"))
    return card


def _imagenet_state(name: str) -> tuple[dict[str, Any], list[str], str]:
    import torchvision

    weights = getattr(torchvision.models, IMAGENET[name][1]).IMAGENET1K_V1
    try:
        state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (URLError, OSError, RuntimeError, HTTPException, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f"the ImageNet weights of {name} could not be downloaded: the first time they need the internet."
        ) from error
    return state, weights.meta["categories"], weights.url


def _load_imagenet(name: str, device: str | torch.device) -> Model:
    state, categories, url = _imagenet_state(name)
    architecture = IMAGENET[name][0]
    network = registry.build(architecture, len(categories))
    own = {key: value for key, value in network.state_dict().items() if key.startswith("normalize.")}
    checkpoints.load_into(network, {**own, **state}, name)
    card = Card(
        name,
        architecture,
        "imagenet",
        tuple(categories),
        224,
        seed=0,
        device="torchvision",
        recipe={"source": url},
        sha256=url.rsplit("-", 1)[-1].removesuffix(".pth"),
        storage="float32",
    )
    return wrap(network, describe(network, card), device)
