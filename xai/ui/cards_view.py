"""Cards of the networks as a table and one by one."""

from __future__ import annotations

import json
from dataclasses import asdict

import streamlit as st

from models import zoo
from models.cards import Card
from xai.ui import widgets
from xai.ui.words import Row


def draw() -> None:
    """A row for each network, and the whole card of the one chosen."""
    cards = zoo.cards()
    if not cards:
        st.info("No trained network is on this machine: train one with `python -m xai train`.")
        return
    widgets.table([row(card) for card in cards.values()])
    st.caption(widgets.plain(f"Downloaded when first asked for: {', '.join(zoo.IMAGENET)}."))
    name = st.selectbox("Whole card of", list(cards), key="card")
    st.code(json.dumps(asdict(cards[name]), indent=2), language="json")


def row(card: Card) -> Row:
    """What tells one network from another."""
    return {
        "name": card.name,
        "architecture": card.architecture,
        "dataset": card.dataset,
        "input": f"{card.input_size} px",
        "test accuracy": _percent(card.accuracy.get("test")),
        "validation accuracy": _percent(card.accuracy.get("validation")),
        "parameters": f"{card.parameters / 1e6:.2f} M",
        "multiply-adds": f"{card.macs / 1e6:.0f} M",
        "trained on": card.device,
        "ships with the app": "yes" if zoo.is_shipped(card.name) else "no",
    }


def _percent(share: float | None) -> str:
    return "not measured" if share is None else f"{share:.1%}"
