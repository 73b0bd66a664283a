"""Folders that stream: the pictures and splits of the set in memory, without its memory, and never another picture."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from data import folder_reading, folder_stream, storage
from data.catalogue import load_dataset
from data.datasets import DatasetError, ImageSet, evenly_spread, open_dataset
from data.folder_stream import ImageStream
from data.images import Image as Picture
from data.images import ImageError, read_image
from xai.comparison import picture_from_dataset
from xai.evaluation_store import data_sha256

ROOT = Path(__file__).parents[1]
COPIES, SIDE = 320, 256
"""How many pictures of how many pixels a side make a set that is large."""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAI_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def streaming(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pixels are kept, however few there are."""
    monkeypatch.setattr(folder_stream, "HELD_BYTES", 0)


def write_pictures(root: Path, count: int, side: int = 16) -> Path:
    """As many different pictures in each of two classes' folders, the side that is given."""
    generator = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for number in range(count):
            pixels = generator.integers(0, 256, (side, side, 3), np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number:04}.png", compress_level=0)
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "set", 40)


def opened(root: Path, size: int = 16, split: str = "train") -> ImageStream:
    found = open_dataset(f"folder:{root}@{size}", split)
    assert isinstance(found, ImageStream)
    return found


def batches(stream: ImageStream, size: int) -> Iterator[torch.Tensor]:
    return (stream.pixels(slice(start, start + size)) for start in range(0, len(stream), size))


@pytest.mark.usefixtures("streaming")
@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_is_the_set_in_memory(workers: int, root: Path) -> None:
    (root / "cat" / "broken.png").write_bytes((root / "cat" / "0000.png").read_bytes()[:300])
    for split in ("train", "test"):
        whole = load_dataset(f"folder:{root}@16", split)
        stream = replace(opened(root, split=split), workers=workers)
        for name in ("name", "split", "ids", "classes", "notes"):
            assert getattr(stream, name) == getattr(whole, name)
        assert stream.labels.tolist() == whole.labels.tolist()
        for size in (9, 9, 16):  # again, and then in other batches
            assert torch.equal(torch.cat(list(batches(stream, size))), whole.images)
        for rows in (slice(7, 11), slice(2, 5), slice(0, 0), slice(5, 9), slice(10, None)):
            assert torch.equal(stream.pixels(rows), whole.images[rows])
        some = evenly_spread(stream, 10)
        assert torch.equal(some.pixels(slice(None)), evenly_spread(whole, 10).images)
    assert "broken.png was skipped" in stream.notes[0]


def test_small_sets_are_decoded_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = opened(root)
    first = torch.cat(list(batches(stream, 10)))
    monkeypatch.setattr(folder_reading, "read_image", None)
    assert torch.equal(torch.cat(list(batches(stream, 7))), first)


def grown(stream: ImageStream, held: int) -> float:
    """By how many bytes a process gets larger that goes through the pictures, of which it may hold so many bytes."""
    folder_stream.HELD_BYTES = held
    stream = replace(stream, _held=None)  # decided anew
    process, most = psutil.Process(), 0
    stream.pixels(slice(0, 16))
    before = process.memory_info().rss
    for _ in batches(stream, 16):
        most = max(most, process.memory_info().rss)
    return most - before


def copies(root: Path, count: int, size: int) -> ImageStream:
    """A stream of one picture under many names."""
    root.mkdir()
    Image.new("RGB", (size, size), "teal").save(root / "0.png")
    for number in range(1, count):
        os.link(root / "0.png", root / f"{number}.png")
    digest = folder_reading.digest_of(folder_reading.read_square(root / "0.png", size))
    ids = tuple(f"{number}.png" for number in range(count))
    labels = torch.zeros(count, dtype=torch.int64)
    return ImageStream("folder:copies", "test", labels, ("a", "b"), ids, root, (digest,) * count, size)


def test_a_large_set_does_not_take_its_memory(tmp_path: Path) -> None:
    size = 3 * SIDE**2 * COPIES
    assert size == 60 * 2**20
    streamed, held = (_in_a_fresh_process(tmp_path / str(allowed), allowed) for allowed in (0, 2 * size))
    assert streamed < size / 3 < 2 * size / 3 < held


def _in_a_fresh_process(root: Path, held: int) -> float:
    """`grown` where no earlier test left free memory that the pictures would fit into, nor a main module of its own."""
    stream = f"replace(case.copies(case.Path({str(root)!r}), {COPIES}, {SIDE}), workers=1)"
    code = f"""
from dataclasses import replace
from tests import test_folder_stream as case
print(case.grown({stream}, {held}))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return float(done.stdout)


def test_what_is_known_of_a_picture_is_not_looked_at_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int, str]] = []
    first = open_dataset(f"folder:{root}@16", "test", lambda *step: told.append(step))
    assert told[-1] == (80, 80, "reading set")
    reads: list[str] = []

    def count(content: bytes, name: str) -> Picture:
        reads.append(name)
        return read_image(content, name)

    monkeypatch.setattr(folder_reading, "read_image", count)
    assert data_sha256(opened(root, split="test")) == data_sha256(first)
    assert reads == []
    write_pictures(root.parent / "new", 1)
    os.replace(root.parent / "new" / "dog" / "0000.png", root / "cat" / "0003.png")
    opened(root, split="test")
    assert reads == ["0003.png"]


def test_a_stop_keeps_what_was_found_out(root: Path) -> None:
    def stop(done: int, _total: int, _what: str) -> None:
        if done >= 64:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_dataset(f"folder:{root}@16", "test", stop)
    told: list[int] = []
    open_dataset(f"folder:{root}@16", "test", lambda done, total, _: told.append(total))
    assert told == [16]


@pytest.mark.parametrize("content", [b"", b"no cache of this program"])
def test_a_damaged_memory_is_made_anew(content: bytes, root: Path) -> None:
    first = data_sha256(opened(root))
    (file,) = (storage.cache_folder() / "folders").iterdir()
    file.write_bytes(content)
    assert data_sha256(opened(root)) == first


def test_a_changed_picture_makes_another_hash_even_with_its_old_size_and_time(root: Path) -> None:
    first = opened(root)
    path = root / first.ids[0]
    times, content = path.stat(), bytearray(path.read_bytes())
    image = np.asarray(Image.open(path)).copy()
    image[0, 0] ^= 1
    Image.fromarray(image).save(path, compress_level=0)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert (len(content), times.st_mtime_ns) == (path.stat().st_size, path.stat().st_mtime_ns)
    second = opened(root)
    assert second.ids == first.ids
    assert data_sha256(second) != data_sha256(first)


def test_the_hash_is_of_ids_classes_and_labels_too(root: Path) -> None:
    stream = opened(root)
    others = [
        stream.take(torch.arange(len(stream)).flip(0)),
        replace(stream, labels=1 - stream.labels),
        replace(stream, classes=("cat", "wolf")),
        replace(stream, ids=(*stream.ids[:-1], "dog/other.png")),
    ]
    assert len({data_sha256(each) for each in (stream, *others)}) == 5


CHANGES = {"gone": ("can't be opened", Path.unlink), "another": ("is another picture", None)}


@pytest.mark.usefixtures("streaming")
@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("change", CHANGES)
def test_a_picture_that_changes_meanwhile_is_refused(change: str, workers: int, root: Path) -> None:
    stream = replace(opened(root), workers=workers)
    message, do = CHANGES[change]
    path = root / stream.ids[12]
    do(path) if do else Image.new("RGB", (16, 16)).save(path)
    assert len(stream.pixels(slice(0, 10))) == 10
    expected = f"{path.name} {message}, unlike when the folder was first looked at; start again."
    with pytest.raises(DatasetError, match=re.escape(expected)):
        stream.pixels(slice(10, 20))
    assert len(stream.pixels(slice(20, 30))) == 10


@pytest.mark.usefixtures("streaming")
def test_a_stream_travels_without_its_workers_and_draws_no_random_numbers(root: Path) -> None:
    state = torch.get_rng_state()
    stream = replace(opened(root), workers=1)
    first = stream.pixels(slice(0, 4))
    assert torch.equal(pickle.loads(pickle.dumps(stream)).pixels(slice(0, 4)), first)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.usefixtures("streaming")
def test_one_picture_is_taken_without_touching_a_stream_that_visitors_share(root: Path) -> None:
    stream, whole = opened(root), load_dataset(f"folder:{root}@16", "train")
    assert isinstance(whole, ImageSet)
    shared = replace(stream, workers=1)
    elsewhere = shared.pixels(slice(0, 1))  # another thread is about to go on with row 1
    reading = shared._reading
    assert torch.equal(picture_from_dataset(shared, 2).pixels, whole.images[2])
    assert shared._reading is reading
    assert torch.equal(elsewhere[0], whole.images[0])


def test_sets_in_memory_have_the_same_interface(root: Path) -> None:
    data = load_dataset(f"folder:{root}@16", "test")
    assert isinstance(data, ImageSet)
    assert torch.equal(data.pixels(slice(1, 3)), data.images[1:3])
    assert b"".join(bytes(part) for part in data.content()) == data.images.numpy().tobytes()


def test_reasons_are_the_rest_of_a_sentence() -> None:
    path = Path("folder") / "a picture.png"
    assert folder_reading.refusal(path, PermissionError(13, "denied")) == "can't be opened"
    assert folder_reading.refusal(path, ImageError("a picture.png is empty.")) == "is empty"
