"""Embeddings on disk: the same again within what is said, hostile files in one sentence, and what is found by key."""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.embedding_helpers import embedding
from xai import embedding_file, embedding_store
from xai.attribution_types import ExplanationError
from xai.embedding import Degraded, Embedding, Map
from xai.embedding_file import EmbeddingFileError, read, write
from xai.embedding_writing import PROBABILITY_ERROR, coordinate_error


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(embedding_store, "SHIPPED", tmp_path / "shipped")


def shas(found: Embedding) -> tuple[str, ...]:
    return tuple(each.model_sha256 for each in found.maps)


def assert_same_points(a: np.ndarray, b: np.ndarray, bits: int = 16) -> None:
    for axis in (0, 1):
        allowed = coordinate_error(float(b[:, axis].min()), float(b[:, axis].max()), bits)
        assert np.abs(a[:, axis] - b[:, axis]).max() <= allowed + 1e-5
    assert a.dtype == np.float32


def assert_same_map(a: Map, b: Map, bits: int = 16) -> None:
    assert_same_points(a.coordinates, b.coordinates, bits)
    assert np.array_equal(a.neighbours, b.neighbours)
    assert a.neighbours.dtype == np.int32
    pairs: list[tuple[Map | Degraded, Map | Degraded]] = [(a, b), *zip(a.degraded, b.degraded, strict=True)]
    for one, other in pairs:
        assert np.array_equal(one.answers.classes, other.answers.classes)
        assert np.abs(one.answers.probabilities - other.answers.probabilities).max() <= PROBABILITY_ERROR
    for mine, theirs in zip(a.degraded, b.degraded, strict=True):
        assert_same_points(mine.coordinates, theirs.coordinates, bits)
        np.testing.assert_allclose(mine.overlap, theirs.overlap, atol=1e-12)
        np.testing.assert_allclose(mine.drift, theirs.drift, rtol=1e-5)
        assert mine.severity == theirs.severity
    np.testing.assert_allclose(a.quality.distances, b.quality.distances, rtol=1e-5)
    np.testing.assert_allclose(a.quality.silhouette, b.quality.silhouette, rtol=1e-5)
    assert a.quality.warnings == b.quality.warnings
    assert (a.model, a.model_sha256, a.layer, a.dimensions, a.engine, a.notes) == (
        b.model,
        b.model_sha256,
        b.layer,
        b.dimensions,
        b.engine,
        b.notes,
    )


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_what_is_read_is_what_was_written(bits: int, tmp_path: Path) -> None:
    made = embedding(warnings=["A warning."])
    write(tmp_path / "a.parquet", [made], bits)
    (found,) = read(tmp_path / "a.parquet")
    assert (found.request, found.ids, found.classes) == (made.request, made.ids, made.classes)
    assert np.array_equal(found.labels, made.labels)
    assert found.labels.dtype == np.int64
    for a, b in zip(found.maps, made.maps, strict=True):
        assert_same_map(a, b, bits)
    assert found.between is not None
    assert made.between is not None
    np.testing.assert_allclose(found.between.overlap, made.between.overlap, atol=1e-12)
    assert found.between.residual == made.between.residual


def test_one_image_without_neighbours_and_numbers_that_are_none(tmp_path: Path) -> None:
    made = embedding(1, 1, ("a",), (), k=1)
    alone = replace(
        made.maps[0],
        neighbours=np.zeros((1, 0), np.int32),
        quality=replace(made.maps[0].quality, trustworthiness=math.nan, silhouette=np.array([math.nan])),
    )
    write(tmp_path / "a.parquet", [replace(made, maps=(alone,))])
    (found,) = read(tmp_path / "a.parquet")
    assert found.maps[0].neighbours.shape == (1, 0)
    assert math.isnan(found.maps[0].quality.trustworthiness)
    assert math.isnan(found.maps[0].quality.silhouette[0])
    assert np.array_equal(found.maps[0].coordinates, made.maps[0].coordinates)


def test_columns_in_which_embeddings_agree_are_kept_once(tmp_path: Path) -> None:
    made = embedding(2000, 10, ("a",))
    other = replace(made.maps[0], coordinates=made.maps[0].coordinates[::-1].copy())
    write(tmp_path / "one.parquet", [made])
    write(tmp_path / "two.parquet", [made, replace(made, maps=(other,))])
    columns = [pq.read_metadata(tmp_path / f"{name}.parquet").num_columns for name in ("one", "two")]
    assert columns[1] == columns[0] + 2
    assert_same_map(read(tmp_path / "two.parquet")[1].maps[0], other)


def test_what_can_not_be_kept_is_said() -> None:
    made = embedding()
    bad = replace(made.maps[0], coordinates=np.full((60, 2), np.nan, np.float32))
    for given in ([], [made, embedding(61)], [replace(made, maps=(bad, made.maps[1]))]):
        with pytest.raises(ExplanationError):
            write(Path("nowhere.parquet"), given)
    assert not Path("nowhere.parquet").exists()


Facts = dict[str, Any]


def spoiled(path: Path, change: Callable[[Facts], object], columns: dict[str, Any] | None = None) -> Path:
    """A sound file with its facts changed, and some of its columns replaced."""
    write(path, [embedding()])
    table = pq.read_table(path)
    metadata = pq.read_metadata(path).metadata
    facts = json.loads(zlib.decompress(base64.b85decode(metadata[b"xai-embedding"])))
    change(facts)
    for name, values in (columns or {}).items():
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    coded = base64.b85encode(zlib.compress(json.dumps(facts).encode()))
    pq.write_table(table.replace_schema_metadata({b"xai-embedding": coded}), path)
    return path


def _map(facts: Facts) -> Facts:
    found: Facts = facts["embeddings"][0]["maps"][0]
    return found


HOSTILE: dict[str, Callable[[Facts], object]] = {
    "format": lambda f: f.update(format="other"),
    "nothing": lambda f: f.update(embeddings=[]),
    "classes": lambda f: f.update(classes=["one"]),
    "column": lambda f: _map(f)["neighbours"].__setitem__(0, "nowhere"),
    "text as numbers": lambda f: _map(f)["neighbours"].__setitem__(0, "id"),
    "many neighbours": lambda f: _map(f).update(neighbours=["c0"] * 101),
    "bits": lambda f: _map(f)["coordinates"].update(bits=400),
    "fewer bits": lambda f: _map(f)["coordinates"].update(bits=8),
    "range": lambda f: _map(f)["coordinates"].update(low=[None, 0]),
    "distances": lambda f: _map(f)["quality"].update(distances=[[0]]),
    "drift": lambda f: _map(f)["degraded"][0].update(drift=[1, 2]),
    "notes": lambda f: _map(f).update(notes="text"),
    "request": lambda f: f["embeddings"][0].update(request={"models": ["a", "b"]}),
    "models": lambda f: f["embeddings"][0]["maps"].pop(),
    "list": lambda f: f.update(embeddings=3),
    "share": lambda f: _map(f)["quality"].update(knn_accuracy=[1, 2]),
    "share above 1": lambda f: _map(f)["quality"].update(knn_accuracy=[1.5, 0, 1, 60]),
    "share of more images": lambda f: _map(f)["quality"].update(knn_accuracy=[1, 0, 1, 61]),
    "severities": lambda f: _map(f)["degraded"][1].update(severity=2.0),
    "fewer severities": lambda f: _map(f)["degraded"].pop(),
    "severity as text": lambda f: _map(f)["degraded"][0].update(severity="1"),
    "endless coordinates": lambda f: _map(f)["coordinates"].update(high=[1e39, 0]),
    "endless range": lambda f: _map(f)["coordinates"].update(low=[-1.7e308, 0], high=[1.7e308, 0]),
    "bits without end": lambda f: _map(f)["coordinates"].update(bits=10**12),
    "half a bit": lambda f: _map(f)["coordinates"].update(bits=16.5),
    "trustworthiness": lambda f: _map(f)["quality"].update(trustworthiness=1.1),
    "continuity": lambda f: _map(f)["quality"].update(continuity=-0.1),
    "a measure as text": lambda f: _map(f)["quality"].update(continuity="0.5"),
    "endless measure": lambda f: _map(f)["quality"].update(trustworthiness=float("inf")),
    "silhouette": lambda f: _map(f)["quality"].update(silhouette=[0, 2, 0]),
    "judged": lambda f: _map(f)["quality"].update(judged=61),
    "judged in part": lambda f: _map(f)["quality"].update(judged=1.5),
    "dimensions": lambda f: _map(f).update(dimensions=0),
    "negative distance": lambda f: _map(f)["quality"].update(distances=[[-1] * 3] * 3),
    "negative drift": lambda f: _map(f)["degraded"][0].update(drift=[-1, 0, 0]),
    "fewer neighbours": lambda f: _map(f)["neighbours"].pop(),
    "a neighbour twice": lambda f: _map(f)["neighbours"].__setitem__(0, _map(f)["neighbours"][1]),
    "a class twice": lambda f: f.update(classes=["one", "two", "one"]),
    "a class that is none": lambda f: f.update(classes=["one", "two", 3]),
    "residual": lambda f: f["embeddings"][0]["between"].update(residual=1.5),
    "nothing between": lambda f: f["embeddings"][0].update(between=None),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_facts_that_are_not_sound_are_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    path = spoiled(tmp_path / "a.parquet", HOSTILE[name])
    with pytest.raises(EmbeddingFileError, match=r"^a\.parquet .*\.$"):
        read(path)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("label", [3] * 60),
        ("label", [-1] * 60),
        ("label", [None] * 60),
        ("id", ["same"] * 60),
        ("id", ["x" * 2000, *map(str, range(59))]),
        ("neighbour", [60] * 60),
        ("neighbour", list(range(60))),
        ("neighbour", [0.5] * 60),
    ],
)
def test_rows_that_are_not_sound_are_refused(column: str, values: list[Any], tmp_path: Path) -> None:
    names: list[str] = []
    spoiled(tmp_path / "a.parquet", lambda facts: names.append(_map(facts)["neighbours"][0]))
    spoiled(tmp_path / "a.parquet", lambda _: None, {names[0] if column == "neighbour" else column: values})
    with pytest.raises(EmbeddingFileError, match="not an embedding"):
        read(tmp_path / "a.parquet")


def test_foreign_and_damaged_files_are_refused_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    with pytest.raises(EmbeddingFileError, match="there is no file"):
        read(path)
    with pytest.raises(EmbeddingFileError, match="regular files"):
        read(tmp_path)
    for content in (b"", b"PAR1" * 9, b"\x80\x04pickle"):
        path.write_bytes(content)
        with pytest.raises(EmbeddingFileError):
            read(path)
    pq.write_table(pa.table({"id": ["a"]}), path)
    with pytest.raises(EmbeddingFileError, match="not an embedding"):
        read(path)
    write(path, [embedding()])
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 5] ^= 1
    path.write_bytes(whole)
    with pytest.raises(EmbeddingFileError):
        read(path)


def test_limits_hold_before_anything_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.parquet"
    write(path, [embedding()])
    for name, limit in (("MAX_ROWS", 59), ("MAX_COLUMNS", 9), ("MAX_FACTS", 99), ("MAX_BYTES", 999)):
        with monkeypatch.context() as patch:
            patch.setattr(embedding_file, name, limit)
            with pytest.raises(EmbeddingFileError):
                read(path)
    assert len(read(path)) == 1


def test_what_was_kept_is_found_and_nothing_else() -> None:
    made = embedding()
    assert embedding_store.find(made.request, shas(made)) is None
    path = embedding_store.keep(made)
    assert path is not None
    found = embedding_store.find(made.request, shas(made))
    assert found is not None
    assert_same_map(found.maps[0], made.maps[0])
    explicit = replace(made.request, layers=("penultimate", "penultimate"))
    assert embedding_store.find(explicit, shas(made)) is not None
    assert embedding_store.find(made.request, ("other", shas(made)[1])) is None
    for change in ({"k": 6}, {"split": "train"}, {"severities": (1.0,)}, {"seed": 1}, {"limit": None}):
        assert embedding_store.find(replace(made.request, **change), shas(made)) is None  # type: ignore[arg-type]


def test_as_many_images_as_there_are_or_more_are_all_of_them() -> None:
    made = embedding(models=("a",))
    whole = replace(made, request=replace(made.request, limit=None))
    embedding_store.keep(whole)
    for limit, there in ((59, False), (60, True), (61, True)):
        found = embedding_store.find(replace(made.request, limit=limit), shas(made))
        assert (found is not None) == there
        assert found is None or found.request.limit is None
    for path in embedding_store.folder().iterdir():
        path.unlink()
    embedding_store.ship([whole])
    for limit, there in ((59, False), (60, True)):
        assert (embedding_store.find(replace(made.request, limit=limit), shas(made)) is not None) == there


def test_seed_and_scale_count_only_where_images_are_degraded() -> None:
    made = embedding(severities=())
    embedding_store.keep(made)
    same = replace(made.request, seed=5, degradation="fog")
    found = embedding_store.find(same, shas(made))
    assert found is not None
    assert found.request == same


def test_a_folder_of_ones_own_is_kept_by_its_images() -> None:
    made = embedding()
    made = replace(made, request=replace(made.request, dataset="folder:/tmp/x"))
    assert embedding_store.keep(made) is None
    assert embedding_store.keep(made, "digest") is not None
    assert embedding_store.find(made.request, shas(made), "digest") is not None
    assert embedding_store.find(made.request, shas(made), "another") is None
    assert embedding_store.find(made.request, shas(made)) is None


def test_a_damaged_or_foreign_file_under_a_key_counts_as_missing() -> None:
    made = embedding()
    path = embedding_store.keep(made)
    assert path is not None
    write(path, [embedding(models=("a", "c"))])
    assert embedding_store.find(made.request, shas(made)) is None
    path.write_bytes(b"nothing")
    assert embedding_store.find(made.request, shas(made)) is None


def test_the_longest_unused_is_removed_first() -> None:
    import os

    paths = []
    for number in range(3):
        path = embedding_store.keep(embedding(models=(f"{number}",)))
        assert path is not None
        os.utime(path, ns=(number, number))
        paths.append(path)
    used = embedding(models=("0",))
    assert embedding_store.find(used.request, shas(used)) is not None
    embedding_store.trim(limit=sum(path.stat().st_size for path in paths) - 1)
    assert [path.exists() for path in paths] == [True, False, True]


def test_a_shipped_embedding_answers_parts_of_what_it_holds() -> None:
    noise, clean = embedding(models=("a",)), embedding(models=("a",), severities=())
    clean = replace(clean, maps=(replace(noise.maps[0], degraded=()),))
    (path,) = embedding_store.ship([noise])
    assert path.parent.name == "cue10-test"
    asked = replace(noise.request, severities=(3.0,))
    found = embedding_store.find(asked, shas(noise))
    assert found is not None
    assert found.request == asked
    assert_same_map(found.maps[0], replace(noise.maps[0], degraded=noise.maps[0].degraded[1:]), 12)
    found = embedding_store.find(clean.request, shas(noise))
    assert found is not None
    assert_same_map(found.maps[0], clean.maps[0], 12)
    assert embedding_store.find(replace(asked, severities=(2.0,)), shas(noise)) is None
    assert embedding_store.find(asked, ("other",)) is None
    assert embedding_store.find(replace(asked, degradation="fog"), shas(noise)) is None


def test_two_shipped_networks_are_put_together() -> None:
    a = embedding(models=("a",), severities=())
    turned = replace(
        a.maps[0],
        model="b",
        model_sha256="b",
        coordinates=(a.maps[0].coordinates @ np.array([[0, 2], [-2, 0]]) + 7).astype(np.float32),
    )
    b = replace(a, request=replace(a.request, models=("b",)), maps=(turned,))
    embedding_store.ship([a, b], {("b", "a"): 0.25})
    both = replace(a.request, models=("a", "b"))
    found = embedding_store.find(both, (*shas(a), "b"))
    assert found is not None
    assert found.between is not None
    assert np.array_equal(found.between.overlap, np.ones(60))
    assert (found.between.mean.value, found.between.residual) == (1.0, 0.25)
    assert found.between.chance == pytest.approx(5 / 59)
    assert found.between.residual_2d == pytest.approx(0, abs=1e-5)
    np.testing.assert_allclose(found.maps[1].coordinates, a.maps[0].coordinates, atol=0.05)
    apart = embedding_store.find(replace(both, layout="separate"), (*shas(a), "b"))
    assert apart is not None
    np.testing.assert_allclose(apart.maps[1].coordinates, turned.coordinates, atol=0.1)
    assert embedding_store.find(replace(both, layout="shared start"), (*shas(a), "b")) is None


def test_a_full_disk_keeps_nothing_and_breaks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(embedding_file, "write", full)
    assert embedding_store.keep(embedding()) is None
