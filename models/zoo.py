"""The networks at hand: shipped, trained here, and torchvision's ImageNet weights on request."""

from __future__ import annotations

import contextlib
import os
import pickle
import platform
from collections.abc import Sequence
from dataclasses import replace
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import nn

from models import checkpoints, registry
from models.builders import BuilderError
from models.cards import Card, CardError, read_card, training_command
from models.checkpoints import CheckpointError
from models.complexity import count_macs, count_parameters
from models.files import sha256
from models.layers import meta_copy
from models.registry import Model

SHIPPED = Path(__file__).resolve().parent / "checkpoints"
SMALL_INPUT = 256
"""Input side in px up to which one forward pass is cheaper than importing what the meta device needs."""
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
    return {name: card for name, (_path, card) in _stored().items()}


def records() -> dict[str, Card]:
    """Cards of all trained networks, those of `cards` first, then those of which only the card is here.

    The latter lie in `records/NAME.json` of the shipped or the local folder: they were trained and measured, but
    their weights were not kept. `load` refuses them.
    """
    return {name: card for name, (_path, card) in _recorded().items()}


def has_weights(name: str) -> bool:
    """Whether the weights of the network are on this machine, so that `load` finds them without a download."""
    found = _card_of(name)
    return found is not None and found[0].with_suffix(".safetensors").is_file()


def curve_path(name: str) -> Path | None:
    """The training curve that belongs to the card of `name`: a JSON list with one object for each epoch."""
    return _beside(name, "curves", "curve.json")


def predictions_path(name: str) -> Path | None:
    """The stored predictions on the test split that belong to the card of `name`, a Parquet file."""
    return _beside(name, "predictions", "predictions.parquet")


def _beside(name: str, folder: str, own_name: str) -> Path | None:
    """`NAME/own_name` beside a card in its own folder, else `folder/NAME.*` beside it or beside `records`."""
    found = _card_of(name)
    if found is None:
        return None
    card = found[0]
    in_own_folder = card.parent.name == name
    shared = card.parent.parent if in_own_folder or card.parent.name == "records" else card.parent
    own, common = card.parent / own_name, shared / folder / f"{name}{Path(own_name).suffix}"
    return next((path for path in ((own, common) if in_own_folder else (common,)) if path.is_file()), None)


def _card_of(name: str) -> tuple[Path, Card] | None:
    """Path of the card and card of one network, found without reading those of the others."""
    folders = (SHIPPED, local_folder())
    paths = [place / f"{name}.json" for folder in folders for place in (folder, folder / name)]
    stored = [(path, card) for path, card in _readable(paths) if path.with_suffix(".safetensors").is_file()]
    only_cards = _readable([folder / "records" / f"{name}.json" for folder in folders])
    return next((entry for entry in [*stored, *only_cards] if entry[1].name == name), None)


def _recorded() -> dict[str, tuple[Path, Card]]:
    """Path of the card and card of every trained network, by name."""
    found = {name: (path.with_suffix(".json"), card) for name, (path, card) in _stored().items()}
    paths = [path for folder in (SHIPPED, local_folder()) for path in sorted(folder.glob("records/*.json"))]
    for path, card in _readable(paths):
        found.setdefault(card.name, (path, card))
    return found


def _stored() -> dict[str, tuple[Path, Card]]:
    """Weights file and card of every network on this machine, by name."""
    found: dict[str, tuple[Path, Card]] = {}
    for path, card in _readable([*_card_files(SHIPPED), *_card_files(local_folder())]):
        weights = path.with_suffix(".safetensors")
        if weights.is_file():
            found.setdefault(card.name, (weights, card))
    return found


def _readable(paths: Sequence[Path]) -> list[tuple[Path, Card]]:
    """Path and card of those that can be read and are named like their file; torchvision's names are taken."""
    found = []
    for path in paths:
        with contextlib.suppress(CardError):
            card = read_card(path)
            if card.name == path.stem and card.name not in IMAGENET:
                found.append((path, card))
    return found


def _card_files(folder: Path) -> list[Path]:
    """`NAME.json` in the folder, then `NAME/NAME.json`, as a training with `--out folder` leaves it."""
    below = [path for path in folder.glob("*/*.json") if path.parent.name == path.stem]
    return sorted(folder.glob("*.json")) + sorted(below)


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
    stored = _stored()
    if name not in stored:
        raise CheckpointError(_why_not(name))
    return load_checkpoint(*stored[name], device)


def _why_not(name: str) -> str:
    """Why a network without weights can't be loaded."""
    if name in (recorded := records()):
        command = training_command(recorded[name])
        return f"the weights of {name} don't come with the project; `{command}` trains it."
    return f"there is no network {name!r}; allowed are {', '.join(names())}."


def sketch(card: Card) -> nn.Module:
    """The card's network on the meta device: shapes and no numbers; raises `CheckpointError` when it can't be built."""
    return _build(card, "meta")


def load_checkpoint(path: Path, card: Card, device: str | torch.device = "cpu") -> Model:
    """Load the checkpoint at `path`; raises `CheckpointError` when it is not what its card describes."""
    if path.parent != SHIPPED:
        # on the meta device first: a card that asks for far too much costs no memory, only a second of imports
        checkpoints.check_shapes(sketch(card), path)
    state = checkpoints.read(path, card.sha256)
    network = checkpoints.load_into(_build(card, "cpu"), state, card.name)
    try:
        return wrap(network, card, device)
    except ValueError as error:
        raise CheckpointError(f"the network {card.name} can't be used: {error}") from error


def _build(card: Card, device: str) -> nn.Module:
    try:
        with torch.device(device):
            return registry.build(card.architecture, len(card.classes), **card.options)
    except BuilderError as error:
        raise CheckpointError(f"{card.name}: {error}") from error
    except (TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"the card of {card.name} asks for {card.architecture!r} with {card.options}, which can't be built."
        ) from error


def wrap(network: nn.Module, card: Card, device: str | torch.device = "cpu") -> Model:
    """Make a `Model` of a loaded network and its card."""
    architecture = registry.architecture(card.architecture)
    network = network.eval().requires_grad_(False)
    sketch = network if card.input_size <= SMALL_INPUT else meta_copy(network)
    layer = registry.default_layer(sketch, architecture.stages, card.input_size)
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


def _imagenet_file(name: str, url: str) -> Path:
    """The weights in torch's cache, downloaded there when missing."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    try:
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), _hash_prefix(url), progress=False)
    except (URLError, OSError, RuntimeError, HTTPException, EOFError) as error:
        raise CheckpointError(
            f"the ImageNet weights of {name} could not be downloaded: the first time they need the internet."
        ) from error
    return path


def _hash_prefix(url: str) -> str:
    """The first digits of the file's sha256, with which torchvision ends its file names."""
    return url.rsplit("-", 1)[-1].removesuffix(".pth")


def _imagenet_state(path: Path, url: str) -> tuple[dict[str, Any], str]:
    """State dict and sha256 of a file that begins with the hash in its address; nothing else is read."""
    try:
        digest = sha256(path)
        if not digest.startswith(_hash_prefix(url)):
            raise CheckpointError(
                f"{path} is not the file of {url} (sha256 differs); delete it to try again."
            )
        return torch.load(path, map_location="cpu", weights_only=True), digest
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path} holds no readable weights; delete it to try again.") from error


def _load_imagenet(name: str, device: str | torch.device) -> Model:
    import torchvision

    weights = getattr(torchvision.models, IMAGENET[name][1]).IMAGENET1K_V1
    state, digest = _imagenet_state(_imagenet_file(name, weights.url), weights.url)
    architecture, categories = IMAGENET[name][0], weights.meta["categories"]
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
        recipe={"source": weights.url},
        sha256=digest,
        storage="float32",
    )
    return wrap(network, describe(network, card), device)
