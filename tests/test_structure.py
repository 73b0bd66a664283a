"""How the project hangs together: which part imports which, what an import costs, and what is in the repository."""

import ast
import hashlib
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHARED = next((path for path in (ROOT / "shared", ROOT.parent / "shared") if (path / "data").is_dir()), None)


def tracked() -> list[Path]:
    """Files of the repository that are there, or all source files where there is no repository."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True)
    if listed.returncode:
        return [path for folder in ("data", "models", "xai") for path in (ROOT / folder).rglob("*.py")]
    return [path for name in listed.stdout.decode().split("\0") if name and (path := ROOT / name).is_file()]


def imports_of(source: str, package: str = "") -> Iterator[str]:
    """Dotted names of everything that a source file imports, at any depth; `package` resolves relative imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
            start = ".".join(part for part in (base, node.module) if part)
            yield from (f"{start}.{alias.name}" for alias in node.names)


def layer(path: Path) -> str:
    """Which part of the project a file belongs to."""
    parts = path.relative_to(ROOT).parts
    if parts[:2] == ("xai", "ui"):
        return "xai.ui"
    return parts[0] if len(parts) > 1 else path.name


def starts_with(name: str, module: str) -> bool:
    """Whether a dotted name is `module` or inside it."""
    return name == module or name.startswith(module + ".")


SOURCES = [path for path in tracked() if path.suffix == ".py"]
FORBIDDEN = {
    "models": ("data", "xai", "app", "streamlit", "tests"),
    "data": ("models", "xai", "app", "streamlit", "tests"),
    "xai": ("xai.ui", "app", "streamlit", "tests"),
    "xai.ui": ("app", "tests"),
}
"""What the files of each part must not import."""


@pytest.mark.parametrize(
    "path",
    [path for path in SOURCES if layer(path) in FORBIDDEN],
    ids=lambda p: p.relative_to(ROOT).as_posix(),
)
def test_imports_point_one_way(path: Path) -> None:
    package = ".".join(path.relative_to(ROOT).parts[:-1])
    found = list(imports_of(path.read_text(), package))
    assert [name for name in found if any(starts_with(name, bad) for bad in FORBIDDEN[layer(path)])] == []


def test_import_reader_sees_every_form() -> None:
    source = "import a.b\nfrom c import d\ndef f():\n    from . import e\n    from ..g import h as i\n"
    assert list(imports_of(source, "p.q")) == ["a.b", "c.d", "p.q.e", "p.g.h"]
    assert starts_with("xai.ui.pages", "xai.ui")
    assert not starts_with("xai.uid", "xai.ui")


def test_only_the_figures_use_matplotlib() -> None:
    """`xai/figures.py` and the files `xai/figure_*.py` that it is made of."""
    users = {
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        if layer(path) != "tests"
        and any(starts_with(name, "matplotlib") for name in imports_of(path.read_text()))
    }
    assert {name for name in users if not fnmatch(name, "xai/figure*.py")} == set()


def test_no_folder_that_streamlit_would_take_for_pages() -> None:
    assert not (ROOT / "pages").exists()


HEAVY = (
    "torchvision",
    "timm",
    "captum",
    "pytorch_grad_cam",
    "streamlit",
    "matplotlib",
    "skimage",
    "pandas",
    "cv2",
)


@pytest.mark.parametrize("module", ["xai", "models.zoo", "models.training", "data.catalogue", "data.images"])
def test_import_is_light(module: str) -> None:
    """What takes seconds to import is imported where it is used."""
    command = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_repository_stays_small() -> None:
    assert sum(path.stat().st_size for path in tracked()) < 100 * 2**20


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.skipif(SHARED is None, reason="there is no shared/data beside the project")
def test_no_shared_data_in_the_repository() -> None:
    assert SHARED is not None
    theirs = {_digest(path) for path in (SHARED / "data").rglob("*") if path.suffix in (".xz", ".npz")}
    assert theirs
    assert [path.name for path in tracked() if _digest(path) in theirs] == []
