"""Where datasets are kept and looked for."""

from __future__ import annotations

import os
import tempfile
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
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    try:
        save_file(tensors, temporary)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read what `write_tensors` wrote; raises `DatasetError` when the file is damaged."""
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise DatasetError(f"the cached file {path} is damaged; delete it, and it is made again.") from error
