"""A small sweep, started from a page: it runs on the server, can be cancelled, and what it stored stays."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from data import catalogue, remedies
from data.catalogue import DATASETS
from data.degradations import DEGRADATIONS
from data.remedies import NAMES
from models.cards import Card
from xai import results
from xai.evaluation_grid import SETS, Cell, grid
from xai.ui import explaining, own_shelf, result_data, state, widgets
from xai.ui.job import Job, Report
from xai.ui.job_panel import Words, engaged, panel

IMAGES, MOST_IMAGES, STEP = 200, 2_000, 100
MOST_CELLS = 120
"""What a page may start; more is for the command line."""

DATASET_HELP = (
    "Its test images are asked about. Your own pictures are offered once they are uploaded on Your own."
)
MODELS_HELP = "Networks that know the dataset's classes at its image size."
DEGRADATIONS_HELP = (
    "A set of conditions (paper: low, medium and high of the papers; cifar-c and imagenet-c: the benchmarks' five "
    "severities), or single degradations. Clean images are always among them."
)
SHOW_HELP = "Chooses these images above, so that the page is about the answers to them."
IMAGES_HELP = "More images give narrower intervals and take longer in proportion."
START_HELP = "It runs on the server and can be cancelled; every cell that is done is kept."

PANEL = panel(
    "sweep",
    Words(
        "cells",
        "Cancel the sweep",
        "It ends after the batch at hand; the cells that are done stay.",
        "It goes on when you look at another page, and everybody on this server sees its results.",
        digits=1,
    ),
)


def draw() -> None:
    """The choice of a small sweep, or how far the running one is."""
    running = PANEL.running()
    asked = "sweep_dataset" in st.session_state[state.CHOICES]  # as by a link from Your own
    # Open also when it has ended, for those who saw it running: the box holds what became of it.
    with st.expander("Compute more answers: a small sweep", expanded=PANEL.seen() is not None or asked):
        busy = running is not None and engaged(PANEL)
        if not busy:
            _say_last()
            PANEL.say_refused()
        _choose(busy)


def _say_last() -> None:
    """What became of the last sweep that this visitor saw, else of the last one."""
    for ended in (PANEL.seen(), PANEL.place().last):
        if ended is not None and not ended.running:
            _say_outcome(ended)
            return


def _say_outcome(job: Job[Any]) -> None:
    """What became of the last sweep of this server."""
    if job.error is not None:
        st.error(widgets.plain(f"{job.title}: {job.error}"), icon=":material/error:")
        return
    summary = job.outcome
    if summary is None:
        return
    words = f"{job.title}: {len(summary.computed)} cells computed, {len(summary.skipped)} were there."
    words += " It was cancelled; those stay." if summary.cancelled else ""
    st.success(widgets.plain(words))
    _offer_board([*summary.computed, *summary.skipped])
    for reason in dict.fromkeys([*summary.failed.values(), *summary.notes]):
        st.warning(widgets.plain(reason))


def _offer_board(cells: Sequence[Cell]) -> None:
    """A button that shows the answers of a sweep, where they may be shown to this visitor."""
    asked = {(cell.dataset, cell.split, cell.limit, cell.precision) for cell in cells}
    for setting in result_data.stored().boards:
        if (setting.dataset, setting.split, setting.limit, setting.precision) in asked:
            options: dict[str, Any] = {"icon": ":material/arrow_upward:", "help": SHOW_HELP}
            key = result_data.key_of(setting)
            words = widgets.plain(f"Show {result_data.title(setting)}")
            st.button(words, key=f"show {key}", on_click=result_data.show, args=(key,), **options)


def _choose(busy: bool) -> None:
    """The choices, drawn also while a sweep is under way: widgets that go away may lose their values."""
    left, right = st.columns(2)
    with left:
        offered = [*DATASETS, *own_shelf.datasets().values()]
        dataset = widgets.one_of(
            "Dataset", "sweep_dataset", offered, "cue10", own_shelf.words(), help=DATASET_HELP
        )
        fitting = _fitting(dataset)
        options: dict[str, Any] = {"part": dataset, "help": MODELS_HELP}
        models = widgets.some_of("Networks to ask", "sweep_models", fitting, fitting[:2], **options)
    with right:
        names = [*SETS, *DEGRADATIONS]
        help_words = DEGRADATIONS_HELP
        chosen = widgets.some_of("Degradations", "sweep_degradations", names, ("paper",), help=help_words)
        bounds = (STEP, MOST_IMAGES)
        label = "Images, evenly spread"
        images = int(widgets.number(label, "sweep_images", bounds, IMAGES, STEP, help=IMAGES_HELP))
    help_words = "Told repairs know the degradation, and are left out where they do not apply."
    repairs = widgets.some_of(
        "Repairs before the network",
        "sweep_remedies",
        NAMES,
        (),
        remedies.title,
        placeholder="None",
        help=help_words,
    )
    if not fitting:
        name = own_shelf.words()(dataset)
        st.info(
            widgets.plain(
                f"No network on this machine knows the classes of {name} at its image size: choose another dataset, "
                "give your pictures a network's class names on Your own, or train a network for them on Train."
            )
        )
    elif not busy:
        cards = [explaining.cards()[name] for name in models]
        _offer(dataset, cards, chosen, ("none", *repairs), images)


def _fitting(dataset: str) -> list[str]:
    """Networks that know the dataset's classes at its size."""
    entry = catalogue.dataset(dataset)
    return [name for name, card in explaining.cards().items() if _fits(card, entry.classes, entry.image_size)]


def _fits(card: Card, classes: Sequence[str], image_size: int) -> bool:
    return card.input_size == image_size and set(classes) <= set(card.classes)


def _offer(
    dataset: str, cards: Sequence[Card], degradations: Sequence[str], repairs: Sequence[str], images: int
) -> None:
    """The button that starts it, with what it would be."""
    if not cards or not degradations:
        st.caption("Choose at least one network and one degradation.")
        return
    try:
        cells = grid([dataset], cards, degradations, remedies=repairs, limit=images)
    except ValueError as error:  # such as a repair that applies to none of the degradations
        st.warning(widgets.plain(error))
        return
    if len(cells) > MOST_CELLS:
        words = f"These are {len(cells):,} cells; a page starts {MOST_CELLS} at most. More is for the command line:"
        st.caption(words)
    else:
        title = f"Sweep of {own_shelf.spoken(dataset)}, {images:,} images"
        label = f"Start: {len(cells)} cells of {images:,} images"
        options: dict[str, Any] = {"icon": ":material/play_arrow:", "help": START_HELP}
        st.button(label, on_click=PANEL.start, args=(title, _work(cells)), **options)
    st.code(_command(dataset, cards, degradations, repairs, images), language="bash", wrap_lines=True)


def _command(
    dataset: str, cards: Sequence[Card], degradations: Sequence[str], repairs: Sequence[str], images: int
) -> str:
    """What does the same on the command line."""
    names, wanted = shlex.join(card.name for card in cards), " ".join(degradations)
    more = f"--remedies {' '.join(repairs)} " if len(repairs) > 1 else ""
    return (
        f"python -m xai evaluate --models {names} --dataset {dataset} --degradations {wanted} "
        f"{more}--limit {images} --out {shlex.quote(str(results.local_folder()))}"
    )


def _work(cells: Sequence[Cell]) -> Callable[[Report, Callable[[], bool]], object]:
    """The sweep, with networks of its own, so that nobody waits for the locks of those on the pages."""

    def run(report: Report, cancelled: Callable[[], bool]) -> object:
        from xai.evaluation import sweep

        return sweep(cells, results.local_folder(), progress=report, cancelled=cancelled)

    return run
