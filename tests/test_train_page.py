"""Training on somebody's own pictures: which weights learn, ending early, what is said of it, the command, the page."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from streamlit.testing.v1 import AppTest

from data import uploads
from data.datasets import file_stem
from models import recipes, transfer, zoo
from models.cards import read_card, training_command
from models.recipes import Recipe, fitted
from models.training_state import EpochRow, best_epoch
from tests.page_helpers import healthy, visit, words
from xai import own_training, training
from xai.cli import main
from xai.own_training import Outcome, Wish
from xai.ui import dataset_images, explaining, job_panel, network_data, train_choice, train_job
from xai.ui.job import Report

pytestmark = pytest.mark.usefixtures("one_thread")
SOURCE = "resnet18_cifar-w16-cue10-s0"
SECONDS = 120


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XAI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XAI_MODELS", str(tmp_path / "models"))
    stores: Any = (job_panel.place_of, dataset_images.memo, explaining.results, explaining.cards)
    for store in stores:
        store.clear()
    yield
    if job := train_job.PANEL.place().job:
        job.cancel()
        job.wait(SECONDS)
    for store in stores:
        store.clear()
    network_data.clear()


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Bright squares and dark ones, with some noise: 20 pictures of 16 px of each of two classes."""
    generator = np.random.default_rng(0)
    for name, level in (("dark", 60), ("light", 190)):
        for number in range(20):
            pixels = np.clip(generator.normal(level, 20, (16, 16, 3)), 0, 255).astype(np.uint8)
            path = tmp_path / "pets" / name / f"{number:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return tmp_path / "pets"


def wish(folder: Path, **values: Any) -> Wish:
    return Wish(f"folder:{folder}@16", "resnet18_cifar", **{"options": {"width": 4}, "epochs": 1, **values})


def plan_of(asked: Wish, folder: Path, **more: Any) -> training.Plan:
    return training.prepare(
        asked.architecture,
        asked.dataset,
        folder,
        seed=asked.seed,
        recipe=asked.recipe(),
        options=dict(asked.options),
        limit=asked.limit,
        fit=recipes.FITTED,
        **more,
    )


# What learns


def test_batches_suit_the_number_of_images() -> None:
    recipe = Recipe(batch_size=256, learning_rate=0.2)
    assert fitted(recipe, 2048) == recipe
    assert fitted(recipe, 2047).batch_size == 128
    small = fitted(recipe, 104)
    assert (small.batch_size, small.learning_rate) == (8, pytest.approx(0.2 * (8 / 256) ** 0.5))
    assert fitted(recipe, 5).batch_size == 5
    assert fitted(recipe, 104, ("batch_size",)).learning_rate == 0.2
    assert fitted(recipe, 104, ()) == recipe
    assert fitted(replace(recipe, optimizer="adam"), 104).learning_rate == 0.2


@pytest.mark.parametrize(
    ("architecture", "last"),
    [("resnet18_cifar", {"layer4", "fc"}), ("alexnet", {"features", "classifier"}), ("vit_small", None)],
)
def test_what_learns_is_the_head_or_what_follows_the_last_but_one_stage(
    architecture: str, last: set[str] | None
) -> None:
    def learning(learn: str) -> set[str]:
        network = transfer.build_seeded(architecture, 3, 0, options)
        transfer.learn_only(network, architecture, options, learn, 32)
        return {name for name, weight in network.named_parameters() if weight.requires_grad}

    options = (
        {} if architecture == "vit_small" else {"hidden": 16} if architecture == "alexnet" else {"width": 4}
    )
    head, late, everything = (learning(learn) for learn in ("head", "last", "all"))
    assert head == transfer.class_weights(architecture, options)
    assert head < late < everything
    if last is not None:
        assert {name.split(".")[0] for name in late} == last
    if architecture == "alexnet":
        assert {name for name in late if name.startswith("features")} == {
            "features.10.weight",
            "features.10.bias",
        }


def test_what_does_not_learn_stays_as_it_was(pets: Path, tmp_path: Path) -> None:
    """Weights and batch statistics before the head are those of the source to the last bit."""
    asked = Wish(f"folder:{pets}@16", *own_training.continued(SOURCE), SOURCE, "head", 1)
    plan = plan_of(asked, tmp_path / "out")
    before = {name: value.clone() for name, value in zoo.load(SOURCE).network.state_dict().items()}
    card = training.run(plan)
    after = plan.network.state_dict()
    changed = {
        name
        for name in before
        if before[name].shape != after[name].shape or not before[name].equal(after[name])
    }
    assert changed == {"fc.weight", "fc.bias"}
    assert card.classes == ("dark", "light")
    assert card.name.startswith("resnet18_cifar-w16-transfer-head-folder-pets")
    assert "--learn head" in training_command(card)
    assert "--keep best" in training_command(card)


def test_the_best_epoch_is_that_of_the_highest_accuracy_and_of_equal_ones_of_the_lowest_loss() -> None:
    rows = [(0.5, 0.9), (0.4, 0.8), (0.3, 0.9), (0.2, 0.7)]
    curve = [EpochRow(k, 1.0, 0.5, loss, accuracy, 0.1, 1.0) for k, (loss, accuracy) in enumerate(rows)]
    assert best_epoch(curve) == 2


# Ending early and what is kept


def test_a_cancelled_training_keeps_its_best_epoch(pets: Path, tmp_path: Path) -> None:
    plan = plan_of(wish(pets, epochs=5), tmp_path)
    seen: list[int] = []
    card = training.run(plan, lambda epoch, *_rest: seen.append(epoch), lambda: bool(seen) and seen[-1] == 2)
    curve = json.loads((plan.folder / "curve.json").read_text())
    assert len(curve) == 2
    assert card.accuracy["validation"] == pytest.approx(
        max(row["validation_accuracy"] for row in curve), abs=0.01
    )
    assert card.accuracy["test"] is not None
    assert card == read_card(plan.folder / f"{card.name}.json")
    assert card.epochs - 1 == max(
        range(2), key=lambda k: (curve[k]["validation_accuracy"], -curve[k]["validation_loss"])
    )
    again = training.run(plan_of(wish(pets, epochs=5), tmp_path))
    assert len(json.loads((plan.folder / "curve.json").read_text())) == 5
    assert again.recipe == card.recipe


def test_a_training_cancelled_in_its_first_epoch_says_so(pets: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="before its first epoch had ended: nothing was kept"):
        training.run(plan_of(wish(pets), tmp_path), cancelled=lambda: True)


def test_the_outcome_stands_beside_chance(pets: Path, tmp_path: Path) -> None:
    plan = plan_of(wish(pets), tmp_path)
    found = own_training.outcome(plan, training.run(plan))
    assert (found.validation.total, found.test.total) == (6, 6)
    assert (found.chance, found.commonest) == (0.5, 0.5)
    assert found.test.low <= found.test.share <= found.test.high
    doubtful = replace(found, test=replace(found.test, low=0.49))
    assert any("can't be told from guessing" in each for each in doubtful.sentences())
    sure = replace(found, test=replace(found.test, low=0.51))
    assert not any("can't be told from guessing" in each for each in sure.sentences())


def test_a_kept_network_is_listed_and_gives_the_same_answers(pets: Path, tmp_path: Path) -> None:
    plan = plan_of(wish(pets), tmp_path / "out", name="trained")
    found = own_training.outcome(plan, training.run(plan))
    card = own_training.keep(found, "my-pets")
    assert zoo.cards()["my-pets"] == card
    assert zoo.curve_path("my-pets") is not None
    images = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    trained = zoo.load_checkpoint(found.folder / "trained.safetensors", found.card)
    assert zoo.load("my-pets").predict(images).equal(trained.predict(images))
    for bad, message in (("my-pets", "already"), ("../x", "allowed are"), (SOURCE, "comes with the project")):
        with pytest.raises(ValueError, match=message):
            own_training.keep(found, bad)
    assert {path.name for path in zoo.local_folder().iterdir()} == {"my-pets"}


def test_no_card_names_an_upload_in_full(pets: Path, tmp_path: Path) -> None:
    """Who knows the whole name can open the pictures, and cards are there for everybody."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(pets.rglob("*.png")):
            archive.write(path, path.relative_to(pets))
    name = uploads.store(packed.getvalue()).name
    plan = plan_of(replace(wish(pets, limit=10), dataset=f"{name}@16"), tmp_path)
    assert plan.card.dataset == file_stem(f"{name}@16")
    assert name.partition(":")[2] not in json.dumps(plan.card.__dict__, default=str)
    assert not plan.recipe.flip
    assert len(plan.splits["train"]) == 10


# What it will take


def test_the_cost_grows_with_epochs_and_images() -> None:
    found = own_training.Cost(trained=0.1, asked=0.01)
    counts = {"train": 100, "validation": 10, "test": 20}
    assert found.seconds(3, counts) == pytest.approx(3 * (10 + 0.1) + 0.3)


def test_the_cost_is_measured_and_refused_where_images_are_too_small(pets: Path) -> None:
    found = own_training.cost(wish(pets), 2, 16, 28)
    assert found.trained > 0
    assert found.asked > 0
    with pytest.raises(ValueError, match="alexnet_224 needs images of 63 px or more, but these have 16 px"):
        own_training.cost(replace(wish(pets), architecture="alexnet_224"), 2, 16, 28)


# Command line


def test_the_wishes_command_trains_the_same(pets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = wish(pets, limit=12, seed=3)
    assert main([*asked.command().split()[3:], "--name", "of-command"]) == 0
    card = zoo.cards()["of-command"]
    plan = plan_of(asked, zoo.local_folder())
    assert (card.recipe, card.options, card.seed, card.note) == (
        plan.card.recipe,
        plan.card.options,
        plan.card.seed,
        plan.card.note,
    )
    printed = capsys.readouterr().out
    assert "Guessing gets 50.0 % right" in printed
    assert "Test accuracy" in printed


def test_fine_tuning_from_the_command_line(pets: Path) -> None:
    data = ["--dataset", f"folder:{pets}@16", "--epochs", "1", "--limit", "12"]
    assert main(["train", "--from", SOURCE, "--learn", "last", *data, "--name", "tuned"]) == 0
    card = zoo.cards()["tuned"]
    assert (card.architecture, card.options) == ("resnet18_cifar", {"width": 16})
    assert (card.recipe["initial"], card.recipe["learn"]) == (SOURCE, "last")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "nothing says what to train: give --architecture NAME, or --from NAME to fine-tune."),
        (["--from", "nobody"], "there is no network 'nobody'"),
        (["--from", SOURCE, "--architecture", "alexnet"], "--architecture can't be given with it."),
        (["--from", SOURCE, "--width", "4"], "--option can't be given with it."),
        (["--from", SOURCE, "--learn", "some"], "learn is 'some'; allowed are all, last, head."),
        (["--from", SOURCE, "--keep", "none"], "keep is 'none'; allowed are last, best."),
        (["--from", SOURCE, "--name", "../x"], "the name is '../x'"),
        (["--architecture", "alexnet", "--limit", "0"], "limit is 0"),
    ],
)
def test_bad_commands_end_with_one_line(
    given: list[str], message: str, pets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *given, "--dataset", f"folder:{pets}@16"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert message in error
    assert not zoo.local_folder().exists()


# The page


@pytest.fixture
def offered(pets: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The page as one finds it who brought these pictures: they stand among the datasets."""
    monkeypatch.setattr(dataset_images, "names", lambda: {"pets": f"folder:{pets}@16"})
    return {"train_images": "pets", "train_epochs": "1", "train_limit": "100", "train_learn": "head"}


def click(app: AppTest, label: str) -> None:
    (button,) = [each for each in app.button if label in each.label]
    button.click().run()


def ended() -> None:
    job = train_job.PANEL.place().job
    assert job is not None
    job.wait(SECONDS)
    assert not job.running


def test_a_training_from_the_page_is_kept_and_used(offered: dict[str, str]) -> None:
    app = visit("train", **offered)
    assert healthy(app), words(app)
    assert "2 classes, images of 16 px: 28 train, 6 validation, 6 test." in words(app)
    assert "train --from resnet18_cifar-w16-cue10-s0 --dataset folder:" in app.code[0].value
    click(app, "Start the training")
    ended()
    app.run()
    assert healthy(app), words(app)
    said = words(app)
    assert "Test accuracy" in said
    assert "Guessing gets 50.0 % right" in said
    app.text_input(key="kept_name").set_value("../x").run()
    click(app, "Keep this network")
    assert "the name is '../x'" in words(app)
    app.text_input(key="kept_name").set_value("my-pets").run()
    click(app, "Keep this network")
    assert healthy(app), words(app)
    assert "my-pets" in zoo.cards()
    click(app, "Its card")
    assert not app.exception
    assert app.title[0].value == "Networks"
    assert app.selectbox(key="network").value == "my-pets"
    stranger = visit("train", **offered)
    assert "Test accuracy" not in words(stranger), "what came of it is its visitor's"


def test_a_page_refuses_what_takes_too_long_with_the_command(
    offered: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_job, "cost", lambda *_: own_training.Cost(trained=100.0, asked=0.0))
    app = visit("train", **offered)
    assert "This would take about 47 min; a training from this page may take 10 min." in words(app)
    assert not [button for button in app.button if "Start" in button.label]
    assert "python -m xai train" in app.code[0].value


def fake_work(outcome: Outcome | None, error: str = "") -> Any:
    """In place of `train_job.work`: two steps, then it waits to be cancelled, or fails."""

    def make(live: train_job.Live) -> Any:
        def run(report: Report, cancelled: Any) -> Outcome | None:
            report(2, 4, "Epoch 1 of 2: training loss 1.000, accuracy 50.0 %.")
            if error:
                raise ValueError(error)
            while not cancelled():
                time.sleep(0.02)
            return outcome

        return run

    return make


def test_a_running_training_shows_progress_and_can_be_cancelled(
    offered: dict[str, str], pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(wish(pets), tmp_path / "out")
    done = own_training.outcome(plan, training.run(plan))
    monkeypatch.setattr(train_job, "cost", lambda *_: own_training.Cost(0.01, 0.01))
    monkeypatch.setattr(train_job, "work", fake_work(done))
    app = visit("train", **offered)
    click(app, "Start the training")
    assert healthy(app), words(app)
    assert "The curves begin with the first whole epoch." in words(app)
    assert not [button for button in app.button if "Start" in button.label], "one training at a time"
    click(app, "Cancel the training")
    ended()
    app.run()
    assert "It was cancelled; this is what was done by then." in app.success[0].value.replace("\\", "")


def test_a_failed_training_says_why(offered: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_job, "cost", lambda *_: own_training.Cost(0.01, 0.01))
    monkeypatch.setattr(train_job, "work", fake_work(None, "the training diverged in epoch 1."))
    app = visit("train", **offered)
    click(app, "Start the training")
    ended()
    app.run()
    assert "the training diverged in epoch 1." in words(app)
    assert not app.exception
    assert [button for button in app.button if "Start" in button.label]


def test_a_strange_link_is_told_and_ignored(offered: dict[str, str]) -> None:
    app = visit(
        "train", **{**offered, "train_images": "folder:/etc", "train_epochs": "900", "train_from": "x"}
    )
    assert "The link asked for what is not offered here" in words(app)
    assert not app.exception


def test_the_command_for_uploads_names_a_folder(pets: Path) -> None:
    from xai.ui import train_page

    assert train_page._elsewhere("upload:" + 32 * "a" + "@32") == "folder:YOUR_FOLDER@32"
    assert train_page._elsewhere("cue10") == "cue10"


def test_without_a_network_a_training_starts_from_scratch(
    offered: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_choice.explaining, "cards", lambda: {})
    app = visit("train")
    assert healthy(app)
    assert app.radio(key="train_start").options == [train_choice.STARTS["scratch"]]
