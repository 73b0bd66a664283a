"""Every package that is asked for is used and explained, and every package that is used is asked for."""

from __future__ import annotations

import re
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest

from tests.test_structure import SOURCES, layer

ROOT = Path(__file__).resolve().parents[1]
IMPORT = re.compile(r"^\s*(?:import (\w+)[\w.]*(?: as \w+)?$|from (\w+)[\w.]* import )", re.MULTILINE)
OURS = {"xai", "models", "data", "tests", "app"}
MODULES = {
    "grad-cam": "pytorch_grad_cam",
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "pytest-xdist": "xdist",
    "pyyaml": "yaml",
    "ray[data]": "ray",
    "scikit-image": "skimage",
    "scikit-learn": "sklearn",
    "umap-learn": "umap",
}
"""Modules whose name is not that of their package."""
FOR_OTHERS = {"jinja2": "pandas", "numba": "umap-learn"}
"""Packages that no line of ours imports, and the package of ours that asks for them."""
TOOLS = {"mypy", "pandas-stubs", "pytest-xdist", "ruff", "types-tqdm"}
"""What is run, or read by what is run, and never imported."""
OPTIONAL = {"lucent"}
"""Imported by the benchmark where it is installed by hand."""


def required(name: str) -> set[str]:
    """Packages of a requirements file, without their versions."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return {line.split(">=")[0] for line in lines if line and line[0] not in "#-"}


def explained(heading: str) -> set[str]:
    """Packages in the table under a heading of docs/dependencies.md."""
    text = (ROOT / "docs/dependencies.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*?) \|", text.split(f"## {heading}")[1].split("\n## ")[0], re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


@cache
def packages(path: Path) -> set[str]:
    """Packages that a file imports, by the name of their module; reading lines is far quicker than parsing."""
    found = {one or other for one, other in IMPORT.findall(path.read_text(encoding="utf-8"))}
    return found - OURS - set(sys.stdlib_module_names)


def imported(*layers: str) -> set[str]:
    """Packages that the files of these parts import."""
    return set().union(*(packages(path) for path in SOURCES if layer(path) in layers))


RUN, TEST = required("requirements.txt"), required("requirements-dev.txt")


def test_every_package_is_explained() -> None:
    assert explained("To run: requirements.txt") == RUN
    assert explained("To test: requirements-dev.txt") == TEST


def test_what_the_program_asks_for_is_what_it_imports() -> None:
    asked = {MODULES.get(name, name) for name in RUN - set(FOR_OTHERS)}
    found = imported("app.py", "xai", "xai.ui", "models", "data")
    assert asked <= found
    assert found - asked - OPTIONAL == {"cv2", "pdoc", "ray"}, "imported only where they are there"


def test_what_the_tests_ask_for_is_what_they_import() -> None:
    every = imported("app.py", "xai", "xai.ui", "models", "data", "tests")
    assert {MODULES.get(name, name) for name in TEST - TOOLS} <= every
    assert imported("tests") <= {MODULES.get(name, name) for name in RUN | TEST}


@pytest.mark.parametrize(("name", "user"), FOR_OTHERS.items())
def test_what_others_need_is_what_they_say(name: str, user: str) -> None:
    assert any(re.match(rf"{name}\b", line, re.IGNORECASE) for line in metadata.requires(user) or ())
