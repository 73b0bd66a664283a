"""Settings of an installation: environment variables `XAI_...` with safe defaults, read strictly, and their table.

`SETTINGS` is the one list of them; `python -m xai docs --settings` prints it as the table of the README.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TypeVar


class SettingError(ValueError):
    """An environment variable holds a value that is not allowed; the message is one sentence for whoever set it."""


@dataclass(frozen=True)
class Number:
    """A limit: a whole number from `least` to `most`, in `unit`; `words` say what the default means where 0 is none."""

    name: str
    default: int
    least: int
    most: int
    unit: str
    what: str
    words: str = ""

    def value(self) -> int:
        """What the environment says now, else the default; raises `SettingError`."""
        asked = os.environ.get(self.name, "").strip()
        if not asked:
            return self.default
        if not (asked.isascii() and asked.isdecimal() and len(asked) < 10) or not self._allows(int(asked)):
            raise SettingError(f"{self.name} is {asked[:40]!r}; {self.allowed}.")
        return int(asked)

    def bytes(self) -> int:
        """The same as bytes, where the unit is MiB."""
        return self.value() * 2**20

    @property
    def allowed(self) -> str:
        """What it may be, in words."""
        return f"allowed are whole numbers from {self.least:,} to {self.most:,}"

    @property
    def default_words(self) -> str:
        """The default with its unit."""
        return self.words or f"{self.default:,} {self.unit}".strip()

    def _allows(self, number: int) -> bool:
        return self.least <= number <= self.most


@dataclass(frozen=True)
class Word:
    """A place on disk or a switch, read where it is used: `models` and `data` know nothing of this list."""

    name: str
    default_words: str
    what: str
    allowed: str = "a folder"


SETTINGS: dict[str, Number | Word] = {}
"""Every setting by the name of its environment variable, in the order of the table."""


Setting = TypeVar("Setting", Number, Word)


def register(setting: Setting) -> Setting:
    """Add a setting to the list; raises `ValueError` on a name that is taken."""
    if setting.name in SETTINGS:
        raise ValueError(f"the setting {setting.name} is registered twice.")
    SETTINGS[setting.name] = setting
    return setting


def problems() -> list[str]:
    """One sentence for every variable of this environment whose value is not allowed."""
    found = []
    for setting in SETTINGS.values():
        if isinstance(setting, Number):
            try:
                setting.value()
            except SettingError as error:
                found.append(str(error))
    return found


def as_markdown() -> str:
    """The table of all settings."""
    rows = [
        f"| `{setting.name}` | {setting.default_words} | {_range(setting)} | {setting.what} |"
        for setting in SETTINGS.values()
    ]
    return "\n".join(["| variable | default | allowed | what |", "|---|---|---|---|", *rows])


def _range(setting: Number | Word) -> str:
    return f"{setting.least:,} to {setting.most:,}" if isinstance(setting, Number) else setting.allowed


JOBS = register(
    Number("XAI_JOBS", 2, 1, 64, "", "long jobs that the server runs at once, of all visitors together")
)
QUEUE = register(
    Number("XAI_QUEUE", 20, 0, 1_000, "", "long jobs that wait for their turn; one more is refused")
)
DRAWERS = register(
    Number(
        "XAI_DRAWERS",
        2,
        0,
        64,
        "",
        "processes that draw Explain's figures once two visitors want one at a time",
    )
)
AT_ONCE = register(
    Number(
        "XAI_AT_ONCE",
        0,
        0,
        256,
        "",
        "heatmaps that are made at once, and as many figures; further visitors wait and are told",
        "0: one for each core",
    )
)
THREADS = register(
    Number("XAI_THREADS", 0, 0, 256, "", "processor threads of one operator", "0: half of the cores")
)
NETWORKS = register(
    Number("XAI_NETWORKS", 4, 1, 100, "", "networks held in memory, for all visitors together")
)
RESULT_CACHE = register(
    Number("XAI_RESULT_CACHE_MB", 160, 1, 65_536, "MiB", "heatmaps, figures and decoded uploads in memory")
)
IMAGE_CACHE = register(Number("XAI_IMAGE_CACHE_MB", 256, 1, 65_536, "MiB", "images of datasets in memory"))
ANSWER_CACHE = register(
    Number("XAI_ANSWER_CACHE_MB", 128, 1, 65_536, "MiB", "stored answers of networks in memory")
)
FILE_SIZE = register(
    Number(
        "XAI_FILE_MB",
        25,
        1,
        1_024,
        "MiB",
        "one uploaded picture; above 256 raise `server.maxUploadSize` as well",
    )
)
FILE_PIXELS = register(
    Number(
        "XAI_FILE_MEGAPIXELS", 24, 1, 500, "megapixels", "one uploaded picture, which takes 3 MB a megapixel"
    )
)
SESSION_FILES = register(
    Number("XAI_SESSION_FILES", 50, 1, 1_000, "", "pictures that one visitor has uploaded")
)
SESSION_SIZE = register(
    Number("XAI_SESSION_MB", 200, 1, 65_536, "MiB", "pictures that one visitor has uploaded, in memory")
)
ALL_UPLOADS = register(
    Number("XAI_UPLOADS_MB", 2_048, 1, 1_048_576, "MiB", "files that all visitors have uploaded, in memory")
)
VISUALIZATIONS = register(
    Number("XAI_VISUALIZATION_MB", 2_048, 0, 1_048_576, "MiB", "pictures made for channels, kept on disk")
)
register(
    Word(
        "XAI_CACHE",
        "`~/.cache/xai-workbench`",
        "what is drawn, unpacked, downloaded or computed",
    )
)
register(Word("XAI_MODELS", "`~/.cache/xai-workbench/models`", "your own networks"))
register(Word("XAI_RESULTS", "`results` in the cache", "answers of sweeps that a page started"))
register(Word("XAI_DATA", "the cache", "where archives of datasets are looked for first"))
register(
    Word(
        "XAI_ALLOW_BUILDERS",
        "not set",
        "networks whose card names a Python function, which is then imported and run: never on a server for others",
        "1",
    )
)
