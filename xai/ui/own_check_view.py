"""The first check of a network that a visitor brought: is it fed as it was trained? And its layers."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from data.catalogue import dataset
from data.datasets import ImageSource
from models.import_request import Request
from models.third_party import Brought
from xai import own_layers, own_network, tables
from xai.own_network_rows import Check
from xai.ui import dataset_images, own_network_data, own_shelf, widgets
from xai.ui.job import Place, Report, Work
from xai.ui.job_panel import Panel, Words, engaged
from xai.ui.own_shelf import OwnFile

CHECKS, PLACE = "own_checks", "own_check_place"
SAMPLES = "samples"
FEWEST, MOST, STEP = 20, 2_000, 20


class Cancelled(Exception):
    """The visitor wants no more of it."""


def _place() -> Place:
    """Every visitor has a place of their own: nobody waits for, or sees, another one's check."""
    found: Place = st.session_state.setdefault(PLACE, Place())
    return found


PANEL = Panel(
    "own_check",
    _place,
    Words(
        "ways",
        "Cancel the check",
        "It ends after the way at hand.",
        "It goes on when you look at another page.",
    ),
)


def layers(brought: Brought) -> None:
    """Where heatmaps can be taken, those that are proposed first."""
    model = brought.model
    found = own_layers.layer_rows(model)
    st.markdown(f"**Layers proposed for heatmaps** at {model.input_size} × {model.input_size} px")
    widgets.table(tables.as_words([row for row in found if row["proposed"]]))
    st.caption(widgets.plain(own_layers.head_words(model)))
    if again := own_layers.called_again(model):
        more = f" and {len(again) - 10:,} more" if len(again) > 10 else ""
        words = f"Called several times (tap a later call as NAME#2): {', '.join(again[:10])}{more}."
        st.caption(widgets.plain(words))
    with st.expander(f"All {len(found):,} layers that can be tapped"):
        widgets.table(tables.as_words(found))


def check(file: OwnFile, request: Request, brought: Brought) -> Check | None:
    """Draw the first check: its images, its progress, and what it found; what is known of the network as it stands."""
    st.subheader("First check")
    st.caption(
        "A network that is fed otherwise than in its training still answers, only worse, and its heatmaps look as "
        "sound as ever. So some images are run through it as you chose and under the likely alternatives."
    )
    _adopt()
    known: Check | None = st.session_state.get(CHECKS, {}).get(own_network_data.key_of(file, request))
    choices = st.container()  # drawn also meanwhile: widgets that go away may lose their values
    busy = engaged(PANEL)
    if not busy:
        PANEL.say_refused()
        PANEL.say_error()
    with choices:
        _choose(file, request, brought, busy)
    if known is None:
        st.info("Not checked yet as it stands. Run the check before you trust a heatmap of it.")
    else:
        _show(known)
    return known


def _adopt() -> None:
    """Note what the last check found."""
    job = _place().job
    if job is not None and not job.running and isinstance(job.outcome, Check):
        st.session_state.setdefault(CHECKS, {})[job.about] = job.outcome


def _choose(file: OwnFile, request: Request, brought: Brought, busy: bool) -> None:
    names, called = [*dataset_images.names().values(), SAMPLES], own_shelf.words()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = widgets.one_of(
            "Images to try it on",
            f"own_check_data {request.dataset}",
            names,
            _usual(request, names),
            lambda one: "Sample photographs (no right answers)" if one == SAMPLES else called(one),
            help="Their classes are found among the network's by name. Pictures of your own are offered once you "
            "have uploaded them, under Images.",
        )
        split, count = ("", 0) if name == SAMPLES else (_split(name), _count())
    title = f"First check on {own_shelf.spoken(name)}"
    about = own_network_data.key_of(file, request)

    def start() -> None:
        work = (
            _samples(brought)
            if name == SAMPLES
            else _labelled(brought, dataset_images.opened(name, split), count)
        )
        PANEL.start(title, work, about)

    help_words = "Seconds to a few minutes; you can cancel."
    label, icon = "Run the first check", ":material/play_arrow:"
    if st.button(label, icon=icon, help=help_words, disabled=busy):
        start()
        st.rerun()


def _usual(request: Request, names: list[str]) -> str:
    """What it was trained on, else the visitor's own pictures, else photographs."""
    own = [*own_shelf.datasets().values()]
    return next((name for name in (request.dataset, *own) if name in names), SAMPLES)


def _split(name: str) -> str:
    splits = dataset(name).splits
    usual = "all" if "all" in splits else "test"
    help_words = "Take images that the network was not trained on."
    return widgets.one_of("Their split", f"own_check_split {name}", splits, usual, help=help_words)


def _count() -> int:
    help_words = "Spread evenly over the classes. With more, intervals get narrower."
    return int(
        widgets.number(
            "How many",
            "own_check_count",
            (FEWEST, MOST),
            own_network.IMAGES,
            STEP,
            st.number_input,
            help=help_words,
        )
    )


def _labelled(brought: Brought, images: ImageSource, count: int) -> Work[object]:
    return lambda report, cancelled: own_network.check(brought.model, images, count, _told(report, cancelled))


def _samples(brought: Brought) -> Work[object]:
    return lambda report, cancelled: own_network.check_samples(brought.model, _told(report, cancelled))


def _told(report: Report, cancelled: Callable[[], bool]) -> own_network.Progress:
    def tell(done: int, total: int, what: str) -> None:
        report(done, total, what)
        if cancelled():
            raise Cancelled("it was cancelled.")

    return tell


def _show(found: Check) -> None:
    for sentence in found.sentences:
        st.markdown(widgets.plain(sentence))
    widgets.table(tables.as_words(found.table()))
    st.caption(
        "Accuracies have Wilson's 95 % interval; p says how likely a difference to the chosen way as large as this one "
        "is by chance (McNemar's exact test, Holm-corrected). Entropy is the share of the largest there is: near 100 % "
        "the network says nothing."
    )
