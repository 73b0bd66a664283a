"""A folder of pictures to try everything on: tiles of textures that come inside scikit-image, nothing to download.

Four classes, all grey so that colour doesn't give them away: brick and gravel (CC0Textures, CC0), grass (linolafett on
DeviantArt, CC0) and stars (the Hubble eXtreme Deep Field, NASA, public domain). Each photograph is cut into tiles of
64 px that don't overlap; those on the left are for training, those on the right for testing, so no test tile was seen.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from data.datasets import DatasetError
from data.samples import sample_path

SOURCES = {
    "brick": "brick.png",
    "grass": "grass.png",
    "gravel": "gravel.png",
    "stars": "hubble_deep_field.jpg",
}
"""File of each class among scikit-image's."""
SIDE = 64
TILES = 8
"""Tiles across and down."""
COLUMNS = {"train": range(5), "test": range(5, TILES)}
COUNTS = {"train": 30, "test": 12}
_NEIGHBOUR_OF_ALL = "chelsea"  # a sample that lies in the same folder as the textures


def write(out: Path, seed: int = 0) -> Path:
    """Write `train` and `test` with four classes of 30 and 12 pictures, drawn by `seed`; the same on every machine.

    Raises `DatasetError` when `out` exists and is not an empty folder, `ImageError` without scikit-image.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DatasetError(f"{out} exists and is not an empty folder; name another.")
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        for number, name in enumerate(SOURCES):
            _write_class(temporary, name, np.random.default_rng((seed, number)))
        temporary.chmod(0o755)
        os.replace(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return out


def _write_class(root: Path, name: str, generator: np.random.Generator) -> None:
    with Image.open(sample_path(_NEIGHBOUR_OF_ALL).with_name(SOURCES[name])) as picture:
        pixels = np.asarray(picture.convert("L"))
    for split, columns in COLUMNS.items():
        places = [(row, column) for row in range(TILES) for column in columns]
        (root / split / name).mkdir(parents=True)
        for number, chosen in enumerate(sorted(generator.permutation(len(places))[: COUNTS[split]])):
            top, left = (SIDE * place for place in places[chosen])
            tile = Image.fromarray(pixels[top : top + SIDE, left : left + SIDE])
            tile.save(root / split / name / f"{number:02}.png")
