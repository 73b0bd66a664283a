"""Uploads of all visitors in bounded memory, dropped with their session."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.uploaded_file_manager import UploadedFileRec

from xai.ui import own_shelf, pictures, upload_room
from xai.ui.own_shelf import Shelf

MEGABYTE = b"\0" * 2**20


@dataclass(frozen=True)
class Asked:
    """What a widget gives for a file that arrived."""

    file_id: str
    name: str = "a.png"
    content: bytes = b""

    @property
    def size(self) -> int:
        return len(self.content)

    def getvalue(self) -> bytes:
        return self.content


@pytest.fixture
def lost() -> set[str]:
    """Sessions that are disconnected."""
    return set()


@pytest.fixture
def manager(lost: set[str], monkeypatch: pytest.MonkeyPatch) -> MemoryUploadedFileManager:
    made = MemoryUploadedFileManager("/upload")
    upload_room.install(made, lambda session: session not in lost)
    monkeypatch.setattr(upload_room, "_kept", type(upload_room._kept)())
    monkeypatch.setattr(upload_room, "_refused", type(upload_room._refused)())
    monkeypatch.setenv("XAI_UPLOADS_MB", "5")
    return made


def arrives(manager: MemoryUploadedFileManager, session: str, number: int, content: bytes = MEGABYTE) -> Any:
    file = UploadedFileRec(f"{session} {number}", f"{number}.png", "image/png", content)
    manager.add_file(session, file)
    return Asked(file.file_id)


def held(manager: MemoryUploadedFileManager) -> dict[str, int]:
    """MiB of each session."""
    return {
        session: sum(len(file.data) for file in files.values()) // 2**20
        for session, files in manager.file_storage.items()
    }


def test_all_visitors_together_have_so_much_room_and_no_more(manager: MemoryUploadedFileManager) -> None:
    asked = [arrives(manager, session, number) for number in range(3) for session in "ab"]
    assert held(manager) == {"a": 2, "b": 2}  # names take room as well
    refused = [upload_room.refusal(each) for each in asked]
    assert refused[:4] == [""] * 4
    assert refused[4] == (
        "2.png was left out: the uploads of all visitors fill the 5 MiB that are allowed; "
        "try again when others have left."
    )
    with pytest.raises(upload_room.RefusedUpload, match=r"2\.png was left out"):
        upload_room.check(asked[5])
    upload_room.check(asked[0])
    manager.remove_session_files("b")
    assert not upload_room.refusal(arrives(manager, "a", 9))
    assert held(manager) == {"a": 3}


def test_a_file_that_comes_again_takes_its_room_once(manager: MemoryUploadedFileManager) -> None:
    for _ in range(9):
        assert not upload_room.refusal(arrives(manager, "a", 0, 3 * MEGABYTE))


def test_files_of_lost_visitors_make_room(manager: MemoryUploadedFileManager, lost: set[str]) -> None:
    arrives(manager, "a", 0, 4 * MEGABYTE)
    assert upload_room.refusal(arrives(manager, "b", 0, 3 * MEGABYTE))
    lost.add("a")
    assert not upload_room.refusal(arrives(manager, "b", 1, 3 * MEGABYTE))
    assert held(manager) == {"b": 3}


def test_one_visitor_does_not_take_all_the_room(
    manager: MemoryUploadedFileManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XAI_SESSION_MB", "1")
    monkeypatch.setattr(upload_room.st, "get_option", lambda _name: 2)
    asked = [arrives(manager, "a", number) for number in range(2)]
    assert upload_room.refusal(asked[1]) == "1.png was left out: your uploads may take 2 MiB at a time."
    assert held(manager) == {"a": 1}


def test_empty_files_fill_the_room_too_and_end(
    manager: MemoryUploadedFileManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload_room, "MOST_FILES", 3)
    for number in range(9):
        arrives(manager, "a", number, b"")
    assert len(manager.file_storage["a"]) == 3
    assert upload_room._total(manager) >= 3 * upload_room._OVERHEAD


def test_what_a_page_keeps_counts_until_it_is_let_go(manager: MemoryUploadedFileManager) -> None:
    kept = pictures.Upload("a 0", "0.png", 4 * MEGABYTE)
    upload_room.keep(kept)
    assert upload_room.refusal(arrives(manager, "b", 0, 2 * MEGABYTE))
    assert not upload_room.refusal(arrives(manager, "a", 0, 4 * MEGABYTE)), "the same file twice"
    manager.remove_session_files("a")
    del kept
    assert not upload_room.refusal(arrives(manager, "b", 1, 4 * MEGABYTE))


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A session with a shelf."""
    shelf = Shelf()
    found: dict[str, Any] = {}
    monkeypatch.setattr(pictures.st, "session_state", found)
    monkeypatch.setattr(own_shelf, "shelf", lambda: shelf)
    found["shelf"] = shelf
    yield found
    shelf.stay()


def test_pictures_go_with_their_session(
    state: dict[str, Any], manager: MemoryUploadedFileManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrives(manager, "a", 0)
    monkeypatch.setattr(upload_room, "forgetting", lambda: lambda: manager.remove_session_files("a"))
    state["uploader"] = [Asked("a 0", content=MEGABYTE)]
    pictures._keep_uploads()
    assert (len(state[pictures.UPLOADS]), len(upload_room._kept)) == (1, 1)
    monkeypatch.setattr(own_shelf, "GRACE", 0.0)
    state["shelf"].leave()
    state["shelf"]._going.join(30)
    assert not state[pictures.UPLOADS]
    assert not upload_room._kept
    assert not held(manager)


def test_a_page_says_which_picture_was_left_out_and_keeps_the_others(
    state: dict[str, Any], manager: MemoryUploadedFileManager
) -> None:
    refused, good = arrives(manager, "a", 0, 6 * MEGABYTE), Asked("good", content=b"12")
    state["uploader"] = [refused, good]
    for _ in range(2):  # also when the list changes again
        pictures._keep_uploads()
        assert list(state[pictures.UPLOADS]) == ["good"]
        (sentence,) = state[pictures.LEFT_OUT]
        assert sentence.startswith("0.png was left out: the uploads of all visitors fill the 5 MiB")
