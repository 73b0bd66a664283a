"""Responses to a dataset: equal to a plain loop over the network, whatever was on disk before."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from data.datasets import ImageSet
from data.degradations import degrade
from models.cards import Card
from models.registry import Model
from tests.conftest import TinyModel
from xai import responses_store as store
from xai.attribution_types import ExplanationError
from xai.hooks import count_hooks
from xai.responses import Cancelled, Responses, collect, reduced

pytestmark = pytest.mark.usefixtures("one_thread")
ROOT = Path(__file__).resolve().parent.parent
PARTS = 16


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(store, "PART", PARTS)


class Small(nn.Module):
    """A convolution that is called twice, a layer that gives a tuple, a vector, and a layer that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.pair = Pair()
        self.tokens = nn.Identity()
        self.head = nn.Linear(4, 3)
        self.unused = nn.Conv2d(3, 4, 1)
        self.images_seen = 0

    def forward(self, images: Tensor) -> Tensor:
        self.images_seen += len(images)
        maps = self.relu(self.first(images))
        maps = self.relu(maps - 0.1)
        self.tokens(maps.flatten(2))
        _, maps = self.pair(maps)
        return self.head(maps.mean(dim=(2, 3)))


class Pair(nn.Module):
    """Gives two tensors, of which the first is twice the maps."""

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        return 2 * maps, maps


def model_of(network: nn.Module, classes: int = 3, size: int = 8) -> Model:
    names = tuple(f"class {number}" for number in range(classes))
    card = Card("small", "none", "none", names, size, 0, "cpu", {}, {})
    network.eval().requires_grad_(False)
    return Model("small", network, names, size, "", "pool_linear", (), card)


@pytest.fixture
def model() -> Model:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return model_of(Small())


def images(count: int, size: int = 8) -> ImageSet:
    pixels = torch.randint(0, 256, (count, 3, size, size), generator=torch.Generator().manual_seed(1)).byte()
    labels = torch.arange(count) % 3
    ids = tuple(f"image {number}" for number in range(count))
    return ImageSet("noise", "test", pixels, labels, ("class 0", "class 1", "class 2"), ids)


def by_hand(model: Model, pixels: Tensor, layer: str) -> Tensor:
    """Maps of a layer, by the network's own modules, as many images at a time as in a part."""
    network: Any = model.network
    found = []
    with torch.no_grad():
        for batch in pixels.split(PARTS):
            maps = network.first(batch).relu()
            second = (maps - 0.1).relu()
            head = network.head(second.mean(dim=(2, 3)))[:, :, None, None]
            found.append({"relu": maps, "relu#2": second, "pair": 2 * second, "head": head}[layer])
    return torch.cat(found)


def seen(model: Model) -> int:
    """Images that went through the network since the last time."""
    network: Any = model.network
    count, network.images_seen = network.images_seen, 0
    return int(count)


def same(one: Responses, other: Responses) -> bool:
    names = ("mean", "maximum", "place", "labels")
    return (
        all(torch.equal(getattr(one, name), getattr(other, name)) for name in names) and one.ids == other.ids
    )


LAYERS = ("relu", "relu#2", "pair", "head")


def test_numbers_are_those_of_a_plain_loop(model: Model) -> None:
    data = images(37)
    found = collect(model, data, LAYERS)
    for layer in LAYERS:
        maps = by_hand(model, data.float_images(), layer).flatten(2)
        answers = found[layer]
        assert torch.equal(answers.maximum, maps.amax(dim=2))
        assert torch.allclose(answers.mean, maps.mean(dim=2), atol=1e-6)
        assert torch.equal(answers.place.long(), maps.argmax(dim=2))
        assert (answers.ids, len(answers), answers.channels) == (data.ids, 37, maps.shape[1])
        assert torch.equal(answers.labels, data.labels)
    assert (found["relu"].grid, found["head"].grid) == ((8, 8), (1, 1))
    row, channel = 5, 2
    cell = found["relu"].cell(row, channel)
    assert (
        by_hand(model, data.float_images(), "relu")[row, channel][cell] == found["relu"].maximum[row, channel]
    )


def test_notes_say_how_often_a_layer_runs_and_what_is_no_number(model: Model) -> None:
    assert collect(model, images(20), ["relu#2"])["relu#2"].notes == (
        "relu runs 2 times in one forward pass; this is call 2.",
    )
    weights: Any = model.network
    weights.first.bias[1] = torch.nan
    found = collect(model, images(20), ["first", "head"])
    assert found["first"].notes == ("20 of 20 images give values that are no numbers (NaN) in first.",)
    assert found["first"].maximum.isnan().any(dim=0).tolist() == [False, True, False, False]
    assert found["head"].maximum.isnan().all()


def test_every_image_is_degraded_as_in_a_sweep_and_severity_0_is_clean(model: Model) -> None:
    data, known = images(20), {"scale": "cifar-c", "seed": 4}
    found = collect(model, data, ["relu"], degradation="gaussian_noise", severity=2, **known)["relu"]  # type: ignore[arg-type]
    pixels = degrade(data.float_images(), "gaussian_noise", 2, image_ids=data.ids, **known)  # type: ignore[arg-type]
    assert torch.equal(found.maximum, by_hand(model, pixels, "relu").flatten(2).amax(dim=2))
    assert found.condition == "gaussian_noise 2"
    clean = collect(model, data, ["relu"])["relu"]
    seen(model)
    none = collect(model, data, ["relu"], degradation="gaussian_noise", severity=0, **known)["relu"]  # type: ignore[arg-type]
    assert same(none, clean)
    assert none.condition == "clean"
    assert not torch.equal(found.maximum, clean.maximum)
    assert seen(model) == 0


def test_what_was_computed_is_read_and_further_layers_alone_are_computed(model: Model) -> None:
    data = images(40)
    first = collect(model, data, ["relu", "head"])
    assert seen(model) == 40
    again = collect(model, data, ["head", "relu"])
    assert seen(model) == 0
    assert all(same(first[layer], again[layer]) for layer in first)
    collect(model, data, ["relu", "pair"])
    assert seen(model) == 40
    assert same(
        collect(model, images(30), ["relu"])["relu"], collect(model, images(30), ["relu#1"])["relu#1"]
    )


def test_other_weights_and_other_pixels_have_responses_of_their_own(model: Model) -> None:
    """Even under the same card, as a network may be changed in memory."""
    data = images(20)
    before = collect(model, data, ["relu"])["relu"]
    weights: Any = model.network
    weights.first.weight.mul_(2)
    assert not torch.equal(collect(model, data, ["relu"])["relu"].maximum, before.maximum)
    brighter = ImageSet("noise", "test", data.images // 2, data.labels, data.classes, data.ids)
    weights.first.weight.div_(2)
    assert not torch.equal(collect(model, brighter, ["relu"])["relu"].maximum, before.maximum)
    assert same(collect(model, data, ["relu"])["relu"], before)


def test_a_cancelled_pass_goes_on_where_it_was(model: Model) -> None:
    data, told = images(80), list[tuple[int, int]]()
    batch = 16

    def progress(done: int, total: int, _what: str) -> None:
        told.append((done, total))

    with pytest.raises(Cancelled):
        collect(model, data, ["relu"], progress=progress, cancelled=lambda: len(told) >= 6)
    assert 0 < seen(model) < 80
    done = len(list(store.folder().rglob("*.safetensors"))) * batch
    assert done in (32, 48, 64)
    found = collect(model, data, ["relu"], progress=progress)["relu"]
    assert seen(model) == 80 - done
    assert told[-1] == (80, 80)
    assert [place for place, _ in told] != sorted({place for place, _ in told})  # it was told of both passes
    assert torch.equal(found.maximum, by_hand(model, data.float_images(), "relu").flatten(2).amax(dim=2))


CHILD = """
import sys, time
from tests.test_responses import Small, images, model_of, store
from xai.responses import collect
import torch
store.PART = 16
torch.manual_seed(0)
model = model_of(Small())

def progress(done, total, what):
    print(done, flush=True)
    time.sleep(0.3 * (done >= 32))

collect(model, images(64), ["relu"], progress=progress)
"""


def test_a_killed_pass_goes_on_where_it_was(model: Model) -> None:
    child = subprocess.Popen([sys.executable, "-c", CHILD], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    for line in child.stdout:
        if int(line) >= 32:
            break
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    stored = len(list(store.folder().rglob("[0-9]*.safetensors")))
    assert 2 <= stored < 4
    found = collect(model, images(64), ["relu"])["relu"]
    assert seen(model) == 64 - stored * PARTS
    assert torch.equal(
        found.maximum, by_hand(model, images(64).float_images(), "relu").flatten(2).amax(dim=2)
    )


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [cut, flip, empty, Path.unlink])
def test_a_damaged_part_is_made_again(model: Model, damage: Any) -> None:
    before = collect(model, images(40), ["relu"])["relu"]
    parts = sorted(store.folder().rglob("*.safetensors"))
    assert len(parts) == 3
    damage(parts[1])
    seen(model)
    assert same(collect(model, images(40), ["relu"])["relu"], before)
    assert seen(model) == PARTS
    assert same(collect(model, images(40), ["relu"])["relu"], before)
    assert seen(model) == 0


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(
    model: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XAI_CACHE", str(tmp_path / "file"))
    found = collect(model, images(20), ["relu"])["relu"]
    assert torch.equal(
        found.maximum, by_hand(model, images(20).float_images(), "relu").flatten(2).amax(dim=2)
    )


def test_what_was_used_longest_ago_is_removed(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    for layer in ("relu", "pair", "first"):
        collect(model, images(20), [layer])
        time.sleep(0.02)
    collect(model, images(20), ["relu"])  # used again, now
    size = sum(path.stat().st_size for path in store.folder().rglob("*.safetensors")) // 3
    monkeypatch.setattr(store, "LIMIT", int(2.5 * size))
    collect(model, images(20), ["head"])
    seen(model)
    collect(model, images(20), ["relu", "first"])
    assert seen(model) == 0
    collect(model, images(20), ["pair"])
    assert seen(model) == 20


def test_what_can_not_be_is_said(model: Model) -> None:
    data = images(4)
    for layer, words in (
        ("unused", "unused is not run by small"),
        ("relu#3", "relu runs 2 times by small; there is no call 3"),
        ("other", "there is no layer 'other'"),
        ("tokens", r"the output of tokens is a tensor of shape \(4, 4, 64\)"),
    ):
        with pytest.raises(ExplanationError, match=words):
            collect(model, data, [layer])
    with pytest.raises(ExplanationError, match="0 images and 1 layers"):
        collect(model, images(0), ["relu"])
    with pytest.raises(ValueError, match="severity 9 is out of range"):
        collect(model, data, ["relu"], degradation="gaussian_noise", severity=9, scale="cifar-c")
    with pytest.raises(ExplanationError, match="the channel is 4; relu has 4: 0 to 3"):
        collect(model, data, ["relu"])["relu"].column(4)
    assert count_hooks(model.network) == 0


def test_layers_that_see_several_pictures_of_one_image_are_refused(tiny_model: TinyModel) -> None:
    model = tiny_model("mmff_resnet50_cifar", 8)
    with pytest.raises(ExplanationError, match="gives 8 feature maps for 4 images"):
        collect(model, images(4), ["layer1"])
    assert collect(model, images(4), ["fuse"])["fuse"].maximum.shape[0] == 4


def test_an_image_too_small_for_the_network_is_refused(tiny_model: TinyModel) -> None:
    with pytest.raises(ExplanationError, match="its smallest input is 32 px"):
        reduced(tiny_model("vgg16_bn"), torch.zeros(1, 3, 8, 8), ["features.0"])


class Wide(nn.Module):
    """4,096 channels of 2 x 2 cells, from nothing but a stretch of the image."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Identity()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        maps = self.maps(images.mean(dim=1, keepdim=True).expand(-1, 4096, -1, -1))
        return maps[:, :3, 0, 0]


def test_arrays_of_4096_channels_take_nine_bytes_a_number() -> None:
    """For 10,000 images 369 MB: 4 bytes each for mean and maximum, 1 for the place; one more would be 410 MB."""
    found = collect(model_of(Wide(), 3, 2), images(20, size=2), ["maps"])["maps"]
    tensors = (found.mean, found.maximum, found.place)
    assert sum(tensor.numel() * tensor.element_size() for tensor in tensors) == 20 * 4096 * 9
    assert found.place.dtype == torch.int8
