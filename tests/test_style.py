"""Lint, format and types are part of the test command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".mypy_cache"
"""Kept by those who run mypy by hand; to write one for a single run costs a fifth of its time."""
CHECKS = {
    "lint": ["ruff", "check", "."],
    "format": ["ruff", "format", "--check", "."],
    "types": ["mypy", "--cache-dir", str(CACHE) if CACHE.is_dir() else os.devnull],
}


@pytest.mark.parametrize("name", CHECKS)
def test_the_source_is_clean(name: str) -> None:
    done = subprocess.run([sys.executable, "-m", *CHECKS[name]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-1000:]}"
