"""Networks and results for the pages: loaded and computed once for all visitors, in bounded memory."""

from __future__ import annotations

from functools import partial
from typing import Any

import streamlit as st

from models import zoo
from models.cards import Card
from models.registry import Model
from xai import attribution, comparison, settings
from xai.attribution import METHODS
from xai.comparison import Comparison, Picture, Request
from xai.figures import Style
from xai.shares import Told, untold
from xai.ui.drawers import Drawers
from xai.ui.memo import Memo
from xai.ui.patience import patient
from xai.ui.turns import InTurns

CARDS_SECONDS = 10
PAGE_DPI = 160
"""Dots per inch of the figure on the page; exported files have their own."""
PREFERRED = ("alexnet-cue10", "resnet18_cifar-w16-cue10", "resnet18-cue10")
"""How the names of the networks begin that are shown first: on drawn scenes both of the first two have an 8x8 grid."""


@st.cache_resource(show_spinner=False)
def results() -> Memo:
    """The store of results that all visitors share."""
    return InTurns(settings.RESULT_CACHE.bytes())


@st.cache_resource(show_spinner="Loading the network.", max_entries=settings.NETWORKS.value())
def _loaded(name: str, sha256: str) -> Model:
    """The hash is not read here, but is what tells a network from an earlier one of its name: arguments whose names
    begin with an underscore would not count."""
    return zoo.load(name)


@st.cache_resource(show_spinner=False, ttl=CARDS_SECONDS)
def cards() -> dict[str, Card]:
    """Cards of the networks on this machine, read again from time to time because a training may have ended."""
    return zoo.cards()


def names() -> tuple[str, ...]:
    """Every name that `model` takes."""
    return (*cards(), *zoo.IMAGENET)


def model(name: str) -> Model:
    """A network by name, loaded once as long as its file stays the same; raises `CheckpointError`."""
    card = cards().get(name)
    return _loaded(name, card.sha256 if card else "")


def first_choice(offered: tuple[str, ...]) -> tuple[str, str]:
    """Names of the two networks shown to a new visitor; the second is empty when there is only one."""
    liked = [name for start in PREFERRED for name in offered if name.startswith(start)]
    local = [name for name in offered if name not in zoo.IMAGENET]
    ordered = list(dict.fromkeys([*liked, *local, *offered]))
    return ordered[0], ordered[1] if len(ordered) > 1 and ordered[1] in local else ""


def layers(network: Model) -> dict[str, tuple[int, int]]:
    """The layers that can be tapped with their grids `(h, w)`."""
    return attribution.usable_layers(network, network.input_size)


def compared(request: Request, picture: Picture, told: Told = untold) -> Comparison:
    """`comparison.compare` with everything kept that a later choice may need again."""
    return comparison.compare(request, picture, [model(name) for name in request.models], results(), told)


def awaited(request: Request, picture: Picture) -> Comparison:
    """The same, for a visitor who waits for it: methods that take long say how far they are and can be cancelled."""
    slow = [METHODS[name].title for name in request.methods if name not in attribution.GRADIENT_CAMS]
    about = (repr(request), picture.sha256)
    return patient("maps", ", ".join(slow) or "Heatmaps", partial(compared, request, picture), about)


def key_of(done: Comparison) -> tuple[Any, ...]:
    """What tells a comparison from every other."""
    hashes = tuple(result.sha256 for result in done.results)
    picture = done.picture
    return (repr(done.request), hashes, picture.sha256, picture.name, picture.label)


def page_figure(done: Comparison, style: Style) -> bytes:
    """The figure as a PNG for the page."""
    return results()(("figure", *key_of(done), style), lambda: _drawers().draw(done, style, PAGE_DPI))


@st.cache_resource(show_spinner=False)
def _drawers() -> Drawers:
    return Drawers(settings.DRAWERS.value)
