"""ZIPs that visitors upload: honest ones become datasets, hostile ones are refused whole, and none leaves its place."""

from __future__ import annotations

import io
import os
import stat
import struct
import threading
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data import archive, storage, uploads
from data.archive import ArchiveError, Limits, Unpacked, unpack
from data.catalogue import dataset, file_stem, load_dataset
from data.class_names import propose
from data.datasets import DatasetError, open_dataset

Change = Callable[[zipfile.ZipInfo], None]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAI_CACHE", str(tmp_path / "cache"))


def picture(number: int = 0, form: str = "PNG") -> bytes:
    """A small picture of its own for each number."""
    pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form)
    return stream.getvalue()


def zipped(
    files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED, change: Change | None = None
) -> bytes:
    """A ZIP of these files by name; `change` has its way with each entry first."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as made:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            entry.filename = entry.orig_filename = name  # as it is, backslashes too
            entry.compress_type = method
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            if change:
                change(entry)
            made.writestr(entry, content)
    return stream.getvalue()


def pets(prefix: str = "", count: int = 5) -> dict[str, bytes]:
    return {
        f"{prefix}{name}/{number}.png": picture(100 * k + number)
        for k, name in enumerate(("cats", "dogs"))
        for number in range(count)
    }


def files_below(root: Path) -> set[str]:
    found = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    return {name for name in found if name != archive.RECEIPT}


@pytest.mark.parametrize("prefix", ["", "pets/", "my/pets/"])
def test_an_archive_becomes_a_folder_of_its_own(prefix: str, tmp_path: Path) -> None:
    content = zipped(pets(prefix))
    for given in (content, io.BytesIO(content)):
        done = unpack(given, tmp_path / "in")
        assert files_below(done.root) == set(pets())
        assert (done.files, done.bytes) == (10, sum(map(len, pets().values())))
        assert all((done.root / name).read_bytes() == pixels for name, pixels in pets().items())
    assert os.listdir(tmp_path / "in") == [done.sha256[:32]]


def test_what_is_no_picture_is_left_out_and_said(tmp_path: Path) -> None:
    others = {
        "notes.txt": b"hello",
        "cats/notes.png": b"no picture",
        "cats/more.zip": zipped(pets()),
        "cats/.DS_Store": b"x",
        "__MACOSX/cats/._0.png": b"x",
        "dogs/run.py": b"import os",
        "dogs/classes.json": b"{}",
    }
    done = unpack(
        zipped(pets("set/") | {f"set/{name}": content for name, content in others.items()}), tmp_path
    )
    assert files_below(done.root) == set(pets())
    assert sorted(done.skipped) == [
        ("DS_Store", "is hidden"),
        ("_0.png", "is hidden"),
        ("classes.json", "is no picture"),
        ("more.zip", "is an archive within the archive"),
        ("notes.png", "is no picture"),
        ("notes.txt", "is no picture"),
        ("run.py", "is no picture"),
    ]
    loose = unpack(zipped(pets("set/") | {"licence.txt": b"free"}), tmp_path)
    assert files_below(loose.root) == set(pets())
    assert loose.skipped == (("licence.txt", "lies beside the only folder"),)


def _linked(entry: zipfile.ZipInfo) -> None:
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16


def _device(entry: zipfile.ZipInfo) -> None:
    entry.external_attr = (stat.S_IFCHR | 0o777) << 16


BAD_NAMES = {
    "/etc/evil.png": "absolute path",
    "../evil.png": r"an empty part, \. or \.\.",
    "cats/../../evil.png": r"an empty part, \. or \.\.",
    "./cats/evil.png": r"an empty part, \. or \.\.",
    "cats//evil.png": r"an empty part, \. or \.\.",
    "C:/evil.png": "drive letter",
    "C:evil.png": "drive letter",
    "cats\\..\\evil.png": "backslash",
    "cats/evil\0.png": "control characters",
    "cats/evil\n.png": "control characters",
    "cats/" + "e" * 200 + ".png": "longer than the allowed 120 characters",
    "/".join("abcdefghij") + "/evil.png": "deeper than the allowed 8 levels",
    "cats/0.PNG": "twice, or in two spellings",
    "CATS/9.png": "twice, or in two spellings",
    "cats/0.png.": "twice, or in two spellings",
    "cats/0.png/evil.png": "twice, or in two spellings",
    "cats": "twice, or in two spellings",
}


def refused(content: bytes, into: Path, message: str, limits: Limits = archive.LIMITS) -> None:
    """The archive is refused in one sentence, and nothing is left of it anywhere."""
    before = {path for path in into.parent.rglob("*") if path != into}
    with pytest.raises(ArchiveError, match=message) as caught:
        unpack(content, into, name="pets.zip", limits=limits)
    assert str(caught.value).startswith("pets.zip ")
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)
    assert {path for path in into.parent.rglob("*") if path != into} == before


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_are_not_plain_refuse_the_archive(name: str, tmp_path: Path) -> None:
    refused(zipped(pets() | {name: picture()}), tmp_path / "in", BAD_NAMES[name])


def test_accents_written_in_two_ways_are_one_name(tmp_path: Path) -> None:
    refused(zipped(pets() | {"cats/é.png": b"1", "cats/e\u0301.png": b"2"}), tmp_path / "in", "two spellings")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_refuses_the_archive(tmp_path: Path) -> None:
    stream = io.BytesIO(zipped(pets()))
    with zipfile.ZipFile(stream, "a") as made:
        made.writestr("cats/0.png", picture(1))
    refused(stream.getvalue(), tmp_path / "in", "is in it twice")


@pytest.mark.parametrize("change", [_linked, _device])
def test_links_and_devices_refuse_the_archive(change: Change, tmp_path: Path) -> None:
    refused(
        zipped({"cats/link.png": b"/etc/passwd"}, change=change), tmp_path / "in", "is a link or a special"
    )


def test_encrypted_archives_are_refused(tmp_path: Path) -> None:
    content = bytearray(zipped(pets()))
    for signature, place in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        content[content.index(signature) + place] |= 1
    refused(bytes(content), tmp_path / "in", "0.png is encrypted")


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_other_ways_of_packing_are_refused(method: int, tmp_path: Path) -> None:
    refused(zipped(pets(), method), tmp_path / "in", "packed in another way than by deflate")


def _declared(content: bytes, size: int) -> bytes:
    """The same with another unpacked size declared, in the directory and before the file."""
    changed = bytearray(content)
    for signature, place in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        struct.pack_into("<I", changed, content.index(signature) + place, size)
    return bytes(changed)


BOMB = zipped({"cats/bomb.bmp": b"BM" + bytes(20 * 2**20)})


def test_bombs_are_refused_as_they_unfold(tmp_path: Path) -> None:
    assert len(BOMB) < 30_000
    refused(BOMB, tmp_path / "in", "bomb.bmp is more than 250 times as large unpacked")
    loose = Limits(max_file_ratio=10_000, free=2**20)
    refused(BOMB, tmp_path / "in", "it is more than 50 times as large unpacked", loose)
    several = zipped({f"cats/{number}.bmp": b"BM" + bytes(2**20 - 2) for number in range(4)})
    small = Limits(max_unpacked=3 * 2**20)
    refused(several, tmp_path / "in", "holds more than the allowed 3 MiB", small)


def test_sizes_that_an_archive_declares_are_not_believed(tmp_path: Path) -> None:
    refused(_declared(BOMB, 1000), tmp_path / "in", "damaged")
    done = unpack(_declared(zipped(pets()), 2**31), tmp_path / "in")  # too large, as it says
    assert (done.files, done.skipped) == (9, (("0.png", "is larger than 25 MiB"),))


def test_files_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    content = bytearray(zipped({"a/0.png": picture(), "b/0.png": picture()}))
    second = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 1)
    struct.pack_into("<I", content, second + 42, 0)
    refused(bytes(content), tmp_path / "in", "files in it overlap")


def test_numbers_and_bytes_have_limits(tmp_path: Path) -> None:
    content = zipped(pets())
    refused(content, tmp_path / "in", "more than the allowed 9 entries", Limits(max_entries=9))
    assert unpack(content, tmp_path / "out", limits=Limits(max_entries=10)).files == 10
    most = Limits(max_bytes=len(content) - 1)
    refused(content, tmp_path / "in", "larger than the allowed 0 MiB", most)


@pytest.mark.parametrize(
    "content",
    [b"", b"PK", b"hello" * 100, zipped(pets())[:-30], zipped(pets())[100:], BOMB[:1000] + BOMB[2000:]],
    ids=["empty", "two letters", "text", "no end", "no start", "no middle"],
)
def test_damaged_archives_are_refused(content: bytes, tmp_path: Path) -> None:
    refused(content, tmp_path / "in", "is no ZIP archive, or is damaged or cut short")


def test_any_damage_is_one_sentence(tmp_path: Path) -> None:
    """Bytes changed at random: unpacked all the same, or refused; nothing else, and nothing outside."""
    content, generator = zipped(pets(count=2)), np.random.default_rng(0)
    refusals = 0
    for number in range(300):
        changed = bytearray(content)
        for place in generator.integers(number % 2 * len(content) // 2, len(content), 3):
            changed[place] = generator.integers(256)
        try:
            unpack(bytes(changed), tmp_path / "in")
        except ArchiveError:
            refusals += 1
    assert refusals > 100
    assert {path.name for path in tmp_path.iterdir()} == {"in"}
    assert not [path for path in (tmp_path / "in").iterdir() if path.name.startswith(".")]


def test_an_archive_without_pictures_is_refused(tmp_path: Path) -> None:
    refused(zipped({"cats/a.txt": b"a", "dogs/b.txt": b"b"}), tmp_path / "in", "holds no picture")


def test_a_stop_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int, _total: int, _what: str) -> None:
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        unpack(zipped(pets()), tmp_path / "in", progress=stop)
    assert os.listdir(tmp_path / "in") == []


def test_an_upload_is_a_dataset_whose_name_holds_no_path() -> None:
    upload = uploads.store(zipped(pets("set/", 10)), "pets.zip")
    assert upload.name == f"upload:{upload.unpacked.sha256[:32]}"
    entry = dataset(upload.name)
    assert (entry.name, entry.classes) == (upload.name, ("cats", "dogs"))
    sizes = {split: len(load_dataset(upload.name, split)) for split in ("train", "validation", "test")}
    assert sizes == {"train": 12, "validation": 4, "test": 4}
    small = open_dataset(f"{upload.name}@16", "test")
    assert (small.name, small.pixels(slice(0, 2)).shape) == (f"{upload.name}@16", (2, 3, 16, 16))
    told = [entry.name, entry.title, file_stem(upload.name), file_stem(f"{upload.name}@16"), *small.notes]
    assert str(storage.cache_folder()) not in " ".join(told)
    uploads.drop(upload.name)
    for ask in (dataset, file_stem):
        with pytest.raises(DatasetError, match=r"the upload \w{8} is no longer there; upload it again"):
            ask(upload.name)
    assert list(uploads.folder().iterdir()) == []
    assert list((storage.cache_folder() / "folders").iterdir()) == []


@pytest.mark.parametrize("count", [1, 2])
def test_problems_of_an_upload_name_no_path(count: int) -> None:
    upload = uploads.store(zipped({f"{k}/0.png": picture(k) for k in range(count)}))
    with pytest.raises(DatasetError, match=r"^the upload \w{8} has ") as caught:
        load_dataset(upload.name, "test")
    assert str(storage.cache_folder()) not in str(caught.value)


@pytest.mark.parametrize(
    "key",
    ["", "..", "../folders", "/etc", "a" * 31, "A" * 32, "g" * 32, "a" * 33, "a" * 32 + "\n", "a" * 31 + "/"],
)
def test_names_of_uploads_lead_nowhere_else(key: str) -> None:
    for ask in (dataset, file_stem, uploads.drop):
        with pytest.raises(DatasetError, match="an upload is named upload: and 32 hexadecimal digits"):
            ask(f"upload:{key}")


def test_a_link_among_the_uploads_is_not_followed(tmp_path: Path) -> None:
    done = unpack(zipped(pets()), tmp_path / "elsewhere")
    uploads.folder().mkdir(parents=True)
    (uploads.folder() / ("a" * 32)).symlink_to(done.root, target_is_directory=True)
    with pytest.raises(DatasetError, match="no longer there"):
        dataset("upload:" + "a" * 32)


def test_the_last_visitor_to_drop_an_upload_removes_it() -> None:
    content = zipped(pets())
    first, second = (uploads.store(content).name for _visitor in range(2))
    assert first == second
    uploads.drop(first)
    assert dataset(first).classes == ("cats", "dogs")
    uploads.store(content, keep=True)
    uploads.drop(second)
    assert dataset(first).classes == ("cats", "dogs")  # it was stored to be kept


def test_visitors_with_the_same_archive_at_once_have_one_folder() -> None:
    content = zipped(pets(count=40))
    found: list[Unpacked] = []
    threads = [
        threading.Thread(target=lambda: found.append(uploads.store(content).unpacked)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len({each.root for each in found}) == len(list(uploads.folder().iterdir())) == 1


def test_who_waits_for_others_is_told() -> None:
    told: list[str] = []
    for _other in range(2):
        uploads._unpacking.acquire()
    thread = threading.Thread(
        target=lambda: uploads.store(zipped(pets()), progress=lambda _done, _total, what: told.append(what))
    )
    thread.start()
    while not told:
        thread.join(0.01)
    for _other in range(2):
        uploads._unpacking.release()
    thread.join()
    assert told == ["waiting until archives of others are unpacked", "unpacking the archive"]


def test_room_is_made_by_what_was_not_used_for_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    def stored(number: int, keep: bool) -> str:
        return uploads.store(zipped(pets() | {"cats/own.png": picture(number)}), keep=keep).name

    old, used, held = stored(1000, True), stored(1001, True), stored(1002, False)
    size = archive.receipt(uploads.folder() / old[7:]).bytes
    for name, age in ((held, 30), (old, 20), (used, 25)):
        os.utime(uploads.folder() / name[7:], (0, age))
    dataset(used)  # is newer than `old` now
    abandoned = uploads.folder() / ".unpacking-x"
    abandoned.mkdir()
    os.utime(abandoned, (0, 0))
    monkeypatch.setattr(uploads, "MAX_TOTAL", int(3.5 * size))
    new = stored(1003, False)
    assert {path.name for path in uploads.folder().iterdir()} == {name[7:] for name in (used, held, new)}
    monkeypatch.setattr(uploads, "MAX_TOTAL", int(2.5 * size))
    with pytest.raises(ArchiveError, match="there is no room for another archive"):
        stored(1004, True)
    assert {path.name for path in uploads.folder().iterdir()} == {name[7:] for name in (held, new)}


def test_an_upload_with_a_networks_class_names_is_one_of_its_own() -> None:
    plain = uploads.store(zipped(pets(count=10)))
    mapped = uploads.with_classes(plain.name, propose(["cats", "dogs"], ["cat", "frog", "dog"]))
    assert dataset(mapped.name).classes == ("cat", "dog")
    assert dataset(plain.name).classes == ("cats", "dogs")
    one, other = (load_dataset(each.name, "test") for each in (plain, mapped))
    assert (one.ids, one.labels.tolist()) == (other.ids, other.labels.tolist())
    uploads.drop(plain.name)
    assert load_dataset(mapped.name, "all").classes == ("cat", "dog")
    again = uploads.with_classes(mapped.name, propose(["cats", "dogs"], ["cat", "dog", "frog"]))
    assert dataset(again.name).classes == ("cat", "dog")


def test_a_mapping_comes_along_in_the_archive() -> None:
    content = pets(count=10) | {"classes.json": b'{"cats": "cat", "dogs": "dog"}'}
    assert dataset(uploads.store(zipped(content)).name).classes == ("cat", "dog")
    assert (
        dataset(uploads.store(zipped({f"x/{name}": c for name, c in content.items()})).name).classes[0]
        == "cat"
    )
