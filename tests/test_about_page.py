"""The About page: what it says of the version, the licence and the citation is what the project's files say."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.page_helpers import ROOT, healthy, visit, words
from xai.ui import about_page


def test_it_tells_version_manual_licence_and_citation() -> None:
    app: AppTest = visit("about")
    assert healthy(app)
    told = words(app)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert f"XAI workbench {version}" in told
    assert "README.md" in told
    assert about_page.licence() in told
    assert app.code[0].value == (ROOT / "CITATION.cff").read_text(encoding="utf-8").strip()


def test_every_page_of_the_app_is_listed() -> None:
    pages = {path.stem for path in (ROOT / "xai/ui/pages").glob("*.py")}
    assert set(about_page.PAGES) == pages - {"about", "__init__"}


def test_a_licence_is_named_once_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(about_page, "ROOT", tmp_path)
    assert about_page.licence() == about_page.NO_LICENCE
    assert about_page.version() == ""
    (tmp_path / "LICENSE.md").write_text("\nMIT License\n\nwords", encoding="utf-8")
    assert about_page.licence() == "Licence of the project: MIT License (the file LICENSE.md)."
