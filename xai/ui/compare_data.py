"""Comparisons for the page: what is kept of them, and the job that makes more."""

from __future__ import annotations

from typing import Any

import streamlit as st

from data.datasets import ImageSource
from xai.compare import kept, store
from xai.compare.bench import Bench
from xai.compare.run import Compared, measured
from xai.compare.sections import Section
from xai.compare.study import Study
from xai.evaluation import Cancelled
from xai.evaluation_store import data_sha256
from xai.results import signature
from xai.ui import dataset_images, explaining
from xai.ui.job import Place, Report, Work
from xai.ui.job_panel import Panel, Words


@st.cache_resource(show_spinner=False)
def place() -> Place:
    """Where the server's one comparison at a time runs."""
    return Place()


PANEL = Panel(
    "comparison",
    place,
    Words(
        "parts",
        "Cancel the comparison",
        "It ends after the step at hand; parts that are done stay.",
        "It goes on when you look at another page, and everybody on this server sees its results.",
        digits=1,
    ),
)


def compared(study: Study) -> Compared | None:
    """What is known of a study, read once as long as its files stay the same; None where nothing is."""
    cards = explaining.cards()
    hashes = tuple(cards[name].sha256 for name in study.models)
    where = kept.place(study, cards, _digest(study))
    key = ("comparison", study, hashes, signature(where) if where.is_dir() else ())
    found: list[Compared | None] = explaining.results()(
        key, lambda: [kept.find(study, cards, _digest(study))]
    )
    return found[0]


def _digest(study: Study) -> str:
    """The hash of the images of a user's own folder, which may change."""
    if ":" not in study.dataset:
        return ""
    data = dataset_images.opened(study.dataset, study.split)
    found: str = dataset_images.memo()(("digest", study.dataset, study.split), lambda: data_sha256(data))
    return found


def bench_of(study: Study, report: Report | None = None, cancelled: Any = lambda: False) -> Bench:
    """The networks and images of a study at hand; images are opened once for all visitors."""

    def opened(name: str, split: str, progress: Any) -> ImageSource:
        return dataset_images.opened(name, split)

    return Bench(study, explaining.model, explaining.cards, report, cancelled, opened)


def work(study: Study, sections: tuple[Section, ...]) -> Work[None]:
    """What measures sections, one after another, and keeps the rows of each."""

    def run(report: Report, cancelled: Any) -> None:
        from data.datasets import open_dataset

        state = [0]

        def tell(done: int, total: int, what: str) -> None:
            share = done / total if total else 0.0
            report(state[0] + 0.99 * share, len(sections), what)

        cards = explaining.cards()
        bench = Bench(study, explaining.model, explaining.cards, tell, cancelled, open_dataset)
        where = kept.place(
            study, cards, data_sha256(bench.split(study.split)) if ":" in study.dataset else ""
        )
        try:
            kept.keep_facts(where, bench.facts)
            for number, section in enumerate(sections):
                state[0] = number
                if (
                    not section.applies(bench.facts)
                    and store.read(where / kept.ROWS, bench.facts, section) is None
                ):
                    measured(bench, section, where / kept.ROWS)
        except Cancelled:
            return

    return run
