"""Starts the app as its users do, on a free port, for browser tests and measurements."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
TOO_WIDE = """() => [
    ...document.querySelectorAll("[data-testid=stMain] :is([data-testid=stImageContainer], button, h1, h2, h3, p)")
].filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 100))"""
"""What of a page, run in it, lies beyond the right edge of its window; pictures may move sideways in their place."""


@dataclass(frozen=True)
class Server:
    """A running app: its address and its process id."""

    url: str
    pid: int


def chromium() -> str | None:
    """Path of a Chromium on this machine, if there is one."""
    return next(
        (
            found
            for name in ("chromium", "chromium-browser", "google-chrome")
            if (found := shutil.which(name))
        ),
        None,
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/_stcore/health", timeout=1) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def _wait_until_up(process: subprocess.Popen[bytes], url: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not _answers(url):
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(
                f"the app did not start at {url} within {seconds:.0f} s (exit {process.poll()})."
            )
        time.sleep(0.02)


@contextmanager
def running_app(
    log: Path | None = None,
    seconds: float = 60,
    folder: Path = ROOT,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """The app in `folder` on a free port of this machine, with its settings file and these variables of the
    environment beside those that are set; stopped at the end."""
    port = _free_port()
    options = ["--server.port", str(port), "--server.headless", "true"]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", *options]
    with open(log or os.devnull, "wb") as output:
        variables = {**os.environ, **(environment or {})}
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output, env=variables)
        try:
            url = f"http://localhost:{port}"
            _wait_until_up(process, url, seconds)
            yield Server(url, process.pid)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def choose_page(page: Any, name: str) -> None:
    """Choose a page in the sidebar; links of the same name in the page itself don't count."""
    page.get_by_test_id("stSidebarNav").get_by_role("link", name=name, exact=True).click()
