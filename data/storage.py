"""Where datasets are kept and looked for."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from data.datasets import DatasetError

_ROOT = Path(__file__).resolve().parent.parent


def cache_folder() -> Path:
    """Folder for drawn, unpacked and downloaded data: `$XAI_CACHE`, else `~/.cache/xai-workbench`."""
    return Path(os.environ.get("XAI_CACHE") or Path.home() / ".cache" / "xai-workbench")


def find_archive(filename: str) -> Path | None:
    """First place that holds `filename`: `$XAI_DATA`, the cache, `shared/data` in or beside the project."""
    places = [Path(os.environ["XAI_DATA"])] if os.environ.get("XAI_DATA") else []
    places += [cache_folder(), _ROOT / "shared" / "data", _ROOT.parent / "shared" / "data"]
    return next((place / filename for place in places if (place / filename).is_file()), None)


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors by rename, so that a reader never sees half a file."""
    with _replacing(path) as temporary:
        save_file(tensors, temporary)


def write_text(path: Path, text: str) -> Path:
    """Write text by rename, as UTF-8, and return the path."""
    with _replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A file beside `path` to write, which takes its place at the end if nothing was raised."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    try:
        yield Path(name)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read what `write_tensors` wrote; raises `DatasetError` when the file is damaged."""
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise DatasetError(f"the cached file {path} is damaged; delete it, and it is made again.") from error
