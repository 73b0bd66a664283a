"""Networks that were brought in from a file: which they are, and how one of them is removed again."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from models import third_party, zoo
from models.cards import IMPORTED, Card, recipe_name


class RemovalError(ValueError):
    """A network that can't be removed; the message is one sentence."""


def removable(cards: Mapping[str, Card] | None = None) -> dict[str, Card]:
    """Of the networks with these `cards` (None: all on this machine), those that were brought in from a file and lie
    in the local folder."""
    return {
        name: card
        for name, card in (zoo.cards() if cards is None else cards).items()
        if not zoo.is_shipped(name) and _is_brought(card) and third_party.files_of(name)[0].is_file()
    }


def _is_brought(card: Card) -> bool:
    return recipe_name(card) == IMPORTED


def remove(name: str) -> None:
    """Remove the network from the local folder; raises `RemovalError` unless it was brought in from a file.

    Answers and pictures that were made with it stay.
    """
    if name not in removable():
        raise RemovalError(f"{name!r} is no network that was brought in from a file here, and is left alone.")
    files = third_party.files_of(name)
    for path in files:  # the card first: without it the weights belong to nothing
        path.unlink(missing_ok=True)
    if files[0].parent != zoo.local_folder():
        with contextlib.suppress(OSError):  # something else lies in its folder
            files[0].parent.rmdir()
