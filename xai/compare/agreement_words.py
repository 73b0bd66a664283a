"""The sentences and tables of agreement: what is known of A, B and their seeds, and what isn't."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from xai.compare.agreement_rows import SHUFFLES
from xai.compare.map_seeds import SeedNull, seeds_needed
from xai.compare.phrases import moving_words
from xai.compare.resampling import FLIPS
from xai.compare.sections import Measured
from xai.compare.study import LETTERS, Facts
from xai.tables import p_value

if TYPE_CHECKING:
    from xai.compare.agreement_found import Seen, Tested

SHUFFLED = ("shuffled", "shuffled_class")
"""Columns with the agreement of an image's map of A with B's maps of other images, all or of its class."""
_LEVEL = 0.05


def kind_of(facts: Facts, found: Seen, *, one: bool) -> str:
    """Which of the answers it is, by name: `one` network, two `seeds`, `undefined`, `no_null`, `differ`,
    `too_few` networks for the most extreme split to count, or `alike`. `one` says that both are of one training."""
    a, b = facts.networks
    if not found.measures["spearman"].n:
        return "undefined"
    if one:
        return "one" if a.name == b.name and a.layer == b.layer else "seeds"
    if found.null is None:
        return "no_null"
    if found.null.p_value < _LEVEL:
        return "differ"
    extreme = found.null.p_value <= found.null.least_p + 1e-12 and found.null.difference > 0
    return "too_few" if extreme else "alike"


def what(facts: Facts) -> str:
    """What A and B differ in: architectures, or the training alone."""
    a, b = facts.networks
    return "architectures" if a.architecture != b.architecture else "trainings"


def verdict(facts: Facts, found: Seen, kind: str) -> str:
    """The answer in one sentence."""
    a, b = facts.names
    said = {
        "one": _one,
        "seeds": _seeds,
        "undefined": _undefined,
        "no_null": _no_null,
        "differ": _differ,
        "too_few": _too_few,
        "alike": _alike,
    }
    return said[kind](facts, found).format(a=a, b=b)


def _one(facts: Facts, found: Seen) -> str:
    return f"{{a}} and {{b}} are one network: its maps agree with themselves, {found.measures['spearman'].words()}."


def _undefined(facts: Facts, found: Seen) -> str:
    return "Nothing can be said: there is no image on which the maps of {a} and {b} can be compared."


def _seeds(facts: Facts, found: Seen) -> str:
    others = found.on_common.get("a")
    beside = (
        f"; on images that all of their seeds call the same, other pairs of seeds agree by {others.words()}"
        if others and others.n and facts.networks[0].peers[1:]
        else ""
    )
    return (
        "{a} and {b} are two seeds of one training, so that nothing here is a difference between architectures: "
        f"the rank correlation of their maps is {found.measures['spearman'].words()}{beside}."
    )


def _no_null(facts: Facts, found: Seen) -> str:
    start = f"The rank correlation of the maps of {{a}} and {{b}} is {found.measures['spearman'].words()}"
    if found.closer:
        return (
            f"{start}; on too few images do all seeds predict the same class, so no difference between {what(facts)} "
            "can be claimed."
        )
    return (
        f"{start}, {_beyond(found)}; no second seed of either is there, so the seed null is missing and no difference "
        f"between {what(facts)} can be claimed."
    )


def _differ(facts: Facts, found: Seen) -> str:
    null = _null(found)
    return (
        f"{{a}} and {{b}} look at different places by more than two seeds of one training do: {_sides(facts, null)} "
        f"({_counted(null)}, p = {p_value(null.p_value)})."
    )


def _too_few(facts: Facts, found: Seen) -> str:
    null = _null(found)
    needed = seeds_needed(null.networks)
    return (
        f"The maps of {{a}} and {{b}} agree less than those of two seeds of one training, {_sides(facts, null)}, but "
        f"{_counted(null)} can't give p below {p_value(null.least_p)}, which is what they give: a difference between "
        f"{what(facts)} is not settled with fewer than {needed} networks of each."
    )


def _alike(facts: Facts, found: Seen) -> str:
    null = _null(found)
    return (
        "{a} and {b} are not shown to look at different places by more than two seeds of one training do: "
        f"{_sides(facts, null)} ({_counted(null)}, p = {p_value(null.p_value)}, least possible "
        f"{p_value(null.least_p)})."
    )


def _sides(facts: Facts, null: SeedNull) -> str:
    return f"rank correlation {null.between:.2f} between the {what(facts)} and {null.within:.2f} within one"


def _null(found: Seen) -> SeedNull:
    if found.null is None:
        raise ValueError("there is no seed null to speak of.")
    return found.null


def _counted(null: SeedNull) -> str:
    return f"{null.networks[0]} and {null.networks[1]} networks"


def _beyond(found: Seen) -> str:
    """How agreement stands to that of shuffled images."""
    more = [found.shuffled[name][2] for name in SHUFFLED]
    if _more(more[1]):
        return "more than for other images of the same class"
    return (
        "more than for other images, but not than for others of the same class"
        if _more(more[0])
        else ("not more than for other images")
    )


def _more(test: Tested) -> bool:
    return bool(test.p_holm < _LEVEL and test.estimate.value > 0)


def sentences(facts: Facts, found: Seen, kind: str, counts: Mapping[str, int]) -> tuple[str, ...]:
    """What there is to say, each with its n and interval."""
    told = [_on_same(facts, found, counts), *_on_shuffled(found)]
    if kind not in ("one", "undefined"):
        told += [*_on_seeds(facts, found), *_network_test(facts, found)]
    told += [_on_centre(facts, found), *_on_method(facts, found)]
    return (*told, *_on_conditions(facts, found))


def _on_same(facts: Facts, found: Seen, counts: Mapping[str, int]) -> str:
    rank, overlap = found.measures["spearman"], found.measures["overlap"]
    height, width = facts.common_grid
    return (
        f"On the {counts['same']:,} of {counts['images']:,} clean images on which both predict the same class, and "
        f"explain it, the rank correlation of their maps is {rank.words()}, and of the highest 20 % of the cells they "
        f"share {overlap.words(1, percent=True)} ({height} x {width} cells); on all images, each for its own "
        f"prediction, the rank correlation is {found.everywhere.words()}."
    )


def _on_shuffled(found: Seen) -> list[str]:
    told = []
    for name, others in zip(
        SHUFFLED, ("another image", "another image of the same predicted class"), strict=True
    ):
        _, other, more = found.shuffled[name]
        told.append(
            f"A's map of an image and B's of {others} agree by {other.words()}: the same image adds "
            f"{more.estimate.words()}, {_p(more)}."
            if more.estimate.n
            else f"A's map of an image could not be set beside B's of {others}."
        )
    return told


def _p(test: Tested) -> str:
    if test.p_holm != test.p_holm:
        return "not tested"
    word = p_value(test.p_holm)
    return f"p {word}" if word.startswith("<") else f"p = {word}"


def _on_seeds(facts: Facts, found: Seen) -> list[str]:
    """Agreement with other seeds on the same images; it speaks of these weights."""
    told = []
    for letter, name in zip("ab", facts.names, strict=True):
        own, test = found.on_common.get(letter), found.closer.get(letter)
        if own is None or test is None or not test.estimate.n:
            continue
        more = test.estimate
        side = "more" if more.value >= 0 else "less"
        told.append(
            f"Two seeds of {name} agree by {own.words()} on images that all networks call the same, A and B there by "
            f"{found.on_common['ab'].words()}; {letter.upper()} agrees with its own seeds {side} than with the other, "
            f"by {more.words()}, {_p(test)}: this test is over images and speaks of these weights only."
        )
    missing = [n for letter, n in zip("ab", facts.names, strict=True) if letter not in found.closer]
    if missing and found.closer:
        told.append(f"Of {missing[0]} there is no second seed: how far two seeds of it differ is not known.")
    return told


def _network_test(facts: Facts, found: Seen) -> list[str]:
    null = found.null
    if null is None:
        return []
    below = "below" if null.highest_between < null.lowest_within else "not all below"
    found_p, least_p = p_value(null.p_value), p_value(null.least_p)
    return [
        f"Between the {what(facts)}, pairs of networks agree by {null.lowest_between:.2f} to "
        f"{null.highest_between:.2f}, {below} those within one ({null.lowest_within:.2f} to "
        f"{null.highest_within:.2f}); sharing the {sum(null.networks)} networks out in all {null.ways:,} ways gives "
        f"p = {found_p}, and with so few none below {least_p} is possible."
    ]


def _on_centre(facts: Facts, found: Seen) -> str:
    a, b = found.centre
    return (
        f"With a Gaussian in the middle of the image the maps of {facts.names[0]} agree by {a.words()}, those of "
        f"{facts.names[1]} by {b.words()}; without each network's mean map, A and B still agree by "
        f"{found.measures['centred'].words()}."
    )


def _on_method(facts: Facts, found: Seen) -> list[str]:
    """Whether it is the method in which the two differ: Grad-CAM means another thing under another head."""
    a, b = found.judged
    means = [
        f"{name} {within:.2f} within and {between:.2f} between"
        for name, (within, between) in zip(
            ("overlap of the highest cells", "maps without their means", "HiResCAM"),
            found.other_measures.values(),
            strict=True,
        )
        if within == within and between == between
    ]
    told = [
        f"Grad-CAM and HiResCAM go together by {a.words()} (Pearson) in {facts.names[0]} and by {b.words()} in "
        f"{facts.names[1]}; by HiResCAM, A and B agree by {found.measures['hirescam'].words()}."
    ]
    if found.null is not None and means:
        told.append(f"Other measures of two networks, not tested: {'; '.join(means)} the {what(facts)}.")
    return told


def _on_conditions(facts: Facts, found: Seen) -> list[str]:
    told = zip(found.changes, found.agreement[1:], facts.conditions[1:], found.idle, strict=True)
    degraded = [row[:3] for row in told if row[0].estimate.n and not row[3]]
    if not degraded:
        return []
    least = min(degraded, key=lambda row: row[1].value)
    less = sum(row[0].p_holm < _LEVEL and row[0].estimate.value < 0 for row in degraded)
    more = sum(row[0].p_holm < _LEVEL and row[0].estimate.value > 0 for row in degraded)
    return [
        f"Of {moving_words(len(degraded), sum(found.idle))} A and B agree less than on the clean images under {less} "
        f"and more under {more} (sign flips, Holm); least under {least[2].words}, {least[1].words()}."
    ]


def undefined(facts: Facts, counts: Mapping[str, int]) -> tuple[str, ...]:
    """What was counted but has no number."""
    a, b = facts.names
    told = [
        (
            counts["different"],
            "clean images on which A and B predict different classes: left out of the main analysis",
        ),
        (counts["constant_a"], f"clean images of which the map of {a} is constant"),
        (counts["constant_b"], f"clean images of which the map of {b} is constant"),
        (counts["constant_others"], "maps of other seeds that are constant"),
        (
            counts["blank_degraded"],
            f"of {counts['degraded']:,} pairs of degraded maps, of which one is constant",
        ),
        (
            counts["idle"],
            "of the degraded conditions left out of counts and of Holm's family, as every image stays as it is",
        ),
        (counts["alone"], "images alone in their predicted class, which can't be shuffled within it"),
        (counts["small_classes"], "classes with fewer than 10 images, of which no agreement is given"),
    ]
    return tuple(f"{count:,} {words}." for count, words in told if count)


def method(facts: Facts, rows: Measured) -> str:
    """The sentences of a methods section."""
    height, width = facts.common_grid
    count = len(rows["networks"]["name"])
    return (
        f"Maps ({facts.study.method}) of {LETTERS[0]} and {LETTERS[1]} for the class that each predicts on the clean "
        f"image were averaged down to the common grid of {height} x {width} cells and compared image by image by "
        "Spearman's rank correlation (ties share their mean rank) and by the overlap of the highest 20 % of the cells "
        "(ties for the last places by lot). The main analysis takes the images on which both predict the same class. "
        "Three nulls were set beside it. Seeds: agreement with networks of the same training and other seeds, on clean "
        f"images on which all {count} networks predict the same class. Shuffled images: A's map of each image "
        "with B's of all others, and of all others of the same predicted class (exact means); p is one-sided, from "
        f"{SHUFFLES:,} random orders. Centre: agreement with a Gaussian in the middle, and agreement of A and B after "
        "each map was standardised and the network's mean map over the dataset taken away. A difference between "
        f"{what(facts)} is claimed only by an exact permutation test of networks: the mean rank correlation of two "
        "networks within a training less that between trainings, among all ways to share the networks out (one-sided, "
        "5 %). That A agrees more with its seeds than with B was also tested over images, by random signs of the "
        f"differences ({FLIPS:,} draws), which speaks of these weights only; these tests and those of shuffled images "
        "are one family, agreement under each condition that changes anything against that on clean images another, "
        "and p is adjusted within each by Holm's method."
    )
