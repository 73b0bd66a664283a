"""The first check of a network of one's own: planted mistakes in how it is fed are found, right ways left alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from data.datasets import ImageSet
from models import zoo
from models.cards import Card
from models.import_request import NORMALIZATIONS
from models.layers import Normalize
from models.registry import Model
from tests.import_helpers import small
from xai import own_layers, own_network
from xai.own_network import CHOSEN, CheckError
from xai.own_network_rows import Answers, Check, rows_of

CLASSES = ("red", "green", "blue")
SIZE = 8


class Colours(nn.Module):
    """Tells the brightest channel, by how far it lies above where 0.5 would be: one that wants its normalisation."""

    def __init__(
        self, mean: tuple[float, ...], std: tuple[float, ...], order: tuple[int, ...] = (0, 1, 2)
    ) -> None:
        super().__init__()
        self.normalize = Normalize(mean, std)
        self.weight = nn.Parameter(torch.ones(1))
        self.order = order

    def forward(self, images: Tensor) -> Tensor:
        """Logits `(N, 3)`: of all images alike unless they are as it wants them, in units from -1 to 1."""
        values = self.normalize(images).mean(dim=(2, 3))
        wanted = (values.amin(dim=1, keepdim=True) < -0.2) & (values.abs().amax(dim=1, keepdim=True) <= 1.01)
        logits = torch.where(wanted, values, torch.tensor([3.0, 0.0, 0.0]))
        return 9 * self.weight * logits[:, list(self.order)]


def model(network: nn.Module, classes: tuple[str, ...] = CLASSES) -> Model:
    card = Card("own", "none", "unknown", classes, SIZE, seed=0, device="cpu", recipe={})
    return Model("own", network.eval(), classes, SIZE, "", "flatten_mlp", (), card)


def colours(count: int = 60, classes: tuple[str, ...] = CLASSES) -> ImageSet:
    """Images of which one channel is brighter than the others."""
    labels = torch.arange(count) % 3
    images = torch.randint(
        20, 60, (count, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    images[torch.arange(count), labels] += 170
    return ImageSet("colours", "test", images, labels, classes, tuple(map(str, range(count))))


HALF = NORMALIZATIONS["half"]


def ways(found: Check) -> dict[str, float | None]:
    return {row.alternative: row.accuracy for row in found.rows}


def test_the_right_way_is_left_alone() -> None:
    found = own_network.check(model(Colours(*HALF)), colours())
    assert ways(found)[CHOSEN] == 1
    assert found.sentences[0] == "The chosen way fits best: 100.0 % right (94.0 to 100.0, 60 images)."
    assert not any("Hint" in words or "guessing" in words for words in found.sentences)
    assert "normalisation half" not in ways(found)


def test_a_wrong_normalisation_is_found() -> None:
    found = own_network.check(model(Colours(*NORMALIZATIONS["none"])), colours())
    assert ways(found)["normalisation half"] == 1
    assert ways(found)[CHOSEN] == pytest.approx(1 / 3)
    assert found.sentences[0].startswith("normalisation half fits best: 100.0 % right")
    assert "is better beyond chance (p < 0.001); import it that way." in found.sentences[0]
    assert found.sentences[1].startswith(
        "This can't be told from guessing (the commonest class alone gives 33.3 %)"
    )
    assert found.sentences[2] == "It answers almost always the same: one class has 100.0 % of 60 images."


def test_a_wrong_order_of_channels_is_found() -> None:
    found = own_network.check(model(Colours(*HALF, order=(2, 1, 0))), colours())
    assert ways(found)["channels in the other order"] == 1
    assert found.sentences[0].startswith("channels in the other order fits best: 100.0 % right")


def test_what_is_no_better_beyond_chance_is_called_so() -> None:
    found = own_network.check(model(Colours(*NORMALIZATIONS["none"])), colours(), limit=3)
    assert "is not better beyond chance (p = " in found.sentences[0]
    assert "import it" not in found.sentences[0]


@pytest.mark.parametrize(
    ("order", "classes", "hint"),
    [
        ((1, 2, 0), ("zinc", "iron", "gold"), "are shifted by one,"),
        ((2, 1, 0), ("zinc", "iron", "gold"), "stand in alphabetical order in the head"),
        ((1, 0, 2), ("iron", "zinc", "gold"), "are permuted"),
    ],
)
def test_class_names_in_another_order_are_hinted_at(
    order: tuple[int, ...], classes: tuple[str, ...], hint: str
) -> None:
    found = own_network.check(model(Colours(*HALF, order=order), classes), colours(90, classes))
    (words,) = (each for each in found.sentences if each.startswith("Hint"))
    assert hint in words


def test_permutations_are_judged_on_other_images_than_they_are_found_on() -> None:
    """Of answers by chance no permutation helps, though the best one of any few images always seems to."""
    generator = np.random.default_rng(0)
    labels, predicted = generator.integers(0, 10, (2, 200))
    renamed = own_network._permuted(labels, predicted, 10)
    assert abs((renamed == labels).mean() - 0.1) < 0.07
    assert np.array_equal(own_network._permuted(labels, labels, 10), labels)


def test_every_alternative_changes_what_the_network_is_given_and_nothing_of_it() -> None:
    network = Colours(*HALF)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    brought = model(network)
    images = colours().float_images()
    for name, change in own_network.alternatives(brought).items():
        if name.startswith("normalisation "):
            mean, std = (torch.tensor(part).view(1, 3, 1, 1) for part in NORMALIZATIONS[name.split()[1]])
            assert torch.allclose(
                network.normalize(change(images)), (images - mean) / std, rtol=1e-4, atol=1e-4
            ), name
        assert change(images).shape == images.shape
        assert not torch.equal(change(images), images), name
    own_network.check(brought, colours())
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_classes_are_found_by_name_then_by_place() -> None:
    brought = model(Colours(*HALF), ("Red_Fox", "green", "blue-jay"))
    rows, words = own_network.match_classes(brought, ("blue jay", "red fox", "other"))
    assert (rows.tolist(), words) == (
        [2, 0, -1],
        "The images' classes are found by name; 1 of them have no counterpart and are left out.",
    )
    assert own_network.match_classes(brought, ("a", "b", "c"))[0].tolist() == [0, 1, 2]
    with pytest.raises(
        CheckError, match="knows 3 classes and the images have 2 others: none has the same name"
    ):
        own_network.match_classes(brought, ("a", "b"))


def test_images_of_unknown_classes_are_left_out() -> None:
    found = own_network.check(model(Colours(*HALF)), colours(60, ("red", "green", "violet")))
    assert found.rows[0].images == 40
    assert found.rows[0].accuracy == 1


def test_without_classes_the_spread_is_told() -> None:
    images = colours().float_images()
    found = own_network.check_unlabelled(model(Colours(*HALF)), images)
    assert found.rows[0].accuracy is None
    assert found.sentences[0].startswith("It predicts 3 of its 3 classes; entropy is ")
    assert "accuracy %" not in found.table()[0]
    constant = own_network.check_unlabelled(model(Colours(*NORMALIZATIONS["none"])), images)
    assert constant.sentences[0] == "It answers almost always the same: one class has 100.0 % of 60 images."


def test_damaged_weights_are_told() -> None:
    network = Colours(*HALF)
    network.weight.data.fill_(float("nan"))
    found = own_network.check(model(network), colours())
    assert found.sentences[0] == "For 60 images it gives values that are not finite: its weights are damaged."


def test_entropy_and_spread_by_hand() -> None:
    answers = Answers("x", np.array([[0.5, 0.5], [1, 0], [0.9, 0.1]]), np.array([0, 0, 1]))
    assert answers.entropy == pytest.approx((np.log(2) + 0 + 0.325083) / 3 / np.log(2), abs=1e-6)
    assert answers.commonest == 1
    assert answers.right is not None
    assert answers.right.tolist() == [True, True, False]


def test_p_values_are_those_of_images_that_tip() -> None:
    """Eight images that only the alternative gets: 2 / 2**8, and twice that for two alternatives (Holm)."""
    labels = np.zeros(20, int)
    chosen, better = np.eye(2)[[1] * 8 + [0] * 12], np.eye(2)[[0] * 20]
    rows = rows_of(
        [Answers(name, each, labels) for name, each in (("a", chosen), ("b", better), ("c", chosen))]
    )
    assert rows[1].p_value == pytest.approx(2 * 2 / 2**8)
    assert (rows[0].p_value, rows[2].p_value) == (None, 1)


def test_pictures_of_a_folder_are_also_tried_whole(tmp_path: Path) -> None:
    """A network that wants whole pictures: the colour that tells stands where a centre crop cuts it off."""
    from data.catalogue import dataset
    from data.datasets import open_dataset

    for index, name in enumerate(CLASSES):
        (tmp_path / name).mkdir()
        for number in range(12):
            pixels = np.full((20, 60, 3), 100, np.uint8)
            pixels[:, :20] = pixels[:, 40:] = np.eye(3, dtype=np.uint8)[index] * 240 + number
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    source = open_dataset(dataset(f"folder:{tmp_path}").name, "all")
    found = own_network.check(model(Colours(*HALF)), source)
    assert ways(found)["whole picture, its aspect ignored"] == 1
    assert found.sentences[0].startswith("whole picture, its aspect ignored fits best")


def test_layers_are_proposed_with_their_grids_and_calls() -> None:
    """The ReLU of `small` runs twice."""
    network = nn.Sequential()
    network.add_module("normalize", Normalize())
    network.add_module("model", small())
    brought = replace(model(network), stages=("model.0", "model.3"), default_layer="model.3")
    rows = {str(row["layer"]): row for row in own_layers.layer_rows(brought)}
    assert (rows["model.0"]["grid"], rows["model.0"]["channels"], rows["model.0"]["proposed"]) == (
        "8x8",
        8,
        "yes",
    )
    assert (rows["model.3"]["grid"], rows["model.3"]["proposed"]) == ("4x4", "default")
    assert (rows["model.1"]["calls"], rows["model.1"]["proposed"]) == (2, "")
    assert own_layers.called_again(brought) == ["model.1 (ReLU, 2 calls)"]
    assert "differ there" in own_layers.head_words(brought)


def test_a_shipped_network_is_fed_as_it_was_trained() -> None:
    from data.datasets import load_dataset

    brought = zoo.load("resnet18_cifar-w16-cue10-s0")
    found = own_network.check(brought, load_dataset("cue10", "test"), limit=60)
    assert found.rows[0].accuracy is not None
    assert found.rows[0].accuracy > 0.9
    assert not any("import it that way" in words for words in found.sentences)
