"""What the visitors of the soak test do: read, bring pictures, start long jobs, vanish in the middle of things."""

from __future__ import annotations

import asyncio
import io
import random
import re
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from tests.soak_answers import Asked, Seen
from tests.soak_browser import Window, window
from tests.soak_client import Client, client

STEP, MOST = 0.25, 5.0
SCENES, SMALL = 1000, 100
"""Scenes to look at, and images of a sweep."""
HAPPENS = ("pictures brought", "sweeps asked for", "uploads broken off")
PRESSES = 8
"""Severities that a visitor looks at before the next picture."""


@dataclass
class Log:
    """What all visitors did and saw; latencies in seconds from a severity that is chosen to the new figure."""

    latencies: list[float] = field(default_factory=list)
    visits: list[float] = field(default_factory=list)
    answers: list[tuple[Asked, Seen]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    here: int = 0
    most_here: int = 0

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """Count a visitor who is there."""
        self.here += 1
        self.most_here = max(self.most_here, self.here)
        try:
            yield
        finally:
            self.here -= 1

    def count(self, what: str, number: int = 1) -> None:
        """Note that something happened."""
        self.counts[what] = self.counts.get(what, 0) + number


@dataclass(frozen=True)
class World:
    """Where visitors are, how long they stay (`end`, of the monotonic clock), and how long they think, in seconds."""

    browser: Any
    url: str
    models: tuple[str, ...]
    end: float
    think: float
    log: Log
    enough: int = 0

    @property
    def over(self) -> bool:
        """Whether it is time to go: it is late, or there are `enough` answers (0: there never are) and all has
        happened once."""
        enough = 0 < self.enough <= len(self.log.answers) and set(HAPPENS) <= self.log.counts.keys()
        return enough or time.monotonic() > self.end

    async def thinking(self, draw: random.Random) -> None:
        """A pause, from half to one and a half times the usual."""
        left = max(0.0, self.end - time.monotonic())
        await asyncio.sleep(min(draw.uniform(0.5, 1.5) * self.think, left))

    @asynccontextmanager
    async def visitor(self) -> AsyncIterator[Client]:
        """Somebody without a screen who has never been here."""
        with self.log.one_more():
            async with client(self.url) as found:
                yield found

    @asynccontextmanager
    async def reading(self, screen: bool) -> AsyncIterator[Window | Client]:
        """Somebody who has never been here, with a real browser or without a screen."""
        if not screen:
            async with self.visitor() as found:
                yield found
            return
        with self.log.one_more():
            async with window(self.browser, self.url) as found:
                yield found


def own_picture(number: int) -> tuple[str, bytes]:
    """A picture that nobody else has: noise around a colour."""
    from PIL import Image

    draw = random.Random(number)
    low = [draw.randrange(120) for _ in range(3)]
    noise = bytes(low[at % 3] + draw.randrange(100) for at in range(3 * 96 * 96))
    buffer = io.BytesIO()
    Image.frombytes("RGB", (96, 96), noise).save(buffer, "PNG")
    return f"own-{number}.png", buffer.getvalue()


async def _look(world: World, place: Window | Client, asked: Asked, draw: random.Random) -> None:
    """Open one picture and look at several severities of it."""
    begin = time.perf_counter()
    world.log.answers.append((asked, await place.open(asked)))
    world.log.visits.append(time.perf_counter() - begin)
    for _ in range(PRESSES):
        await world.thinking(draw)
        if world.over:
            return
        asked = replace(asked, severity=asked.severity + (STEP if asked.severity < MOST else -STEP))
        took, seen = await place.change(asked.severity)
        world.log.latencies.append(took)
        world.log.answers.append((asked, seen))


async def reader(world: World, number: int, screen: bool) -> None:
    """Looks at scenes nobody else looks at, and comes again for each."""
    draw, turn = random.Random(number), 0
    while not world.over:
        asked = Asked(world.models, (37 * number + turn) % SCENES, SCENES * number + turn, 1.0)
        async with world.reading(screen) as place:
            await _look(world, place, asked, draw)
        turn += 1


async def uploader(world: World, number: int, screen: bool) -> None:
    """Brings pictures of their own."""
    draw, turn = random.Random(number), 0
    while not world.over:
        picture = own_picture(SCENES * number + turn)
        async with world.reading(screen) as place:
            world.log.count("pictures brought")
            await _look(world, place, Asked(world.models, 0, turn, 1.0, upload=picture), draw)
        turn += 1


async def sweeper(world: World, number: int, _screen: bool) -> None:
    """Starts small sweeps, waits in line and for their end, or leaves."""
    draw, turn = random.Random(number), 0
    while not world.over:
        async with world.visitor() as place:
            await _sweep(world, place, SMALL * (1 + turn % 5))
        turn += 1
        await world.thinking(draw)


async def _sweep(world: World, place: Client, images: int) -> None:
    place.query = f"sweep_images={images}"
    await place.open_page("robustness")
    await place.run(press=place.press("Start: "))
    world.log.count("sweeps asked for")
    leaves = min(world.end, time.monotonic() + 10 * world.think)
    while time.monotonic() < leaves and place.fragments:
        await asyncio.sleep(1)
        await place.run(fragment=next(iter(place.fragments)))
        if re.search(r"waiting, place \d+ of \d+ in line", place.text()):
            world.log.count("looks at a place in line")
    if "cells computed" in place.text():
        world.log.count("sweeps seen to their end")


async def vanisher(world: World, number: int, _screen: bool) -> None:
    """Ends in the middle of an upload, and of a page."""
    draw = random.Random(number)
    while not world.over:
        async with world.visitor() as place:
            place.query = f"source=upload&seed={number}"
            await place.run()
            await place.half_an_upload()
            world.log.count("uploads broken off")
            place.query = f"scene={draw.randrange(SCENES)}&severity=2&seed={number}"
            await place.vanish()
        world.log.count("left while the page was drawn")
        await asyncio.sleep(1)
        await world.thinking(draw)


Kind = Callable[[World, int, bool], Coroutine[Any, Any, None]]
KINDS: tuple[Kind, ...] = (
    reader,
    uploader,
    vanisher,
    sweeper,
    reader,
    reader,
    reader,
    reader,
    reader,
    sweeper,
)
"""What each of ten visitors does."""


async def lives(world: World, number: int, screen: bool, arrives: float) -> None:
    """One visitor until the end, who comes after `arrives` seconds; what goes wrong is noted, and they come back."""
    await asyncio.sleep(arrives)
    kind = KINDS[number % len(KINDS)]
    while not world.over:
        try:
            await kind(world, number, screen)
        except Exception as error:
            if not world.over:
                words = f"{kind.__name__} {number}: {type(error).__name__}: {str(error)[:300]}"
                world.log.failures.append(words)
            await asyncio.sleep(1)
