"""Comparisons for the page: what is kept of them, and the job that makes more."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Any

from data.datasets import ImageSource, open_dataset
from xai.compare import kept, run
from xai.compare.bench import Bench
from xai.compare.run import Compared
from xai.compare.sections import Section
from xai.compare.study import Study
from xai.evaluation import Cancelled
from xai.evaluation_store import data_sha256
from xai.result_folders import signature
from xai.ui import dataset_images, explaining
from xai.ui.job import Report, Work
from xai.ui.job_panel import Words, panel

PANEL = panel(
    "comparison",
    Words(
        "hundredths",
        "Cancel the comparison",
        "It ends after the step at hand; parts that are done stay.",
        "It goes on when you look at another page, and everybody on this server sees its results.",
        digits=1,
    ),
)


def compared(study: Study) -> Compared | None:
    """What is known of a study, read once as long as its files stay the same; None where nothing is."""
    key = ("comparison", state_of(study))
    found: list[Compared | None] = explaining.results()(
        key, lambda: [kept.find(study, explaining.cards(), _digest(study))]
    )
    return found[0]


def state_of(study: Study) -> Hashable:
    """What tells what is known of a study from what is known of it, or of another, at another moment."""
    cards = explaining.cards()
    where = kept.place(study, cards, _digest(study))
    hashes = tuple(cards[name].sha256 for name in study.models)
    return (kept.plain(study), hashes, signature(where) if where.is_dir() else ())


def _digest(study: Study) -> str:
    """The hash of the images of a user's own folder, which may change."""
    if ":" not in study.dataset:
        return ""
    data = dataset_images.opened(study.dataset, study.split)
    found: str = dataset_images.memo()(("digest", study.dataset, study.split), lambda: data_sha256(data))
    return found


def bench_of(study: Study) -> Bench:
    """The networks and images of a study at hand; images are opened once for all visitors."""

    def opened(name: str, split: str, progress: Any) -> ImageSource:
        return dataset_images.opened(name, split)

    return Bench(study, explaining.model, explaining.cards, opened=opened)


def server_bench(study: Study, cancelled: Callable[[], bool] = lambda: False) -> Bench:
    """The same for work in the background, which has no page to draw on."""
    return Bench(study, explaining.model, explaining.cards, None, cancelled, open_dataset)


def work(study: Study, sections: tuple[Section, ...]) -> Work[None]:
    """What measures sections, one after another, and keeps the rows of each as soon as it is done."""

    def run_sections(report: Report, cancelled: Any) -> None:
        bench = server_bench(study, cancelled)
        images = data_sha256(bench.split(study.split)) if ":" in study.dataset else ""
        where = kept.place(study, explaining.cards(), images)
        kept.keep_facts(where, bench.facts)
        with suppress(Cancelled):
            told = lambda done, total, what: report(100 * done / total, 100, what)  # noqa: E731
            done = run.run(bench, where / kept.ROWS, [each.name for each in sections], told)
            if done.failed:
                raise ValueError(" ".join(done.failed.values()))

    return run_sections
