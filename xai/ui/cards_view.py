"""The card of a network as a table of facts, and as the file that it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

import streamlit as st

from models.cards import Card
from xai import network_table
from xai.network_table import Network, accuracy_words
from xai.ui import network_data, widgets
from xai.ui.words import Row


def draw(card: Card) -> None:
    """Readable facts, and the whole card to look at and to take home."""
    row = next(row for row in network_data.rows() if row.name == card.name)
    st.markdown("**Card**")
    widgets.table([{"fact": fact, "value": value} for fact, value in facts(row, card).items()])
    content = json.dumps(asdict(card), indent=2)
    with st.expander("Whole card"):
        st.code(content, language="json")
    help_words = "How it was trained and what was measured, as a program reads it."
    widgets.download("Card (.json)", content, f"{card.name}.json", "application/json", help=help_words)


def facts(row: Network, card: Card) -> Row:
    """What the card says in words."""
    validated = network_table.validation_images(card)
    found = {
        "architecture": f"{row.title} ({row.architecture})",
        "family": row.family,
        "options": row.options or "none",
        "input": f"{card.input_size} × {card.input_size} px, {len(card.classes)} classes",
        "dataset": row.dataset,
        "recipe": row.recipe,
        "epochs, seed": f"{row.epochs}, {card.seed}",
        "test accuracy": _test(row),
        "validation accuracy": accuracy_words(row.validation, validated),
        "on lossless pictures": accuracy_words(row.lossless, validated),
        "before rounding to int8": accuracy_words(card.accuracy_before_quantization.get("test"), row.images),
        "parameters": f"{row.parameters:,}",
        "multiply-adds": f"{row.macs / 1e6:,.1f} M",
        "trained on": f"{row.device}, {_duration(row.seconds)}",
        "weights": f"{row.weights}, {card.storage}, {row.megabytes:.2f} MB",
        "sha256": f"{card.sha256[:16]}…",
        "note": card.note,
    }
    return {fact: value for fact, value in found.items() if value}


def _test(row: Network) -> str:
    return accuracy_words(row.test, row.images)


def _duration(seconds: float) -> str:
    return f"{seconds / 60:,.0f} min" if seconds >= 60 else f"{seconds:.0f} s"


def seed_rows(rows: Sequence[Network]) -> list[Row]:
    """The networks of one training beside one another, and the spread between them."""
    found = [{"seed": str(row.seeds[0]), "network": row.name, "test accuracy": _test(row)} for row in rows]
    (group,) = network_table.by_training(rows)
    if group.spread is None or len(rows) < 2:
        return found
    least, most = (100 * end for end in group.spread)
    words = f"{accuracy_words(group.test, None)} ({least:.2f} to {most:.2f})"
    return [*found, {"seed": "mean (least to most)", "network": "", "test accuracy": words}]
