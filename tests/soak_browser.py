"""A visitor of the soak test with a real browser: a context of its own in one Chromium."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.measure_app import FIGURE, REDRAWN
from tests.soak_answers import Asked, Seen

PATIENCE = 120_000
"""Milliseconds after which an answer that has not come is one that does not come."""
AT_REST = "[data-testid='stApp'][data-test-script-state='notRunning']"
MAIN = "[data-testid='stMainBlockContainer']"


class Window:
    """One page."""

    def __init__(self, page: Any, url: str) -> None:
        self.page, self.url, self._severity = page, url, 0.0

    async def seen(self) -> Seen:
        """What the page shows, once it is at rest."""
        await self.page.locator(AT_REST).wait_for()
        image = self.page.locator(FIGURE).first
        file = await self.page.request.get(await image.evaluate("i => i.src"))
        digest = hashlib.sha256(await file.body()).hexdigest()
        return Seen(await image.get_attribute("alt"), digest, await self.page.locator(MAIN).inner_text())

    async def open(self, asked: Asked) -> Seen:
        """Open the Explain page by a link, bring a picture where there is one, and see the first answer."""
        self._severity = asked.severity
        await self.page.goto(f"{self.url}/{asked.link()}", wait_until="commit")
        if asked.upload is not None:
            name, content = asked.upload
            file = {"name": name, "mimeType": "image/png", "buffer": content}
            await self.page.locator("input[type='file']").set_input_files(file)
        await self.page.locator(FIGURE).first.wait_for()
        return await self.seen()

    async def change(self, severity: float) -> tuple[float, Seen]:
        """Press a key on the slider: seconds until the new figure is there, and what the page shows then."""
        before = await self.page.locator(FIGURE).first.evaluate("i => i.src")
        slider = self.page.get_by_role("slider", name="Severity")
        await slider.focus()
        begin = time.perf_counter()
        await slider.press("ArrowRight" if severity > self._severity else "ArrowLeft")
        await self.page.wait_for_function(REDRAWN, arg=before)
        took = time.perf_counter() - begin
        self._severity = severity
        return took, await self.seen()


@asynccontextmanager
async def window(browser: Any, url: str) -> AsyncIterator[Window]:
    """A visitor who has never been here."""
    context = await browser.new_context(viewport={"width": 1200, "height": 900})
    try:
        page = await context.new_page()
        page.set_default_timeout(PATIENCE)
        yield Window(page, url)
    finally:
        await context.close()
