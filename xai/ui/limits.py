"""What visitors may take of this server, as `xai.settings` has it; a bad setting stops the pages."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import streamlit as st

from xai import settings
from xai.ui import widgets

if TYPE_CHECKING:
    from data.images import Limits


def of_picture() -> Limits:
    """What an uploaded picture may be: bytes of the file, and pixels."""
    from data.images import Limits  # brings torch along, which the start of the app does not wait for

    return Limits(file_megabytes() * 2**20, settings.FILE_PIXELS.value() * 1_000_000)


def file_megabytes() -> int:
    """What an uploaded picture may take, in MiB: never more than the web server lets through."""
    return min(settings.FILE_SIZE.value(), int(st.get_option("server.maxUploadSize")))


def threads() -> int:
    """Threads of one operator, half of the cores where nothing is set."""
    return settings.THREADS.value() or max(1, (os.cpu_count() or 1) // 2)


def require_good_settings() -> None:
    """End the page's run with one sentence for every bad setting, which goes to the server's log as well."""
    problems = settings.problems()
    for sentence in problems:
        logging.getLogger(__name__).error(sentence)
        st.error(widgets.plain(sentence), icon=":material/error:")
    if problems:
        st.stop()
