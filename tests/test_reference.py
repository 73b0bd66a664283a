"""The reference of the programming interface: every public name is in it, no private one, nothing of this machine."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from xai import reference, settings
from xai.cli import main
from xai.reference import ROOT, DocumentationError, modules, write

SOME = ("xai", "xai.settings", "xai.attribution", "xai.ui.explaining", "models.registry", "data.degradations")
"""A package, dataclasses, registries with decorators, cached functions, long tables, places of this machine."""
pytest.importorskip("pdoc")


def source(name: str) -> Path:
    """The file of a module."""
    path = ROOT / name.replace(".", "/")
    package = path / "__init__.py"
    return package if package.is_file() else path.with_suffix(".py")


def public(name: str) -> dict[str, ast.FunctionDef | ast.ClassDef]:
    """The functions and classes that a module's source defines for others, by name; methods as `Class.method`."""
    found: dict[str, ast.FunctionDef | ast.ClassDef] = {}
    for node in ast.parse(source(name).read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            found[node.name] = node
            inner = node.body if isinstance(node, ast.ClassDef) else []
            methods = [each for each in inner if isinstance(each, ast.FunctionDef)]
            found |= {f"{node.name}.{each.name}": each for each in methods if not each.name.startswith("_")}
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reference of some modules."""
    place = tmp_path_factory.mktemp("reference")
    written = write(place, SOME)
    assert all(path.is_file() for path in written)
    return place


def page(folder: Path, name: str) -> str:
    """One page."""
    return (folder / f"{name.replace('.', '/')}.html").read_text(encoding="utf-8")


def test_the_modules_are_those_of_the_packages() -> None:
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("this is no repository")
    files = [Path(line) for line in listed.stdout.splitlines() if (ROOT / line).is_file()]
    ours = {path for path in files if path.parts[0] in reference.PACKAGES}
    scripts = {path for path in ours if "pages" in path.parts or path.name == "__main__.py"}
    named = {source(name).relative_to(ROOT) for name in modules()}
    assert ours - scripts <= named
    assert not scripts & named


def test_pdoc_knows_every_public_function_and_class() -> None:
    from pdoc.doc import Class

    missing = []
    for name in modules():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            members = reference.read(name).members
        for wanted in public(name):
            holder, _, method = wanted.partition(".")
            known = members.get(holder)
            if known is None or (method and isinstance(known, Class) and method not in vars(known.obj)):
                missing.append(f"{name}.{wanted}")
    assert missing == []


@pytest.mark.parametrize("name", SOME)
def test_a_page_shows_every_public_name_with_its_docstring_and_no_private_one(
    name: str, folder: Path
) -> None:
    text = page(folder, name)
    shown = set(re.findall(r'<(?:section|div) id="([^"]+)"', text))
    assert set(public(name)) <= shown
    assert {each for each in shown if re.search(r"(^|\.)_(?!_init__$)", each)} == set()
    plain = re.sub(r"\W+", "", re.sub(r"<[^>]*>|&[#\w]+;", "", text))
    for wanted, node in public(name).items():
        first = (ast.get_docstring(node) or "").split("\n")[0]
        assert re.sub(r"\W+", "", first) in plain, wanted


def test_a_signature_is_shown(folder: Path) -> None:
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", page(folder, "xai.settings")))
    assert "def register(setting: ~Setting) -> ~Setting" in text


def test_pages_tell_nothing_of_this_machine_and_no_long_tables(folder: Path) -> None:
    for path in folder.rglob("*.*"):
        assert str(ROOT) not in path.read_text(encoding="utf-8")
        assert str(Path.home()) + "/" not in path.read_text(encoding="utf-8")
    text = page(folder, "data.degradations")
    assert "&#39;frost&#39;" in text  # a short value
    assert "Degradation(name=" not in re.sub(r"<[^>]*>", "", text)  # the registry itself


def test_the_index_names_the_modules_and_the_search_finds_them(folder: Path) -> None:
    index = (folder / "index.html").read_text(encoding="utf-8")
    assert all(f">{name}</a>" in index for name in SOME)
    assert "data.degradations.degrade" in (folder / "search.js").read_text(encoding="utf-8")


def test_a_module_that_breaks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_module.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        DocumentationError, match=r"^the module broken_module can't be imported: No module named"
    ):
        write(tmp_path / "out", ["broken_module"])
    assert not (tmp_path / "out").exists()


def test_without_pdoc_one_sentence_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert main(["docs", "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == (
        "python -m xai: the reference is written by pdoc, which is not installed here: "
        "run pip install 'pdoc>=16.0'.\n"
    )


def test_the_command_prints_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["docs", "--settings"]) == 0
    assert capsys.readouterr().out == settings.as_markdown() + "\n"


def test_the_command_wants_something_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["docs"]) == 2
    assert "allowed are --out DIR and --settings" in capsys.readouterr().err


def test_pdoc_is_no_requirement_of_the_app() -> None:
    command = "import sys, xai.cli, xai.commands.docs, xai.reference; print('pdoc' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
