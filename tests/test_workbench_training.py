"""What `python -m xai train` does: a checkpoint whose card is measured, and impossible requests refused."""

import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from data import cue10
from data.catalogue import DATASETS, ImageSet, load_dataset
from data.datasets import Dataset, evenly_spread
from models import zoo
from models.cards import read_card, trial_limit
from models.complexity import count_macs, count_parameters
from models.recipes import RECIPES, Recipe, implied_options, recipe_for
from xai import predictions, predictions_file, training_cards, training_request, training_sources
from xai import training as workbench_training
from xai.cli import main
from xai.zoo_state import curve

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
    assert len(curve(folder)) == card.epochs == 1
    assert (card.device, card.input_size, card.classes) == ("cpu", 64, cue10.CLASSES)
    assert card.note == "A trial on at most 64 images of each split."
    model = zoo.load_checkpoint(folder / f"{card.name}.safetensors", card)
    for split in ("validation", "test"):
        data = evenly_spread(load_dataset("cue10", split), 64)
        right = model.predict(data.float_images()).argmax(1) == data.labels
        assert card.accuracy[split] == pytest.approx(float(right.float().mean()), abs=1e-4)
        assert card.accuracy_before_quantization[split] is not None
    assert card.accuracy["validation_lossless"] is None
    assert (card.parameters, card.macs) == (count_parameters(model.network), count_macs(model.network, 64))
    answers = predictions_file.read(folder / workbench_training.PREDICTIONS_FILE)
    assert np.array_equal(answers.correct, right.numpy())
    assert answers.facts == predictions.facts_of(card, "test")
    assert card.recipe["schedule"] == "one_cycle"
    assert workbench_training.train("resnet18", "cue10", tmp_path, **arguments) == card
    with pytest.raises(ValueError, match="number of images; choose another folder"):
        workbench_training.train("resnet18", "cue10", tmp_path, **{**arguments, "limit": None})


@pytest.mark.usefixtures("small_cue10")
def test_a_network_finished_elsewhere_is_only_measured(tmp_path: Path) -> None:
    """Weights, card and curve came along; the state, the answers and the final accuracies did not."""
    arguments: dict[str, Any] = {"options": {"width": 8}, "limit": 64}
    card = workbench_training.train("resnet18", "cue10", tmp_path, recipe=quick("standard"), **arguments)
    folder = tmp_path / card.name
    for name in ("state.pt", "predictions.parquet"):
        (folder / name).unlink()
    replace(card, device="a GPU", accuracy={"test": None}).write(folder / f"{card.name}.json")
    again = workbench_training.train(
        "resnet18",
        "cue10",
        tmp_path,
        recipe=quick("standard"),
        **arguments,
    )
    assert again == replace(card, device="a GPU")
    assert not (folder / "state.pt").exists()
    assert predictions_file.read(folder / "predictions.parquet").accuracy == pytest.approx(
        again.accuracy["test"], abs=1e-4
    )
    (folder / f"{card.name}.safetensors").write_bytes(b"other")
    with pytest.raises(ValueError, match="not a complete safetensors file"):
        workbench_training.train("resnet18", "cue10", tmp_path, recipe=quick("standard"), **arguments)


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
        ({"seed": -1}, "seed is -1; allowed are 0 to 2,147,483,647."),
        ({"seed": 2**70}, f"seed is {2**70}; allowed are 0 to 2,147,483,647."),
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


def test_lossless_validation_belongs_to_the_jpeg_set_alone() -> None:
    for name in ("cue10", "cifar10", "cifar100"):
        assert workbench_training._lossless(name) is None


def quick(name: str, **values: Any) -> Recipe:
    """A named recipe, one epoch of small batches long."""
    return replace(recipe_for("resnet18", name, "cue10"), epochs=1, batch_size=32, **values)


@pytest.mark.usefixtures("small_cue10")
@pytest.mark.parametrize(
    ("name", "values"),
    [("degradation_aware", {}), ("distillation", {"teacher": "alexnet-cue10-s0"}), ("tuned_resnet18", {})],
)
def test_a_recipe_from_end_to_end(name: str, values: dict[str, str], tmp_path: Path) -> None:
    recipe = quick(name, **values)
    card = workbench_training.train(
        "resnet18", "cue10", tmp_path, recipe=recipe, options={"width": 8}, limit=64
    )
    assert card.name == f"resnet18-w8-{name}-cue10-s0"
    assert read_card(tmp_path / card.name / f"{card.name}.json") == card
    assert card.recipe["name"] == name
    taught = zoo.load("alexnet-cue10-s0").card.sha256 if name == "distillation" else ""
    assert (card.recipe["teacher_sha256"], card.recipe["initial_sha256"]) == (taught, "")
    assert (
        ("fog" in card.recipe.get("degradations", ""))
        is (name == "degradation_aware")
        is ("unseen" in card.note)
    )


@pytest.mark.usefixtures("small_cue10")
def test_transfer_keeps_what_fits_and_makes_the_classifier_anew(tmp_path: Path) -> None:
    """With a rate that changes nothing, the weights are the initial ones but for the classifier's."""
    source = zoo.load("alexnet-cifar10-jpeg-s0")
    recipe = quick("transfer", initial=source.name, learning_rate=1e-12)
    card = workbench_training.train("alexnet", "cue10", tmp_path, recipe=recipe, limit=32)
    assert (card.name, card.classes) == ("alexnet-transfer-cue10-s0", cue10.CLASSES)
    assert card.recipe["initial_sha256"] == source.card.sha256
    weights = zoo.load_checkpoint(
        tmp_path / card.name / f"{card.name}.safetensors", card
    ).network.state_dict()
    learned = dict(source.network.named_parameters())
    same = {name for name, tensor in learned.items() if torch.allclose(weights[name], tensor, atol=1e-6)}
    assert learned.keys() - same == {"classifier.6.weight", "classifier.6.bias"}


def test_a_continued_network_keeps_its_classifier() -> None:
    source = zoo.load("alexnet-cue10-s0")
    made = training_sources.initial_network("alexnet", source.classes, 3, {}, {"initial": source})
    assert all(
        torch.equal(tensor, made.state_dict()[name]) for name, tensor in source.network.state_dict().items()
    )


@pytest.mark.parametrize(
    ("architecture", "recipe", "message"),
    [
        (
            "resnet18",
            quick("distillation"),
            "the recipe distillation needs the name of a network as its teacher",
        ),
        (
            "resnet18_cifar",
            quick("transfer", initial=""),
            "the recipe transfer needs the name of a network as its",
        ),
        (
            "resnet18",
            quick("standard", teacher="x"),
            "the recipe standard uses no teacher network, but 'x' is given",
        ),
        (
            "resnet18",
            quick("standard", initial="x"),
            "the recipe standard uses no initial network, but 'x' is given",
        ),
        ("resnet18", quick("transfer", initial="x"), "there is no network 'x'; allowed are "),
        (
            "resnet18_cifar",
            quick("transfer", initial="resnet18-cue10-s0"),
            "the weights of resnet18-cue10-s0 do not fit: conv1.weight is 64x3x7x7, needed is 64x3x3x3.",
        ),
        (
            "resnet18",
            quick("transfer", initial="alexnet-cue10-s0"),
            "the weights of alexnet-cue10-s0 do not fit: conv1.weight is missing; ",
        ),
        (
            "resnet18",
            quick("distillation", teacher="resnet18-cifar10-jpeg-s0"),
            "the teacher resnet18-cifar10-jpeg-s0 tells other classes apart than those of the dataset.",
        ),
        (
            "resnet18",
            quick("distillation", teacher="resnet18-cue10-s0", teacher_sha256="0" * 64),
            "the network resnet18-cue10-s0 is not the teacher of this recipe (sha256 differs).",
        ),
    ],
)
def test_recipes_that_lack_something_are_refused_at_once(
    architecture: str, recipe: Recipe, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError) as caught:
        workbench_training.train(architecture, "cue10", tmp_path, recipe=recipe)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("resnet18", "cifar10-jpeg", 0, {}, "msff"), "resnet18-msff-cifar10-jpeg-s0"),
        (("resnet18_cifar", "cue10", 2, {"width": 32}), "resnet18_cifar-w32-cue10-s2"),
        (("dropout_resnet50", "cue10", 0, {"dropout": 0.3}, "msff"), "dropout_resnet50-msff-cue10-s0"),
        (("dropout_resnet50", "cue10", 0, {"dropout": 0.1}), "dropout_resnet50-dropout0.1-cue10-s0"),
        (("timm:resnet18.a1_in1k", "cue10", 0, {"a": "../b"}), "timm-resnet18.a1_in1k-a..-b-cue10-s0"),
    ],
)
def test_names_of_checkpoints(arguments: tuple[Any, ...], expected: str) -> None:
    assert training_cards.checkpoint_name(*arguments) == expected


def test_classes_that_only_the_pictures_tell_are_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CIFAR-100 is registered without its hundred names, which stand in the downloaded files."""

    def load(split: str, _progress: object) -> ImageSet:
        labels = torch.arange(12) % 3
        ids = tuple(f"{split}/{k}" for k in range(12))
        images = (80 * labels.to(torch.uint8))[:, None, None, None].expand(-1, 3, 32, 32)
        return ImageSet("named-late", split, images.contiguous(), labels, ("x", "y", "z"), ids)

    assert DATASETS["cifar100"].classes == ()
    late = Dataset("named-late", "Named late", training_request.SPLITS, (), 32, load)
    monkeypatch.setitem(DATASETS, "named-late", late)
    recipe, options = Recipe(epochs=1, batch_size=4), {"width": 4}
    card = workbench_training.train("resnet18_cifar", "named-late", tmp_path, recipe=recipe, options=options)
    assert card.classes == ("x", "y", "z")
    weights = tmp_path / card.name / f"{card.name}.safetensors"
    assert zoo.load_checkpoint(weights, card).predict(torch.zeros(1, 3, 32, 32)).shape == (1, 3)


def test_the_card_says_what_was_left_out(tmp_path: Path) -> None:
    """Pictures that can't be read change what accuracy is measured on; exact copies what it is worth."""
    pixels = cue10.draw("train", 0, 24)[0]
    for number, picture in enumerate(pixels):
        folder = tmp_path / "pets" / ("cat" if number % 2 else "dog")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(folder / f"{number}.png")
    (folder / "trial.png").write_text("no picture")
    recipe = Recipe(epochs=1, batch_size=8)
    options = {"width": 4}
    card = workbench_training.train(
        "resnet18", f"folder:{tmp_path}/pets@32", tmp_path, recipe=recipe, options=options
    )
    assert "trial.png was skipped: it is" in card.note
    assert trial_limit(card) is None


def test_no_path_gets_into_a_name(tmp_path: Path) -> None:
    (tmp_path / "my pets").mkdir()
    name = training_cards.checkpoint_name("resnet18", f"folder:{tmp_path}/my pets", 0, {})
    assert name.startswith("resnet18-folder-my_pets")
    assert name.endswith("-s0")
    assert "/" not in name
    assert " " not in name


@pytest.mark.usefixtures("small_cue10")
def test_another_training_of_the_same_name_is_refused(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {
        "recipe": Recipe(epochs=1, batch_size=32),
        "options": {"width": 8},
        "limit": 32,
    }
    card = workbench_training.train("resnet18", "cue10", tmp_path, **arguments)
    replace(card, classes=tuple(reversed(card.classes))).write(tmp_path / card.name / f"{card.name}.json")
    with pytest.raises(ValueError, match=r"holds a training with another classes; choose another folder\.$"):
        workbench_training.train("resnet18", "cue10", tmp_path, **arguments)


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from PIL import Image
from data import cue10
from xai import training
from tests.test_workbench_training import THREE_EPOCHS

def kill(epoch, step, steps, loss, accuracy):
    if epoch == 1:
        os.kill(os.getpid(), signal.SIGKILL)

cue10.SPLITS.update(dict.fromkeys(cue10.SPLITS, 100))
torch.set_num_threads(1)
training.train("resnet18", "cue10", Path(sys.argv[1]), report=kill, **THREE_EPOCHS)
"""
THREE_EPOCHS: dict[str, Any] = {
    "recipe": Recipe(epochs=3, batch_size=8),
    "options": {"width": 8},
    "limit": 96,
}


@pytest.mark.usefixtures("small_cue10")
def test_a_killed_training_loses_less_than_an_epoch(tmp_path: Path) -> None:
    """Killed with SIGKILL in the second of three epochs: it goes on there, and ends with the very same file."""
    root = Path(__file__).parent.parent
    command = [sys.executable, "-c", KILLED, str(tmp_path / "cut")]
    done = subprocess.run(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    name = "resnet18-w8-cue10-s0"
    assert read_card(tmp_path / "cut" / name / f"{name}.json").epochs == 1
    resumed = workbench_training.train("resnet18", "cue10", tmp_path / "cut", **THREE_EPOCHS)
    straight = workbench_training.train("resnet18", "cue10", tmp_path / "straight", **THREE_EPOCHS)
    assert replace(resumed, training_seconds=0) == replace(straight, training_seconds=0)
    assert len(curve(tmp_path / "cut" / name)) == 3


# Command line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--recipe", "best"], "there is no recipe 'best'; allowed are standard, "),
        (["--recipe", "distillation"], "needs the name of a network as its teacher (--teacher NAME)."),
        (["--option", "width"], "option is 'width'; allowed is KEY=VALUE, such as width=32."),
        (["--option", "depth=3"], "resnet18 has no option 'depth'; allowed are "),
        (["--schedule", "linear"], "schedule is 'linear'; allowed are auto, one_cycle, "),
    ],
)
def test_bad_flags_end_with_one_line(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begin = ["train", "--architecture", "resnet18", "--dataset", "cue10", "--out", str(tmp_path)]
    assert main([*begin, *words]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert message in error
    assert error.startswith("python -m xai: ")


@pytest.mark.usefixtures("small_cue10")
def test_flags_replace_the_values_of_the_recipe(tmp_path: Path) -> None:
    words = [
        "train",
        "--architecture",
        "resnet18",
        "--dataset",
        "cue10",
        "--out",
        str(tmp_path),
        "--limit",
        "40",
    ]
    words += [
        "--recipe",
        "msff",
        "--epochs",
        "1",
        "--batch-size",
        "20",
        "--weight-decay",
        "0.001",
        "--seed",
        "3",
    ]
    assert main([*words, "--option", "width=8"]) == 0
    (folder,) = [path for path in tmp_path.iterdir() if path.name.startswith("resnet18")]
    card = read_card(folder / f"{folder.name}.json")
    values = asdict(
        replace(recipe_for("resnet18", "msff", "cue10"), epochs=1, batch_size=20, weight_decay=0.001)
    )
    assert card.recipe == values
    assert card.options == {**implied_options("resnet18", "msff"), "width": 8}


def test_the_recipes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["train", "--recipes"])
    assert ended.value.code == 0
    listed = capsys.readouterr().out
    assert [line.split(":")[0] for line in listed.splitlines() if not line.startswith(" ")] == list(RECIPES)
