"""What a visitor brought: one file of weights and archives of pictures, which go with the session.

A shelf lies in the visitor's session alone, so no other visitor's page lists what is on it. Streamlit tells when a
session is disconnected, which may be a moment's loss of connection: what is on the shelf is dropped `GRACE` seconds
later, unless the visitor is back by then. A server that is killed drops nothing; `data.uploads` bounds what is left.
"""

from __future__ import annotations

import secrets
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from xai.ui import visitors

if TYPE_CHECKING:
    from data.folder_check import Checked
    from data.uploads import Upload

SHELF = "own_shelf"
GRACE = 180.0
"""Seconds that a lost visitor has to come back; Streamlit keeps a session for 120."""
MOST_ARCHIVES = 4
MOST_BYTES = 4 * 2**30
"""Files of weights of all visitors together."""
_CHUNK = 2**20
_reading = threading.BoundedSemaphore(2)  # a file may take its size in memory twice while it is read


class ShelfError(ValueError):
    """What can't be put on the shelf; the message is one sentence."""


@dataclass(frozen=True)
class OwnFile:
    """A file of weights: where it lies, what the visitor calls it, its size, and a token that nothing else has."""

    path: Path
    name: str
    bytes: int
    token: str


@dataclass(frozen=True, eq=False)
class Archive:
    """Pictures as a dataset `upload:HASH`: what the visitor calls them, what was left out, and what is in them."""

    upload: Upload
    title: str
    checked: Checked
    sizes: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """The dataset's name, without a size."""
        return self.upload.name


@dataclass(eq=False)
class Shelf:
    """One visitor's files; every method may be called from any thread."""

    token: str = field(default_factory=lambda: secrets.token_hex(8))
    file: OwnFile | None = None
    archives: dict[str, Archive] = field(default_factory=dict)
    visitor: str = ""
    _also: dict[str, Callable[[], None]] = field(default_factory=dict)
    _left: float | None = None
    _folder: tempfile.TemporaryDirectory[str] | None = None
    _going: threading.Timer | None = None
    _dropped: bool = False
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def put_file(self, source: Any, name: str, size: int) -> OwnFile:
        """Write an uploaded file of weights where only this server finds it, and take it if it can be read.

        The one before goes only then. Raises `ShelfError` where there is no room, `StateDictError` for anything else.
        """
        from models import state_dicts

        with self._lock:
            _check_room(self, size)
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(prefix="xai-own-")
            token = secrets.token_hex(8)
            path = Path(self._folder.name) / token
            try:
                _copy(source, path)
                with _reading:
                    state_dicts.read(path, name)
            except BaseException:
                path.unlink(missing_ok=True)
                raise
            self.forget_file()
            self.file = OwnFile(path, state_dicts.shown(name), size, token)
            self._go_soon()
            return self.file

    def forget_file(self) -> None:
        """Remove the file of weights."""
        with self._lock:
            if self.file is not None:
                self.file.path.unlink(missing_ok=True)
            self.file = None

    def put_archive(self, archive: Archive) -> None:
        """Take pictures that `data.uploads` holds; for a session that is over they are dropped at once."""
        from data import uploads

        with self._lock:
            if self._dropped or archive.name in self.archives:  # once held is enough
                uploads.drop(archive.name)
            if not self._dropped:
                self.archives[archive.name] = archive
            self._go_soon()

    def forget_archive(self, name: str) -> None:
        """Drop pictures of this visitor; other visitors with the same ones keep theirs."""
        from data import uploads

        with self._lock:
            if self.archives.pop(name, None) is not None:
                uploads.drop(name)

    def also(self, what: str, let_go: Callable[[], None]) -> None:
        """Call `let_go` with the rest when the session is over, in the place of an earlier one for the same."""
        with self._lock:
            self._also[what] = let_go
            self._go_soon()

    def drop(self) -> None:
        """Forget everything."""
        with self._lock:
            self._dropped = True
            self.forget_file()
            for name in list(self.archives):
                self.forget_archive(name)
            for let_go in self._also.values():
                let_go()
            self._also.clear()
            if self._folder is not None:
                self._folder.cleanup()
                self._folder = None

    def leave(self) -> None:
        """The visitor is disconnected: drop everything soon."""
        with self._lock:
            self._left = time.monotonic()
            self._go_soon()

    def stay(self) -> None:
        """The visitor is here."""
        with self._lock:
            if self._going is not None:
                self._going.cancel()
            self._going, self._left, self._dropped = None, None, False

    @property
    def here(self) -> bool:
        """Whether the visitor is connected, or was until a moment ago."""
        left = self._left
        return left is None or time.monotonic() - left < GRACE

    def _go_soon(self) -> None:
        """Set the timer for a visitor who has left; there is none for a shelf with nothing on it."""
        if self._left is None or (self._going is not None and self._going.is_alive()):
            return
        if not (self.file or self.archives or self._also):
            return
        self._going = threading.Timer(GRACE, self.drop)
        self._going.daemon = True
        self._going.start()


_shelves: weakref.WeakSet[Shelf] = weakref.WeakSet()


def _check_room(own: Shelf, size: int) -> None:
    others = [shelf.file.bytes for shelf in list(_shelves) if shelf is not own and shelf.file is not None]
    if sum(others) + size > MOST_BYTES:
        raise ShelfError(
            f"there is no room for this file: those of other visitors fill the {MOST_BYTES // 2**30} GiB that are "
            "allowed; try again when others have ended."
        )


def _copy(source: Any, path: Path) -> None:
    source.seek(0)
    with path.open("xb") as file:
        while chunk := source.read(_CHUNK):
            file.write(chunk)


@st.cache_resource(scope="session", show_spinner=False, on_release=Shelf.leave)
def _guard(token: str, _shelf: Shelf) -> Shelf:
    """Streamlit calls `leave` when it clears this session's part of the cache, which it does when it disconnects."""
    _shelf.stay()
    return _shelf


def shelf() -> Shelf:
    """This visitor's shelf."""
    found: Shelf = st.session_state.setdefault(SHELF, Shelf())
    found.visitor = visitors.name()
    _shelves.add(found)
    _guard(found.token, found)
    return found


def keep_alive() -> None:
    """Say, on every run of any page, that the visitor is here."""
    shelf()


def is_here(visitor: str) -> bool:
    """Whether a visitor has a page open, or had until a moment ago."""
    return any(each.here and each.visitor == visitor for each in list(_shelves))


def datasets() -> dict[str, str]:
    """This visitor's own pictures that are there: names of datasets, by a short name."""
    if SHELF not in st.session_state:
        return {}
    from data.catalogue import file_stem
    from data.datasets import DatasetError

    found = {}
    for name in _names(st.session_state[SHELF].archives.values()):
        try:
            found[file_stem(name)] = name
        except DatasetError:  # removed to make room for others while this visitor was away
            continue
    return found


def _names(archives: Iterable[Archive]) -> list[str]:
    return [sized(archive.name, size) for archive in list(archives) for size in archive.sizes]


def sized(name: str, size: int) -> str:
    """The dataset `upload:HASH` with pictures of another side, in px."""
    from data.folder_listing import DEFAULT_SIZE

    return name if size == DEFAULT_SIZE else f"{name}@{size}"


def words() -> Callable[[str], str]:
    """How a list of datasets calls each: an upload of this visitor by the name of its file, any other as it is."""
    from data.folder_listing import DEFAULT_SIZE

    own = dict(st.session_state[SHELF].archives) if SHELF in st.session_state else {}

    def call(name: str) -> str:
        key, _at, side = name.partition("@")
        return f"{own[key].title} ({side or DEFAULT_SIZE} px, uploaded)" if key in own else name

    return call


def is_anothers(name: str) -> bool:
    """Whether a dataset is one that another visitor uploaded, or this one in an earlier session."""
    if not name.startswith("upload:"):
        return False
    own = st.session_state[SHELF].archives if SHELF in st.session_state else {}
    return name.partition("@")[0] not in own


def is_new(file: Any) -> bool:
    """Whether an upload widget holds a file: not nothing, and not the trace of one that was released."""
    return hasattr(file, "getvalue")


def release(file: Any) -> None:
    """Let the web server forget an uploaded file that was put on the shelf; else it holds it as long as the session."""
    from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
    from streamlit.runtime.scriptrunner import get_script_run_ctx

    context = get_script_run_ctx()
    if context is not None and isinstance(context.uploaded_file_mgr, MemoryUploadedFileManager):
        context.uploaded_file_mgr.remove_file(context.session_id, file.file_id)


def megabytes(most: int) -> int:
    """The most that a file may take, in MiB, of `most` bytes: never more than the web server lets through."""
    return min(most // 2**20, int(st.get_option("server.maxUploadSize")))


def spoken(name: str) -> str:
    """A dataset's name where others may read it too: that of an upload is its visitor's alone."""
    return "uploaded pictures" if name.startswith("upload:") else name
