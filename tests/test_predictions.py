"""Stored answers: what is written is read again, and files of any other kind are refused in one sentence."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from data import cue10
from data.datasets import ImageSet
from models.registry import Model
from xai import predictions as stored
from xai import predictions_file
from xai.predictions import Predictions, PredictionsError, facts_of, predict
from xai.predictions_file import read, write

pytestmark = pytest.mark.usefixtures("one_thread")


def made(count: int = 40, classes: int = 10) -> Predictions:
    """Random answers, right about a third of the time."""
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(count, classes))
    labels = rng.integers(0, classes, count)
    scores[np.arange(0, count, 3), labels[::3]] += 9
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    halves = shares.astype(np.float16)
    ids = tuple(f"test/{k:05d}" for k in range(count))
    return Predictions(ids, labels, halves.argmax(axis=1), halves)


@pytest.fixture(scope="module")
def pictures() -> ImageSet:
    images, _masks, labels, _textures = cue10.draw("test", 0, 30)
    ids = tuple(f"cue10/test/{k:05d}" for k in range(30))
    return ImageSet("cue10", "test", images, labels, cue10.CLASSES, ids)


def test_accuracy_and_correctness_by_hand() -> None:
    shares = np.array([[0.75, 0.25], [0.5, 0.5], [0.125, 0.875], [1, 0]], np.float16)
    rows = Predictions(("a", "b", "c", "d"), np.array([0, 0, 0, 1]), np.array([0, 1, 1, 0]), shares)
    assert rows.correct.tolist() == [True, False, False, False]
    assert (rows.accuracy, len(rows)) == (0.25, 4)


@pytest.mark.parametrize("classes", [2, 10, 100, 1000])
def test_what_is_written_is_read(classes: int, tmp_path: Path) -> None:
    before, facts = (
        made(classes=classes),
        {"model": "some", "sha256": "ab", "dataset": "cue10", "split": "test"},
    )
    write(tmp_path / "deep" / "rows.parquet", before, facts)
    after = read(tmp_path / "deep" / "rows.parquet")
    assert (after.ids, after.facts) == (before.ids, facts)
    for name in ("labels", "predicted", "probabilities"):
        ours, theirs = getattr(before, name), getattr(after, name)
        assert ours.dtype == theirs.dtype
        assert np.array_equal(ours, theirs)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["rows.parquet"]


def test_pandas_reads_the_rows(tmp_path: Path) -> None:
    import pandas as pd

    rows = made()
    write(tmp_path / "rows.parquet", rows, {})
    frame = pd.read_parquet(tmp_path / "rows.parquet")
    assert tuple(frame.columns) == predictions_file.COLUMNS
    assert tuple(frame["id"]) == rows.ids
    assert float((frame["label"] == frame["predicted"]).mean()) == rows.accuracy
    assert np.array_equal(np.stack(list(frame["p"])), rows.probabilities)


def test_ten_thousand_rows_of_ten_classes_stay_small(tmp_path: Path) -> None:
    """A float16 of random digits can't be packed: 20 bytes a row are the floor, and ids and classes cost two."""
    write(tmp_path / "rows.parquet", made(10_000), {})
    assert (tmp_path / "rows.parquet").stat().st_size < 22 * 10_000


def test_prediction_is_that_of_the_model(tiny_model: Callable[..., Model], pictures: ImageSet) -> None:
    model = tiny_model("resnet18", 64)
    expected = model.predict(pictures.float_images())
    for network in (model, model.network):
        rows = predict(network, pictures, "cpu", batch_size=7)
        assert rows.ids == pictures.ids
        assert rows.labels.tolist() == pictures.labels.tolist()
        assert rows.predicted.tolist() == expected.argmax(1).tolist()
        assert np.abs(rows.probabilities - expected.numpy()).max() < 1e-3
    assert predict(model, pictures).accuracy == rows.accuracy


def test_prediction_is_made_in_evaluation_mode(tiny_model: Callable[..., Model], pictures: ImageSet) -> None:
    network = tiny_model("resnet18", 64).network
    expected = predict(network, pictures).probabilities
    network.train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    try:
        assert np.array_equal(predict(network, pictures).probabilities, expected)
        assert network.training
        assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    finally:
        network.eval()


def test_a_network_of_other_classes_is_refused(tiny_model: Callable[..., Model], pictures: ImageSet) -> None:
    with pytest.raises(ValueError, match="the network tells 3 classes apart, but cue10 has 10"):
        predict(tiny_model("resnet18", 64, 3), pictures)


def test_facts_say_what_the_rows_are_of(tiny_model: Callable[..., Model], tmp_path: Path) -> None:
    import json

    card = replace(tiny_model("resnet18").card, sha256="ab" * 32, versions={"torch": "2"})
    write(tmp_path / "rows.parquet", made(), facts_of(card, "test"))
    facts = read(tmp_path / "rows.parquet").facts
    assert (facts["model"], facts["sha256"], facts["split"]) == (card.name, card.sha256, "test")
    assert tuple(json.loads(facts["classes"])) == card.classes
    assert json.loads(facts["versions"]) == {"torch": "2"}


# Files of any other kind


def table_of(rows: Predictions) -> pa.Table:
    return predictions_file._table(rows)


def changed(column: str, values: Any) -> pa.Table:
    table = table_of(made())
    return table.set_column(table.schema.names.index(column), column, values)


def shares(change: Callable[[np.ndarray], object]) -> pa.Table:
    halves = made().probabilities.copy()
    change(halves)
    return changed("p", pa.FixedSizeListArray.from_arrays(pa.array(halves.ravel()), 10))


def _set(row: slice, value: float) -> Callable[[np.ndarray], object]:
    def change(halves: np.ndarray) -> None:
        halves[row] = value

    return change


BAD_TABLES: dict[str, tuple[Callable[[], pa.Table], str]] = {
    "no rows": (
        lambda: table_of(made()).slice(0, 0),
        "has 0 rows of 10 classes; allowed are 1 to 2,000,000 rows and 200,000,000 probabilities.",
    ),
    "a column is missing": (lambda: table_of(made()).drop_columns(["p"]), "has no sound column 'p'"),
    "numbers as text": (
        lambda: changed("label", pa.array([str(k) for k in range(40)])),
        "has no sound column 'label'",
    ),
    "lists of different lengths": (
        lambda: changed("p", pa.array([[0.5, 0.5]] * 39 + [[1.0]])),
        "has no sound column 'p'",
    ),
    "a missing label": (
        lambda: changed("label", pa.array([None] + [1] * 39, pa.int16())),
        "has rows with missing values.",
    ),
    "a missing probability": (
        lambda: changed("p", pa.array([[None, 1.0]] * 40, pa.list_(pa.float32(), 2))),
        "has rows with missing probabilities.",
    ),
    "an id twice": (lambda: changed("id", pa.array(["a"] * 40)), "has an id twice."),
    "a giant id": (
        lambda: changed("id", pa.array([f"{k}" + "x" * 2000 for k in range(40)])),
        "has an id of more than 1,000 bytes.",
    ),
    "a class too many": (
        lambda: changed("label", pa.array([10] * 40)),
        "has a class outside 0 to 9.",
    ),
    "a negative class": (
        lambda: changed("predicted", pa.array([-1] * 40)),
        "has a class outside 0 to 9.",
    ),
    "not a number": (
        lambda: shares(_set(slice(3, 4), float("nan"))),
        "has a probability that is not a number in [0, 1].",
    ),
    "more than one": (
        lambda: shares(_set(slice(3, 4), 2)),
        "has a probability that is not a number in [0, 1].",
    ),
    "no distribution": (lambda: shares(_set(slice(3, 4), 0.5)), "has probabilities that do not sum to 1."),
    "not the most probable": (
        lambda: changed("predicted", pa.array((made().predicted + 1) % 10)),
        "has a predicted class that is not the most probable one.",
    ),
    "metadata of bytes": (
        lambda: table_of(made()).replace_schema_metadata({b"model": b"\xff\xfe"}),
        "has metadata that is not text.",
    ),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_unsound_tables_are_refused(name: str, tmp_path: Path) -> None:
    make, message = BAD_TABLES[name]
    path = tmp_path / "rows.parquet"
    pq.write_table(make(), path)
    with pytest.raises(PredictionsError) as caught:
        read(path)
    assert str(caught.value).startswith(f"rows.parquet {message}")


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write(path, made(), {"model": "some"})
    sound = path.read_bytes()
    bad = [
        b"",
        b"PAR1",
        b"not parquet at all",
        sound[: len(sound) // 2],
        sound[:-600] + bytes(500) + sound[-100:],
    ]
    for content in bad:
        path.write_bytes(content)
        with pytest.raises(
            PredictionsError, match=r"^rows.parquet is not a Parquet file, or it is damaged\.$"
        ):
            read(path)


def test_a_file_damaged_anywhere_is_refused_or_read_as_it_was(tmp_path: Path) -> None:
    """One byte in thirteen is turned over, each in turn: nothing but `PredictionsError` may come of it."""
    path, rows = tmp_path / "rows.parquet", made()
    write(path, rows, {"model": "some"})
    sound, refused = path.read_bytes(), 0
    for place in range(0, len(sound), 13):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 0xFF]) + sound[place + 1 :])
        try:
            after = read(path)
            assert np.array_equal(after.probabilities, rows.probabilities)
            assert (after.ids, after.predicted.tolist()) == (rows.ids, rows.predicted.tolist())
        except PredictionsError:
            refused += 1
    assert refused > 20


def test_too_large_files_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.parquet"
    write(path, made(), {})
    monkeypatch.setattr(predictions_file, "MAX_ROWS", 39)
    with pytest.raises(PredictionsError, match="has 40 rows of 10 classes; allowed are 1 to 39 rows"):
        read(path)
    monkeypatch.setattr(predictions_file, "MAX_BYTES", 100)
    with pytest.raises(PredictionsError, match="is larger than the allowed"):
        read(path)
    with pytest.raises(PredictionsError, match=r"there is no file of predictions none\.parquet"):
        read(tmp_path / "none.parquet")


def test_unsound_rows_are_not_written(tmp_path: Path) -> None:
    rows = made()
    for bad in (
        replace(rows, ids=rows.ids[1:]),
        replace(rows, labels=rows.labels + 10),
        replace(rows, ids=("same",) * 40),
    ):
        with pytest.raises(PredictionsError):
            write(tmp_path / "rows.parquet", bad, {})
    assert list(tmp_path.iterdir()) == []


def test_import_is_light() -> None:
    names = ("pyarrow", "scipy", "statsmodels", "pandas", "torchvision", "timm")
    command = f"import sys, xai.predictions, xai.statistics; print([n for n in {names} if n in sys.modules])"
    root = Path(stored.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


# Two networks on the same images


def test_answers_are_put_into_the_same_order() -> None:
    rows = made()
    order = np.random.default_rng(1).permutation(len(rows))
    mixed = replace(
        rows,
        ids=tuple(rows.ids[k] for k in order),
        **{name: getattr(rows, name)[order] for name in ("labels", "predicted", "probabilities")},
    )
    back = stored.aligned(rows, mixed)
    assert back.ids == rows.ids
    for name in ("labels", "predicted", "probabilities"):
        assert np.array_equal(getattr(back, name), getattr(rows, name))
    assert stored.aligned(rows, rows) is rows


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda rows: replace(rows, ids=("other", *rows.ids[1:])),
            "the two sets of answers are of 40 and 40 images, of which 39 are the same; "
            "compared are only answers to the same images.",
        ),
        (
            lambda rows: Predictions(
                rows.ids[:30], rows.labels[:30], rows.predicted[:30], rows.probabilities[:30]
            ),
            "the two sets of answers are of 40 and 30 images, of which 30 are the same; "
            "compared are only answers to the same images.",
        ),
        (
            lambda rows: replace(rows, labels=np.r_[rows.labels[:2], (rows.labels[2:] + 1) % 10]),
            "the two sets of answers differ in the labels of 38 of 40 images, first of test/00002: {} and {}.",
        ),
    ],
)
def test_answers_to_other_images_are_not_compared(
    change: Callable[[Predictions], Predictions], message: str
) -> None:
    rows = made()
    with pytest.raises(ValueError) as caught:
        stored.aligned(rows, change(rows))
    assert str(caught.value) == message.format(rows.labels[2], (rows.labels[2] + 1) % 10)
    named = replace(rows, facts={"model": "one"})
    with pytest.raises(ValueError, match="the answers of one and two"):
        stored.aligned(named, replace(change(rows), facts={"model": "two"}))


# The compact form


def test_the_compact_form_keeps_confidence_and_the_right_class(tmp_path: Path) -> None:
    shares = np.array([[0.75, 0.25], [0.5, 0.5], [0.125, 0.875], [1, 0]], np.float16)
    rows = Predictions(
        ("a", "b", "c", "d"), np.array([0, 1, 0, 1]), np.array([0, 0, 1, 0]), shares, {"model": "m"}
    )
    short = rows.compact()
    assert short.confidence.tolist() == [0.75, 0.5, 0.875, 1]
    assert short.label_probability.tolist() == [0.75, 0.5, 0.125, 0]
    assert (short.accuracy, len(short), short.facts) == (0.25, 4, {"model": "m"})
    assert short.correct.tolist() == rows.correct.tolist()
    write(tmp_path / "short.parquet", short, rows.facts)
    write(tmp_path / "full.parquet", rows, rows.facts)
    for name in ("short", "full"):
        back = predictions_file.read_answers(tmp_path / f"{name}.parquet")
        assert (back.ids, back.facts) == (rows.ids, {"model": "m"})
        for column in ("labels", "predicted", "confidence", "label_probability"):
            assert np.array_equal(getattr(back, column), getattr(short, column))
            assert getattr(back, column).dtype == getattr(short, column).dtype
        assert predictions_file.read_facts(tmp_path / f"{name}.parquet") == {"model": "m"}


def test_the_compact_form_is_small(tmp_path: Path) -> None:
    """Random confidences can't be packed: two bytes, and two more where the answer is wrong (two of three)."""
    write(tmp_path / "rows.parquet", made(10_000).compact(), {})
    assert (tmp_path / "rows.parquet").stat().st_size < 5.5 * 10_000


COMPACT_CHANGES: dict[str, tuple[str, Any, str]] = {
    "a wrong answer without its probability": (
        "label_probability",
        pa.nulls(40, pa.float16()),
        "has a probability that is not a number in [0, 1].",
    ),
    "the right class above the predicted one": (
        "label_probability",
        pa.array(np.ones(40, np.float16)),
        "has a predicted class that is not the most probable one.",
    ),
    "no confidence": ("confidence", pa.nulls(40, pa.float16()), "has rows with missing values."),
    "more than sure": (
        "confidence",
        pa.array(np.full(40, 2, np.float16)),
        "has a probability that is not a number in [0, 1].",
    ),
    "words": ("confidence", pa.array(["x"] * 40), "has no sound column 'confidence'"),
}


@pytest.mark.parametrize("name", COMPACT_CHANGES)
def test_unsound_compact_tables_are_refused(name: str, tmp_path: Path) -> None:
    column, values, message = COMPACT_CHANGES[name]
    table = predictions_file._table(made().compact())
    pq.write_table(
        table.set_column(table.schema.names.index(column), column, values), tmp_path / "rows.parquet"
    )
    with pytest.raises(PredictionsError) as caught:
        predictions_file.read_answers(tmp_path / "rows.parquet")
    assert str(caught.value).startswith(f"rows.parquet {message}")
