"""The README's pictures of modules and flows say what the source says."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from tests import diagrams
from tests.test_structure import imports_of, starts_with

ROOT = diagrams.ROOT
ARROWS = [(name, used) for name, part in diagrams.PARTS.items() for used in part.uses]


def files(name: str) -> list[Path]:
    """Files of a box."""
    return [path for pattern in diagrams.PARTS[name].files for path in ROOT.glob(pattern)]


def module(path: Path) -> str:
    """Dotted name of a file."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imported(name: str) -> Iterator[str]:
    """What the files of a box import."""
    for path in files(name):
        yield from imports_of(path.read_text(encoding="utf-8"), module(path.parent / "x").removesuffix(".x"))


@pytest.mark.parametrize("name", diagrams.PICTURES)
def test_the_pictures_are_those_that_the_script_draws(name: str) -> None:
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == diagrams.PICTURES[name]()
    assert f"docs/{name}" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_pattern_names_files_and_no_file_has_two_boxes() -> None:
    patterns = [pattern for part in diagrams.PARTS.values() for pattern in part.files]
    assert [pattern for pattern in patterns if not any(ROOT.glob(pattern))] == []
    every = [path for name in diagrams.PARTS for path in files(name)]
    assert len(every) == len(set(every))


@pytest.mark.parametrize(("name", "used"), ARROWS)
def test_an_arrow_is_an_import_and_points_down(name: str, used: str) -> None:
    targets = {module(path) for path in files(used)}
    assert any(starts_with(found, target) for found in imported(name) for target in targets)
    assert diagrams.PARTS[name].box[1] < diagrams.PARTS[used].box[1]


def test_what_computes_does_not_know_the_commands() -> None:
    """`tests/test_structure.py` holds the other layers."""
    for name, part in diagrams.PARTS.items():
        if part.fill != diagrams.SCREEN:
            texts = [path.read_text(encoding="utf-8") for path in files(name)]
            assert not [text for text in texts if "xai.commands" in text or "import commands" in text]


@pytest.mark.parametrize(
    "step", [step for flow in diagrams.FLOWS for step in flow.steps], ids=lambda s: s.name
)
def test_every_step_of_a_flow_is_a_function_that_is_there(step: diagrams.Step) -> None:
    assert callable(getattr(import_module(step.module), step.name))
