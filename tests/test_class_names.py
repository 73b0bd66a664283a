"""Class names of a folder and of a network: what is found by name, the user's word, and the file that keeps it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from data import class_names
from data.class_names import ClassMapping, Match, apply, propose, read, write
from data.datasets import DatasetError, ImageSet

KNOWN = (
    "airplane",
    "Egyptian cat",
    "tabby, tabby cat",
    "wolf",
    "bus",
    "box turtle",
    "sports_car",
    "mouse",
    "puppy",
    "crane",
    "crane, bird",
    "grass",
)


@pytest.mark.parametrize(
    ("own", "known", "how"),
    [
        ("airplane", "airplane", "same"),
        ("tabby", "tabby, tabby cat", "same"),
        ("Tabby-Cat", "tabby, tabby cat", "spelling"),
        ("egyptian_cat", "Egyptian cat", "spelling"),
        ("EGYPTIAN  CAT", "Egyptian cat", "spelling"),
        ("egyptian/cat", "Egyptian cat", "spelling"),
        ("Sports Cars", "sports_car", "number"),
        ("wolves", "wolf", "number"),
        ("buses", "bus", "number"),
        ("mice", "mouse", "number"),
        ("puppies", "puppy", "number"),
        ("box-turtles", "box turtle", "number"),
        ("airplnae", "airplane", "similar"),
        ("airplan", "airplane", "similar"),
        ("aeirplane", "airplane", "similar"),
        ("airblane", "airplane", "similar"),
        ("gras", "grass", "similar"),
        ("crane", "crane", "several"),
        ("plane", None, "none"),
        ("bug", None, "none"),
        ("", None, "none"),
    ],
)
def test_names_are_found(own: str, known: str | None, how: str) -> None:
    (match,) = propose([own], KNOWN).matches
    assert match == (own, known, how)
    assert match.sure == (how in ("same", "spelling", "number"))
    assert how in class_names.HOW


def test_what_is_not_sure_is_left_out_until_the_user_says_so() -> None:
    mapping = propose(["airplnae", "wolves", "dog"], KNOWN)
    assert mapping.pairs == {"airplnae": None, "wolves": "wolf", "dog": None}
    assert mapping.left_out == ("airplnae", "dog")
    said = mapping.corrected({"airplnae": "airplane", "wolves": None}, KNOWN)
    assert said.pairs == {"airplnae": "airplane", "wolves": None, "dog": None}
    assert said.matches[0] == Match("airplnae", "airplane", "given")
    with pytest.raises(
        DatasetError, match=r"there is no class 'cat'; the folder's are airplnae, wolves, dog\."
    ):
        mapping.corrected({"cat": "wolf"}, KNOWN)
    with pytest.raises(DatasetError, match=r"the network has no class 'cow'; it has a, b\."):
        mapping.corrected({"dog": "cow"}, ["b", "a"])


def test_a_thousand_classes_are_matched_with_a_thousand() -> None:
    known = [f"class number {number}" for number in range(1000)]
    mapping = propose([name.replace(" ", "_") for name in reversed(known)], known)
    assert mapping.classes == tuple(reversed(known))


def pictures(classes: tuple[str, ...]) -> ImageSet:
    """Two images of each class, whose pixels are the class's number."""
    labels = torch.arange(2 * len(classes)) % len(classes)
    images = labels.to(torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2)
    ids = tuple(str(row) for row in range(len(labels)))
    return ImageSet(
        "own", "test", images, labels, classes, ids, images[:, 0] > 0, {"row": labels}, ("before.",)
    )


def test_images_get_the_networks_classes() -> None:
    mapping = propose(["wolves", "dog", "wolf", "Grass"], KNOWN)
    data = pictures(("wolves", "dog", "wolf", "Grass"))
    found = apply(data, mapping)
    assert found.classes == ("wolf", "grass")
    assert found.images[:, 0, 0, 0].tolist() == [0, 2, 3, 0, 2, 3]  # two classes are one, one is left out
    assert found.labels.tolist() == [0, 0, 1, 0, 0, 1]
    assert found.ids == ("0", "2", "3", "4", "6", "7")
    assert found.masks is not None
    assert found.masks[:, 0, 0].tolist() == [False, True, True] * 2
    assert found.attributes["row"].tolist() == [0, 2, 3] * 2
    assert found.notes == ("before.", "2 images of 1 class without a class of the network are left out: dog.")
    assert data.classes == ("wolves", "dog", "wolf", "Grass")
    both = apply(pictures(("wolves", "bus")), propose(["wolves", "bus"], KNOWN))
    assert (both.classes, both.notes) == (("wolf", "bus"), ("before.",))


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ({"a": "x"}, r"says nothing of the class b; write it anew"),
        ({"a": "x", "b": "y", "c": "z"}, r"names a class 'c' that is not there; there are a, b\."),
        ({"a": "x", "b": None}, r"of 2 classes 1 has a name that the network knows; at least 2 are needed"),
        ({"a": "x", "b": "x"}, r"of 2 classes 1 has a name"),
    ],
)
def test_mappings_that_do_not_fit_are_refused(
    pairs: dict[str, str | None], message: str, tmp_path: Path
) -> None:
    mapping = ClassMapping(tuple(Match(own, known, "given") for own, known in pairs.items()))
    with pytest.raises(DatasetError, match=message):
        apply(pictures(("a", "b")), mapping)
    write(tmp_path, mapping)
    with pytest.raises(DatasetError, match=message):
        read(tmp_path, ["a", "b"])


def test_the_file_keeps_what_was_said(tmp_path: Path) -> None:
    assert read(tmp_path, ["a"]) is None
    mapping = propose(["Wölfe", "wolves", "bus"], KNOWN).corrected({"Wölfe": "wolf"}, KNOWN)
    file = write(tmp_path, mapping)
    assert json.loads(file.read_text(encoding="utf-8")) == {"Wölfe": "wolf", "wolves": "wolf", "bus": "bus"}
    found = read(tmp_path, ["wolves", "bus", "Wölfe"])
    assert found is not None
    assert found.pairs == mapping.pairs
    assert [path.name for path in tmp_path.iterdir()] == [class_names.FILE]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'[["a", "x"], ["b", "y"]]',
        b'{"a": "x", "b": 1}',
        b'{"a": "x", "b": ["y"]}',
        b'{"a": "x", "b": {"y": "z"}}',
        b'{"a": "x", "b": ""}',
        b'{"a": "x", "b": "y\\n"}',
        b'{"a": "x", "b": "\\u202e"}',
        b'{"a": "x", "b": "' + b"y" * 201 + b'"}',
        b"[" * 100_000,
        b'{"a": "x", "a": "y", "b": "z"}',
        b'{"a": "x"' + b" " * 2**20 + b"}",
    ],
)
def test_a_file_that_is_anything_else_is_refused_in_one_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / class_names.FILE).write_bytes(content)
    with pytest.raises(
        DatasetError, match=r"^classes.json (is no JSON object|names a class twice|is larger)"
    ):
        read(tmp_path, ["a", "b"])
