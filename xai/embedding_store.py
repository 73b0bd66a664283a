"""Embeddings on disk: those computed here, by key, in the cache folder, and those that come with the project.

The cache is of at most `LIMIT` bytes; what was used longest ago is removed first. What comes with the project is one
file for each network (see `ship`), only read: single maps, of which a request for two networks is put together, the
second laid onto the first, with the neighbours that they share. Nothing breaks when files are damaged or deleted, or
can't be written.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from data import degradations
from data.catalogue import DATASETS
from data.datasets import Progress, open_dataset
from data.storage import cache_folder
from models import zoo
from models.files import write_text
from models.registry import Model
from xai import embedding_file
from xai.embedding import Between, Embedding, EmbeddingRequest, Map
from xai.embedding_file import EmbeddingFileError
from xai.embedding_writing import FORMAT, plain
from xai.evaluation_store import data_sha256
from xai.export import safe_stem
from xai.neighbours import Neighbours

SHIPPED = Path(__file__).resolve().parent.parent / "data" / "embeddings"
"""Embeddings that come with the project."""
LIMIT = 512 * 2**20
ALGORITHM = 1
"""To be raised when the same request no longer gives the same embedding, so that those kept before are not taken."""
SHIPPED_BITS = 12
"""Bits of a shipped coordinate: 4,096 steps across the map, more than a screen shows."""
RESIDUALS = "residuals.json"
"""Beside the shipped files: the Procrustes residual of the features of two networks, which no file of one can hold."""
_KEPT_LEVEL = 3
_ENDS = "*.parquet"


def folder() -> Path:
    """Where computed embeddings are kept."""
    return cache_folder() / "embeddings"


def plain_request(request: EmbeddingRequest) -> EmbeddingRequest:
    """The same request as every other that asks for the same: layers named, nothing said that changes nothing.

    Raises `ValueError` for a degradation or scale that there is not.
    """
    layers = tuple(request.layer_of(model) for model in request.models)
    settings: dict[str, Any] = {"layers": layers}
    if not request.severities:
        settings |= {"degradation": "none", "scale": "", "seed": 0}
    else:
        entry = degradations.DEGRADATIONS[degradations.resolve_name(request.degradation)]
        scale = degradations.resolve_scale(request.scale) if request.scale else _usual_scale(request.dataset)
        seed = request.seed if entry.random else 0
        settings |= {"degradation": entry.name, "scale": scale, "seed": seed}
    if len(request.models) == 1:
        settings["layout"] = "separate"
    return replace(request, **settings)


def _usual_scale(dataset: str) -> str:
    """The scale that fits the images of a registered dataset; none for a folder, whose images may have any size."""
    known = DATASETS.get(dataset)
    return degradations.default_scale(known.image_size, known.image_size) if known else ""


def key_of(request: EmbeddingRequest, sha256: Sequence[str], images: str = "") -> str:
    """What an embedding depends on, as text: the request, the networks' weights, the images, and what degrades them."""
    asked = plain_request(request)
    return json.dumps([FORMAT, ALGORITHM, asked.to_json(), list(sha256), images, _version(asked)])


def _version(request: EmbeddingRequest) -> int:
    """The version of the degradation, 0 for none."""
    return degradations.DEGRADATIONS[request.degradation].version if request.severities else 0


def path_of(key: str) -> Path:
    """Where the embedding of a key is kept."""
    return folder() / f"{hashlib.sha256(key.encode()).hexdigest()[:40]}.parquet"


def find(request: EmbeddingRequest, sha256: Sequence[str], images: str = "") -> Embedding | None:
    """The embedding of a request: one computed before, or one that comes with the project; None where there is none.

    `sha256` are the hashes of the networks' weights in the order of `request.models`, `images` that of the images
    (`evaluation_store.data_sha256`), needed for a user's own folder, which may change. As many images as there are, or
    more, are all of them.
    """
    found = _kept(request, sha256, images) or shipped(request, sha256)
    if found is not None or request.limit is None:
        return found
    whole = find(replace(request, limit=None), sha256, images)
    return whole if whole is not None and len(whole.ids) <= request.limit else None


def _kept(request: EmbeddingRequest, sha256: Sequence[str], images: str) -> Embedding | None:
    if not _is_known(request, images):
        return None
    path = path_of(key_of(request, sha256, images))
    try:
        found = embedding_file.read(path)[0]
    except EmbeddingFileError:
        return None
    if plain_request(found.request) != plain_request(request) or _hashes(found) != tuple(sha256):
        return None
    with suppress(OSError):  # another process removed it, or the folder is only readable
        os.utime(path)
    return replace(found, request=_scaled(request))


def _scaled(request: EmbeddingRequest) -> EmbeddingRequest:
    """The request as it was asked, with the scale that its severities are on."""
    return replace(request, scale=plain_request(request).scale) if request.severities else request


def stored(
    request: EmbeddingRequest,
    *,
    load: Callable[[str], Model] = zoo.load,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Embedding:
    """The embedding of a request, found or else computed and kept; raises what `embed` raises."""
    from xai.embedding_run import embed, settled

    cards = zoo.cards()
    hashes = [(cards[name] if name in cards else load(name).card).sha256 for name in request.models]
    data, images = None, ""
    if not _is_known(request, images):
        data = open_dataset(request.dataset, request.split, progress)
        request, images = settled(request, data), data_sha256(data)
    found = find(request, hashes, images)
    if found is None:
        made = embed(request, load=load, data=data, progress=progress, cancelled=cancelled)
        found = embedding_file.rounded(made)
        keep(found, images)
    return found


def _is_known(request: EmbeddingRequest, images: str) -> bool:
    """Whether it is certain which images are meant."""
    return bool(images) or ":" not in request.dataset


def _hashes(found: Embedding) -> tuple[str, ...]:
    return tuple(each.model_sha256 for each in found.maps)


def keep(found: Embedding, images: str = "") -> Path | None:
    """Keep an embedding for `find`; None where it can't be, as on a full disk or for images that may be others."""
    if not _is_known(found.request, images):
        return None
    path = path_of(key_of(found.request, _hashes(found), images))
    try:
        embedding_file.write(path, [found], level=_KEPT_LEVEL)
    except OSError:
        return None
    trim(path)
    return path


def trim(spared: Path | None = None, limit: int = LIMIT) -> None:
    """Remove what was used longest ago until all takes at most `limit` bytes, one file apart."""
    room = limit
    for _used, size, path in sorted(_files(), reverse=True):
        room -= size
        if room < 0 and path != spared:
            path.unlink(missing_ok=True)


def _files() -> Iterator[tuple[int, int, Path]]:
    for path in folder().glob(_ENDS):
        with suppress(FileNotFoundError):
            state = path.stat()
            yield state.st_mtime_ns, state.st_size, path


def ship(
    embeddings: Sequence[Embedding],
    residuals: Mapping[tuple[str, str], float] | None = None,
    place: Path | None = None,
) -> list[Path]:
    """Write embeddings of single networks as those that come with the project, one file for each network and split.

    `residuals` are the Procrustes residuals of the features of pairs of networks, by their names. Returns the paths.
    Raises `ExplanationError` for what `embedding_file.write` does not take.
    """
    place = place or SHIPPED
    groups: dict[tuple[str, str, str], list[Embedding]] = {}
    for each in embeddings:
        (only,) = each.maps
        groups.setdefault((each.request.dataset, each.request.split, only.model), []).append(each)
    written = []
    for (dataset, split, model), group in groups.items():
        path = place / f"{safe_stem(dataset)}-{safe_stem(split)}" / f"{safe_stem(model)}.parquet"
        embedding_file.write(path, group, SHIPPED_BITS)
        written.append(path)
    if residuals:
        rows = [[a, b, plain(value)] for (a, b), value in sorted(residuals.items())]
        write_text(place / RESIDUALS, json.dumps(rows) + "\n")
    return written


def shipped(request: EmbeddingRequest, sha256: Sequence[str], place: Path | None = None) -> Embedding | None:
    """The embedding of a request from what comes with the project; None where that lacks a part of it.

    Of two networks the second is laid onto the first unless the layout is "separate"; "shared start" is computed,
    not shipped.
    """
    asked, place = plain_request(request), place or SHIPPED
    if asked.layout == "shared start":
        return None
    singles = []
    for model, digest in zip(asked.models, sha256, strict=True):
        found = _single(place, _alone(asked, model), digest)
        if found is None:
            return None
        singles.append(found)
    if len(singles) == 1:
        return replace(singles[0], request=_scaled(request))
    return _pair(_scaled(request), singles, place)


def _alone(request: EmbeddingRequest, model: str) -> EmbeddingRequest:
    """The same asked of one of the networks."""
    return replace(request, models=(model,), layers=(request.layer_of(model),), layout="separate")


def _single(place: Path, request: EmbeddingRequest, sha256: str) -> Embedding | None:
    """A shipped embedding of one network with the severities that are asked for."""
    name = f"{safe_stem(request.models[0])}.parquet"
    path = place / f"{safe_stem(request.dataset)}-{safe_stem(request.split)}" / name
    try:
        state = path.stat()
        held = _read_once(path, state.st_mtime_ns, state.st_size)
    except (OSError, EmbeddingFileError):
        return None
    return next((each for each in map(lambda one: _part(one, request, sha256), held) if each), None)


@lru_cache(maxsize=4)
def _read_once(path: Path, _changed: int, _size: int) -> tuple[Embedding, ...]:
    return embedding_file.read(path)


def _part(found: Embedding, request: EmbeddingRequest, sha256: str) -> Embedding | None:
    """What a shipped embedding has of a request of one network; None where it is of something else."""
    held = plain_request(found.request)
    wanted = {"severities": request.severities}
    if not request.severities:
        wanted |= {"degradation": "none", "scale": "", "seed": 0}  # type: ignore[dict-item]
    same = replace(held, **wanted) == request and found.maps[0].model_sha256 == sha256  # type: ignore[arg-type]
    known = {each.severity: each for each in found.maps[0].degraded}
    if not same or not set(request.severities) <= set(known):
        return None
    degraded = tuple(known[severity] for severity in request.severities)
    return replace(found, request=request, maps=(replace(found.maps[0], degraded=degraded),))


def _pair(request: EmbeddingRequest, singles: Sequence[Embedding], place: Path) -> Embedding | None:
    """Two networks' embeddings as one."""
    first, second = singles
    same = first.ids == second.ids and first.classes == second.classes
    if not same or first.maps[0].neighbours.shape != second.maps[0].neighbours.shape:
        return None
    a, b = first.maps[0], second.maps[0]
    notes = tuple(dict.fromkeys([*first.notes, *second.notes]))
    between, laid = _between(a, b, _residual(place, a.model, b.model))
    maps = (a, laid if request.layout == "aligned" else b)
    return replace(first, request=request, maps=maps, between=between, notes=notes)


def _between(a: Map, b: Map, residual: float) -> tuple[Between, Map]:
    """What two networks have in common, and the second's map laid onto the first's."""
    from xai.alignment import overlaid
    from xai.embedding_metrics import chance_overlap, mean_share, overlap

    near = [Neighbours(each.neighbours, np.zeros(each.neighbours.shape, np.float32)) for each in (a, b)]
    shared, onto = overlap(near[0], near[1]), overlaid(a.coordinates, b.coordinates)
    chance = chance_overlap(len(shared), a.neighbours.shape[1])
    between = Between(shared, mean_share(shared), chance, residual, onto.residual)
    moved = tuple(replace(each, coordinates=onto.apply(each.coordinates)) for each in b.degraded)
    return between, replace(b, coordinates=onto.coordinates, degraded=moved)


def _residual(place: Path, a: str, b: str) -> float:
    """The shipped residual of two networks' features, NaN where there is none."""
    try:
        rows = json.loads((place / RESIDUALS).read_text())
        known = {frozenset(row[:2]): row[2] for row in rows}
        return float(known[frozenset((a, b))])
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return math.nan
