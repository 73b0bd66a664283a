"""One image of a dataset in Explain is degraded as it was in the sweep, and is found again by its name."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data import cue10, thumbnails
from data.datasets import DatasetError, ImageSet
from data.degradations import DEGRADATIONS, max_severity
from xai import picture_sources
from xai.comparison import Request, make_view, picture_from_dataset, picture_from_scene
from xai.evaluation import degraded_batch
from xai.evaluation_grid import Cell
from xai.manifests import ManifestError
from xai.picture_sources import find_picture, is_source

SEED = 5


@pytest.fixture(scope="module")
def scenes() -> ImageSet:
    """The first four scenes, as their split has them."""
    images, masks, shapes, _textures = cue10.draw("test", 0, 4)
    ids = tuple(f"cue10/test/{k:05d}" for k in range(4))
    return ImageSet("cue10", "test", images, shapes, cue10.CLASSES, ids, masks)


def cell(degradation: str, severity: float, scale: str) -> Cell:
    return Cell("cue10", "test", "any", "0" * 64, degradation, scale, severity, SEED, 1)


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_explain_sees_what_the_sweep_saw(scenes: ImageSet, name: str) -> None:
    scale = DEGRADATIONS[name].scales[0]
    severity = float(max_severity(name, scale))
    swept = degraded_batch(scenes, cell(name, severity, scale), slice(0, 4), torch.device("cpu"))
    request = Request(("any",), degradation=name, severity=severity, scale=scale, seed=SEED)
    for row in (0, 2):
        view = make_view(picture_from_dataset(scenes, row), request, 64)
        assert torch.equal(view.clean, scenes.images[row : row + 1].float() / 255)
        torch.testing.assert_close(view.degraded, swept[row : row + 1], rtol=0, atol=1e-6)
        assert not torch.equal(view.degraded, view.clean)


def test_a_scene_drawn_alone_is_the_same_picture(scenes: ImageSet) -> None:
    alone, of_split = picture_from_scene("test", 2), picture_from_dataset(scenes, 2)
    assert (alone.sha256, alone.image_id, alone.label) == (of_split.sha256, of_split.image_id, of_split.label)
    assert alone.source == "cue10:test/2"
    assert of_split.source == "cue10:test/cue10/test/00002"


def test_a_manifest_of_before_draws_what_it_drew(scenes: ImageSet) -> None:
    facts = {
        "name": "x",
        "source": "cue10:test/2",
        "label": None,
        "sha256": picture_from_scene("test", 2).sha256,
    }
    assert picture_sources.picture_again(facts, None).seed_text == facts["sha256"]
    now = {**facts, "image_id": "cue10/test/00002"}
    assert picture_sources.picture_again(now, None).seed_text == "cue10/test/00002"


def test_a_picture_by_dataset_split_and_id(tmp_path: Path) -> None:
    for folder in ("cat", "dog"):
        (tmp_path / "a:b" / folder).mkdir(parents=True)
        for k in range(8):
            Image.fromarray(np.full((70, 70, 3), 20 * k + len(folder), np.uint8)).save(
                tmp_path / "a:b" / folder / f"{k}.png"
            )
    name = f"folder:{tmp_path / 'a:b'}"
    with pytest.raises(ManifestError, match="its ids are such as") as told:
        find_picture(f"{name}:train/nothing.png")
    image_id = str(told.value).split("'")[-2]
    found = find_picture(f"{name}:train/{image_id}")
    assert (found.image_id, found.name, found.label) == (image_id, image_id, image_id.split("/")[0])
    assert found.source == f"{name}:train/{image_id}"


def test_an_id_may_leave_out_its_split() -> None:
    labels, ids = torch.zeros(2, dtype=torch.long), ("test/cat/0001", "test/cat/0002")
    data = ImageSet("made up", "test", torch.arange(6).view(2, 3, 1, 1).byte(), labels, ("cat",), ids)
    short, full = (picture_sources._of_dataset(data, name) for name in ("cat/0002", "test/cat/0002"))
    assert (short.source, short.sha256) == (full.source, full.sha256)
    assert short.image_id == "test/cat/0002"


@pytest.mark.parametrize(
    "source", ["cifar10-jpeg:", "cue10:test/x/y/z", "nothing:test/4", "upload:1", "sample:", ""]
)
def test_other_sources_are_one_sentence(source: str) -> None:
    with pytest.raises((ManifestError, DatasetError)) as told:
        find_picture(source)
    assert str(told.value).count("\n") == 0


def test_a_path_is_no_source() -> None:
    for path in ("cat.jpg", "/tmp/cue10:test/4", "C:/cat.jpg", "cue10", "./sample:cat"):
        assert not is_source(path)
    for source in ("cue10:test/4", "sample:chelsea", "cifar10-jpeg:test/a", "folder:/a:b:test/c.png"):
        assert is_source(source)


def test_a_sheet_holds_every_picture(scenes: ImageSet) -> None:
    clean = thumbnails.small(scenes.images)
    halves = thumbnails.small(scenes.images.float() / 510)
    shown = np.asarray(Image.open(io.BytesIO(thumbnails.sheet([clean, halves]))))
    assert shown.shape == (128, 256, 3)
    assert np.array_equal(shown[:64, 64:128].transpose(2, 0, 1), scenes.images[1].numpy())
    assert np.array_equal(shown[64:, 128:192].transpose(2, 0, 1), halves[2].numpy())
    with pytest.raises(DatasetError, match="no picture"):
        thumbnails.sheet([])


def test_large_pictures_are_averaged_down() -> None:
    picture = torch.zeros(1, 3, 128, 128, dtype=torch.uint8)
    picture[:, :, ::2] = 200
    assert thumbnails.small(picture).shape == (1, 3, 64, 64)
    assert (thumbnails.small(picture) == 100).all()
