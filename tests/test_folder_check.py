"""What is told of somebody's pictures: copies across splits, small classes, mappings, and the commands that say so."""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data import class_names, cue10, example_folder, folder_copies
from data.catalogue import load_dataset
from data.class_names import propose
from data.datasets import DatasetError, evenly_spread, open_dataset
from data.folder_check import check
from data.folder_copies import find_copies, look_of
from models import zoo
from xai.cli import main


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAI_CACHE", str(tmp_path / "cache"))


SCENES = cue10.draw("train", 0, 40)[0]


def build(root: Path, counts: dict[str, int], start: int = 0) -> Path:
    """Drawn scenes, each another, so many in each folder."""
    pictures = iter(SCENES[start:].permute(0, 2, 3, 1).numpy())
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            Image.fromarray(next(pictures)).save(root / name / f"{number}.png")
    return root


def test_copies_saved_again_or_resized_are_nearly_equal(tmp_path: Path) -> None:
    root = build(tmp_path / "set", {"train/a": 8, "train/b": 8, "test/a": 4, "test/b": 4})
    assert load_dataset(f"folder:{root}", "test").notes == ()
    with Image.open(root / "train" / "a" / "0.png") as picture:
        picture.save(root / "test" / "a" / "saved.jpg", quality=60)
    with Image.open(root / "train" / "b" / "0.png") as picture:
        picture.resize((150, 150)).save(root / "test" / "b" / "large.png")
    shutil.copy(root / "train" / "b" / "1.png", root / "train" / "b" / "same.png")  # within a split: no harm
    told = (
        "4 pictures are nearly equal to one in another split: "
        "test/a/saved.jpg and train/a/0.png; test/b/large.png and train/b/0.png.",
    )
    assert load_dataset(f"folder:{root}", "test").notes == told
    assert open_dataset(f"folder:{root}", "train").notes == told
    assert load_dataset(f"folder:{root}", "all").notes == ()
    found = check(f"folder:{root}")
    assert found.copies_told == told
    assert (found.copies.exact_count, found.copies.near_count, found.copies.complete) == (0, 4, True)


def test_plain_pictures_of_other_colours_are_not_equal() -> None:
    """They have the same difference hash: no pixel is darker than its neighbour."""
    plain = [torch.full((3, 32, 32), value, dtype=torch.uint8) for value in (10, 15, 200)]
    copies = find_copies(["train", "test", "test"], [b"0", b"1", b"2"], [look_of(each) for each in plain])
    assert (copies.near, copies.near_count) == (((0, 1),), 2)
    assert copies.sentences(["a", "b", "c"]) == (
        "2 pictures are nearly equal to one in another split: a and b.",
    )


def test_hashes_up_to_two_bits_apart_are_found_wherever_the_bits_are() -> None:
    """Against the definition, on hashes of which some lie 0 to 4 bits from each other."""
    generator = np.random.default_rng(0)
    first = generator.integers(100, 110, (30, 3, 8, 9), np.uint8)
    second = first.copy()
    for row in range(30):
        for _change in range(row % 5):
            y, x = generator.integers(8), generator.integers(9)
            second[row, :, y, x] = generator.integers(95, 115, 3)
    looks = np.concatenate([first, second])
    grey = looks.astype(int).sum(1)
    bits = (grey[..., 1:] > grey[..., :-1]).reshape(60, 64)
    near = {(i, 30 + j) for i in range(30) for j in range(30) if (bits[i] != bits[30 + j]).sum() <= 2}
    assert 5 < len(near) < 30
    rows = [bytes(each.tobytes()) for each in looks]
    found = find_copies(["train"] * 30 + ["test"] * 30, [str(n).encode() for n in range(60)], rows)
    assert set(found.near) == near


def test_the_search_for_near_copies_is_bounded_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_copies, "MAX_GROUP", 10)
    looks = [bytes([100]) * folder_copies.LOOK_BYTES] * 400
    places = ["train", "test"] * 200
    copies = find_copies(places, [str(n).encode() for n in range(400)], looks)
    assert (copies.near_count, copies.complete) == (10, False)
    (told,) = copies.sentences(["x"] * 400)
    assert told.startswith("at least 10 pictures are nearly equal")


def test_small_classes_are_told_in_one_sentence(tmp_path: Path) -> None:
    root = build(tmp_path / "two", {"a": 2, "b": 2})
    assert load_dataset(f"folder:{root}", "train").labels.tolist() == [0, 0, 1, 1]
    with pytest.raises(DatasetError) as caught:
        load_dataset(f"folder:{root}", "test")
    assert str(caught.value) == (
        f"{root} has too few readable pictures for a test split; 3 different pictures of a class are needed."
    )
    mixed = build(tmp_path / "mixed", {"a": 2, "b": 10, "c": 3})
    data = load_dataset(f"folder:{mixed}", "test")
    assert data.labels.tolist() == [1, 1, 2]
    assert data.notes == (
        "1 class has no picture in the test split: a; that takes 3 different pictures of a class.",
    )
    for limit, rows in ((1, 1), (2, 2), (3, 3), (50, 3)):
        assert len(evenly_spread(data, limit)) == rows
    given = build(tmp_path / "given", {"train/a": 3, "train/b": 3, "test/a": 2})
    assert load_dataset(f"folder:{given}", "test").notes == ("1 class has no picture in the test split: b.",)
    one = build(tmp_path / "one", {"a": 9})
    with pytest.raises(DatasetError, match="has 1 sub-folder with files, one for each class; allowed are 2"):
        load_dataset(f"folder:{one}", "test")


def test_a_folder_with_a_mapping_has_the_networks_classes_and_the_same_splits(tmp_path: Path) -> None:
    root = build(tmp_path / "set", {"cats": 10, "dogs": 10, "puppies": 10})
    plain = {split: load_dataset(f"folder:{root}", split) for split in ("train", "test")}
    mapping = propose(["cats", "dogs", "puppies"], ["dog", "cat"])
    class_names.write(root, mapping.corrected({"puppies": "dog"}, ["dog", "cat"]))
    for split, before in plain.items():
        for data in (load_dataset(f"folder:{root}", split), open_dataset(f"folder:{root}", split)):
            assert data.classes == ("cat", "dog")
            assert data.ids == before.ids
            assert data.labels.tolist() == before.labels.clamp(max=1).tolist()
            assert torch.equal(data.pixels(slice(None)), before.images)
            assert data.notes == ()
    class_names.write(root, mapping)
    left = load_dataset(f"folder:{root}", "test")
    assert left.ids == tuple(name for name in plain["test"].ids if not name.startswith("puppies"))
    assert left.notes == ("2 images of 1 class without a class of the network are left out: puppies.",)
    found = check(f"folder:{root}")
    assert found.class_words == "2 classes of a network, from 2 of 3 folders"
    assert (sum(found.totals.values()), sum(map(sum, found.counts.values()))) == (20, 30)
    build(root, {"birds": 3}, start=30)
    with pytest.raises(DatasetError, match=r"classes\.json says nothing of the class birds"):
        load_dataset(f"folder:{root}", "test")


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(["data", *words])
    out, err = capsys.readouterr()
    return status, out, err


def test_the_check_prints_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = build(tmp_path / "set", {"train/a": 10, "train/b": 10, "test/a": 3, "test/b": 2})
    shutil.copy(root / "train" / "a" / "0.png", root / "test" / "a" / "0.png")
    Image.new("1", (64, 64), 1).save(root / "test" / "b" / "1_mask.png")
    Image.new("RGB", (80, 40)).save(root / "train" / "a" / "wide.png")
    for number in range(12):
        (root / "train" / "b" / f"note{number:02}.txt").write_text("x")
    status, out, _err = run(capsys, "check", f"folder:{root}")
    lines = out.splitlines()
    assert status == 0
    assert [line.split() for line in lines[:3]] == [
        ["class", "train", "validation", "test"],
        ["a", "9", "2", "3"],
        ["b", "8", "2", "2"],
    ]
    assert lines[3:10] == [
        "2 classes; 17 train, 4 validation, 5 test",
        "not given, so drawn from hashes of the paths: validation",
        "sizes: smallest 80x40, middle 64x64, largest 64x64 px",
        "masks: 0 of 17 train, 0 of 4 validation, 1 of 5 test",
        "2 pictures have an exact copy in another split: test/a/0.png and train/a/0.png.",
        "left out: 12 files or folders",
        "  note00.txt is not a picture in one of the formats PNG, JPEG, WebP, BMP, TIFF and GIF",
    ]
    assert len(lines) == 20
    assert lines[-1].startswith("  ...; in all 12: is not a picture")


def test_the_check_of_a_folder_that_can_not_be_split(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = build(tmp_path / "set", {"a": 2, "b": 2})
    (root / "classes.json").write_text("[]")
    status, out, _err = run(capsys, "check", f"folder:{root}")
    assert status == 1
    problems = [line for line in out.splitlines() if line.startswith("problem: ")]
    assert [problem.split(" for ")[0] for problem in problems] == [
        "problem: classes.json is no JSON object from each class's name to another name or null.",
        f"problem: {root} has too few readable pictures",
        f"problem: {root} has too few readable pictures",
    ]
    for name in ("cue10", "folder:/nowhere", "upload:../x", "x"):
        status, out, err = run(capsys, "check", name)
        assert (status, out, err.count("\n")) == (2, "", 1)


def test_map_writes_what_is_sure_and_the_users_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = build(tmp_path / "set", {"stars": 3, "Hearths": 3, "moon": 3, "crosses": 3})
    model = next(name for name, card in zoo.cards().items() if card.dataset == "cue10")
    star, heart = zoo.cards()[model].classes[:2]
    status, out, err = run(capsys, "map", f"folder:{root}", "--classes", "star", "heart", "cross", "moan")
    assert (status, err) == (0, "")
    assert "moon     (left out)       a similar name, one letter apart: please confirm" in out
    assert "with --set 'moon=moan'" in out
    assert load_dataset(f"folder:{root}", "all").classes == ("cross", "star")
    words = ["--set", f"stars={star}", f"moon={heart}", "crosses="]
    assert run(capsys, "map", f"folder:{root}", "--model", model, *words)[0] == 0
    assert load_dataset(f"folder:{root}", "all").classes == (heart, star)
    before = (root / "classes.json").read_bytes()
    for wrong in (["--set", "moon"], ["--set", "sun=star"], ["--set", "moon=sun"], ["--set", "=star"]):
        status, _out, err = run(capsys, "map", f"folder:{root}", "--classes", "star", "heart", *wrong)
        assert (status, err.count("\n")) == (2, 1)
    assert run(capsys, "map", f"folder:{root}", "--classes", "x", "y")[0] == 2
    assert run(capsys, "map", "cue10", "--classes", "x", "y")[0] == 2
    assert (root / "classes.json").read_bytes() == before


def test_unpack_takes_anyones_zip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = build(tmp_path / "set", {"a": 4, "b": 4})
    (root / "a" / "note.txt").write_text("x")
    shutil.make_archive(str(tmp_path / "pets"), "zip", tmp_path, "set")
    status, out, _err = run(capsys, "unpack", str(tmp_path / "pets.zip"))
    name = next(word for word in out.split() if word.startswith("upload:"))
    assert status == 0
    assert "  note.txt is no picture" in out
    assert len(load_dataset(name, "all")) == 8
    assert run(capsys, "check", name)[0] == 0
    (tmp_path / "bad.zip").write_bytes(b"no archive")
    status, _out, err = run(capsys, "unpack", str(tmp_path / "bad.zip"))
    assert (status, err) == (2, "python -m xai: bad.zip is no ZIP archive, or is damaged or cut short.\n")
    assert run(capsys, "unpack", str(tmp_path / "none.zip"))[0] == 2


def test_the_example_folder_is_the_same_everywhere_and_has_no_copies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _err = run(capsys, "sample", "--out", str(tmp_path / "new" / "textures"))
    root = tmp_path / "new" / "textures"
    assert (status, out.splitlines()[0]) == (0, f"wrote {root}")
    found = check(f"folder:{root}")
    assert found.classes == ("brick", "grass", "gravel", "stars")
    assert {split: sum(counts) for split, counts in found.counts.items()} == {
        "train": 104,
        "validation": 16,
        "test": 48,
    }
    assert (found.copies_told, found.skipped, found.problems) == ((), (), ())
    again = example_folder.write(tmp_path / "again")
    files = sorted(path.relative_to(root) for path in root.rglob("*.png"))
    assert len(files) == 168
    assert all((root / path).read_bytes() == (again / path).read_bytes() for path in files)
    status, _out, err = run(capsys, "sample", "--out", str(root))
    assert (status, err.count("exists and is not an empty folder")) == (2, 1)
    assert [path.name for path in root.parent.iterdir()] == ["textures"]


def test_tiles_of_the_example_folder_do_not_overlap(tmp_path: Path) -> None:
    """Every tile is found in its photograph, at a place of the grid of its own."""
    from data.samples import sample_path

    root = example_folder.write(tmp_path / "textures")
    photograph = np.asarray(Image.open(sample_path("chelsea").with_name("brick.png")))
    tiles = {
        photograph[y : y + 64, x : x + 64].tobytes(): x for y in range(0, 512, 64) for x in range(0, 512, 64)
    }
    columns = {
        split: [
            tiles.pop(np.asarray(Image.open(path)).tobytes()) for path in (root / split / "brick").iterdir()
        ]
        for split in ("train", "test")
    }
    assert max(columns["train"]) < 5 * 64 <= min(columns["test"])


def test_an_archive_is_recognised_by_its_content(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as made:
        for name in ("a", "b"):
            made.write(build(tmp_path / name, {"x": 1}, ord(name) % 7) / "x" / "0.png", f"{name}/0.png")
    (tmp_path / "pets").write_bytes(stream.getvalue())
    status, out, _err = run(capsys, "unpack", str(tmp_path / "pets"))
    assert (status, "are the dataset upload:" in out) == (0, True)
