"""Many visitors at once: `python -m tests.soak --minutes 10 --browsers 20` starts a server and prints what it bore.

Of all visitors `--screens` have a real browser, a context of their own in one Chromium; the others speak to the server
as a browser does, without drawing what comes (twenty Chromium pages take more of two cores than the server). After a
warm-up, latencies are taken from a severity that is chosen to the new figure. Every answer is compared with one
computed apart from the server: description, sentences and the bytes of the figure. Exits 1 where the 95th percentile
reaches its target, an answer is wrong or missing, or memory grows beyond its bound.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import soak_answers
from tests.app_server import CHROMIUM_FLAGS, Server, chromium, running_app
from tests.measure_app import resident_megabytes
from tests.soak_visitors import KINDS, Log, World, lives, reader, uploader

TARGET = 3.0
"""Seconds that the 95th percentile of a severity change must stay below."""
MOST_MINUTES, MOST_BROWSERS = 120.0, 100
WARM_UP = 0.2
"""The share of the time, of a minute at most, whose latencies are left out: imports, first loads."""


@dataclass(frozen=True)
class Options:
    """How long, how many, how long they think in seconds, and the most memory in MB that the server may gain."""

    minutes: float = 10.0
    browsers: int = 20
    screens: int = 2
    think: float = 10.0
    growth: float = 1_000.0
    enough: int = 0
    """Answers after which all go, if everything has happened once; 0 for none."""


@dataclass
class Outcome:
    """What the server bore; memory in MB: once warm, at its peak, at the end."""

    log: Log
    minutes: float = 0.0
    started: float = 0.0
    peak: float = 0.0
    ended: float = 0.0
    alive: bool = True
    wrong: list[str] = field(default_factory=list)
    cold: int = 0
    """Latencies of the warm-up, which come first."""

    @property
    def warm(self) -> list[float]:
        """Latencies after the warm-up, in seconds."""
        return self.log.latencies[self.cold :]

    def problems(self, growth: float) -> list[str]:
        """What went wrong, speed aside."""
        found = [*self.wrong, *self.log.failures]
        if not self.alive:
            found.append("the server ended.")
        if self.ended - self.started > growth:
            found.append(f"memory grew by {self.ended - self.started:,.0f} MB; allowed are {growth:,.0f}.")
        return found


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value that so many percent of the values do not exceed; NaN of none."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] if ordered else float("nan")


def default_models() -> tuple[str, ...]:
    """The two networks of a first visit."""
    from models import zoo
    from xai.ui import explaining

    return tuple(name for name in explaining.first_choice(tuple(zoo.cards())) if name)


async def _watch(server: Server, outcome: Outcome, world: World, warm: float) -> None:
    """Note the memory every second, and when the warm-up is over."""
    while not world.over:
        outcome.peak = max(outcome.peak, resident_megabytes(server))
        if not outcome.started and time.monotonic() > warm:
            outcome.started, outcome.cold = resident_megabytes(server), len(outcome.log.latencies)
        await asyncio.sleep(1)
    outcome.ended = resident_megabytes(server)


@asynccontextmanager
async def _chromium(needed: bool) -> AsyncIterator[Any]:
    """A headless Chromium, where there are visitors with a screen."""
    if not needed:
        yield None
        return
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=list(CHROMIUM_FLAGS))
        yield browser
        await browser.close()


async def _soak(server: Server, options: Options) -> Outcome:
    async with _chromium(options.screens > 0) as browser:
        begin = time.monotonic()
        end, warm = begin + 60 * options.minutes, min(60.0, WARM_UP * 60 * options.minutes)
        outcome = Outcome(Log(), options.minutes)
        models = default_models()
        world = World(browser, server.url, models, end, options.think, outcome.log, options.enough)
        visitors = [
            lives(world, number, _has_screen(number, options.screens), 0.8 * warm * number / options.browsers)
            for number in range(options.browsers)
        ]
        await asyncio.gather(_watch(server, outcome, world, begin + warm), *visitors)
        outcome.minutes = (time.monotonic() - begin) / 60
    return outcome


def _has_screen(number: int, screens: int) -> bool:
    """Readers first: those who sweep and vanish never have one."""
    readers = [at for at in range(MOST_BROWSERS) if KINDS[at % len(KINDS)] in (reader, uploader)]
    return number in readers[:screens]


def run(options: Options, log: Path | None = None) -> Outcome:
    """Start a server with results of its own, let visitors loose on it, and judge every answer afterwards."""
    with tempfile.TemporaryDirectory() as name, running_app(log, environment={"XAI_RESULTS": name}) as server:
        outcome = asyncio.run(_soak(server, options))
        outcome.alive = _answers(server)
    outcome.wrong = judged(outcome)
    return outcome


def _answers(server: Server) -> bool:
    from urllib.request import urlopen

    with urlopen(f"{server.url}/_stcore/health", timeout=30) as answer:
        return bool(answer.status == 200)


def judged(outcome: Outcome, workers: int = 2) -> list[str]:
    """What is wrong with the answers; with a few they are judged in this process."""
    answers = outcome.log.answers
    if len(answers) < 100:
        return soak_answers.problems(answers)
    parts = [answers[first::workers] for first in range(workers)]
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        return [found for part in pool.map(soak_answers.problems, parts) for found in part]


def report(outcome: Outcome, options: Options) -> list[str]:
    """The lines that are printed."""
    log, warm = outcome.log, outcome.warm
    actions = len(log.latencies) + len(log.visits)
    worst = max(warm, default=float("nan"))
    middle = statistics.median(warm) if warm else float("nan")
    counted = ", ".join(f"{number} {what}" for what, number in sorted(log.counts.items()))
    return [
        f"{options.browsers} visitors, {options.screens} with a real browser, for {options.minutes:g} minutes, "
        f"{options.think:g} s between actions; "
        f"at most {log.most_here} there at once, {actions / outcome.minutes:.0f} answers a minute.",
        f"Also: {counted or 'nothing'}.",
        f"Severity to new figure ({len(warm)}, after the warm-up): median {middle:.2f} s, "
        f"p95 {percentile(warm, 95):.2f} s, longest {worst:.2f} s; target p95 below {TARGET:g} s.",
        f"Address to first figure ({len(log.visits)}): median {percentile(log.visits, 50):.2f} s, "
        f"p95 {percentile(log.visits, 95):.2f} s.",
        f"Answers judged: {len(log.answers)}; wrong: {len(outcome.wrong)}; failures: {len(log.failures)}.",
        f"Memory of the server: {outcome.started:,.0f} MB warm, {outcome.peak:,.0f} MB at its peak, "
        f"{outcome.ended:,.0f} MB at the end.",
    ]


def parsed(arguments: Sequence[str] | None = None) -> Options:
    """The options of the command line; ends the program where they are not allowed."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Many visitors at once.")
    usual = Options()
    parser.add_argument("--minutes", type=float, default=usual.minutes)
    parser.add_argument("--browsers", type=int, default=usual.browsers)
    parser.add_argument("--screens", type=int, default=usual.screens, help="those with a real browser")
    parser.add_argument(
        "--think", type=float, default=usual.think, help="seconds between a visitor's actions"
    )
    parser.add_argument("--growth", type=float, default=usual.growth, help="MB that the server may gain")
    given = parser.parse_args(arguments)
    if not (0 < given.minutes <= MOST_MINUTES and 1 <= given.browsers <= MOST_BROWSERS and given.think >= 0):
        parser.error(f"allowed are up to {MOST_MINUTES:g} minutes and 1 to {MOST_BROWSERS} browsers.")
    return Options(given.minutes, given.browsers, given.screens, given.think, given.growth)


def main() -> int:
    """Print what the server bore; 1 where it was too slow, wrong, or grew too much."""
    options = parsed()
    if options.screens and chromium() is None:
        print("soak needs a chromium on the PATH, or --screens 0.", file=sys.stderr)
        return 2
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{os.cpu_count()} cores, load before (1, 5, 15 minutes): {load}", flush=True)
    outcome = run(options)
    print("\n".join(report(outcome, options)))
    found = outcome.problems(options.growth)
    print("\n".join(found[:20]), file=sys.stderr)
    slow = not outcome.warm or percentile(outcome.warm, 95) >= TARGET
    return int(slow or bool(found))


if __name__ == "__main__":
    sys.exit(main())
