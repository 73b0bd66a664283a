"""Stored answers for the pages: listed once for all visitors, and again when a folder has changed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import streamlit as st

from xai import evaluation_store, result_folders, results, settings
from xai.result_folders import Listing, Results
from xai.results import Board, Setting
from xai.ui import explaining, own_shelf, widgets
from xai.ui.memo import Memo

KEY = "setting"
PREFERRED = ("alexnet-", "resnet18_cifar-", "resnet18-")
"""How the names of the networks begin that are shown first."""
IMAGES_HELP = (
    "The images whose stored answers are shown: dataset, split, and how many of it. A sweep of yours is listed here as "
    "soon as its first cell is done."
)
MANIFEST_HELP = "Which stored answers, weights, images, versions and choices stand behind what is shown here."
NETWORKS_HELP = "The networks set side by side; only those that were asked about these images are offered."
Signature = tuple[tuple[str, int], ...]


@st.cache_resource(show_spinner=False)
def _memo() -> Memo:
    """Of answers that were read; those of 10,000 images take 120 kB a cell."""
    return Memo(settings.ANSWER_CACHE.bytes())


@st.cache_resource(show_spinner="Reading the list of stored answers.", max_entries=4)
def _listed(folder: Path, signature: Signature) -> Listing:
    """The signature is not read here, but is what tells a folder from itself at an earlier time."""
    return evaluation_store.listed(folder)


@st.cache_resource(show_spinner=False, max_entries=2)
def _gathered(signatures: tuple[Signature, ...], networks: tuple[tuple[str, str], ...]) -> Results:
    found = [_listed(folder, signature) for folder, signature in zip(folders(), signatures, strict=True)]
    return result_folders.gather(found, explaining.cards(), _memo())


def folders() -> tuple[Path, Path]:
    """Where answers are looked for: what was computed here, and what came with the project."""
    return results.local_folder(), results.SHIPPED


def stored() -> Results:
    """Everything stored on this machine, but for answers about what other visitors uploaded."""
    networks = tuple((name, card.sha256) for name, card in explaining.cards().items())
    found: Results = _gathered(_signatures(), networks)
    own = {s: board for s, board in found.boards.items() if not own_shelf.is_anothers(s.dataset)}
    return found if len(own) == len(found.boards) else replace(found, boards=own)


def state() -> str:
    """What tells the stored answers from those of another moment."""
    return repr(_signatures())


def _signatures() -> tuple[Signature, ...]:
    return tuple(result_folders.signature(folder) for folder in folders())


def choose_board() -> Board | None:
    """Draw the choice of images and arithmetic, and give its board; None, with what to do, where nothing is stored."""
    found = stored().boards
    if not found:
        st.info(
            "No answers are stored yet: start a small sweep below, or run `python -m xai evaluate --models NAME "
            "--dataset cue10 --degradations paper --out ~/.cache/xai-workbench/results`."
        )
        return None
    by_key = {key_of(setting): board for setting, board in found.items()}
    titles = {key_of(setting): title(setting) for setting in found}
    chosen = widgets.one_of("Images", KEY, list(by_key), first(by_key), titles.__getitem__, help=IMAGES_HELP)
    return by_key[chosen]


def title(setting: Setting) -> str:
    """The images in words; an upload of this visitor by the name of its file."""
    return setting.title.replace(setting.dataset, own_shelf.words()(setting.dataset))


def key_of(setting: Setting) -> str:
    """The setting in a link, which names a set of images without any path."""
    name = hashlib.sha256(f"{setting.dataset}/{setting.split}/{setting.data_sha256}".encode()).hexdigest()
    return "-".join([name[:8], str(setting.limit), setting.precision, str(setting.seed)])


def first(boards: dict[str, Board]) -> str:
    """What a new visitor sees: the board with the most answers to images that were not repaired."""
    return max(boards, key=lambda key: sum(not c.remedy for _, c in boards[key].entries))


def offer_others(fits: Callable[[Board], bool]) -> bool:
    """Buttons for the other images of which there is what is looked for; whether there are any."""
    found = [setting for setting, board in stored().boards.items() if fits(board)]
    for setting in found:
        words = widgets.plain(f"Show {title(setting)}")
        options: dict[str, Any] = {
            "icon": ":material/arrow_forward:",
            "help": "The same part of the page for these images.",
        }
        st.button(words, on_click=show, args=(key_of(setting),), **options)
    return bool(found)


def show(key: str) -> None:
    """Choose the images of that key, as a click on a button."""
    st.session_state[KEY] = key


def networks(board: Board, default: int = 2) -> tuple[str, ...]:
    """Draw the choice of the board's networks; at first the pair that is compared everywhere."""
    first = usual(board, default)
    part = key_of(board.setting)
    chosen = widgets.some_of("Networks", "networks", board.models, first, part=part, help=NETWORKS_HELP)
    return chosen or first


def usual(board: Board, count: int) -> tuple[str, ...]:
    """The networks that are shown at first, as many as there are up to `count`."""
    liked = [next((name for name in board.models if name.startswith(start)), "") for start in PREFERRED]
    return tuple(name for name in dict.fromkeys([*liked, *board.models]) if name)[:count]


def notes() -> None:
    """What was left out of the stored answers, one sentence for each reason."""
    if found := stored().notes:
        with st.expander(f"Left out of the stored answers: {len(found)}"):
            for sentence in found:
                st.caption(widgets.plain(sentence))
