"""How fast the Errors page is over a large folder of results, in a real browser: `python -m tests.measure_errors`.

Makes up the answers of 10 networks to 10,000 images under 40 conditions (their numbers mean nothing), opens the page
on them and prints a table with the targets. Numbers depend on what else runs, so the machine's load stands beside
them; no test asserts them. A folder named on the command line is made once and used again.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from data.cifar import CLASSES
from data.corruption_constants import default_scale
from data.datasets import DatasetError, open_dataset
from data.degradations import DEGRADATIONS, degradations_in, parameters
from tests.app_server import CHROMIUM_FLAGS, ROOT, Server, chromium, running_app
from tests.measure_app import Row, at_rest, empty_app, resident_megabytes, visitor
from xai.evaluation_grid import CLEAN, Cell
from xai.evaluation_store import FORMAT, data_sha256
from xai.predictions import Predictions
from xai.predictions_file import write

NETWORKS, CONDITIONS, IMAGES, DATASET = 10, 40, 10_000, "cifar10-jpeg"
OPENS, ANSWERS = 2.0, 0.3
"""Targets in seconds."""
CARD = "[data-testid='stMain'] ul[aria-label^='Images, page'] a"
WATCH = """() => {
    const words = () => {
        const cards = [...document.querySelectorAll('[data-testid=stMain] *')].find(e => e.shadowRoot)
        return cards ? cards.shadowRoot.querySelector("ul").textContent
            : document.querySelector("[data-testid=stMarkdown]").textContent
    }
    const before = words()
    const look = () => words() === before ? setTimeout(look, 5) : window.shown = performance.now()
    const start = () => { window.begun ??= performance.now(); look() }
    window.begun = window.shown = undefined
    for (const name of ["pointerup", "keydown"])
        document.addEventListener(name, start, { once: true, capture: true })
} """
"""Times in the browser: from a key or the end of a click to other cards (without cards, to other words)."""
ROUNDS = 5
SETTLED = 500
"""Milliseconds from opening a list to choosing of it: that the list opens is no part of the answer."""


def conditions() -> list[tuple[str, str, float]]:
    """Degradation, scale and severity: the clean one and as many of CIFAR-10-C as are needed."""
    scale = default_scale(32, 32)
    degraded = [(name, scale, float(k)) for name in degradations_in(scale) for k in range(1, 6)]
    return [(CLEAN, "", 0.0), *degraded][:CONDITIONS]


def images() -> tuple[tuple[str, ...], np.ndarray, str]:
    """Ids, labels and hash of the images: those of the test split if it is here, so that there are pictures."""
    try:
        data = open_dataset(DATASET, "test")
        return data.ids, data.labels.numpy(), data_sha256(data)
    except DatasetError:
        labels = np.repeat(np.arange(len(CLASSES)), IMAGES // len(CLASSES))
        ids = tuple(f"test/{CLASSES[k]}/{n % 1000:04d}" for n, k in enumerate(labels))
        return ids, labels, "0" * 64


def make(folder: Path) -> None:
    """Fill a folder with valid cells; those of clean images with all probabilities."""
    ids, labels, digest = images()
    for network in range(NETWORKS):
        name = f"made-up-{network}"
        for place, condition in enumerate(conditions()):
            rows = _answers(ids, labels, network, place)
            cell = _cell(name, *condition)
            path = folder / cell.path
            path.parent.mkdir(parents=True, exist_ok=True)
            full = condition[0] == CLEAN
            facts = _facts(cell, digest) | {"form": "full" if full else "compact"}
            write(path, rows if full else rows.compact(), facts)


def _answers(ids: tuple[str, ...], labels: np.ndarray, network: int, place: int) -> Predictions:
    """Softmax answers that are right less often the later the condition; images are hard for all networks alike."""
    shared, own = np.random.default_rng(1), np.random.default_rng((2, network, place))
    scores = 1.5 * shared.normal(size=(len(labels), len(CLASSES))) + own.normal(
        size=(len(labels), len(CLASSES))
    )
    scores[np.arange(len(labels)), labels] += 4.5 - 3 * (place % 5) / 5
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    halves = (shares / shares.sum(axis=1, keepdims=True)).astype(np.float16)
    return Predictions(ids, labels, halves.argmax(axis=1), halves)


def _cell(name: str, degradation: str, scale: str, severity: float) -> Cell:
    version = 0 if degradation == CLEAN else DEGRADATIONS[degradation].version
    sha256 = hashlib.sha256(name.encode()).hexdigest()
    return Cell(DATASET, "test", name, sha256, degradation, scale, severity, 0, version)


def _facts(cell: Cell, digest: str) -> dict[str, str]:
    degraded = cell.degradation != CLEAN
    constants = parameters(cell.degradation, cell.severity, cell.scale, 32) if degraded else {}
    texts = {name: str(value) for name, value in asdict(cell).items()}
    more = {"classes": list(CLASSES), "constants": constants, "versions": {"torch": "made up"}}
    return {"format": FORMAT, **texts, "data_sha256": digest} | {k: json.dumps(v) for k, v in more.items()}


def opened(page: Any, url: str) -> float:
    """Seconds from the address to the images of the page, and until its script has ended."""
    begin = time.perf_counter()
    page.goto(url)
    page.locator(CARD).first.wait_for()
    at_rest(page)
    return time.perf_counter() - begin


def answered(page: Any, act: Callable[[], None]) -> float:
    """Seconds from a key or click to other cards."""
    page.evaluate(WATCH)
    act()
    page.wait_for_function("() => window.shown > 0")
    at_rest(page)
    seconds: float = page.evaluate("(window.shown - window.begun) / 1000")
    return seconds


def choose(page: Any, label: str, option: str) -> Callable[[], None]:
    """Open a select box and return what takes one of its options."""
    box = page.get_by_role("combobox", name=label)
    box.click()
    box.fill(option)  # a long list has only what is in sight
    found = page.get_by_role("option", name=option, exact=True)
    found.wait_for()
    page.wait_for_timeout(SETTLED)
    return lambda: found.click()


def page_of(page: Any, number: int) -> Callable[[], None]:
    """What goes to another page of images."""
    field = page.get_by_role("spinbutton", name="Page, of")
    field.fill(str(number))
    page.wait_for_timeout(SETTLED)
    return lambda: field.press("Enter")


KIND_WORDS = (
    "A right, B wrong",
    "both wrong",
    "wrong for all networks",
    "only A right of all networks",
    "all images",
)
ORDER_WORDS = (
    "confidence",
    "disagreement of A and B on the label",
    "probability of the label that A loses",
    "order of the dataset",
    "margin (confidence less probability of the label)",
)
CONDITION_WORDS = tuple(
    f"{title}, {k} of 5"
    for title, k in (
        ("Gaussian noise", 1),
        ("Shot noise", 2),
        ("Zoom blur", 3),
        ("Gaussian noise", 4),
        ("Shot noise", 5),
    )
)
CHOICES: dict[str, Callable[[Any, int], Callable[[], None]]] = {
    "another page of images": lambda page, k: page_of(page, 2 + k),
    "another class": lambda page, k: choose(page, "True class", CLASSES[k]),
    "another kind of image": lambda page, k: choose(page, "Which images", KIND_WORDS[k]),
    "another order": lambda page, k: choose(page, "Sorted by", ORDER_WORDS[k]),
    "another condition": lambda page, k: choose(page, "Condition", CONDITION_WORDS[k]),
    "another network": lambda page, k: choose(page, "Network A", f"made-up-{2 + k}"),
}


def choices(page: Any, part: str) -> Iterator[Row]:
    """The median and the slowest of five of every kind of choice."""
    for what, act in CHOICES.items():
        times = []
        for k in range(ROUNDS):
            times.append(answered(page, act(page, k)))
            page.wait_for_timeout(300)
        yield Row(f"{part}: {what}", statistics.median(times), "s", ANSWERS)
        yield Row(f"{part}: {what}, the slowest of {ROUNDS}", max(times), "s")


BARE = """import streamlit as st
st.title("Explain a decision")
number = st.number_input("Page, of", 1, 50)
st.markdown(f"Page {number}")
"""


def bare_answers(browser: Any) -> Iterator[Row]:
    """What Streamlit and the browser take to answer with one number."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(ROOT / ".streamlit", folder / ".streamlit")
        (folder / "app.py").write_text(BARE, encoding="utf-8")
        with running_app(folder=folder) as server, visitor(browser) as page:
            page.goto(server.url)
            page.get_by_role("spinbutton", name="Page, of").wait_for()
            page.wait_for_timeout(2 * SETTLED)
            times = [answered(page, page_of(page, 2 + k)) for k in range(ROUNDS)]
    yield Row("an app with one number field: another number", statistics.median(times), "s")


def measure(browser: Any, server: Server) -> Iterator[Row]:
    """All rows, in the order in which they are measured."""
    url = f"{server.url}/errors"
    with visitor(browser) as page:
        yield Row("a cold server, which imports and lists everything: page open", opened(page, url), "s")
        page.wait_for_timeout(8_000)
    times = []
    for _ in range(ROUNDS):
        with visitor(browser) as page:
            times.append(opened(page, url))
    yield Row("later visitors: page open", statistics.median(times), "s", OPENS)
    for part in ("classes", "confusions", "transitions"):
        with visitor(browser) as page:
            opened(page, f"{url}?table={part}")
            page.wait_for_timeout(1_000)
            yield from choices(page, part)
    yield Row("resident memory of the server", resident_megabytes(server), "MB", 1000)


def main() -> int:
    """Print the table; 1 when a target is missed."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(name)
        if not any(folder.rglob("*.parquet")):
            make(folder)
        os.environ["XAI_RESULTS"] = str(folder)
        load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
        print(f"{os.cpu_count()} cores, load before (1, 5, 15 minutes): {load}")
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(CHROMIUM_FLAGS))
        with running_app() as server:
            rows = []
            for row in itertools.chain(empty_app(browser), bare_answers(browser), measure(browser, server)):
                rows.append(row)
                print(row.words(), flush=True)
        browser.close()
    return int(any(row.missed for row in rows))


if __name__ == "__main__":
    sys.exit(main())
