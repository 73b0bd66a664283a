"""The networks that ship with the project, and torchvision's ImageNet weights."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch

from data.catalogue import DatasetError, load_dataset
from models import files, registry, training, zoo
from models.cards import Card
from models.checkpoints import CheckpointError
from models.complexity import count_macs, count_parameters
from models.registry import Model
from models.training_state import LabelledImages
from tests.checkpoint_helpers import Payload, assert_one_sentence
from xai import predictions_file

SHIPPED = [name for name in zoo.cards() if zoo.is_shipped(name)]

RECORDED = [*SHIPPED, *sorted(path.stem for path in zoo.SHIPPED.glob("records/*.json"))]
"""Every network whose card comes with the project, with or without its weights."""


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


def test_curves_are_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAI_MODELS", str(zoo.SHIPPED / "curves"))
    assert set(zoo.cards()) == set(SHIPPED)


# Records: cards without weights, curves and predictions


def local_record(folder: Path, name: str, **facts: Any) -> Card:
    """A card without weights in `folder/records`."""
    card = replace(next(iter(zoo.cards().values())), name=name, **facts)
    (folder / "records").mkdir(exist_ok=True)
    card.write(folder / "records" / f"{name}.json")
    return card


def test_a_record_is_listed_and_not_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XAI_MODELS", str(tmp_path))
    options = {"recipe": {"name": "msff", "epochs": 3}, "options": {"width": 8}, "seed": 4}
    local_record(tmp_path, "one", **options)
    assert list(zoo.records()) == [*zoo.cards(), *[name for name in zoo.records() if name not in zoo.cards()]]
    assert "one" in zoo.records()
    assert "one" not in zoo.names()
    assert (zoo.has_weights("one"), zoo.has_weights(SHIPPED[0])) == (False, True)
    with pytest.raises(CheckpointError, match="don't come with the project") as caught:
        zoo.load("one")
    assert_one_sentence(caught.value)
    assert "--recipe msff --epochs 3 --option width=8" in str(caught.value)


def test_a_local_card_can_t_take_the_name_of_an_imagenet_entry(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = next(iter(zoo.IMAGENET))
    monkeypatch.setenv("XAI_MODELS", str(tmp_path))
    card = replace(zoo.cards()[SHIPPED[0]], name=name)
    card.write(tmp_path / f"{name}.json")
    (tmp_path / f"{name}.safetensors").write_bytes(b"")
    local_record(tmp_path, name)
    assert zoo.names().count(name) == 1
    assert name not in zoo.records()


@pytest.mark.parametrize("own_folder", [True, False])
def test_what_belongs_to_a_card_lies_beside_it(
    own_folder: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A network trained here again under a shipped name gets its own curve or none, not one of other weights."""
    monkeypatch.setenv("XAI_MODELS", str(tmp_path))
    local_record(tmp_path, "one")
    assert zoo.curve_path("one") is None
    for folder, ending in (("curves", "json"), ("predictions", "parquet")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"one.{ending}").write_text("[]")
    if own_folder:
        (tmp_path / "one").mkdir()
        (tmp_path / "records" / "one.json").rename(tmp_path / "one" / "one.json")
        (tmp_path / "one" / "one.safetensors").write_bytes(b"")
        (tmp_path / "one" / "curve.json").write_text("[]")
    assert zoo.curve_path("one") == tmp_path / ("one/curve.json" if own_folder else "curves/one.json")
    assert zoo.predictions_path("one") == tmp_path / "predictions" / "one.parquet"
    assert zoo.curve_path("nobody") is None


@pytest.mark.parametrize("name", RECORDED)
def test_card_in_the_project_is_readable(name: str) -> None:
    assert name in zoo.records()
    assert zoo.has_weights(name) == zoo.is_shipped(name)


@pytest.mark.parametrize("name", RECORDED)
def test_curve_ends_with_the_last_epoch_of_the_card(name: str) -> None:
    path = zoo.curve_path(name)
    if path is None:
        pytest.skip(f"no curve of {name} is here")
    rows = json.loads(path.read_text(encoding="utf-8"))
    assert [row["epoch"] for row in rows] == list(range(zoo.records()[name].epochs))
    assert rows[-1]["validation_accuracy"] == pytest.approx(
        zoo.records()[name].accuracy_before_quantization["validation"], abs=0.01
    )


@pytest.mark.parametrize("name", RECORDED)
def test_accuracy_of_the_card_is_that_of_the_stored_predictions(name: str) -> None:
    path, card = zoo.predictions_path(name), zoo.records()[name]
    if path is None:
        pytest.skip(f"no predictions of {name} are here")
    found = predictions_file.read(path)
    assert found.facts["sha256"] == card.sha256
    assert (found.facts["dataset"], found.facts["split"]) == (card.dataset, "test")
    assert round(int(found.correct.sum()) / len(found), 4) == card.accuracy["test"]
    assert path.stat().st_size < 250_000


# ImageNet


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


@pytest.fixture
def cached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[object], str]:
    """Put an object into torch's cache as the weights of ResNet-18, with an address that fits; returns the hash."""
    import torchvision

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)

    def put(content: object) -> str:
        torch.save(content, folder / "new.pth")
        digest = files.sha256(folder / "new.pth")
        path = (folder / "new.pth").rename(folder / f"resnet18-{digest[:8]}.pth")
        weights = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
        monkeypatch.setattr(weights.value, "url", f"https://example.org/{path.name}")
        return digest

    return put


def _imagenet_weights() -> dict[str, torch.Tensor]:
    state = registry.build("resnet18", 1000).state_dict()
    return {key: value for key, value in state.items() if not key.startswith("normalize.")}


def test_imagenet_weights_are_loaded_without_running_pickles(
    cached: Callable[[object], str], tmp_path: Path
) -> None:
    """The file in torch's cache is read with `weights_only`: fitting weights load, a payload does not run."""
    own = _imagenet_weights()
    digest = cached(own)
    model = zoo.load("resnet18-imagenet")
    assert model.classes[:2] == ("tench", "goldfish")
    assert (len(model.classes), model.input_size, model.card.sha256) == (1000, 224, digest)
    assert torch.equal(model.network.state_dict()["fc.weight"], own["fc.weight"])
    cached(Payload(tmp_path / "ran"))
    with pytest.raises(CheckpointError, match="holds no readable weights") as caught:
        zoo.load("resnet18-imagenet")
    assert_one_sentence(caught.value)
    assert not (tmp_path / "ran").exists()


def test_changed_imagenet_weights_are_refused(cached: Callable[[object], str], tmp_path: Path) -> None:
    """Weights that were put into torch's cache under the right name, but are others, are not read."""
    digest = cached(_imagenet_weights())
    torch.save(_imagenet_weights(), tmp_path / "hub" / "checkpoints" / f"resnet18-{digest[:8]}.pth")
    with pytest.raises(CheckpointError, match="sha256 differs") as caught:
        zoo.load("resnet18-imagenet")
    assert_one_sentence(caught.value)
