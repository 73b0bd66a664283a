"""The claimed improvements beside made-up answers whose differences are counted by hand."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models import recipes, registry
from models.cards import Card
from xai import ablation_list, ablations
from xai.ablation_list import ABLATIONS
from xai.ablations import NOT_TRAINED, AblationRow, rows
from xai.predictions import Predictions, PredictionsError
from xai.statistics import holm
from xai.training_cards import checkpoint_name

IMAGES = 100


def card_of(
    architecture: str, recipe: str = "standard", seed: int = 0, dataset: str = "cifar10-jpeg", **changes: Any
) -> Card:
    """The card of a made-up network."""
    options = changes.pop("options", {})
    content = {"name": recipe, "batch_size": 256, "learning_rate": 0.2, **changes.pop("fields", {})}
    name = checkpoint_name(architecture, dataset, seed, options, recipe)
    made = Card(name, architecture, dataset, ("a", "b"), 32, seed, "cpu", content, options)
    return replace(made, epochs=30, sha256=f"sha of {name}", accuracy={"test": 0.5}, **changes)


def answers(right: Sequence[int] | range, card: Card | None = None, order: int = 1) -> Predictions:
    """Answers to 100 images that are right about the numbers given; `order` -1 lists them the other way round."""
    labels = np.arange(IMAGES) % 2
    predicted = np.where(np.isin(np.arange(IMAGES), list(right)), labels, 1 - labels)
    shares = np.eye(2, dtype=np.float16)[predicted]
    ids = tuple(f"test/{k:03}" for k in range(IMAGES))
    facts = {"sha256": card.sha256} if card else {}
    return Predictions(ids[::order], labels[::order], predicted[::order], shares[::order], facts)


def found(stored: Sequence[tuple[Card, Predictions | None]], name: str) -> list[AblationRow]:
    """Rows of one ablation."""
    by_name = {card.name: rows_of for card, rows_of in stored}
    records = {card.name: card for card, _ in stored}
    return [row for row in rows(records, by_name.__getitem__) if row.ablation.name == name]


def test_a_difference_counted_by_hand() -> None:
    """The baseline is right about images 0 to 79, the variant about 5 to 89: five are lost and ten are won."""
    plain, fused = card_of("resnext50_cifar"), card_of("resnext50_msff_cifar")
    stored = [(plain, answers(range(80), plain)), (fused, answers(range(5, 90), fused, order=-1))]
    (row,) = found(stored, "fusion")
    assert (row.baselines, row.variants, row.seeds) == ((plain.name,), (fused.name,), (0,))
    assert (row.baseline_accuracy, row.variant_accuracy) == (0.8, 0.85)
    assert row.difference == pytest.approx(5)
    assert row.low is not None
    assert row.high is not None
    assert -5 < row.low < 5 < row.high < 15
    # exact McNemar of 5 against 10: twice the chance of five or fewer heads in fifteen throws
    assert row.p_value == pytest.approx(2 * sum((1, 15, 105, 455, 1365, 3003)) / 2**15)
    assert (row.p_holm, row.images, row.reason) == (row.p_value, IMAGES, "")
    assert row.ablation.paper_difference == 0.2


def test_seeds_that_both_have_are_averaged_image_by_image() -> None:
    """Seeds 1 and 2: the baseline is right 0.8 and 0.6 of the time, the variant always; seed 0 is on one side only."""
    plain = [card_of("alexnet", seed=seed) for seed in (0, 1, 2)]
    normed = [card_of("alexnet_bn", seed=seed) for seed in (1, 2)]
    stored = [(card, answers(range(n), card)) for card, n in zip(plain, (1, 80, 60), strict=True)]
    stored += [(card, answers(range(100), card)) for card in normed]
    (row,) = found(stored, "alexnet_bn")
    assert row.seeds == (1, 2)
    assert row.baseline_accuracy == pytest.approx(0.7)
    assert row.difference == pytest.approx(30)
    assert row.p_value == pytest.approx(
        2 * 0.5**40
    )  # twenty images by one half and twenty by one: all one way


def test_holm_goes_over_all_rows() -> None:
    names = ("alexnet", "alexnet_bn", "alexnet_lrn", "alexnet_cbam")
    cards = [card_of(name) for name in names]
    right = (range(50), range(62), range(1, 51), range(56))
    stored = [(card, answers(numbers, card)) for card, numbers in zip(cards, right, strict=True)]
    by_name = dict((card.name, rows_of) for card, rows_of in stored)
    compared = [row for row in rows({card.name: card for card in cards}, by_name.get) if not row.reason]
    assert [row.ablation.name for row in compared] == ["alexnet_bn", "alexnet_lrn", "alexnet_cbam"]
    p_values = [row.p_value for row in compared if row.p_value is not None]
    assert p_values == pytest.approx([2 / 2**12, 1, 2 / 2**6])
    assert [row.p_holm for row in compared] == pytest.approx(list(holm(p_values)))


def test_both_stems_and_every_dataset_have_their_rows() -> None:
    cards = [
        card_of(architecture, dataset=dataset)
        for architecture in ("resnet50", "se_resnet50", "resnet50_cifar", "se_resnet50_cifar")
        for dataset in ("cifar10-jpeg", "cue10")
    ]
    stored = [(card, answers(range(50), card)) for card in cards]
    se = found(stored, "se")
    assert [(row.dataset, row.ablation.variant.architecture) for row in se] == [
        ("cifar10-jpeg", "se_resnet50_cifar"),
        ("cue10", "se_resnet50_cifar"),
        ("cifar10-jpeg", "se_resnet50"),
        ("cue10", "se_resnet50"),
    ]
    assert [row.dataset for row in found(stored, "stem_50")] == ["cifar10-jpeg", "cue10"]


def test_what_the_recipes_differ_in_is_told() -> None:
    adaptive = {"schedule": "plateau", "learning_rate": 0.1, "compile": True}
    plain = card_of("resnext50_cifar", fields={"schedule": "one_cycle", "compile": False})
    other = card_of("resnext50_cifar", "plateau", fields=adaptive)
    stored = [(plain, answers(range(50), plain)), (other, answers(range(50), other))]
    (row,) = found(stored, "adaptive_rate")
    assert row.changes == ("learning_rate 0.2 -> 0.1", "schedule one_cycle -> plateau")
    assert (row.difference, row.low, row.high, row.p_value) == (0, 0, 0, 1)


def test_a_recipe_of_its_own_length_is_compared_where_it_is_the_claim() -> None:
    plain = card_of("resnet50", fields={"initial": ""})
    changed = card_of("resnet50", "transfer", fields={"batch_size": 64, "initial": "resnet50-imagenet"})
    changed = replace(changed, epochs=50)
    stored = [(plain, answers(range(50), plain)), (changed, answers(range(60), changed))]
    (row,) = found(stored, "transfer")
    assert row.difference == pytest.approx(10)
    assert row.changes == ("batch_size 256 -> 64", "initial not set -> resnet50-imagenet", "epochs 30 -> 50")


def test_networks_older_than_the_names_of_recipes_count_as_standard() -> None:
    plain, normed = card_of("alexnet"), card_of("alexnet_bn")
    plain = replace(plain, recipe={"batch_size": 256})
    (row,) = found([(plain, answers(range(5), plain)), (normed, answers(range(9), normed))], "alexnet_bn")
    assert row.difference == pytest.approx(4)


PLAIN, NORMED = card_of("alexnet"), card_of("alexnet_bn")
RIGHT = answers(range(50))
STRANGE = replace(RIGHT, ids=tuple(f"other/{k}" for k in range(IMAGES)))
RELABELLED = replace(RIGHT, labels=1 - RIGHT.labels)


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        ([], f"{NOT_TRAINED}: alexnet, alexnet_bn."),
        ([(PLAIN, RIGHT)], f"{NOT_TRAINED}: alexnet_bn."),
        ([(PLAIN, RIGHT), (replace(NORMED, accuracy={"test": None}), RIGHT)], f"{NOT_TRAINED}: alexnet_bn."),
        (
            [(PLAIN, RIGHT), (replace(NORMED, dataset="cue10"), RIGHT)],
            f"{NOT_TRAINED}: the two were trained on different datasets.",
        ),
        ([(PLAIN, RIGHT), (replace(NORMED, epochs=5), RIGHT)], "not comparable: epochs is 30 and 5."),
        (
            [(PLAIN, RIGHT), (card_of("alexnet_bn", options={"hidden": 32}), RIGHT)],
            "not comparable: option hidden is not set and 32.",
        ),
        (
            [(PLAIN, RIGHT), (card_of("alexnet_bn", fields={"batch_size": 64}), RIGHT)],
            "not comparable: batch_size is 256 and 64.",
        ),
        (
            [(PLAIN, RIGHT), (replace(NORMED, note="A trial on at most 64 images of each split."), RIGHT)],
            "not comparable: images is all and 64.",
        ),
        (
            [(PLAIN, RIGHT), (card_of("alexnet_bn", seed=1), RIGHT)],
            "not comparable: the two sides have no seed in common.",
        ),
        ([(PLAIN, RIGHT), (NORMED, None)], f"the answers of {NORMED.name} are not stored."),
        (
            [(PLAIN, RIGHT), (NORMED, replace(RIGHT, facts={"sha256": "other"}))],
            f"the stored answers of {NORMED.name} are those of other weights.",
        ),
        (
            [(PLAIN, RIGHT), (NORMED, STRANGE)],
            f"the stored answers of {NORMED.name} are to other images than those of the others.",
        ),
        (
            [(PLAIN, RIGHT), (NORMED, RELABELLED)],
            f"the stored answers of {NORMED.name} are to other images than those of the others.",
        ),
    ],
)
def test_what_can_not_be_compared_says_why(
    stored: list[tuple[Card, Predictions | None]], reason: str
) -> None:
    (row,) = found(stored, "alexnet_bn")
    assert row.reason == reason
    assert {row.difference, row.low, row.high, row.p_value, row.p_holm, row.baseline_accuracy} == {None}


def test_damaged_answers_are_the_reason() -> None:
    def read(name: str) -> Predictions:
        raise PredictionsError(f"{name}.parquet is damaged.")

    cards = {card.name: card for card in (PLAIN, NORMED)}
    reasons = [row.reason for row in rows(cards, read) if row.ablation.name == "alexnet_bn"]
    assert reasons == [f"{PLAIN.name}.parquet is damaged."]


def test_the_table_names_what_exists() -> None:
    for ablation in ABLATIONS.values():
        for stem in ablations._stems(ablation):
            for side in (stem.baseline, stem.variant):
                registry.architecture(side.architecture)
                assert side.recipe in recipes.RECIPES
            assert stem.baseline != stem.variant


def test_every_ablation_has_a_row_without_any_network() -> None:
    empty = rows({}, lambda _name: None)
    assert [row.ablation.name for row in empty] == list(ABLATIONS)
    assert all(row.reason.startswith(NOT_TRAINED) for row in empty)
    with pytest.raises(ValueError, match="the ablation 'stem_18' is registered twice"):
        ablation_list.register(ABLATIONS["stem_18"])


def _claim(name: str) -> float | None:
    return ABLATIONS[name].paper_difference


@pytest.mark.parametrize(
    ("difference", "accuracies"),
    [
        (lambda: _claim("stem_18"), (68.42, 70.19)),
        (lambda: _claim("groups"), (91.2, 92.5)),
        (lambda: _claim("fusion"), (92.5, 92.7)),
        (lambda: _claim("adaptive_rate"), (92.5, 92.6)),
        (lambda: _claim("improved"), (92.5, 94.6)),
        (lambda: _claim("transfer"), (87.50, 93.75)),
    ],
)
def test_claims_are_the_differences_of_the_papers_numbers(
    difference: Callable[[], float], accuracies: tuple[float, float]
) -> None:
    assert difference() == pytest.approx(accuracies[1] - accuracies[0])


def test_an_ablation_says_what_else_our_variant_has() -> None:
    """What the default of an architecture's option adds besides the claimed change stands in the claim."""
    for ablation in ABLATIONS.values():
        sides = (ablation.baseline, ablation.variant)
        dropouts = [
            inspect.signature(registry.architecture(side.architecture).build).parameters.get("dropout")
            for side in sides
        ]
        ours, theirs = (0.0 if each is None else each.default for each in dropouts)
        assert (ours == theirs) or (f"{theirs}" in ablation.claim) or ablation.claim == "dropout", (
            ablation.name
        )


def test_the_papers_own_recipe_is_compared_too() -> None:
    cards = [card_of(name, "tuned_resnet18") for name in ("resnet18", "resnet18_cifar")]
    stored = [(card, answers(range(n), card)) for card, n in zip(cards, (50, 60), strict=True)]
    (row,) = found(stored, "stem_18_tuned")
    assert row.difference == pytest.approx(10)
    assert found(stored, "stem_18")[0].reason.startswith(NOT_TRAINED)
