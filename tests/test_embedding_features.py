"""Features of a dataset: equal to a plain loop over the network, whatever was on disk before, in little memory."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from data.datasets import ImageSet
from data.degradations import degrade
from models import transfer
from models.registry import ARCHITECTURES, Model
from tests.conftest import TinyModel
from tests.test_responses import ROOT, Small, by_hand, cut, empty, flip, images, model_of, seen
from xai import benchmark_embedding, responses_store
from xai import embedding_features_store as store
from xai.attribution_types import ExplanationError
from xai.embedding_features import PENULTIMATE, Cancelled, Features, classifiers, extract
from xai.folding import folded
from xai.hooks import count_hooks, find_layer

pytestmark = pytest.mark.usefixtures("one_thread")
PARTS = 16


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(store, "PART", PARTS)


def small() -> Model:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return model_of(Small())


@pytest.fixture
def model() -> Model:
    return small()


def averaged(model: Model, data: ImageSet, layer: str) -> np.ndarray:
    """Features of a layer of `Small`, by its own modules, in half precision."""
    known = {PENULTIMATE: "relu#2"}.get(layer, layer)
    return by_hand(model, data.float_images(), known).mean(dim=(2, 3)).half().numpy()


def near(one: np.ndarray, other: np.ndarray) -> bool:
    """Equal but for the last digit of half precision."""
    return np.allclose(one.astype(np.float32), other.astype(np.float32), rtol=1e-3, atol=1e-6)


def same(one: Features, other: Features) -> bool:
    names = ("vectors", "probabilities", "predicted", "labels")
    equal = all(np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True) for name in names)
    return equal and (one.ids, one.notes, one.origin) == (other.ids, other.notes, other.origin)


def stored() -> list[Path]:
    return sorted(store.folder().rglob("features"))


@pytest.mark.parametrize("layer", ["relu", "relu#2", "pair", "head", PENULTIMATE])
def test_features_are_those_of_a_plain_loop(model: Model, layer: str) -> None:
    data = images(37)
    found = extract(model, data, layer)
    assert near(found.vectors, averaged(model, data, layer))
    answers = model.network(data.float_images()).softmax(dim=1)
    assert near(found.probabilities, answers.half().numpy())
    assert found.predicted.tolist() == answers.argmax(dim=1).tolist()
    assert (found.ids, found.classes, len(found)) == (data.ids, model.classes, 37)
    assert found.labels.tolist() == data.labels.tolist()
    assert count_hooks(model.network) == count_hooks(folded(model).network) == 0


def test_arrays_are_half_precision_mapped_and_not_to_be_written(model: Model) -> None:
    found = extract(model, images(20))
    for array in (found.vectors, found.probabilities):
        assert isinstance(array, np.memmap)
        assert array.dtype == np.float16
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1
    assert found.labels.dtype == np.int64


def small_copy(tiny_model: TinyModel, name: str) -> Model:
    return tiny_model(name, ARCHITECTURES[name].min_size)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_default_layer_is_what_the_classifier_reads(tiny_model: TinyModel, name: str) -> None:
    """Of every architecture: found without its registry entry, it is the layer that the registry's weights tell."""
    model = small_copy(tiny_model, name)
    data, layer = images(2, model.input_size), transfer.classifier(name, model.card.options)
    read: list[Tensor] = []
    module: Any = find_layer(model.network, layer)
    handle = module.register_forward_hook(lambda _module, inputs, _output: read.append(inputs[0]))
    answers = model.predict(data.float_images())
    handle.remove()
    found = extract(model, data)
    assert found.origin == f"what {layer} reads"
    scale = float(read[0].abs().max())
    assert np.abs(found.vectors - read[0].numpy()).max() < 2e-3 * scale
    assert np.abs(found.probabilities - answers.numpy()).max() < 2e-3
    again = torch.from_numpy(np.array(found.vectors, np.float32)) @ module.weight.T + module.bias
    assert torch.allclose(again.softmax(dim=1), answers, atol=5e-3)


class Convolved(nn.Module):
    """A 1x1 convolution makes the logits' maps; a linear layer with as many outputs runs before it."""

    def __init__(self) -> None:
        super().__init__()
        self.early = nn.Linear(8, 3)
        self.last = nn.Conv2d(3, 3, 1)
        self.before = nn.Conv2d(3, 3, 3)

    def forward(self, pictures: Tensor) -> Tensor:
        maps = pictures + self.early(pictures).mean(dim=(2, 3), keepdim=True)
        return self.last(maps).mean(dim=(2, 3))


class Tokens(nn.Module):
    """A linear classifier for each of the picture's rows."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(24, 3)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.head(pictures.transpose(1, 2).flatten(2)).mean(dim=1)


def test_of_a_classifier_on_a_grid_or_on_tokens_the_mean_is_taken() -> None:
    data = images(5)
    pixels, model = data.float_images(), model_of(Convolved())
    assert classifiers(model) == ("early", "last")
    network: Any = model.network
    maps = pixels + network.early(pixels).mean(dim=(2, 3), keepdim=True)
    found = extract(model, data)
    assert near(found.vectors, maps.mean(dim=(2, 3)).numpy())
    assert found.origin == "what last reads, averaged over its 8x8 grid"
    found = extract(model_of(Tokens()), data)
    assert near(found.vectors, pixels.transpose(1, 2).flatten(2).mean(dim=1).numpy())
    assert found.origin == "what head reads, averaged over its 8 tokens"


class Planted(nn.Module):
    """Answers and features that do not depend on the picture, but for its first value."""

    def __init__(self, logits: list[float], features: list[float]) -> None:
        super().__init__()
        self.logits, self.features = nn.Parameter(torch.tensor(logits)), nn.Parameter(torch.tensor(features))
        self.fc, self.spread = nn.Linear(1, len(logits)), nn.Identity()

    def forward(self, pictures: Tensor) -> Tensor:
        first = pictures[:, :1, 0, 0]
        self.spread(torch.where(first > 0.5, self.features, torch.ones_like(self.features)))
        return self.logits.expand(len(pictures), -1) + 0 * self.fc(first)


def test_rounding_does_not_change_the_predicted_class() -> None:
    model = model_of(Planted([1.0, 1.00001, 0.0, 1.0], [1.0]), classes=4)
    found = extract(model, images(3), "spread")
    assert len(set(found.probabilities[0, [0, 1, 3]].tolist())) == 1  # all the same in half precision
    assert found.predicted.tolist() == [1, 1, 1]
    classes, probabilities = found.top(3)
    assert classes.tolist() == [[1, 0, 3]] * 3
    assert np.array_equal(probabilities, np.array(found.probabilities, np.float32)[:, [1, 0, 3]])


def test_of_fewer_classes_than_asked_for_the_rest_is_none(model: Model) -> None:
    found = extract(model, images(20))
    classes, probabilities = found.top(5)
    order = np.argsort(-np.array(found.probabilities, np.float32), axis=1, kind="stable")
    assert np.array_equal(classes[:, :3], order)
    assert (classes[:, 3:] == -1).all()
    assert (probabilities[:, 3:] == 0).all()
    assert (classes.dtype, probabilities.dtype) == (np.int16, np.float32)


def pictures(firsts: list[int]) -> ImageSet:
    data = images(len(firsts))
    data.images[:, 0, 0, 0] = torch.tensor(firsts).byte()
    return data


@pytest.mark.parametrize(
    ("value", "kept", "words"),
    [
        (1e5, 65504.0, "2 of 3 images give features beyond 65,504"),
        (-1e9, -65504.0, "2 of 3 images give features beyond 65,504"),
        (float("nan"), float("nan"), "2 of 3 images give features that are no numbers"),
        (float("inf"), float("inf"), "2 of 3 images give features that are no numbers"),
        (65504.0, 65504.0, ""),
    ],
)
def test_values_that_half_precision_cannot_hold_are_told(value: float, kept: float, words: str) -> None:
    model = model_of(Planted([0.0, 1.0, 2.0], [2.0, value]))
    for _ in range(2):  # computed, then read
        found = extract(model, pictures([255, 0, 255]), "spread")
        expected = np.array([[2, kept], [1, 1], [2, kept]], np.float16)
        assert np.array_equal(found.vectors, expected, equal_nan=True)
        assert [note for note in found.notes if note.startswith(words)] == list(found.notes)
        assert len(found.notes) == bool(words)


def test_answers_that_are_no_numbers_are_told() -> None:
    model = model_of(Planted([0.0, float("nan"), 2.0], [2.0]))
    found = extract(model, images(3), "spread")
    assert found.notes == (
        "3 of 3 images get no probabilities, as an output is no number; 0 is shown for them.",
    )
    assert np.isnan(found.probabilities).all()


def test_a_layer_that_runs_twice_is_told(model: Model) -> None:
    words = "relu runs 2 times in one forward pass; this is call "
    assert extract(model, images(5), "relu").notes == (f"{words}1.",)
    assert extract(model, images(5), "relu#2").notes == (f"{words}2.",)


def test_every_image_is_degraded_as_in_a_sweep_and_severity_0_is_clean(model: Model) -> None:
    data, known = images(20), {"scale": "cifar-c", "seed": 4}
    found = extract(model, data, "relu", degradation="gaussian_noise", severity=2, **known)  # type: ignore[arg-type]
    pixels = degrade(data.float_images(), "gaussian_noise", 2, image_ids=data.ids, **known)  # type: ignore[arg-type]
    assert near(found.vectors, by_hand(model, pixels, "relu").mean(dim=(2, 3)).half().numpy())
    assert found.condition == "gaussian_noise 2"
    clean = extract(model, data, "relu")
    assert not np.array_equal(found.vectors, clean.vectors)
    seen(model)
    none = extract(model, data, "relu", degradation="gaussian_noise", severity=0, **known)  # type: ignore[arg-type]
    assert same(none, clean)
    assert seen(model) == 0


def test_other_weights_pixels_and_layers_have_features_of_their_own(model: Model) -> None:
    data = images(20)
    before = extract(model, data, "relu")
    weights: Any = model.network
    weights.first.weight.mul_(2)
    assert not np.array_equal(extract(model, data, "relu").vectors, before.vectors)
    weights.first.weight.div_(2)
    brighter = ImageSet("noise", "test", data.images // 2, data.labels, data.classes, data.ids)
    assert not np.array_equal(extract(model, brighter, "relu").vectors, before.vectors)
    assert not np.array_equal(extract(model, data, "first").vectors, before.vectors)
    seen(model)
    assert same(extract(model, data, "relu"), before)
    assert seen(model) == 0


def test_a_cancelled_pass_goes_on_where_it_was(model: Model) -> None:
    data, told = images(80), list[tuple[int, int]]()

    def progress(done: int, total: int, _what: str) -> None:
        told.append((done, total))

    with pytest.raises(Cancelled):
        extract(model, data, "relu", progress=progress, cancelled=lambda: len(told) >= 3)
    assert told == [(0, 80), (16, 80), (32, 80)]
    assert seen(model) == 48
    assert count_hooks(model.network) == 0
    found = extract(model, data, "relu", progress=progress)
    assert told[3:] == [(48, 80), (64, 80), (80, 80)]
    assert seen(model) == 32
    assert near(found.vectors, averaged(model, data, "relu"))


CHILD = """
import json, sys, time
from tests.test_embedding_features import images, seen, small, store
from xai.embedding_features import extract
store.PART = 16
model = small()

def progress(done, total, what):
    print(json.dumps([done, what]), flush=True)
    time.sleep(float(sys.argv[1]) * (done >= 32))

extract(model, images(64), "relu", progress=progress)
print(json.dumps(seen(model)), flush=True)
"""


def child(pause: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(pause)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def lines(process: subprocess.Popen[str]) -> Iterator[Any]:
    assert process.stdout is not None
    yield from map(json.loads, process.stdout)


def test_a_killed_pass_goes_on_where_it_was_and_another_process_waits_for_it(model: Model) -> None:
    """The first is killed in its third part; the second waited for it, and is told how far it is from there on."""
    first = child(60)
    while next(lines(first))[0] < 32:
        pass
    second = child(0)
    waiting = next(lines(second))
    assert waiting == [0, "waiting for another process at the features of small, clean"]
    first.send_signal(signal.SIGKILL)
    first.communicate()
    *told, computed = lines(second)
    assert second.wait() == 0
    assert [done for done, what in told if what.startswith("features")] == [32, 48, 64]
    assert computed == 32
    assert near(extract(model, images(64), "relu").vectors, averaged(model, images(64), "relu"))
    assert seen(model) == 0


def test_threads_share_the_work(model: Model) -> None:
    found: list[Features] = []

    def work() -> None:
        found.append(extract(model, images(64), "relu"))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen(model) == 64
    assert all(same(found[0], other) for other in found[1:])


def middle(path: Path) -> None:
    """One number of the second part of three, which begins at the 17th row of 4 numbers."""
    content = bytearray(path.read_bytes())
    place = store.Facts(40, 4, 3, 2, "").columns["vectors"][2]
    content[place + 17 * 4 * 2] ^= 1
    path.write_bytes(bytes(content))


def header(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"width\\": 4', b'"width\\": 5', 1))


@pytest.mark.parametrize(
    ("damage", "again"), [(middle, PARTS), (cut, 8), (flip, 8), (empty, 40), (header, 40), (Path.unlink, 40)]
)
def test_only_a_damaged_part_is_made_again(model: Model, damage: Any, again: int) -> None:
    data = images(40)
    before = extract(model, data, "relu")
    copy = np.array(before.vectors)
    content = stored()[0].read_bytes()
    damage(stored()[0])
    assert not stored() or stored()[0].read_bytes() != content
    seen(model)
    for computed in (again, 0):
        found = extract(model, data, "relu")
        assert seen(model) == computed
        assert np.array_equal(found.vectors, copy)
        assert np.array_equal(found.labels, before.labels)
    assert stored()[0].read_bytes() == content


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(
    model: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XAI_CACHE", str(tmp_path / "file"))
    found = extract(model, images(20), "relu#2")
    assert found.notes[1:] == ("The features could not be kept on disk: Not a directory.",)
    assert near(found.vectors, averaged(model, images(20), "relu#2"))


def test_a_full_disk_is_met_before_the_work(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "created", full)
    found = extract(model, images(20), "first")
    assert found.notes == ("The features could not be kept on disk: No space left on device.",)
    assert found.vectors.shape == (20, 4)


def test_what_was_used_longest_ago_is_removed_but_nothing_that_is_at_work(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {}
    for layer in ("relu", "pair", "first"):
        before = set(stored())
        found = extract(model, images(20), layer)
        (places[layer],) = set(stored()) - before
        time.sleep(0.02)
    extract(model, images(20), "relu")  # used again, now
    monkeypatch.setattr(store, "LIMIT", int(2.5 * places["relu"].stat().st_size))
    lock = store.claim(places["pair"].parent)
    assert lock is not None
    with lock:
        extract(model, images(20), "relu#2")
    assert {name for name, path in places.items() if path.exists()} == {"pair"}
    assert near(found.vectors, by_hand_first(model))  # its file is gone, but not for those who have it
    assert responses_store.folder() != store.folder()


def by_hand_first(model: Model) -> np.ndarray:
    network: Any = model.network
    return network.first(images(20).float_images()).mean(dim=(2, 3)).half().numpy()


def test_what_can_not_be_is_said(model: Model) -> None:
    data = images(4)
    for layer, words in (
        ("unused", "unused is not run by small"),
        ("relu#3", "relu runs 2 times by small; there is no call 3"),
        ("other", "there is no layer 'other'"),
        ("tokens", r"the output of tokens is a tensor of shape \(4, 4, 64\)"),
    ):
        with pytest.raises(ExplanationError, match=words):
            extract(model, data, layer)
    with pytest.raises(ExplanationError, match="0 images and 1 layers"):
        extract(model, images(0))
    with pytest.raises(ValueError, match="severity 9 is out of range"):
        extract(model, data, degradation="gaussian_noise", severity=9, scale="cifar-c")
    with pytest.raises(ExplanationError, match="gives its 7 classes; needed is the name of a layer"):
        extract(model_of(Small(), classes=7), data)
    with pytest.raises(ExplanationError, match="no layer of small that could be its classifier is run"):
        extract(model_of(Small(), classes=4), data)
    assert count_hooks(model.network) == 0
    assert stored() == []


def test_layers_that_see_several_pictures_of_one_image_are_refused(tiny_model: TinyModel) -> None:
    with pytest.raises(ExplanationError, match="gives 8 feature maps for 4 images"):
        extract(tiny_model("mmff_resnet50_cifar", 8), images(4), "layer1")


def test_one_image_is_enough(model: Model) -> None:
    assert near(extract(model, images(1)).vectors, averaged(model, images(1), PENULTIMATE))


MEMORY = """
import sys
from tests.test_embedding_features import Cheap, Wide, model_of
from xai.embedding_features import extract
import torch
torch.set_num_threads(1)
torch.manual_seed(0)

def anonymous():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) * 1024

model, peak = model_of(Wide(), 3, 4), 0
extract(model, Cheap(512))  # what a first pass needs once

def progress(done, total, what):
    global peak
    peak = max(peak, anonymous())

before, data = anonymous(), Cheap(int(sys.argv[1]))
found = extract(model, data, progress=progress)
found = extract(model, data, progress=progress)
sums = [float(found.vectors[start:start + 1024].sum()) for start in range(0, len(data), 1024)]
progress(0, 0, "")
print(peak - before, found.vectors.nbytes)
"""


class Wide(nn.Module):
    """2,048 features, made as cheaply as can be."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2048, 3)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.fc(pictures[:, :1, 0, 0].expand(-1, 2048) + 1)


class Cheap:
    """Images that are made when they are asked for."""

    name, split, notes = "cheap", "test", ()
    classes = ("class 0", "class 1", "class 2")

    def __init__(self, count: int) -> None:
        self.ids = tuple(map(str, range(count)))
        self.labels = torch.arange(count) % 3

    def __len__(self) -> int:
        return len(self.ids)

    def pixels(self, rows: slice) -> Tensor:
        count = len(range(len(self))[rows])
        return torch.full((count, 3, 4, 4), 100).byte()

    def content(self) -> Iterator[bytes]:
        yield b"nothing but grey"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    """24,000 x 2,048 features are 98 MB: far more than extracting, reading and using them takes besides."""
    command = [sys.executable, "-c", MEMORY, "24000"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    grown, size = map(int, done.stdout.split())
    assert size == 24000 * 2048 * 2
    assert grown < size / 3


def test_the_benchmark_extracts_into_a_cache_of_its_own(model: Model) -> None:
    before = os.environ["XAI_CACHE"]
    benchmark_embedding._extracted(model, images(20), "relu")()
    assert seen(model) == 20
    assert os.environ["XAI_CACHE"] == before
    assert stored() == []
