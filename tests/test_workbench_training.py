"""What `python -m xai train` does: a checkpoint whose card is measured, and impossible requests refused."""

from pathlib import Path
from typing import Any

import pytest
import torch

from data import cue10
from data.catalogue import load_dataset
from models import zoo
from models.cards import read_card
from models.complexity import count_macs, count_parameters
from models.training import Recipe
from xai import training as workbench_training

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def small_cue10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cue10 of some hundred scenes, cached in the test's own folder."""
    monkeypatch.setenv("XAI_CACHE", str(tmp_path / "cache"))
    for split in cue10.SPLITS:
        monkeypatch.setitem(cue10.SPLITS, split, 100)


@pytest.mark.usefixtures("small_cue10")
def test_training_on_cue10_writes_a_measured_checkpoint(tmp_path: Path) -> None:
    recipe = Recipe(epochs=1, batch_size=32)
    options = {"width": 8}
    arguments: dict[str, Any] = {"seed": 2, "recipe": recipe, "options": options, "limit": 64}
    card = workbench_training.train("resnet18", "cue10", tmp_path, **arguments)
    assert card.name == "resnet18-w8-cue10-s2"
    folder = tmp_path / card.name
    assert read_card(folder / f"{card.name}.json") == card
    assert len(workbench_training.read_curve(folder)) == card.epochs == 1
    assert (card.device, card.input_size, card.classes) == ("cpu", 64, cue10.CLASSES)
    assert card.note == "A trial on at most 64 images of each split."
    model = zoo.load_checkpoint(folder / f"{card.name}.safetensors", card)
    for split in ("validation", "test"):
        data = load_dataset("cue10", split).take(torch.linspace(0, 99, 64).long())
        right = model.predict(data.float_images()).argmax(1) == data.labels
        assert card.accuracy[split] == pytest.approx(float(right.float().mean()), abs=1e-4)
        assert card.accuracy_before_quantization[split] is not None
    assert card.accuracy["validation_lossless"] is None
    assert (card.parameters, card.macs) == (count_parameters(model.network), count_macs(model.network, 64))
    assert workbench_training.train("resnet18", "cue10", tmp_path, **arguments) == card
    with pytest.raises(ValueError, match="number of images; choose another folder"):
        workbench_training.train("resnet18", "cue10", tmp_path, **{**arguments, "limit": None})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("alexnet_224", "cifar10-jpeg"),
            "alexnet_224 needs images of 63 px or more, but cifar10-jpeg has 32 px.",
        ),
        (("vgg", "cue10"), "there is no architecture 'vgg'; allowed are "),
        (("resnet18", "mnist"), "there is no dataset 'mnist'; allowed are "),
    ],
)
def test_impossible_trainings_are_refused_at_once(
    arguments: tuple[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError) as caught:
        workbench_training.train(*arguments, tmp_path)
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 0}, "limit is 0; it must be at least 1."),
        ({"device": "tpu"}, "device is 'tpu'; allowed are 'cpu' and 'cuda'."),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as caught:
        workbench_training.train("resnet18", "cue10", tmp_path, **options)
    assert str(caught.value) == message


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_missing_gpu_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="PyTorch finds no GPU here"):
        workbench_training.train("resnet18", "cue10", tmp_path, device="cuda")


def test_pictures_of_the_users_own_folder_are_not_mirrored() -> None:
    """Writing or road signs may be among them."""
    assert not workbench_training.default_recipe("resnet18", "folder:/tmp/signs").flip
    assert workbench_training.default_recipe("resnet18", "cue10").flip


def test_lossless_validation_belongs_to_the_jpeg_set_alone() -> None:
    for name in ("cue10", "cifar10", "cifar100"):
        assert workbench_training._lossless(name) is None
