"""A support vector machine as the classifier: the network answers exactly as scikit-learn's machine does."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import make_blobs
from sklearn.preprocessing import StandardScaler

from data import cue10
from data.catalogue import ImageSet, load_dataset
from models import transfer, zoo
from models.registry import Model
from xai import svm_head
from xai.cli import main
from xai.predictions_file import read
from xai.svm_head import features, fit, fold, with_head
from xai.training import PREDICTIONS_FILE

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network() -> Model:
    """The shipped AlexNet, whose classifier sits behind other linear layers."""
    return zoo.load("alexnet-cue10-s0")


@pytest.fixture(scope="module")
def scenes() -> dict[str, ImageSet]:
    """Scenes of cue10 as they are drawn."""
    sizes = {"train": 110, "validation": 60, "test": 60}
    drawn = {split: cue10.draw(split, 0, count) for split, count in sizes.items()}
    return {
        split: ImageSet("cue10", split, images, labels, cue10.CLASSES, tuple(map(str, range(sizes[split]))))
        for split, (images, _masks, labels, _textures) in drawn.items()
    }


@pytest.fixture
def small_cue10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cue10 of some hundred scenes, cached in the test's own folder."""
    monkeypatch.setenv("XAI_CACHE", str(tmp_path / "cache"))
    for split in cue10.SPLITS:
        monkeypatch.setitem(cue10.SPLITS, split, 100)


def test_the_network_answers_as_scikit_learns_machine(network: Model, scenes: dict[str, ImageSet]) -> None:
    layer = transfer.classifier("alexnet", {})
    assert layer == "classifier.6"
    known = {split: features(network.network, layer, data, CPU) for split, data in scenes.items()}
    labels = {split: data.labels.numpy() for split, data in scenes.items()}
    head = fit((known["train"], labels["train"]), (known["validation"], labels["validation"]))
    scaler = StandardScaler().fit(known["train"])
    machine = svm_head._machine(head.penalty, 0).fit(scaler.transform(known["train"]), labels["train"])
    made = with_head(network, layer, head, 10)
    with torch.inference_mode():
        margins = made(scenes["test"].float_images())
    expected = machine.decision_function(scaler.transform(known["test"]))
    assert np.allclose(margins.numpy(), expected, atol=1e-3)
    assert np.array_equal(margins.argmax(1).numpy(), machine.predict(scaler.transform(known["test"])))
    assert head.penalty == max(head.validation, key=head.validation.__getitem__)
    assert [penalty * 110 for penalty in head.validation] == pytest.approx(svm_head.PENALTIES)
    assert float((margins.argmax(1) == scenes["test"].labels).float().mean()) > 0.8


def test_features_are_what_the_classifier_sees(network: Model, scenes: dict[str, ImageSet]) -> None:
    taken = torch.from_numpy(features(network.network, "classifier.6", scenes["test"], CPU))
    classifier = network.network.get_submodule("classifier.6")
    with torch.inference_mode():
        expected = network.network(scenes["test"].float_images())
        assert torch.allclose(classifier(taken), expected, atol=1e-4)
    assert isinstance(classifier, torch.nn.Linear)


@pytest.mark.parametrize("classes", [2, 3])
def test_standardisation_is_folded_into_the_weights(classes: int) -> None:
    """Also a feature that never changes, and two classes, for which scikit-learn has one score."""
    points, labels = make_blobs(90, 5, centers=classes, random_state=1, cluster_std=4.0)
    points = (points * [1, 100, 0.01, 1, 0] + [0, 5, 0, -3, 7]).astype(np.float32)
    scaler = StandardScaler().fit(points)
    machine = svm_head._machine(0.1, 0).fit(scaler.transform(points), labels)
    weight, bias = fold(machine, scaler)
    scores = torch.from_numpy(points) @ weight.T + bias
    assert weight.shape == (classes, 5)
    assert np.array_equal(scores.argmax(1).numpy(), machine.predict(scaler.transform(points)))


@pytest.mark.usefixtures("small_cue10")
def test_the_command_writes_a_measured_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["svm", "--model", "alexnet-cue10-s0", "--dataset", "cue10", "--out", str(tmp_path)]
    assert main(words) == 0
    name = "alexnet-svm_head-cue10-s0"
    assert f"{name}: C " in capsys.readouterr().out
    weights, card = tmp_path / name / f"{name}.safetensors", zoo.read_card(tmp_path / name / f"{name}.json")
    model, source = zoo.load_checkpoint(weights, card), zoo.load("alexnet-cue10-s0")
    data = load_dataset("cue10", "test")
    answers = model.predict(data.float_images()).argmax(1)
    assert card.accuracy["test"] == pytest.approx(float((answers == data.labels).float().mean()), abs=1e-4)
    stored = read(tmp_path / name / PREDICTIONS_FILE)
    assert np.array_equal(stored.predicted, answers.numpy())
    assert stored.facts["sha256"] == card.sha256
    assert card.recipe["from_sha256"] == source.card.sha256
    assert card.note.startswith("The classifier is a linear support vector machine: its outputs are margins")
    learned, first = source.network.state_dict(), "features.0.weight"
    assert torch.allclose(
        model.network.state_dict()[first], learned[first], rtol=1e-3
    )  # it may be stored in half


def test_a_class_without_pictures_is_refused(scenes: dict[str, ImageSet]) -> None:
    seen = scenes["train"].take(torch.nonzero(scenes["train"].labels != 3)[:, 0])
    with pytest.raises(ValueError, match="the class 'hexagon/dots' has no training picture"):
        svm_head._check_classes(seen)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--model": "resnet99"}, "there is no network 'resnet99'; allowed are "),
        ({"--dataset": "mnist"}, "there is no dataset 'mnist'; allowed are "),
        ({"--device": "tpu"}, "device is 'tpu'; allowed are 'cpu' and 'cuda'."),
    ],
)
def test_impossible_requests_end_with_one_line(
    change: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = {"--model": "resnet18-cue10-s0", "--dataset": "cue10", "--out": str(tmp_path), **change}
    assert main(["svm", *(word for pair in words.items() for word in pair)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
