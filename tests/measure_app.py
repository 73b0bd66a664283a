"""How fast the app is, measured in a real browser: `python -m tests.measure_app` prints a table with the targets.

Numbers depend on what else runs, so the machine's load stands beside them; no test asserts them.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models import zoo
from tests.app_server import CHROMIUM_FLAGS, ROOT, Server, chromium, running_app

ROUNDS, PRESSES = 5, 8
WARM_MILLISECONDS = 10_000
"""After which the background imports have ended."""
TITLE = "Explain a decision"
FIGURE = "img[alt^='Figure for']"
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? -1"
REDRAWN = (
    f'before => {{ const i = document.querySelector("{FIGURE}"); '
    "return i && i.src !== before && i.complete }"
)


@dataclass(frozen=True)
class Row:
    """One number with its target."""

    what: str
    value: float
    unit: str
    target: float | None = None

    @property
    def missed(self) -> bool:
        """Whether there is a target and the value is above it."""
        return self.target is not None and self.value > self.target

    def words(self) -> str:
        """The row of the table."""
        aim = "" if self.target is None else f"target {self.target:g}, {'MISSED' if self.missed else 'met'}"
        return f"{self.what:<66} {self.value:>8.2f} {self.unit:<3} {aim}".rstrip()


@contextmanager
def visitor(browser: Any) -> Iterator[Any]:
    """A page of a visitor who has never been here."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(120_000)
    yield page
    context.close()


def at_rest(page: Any) -> None:
    """Wait until the page's script has ended."""
    page.locator("[data-testid='stApp'][data-test-script-state='notRunning']").wait_for()


def visit(page: Any, url: str, *, figure: bool = True) -> dict[str, float]:
    """Seconds of one visit: `server` from the browser's request for a run to the message with the title, `paint`
    from the address to the first contentful paint, `title` to the title on the page and `figure` to the heatmap."""
    asked: list[float] = []
    told: list[float] = []

    def sent(_frame: bytes | str) -> None:
        asked.append(time.perf_counter())

    def received(frame: bytes | str) -> None:
        if TITLE.encode() in (frame if isinstance(frame, bytes) else frame.encode()):
            told.append(time.perf_counter())

    page.on("websocket", lambda socket: (socket.on("framesent", sent), socket.on("framereceived", received)))
    begin = time.perf_counter()
    page.goto(url, wait_until="commit")
    page.get_by_role("heading", name=TITLE).wait_for()
    found = {"title": time.perf_counter() - begin}
    if figure:
        page.locator(FIGURE).wait_for()
        page.wait_for_function(f'document.querySelector("{FIGURE}").complete')
        found["figure"] = time.perf_counter() - begin
    return {**found, "server": told[0] - asked[0], "paint": page.evaluate(PAINTED) / 1000}


def redraw(page: Any) -> float:
    """Seconds from a key on the severity slider to the new figure: the median of severities never seen before."""
    times = []
    for _ in range(PRESSES):
        before = page.locator(FIGURE).evaluate("i => i.src")
        slider = page.get_by_role("slider", name="Severity")
        slider.focus()
        begin = time.perf_counter()
        slider.press("ArrowRight")
        page.wait_for_function(REDRAWN, arg=before)
        times.append(time.perf_counter() - begin)
        at_rest(page)
        page.wait_for_timeout(500)
    return statistics.median(times)


def resident_megabytes(server: Server) -> float:
    """Memory of the server's process and of those that it started; what they share counts in each."""
    return sum(map(_megabytes_of, _with_children(server.pid)))


def _with_children(process: int) -> list[int]:
    tasks = Path(f"/proc/{process}/task").glob("*/children")
    children = [int(child) for task in tasks for child in task.read_text(encoding="ascii").split()]
    return [process, *(each for child in children for each in _with_children(child))]


def _megabytes_of(process: int) -> float:
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    except FileNotFoundError:  # it has ended
        return 0.0
    found = next((line for line in status.splitlines() if line.startswith("VmRSS")), "VmRSS: 0")
    return int(found.split()[1]) / 1024


def small_network() -> str:
    """A ResNet-18 on 32 px pictures, else any ResNet-18."""
    cards = [card for card in zoo.cards().values() if card.architecture.startswith("resnet18")]
    return min(cards, key=lambda card: card.input_size).name if cards else next(iter(zoo.cards()))


def empty_app(browser: Any) -> Iterator[Row]:
    """What Streamlit and the browser take for a page with nothing but a title."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(ROOT / ".streamlit", folder / ".streamlit")
        (folder / "app.py").write_text(f"import streamlit as st\nst.title({TITLE!r})\n", encoding="utf-8")
        with running_app(folder=folder) as server:
            visits = []
            for _ in range(ROUNDS + 1):
                with visitor(browser) as page:
                    visits.append(visit(page, server.url, figure=False))
    yield Row("an empty Streamlit app, first visit: title in the browser", visits[0]["title"], "s")
    yield Row(
        "an empty Streamlit app, later visitors: title in the browser", _median(visits[1:], "title"), "s"
    )


def first_visit(browser: Any, server: Server) -> Iterator[Row]:
    """A cold server."""
    with visitor(browser) as page:
        found = visit(page, server.url)
        yield Row("first visit to a cold server: request to title, server's part", found["server"], "s", 0.6)
        yield Row("first visit to a cold server: title in the browser", found["title"], "s")
        yield Row("first visit to a cold server: first heatmap in the browser", found["figure"], "s", 3.0)
        at_rest(page)
        page.wait_for_timeout(WARM_MILLISECONDS)


def later_visits(browser: Any, server: Server) -> Iterator[Row]:
    """Visitors of a server that has imported everything."""
    visits = []
    for _ in range(ROUNDS):
        with visitor(browser) as page:
            visits.append(visit(page, server.url))
    yield Row("later visitors: request to title, server's part", _median(visits, "server"), "s", 0.3)
    yield Row("later visitors: title in the browser", _median(visits, "title"), "s")
    yield Row("later visitors: heatmap in the browser", _median(visits, "figure"), "s", 3.0)


def redraws(browser: Any, server: Server) -> Iterator[Row]:
    """The severity slider, with a small network and with the two of a first visit."""
    name = small_network()
    size = zoo.cards()[name].input_size
    rows = (
        (f"?a={name}&b=", f"{name} at {size} px", 0.5),
        ("?scene=7", "the two networks of a first visit", None),
    )
    for link, words, target in rows:
        with visitor(browser) as page:
            visit(page, f"{server.url}/{link}&severity=1")
            at_rest(page)
            page.wait_for_timeout(1000)
            yield Row(f"severity to new figure, {words}", redraw(page), "s", target)


def measure(browser: Any) -> Iterator[Row]:
    """All rows, in the order in which they are measured; times are medians where there are several."""
    yield from empty_app(browser)
    with running_app() as server:
        yield from first_visit(browser, server)
        yield from later_visits(browser, server)
        yield from redraws(browser, server)
        yield Row("resident memory of the server", resident_megabytes(server), "MB", 1000)


def _median(visits: list[dict[str, float]], name: str) -> float:
    return statistics.median(found[name] for found in visits)


def main() -> int:
    """Print the table; 1 when a target is missed."""
    from playwright.sync_api import sync_playwright

    if chromium() is None:
        print("measure_app needs a chromium on the PATH.", file=sys.stderr)
        return 2
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{os.cpu_count()} cores, load before (1, 5, 15 minutes): {load}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(CHROMIUM_FLAGS))
        rows = []
        for row in measure(browser):
            rows.append(row)
            print(row.words(), flush=True)
        browser.close()
    return int(any(row.missed for row in rows))


if __name__ == "__main__":
    sys.exit(main())
