"""Copies what a run of the zoo made into the layout in which networks are shipped.

Weights and card of the networks chosen go to `NAME.safetensors` and `NAME.json`, cards of all others to
`records/NAME.json`, curves to `curves/NAME.json` and answers to every test image to `predictions/NAME.parquet`.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from models.cards import Card, CardError, read_card, trial_limit
from models.files import write_by_rename
from models.training_state import CURVE_FILE
from xai import predictions, predictions_file
from xai.training import PREDICTIONS_FILE
from xai.zoo_state import ZooError, finished_card

LARGEST_TOTAL = 64_000_000
"""Bytes that all shipped weights may have together."""


def results(source: Path) -> tuple[dict[str, Card], dict[str, str]]:
    """Cards of the finished trainings in the folders below `source`, and why the others can't be used, by name.

    Raises `ZooError` when there is no such folder, or no training in it.
    """
    folders = sorted(path for path in source.glob("*") if path.is_dir())
    cards: dict[str, Card] = {}
    refused: dict[str, str] = {}
    for folder in folders:
        try:
            cards[folder.name] = _usable(folder)
        except (ZooError, predictions.PredictionsError) as error:
            refused[folder.name] = str(error)
    if not folders:
        raise ZooError(f"{source} holds no folders of trainings.")
    return cards, refused


def _usable(folder: Path) -> Card:
    """The card of a result that has everything a shipped network has."""
    card = finished_card(folder)
    if trial_limit(card) is not None:
        raise ZooError(f"{card.name} is a trial: it was trained on a part of the images.")
    if not (folder / CURVE_FILE).is_file():
        raise ZooError(f"{card.name} has no {CURVE_FILE}.")
    if predictions_file.read(folder / PREDICTIONS_FILE).facts.get("sha256") != card.sha256:
        raise ZooError(f"the predictions of {card.name} were made with other weights.")
    return card


def collect(source: Path, into: Path, weights: Sequence[str] = ()) -> tuple[list[Path], dict[str, str]]:
    """Copy all finished results; returns the files written, and why the other trainings were left, by name.

    Only the networks named in `weights` are shipped with their weights. Raises `ZooError` with one sentence,
    before anything is copied, when one of them is not among the finished results, when other weights are already
    shipped under the name of a result, or when all weights in `into` would be larger than `LARGEST_TOTAL`.
    """
    cards, refused = results(source)
    for name in weights:
        if name not in cards:
            reason = refused.get(name, f"there is no training {name!r} in {source}.")
            raise ZooError(f"the weights of {name} can't be shipped: {reason}")
    for name in cards:
        _check_shipped(into, cards[name], weights)
    _check_total(source, into, weights)
    written = [path for name in cards for path in _copy(source / name, into, name in weights)]
    return written, refused


def _check_shipped(into: Path, card: Card, weights: Sequence[str]) -> None:
    """A record must not stand beside other shipped weights of its name."""
    path = into / f"{card.name}.json"
    if card.name in weights or not path.is_file():
        return
    try:
        same = read_card(path).sha256 == card.sha256
    except CardError:
        same = False
    if not same:
        raise ZooError(f"{into} ships other weights of {card.name}; name it in --weights to replace them.")


def _check_total(source: Path, into: Path, weights: Sequence[str]) -> None:
    sizes = {path.stem: path.stat().st_size for path in into.glob("*.safetensors")}
    sizes |= {name: (source / name / f"{name}.safetensors").stat().st_size for name in weights}
    total = sum(sizes.values())
    if total > LARGEST_TOTAL:
        raise ZooError(
            f"the weights would have {total / 1e6:.1f} MB together; allowed are {LARGEST_TOTAL / 1e6:.0f} MB."
        )


def _copy(folder: Path, into: Path, with_weights: bool) -> list[Path]:
    name = folder.name
    shipped = with_weights or (into / f"{name}.json").is_file()
    card = into / f"{name}.json" if shipped else into / "records" / f"{name}.json"
    pairs = [
        (folder / CURVE_FILE, into / "curves" / f"{name}.json"),
        (folder / PREDICTIONS_FILE, into / "predictions" / f"{name}.parquet"),
        (folder / f"{name}.json", card),
    ]
    if shipped:
        pairs.insert(0, (folder / f"{name}.safetensors", into / f"{name}.safetensors"))
    for origin, target in pairs:
        write_by_rename(target, lambda temporary, origin=origin: shutil.copyfile(origin, temporary))  # type: ignore[misc]
    if shipped:
        (into / "records" / f"{name}.json").unlink(missing_ok=True)
    return [target for _origin, target in pairs]
