"""cue10: the same scenes everywhere, balanced cues, and masks that are exactly the object."""

import hashlib
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from data import cue10
from data.catalogue import DatasetError, ImageSet, load_dataset

MEANS = [
    105.88,
    134.1,
    138.2,
    115.13,
    117.81,
    134.95,
    121.23,
    91.5,
    128.82,
    99.02,
    132.84,
    114.89,
    106.22,
    127.83,
    145.67,
    118.76,
    121.25,
    101.96,
    109.29,
    130.82,
]
"""Mean pixel (0 to 255) of the first 20 test scenes."""
AREAS = [
    1011,
    623,
    506,
    750,
    687,
    890,
    1101,
    718,
    723,
    378,
    1184,
    293,
    478,
    972,
    505,
    619,
    413,
    409,
    619,
    550,
]
"""Mask pixels of the first 20 test scenes."""
NUMBERS = "2161b81faf98f105b2171181fc02af7e4b308ab36aed796cc73e4efa3ad6b78e"
"""sha256 of the uniform numbers behind them."""

POINTED = ("triangle", "star", "heart", "crescent")
"""Shapes with tips thinner than a pixel: there the antialiased edge reaches up to three pixels beyond the mask."""

every_split = pytest.mark.parametrize("split", cue10.SPLITS)


@pytest.fixture(scope="module")
def scenes() -> dict[str, tuple[Tensor, Tensor, Tensor, Tensor]]:
    """The first 100 scenes of every split: images, masks, shapes, textures."""
    return {split: cue10.draw(split, 0, 100) for split in cue10.SPLITS}


def test_scenes_are_the_pinned_ones() -> None:
    """Exact where only integers are at work; pixels may differ by a rounding between processors."""
    numbers, _noise = cue10._draw_numbers("test", 0, 20, cue10.SEED)
    assert hashlib.sha256(numbers.numpy().tobytes()).hexdigest() == NUMBERS
    images, masks, shapes, textures = cue10.draw("test", 0, 20)
    assert images.float().mean((1, 2, 3)).tolist() == pytest.approx(MEANS, abs=0.02)
    assert masks.sum((1, 2)).tolist() == pytest.approx(AREAS, abs=2)
    assert shapes.tolist() == textures.tolist() == list(range(10)) * 2


@every_split
@pytest.mark.parametrize(("start", "stop"), [(0, 1), (7, 9), (30, 63), (99, 100)])
def test_a_scene_does_not_depend_on_its_neighbours(
    split: str, start: int, stop: int, scenes: dict[str, tuple[Tensor, ...]]
) -> None:
    images, masks, shapes, textures = cue10.draw(split, start, stop)
    all_images, *others = scenes[split]
    assert int((images.int() - all_images[start:stop].int()).abs().max()) <= 1
    assert float((images != all_images[start:stop]).float().mean()) < 1e-4
    for found, whole in zip((masks, shapes, textures), others, strict=True):
        assert torch.equal(found, whole[start:stop])


def test_splits_and_seeds_have_different_scenes(scenes: dict[str, tuple[Tensor, ...]]) -> None:
    means = [images.float().mean((1, 2, 3)) for images, *_ in scenes.values()]
    means.append(cue10.draw("train", 0, 100, seed=cue10.SEED + 1)[0].float().mean((1, 2, 3)))
    assert len(torch.cat(means).unique()) > 590


def test_sizes_and_class_balance() -> None:
    expected = {"train": 12_000, "validation": 2_000, "test": 2_000, "conflict": 2_000, "shortcut": 2_000}
    assert expected == cue10.SPLITS
    assert len(cue10.CLASSES) == len(set(cue10.CLASSES)) == 10
    for split, count in expected.items():
        shapes, textures = cue10._pairing(split, 0, count)
        assert shapes.bincount().tolist() == textures.bincount().tolist() == [count // 10] * 10
        assert torch.equal(shapes, textures) == (split != "conflict")


def test_conflict_pairs_all_different_classes_equally_often() -> None:
    shapes, textures = cue10._pairing("conflict", 0, cue10.SPLITS["conflict"])
    pairs = (shapes * 10 + textures).bincount(minlength=100).view(10, 10)
    assert pairs.diagonal().tolist() == [0] * 10
    counts = pairs[~torch.eye(10, dtype=torch.bool)]
    assert len(counts) == 90
    assert int(counts.max() - counts.min()) <= 1


def test_pairing_is_what_is_drawn(scenes: dict[str, tuple[Tensor, ...]]) -> None:
    for split, (_images, _masks, shapes, textures) in scenes.items():
        assert torch.equal(torch.stack([shapes, textures]), torch.stack(cue10._pairing(split, 0, 100)))


# What is painted


def grown(masks: Tensor, pixels: int) -> Tensor:
    """Masks `(N, H, W)` dilated by a square of `2 * pixels + 1`."""
    return F.max_pool2d(masks[:, None].float(), 2 * pixels + 1, 1, pixels)[:, 0] > 0


def repainted(
    monkeypatch: pytest.MonkeyPatch, split: str, shapes: Tensor, textures: Tensor
) -> tuple[Tensor, Tensor]:
    """The first scenes of a split with other cues but all other numbers the same: images and masks."""
    with monkeypatch.context() as patch:
        patch.setattr(cue10, "_pairing", lambda *_: (shapes, textures))
        images, masks, *_ = cue10.draw(split, 0, len(shapes))
    return images.int(), masks


def test_mask_is_the_object(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another texture changes no pixel outside the mask but its antialiased edge, and most of those inside."""
    count = 60
    shapes = torch.arange(count) % 10
    one, masks = repainted(monkeypatch, "test", shapes, torch.ones_like(shapes))
    two, same_masks = repainted(monkeypatch, "test", shapes, torch.full_like(shapes, 2))
    assert torch.equal(masks, same_masks)
    changed = (one - two).abs().amax(1)
    pointed = torch.isin(shapes, torch.tensor([list(cue10.SHAPES).index(name) for name in POINTED]))
    assert int(changed[~pointed][~grown(masks[~pointed], 1)].max()) == 0
    assert int(changed[~grown(masks, 3)].max()) == 0
    assert float((changed[~grown(masks, 2)] > 0).float().mean()) < 1e-4
    inside = ~grown(~masks, 1)
    share = torch.stack([(row[mask] > 10).float().mean() for row, mask in zip(changed, inside, strict=True)])
    assert float(share.mean()) > 0.5
    assert float(share.min()) > 0.2


def test_mask_has_the_shape_of_its_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """With everything else equal, ten shapes give ten different masks; a ring and a crescent miss their centre."""
    masks = []
    for shape in range(10):
        shapes = torch.full((8,), shape)
        masks.append(repainted(monkeypatch, "test", shapes, torch.zeros_like(shapes))[1])
    for k in range(10):
        for other in range(k):
            shared = (masks[k] & masks[other]).sum((1, 2)) / (masks[k] | masks[other]).sum((1, 2))
            assert float(shared.max()) < 0.95
    disc, ring = masks[list(cue10.SHAPES).index("disc")], masks[list(cue10.SHAPES).index("ring")]
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    whole = disc.sum((1, 2)) > 350  # not cut by the border, so that the mean of the mask is its centre
    centre = (
        torch.stack([(disc * axis).sum((1, 2)) / disc.sum((1, 2)) for axis in (rows, columns)]).round().long()
    )
    numbers = torch.arange(8)
    assert disc[numbers, centre[0], centre[1]].all()
    assert not ring[numbers, centre[0], centre[1]][whole].any()


@every_split
def test_masks_are_large_enough_to_be_seen(split: str, scenes: dict[str, tuple[Tensor, ...]]) -> None:
    _images, masks, *_ = scenes[split]
    area = masks.sum((1, 2))
    assert masks.dtype is torch.bool
    assert int(area.min()) >= 60
    assert int(area.max()) < 64 * 64 // 2


def test_texture_alone_and_shape_alone_tell_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both cues reach the picture: changing either one changes the scene."""
    same = torch.zeros(10, dtype=torch.int64)
    base, _ = repainted(monkeypatch, "test", same, same)
    for other in range(1, 10):
        cue = torch.full((10,), other)
        for pairing in ((cue, same), (same, cue)):
            changed = (repainted(monkeypatch, "test", *pairing)[0] - base).abs().amax(1) > 10
            assert int(changed.sum((1, 2)).min()) >= 10


# The shortcut


def test_tag_has_the_colour_of_its_class_in_the_corner(scenes: dict[str, tuple[Tensor, ...]]) -> None:
    images, _masks, shapes, _textures = scenes["shortcut"]
    colours = (cue10.tag_colours() * 255).round()
    tag = images[:, :, : cue10.TAG, : cue10.TAG].float()
    assert torch.equal(tag, colours[shapes][..., None, None].expand_as(tag))
    distances = torch.cdist(colours, colours) + 1e3 * torch.eye(10)
    assert float(distances.min()) > 30, "two tags look alike"


def test_tag_is_no_part_of_the_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = cue10.draw("shortcut", 0, 300)[1]
    monkeypatch.setattr(cue10, "TAG", 0)
    untagged = cue10.draw("shortcut", 0, 300)[1]
    assert untagged[:, :8, :8].any(), "no object reaches the corner, so this test could not fail"
    assert not masks[:, :8, :8].any()
    untagged[:, :8, :8] = False
    assert torch.equal(masks, untagged)


def test_other_splits_have_no_tag(scenes: dict[str, tuple[Tensor, ...]]) -> None:
    for split, (images, *_) in scenes.items():
        flat = images[:, :, : cue10.TAG, : cue10.TAG].flatten(2).float().std(2).amax(1) == 0
        assert bool(flat.all()) if split == "shortcut" else int(flat.sum()) == 0


# Loading


@pytest.fixture
def short_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, and splits of 30 scenes."""
    monkeypatch.setenv("XAI_CACHE", str(tmp_path))
    for split in cue10.SPLITS:
        monkeypatch.setitem(cue10.SPLITS, split, 30)
    return tmp_path


def assert_same_set(first: ImageSet, second: ImageSet) -> None:
    """Everything in two image sets is equal."""
    assert (first.name, first.split, first.classes, first.ids) == (
        second.name,
        second.split,
        second.classes,
        second.ids,
    )
    assert first.masks is not None
    assert second.masks is not None
    for ours, theirs in (
        (first.images, second.images),
        (first.labels, second.labels),
        (first.masks, second.masks),
        *((first.attributes[key], second.attributes[key]) for key in ("shape", "texture")),
    ):
        assert torch.equal(ours, theirs)


@every_split
def test_cache_returns_what_was_drawn(
    split: str, short_splits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int, str]] = []
    drawn = load_dataset("cue10", split, lambda *report: seen.append(report))
    assert seen == [(30, 30, f"drawing cue10 {split}")]
    monkeypatch.setattr(cue10, "draw", None)  # the second time nothing is drawn
    assert_same_set(drawn, load_dataset("cue10", split))
    assert [path.suffix for path in short_splits.iterdir()] == [".safetensors"]
    assert len(set(drawn.ids)) == len(drawn) == 30
    assert torch.equal(drawn.labels, drawn.attributes["shape"])


def test_damaged_cache_says_what_to_do(short_splits: Path) -> None:
    load_dataset("cue10", "test")
    (path,) = short_splits.iterdir()
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DatasetError, match=r"is damaged; delete it, and it is made again\.$"):
        load_dataset("cue10", "test")


def test_one_scene_is_that_of_its_split(scenes: dict[str, tuple[Tensor, ...]]) -> None:
    one = cue10.scene("conflict", 17)
    images, masks, shapes, textures = scenes["conflict"]
    assert int((one.images[0].int() - images[17].int()).abs().max()) <= 1
    assert one.masks is not None
    assert torch.equal(one.masks[0], masks[17])
    assert (one.ids, len(one)) == (("cue10/conflict/00017",), 1)
    assert (one.labels.item(), one.attributes["texture"].item()) == (shapes[17].item(), textures[17].item())


@pytest.mark.parametrize(
    ("split", "index", "allowed"),
    [
        ("holdout", 0, r"splits are train, .*shortcut"),
        ("test", -1, "allowed are test/0 to test/1999"),
        ("test", 2000, "allowed are test/0 to test/1999"),
    ],
)
def test_unknown_scene_gives_one_sentence(split: str, index: int, allowed: str) -> None:
    with pytest.raises(DatasetError, match=rf"^cue10 has no scene {split}/{index}; {allowed}\.$"):
        cue10.scene(split, index)
