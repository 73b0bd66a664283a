"""The server's one training: what it takes, its work in the background, its curves while it runs."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import streamlit as st

from data.storage import cache_folder
from models.recipes import FITTED, fitted
from xai import figure_networks, figures, network_curves, own_training, training
from xai.network_curves import Curve, CurveError
from xai.network_table import accuracy_words
from xai.own_training import Cost, Outcome, Wish
from xai.ui import explaining, own_shelf, train_choice, widgets
from xai.ui.job import Job, Report, Work
from xai.ui.job_panel import Words, panel
from xai.ui.train_choice import Pictures

PANEL = panel(
    "training",
    Words(
        "steps",
        "Cancel the training",
        "It ends after the batch at hand; the best epoch so far is measured and stays.",
        "It goes on when you look at another page. The server trains one network at a time.",
    ),
)
MOST_SECONDS = 600
"""What a training from the page may take; more is for the command line."""
MINE = "training_mine"
_STALE = 24 * 3600.0
_NAME = "trained"


@dataclass(eq=False)
class Live:
    """What can be seen of a training from outside: what was wished for, and the folder its epochs are stored in."""

    wish: Wish
    folder: Path | None = None
    validated: int | None = None
    """Images that the accuracy after each epoch rests on."""

    def curve(self) -> Curve:
        """The epochs that are done."""
        path = None if self.folder is None else self.folder / "curve.json"
        if path is None or not path.is_file():
            return []
        try:
            return network_curves.read_curve(path, _NAME)
        except CurveError:
            return []

    def forget(self) -> None:
        """Remove what was stored."""
        if self.folder is not None:
            shutil.rmtree(self.folder.parent, ignore_errors=True)


def cost(wish: Wish, pictures: Pictures, samples: int) -> Cost:
    """What a training takes, measured once for all that differ in length alone; raises `ValueError`."""
    size = fitted(wish.recipe(), samples).batch_size
    what = (wish.architecture, sorted(wish.options.items()), wish.learn, len(pictures.classes), pictures.size)

    def measure() -> Cost:
        with st.spinner("Measuring one batch."):
            return own_training.cost(wish, len(pictures.classes), pictures.size, samples)

    found: Cost = explaining.results()(("cost of a training", repr(what), size), measure)
    return found


def start(wish: Wish) -> None:
    """Start the training for this visitor, who alone is shown what comes of it."""
    title = f"Training of {wish.initial or wish.architecture} on {train_choice.spoken(wish.dataset)}"
    live, before = Live(wish), mine()
    job = PANEL.begin(title, work(live), about=live)
    if job is None:
        return
    st.session_state[MINE] = job
    if before is not None:
        _forget(before)
    own_shelf.shelf().also("training", partial(_forget, job))


def _forget(job: Job[Any]) -> None:
    """Remove what an ended training stored; one that is at work keeps its folder until it is stale."""
    if isinstance(job.about, Live) and not job.running:
        job.about.forget()


def mine() -> Job[Outcome] | None:
    """The last training that was started in this session."""
    job: Job[Outcome] | None = st.session_state.get(MINE)
    return job


def work(live: Live) -> Work[Outcome]:
    """The training as a job: its steps are batches, its outcome the measured network in a folder of the cache."""

    wish = live.wish

    def run(report: Report, cancelled: Callable[[], bool]) -> Outcome:
        plan = training.prepare(
            wish.architecture,
            wish.dataset,
            _folder(),
            seed=wish.seed,
            recipe=wish.recipe(),
            options=dict(wish.options),
            limit=wish.limit,
            progress=lambda done, total, what: report(0, 1, f"{what}: {done:,} of {total:,}"),
            name=_NAME,
            fit=FITTED,
        )
        live.folder, live.validated = plan.folder, len(plan.splits["validation"])
        card = training.run(plan, partial(_tell, report, wish.epochs), cancelled)
        return own_training.outcome(plan, card)

    return run


def _tell(
    report: Report, epochs: int, epoch: int, step: int, steps: int, loss: float, accuracy: float
) -> None:
    words = f"Epoch {epoch + 1} of {epochs}: training loss {loss:.3f}, accuracy {100 * accuracy:.1f} %."
    report(epoch * steps + step, epochs * steps, words)


def _folder() -> Path:
    """A new folder for one training; those that a server left behind are removed."""
    root = cache_folder() / "trainings"
    root.mkdir(parents=True, exist_ok=True)
    for path in root.iterdir():
        if path.stat().st_mtime < time.time() - _STALE:
            shutil.rmtree(path, ignore_errors=True)
    return Path(tempfile.mkdtemp(dir=root))


def show_curves(live: Live) -> None:
    """The curves so far, drawn once for each epoch."""
    curve = live.curve()
    if not curve:
        st.caption("The curves begin with the first whole epoch.")
        return

    def draw() -> bytes:
        return figures.render(
            figure_networks.curves_figure([("", curve)]), "png", explaining.PAGE_DPI, quick=True
        )

    last = curve[-1]
    found = accuracy_words(last["validation_accuracy"], live.validated)
    words = f"Validation accuracy after epoch {len(curve)}: {found}."
    key = ("curves of a training", str(live.folder), len(curve))
    st.image(explaining.results()(key, draw), alt=words)
    st.caption(widgets.plain(words))
