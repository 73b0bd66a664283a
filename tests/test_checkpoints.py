"""Stored weights and their cards: rounding, damage, hostile content."""

import dataclasses
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from models import checkpoints, files, registry, zoo
from models.cards import Card, CardError, read_card
from models.checkpoints import CheckpointError
from models.registry import Model
from tests.checkpoint_helpers import Payload, assert_one_sentence

TinyModel = Callable[..., Model]


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


def test_network_is_not_changed_by_saving(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64)).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    checkpoints.save(network, tmp_path / "n.safetensors")
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert network.training


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


def test_renamed_pickle_is_refused_and_not_run(stored: tuple[Path, Card], tmp_path: Path) -> None:
    path, card = stored
    for content in (pickle.dumps(Payload(tmp_path / "ran")), pickle.dumps({"fc.weight": [1.0]})):
        path.write_bytes(content)
        dataclasses.replace(card, sha256=files.sha256(path)).write(path.with_suffix(".json"))
        with pytest.raises(CheckpointError, match=r"is not a complete safetensors file\.$") as caught:
            zoo.load(card.name)
        assert_one_sentence(caught.value)
    torch.save({"fc.weight": torch.ones(2)}, path)
    with pytest.raises(CheckpointError, match=r"is not a complete safetensors file\.$"):
        checkpoints.read(path)
    assert not (tmp_path / "ran").exists()


def test_scale_is_not_broadcast(tmp_path: Path) -> None:
    """A thousand scales for one channel would make a thousand channels of it."""
    tensors = {
        "weight": torch.ones(1, 8, dtype=torch.int8),
        f"weight{checkpoints.SCALE_SUFFIX}": torch.ones(1000),
    }
    save_file(tensors, tmp_path / "net.safetensors")
    with pytest.raises(CheckpointError, match="one number per channel") as caught:
        checkpoints.read(tmp_path / "net.safetensors")
    assert_one_sentence(caught.value)


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
        {"options": {"width": 10**9}},
        {"options": {"width": 2000}},
        {"options": {"width": -5}},
        {"options": {"width": 512}},
        {"architecture": "alexnet", "options": {"hidden": 10**9}},
        {"architecture": "resnet101_cifar", "options": {"width": 512}},
    ],
)
def test_weights_of_another_network_are_refused(stored: tuple[Path, Card], change: dict[str, Any]) -> None:
    path, card = stored
    dataclasses.replace(card, **change).write(path.with_suffix(".json"))
    with pytest.raises(CheckpointError) as caught:
        zoo.load(card.name)
    assert_one_sentence(caught.value)


@pytest.mark.parametrize("size", [0, -1, 7, 1025, 10**6])
def test_card_with_an_impossible_size_is_left_out(size: int, stored: tuple[Path, Card]) -> None:
    path, card = stored
    dataclasses.replace(card, input_size=size).write(path.with_suffix(".json"))
    assert card.name not in zoo.cards()


def test_size_too_small_for_the_network_is_refused(tmp_path: Path) -> None:
    network, path = registry.build("alexnet_224", 2), tmp_path / "net.safetensors"
    digest = checkpoints.save(network, path)
    card = dataclasses.replace(CARD, architecture="alexnet_224", input_size=62, sha256=digest)
    with pytest.raises(CheckpointError, match="62 x 62 px is too small") as caught:
        zoo.load_checkpoint(path, card)
    assert_one_sentence(caught.value)


def test_card_that_asks_for_too_much_costs_no_memory(
    stored: tuple[Path, Card], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wide network is compared with the file's header on the meta device and never built in memory."""
    path, card = stored
    built: list[str] = []
    real = registry.build

    def build(*args: Any, **options: Any) -> nn.Module:
        network = real(*args, **options)
        built.append(next(network.parameters()).device.type)
        return network

    monkeypatch.setattr(registry, "build", build)
    dataclasses.replace(card, options={"width": 512}).write(path.with_suffix(".json"))
    with pytest.raises(CheckpointError, match="does not fit its architecture"):
        zoo.load(card.name)
    assert built == ["meta"]


def test_large_inputs_are_run_through_shapes_alone(
    stored: tuple[Path, Card], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    real = registry.default_layer

    def default_layer(network: nn.Module, *args: Any) -> str:
        seen.append(next(network.parameters()).device.type)
        return real(network, *args)

    monkeypatch.setattr(registry, "default_layer", default_layer)
    path, card = stored
    dataclasses.replace(card, input_size=1024).write(path.with_suffix(".json"))
    assert zoo.load(card.name).default_layer == "layer4"
    assert seen == ["meta"]


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
    "tiny size": _card_with(input_size=7),
    "huge size": _card_with(input_size=1025),
    "size of true": _card_with(input_size=True),
    "accuracy in words": _card_with(accuracy={"test": "high"}),
    "accuracy of true": _card_with(accuracy={"test": True}),
    "accuracy in a list": _card_with(accuracy_before_quantization={"test": [0.5]}),
    "accuracy above one": _card_with(accuracy={"test": 83.4}),
    "accuracy of nothing": _card_with(accuracy={"test": float("nan")}),
    "5000 digits": _card_with().replace('"seed": 3', '"seed": ' + "9" * 5000),
    "400 digits": _card_with(parameters=10**400),
    "endless": _card_with(training_seconds=float("inf")),
    "negative": _card_with(macs=-1),
    "nested recipe": _card_with(recipe={"epochs": {"two": 2}}),
    "half a character": _card_with(note="\ud800"),
    "endless architecture": _card_with(architecture="timm:" + "a" * 200),
    "endless note": _card_with(note="a" * 2**20),
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


def test_networks_in_folders_of_their_own_are_found(stored: tuple[Path, Card], tmp_path: Path) -> None:
    """A training writes `runs/NAME/NAME.json`; `curves/*.json` and other files below are no cards."""
    path, card = stored
    for source in (path, path.with_suffix(".json")):
        for folder in (card.name, "curves"):
            (tmp_path / folder).mkdir(exist_ok=True)
            shutil.copy(source, tmp_path / folder)
        source.unlink()
    assert [name for name in zoo.cards() if not zoo.is_shipped(name)] == [card.name]
    assert zoo.load(card.name).card == card
    (tmp_path / card.name / path.name).unlink()
    assert card.name not in zoo.cards()


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
