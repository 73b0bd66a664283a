"""Uploads of all visitors together in bounded memory: Streamlit keeps a file whole in memory as soon as it has arrived.

Streamlit bounds one file (`server.maxUploadSize`), not how many there are, and keeps those of a lost visitor for
minutes. So each file that has arrived passes here before it is kept: without its content where the visitor, or all
visitors together, have as much as they may, and its visitor is told so. What is on its way lies in temporary files,
which only a proxy can bound.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import streamlit as st
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFileRec

from xai import settings

MOST_TOLD = 1_000
"""Refusals that are remembered."""
MOST_FILES = 2_000
"""Files of one session, empty ones counted."""
_OVERHEAD = 4_096
"""Bytes counted for any file, so that many empty ones fill the room too."""


class RefusedUpload(ValueError):
    """A file for which there was no room; the message is one sentence."""


class Kept(Protocol):
    """An upload that a page keeps beside Streamlit's own: its file's id and what is in it."""

    @property
    def identity(self) -> str: ...
    @property
    def content(self) -> bytes: ...


_kept: weakref.WeakValueDictionary[str, Kept] = weakref.WeakValueDictionary()
_refused: OrderedDict[str, str] = OrderedDict()
_lock = threading.Lock()


def guard() -> None:
    """Let every file that arrives at this server pass here from now on."""
    context = get_script_run_ctx()
    manager = None if context is None else context.uploaded_file_mgr
    if isinstance(manager, MemoryUploadedFileManager) and not hasattr(manager, "xai_guarded"):
        with _lock:
            if not hasattr(manager, "xai_guarded"):
                install(manager, _is_connected)


def install(manager: MemoryUploadedFileManager, is_connected: Callable[[str], bool]) -> None:
    """Put the bounds before a manager's `add_file`; `is_connected` says whether a session's browser is there."""
    passed = partial(_add, manager, manager.add_file, is_connected)
    vars(manager).update(add_file=passed, xai_guarded=True)


def keep(upload: Kept) -> None:
    """Count an upload that a page keeps for as long as it is kept anywhere."""
    _kept[upload.identity] = upload


def refusal(file: Any) -> str:
    """One sentence on why an uploaded file came without its content; empty where it did not."""
    return _refused.get(file.file_id, "")


def check(file: Any) -> None:
    """Raise `RefusedUpload` where an uploaded file came without its content."""
    if sentence := refusal(file):
        raise RefusedUpload(sentence)


def forgetting() -> Callable[[], None]:
    """What lets go of all files that this session has uploaded."""
    context = get_script_run_ctx()
    manager = None if context is None else context.uploaded_file_mgr
    if context is None or not isinstance(manager, MemoryUploadedFileManager):
        return lambda: None
    return partial(manager.remove_session_files, context.session_id)


def _is_connected(session_id: str) -> bool:
    return st.runtime.get_instance().is_active_session(session_id)


def _add(
    manager: MemoryUploadedFileManager,
    add: Callable[[str, UploadedFileRec], None],
    is_connected: Callable[[str], bool],
    session_id: str,
    file: UploadedFileRec,
) -> None:
    with _lock:
        if _total(manager) + len(file.data) > settings.ALL_UPLOADS.bytes():
            for lost in [each for each in manager.file_storage.copy() if not is_connected(each)]:
                manager.remove_session_files(lost)
        if len(manager.file_storage.get(session_id, {})) >= MOST_FILES:
            return  # no browser's doing, so nobody is told
        if sentence := _too_much(manager, session_id, file):
            _refused[file.file_id] = sentence
            while len(_refused) > MOST_TOLD:
                _refused.popitem(last=False)
            file = file._replace(data=b"")
        add(session_id, file)


def _too_much(manager: MemoryUploadedFileManager, session_id: str, file: UploadedFileRec) -> str:
    """Why a file can't be kept, in one sentence; empty where it can."""
    from data.archive import display_name

    name = display_name(file.name)
    own = manager.file_storage.get(session_id, {}).copy()
    own.pop(file.file_id, None)  # which it replaces
    most = max(settings.SESSION_SIZE.value(), int(st.get_option("server.maxUploadSize")))
    if _size(own) + len(file.data) > most * 2**20:
        return f"{name} was left out: your uploads may take {most:,} MiB at a time."
    if _total(manager, file.file_id) + len(file.data) > settings.ALL_UPLOADS.bytes():
        return (
            f"{name} was left out: the uploads of all visitors fill the {settings.ALL_UPLOADS.value():,} MiB that "
            "are allowed; try again when others have left."
        )
    return ""


def _size(files: dict[str, UploadedFileRec]) -> int:
    return sum(_OVERHEAD + len(file.data) for file in files.values())


def _total(manager: MemoryUploadedFileManager, but: str = "") -> int:
    """Bytes that the uploads of all visitors take: those that Streamlit keeps, and those that pages keep beside it."""
    sizes = {name: len(upload.content) for name, upload in list(_kept.items())}
    for files in manager.file_storage.copy().values():
        sizes |= {name: len(file.data) for name, file in files.copy().items()}
    sizes.pop(but, None)
    return sum(sizes.values()) + _OVERHEAD * len(sizes)
