"""The card of a checkpoint: what it is, how it was made, how well it does."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, get_origin, get_type_hints

from models.files import write_text

STANDARD = "standard"
"""Name of the recipe that names of networks leave out."""
IMPORTED = "imported"
"""Name of the recipe of networks that were trained elsewhere, nobody here knows how."""
_GIVEN = ("initial", "teacher")
"""Fields of a recipe that name other networks; a command has to give them."""
_USUAL = {"learn": "all", "keep": "last"}
"""Fields of a recipe that a command gives only where they have another value."""
LARGEST_FILE = 2**20
_TRIAL = "A trial on at most "
_LONGEST_NAME = 200
INPUT_SIZES = range(8, 1025)
"""Sides of an image, in px, that a card may ask for."""


class CardError(ValueError):
    """A card that can't be read."""


@dataclass(frozen=True)
class Card:
    """Facts about one checkpoint, stored as JSON beside the weights.

    `accuracy` holds shares in [0, 1] under `test`, `validation` and `validation_lossless` (None where not
    measured), measured with the weights as stored. `sha256` is that of the weights file.
    """

    name: str
    architecture: str
    dataset: str
    classes: tuple[str, ...]
    input_size: int
    seed: int
    device: str
    recipe: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)
    epochs: int = 0
    training_seconds: float = 0.0
    parameters: int = 0
    macs: int = 0
    accuracy: dict[str, float | None] = field(default_factory=dict)
    accuracy_before_quantization: dict[str, float | None] = field(default_factory=dict)
    storage: str = "int8"
    sha256: str = ""
    megabytes: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)
    note: str = ""

    def write(self, path: Path) -> None:
        """Write the card as JSON, by rename."""
        write_text(path, json.dumps(asdict(self), indent=2) + "\n")


def recipe_name(card: Card) -> str:
    """Name of the recipe the network was trained by; cards from before recipes had names hold the standard one."""
    return str(card.recipe.get("name", STANDARD))


def training_key(card: Card) -> str:
    """The same text for networks that differ in nothing but their seed, as far as their cards tell.

    The whole recipe counts, with the network that a fine-tuning started from. What was trained elsewhere is alone.
    """
    if recipe_name(card) == IMPORTED:
        return json.dumps([IMPORTED, card.name, card.sha256])
    facts = (
        card.architecture,
        card.dataset,
        card.classes,
        card.input_size,
        card.options,
        card.recipe,
        card.epochs,
    )
    return json.dumps([*facts, trial_limit(card)], sort_keys=True)


def trial_note(limit: int) -> str:
    """What the note of a card says of a training on at most `limit` images of each split."""
    return f"{_TRIAL}{limit} images of each split."


def trial_limit(card: Card) -> int | None:
    """The images of each split that a trial was limited to, as its note says; None for a training on all of them."""
    found = re.search(rf"{_TRIAL}(\d{{1,9}}) images", card.note)
    return int(found[1]) if found else None


def training_command(card: Card) -> str:
    """The command that trains such a network again."""
    asked: dict[str, Any] = {"architecture": card.architecture, "dataset": card.dataset, "seed": card.seed}
    if recipe_name(card) != STANDARD:
        asked["recipe"] = recipe_name(card)
    asked |= {key: card.recipe[key] for key in ("epochs", "batch_size", *_GIVEN) if card.recipe.get(key)}
    asked |= {key: card.recipe[key] for key, usual in _USUAL.items() if card.recipe.get(key, usual) != usual}
    flags = [f"--{key.replace('_', '-')} {shlex.quote(str(value))}" for key, value in asked.items()]
    flags += [f"--option {shlex.quote(f'{key}={value}')}" for key, value in card.options.items()]
    return f"python -m xai train {' '.join(flags)} --out DIR"


def read_card(path: Path) -> Card:
    """Read a card; raises `CardError` with one sentence when it is missing, malformed or incomplete."""
    try:
        with path.open("rb") as stream:
            content = json.loads(stream.read(LARGEST_FILE).decode())
        # half a surrogate pair, which JSON allows, can be neither shown nor stored
        json.dumps(content, ensure_ascii=False).encode()
    except (OSError, ValueError, RecursionError) as error:
        raise CardError(f"the card {path.name} can't be read: it is missing or not JSON.") from error
    if not isinstance(content, dict) or not _required() <= content.keys() <= get_type_hints(Card).keys():
        raise CardError(f"the card {path.name} does not have the fields of a model card.")
    for name, value in content.items():
        if not _fits(value, get_type_hints(Card)[name]) or not ALLOWED.get(name, _plain)(value):
            raise CardError(f"the card {path.name} has a wrong value in its field {name!r}.")
    return Card(**{**content, "classes": tuple(content["classes"])})


def _required() -> set[str]:
    optional = {entry.name for entry in fields(Card) if entry.default is not MISSING}
    made = {entry.name for entry in fields(Card) if entry.default_factory is not MISSING}
    return {entry.name for entry in fields(Card)} - optional - made | {"sha256"}


def _fits(value: object, hint: Any) -> bool:
    """Whether a value read from JSON is of the field's type."""
    if isinstance(value, bool):
        return False
    kind = get_origin(hint) or hint
    if kind is tuple:
        return isinstance(value, list) and len(value) > 0 and all(isinstance(item, str) for item in value)
    return isinstance(value, int | float if kind is float else kind)


def _plain(value: object) -> bool:
    """Whether a value can be shown: text, a number that fits a float and is finite, or a flat collection of them."""
    if isinstance(value, dict | list):
        items = value.values() if isinstance(value, dict) else value
        return all(not isinstance(item, dict | list) and _plain(item) for item in items)
    return not isinstance(value, int | float) or -_LARGEST < value < _LARGEST


def _amount(value: Any) -> bool:
    return 0 <= value < _LARGEST


def _shares(value: dict[str, Any]) -> bool:
    """Whether every value is None or a number in [0, 1]."""
    numbers = [item for item in value.values() if item is not None]
    return all(type(item) in (int, float) and 0 <= item <= 1 for item in numbers)


def _short(value: str) -> bool:
    """Whether a name is of a length that can be looked up and shown."""
    return len(value) <= _LONGEST_NAME


_LARGEST = 2**63
ALLOWED: dict[str, Callable[[Any], bool]] = {
    "architecture": _short,
    "input_size": INPUT_SIZES.__contains__,
    "accuracy": _shares,
    "accuracy_before_quantization": _shares,
    **dict.fromkeys(("epochs", "training_seconds", "parameters", "macs", "megabytes"), _amount),
}
"""What a value of the right type must also be; fields not named here need only be plain."""
