"""Sweeps over folders and into folders that are not as they should be: one sentence per problem, nothing mixed up."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from data import folder_stream
from data.catalogue import load_dataset
from models import zoo
from xai.cli import main
from xai.evaluation import sweep
from xai.evaluation_grid import Cell, grid
from xai.evaluation_store import stored
from xai.predictions_file import read, read_answers

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).resolve().parent.parent
NETWORK = "alexnet-cifar10-jpeg-s0"
PAIR = (NETWORK, "resnet18_cifar-w16-cifar10-jpeg-s0")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAI_CACHE", str(tmp_path / "cache"))


def write_pictures(folder: Path, count: int, side: int = 32, seed: int = 0) -> None:
    folder.mkdir(parents=True)
    generator = np.random.default_rng(seed)
    for number in range(count):
        Image.fromarray(generator.integers(0, 256, (side, side, 3), np.uint8)).save(
            folder / f"{number:03}.png"
        )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Pictures of noise in folders named as two classes that shipped networks know."""
    for seed, name in enumerate(("cat", "dog")):
        write_pictures(tmp_path / "set" / name, 20, seed=seed)
    return tmp_path / "set"


def command(root: Path, out: Path, *others: str, models: tuple[str, ...] = (NETWORK,)) -> list[str]:
    asked = ["--degradations", "gaussian_noise", "--severities", "1"]
    return [
        "evaluate",
        "--models",
        *models,
        "--dataset",
        f"folder:{root}@32",
        *asked,
        "--out",
        str(out),
        *others,
    ]


def complaints(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What the command said on standard error, without progress bars."""
    lines = capsys.readouterr().err.replace("\r", "\n").splitlines()
    return [line.removeprefix("xai evaluate: ") for line in lines if line.startswith("xai evaluate: ")]


def broken(root: Path) -> None:
    for name in ("a", "b", "c"):
        (root / "dog" / f"{name}.png").write_bytes((root / "dog" / "000.png").read_bytes()[:200])


def dots(root: Path) -> None:
    for name in ("a", "b"):
        Image.new("RGB", (1, 1)).save(root / "cat" / f"{name}.png")


def foreign(root: Path) -> None:
    (root / "cat" / "notes.txt").write_text("not a picture")
    (root / "dog" / "Thumbs.db").write_bytes(bytes(99))


def outside(root: Path) -> None:
    Image.new("RGB", (32, 32)).save(root.parent / "outside.png")
    for name in ("a", "b"):
        (root / "cat" / f"{name}.png").symlink_to(root.parent / "outside.png")
    (root / "dog" / "up").symlink_to("..")


def endless(root: Path) -> None:
    (root / "cat" / "loop.png").symlink_to("loop.png")


LEFT_OUT: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "broken images": (
        broken,
        ["3 files or folders were skipped: a.png is a PNG file that is cut short, and 2 more"],
    ),
    "1x1 images": (
        dots,
        ["2 files or folders were skipped: a.png is 1x1 pixels, less than the 2x2 that are needed"],
    ),
    "no images": (
        foreign,
        ["2 files or folders were skipped: notes.txt is not a picture in one of the formats PNG"],
    ),
    "links": (
        outside,
        [
            "2 files or folders were skipped: a.png is a link that leads out of the folder, and 1 more like it.",
            "up was skipped: it is a link to a folder.",
        ],
    ),
    "a link to itself": (endless, ["loop.png was skipped: it can't be looked at."]),
    "a class with no images": (
        lambda root: (root / "ship").mkdir(),
        ["ship was skipped: it is a folder without files."],
    ),
    "nested folders": (lambda root: write_pictures(root / "cat" / "young" / "grey", 1), []),
    "copies": (
        lambda root: shutil.copytree(root / "cat", root / "dog" / "cats"),
        ["pictures have an exact copy in another split: "],
    ),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_is_wrong_with_a_folder_is_one_sentence_and_the_rest_is_evaluated(
    name: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    harm, expected = LEFT_OUT[name]
    harm(root)
    assert main(command(root, tmp_path / "out")) == 0
    said = complaints(capsys)
    assert len(said) == len(expected)
    assert all(start in line for line, start in zip(said, expected, strict=True))
    ids = load_dataset(f"folder:{root}@32", "test").ids
    files = list(stored(tmp_path / "out")[0].values())
    assert [read(path).ids for path in files] == [ids, ids]
    times = [path.stat().st_mtime_ns for path in files]
    assert main(command(root, tmp_path / "out")) == 0  # the same is said again, and nothing computed
    assert complaints(capsys) == said
    assert [path.stat().st_mtime_ns for path in files] == times


def only(root: Path) -> None:
    shutil.rmtree(root / "dog")


def many(root: Path) -> None:
    for number in range(19_998):
        (root / f"class {number}").mkdir()
        (root / f"class {number}" / "a.png").touch()


def nothing(root: Path) -> None:
    for path in root.rglob("*.png"):
        path.unlink()


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "one class": (only, "has 1 sub-folder with files, one for each class; allowed are 2 to 1,000."),
    "20,000 classes": (
        many,
        "has 20,000 sub-folders with files, one for each class; allowed are 2 to 1,000.",
    ),
    "zero images": (nothing, "has 0 sub-folders with files, one for each class; allowed are 2 to 1,000."),
    "two names that look alike": (
        lambda root: (root / "dog").rename(root / "cat\u200b"),
        "differ only in characters that can't be displayed.",
    ),
    "unknown classes": (
        lambda root: write_pictures(root / "zebra", 1),
        "does not know 1 of the 3 classes of folder:",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_folders_that_are_no_dataset_are_refused_in_one_line(
    name: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    harm, expected = REFUSED[name]
    harm(root)
    assert main(command(root, tmp_path / "out")) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert expected in line
    assert not (tmp_path / "out").exists()


def test_a_class_with_broken_images_alone_fails_all_cells_in_one_sentence(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (root / "dog").iterdir():
        path.write_bytes(b"broken")
    assert main(command(root, tmp_path / "out", models=PAIR)) == 1
    assert complaints(capsys) == [
        f"4 cells failed, first {NETWORK}, clean: the class dog of {root} has no readable picture."
    ]
    assert stored(tmp_path / "out") == ({}, ())


def test_another_picture_is_another_result(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(command(root, out)) == 0
    before = {path: (path.read_bytes(), read(path)) for path in stored(out)[0].values()}
    changed = next(iter(before.values()))[1].ids[0]
    write_pictures(tmp_path / "other", 1, seed=7)
    shutil.copy(tmp_path / "other" / "000.png", root / changed)
    assert main(command(root, out)) == 0
    for path, (content, rows) in before.items():
        assert path.read_bytes() != content
        assert (read(path).facts["data_sha256"] == rows.facts["data_sha256"], read(path).ids) == (
            False,
            rows.ids,
        )


def test_a_picture_that_changes_during_a_sweep_is_in_no_result(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first condition is computed, then a picture becomes another one: no cell is made of both."""
    monkeypatch.setattr(folder_stream, "HELD_BYTES", 0)
    cells = cells_of(root)
    picture = root / load_dataset(f"folder:{root}@32", "test").ids[-1]

    def change(_done: float, _total: int, what: str) -> None:
        if what != "clean":
            Image.new("RGB", (32, 32)).save(picture)

    summary = sweep(cells, tmp_path / "out", progress=change)
    assert [cell.condition for cell in summary.computed] == ["clean"]
    (reason,) = summary.failed.values()
    assert (
        reason
        == f"{picture.name} is another picture, unlike when the folder was first looked at; start again."
    )
    assert sweep(cells, tmp_path / "out").computed == list(cells)


def cells_of(root: Path, *severities: float) -> tuple[Cell, ...]:
    return grid(
        [f"folder:{root}@32"],
        [zoo.cards()[NETWORK]],
        ["gaussian_noise"],
        severities=severities or (1.0,),
        scale="cifar-c",
    )


def stream_of_bytes(folder: Path) -> None:
    os.mkfifo(folder / "junk.parquet")


def huge(folder: Path) -> None:
    """Nothing but a claim of rows: 2^40 of them, in a table of one column that holds none of that."""
    with (folder / "junk.parquet").open("wb") as file:
        file.truncate(2**40)


def long_footer(folder: Path) -> None:
    length = (2**31 - 1).to_bytes(4, "little")
    (folder / "junk.parquet").write_bytes(b"PAR1" + bytes(40) + length + b"PAR1")


def table(folder: Path) -> None:
    pq.write_table(pa.table({"a": [1, 2]}), folder / "junk.parquet")


def truncated(folder: Path) -> None:
    table(folder)
    content = (folder / "junk.parquet").read_bytes()
    (folder / "junk.parquet").write_bytes(content[: len(content) // 2])


def noise(folder: Path) -> None:
    (folder / "junk.parquet").write_bytes(np.random.default_rng(0).bytes(5_000))


DAMAGED = "junk.parquet is not a Parquet file, or it is damaged."
JUNK: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (truncated, DAMAGED),
    "random bytes": (noise, DAMAGED),
    "text": (lambda folder: (folder / "junk.parquet").write_text("hello"), DAMAGED),
    "empty": (lambda folder: (folder / "junk.parquet").touch(), DAMAGED),
    "foreign": (table, "junk.parquet is no result of a sweep of this version of the program."),
    "long footer": (long_footer, DAMAGED),
    "huge": (huge, "junk.parquet is larger than the allowed 512 MiB."),
    "folder": (lambda folder: (folder / "junk.parquet").mkdir(), "junk.parquet is not a regular file."),
    "pipe": (stream_of_bytes, "junk.parquet is not a regular file."),
    "link to itself": (lambda folder: (folder / "junk.parquet").symlink_to("junk.parquet"), DAMAGED),
    "link to nothing": (
        lambda folder: (folder / "junk.parquet").symlink_to("nowhere"),
        "there is no file of predictions junk.parquet.",
    ),
}


@pytest.mark.parametrize("name", JUNK)
def test_what_is_no_result_is_named_and_passed_over(
    name: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, sentence = JUNK[name]
    (tmp_path / "out").mkdir()
    make(tmp_path / "out")
    assert main(command(root, tmp_path / "out")) == 0
    assert complaints(capsys) == [sentence]
    found, problems = stored(tmp_path / "out")
    assert (len(found), problems) == (2, (sentence,))


def start(root: Path, out: Path) -> subprocess.Popen[str]:
    given = ["evaluate", "--models", *PAIR, "--dataset", f"folder:{root}@32", "--degradations", "pixelate"]
    child = [sys.executable, "-m", "tests.evaluation_child", "1", *given, "--out", str(out)]
    return subprocess.Popen(child, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_share_a_folder_of_results_of_a_stream_and_one_is_killed(
    tmp_path: Path, root: Path
) -> None:
    for name in ("bird", "frog"):
        write_pictures(root / name, 600, seed=len(name))
    killed, other = start(root, tmp_path / "out"), start(root, tmp_path / "out")
    until = time.time() + 120
    while len(list((tmp_path / "out").rglob("*.parquet"))) < 3:
        assert killed.poll() is None, killed.communicate()
        assert time.time() < until, "it did not happen in time"
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    before = {path: path.read_bytes() for path in stored(tmp_path / "out")[0].values()}
    printed, errors = other.communicate(timeout=240)
    assert other.returncode == 0, errors
    assert "12 of 12 cells are stored" in printed
    assert 3 <= len(before) < 12
    assert all(path.read_bytes() == content for path, content in before.items())
    found, problems = stored(tmp_path / "out")
    assert (len(found), problems) == (12, ())
    assert {len(read_answers(path)) for path in found.values()} == {186}
