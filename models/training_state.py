"""What a training is at one moment, and how that is kept on disk, so that a run that was killed goes on.

The state is written by rename. It holds tensors and plain values alone, and is read as such.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from models.files import write_by_rename, write_text
from models.recipes import Recipe

STATE_FILE = "state.pt"
CURVE_FILE = "curve.json"
_STORED = {"network", "average", "optimizer", "epoch", "curve", "recipe", "seed"}
"""What every state holds; those of earlier versions hold nothing more."""


@dataclass(frozen=True)
class LabelledImages:
    """Images uint8 `(N, 3, H, W)` and labels int64 `(N,)`."""

    images: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> LabelledImages:
        """The same on another device, channels last there."""
        images = self.images.to(device).contiguous(memory_format=torch.channels_last)
        return LabelledImages(images, self.labels.to(device))


@dataclass(frozen=True)
class EpochRow:
    """One row of the curve: loss and accuracy (shares in [0, 1]) on train and validation."""

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    learning_rate: float
    seconds: float


@dataclass
class Run:
    """The state of a training on a set of `samples` images."""

    network: nn.Module
    average: AveragedModel
    optimizer: torch.optim.Optimizer
    samples: int
    epoch: int = 0
    curve: list[EpochRow] = field(default_factory=list)


def best_epoch(curve: Sequence[EpochRow]) -> int:
    """Place in `curve` of the epoch with the highest validation accuracy; of equal ones that with the lowest loss."""
    return max(range(len(curve)), key=lambda k: (curve[k].validation_accuracy, -curve[k].validation_loss))


def save_state(run: Run, recipe: Recipe, seed: int, folder: Path) -> None:
    """Write everything that a resume needs, and the curve, by rename."""
    content = {
        "network": run.network.state_dict(),
        "average": run.average.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "epoch": run.epoch,
        "curve": [asdict(row) for row in run.curve],
        "recipe": asdict(recipe.explicit()),
        "seed": seed,
        "samples": run.samples,
    }
    write_by_rename(folder / STATE_FILE, lambda path: torch.save(content, path))
    write_text(folder / CURVE_FILE, json.dumps(content["curve"], indent=1) + "\n")


def resume(run: Run, recipe: Recipe, seed: int, folder: Path) -> bool:
    """Take up the state in `folder` and return True, or return False when there is none.

    Raises `ValueError` when it is of another recipe, seed, number of images or network, or can't be read.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        return False
    content = _read_state(path)
    found = _stored_recipe(content), content["seed"], content.get("samples", run.samples)
    if found != (recipe.explicit(), seed, run.samples):
        raise ValueError(
            f"{folder} holds a training with another recipe, seed or number of images; choose another folder."
        )
    _restore(run, content, folder)
    return True


def _read_state(path: Path) -> dict[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path} is damaged; delete it to start again.") from error
    if not isinstance(content, dict) or not content.keys() >= _STORED:
        raise ValueError(f"{path} is not the state of a training; delete it to start again.")
    return content


def _stored_recipe(content: dict[str, Any]) -> Recipe | None:
    """The recipe of a state, which may be older than some fields; None when it has fields unknown here."""
    try:
        return Recipe(**content["recipe"]).explicit()
    except (TypeError, ValueError):
        return None


def _restore(run: Run, content: dict[str, Any], folder: Path) -> None:
    try:
        run.network.load_state_dict(content["network"])
        run.average.load_state_dict(content["average"])
        run.optimizer.load_state_dict(content["optimizer"])
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{folder} holds a training of another network; choose another folder.") from error
    run.epoch = content["epoch"]
    run.curve = [EpochRow(**row) for row in content["curve"]]
