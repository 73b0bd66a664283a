"""Flip points: planted thresholds are found where they are, orders by hand, and none where two networks are alike."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from data.corruption_constants import constants
from data.datasets import ImageSet
from data.degradation_blur import line_weights
from data.degradation_filters import sparse_filters
from data.degradations import DEGRADATIONS, degrade, motion_blur_angle
from tests import cue_helpers
from xai.attribution import ExplanationError
from xai.compare import store
from xai.compare.bench import Bench
from xai.compare.bisection import first_changes, places
from xai.compare.filmstrip import MOST, filmstrip, spread_images
from xai.compare.flip_scan import Scan, places_of, scans
from xai.compare.flip_statistics import MISSED, STRIDE, TOLERANCE, fates, pairs, reached, severities
from xai.compare.flips import chosen, paths, trace
from xai.compare.sections import Measured, Table, section
from xai.compare.study import Facts
from xai.evaluation import Cancelled
from xai.figure_compare_flips import distribution_figure, filmstrip_figure
from xai.figures import Figure

pytestmark = pytest.mark.usefixtures("one_thread")
SCALE, SIZE, HIGHEST = "paper-relative", 16, 3
NULLS, ALLOWED = 200, 18
"""Of 200 tests of true nulls at 5 %, more than 18 are wrong with a probability of 0.7 %."""


# Random numbers that grow along a path


def some_images(count: int = 3) -> Tensor:
    return torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) * 0.2 + 0.4


@pytest.mark.parametrize("name", [name for name, entry in DEGRADATIONS.items() if entry.random])
def test_numbers_drawn_at_the_severity_itself_are_the_usual_ones(name: str) -> None:
    images, ids = some_images(), ["a", "b", "c"]
    usual = degrade(images, name, 1.5, scale=DEGRADATIONS[name].scales[0], image_ids=ids, seed=3)
    options = {"scale": DEGRADATIONS[name].scales[0], "image_ids": ids, "seed": 3}
    assert torch.equal(degrade(images, name, 1.5, drawn_at=1.5, **options), usual)  # type: ignore[arg-type]
    assert not torch.equal(degrade(images, name, 1.5, drawn_at=3, **options), usual)  # type: ignore[arg-type]


def test_one_draw_of_noise_is_proportional_to_its_sigma() -> None:
    images, options = some_images(), {"scale": "cifar-c", "image_ids": ["a", "b", "c"], "drawn_at": 5.0}
    small, large = (degrade(images, "gaussian_noise", s, **options) - images for s in (1, 5))  # type: ignore[arg-type]
    assert torch.allclose(small * 0.10 / 0.04, large, atol=1e-6)
    anew = degrade(images, "gaussian_noise", 1, scale="cifar-c", image_ids=["a", "b", "c"]) - images
    assert abs(float(torch.corrcoef(torch.stack([anew.flatten(), large.flatten()]))[0, 1])) < 0.1


def test_defective_cells_stay_defective_and_the_direction_of_motion_stays() -> None:
    images, options = some_images(1), {"scale": SCALE, "image_ids": ["a"], "drawn_at": 3.0}
    hit = [degrade(images, "impulse_noise", s, **options) != images for s in (1, 2, 3)]  # type: ignore[arg-type]
    assert hit[0].sum() < hit[1].sum() < hit[2].sum()
    assert not (hit[0] & ~hit[1]).any()
    assert not (hit[1] & ~hit[2]).any()
    blurred = degrade(images, "motion_blur", 2.5, **options)  # type: ignore[arg-type]
    length = constants("motion_blur", 2.5, SCALE, SIZE)["length"]
    expected = sparse_filters(images, [line_weights(length, motion_blur_angle("a", 3))], "reflect101")
    assert torch.allclose(blurred, expected, atol=1e-6)


def test_numbers_drawn_at_a_severity_that_there_is_not_are_refused() -> None:
    with pytest.raises(ValueError, match=r"severity 4 is out of range; gaussian_noise .* takes 0 to 3"):
        degrade(some_images(1), "gaussian_noise", 1, scale=SCALE, image_ids=["a"], drawn_at=4)


# Bisection


def test_places_of_a_scan() -> None:
    assert places(3, 0.5).tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3]
    assert np.diff(places(3, 0.7)).max() <= 0.7
    assert places(3, 0.7)[[0, -1]].tolist() == [0, 3]


def test_first_changes_against_looking_everywhere() -> None:
    """Answers that change at random: the first place of the scan that differs, and a change within the step before."""
    generator = np.random.default_rng(0)
    fine = np.linspace(0, 3, 3 * 256 + 1)
    table = generator.integers(0, 3, (len(fine) // 64 + 1, 300)).repeat(64, axis=0)[: len(fine)]
    table[:, :40] = table[0, :40]  # these never change

    def ask(rows: np.ndarray, at: np.ndarray) -> np.ndarray:
        return table[np.round(at * 256).astype(int), rows]

    scan = places(3, 0.5)
    answers = np.stack([ask(np.arange(300), np.full(300, s)) for s in scan])
    found = first_changes(scan, answers, ask, TOLERANCE)
    for image in range(300):
        other = np.flatnonzero(answers[:, image] != answers[0, image])
        assert found.changed[image] == bool(len(other))
        if not len(other):
            assert (found.before[image], found.answer[image], found.returns[image]) == (
                3,
                answers[0, image],
                0,
            )
            continue
        before, after = found.before[image], found.after[image]
        assert scan[other[0] - 1] <= before < after <= scan[other[0]]
        assert after - before <= TOLERANCE
        assert ask(np.array([image]), np.array([before]))[0] == answers[0, image]
        assert ask(np.array([image]), np.array([after]))[0] == found.answer[image] != answers[0, image]
        assert found.returns[image] == (answers[other[0] :, image] == answers[0, image]).sum()
    assert not found.changed[:40].any()
    assert found.changed[40:].mean() > 0.9


@pytest.mark.parametrize(
    ("scale", "count"), [("paper-relative", 91), ("paper-literal", 91), ("cifar-c", 61), ("imagenet-c", 94)]
)
def test_jpeg_is_scanned_at_every_whole_quality(scale: str, count: int) -> None:
    found = places_of("jpeg_compression", scale, 64)
    qualities = [constants("jpeg_compression", severity, scale, 64)["quality"] for severity in found]
    assert qualities == list(range(100, 100 - count, -1))
    assert found[0] == 0
    assert found[-1] == (HIGHEST if scale.startswith("paper") else 5)
    assert places_of("gaussian_blur", scale, 64).tolist() == places(found[-1], 0.5).tolist()


# Planted networks: what is bright


class Brightness(nn.Module):
    """Says 1 where the mean brightness is between two thresholds, else 0."""

    def __init__(self, low: float, high: float = 9.0) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 1, 1, bias=False)
        nn.init.constant_(self.features.weight, 1 / 3)
        self.low, self.high = low, high

    def forward(self, images: Tensor) -> Tensor:
        mean = self.features(images).mean(dim=(2, 3))
        inside = torch.minimum(mean - self.low, self.high - mean)
        return torch.cat([-inside, inside], dim=1)


def grey_data(values: Sequence[int], labels: Sequence[int]) -> ImageSet:
    """Grey images of these byte values."""
    images = torch.tensor(values, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, SIZE, SIZE)
    ids = tuple(f"grey {k}" for k in range(len(values)))
    return ImageSet("greys", "test", images.contiguous(), torch.tensor(labels), ("dark", "bright"), ids)


VALUES = list(range(60, 160, 5))


def grey_bench(
    a: nn.Module, b: nn.Module, names: tuple[str, ...] = ("brightness",), right: bool = True
) -> Bench:
    """Two networks on grey images, dark ones but for the last four, which are white and bright to both."""
    networks = [
        cue_helpers.model(name, network, ("dark", "bright"), SIZE) for name, network in (("a", a), ("b", b))
    ]
    data = grey_data(
        [*VALUES, 250, 251, 252, 253], [0 if right else 1] * len(VALUES) + [1 if right else 0] * 4
    )
    options = {"dataset": "greys", "degradations": names, "scale": SCALE, "limit": None}
    bench = cue_helpers.bench(networks, lambda *_: data, **options)
    bench.keep_maps = False
    return bench


def expected_severity(value: int, threshold: float) -> float:
    """Where brightness brings a grey above the threshold, inf for nowhere."""
    fine = np.linspace(0, HIGHEST, 30_001)
    shift = np.interp(
        fine, range(4), [constants("brightness", s, SCALE, SIZE).get("shift", 0) for s in range(4)]
    )
    above = value / 255 + shift > threshold
    return float(fine[above.argmax()]) if above.any() else np.inf


def test_planted_thresholds_are_found_where_they_are() -> None:
    bench = grey_bench(Brightness(0.51), Brightness(0.61))
    rows = section("flips").measure(bench)
    images, flips = rows["images"], rows["flips"]
    dark = np.array(VALUES) / 255
    assert images["right_a"].tolist() == [*(dark < 0.51), *[True] * 4]
    assert images["asked"].tolist() == (images["right_a"] & images["right_b"]).tolist()
    asked = np.flatnonzero(images["asked"])
    assert len(flips["image"]) == 2 * len(asked)
    censored = 0
    for k, threshold in enumerate((0.51, 0.61)):
        own = {name: column[flips["network"] == k] for name, column in flips.items()}
        assert own["image"].tolist() == asked.tolist()
        for place, row in enumerate(own["image"]):
            truth = expected_severity(VALUES[row], threshold) if row < len(VALUES) else np.inf
            assert own["flipped"][place] == np.isfinite(truth)
            if np.isfinite(truth):
                assert own["before"][place] - 1e-3 <= truth <= own["after"][place] + 1e-3
                assert own["after"][place] - own["before"][place] <= TOLERANCE
                assert (own["answer_before"][place], own["answer_after"][place]) == (0, 1)
            else:
                assert own["before"][place] == HIGHEST
                assert np.isnan(own["after"][place])
                assert own["answer_after"][place] == own["answer_before"][place]
                censored += 1
    found = section("flips").summarise(bench.facts, rows)
    numbers = found.numbers["brightness"]
    assert numbers["A"]["beyond"] + numbers["B"]["beyond"] == censored > 8
    assert numbers["both beyond"] >= 4
    assert numbers["A later"] == 0 < numbers["B later"]
    assert found.differs
    assert "B: b keeps its answers longer under brightness" in found.verdict
    assert found.undefined[2].startswith(f"{numbers['A']['beyond']} of {len(asked)} answers of A: a and")


def test_a_network_that_never_flips_is_counted() -> None:
    bench = grey_bench(Brightness(0.75), Brightness(0.97))
    found = section("flips").summarise(bench.facts, section("flips").measure(bench))
    numbers = found.numbers["brightness"]
    assert numbers["B"]["beyond"] == numbers["B"]["n"] == 24
    assert numbers["B"]["half"] is None
    assert numbers["B"]["beyond high"] == 1


def test_what_flips_and_flips_back_has_its_first_flip() -> None:
    """Greys that pass through the band from 0.5 to 0.62 and come out of it again."""
    bench = grey_bench(Brightness(0.5, 0.62), Brightness(0.5))
    flips = trace(bench, np.arange(len(VALUES)), ["brightness"])
    band, step = ({k: v[flips["network"] == n] for k, v in flips.items()} for n in (0, 1))
    dark = np.array(VALUES) / 255 < 0.5
    assert np.array_equal(band["before"][dark], step["before"][dark])
    out = np.array([np.isfinite(expected_severity(v, 0.62)) for v in VALUES]) & dark & band["flipped"]
    assert out.any()
    assert (band["returns"][out] > 0).mean() > 0.9
    assert not step["returns"].any()
    assert not band["returns"][~out & dark].any()


class Told(nn.Module):
    """Says what an image's first pixel says, 0 or 1, with the probability that the second has."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        answer, probability = images[:, 0, 0, 0].round(), images[:, 0, 0, 1]
        logit = torch.log(probability / (1 - probability))
        return torch.stack(
            [torch.where(answer == 0, logit, 0.0), torch.where(answer == 1, logit, 0.0)], dim=1
        )


def looked(answers: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, int]:
    """What a scan under JPEG sees of planted answers and probabilities `(k, n)`, and how often it asks."""
    asked = 0

    def degraded(rows: np.ndarray, at: np.ndarray) -> Tensor:
        nonlocal asked
        images = torch.zeros(len(rows), 3, SIZE, SIZE)
        images[:, 0, 0, 0] = torch.from_numpy(answers[at.astype(int), rows]).float()
        images[:, 0, 0, 1] = torch.from_numpy(probabilities[at.astype(int), rows]).float()
        return images

    network = cue_helpers.model("a", Told(), ("dark", "bright"), SIZE)
    whole = np.arange(len(answers), dtype=float)
    scan = Scan(network, whole, answers[0], STRIDE)
    for place in range(1, len(answers)):
        scan.look(place, degraded(np.arange(answers.shape[1]), np.full(answers.shape[1], place)))
    scan.fill(degraded)
    found = scans([network], [answers[0]], whole, "jpeg_compression", degraded, lambda _: None)
    assert np.array_equal(found[0], scan.answers)
    return scan.answers, int(scan.asked.sum())


def test_a_scan_of_jpeg_sees_every_change_of_answers_that_are_not_sure() -> None:
    """What changes for one quality alone is seen; steps of 0.125 levels or of two qualities miss half of it."""
    answers = np.zeros((91, 80), int)
    answers[np.arange(1, 81), np.arange(80)] = 1
    found, asked = looked(answers, np.full(answers.shape, 0.7))
    assert np.array_equal(found, answers)
    assert asked == answers.size


def test_a_scan_of_jpeg_skips_where_answers_are_sure_and_goes_back_where_they_change() -> None:
    answers = (np.arange(91)[:, None] >= np.arange(1, 91)).astype(int)
    found, asked = looked(answers, np.full(answers.shape, 0.9))
    assert np.array_equal(found, answers), "whatever the place, the first change is between neighbours"
    assert asked < 0.33 * answers.size
    brief = np.zeros((91, 1), int)
    brief[5] = 1
    assert not looked(brief, np.full(brief.shape, 0.9))[0].any(), "sure before and after: not seen"
    unsure = np.full(brief.shape, 0.9)
    unsure[4] = 0.6
    assert np.array_equal(looked(brief, unsure)[0], brief)


def test_images_that_are_wrong_when_clean_are_traced_too() -> None:
    bench = grey_bench(Brightness(0.51), Brightness(0.61), right=False)
    flips = trace(bench, np.array([3, 9]), ["brightness"])
    assert flips["answer_before"].tolist() == [0] * 4
    assert flips["flipped"].any()
    rows = section("flips").measure(bench)
    found = section("flips").summarise(bench.facts, rows)
    assert found.numbers["asked"] == rows["images"]["asked"].sum()


def test_no_image_that_both_get_right() -> None:
    bench = grey_bench(Brightness(0.0), Brightness(0.0))
    rows = section("flips").measure(bench)
    rows = {**rows, "images": {**rows["images"], "right_a": np.zeros(24, bool), "asked": np.zeros(24, bool)}}
    rows["flips"] = {name: column[:0] for name, column in rows["flips"].items()}
    found = section("flips").summarise(bench.facts, rows)
    assert "no flip can be compared" in found.verdict
    assert found.differs is None
    assert section("flips").draw(bench.facts, rows) == {}
    assert json.dumps(found.numbers)
    assert trace(bench, np.empty(0, np.int64), ["brightness"])["image"].dtype == np.int32


def test_an_image_flips_where_it_does_whatever_stands_beside_it() -> None:
    bench = grey_bench(Brightness(0.4), Brightness(0.5), ("gaussian_noise", "motion_blur"))
    rows = np.arange(6, 18)
    together, alone = (trace(bench, each, ["gaussian_noise"]) for each in (rows, rows[4:5]))
    own = together["image"] == rows[4]
    assert all(
        np.array_equal(column[own], alone[name], equal_nan=column.dtype.kind == "f")
        for name, column in together.items()
    )


def test_the_end_of_a_path_is_what_the_study_sees_there() -> None:
    bench = grey_bench(Brightness(0.4), Brightness(0.5), ("gaussian_noise",))
    seen = bench.images(bench.models[0], bench.data, bench.facts.conditions[-1], slice(0, 24))
    (path,) = paths(bench, np.arange(24), ["gaussian_noise"])
    assert torch.equal(path.at(np.arange(24), np.full(24, 3.0)), seen)
    assert torch.equal(path.at(np.array([5]), np.array([0.0])), path.images[5:6])


def test_a_run_ends_where_it_is_cancelled() -> None:
    bench = grey_bench(Brightness(0.4), Brightness(0.5))
    bench.cancelled = lambda: True
    with pytest.raises(Cancelled):
        trace(bench, np.arange(4), ["brightness"])


def test_chosen_images_are_spread_over_classes() -> None:
    labels = np.repeat([0, 1, 2], [50, 4, 100])
    right = np.ones(154, bool)
    right[:10] = False
    rows = chosen(labels, right, 30)
    assert np.bincount(labels[rows]).tolist() == [13, 4, 13]
    assert right[rows].all()
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert rows[0] == 10
    assert rows[-1] == 153
    assert chosen(labels, right, 1_000).tolist() == np.flatnonzero(right).tolist()
    assert chosen(labels, np.zeros(154, bool), 30).tolist() == []


# Statistics


def flips_table(found: np.ndarray, names: Sequence[str], returns: int = 0) -> Table:
    """Rows with flips at severities `(D, 2, n)`, inf for none."""
    place, network, image = (each.ravel() for each in np.indices(found.shape))
    values, flipped = found.ravel(), np.isfinite(found.ravel())
    return {
        "image": image.astype(np.int32),
        "degradation": np.array(names)[place],
        "network": network.astype(np.int8),
        "before": np.where(flipped, values - TOLERANCE / 2, HIGHEST).astype(np.float32),
        "after": np.where(flipped, values + TOLERANCE / 2, np.nan).astype(np.float32),
        "flipped": flipped,
        "returns": (flipped * returns).astype(np.int16),
        "answer_before": np.zeros(len(values), np.int16),
        "answer_after": flipped.astype(np.int16),
    }


NAMES = ("gaussian_blur", "gaussian_noise", "jpeg_compression")


def made_up(found: np.ndarray, names: tuple[str, ...] = NAMES, returns: int = 0) -> tuple[Facts, Measured]:
    count = found.shape[-1]
    facts = cue_helpers.facts("greys", classes=("dark", "bright"), degradations=names, size=32, images=count)
    everywhere = np.ones(count, bool)
    images = {"image": np.arange(count), "label": np.arange(count) % 2}
    images |= {name: everywhere for name in ("right_a", "right_b", "asked")}
    return facts, {"images": images, "flips": flips_table(found, names, returns)}


def test_a_sign_test_by_hand() -> None:
    """Nine images flip later with A, one with B; two never flip and one flips in the same bracket: ties."""
    inf = np.inf
    a = np.array([2, 2, 2, 2, 2, 2, 2, 2, inf, 1, inf, inf, 1.5])
    b = np.array([1, 1, 1, 1, 1, 1, 1, 1, 2.9, inf, inf, inf, 1.5])
    (found,) = pairs([np.stack([a, b])])
    assert (found.a_later, found.b_later, found.tied, found.both_beyond) == (9, 1, 3, 2)
    assert found.difference.p_value == pytest.approx(2 * (1 + 10) / 2**10)
    assert found.difference.difference == pytest.approx(8 / 13)
    three = pairs([np.stack([a, b]), np.stack([b, a]), np.stack([a, a])])
    assert [each.p_holm for each in three] == pytest.approx([3 * 22 / 1024, 3 * 22 / 1024, 1])
    assert [each.later for each in three] == [None, None, None]
    assert pairs([np.stack([a, b])])[0].later == 0
    assert pairs([np.stack([b, a])])[0].later == 1


def test_severities_by_which_shares_have_flipped_against_the_definition() -> None:
    values = np.array([0.2, 0.4, 0.6, 0.8, 1.0, np.inf, np.inf, np.inf])
    assert (reached(values, 0.25).value, reached(values, 0.5).value) == (0.4, 0.8)
    assert reached(values, 0.75).value == np.inf
    found = reached(np.random.default_rng(0).normal(size=400), 0.5)
    assert found.low < 0 < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * 1.2533 / 400**0.5, rel=0.25)
    assert all(np.isnan([each.value, each.low, each.high]).all() for each in [reached(np.empty(0), 0.5)])
    only = reached(np.full(9, np.inf), 0.5)
    assert (only.value, only.low, only.high) == (np.inf, np.inf, np.inf)


def test_rows_in_any_order_give_the_same_numbers() -> None:
    drawn = np.random.default_rng(1).uniform(0.1, 4, (3, 2, 30))
    drawn[drawn > HIGHEST] = np.inf
    _facts, rows = made_up(drawn)
    order = np.random.default_rng(2).permutation(len(rows["flips"]["image"]))
    shuffled = {name: column[order] for name, column in rows["flips"].items()}
    assert fates(shuffled, NAMES) == fates(rows["flips"], NAMES)
    assert np.allclose(severities(shuffled, NAMES[1]), drawn[1], atol=1e-6)


def simulated(generator: np.random.Generator, shift: float) -> np.ndarray:
    """Severities of flips `(3, 2, 60)`: what an image stands with both networks, and noise; `shift` more with B."""
    image = generator.normal(2, 0.7, (3, 1, 60))
    found = image + generator.normal(0, 0.4, (3, 2, 60)) + np.array([0, shift])[:, None]
    return np.where(found > HIGHEST, np.inf, np.maximum(found, 0.01))


def test_two_networks_alike_give_no_difference() -> None:
    """Of 200 comparisons of networks that are alike, about 5 % or fewer are called different in any degradation."""
    generator = np.random.default_rng(0)
    nulls = [pairs(list(simulated(generator, 0))) for _ in range(NULLS)]
    single = np.array([[each.difference.p_value < 0.05 for each in one] for one in nulls])
    assert 2 <= single[:, 0].sum() <= ALLOWED
    assert single.sum() <= 3 * ALLOWED
    assert sum(any(each.later is not None for each in one) for one in nulls) <= ALLOWED


def test_planted_differences_are_found() -> None:
    generator = np.random.default_rng(0)
    found = [pairs(list(simulated(generator, 0.4))) for _ in range(30)]
    assert np.mean([[each.later == 1 for each in one] for one in found]) > 0.8
    assert not any(each.later == 0 for one in found for each in one)


# What is said


def test_sentences_tables_and_numbers_agree() -> None:
    drawn = simulated(np.random.default_rng(4), 0.6)
    drawn[1], drawn[2, 0], drawn[2, 1] = drawn[1, :1], np.inf, 2.5
    facts, rows = made_up(drawn, returns=2)
    flips = section("flips")
    found = flips.summarise(facts, rows)
    assert found.verdict == (
        "As images get worse, one keeps its answers longer under JPEG compression, two keeps its answers longer under"
        " Gaussian blur, and neither is shown to flip later under Gaussian noise (60 images that both get right when"
        " clean; sign tests with Holm's correction)."
    )
    assert found.differs
    assert len(found.sentences) == 3
    assert (
        "0 answers of one were seen to flip (0 to 6 %); 60 answers of two were seen to flip (94 to 100 %)"
        in (found.sentences[2])
    )
    numbers = found.numbers["jpeg_compression"]
    assert (numbers["A later"], numbers["A"]["half"], numbers["B"]["half"]) == (60, None, 2.5)
    assert (numbers["A"]["returned"], numbers["B"]["returned"]) == (0, 60)
    assert json.loads(json.dumps(dict(found.numbers), allow_nan=False)) == found.numbers
    table = found.tables["Severity at which answers flip"]
    assert [row["no flip seen"] for row in table][-2:] == [60, 0]
    assert table[-1]["half: constants"] == "quality 25"
    assert "60 of the 60 images" in flips.method(facts, rows)
    assert "a scan in steps of 0.5 levels, along JPEG at every whole quality" in flips.method(facts, rows)
    assert all(words in flips.method(facts, rows) for words, of in MISSED.items() if "pixelate" not in of)
    assert not flips.applies(facts)
    assert flips.applies(cue_helpers.facts())


def test_the_same_share_is_told_of_both_networks() -> None:
    """Half of A's answers flip and a quarter of B's: a quarter is told of both, and half where both reach it."""
    drawn = np.full((1, 2, 60), np.inf)
    drawn[0, 0, :40], drawn[0, 1, :20] = np.linspace(0.5, 2, 40), np.linspace(0.5, 2, 20)
    (sentence,) = section("flips").summarise(*made_up(drawn, ("gaussian_blur",))).sentences
    assert sentence.count("a quarter of the answers of") == 2
    assert "half of" not in sentence
    drawn[0, 1, :35] = 1.5
    (sentence,) = section("flips").summarise(*made_up(drawn, ("gaussian_blur",))).sentences
    assert sentence.count("half of the answers of") == 2


def test_two_equal_networks_are_said_not_to_differ() -> None:
    drawn = simulated(np.random.default_rng(5), 0)
    drawn[:, 1] = drawn[:, 0]
    found = section("flips").summarise(*made_up(drawn))
    assert not found.differs
    assert "neither is shown to flip later under Gaussian blur, Gaussian noise and JPEG" in found.verdict
    assert all(found.numbers[name]["p"] == 1 for name in NAMES)


def test_stored_rows_give_the_same_numbers(tmp_path: Path) -> None:
    bench = grey_bench(Brightness(0.51), Brightness(0.61))
    flips = section("flips")
    rows = flips.measure(bench)
    store.write(tmp_path, bench.facts, flips, rows)
    again = store.read(tmp_path, bench.facts, flips)
    assert again is not None
    assert flips.summarise(bench.facts, again) == flips.summarise(bench.facts, rows)


# Figures


def texts(figure: Figure) -> str:
    found = [*figure.texts, *(text for axes in figure.axes for text in axes.texts)]
    return " | ".join(text.get_text() for text in found)


def test_the_distribution_ends_at_the_share_that_flips() -> None:
    drawn = simulated(np.random.default_rng(6), 0.5)
    facts, rows = made_up(drawn)
    figure = distribution_figure(facts, rows)
    assert len(figure.axes) == 6
    for name, axes in zip(NAMES, figure.axes[::2], strict=True):
        for line, values in zip(axes.lines, severities(rows["flips"], name), strict=True):
            assert line.get_ydata()[-1] == pytest.approx(100 * np.isfinite(values).mean())  # type: ignore[index]
        assert axes.lines[0].get_linestyle() != axes.lines[1].get_linestyle()
    pair = fates(rows["flips"], NAMES)["gaussian_blur"].pair
    assert f"A later {pair.a_later}" in texts(figure)
    assert f"B later {pair.b_later}" in texts(figure)
    assert "flip points" in section("flips").draw(facts, rows)


def test_a_filmstrip_stands_on_both_sides_of_the_flip() -> None:
    bench = grey_bench(Brightness(0.5, 0.6), Brightness(0.97))
    rows = section("flips").measure(bench)
    image = 8
    a, b = filmstrip(bench, [image], "brightness", rows)
    assert (a.letter, a.network, a.row, a.image_id, a.label) == ("A", "A: a", image, "grey 8", "dark")
    assert b.letter == "B"
    before, after = a.frames["before"], a.frames["after"]
    assert (a.frames["clean"].answer, before.answer, after.answer) == ("dark", "dark", "bright")
    assert 0 < after.severity - before.severity <= TOLERANCE
    assert a.returns > 0
    assert float(before.image.mean()) < 0.5 < float(after.image.mean())
    assert {int(frame.heatmap.targets[0]) for frame in a.frames.values()} == {0}
    assert list(b.frames) == ["clean", "before"]
    assert b.frames["before"].severity == HIGHEST
    traced = filmstrip(bench, [image], "brightness")
    assert [frame.severity for frame in traced[0].frames.values()] == [
        frame.severity for frame in a.frames.values()
    ]
    words = texts(filmstrip_figure([a, b, *traced]))
    assert "no flip seen\nup to 3" in words
    assert "↩" in words
    assert f"{after.severity:.2f}" in words


def test_filmstrips_refuse_what_there_is_not() -> None:
    bench = grey_bench(Brightness(0.5), Brightness(0.6))
    for rows in ([], [24], [-1], list(range(MOST + 1))):
        with pytest.raises(ExplanationError, match="allowed are 1 to 12 rows from 0 to 23"):
            filmstrip(bench, rows, "brightness")
    with pytest.raises(ExplanationError, match="is unknown; allowed are"):
        filmstrip(bench, [0], "rain")
    with pytest.raises(ExplanationError, match="snow is not on the scale paper-relative; allowed are"):
        filmstrip(bench, [0], "snow")


def test_shown_images_are_spread_over_those_that_flip_with_both() -> None:
    drawn = np.full((1, 2, 12), np.inf)
    drawn[0, :, :9] = np.arange(9, 0, -1) / 4
    drawn[0, 0, 11] = 1.0  # with A alone
    flips = flips_table(drawn, ["gaussian_blur"])
    assert spread_images(flips, "gaussian_blur") == [7, 4, 1]
    assert spread_images(flips_table(np.full((1, 2, 5), np.inf), ["gaussian_blur"]), "gaussian_blur") == []


def test_pictures_of_every_degradation_under_which_images_flip() -> None:
    bench = grey_bench(Brightness(0.5), Brightness(0.55), ("brightness", "gaussian_blur"))
    flips = section("flips")
    assert flips.pictures is not None
    found = flips.pictures(bench, bench.facts, flips.measure(bench))
    assert list(found) == ["filmstrip brightness"]
    assert "middle of the early" in texts(found["filmstrip brightness"]).replace("\n", " ")
