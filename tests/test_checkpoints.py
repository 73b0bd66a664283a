"""Stored weights: rounding, damage, cards, and the networks that ship with the project."""

import dataclasses
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from data.catalogue import DatasetError, load_dataset
from models import checkpoints, files, registry, training, zoo
from models.cards import Card, CardError, read_card
from models.checkpoints import CheckpointError
from models.complexity import count_macs, count_parameters
from models.registry import Model
from models.training import LabelledImages

TinyModel = Callable[..., Model]
SHIPPED = [name for name in zoo.cards() if zoo.is_shipped(name)]


@pytest.fixture(scope="module")
def stored_once(tmp_path_factory: pytest.TempPathFactory, tiny_model: TinyModel) -> tuple[Path, Card]:
    """A small network in a folder that no test changes: its weights file and card."""
    folder = tmp_path_factory.mktemp("stored")
    model = tiny_model("resnet18_cifar", 32)
    card = zoo.save(model.network, model.card, folder)
    return folder / f"{card.name}.safetensors", card


@pytest.fixture
def stored(
    stored_once: tuple[Path, Card], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, Card]:
    """The same in the folder of local networks, for a test to spoil."""
    monkeypatch.setenv("XAI_MODELS", str(tmp_path))
    path, card = stored_once
    for source in (path, path.with_suffix(".json")):
        shutil.copy(source, tmp_path)
    return tmp_path / path.name, card


def assert_one_sentence(error: BaseException) -> None:
    """A message for a person: one line, ending in a full stop."""
    assert "\n" not in str(error)
    assert str(error).endswith(".")


# Rounding


def test_int8_by_hand() -> None:
    """The largest number of a channel becomes 127; a channel of zeros stays zero."""
    weight = torch.tensor([[1.27, -0.5, 0.014], [-2.54, 2.0, 0.03], [0.0, 0.0, 0.0]])
    levels, scale = checkpoints.quantize(weight)
    assert levels.tolist() == [[127, -50, 1], [-127, 100, 2], [0, 0, 0]]
    assert scale[:2].tolist() == pytest.approx([0.01, 0.02])
    expected = torch.tensor([[1.27, -0.5, 0.01], [-2.54, 2.0, 0.04], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(checkpoints.dequantize(levels, scale), expected)


@pytest.mark.parametrize("shape", [(8, 4, 3, 3), (10, 512), (2, 3, 4)])
def test_int8_error_is_at_most_half_a_level_per_channel(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(1)
    spread = torch.logspace(-3, 2, shape[0]).view(-1, *[1] * (len(shape) - 1))
    weight = torch.randn(shape, generator=generator) * spread
    levels, scale = checkpoints.quantize(weight)
    error = (checkpoints.dequantize(levels, scale) - weight).flatten(1).abs().amax(1)
    assert levels.dtype is torch.int8
    assert (error <= scale / 2 * (1 + 1e-5)).all()
    assert (error > scale / 20).all(), "an error this small would mean that nothing was rounded"


@pytest.mark.parametrize(("storage", "bits"), [("int8", 8), ("half", 16), ("float32", 32)])
def test_only_big_matrices_are_shortened(storage: str, bits: int) -> None:
    generator = torch.Generator().manual_seed(2)
    state = {
        "big": torch.randn(32, 64, generator=generator),
        "filters": torch.randn(16, 16, 3, 3, generator=generator).contiguous(
            memory_format=torch.channels_last
        ),
        "small": torch.randn(4, 8, generator=generator),
        "vector": torch.randn(5000, generator=generator),
        "count": torch.tensor(7),
    }
    packed = checkpoints.pack(state, storage)
    for name in ("big", "filters"):
        assert packed[name].element_size() * 8 == bits
    back = checkpoints.unpack(packed)
    assert back.keys() == state.keys()
    for name in ("small", "vector", "count"):
        assert torch.equal(packed[name], state[name])
        assert torch.equal(back[name], state[name])
    for name in ("big", "filters"):
        assert back[name].dtype is torch.float32
        assert torch.equal(back[name], state[name]) == (storage == "float32")
        relative = {"int8": 1 / 254, "half": 2**-11, "float32": 0}[storage]
        assert (
            float((back[name] - state[name]).abs().max()) <= relative * float(state[name].abs().max()) * 1.001
        )


def test_unknown_storage_is_refused() -> None:
    with pytest.raises(ValueError, match=r"storage is 'int4'; allowed are int8, half, float32\.$"):
        checkpoints.pack({}, "int4")


@pytest.mark.parametrize("storage", checkpoints.STORAGE)
def test_saved_network_comes_back(storage: str, tmp_path: Path, tiny_model: TinyModel) -> None:
    model = tiny_model("alexnet_bn", 32)
    card = zoo.save(model.network, model.card, tmp_path, storage)
    path = tmp_path / f"{card.name}.safetensors"
    loaded = zoo.load_checkpoint(path, read_card(path.with_suffix(".json")))
    assert (card.sha256, card.storage) == (files.sha256(path), storage)
    assert card.megabytes == pytest.approx(path.stat().st_size / 1e6, abs=0.005)
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    tolerance = {"int8": 0.02, "half": 1e-3, "float32": 1e-6}[storage]
    torch.testing.assert_close(loaded.predict(images), model.predict(images), atol=tolerance, rtol=0)
    assert not loaded.network.training
    assert not any(parameter.requires_grad for parameter in loaded.network.parameters())
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [f"{card.name}.json", path.name]


# Damage


def test_truncated_file_is_refused(stored: tuple[Path, Card]) -> None:
    path, card = stored
    content = path.read_bytes()
    for quarter in range(4):
        path.write_bytes(content[: len(content) * quarter // 4])
        for expected in (card.sha256, None):
            with pytest.raises(CheckpointError) as caught:
                checkpoints.read(path, expected)
            assert_one_sentence(caught.value)


def test_tampered_byte_is_refused(stored: tuple[Path, Card]) -> None:
    path, card = stored
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"is not the file its card describes \(sha256 differs\)\.$"):
        zoo.load(card.name)


def test_card_without_a_hash_is_no_way_around_the_check(stored: tuple[Path, Card]) -> None:
    path, card = stored
    dataclasses.replace(card, sha256="").write(path.with_suffix(".json"))
    with pytest.raises(CheckpointError, match="sha256 differs"):
        zoo.load(card.name)


class _Payload:
    """Unpickling this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_renamed_pickle_is_refused_and_not_run(stored: tuple[Path, Card], tmp_path: Path) -> None:
    path, card = stored
    for content in (pickle.dumps(_Payload(tmp_path / "ran")), pickle.dumps({"fc.weight": [1.0]})):
        path.write_bytes(content)
        dataclasses.replace(card, sha256=files.sha256(path)).write(path.with_suffix(".json"))
        with pytest.raises(CheckpointError, match=r"is not a complete safetensors file\.$") as caught:
            zoo.load(card.name)
        assert_one_sentence(caught.value)
    torch.save({"fc.weight": torch.ones(2)}, path)
    with pytest.raises(CheckpointError, match=r"is not a complete safetensors file\.$"):
        checkpoints.read(path)
    assert not (tmp_path / "ran").exists()


def test_impossible_scale_is_refused(stored: tuple[Path, Card]) -> None:
    path, _card = stored
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith(checkpoints.SCALE_SUFFIX))
    save_file({**tensors, name: torch.ones(3)}, path)
    with pytest.raises(CheckpointError) as caught:
        checkpoints.read(path)
    assert_one_sentence(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"architecture": "alexnet"},
        {"architecture": "resnet18"},
        {"architecture": "vgg"},
        {"classes": ("one", "two")},
        {"options": {"width": 16}},
        {"options": {"depth": 50}},
        {"options": {"width": "eight"}},
    ],
)
def test_weights_of_another_network_are_refused(stored: tuple[Path, Card], change: dict[str, Any]) -> None:
    path, card = stored
    dataclasses.replace(card, **change).write(path.with_suffix(".json"))
    with pytest.raises(CheckpointError) as caught:
        zoo.load(card.name)
    assert_one_sentence(caught.value)


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(CheckpointError, match=r"does not exist\.$") as caught:
            checkpoints.read(path)
        assert_one_sentence(caught.value)


# Cards

CARD = Card("net", "resnet18_cifar", "cue10", ("a", "b"), 64, 3, "cpu", {"epochs": 2}, accuracy={"test": 0.5})


def test_card_comes_back_as_written(tmp_path: Path) -> None:
    CARD.write(tmp_path / "net.json")
    assert read_card(tmp_path / "net.json") == CARD


def _card_with(**changes: Any) -> str:
    content = {**dataclasses.asdict(CARD), **changes}
    return json.dumps({key: value for key, value in content.items() if value is not ...})


BAD_CARDS = {
    "empty": "",
    "half": _card_with()[:100],
    "list": "[1, 2]",
    "deep": "[" * 100_000,
    "unknown field": _card_with(colour="red"),
    "wrong classes": _card_with(classes=5),
    "classes as text": _card_with(classes="cat"),
    "no classes": _card_with(classes=[]),
    "wrong accuracy": _card_with(accuracy="high"),
    "wrong size": _card_with(input_size="64"),
    **{f"no {entry.name}": _card_with(**{entry.name: ...}) for entry in dataclasses.fields(Card)[:8]},
    "no hash": _card_with(sha256=...),
}


@pytest.mark.parametrize("kind", BAD_CARDS)
def test_bad_cards_are_refused_and_skipped(kind: str, stored: tuple[Path, Card]) -> None:
    folder = stored[0].parent
    (folder / "bad.json").write_text(BAD_CARDS[kind])
    (folder / "bad.safetensors").touch()
    with pytest.raises(CardError) as caught:
        read_card(folder / "bad.json")
    assert_one_sentence(caught.value)
    assert stored[1].name in zoo.cards()
    assert "bad" not in zoo.cards()


def test_card_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_bytes(b"\xff\xfe\x00{}")
    for name in ("card.json", "none.json"):
        with pytest.raises(CardError, match=r"missing or not JSON\.$") as caught:
            read_card(tmp_path / name)
        assert_one_sentence(caught.value)


def test_cards_without_weights_or_under_another_name_are_left_out(stored: tuple[Path, Card]) -> None:
    path, card = stored
    shutil.copy(path.with_suffix(".json"), path.with_name("renamed.json"))
    shutil.copy(path, path.with_name("renamed.safetensors"))
    assert "renamed" not in zoo.cards()
    path.unlink()
    assert card.name not in zoo.cards()


# The networks at hand


def test_unknown_name_lists_the_allowed(stored: tuple[Path, Card]) -> None:
    with pytest.raises(CheckpointError) as caught:
        zoo.load("vgg")
    assert str(caught.value).startswith("there is no network 'vgg'; allowed are ")
    assert all(name in str(caught.value) for name in (stored[1].name, *zoo.IMAGENET))
    assert_one_sentence(caught.value)


def test_local_network_loads_beside_a_shipped_card_without_weights(
    stored: tuple[Path, Card], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, card = stored
    shipped = tmp_path_factory.mktemp("shipped")
    monkeypatch.setattr(zoo, "SHIPPED", shipped)
    shutil.copy(path.with_suffix(".json"), shipped)
    assert not zoo.is_shipped(card.name)
    assert zoo.load(card.name).name == card.name
    shutil.copy(path, shipped)
    assert zoo.is_shipped(card.name)


@pytest.mark.parametrize("name", zoo.IMAGENET)
@pytest.mark.parametrize("failure", [URLError("no route"), ConnectionResetError(), RuntimeError("bad hash")])
def test_imagenet_without_internet_says_so(
    name: str, failure: Exception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_args: Any, **_options: Any) -> None:
        raise failure

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", fail)
    with pytest.raises(CheckpointError, match="could not be downloaded") as caught:
        zoo.load(name)
    assert_one_sentence(caught.value)


def test_imagenet_weights_are_loaded_without_running_pickles(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The file in torch's cache is read with `weights_only`: fitting weights load, a payload does not run."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    network = registry.build("resnet18", 1000)
    own = {key: value for key, value in network.state_dict().items() if not key.startswith("normalize.")}
    file = folder / "resnet18-f37072fd.pth"
    torch.save(own, file)
    model = zoo.load("resnet18-imagenet")
    assert model.classes[:2] == ("tench", "goldfish")
    assert (len(model.classes), model.input_size, model.card.sha256) == (1000, 224, "f37072fd")
    assert torch.equal(model.network.state_dict()["fc.weight"], own["fc.weight"])
    torch.save(_Payload(tmp_path / "ran"), file)
    with pytest.raises(CheckpointError):
        zoo.load("resnet18-imagenet")
    assert not (tmp_path / "ran").exists()


# What ships


def test_shipped_cards_are_all_readable() -> None:
    assert sorted(SHIPPED) == sorted(path.stem for path in zoo.SHIPPED.glob("*.safetensors"))
    assert sorted(SHIPPED) == sorted(path.stem for path in zoo.SHIPPED.glob("*.json"))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_checkpoint_is_what_its_card_says(name: str, shipped_models: dict[str, Model]) -> None:
    model = shipped_models[name]
    path = zoo.SHIPPED / f"{name}.safetensors"
    assert files.sha256(path) == model.card.sha256
    assert path.stat().st_size / 1e6 == pytest.approx(model.card.megabytes, abs=0.005)
    assert count_parameters(model.network) == model.card.parameters
    assert count_macs(model.network, model.input_size) == model.card.macs
    assert model.card.epochs == model.card.recipe["epochs"], "the training was not finished"
    for split in ("test", "validation"):
        assert 0 <= (model.card.accuracy[split] or -1) <= 1
    assert model.card.note == "" or "trial" not in model.card.note


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_accuracy_is_measured_again(name: str, shipped_models: dict[str, Model]) -> None:
    """On 500 test images the share of right ones lies within four standard deviations of the card's accuracy."""
    model = shipped_models[name]
    try:
        data = load_dataset(model.card.dataset, "test")
    except DatasetError as error:
        pytest.skip(str(error))
    some = data.take(torch.linspace(0, len(data) - 1, 500).long())
    _loss, found = training.evaluate(model.network, LabelledImages(some.images, some.labels), model.device)
    stated = model.card.accuracy["test"] or 0.0
    deviation = max((stated * (1 - stated) / 500) ** 0.5, 1 / 500)
    assert abs(found - stated) <= 4 * deviation


def test_network_is_not_changed_by_saving(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64)).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    checkpoints.save(network, tmp_path / "n.safetensors")
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert network.training
