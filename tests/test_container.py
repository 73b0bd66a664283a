"""The container file says what it must: its sources are there, its user is not root, its server is found."""

from __future__ import annotations

import json
import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

from streamlit import config

from xai import settings

ROOT = Path(__file__).resolve().parents[1]


def parsed(text: str) -> list[tuple[str, str]]:
    """Instructions with their arguments, comments left out and continued lines joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [
        (word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.split("\n"))
    ]


STEPS = parsed((ROOT / "Containerfile").read_text(encoding="utf-8"))


def told(instruction: str) -> list[str]:
    """The arguments of every instruction of that name."""
    return [rest for word, rest in STEPS if word == instruction]


def kept_out(path: str) -> bool:
    """Whether `.containerignore` keeps a path out of the build: the last pattern that matches it decides."""
    out = False
    for line in (ROOT / ".containerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.removeprefix("!")
        parents = [str(parent) for parent in Path(path).parents if str(parent) != "."]
        if line and line[0] != "#" and any(_matches(each, pattern) for each in (path, *parents)):
            out = not line.startswith("!")
    return out


def _matches(path: str, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return any(fnmatch(part, pattern[3:]) for part in Path(path).parts)
    return path.count("/") == pattern.count("/") and fnmatch(path, pattern)


def test_the_reader_joins_lines_and_leaves_out_comments() -> None:
    assert parsed("# a\nFROM b:1\n\nENV C=1 \\\n    D=2\nuser e") == [
        ("FROM", "b:1"),
        ("ENV", "C=1 D=2"),
        ("USER", "e"),
    ]


def test_everything_that_is_copied_is_there_and_let_in() -> None:
    sources = [source for rest in told("COPY") for source in rest.split()[:-1]]
    assert {"requirements.txt", "app.py", "xai", "models", "data", ".streamlit"} == set(sources)
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert not told("ADD")  # which would also fetch addresses and unpack archives
    for path in ("app.py", "xai/cli.py", "models/zoo.py", "data/cue10.py", ".streamlit/config.toml"):
        assert not kept_out(path), path
    for path in (
        ".streamlit/secrets.toml",
        ".git/config",
        "results/a.parquet",
        "xai/__pycache__/cli.pyc",
        "tests/a.py",
    ):
        assert kept_out(path), path
    assert (ROOT / ".dockerignore").read_text() == (ROOT / ".containerignore").read_text()


def test_the_base_is_pinned_and_new_enough() -> None:
    (base,) = told("FROM")
    found = re.fullmatch(r"docker\.io/library/python:(\d+)\.(\d+)-slim", base)
    assert found
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert [int(part) for part in found.groups()] >= [
        int(part) for part in needed.removeprefix(">=").split(".")
    ]


def test_the_last_user_is_not_root_and_owns_only_the_volume() -> None:
    user = told("USER")[-1]
    assert user.isdecimal()
    assert int(user) > 0
    assert [word for word, _ in STEPS].index("USER") > [word for word, _ in STEPS].index("RUN")
    (made,) = [rest for rest in told("RUN") if "useradd" in rest]
    assert f"--uid {user}" in made
    assert re.findall(r"--owner (\w+) --group \w+ (\S+)", made) == [("xai", *told("VOLUME"))]


def test_what_is_kept_goes_on_the_volume() -> None:
    (volume,) = told("VOLUME")
    (environment,) = told("ENV")
    values = dict(entry.split("=", 1) for entry in environment.split())
    assert {"XAI_CACHE", "XAI_MODELS", "XAI_RESULTS"} <= values.keys()
    assert {name for name in values if name.startswith("XAI_")} <= settings.SETTINGS.keys()
    assert all(value.startswith(volume) for value in values.values() if value.startswith("/"))


def test_the_server_is_started_with_options_that_exist_and_found_where_it_listens() -> None:
    (command,) = told("CMD")
    program, run, page, *options = json.loads(command)
    assert (program, run, page) == ("streamlit", "run", "app.py")
    given = dict(option.removeprefix("--").split("=", 1) for option in options)
    assert given == {"server.address": "0.0.0.0", "server.port": "8501", "server.headless": "true"}
    assert given.keys() <= config.get_config_options().keys()
    assert told("EXPOSE") == ["8501"]
    (check,) = told("HEALTHCHECK")
    python, flag, code = json.loads(check.split("CMD", 1)[1])
    assert (python, flag) == ("python", "-c")
    assert "http://127.0.0.1:8501/_stcore/health" in code
    compile(code, "healthcheck", "exec")
