"""The checks are the same everywhere: in the tests, before a commit, on the build server and in what people read."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.test_style import CHECKS

ROOT = Path(__file__).resolve().parents[1]
HOOKS: list[dict[str, Any]] = [
    hook
    for repository in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    for hook in repository["hooks"]
]


def test_a_commit_is_checked_with_the_commands_of_the_tests() -> None:
    assert {hook["id"]: shlex.split(hook["entry"]) for hook in HOOKS} == {
        name: ["python", "-m", *command] for name, command in CHECKS.items()
    }


def test_the_hooks_download_nothing_and_look_at_everything() -> None:
    told = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repository["repo"] for repository in told["repos"]] == ["local"]
    assert {(hook["language"], hook["pass_filenames"]) for hook in HOOKS} == {("system", False)}
    assert {tuple(hook["types"]) for hook in HOOKS} == {("python",)}


def test_the_build_server_runs_all_tests_the_checks_among_them() -> None:
    last = shlex.split((ROOT / ".ci/run").read_text(encoding="utf-8").strip().splitlines()[-1])
    assert last[1:3] == ["-m", "pytest"]
    assert not {word for word in last if word.startswith(("-k", "--ignore", "--deselect", "tests"))}
    assert "-m" not in last[3:]
    command = " ".join(last[1:])
    for name in ("README.md", "CONTRIBUTING.md"):
        assert command in (ROOT / name).read_text(encoding="utf-8"), name


@pytest.mark.parametrize("name", CHECKS)
def test_the_contribution_guide_gives_the_same_commands(name: str) -> None:
    assert " ".join(["-m", *CHECKS[name]]) in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_the_contribution_guide_names_files_that_are_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = {word for word in re.findall(r"`([\w./]+\.(?:py|md|yaml|toml|txt))`", text) if "NAME" not in word}
    assert len(named) > 15
    assert sorted(word for word in named if not (ROOT / word).is_file()) == []
