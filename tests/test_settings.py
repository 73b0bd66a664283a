"""Settings of the environment: safe defaults, strict reading, one sentence for a bad value, one list."""

from __future__ import annotations

import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from xai import settings
from xai.settings import SETTINGS, Number, SettingError
from xai.ui import dataset_images, explaining, limits, loading, pictures, result_data
from xai.ui.own_shelf import Shelf

ROOT = Path(__file__).resolve().parents[1]
NUMBERS = [setting for setting in SETTINGS.values() if isinstance(setting, Number)]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number.name)
def test_a_number_is_read_strictly(number: Number, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(number.name, raising=False)
    assert number.value() == number.default
    assert number.least <= number.default <= number.most
    for good in (number.least, number.most):
        monkeypatch.setenv(number.name, f" {good} ")
        assert number.value() == good
    bad = [str(number.least - 1), str(number.most + 1), "many", "1.5", "0x10", "-1", "1_0", "٣", "9" * 5_000]
    for text in bad:
        monkeypatch.setenv(number.name, text)
        with pytest.raises(SettingError) as found:
            number.value()
        (sentence,) = settings.problems()
        assert str(found.value) == sentence
        assert sentence.startswith(f"{number.name} is ")
        assert sentence.endswith(f"allowed are whole numbers from {number.least:,} to {number.most:,}.")
        assert len(sentence) < 200


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAI_JOBS", "")
    assert settings.JOBS.value() == settings.JOBS.default


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="XAI_JOBS is registered twice"):
        settings.register(Number("XAI_JOBS", 1, 1, 1, "", ""))


def _elsewhere() -> Iterator[str]:
    """All sources but the list itself."""
    for folder in ("xai", "models", "data"):
        for path in (ROOT / folder).rglob("*.py"):
            if path != Path(settings.__file__):
                yield path.read_text(encoding="utf-8")


def test_every_variable_that_the_code_names_is_in_the_list() -> None:
    named = {name for text in _elsewhere() for name in re.findall(r"\bXAI_[A-Z_]*[A-Z]\b", text)}
    assert {"XAI_CACHE", "XAI_MODELS", "XAI_RESULTS", "XAI_DATA"} <= named <= set(SETTINGS)


def test_every_number_is_used() -> None:
    words = {word for text in _elsewhere() for word in re.findall(r"\b[A-Z_]+\b", text)}
    names = {name for name, value in vars(settings).items() if isinstance(value, Number)}
    assert len(names) == len(NUMBERS)
    assert names <= words


def test_the_table_has_a_line_for_each() -> None:
    lines = settings.as_markdown().splitlines()
    assert len(lines) == len(SETTINGS) + 2
    assert [line.split("`")[1] for line in lines[2:]] == list(SETTINGS)
    assert {line.count("|") for line in lines} == {5}
    assert "| `XAI_SESSION_MB` | 200 MiB | 1 to 65,536 |" in settings.as_markdown()


def test_the_memories_follow_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {
        "XAI_RESULT_CACHE_MB": explaining.results,
        "XAI_IMAGE_CACHE_MB": dataset_images.memo,
        "XAI_ANSWER_CACHE_MB": result_data._memo,
    }
    for megabytes, (name, memo) in enumerate(made.items(), start=3):
        monkeypatch.setenv(name, str(megabytes))
        assert inspect.unwrap(memo)().max_bytes == megabytes * 2**20


def test_threads_and_pictures_follow_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 12)
    assert limits.threads() == 6
    monkeypatch.setenv("XAI_THREADS", "5")
    assert limits.threads() == 5
    asked: list[int] = []
    monkeypatch.setattr("torch.set_num_threads", asked.append)
    loading._share_the_cores()
    assert asked == [5]
    monkeypatch.setenv("XAI_FILE_MB", "3")
    monkeypatch.setenv("XAI_FILE_MEGAPIXELS", "2")
    assert (limits.of_picture().max_bytes, limits.of_picture().max_pixels) == (3 * 2**20, 2_000_000)


def test_a_picture_is_never_allowed_more_than_the_web_server_lets_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XAI_FILE_MB", "1000")
    assert limits.file_megabytes() == st.get_option("server.maxUploadSize")


class _File:
    def __init__(self, name: str, size: int) -> None:
        self.file_id, self.name, self.size = name, name, size

    def getvalue(self) -> bytes:
        return b""


@pytest.mark.parametrize(("variable", "kept"), [("XAI_SESSION_FILES", 1), ("XAI_SESSION_MB", 2)])
def test_a_session_keeps_as_much_as_it_may(variable: str, kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "1")
    state: dict[str, Any] = {"uploader": [_File(name, 2**19) for name in "abc"]}
    monkeypatch.setattr(pictures.st, "session_state", state)
    monkeypatch.setattr(pictures.own_shelf, "shelf", Shelf)
    pictures._keep_uploads()
    assert len(state[pictures.UPLOADS]) == kept
    (sentence,) = state[pictures.LEFT_OUT]
    assert sentence.startswith(f"{3 - kept} of 3 files were left out")


def _page() -> None:
    import streamlit as st

    from xai.ui import limits

    limits.require_good_settings()
    st.title("Reached")


def test_a_bad_setting_is_one_sentence_on_the_page_and_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert [title.value for title in AppTest.from_function(_page).run().title] == ["Reached"]
    monkeypatch.setenv("XAI_JOBS", "*many*")
    app = AppTest.from_function(_page).run()
    assert not app.exception
    assert not app.title
    assert [error.value for error in app.error] == [
        r"XAI\_JOBS is \'\*many\*\'\; allowed are whole numbers from 1 to 64\."
    ]
    assert "XAI_JOBS is '*many*'; allowed are whole numbers from 1 to 64." in caplog.text


def test_the_server_listens_to_this_machine_alone_and_tells_nobody() -> None:
    told = tomllib.loads((ROOT / ".streamlit/config.toml").read_text(encoding="utf-8"))
    assert told["server"]["address"] == "localhost"
    assert told["server"]["enableXsrfProtection"] is True
    assert told["server"]["maxUploadSize"] >= settings.FILE_SIZE.default
    assert told["browser"]["gatherUsageStats"] is False


def test_the_readme_shows_the_settings_as_the_command_prints_them() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    if "| `XAI_JOBS` |" not in readme:
        pytest.skip("the README has no table of settings")
    assert settings.as_markdown() in readme
