"""What the answers to tagged scenes say: does a network look at the tag, and does it follow it?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from data.cue10 import SIZE, TAG
from xai.compare.phrases import difference_json, listed, p_words, percent, points, share, share_json
from xai.compare.resampling import Estimate, mean, sign_flips
from xai.compare.sections import Measured
from xai.compare.study import Facts, nan_to_none
from xai.metrics import Share
from xai.pairwise import REAL
from xai.statistics import Difference, holm, paired_difference
from xai.tables import Rows

CHANCE = TAG**2 / SIZE**2
"""The tag's share of the picture: that of the energy of a map that knows nothing."""
TESTS = 3
"""Per network: of the right tag's gain, of the wrong tag's following, and of the map's energy."""


@dataclass(frozen=True)
class Tagged:
    """One network's answers to n tagged scenes, as columns of the table `tags`, and energies in the same corner of the
    test split."""

    columns: dict[str, np.ndarray]
    corner: np.ndarray
    seed: int

    @cached_property
    def gain(self) -> Difference:
        """Accuracy with the right tag less that without: McNemar."""
        right = self.columns["label"]
        return paired_difference(self.columns["tagged"] == right, self.columns["plain"] == right, self.seed)

    @cached_property
    def following(self) -> Difference:
        """How much more often the answer is a class when its tag is planted on a scene of another: McNemar."""
        wrong = self.columns["wrong"]
        return paired_difference(self.columns["planted"] == wrong, self.columns["plain"] == wrong, self.seed)

    @cached_property
    def drawn(self) -> Estimate:
        """Energy of the map in the tag's place less that without the tag."""
        return mean(self.columns["energy_tagged"] - self.columns["energy_plain"], self.seed)

    @cached_property
    def p_values(self) -> tuple[float, float, float]:
        """Of `gain`, `following` and `drawn`, before correction."""
        change = self.columns["energy_tagged"] - self.columns["energy_plain"]
        return self.gain.p_value, self.following.p_value, sign_flips(change, self.seed)

    def energy(self, name: str) -> Estimate:
        """Mean energy in the tag's place: `tagged`, `plain`, or `corner` for the test split."""
        return mean(self.corner if name == "corner" else self.columns[f"energy_{name}"], self.seed)

    def changed(self, by: str) -> Share | None:
        """Share of answers that are others than without the tag, with the right tag or a wrong one."""
        name = {"right": "tagged", "wrong": "planted"}[by]
        return share(f"changed by the {by} tag", self.columns[name] != self.columns["plain"])

    def followed(self) -> Share | None:
        """Share of answers that are the class of the planted tag."""
        return share("follows a wrong tag", self.columns["planted"] == self.columns["wrong"])

    def accuracy(self, name: str) -> Share | None:
        """Share of right answers to scenes `tagged`, `plain` or `planted`."""
        return share(name, self.columns[name] == self.columns["label"])

    def sureness(self) -> Estimate:
        """Probability of the right class with its tag less that without."""
        return mean(self.columns["right_tagged"] - self.columns["right_plain"], self.seed)


@dataclass(frozen=True)
class Verdict:
    """Whether answers follow the tag and whether it draws the map, from p values adjusted over both networks."""

    tagged: Tagged
    p_holm: tuple[float, ...]

    @property
    def follows(self) -> bool:
        """Whether the right tag makes answers better, or a wrong one draws them to its class."""
        found = (self.tagged.gain, self.tagged.following)
        return any(p < REAL and each.difference > 0 for p, each in zip(self.p_holm[:2], found, strict=True))

    @property
    def lands(self) -> bool:
        """Whether the tag draws the map: it has more energy there than without the tag, and more than the tag's share
        of the picture. What lies there with and without a tag does not show it, whatever the answers follow."""
        drawn = self.p_holm[2] < REAL and self.tagged.drawn.value > 0
        return bool(drawn and self.tagged.energy("tagged").low > CHANCE)


def tags(facts: Facts, rows: Measured) -> tuple[Verdict, Verdict]:
    """What the rows of A and B say, with p values adjusted by Holm over the tests of both."""
    a, b = (_of(facts, rows, place) for place in range(2))
    adjusted = holm([*a.p_values, *b.p_values])
    return Verdict(a, adjusted[:TESTS]), Verdict(b, adjusted[TESTS:])


def _of(facts: Facts, rows: Measured, place: int) -> Tagged:
    table, corner = rows["tags"], rows["corner"]
    own = table["network"] == place
    order = np.argsort(table["image"][own], kind="stable")
    columns = {name: values[own][order] for name, values in table.items()}
    return Tagged(columns, corner["energy"][corner["network"] == place], facts.study.seed)


def verdict(facts: Facts, found: Sequence[Verdict]) -> str:
    """The part of the section's verdict that is about tags."""
    following = [name for name, each in zip(facts.names, found, strict=True) if each.follows]
    landing = [name for name, each in zip(facts.names, found, strict=True) if each.lands]
    answers = f"a tag that betrays the class sways the answers of {listed(following)}"
    maps = f"it draws the heatmap of {listed(landing)}"
    return ", and ".join(
        (
            answers if following else "no answers were found to follow a tag that betrays the class",
            maps if landing else "no heatmap was found to be drawn to it",
        )
    )


def sentences(facts: Facts, found: Sequence[Verdict]) -> list[str]:
    """What there is to say of each network."""
    return [
        words
        for name, each in zip(facts.names, found, strict=True)
        for words in (_answers(name, each), _maps(name, each))
    ]


def _answers(name: str, found: Verdict) -> str:
    tagged = found.tagged
    gain, following = (p_words(p) for p in found.p_holm[:2])
    return (
        f"{name} is right about {percent(tagged.accuracy('plain'))} of the scenes without a tag; the right tag adds "
        f"{points(tagged.gain)}, {gain} after Holm, changes {percent(tagged.changed('right'))} of the answers, and the "
        f"probability of the right class by {tagged.sureness().words(2, percent=True)}. With a wrong class's tag, "
        f"{percent(tagged.followed())} of the answers are that class, {points(tagged.following)} more than without a "
        f"tag, {following}."
    )


def _maps(name: str, found: Verdict) -> str:
    tagged = found.tagged
    with_tag, without, corner = (
        tagged.energy(each).words(2, percent=True) for each in ("tagged", "plain", "corner")
    )
    return (
        f"The heatmap of {name} has {with_tag} of its positive energy on the tag, whose share of the picture is "
        f"{100 * CHANCE:.2f} %; at the same place it has {without} in the same scenes without the tag "
        f"({p_words(found.p_holm[2])} after Holm) and {corner} in the test split."
    )


def numbers(found: Sequence[Verdict]) -> dict[str, Any]:
    """Every number that the sentences have."""
    return {"chance": CHANCE, "networks": [_numbers(each) for each in found]}


def _numbers(found: Verdict) -> dict[str, Any]:
    tagged = found.tagged
    return {
        "accuracy": {name: share_json(tagged.accuracy(name)) for name in ("plain", "tagged", "planted")},
        "gain": difference_json(tagged.gain, found.p_holm[0]),
        "changed": {by: share_json(tagged.changed(by)) for by in ("right", "wrong")},
        "probability": tagged.sureness().to_json(),
        "followed": share_json(tagged.followed()),
        "following": difference_json(tagged.following, found.p_holm[1]),
        "energy": {name: tagged.energy(name).to_json() for name in ("tagged", "plain", "corner")},
        "drawn": {**tagged.drawn.to_json(), "p_holm": nan_to_none(found.p_holm[2])},
        "follows": found.follows,
        "lands": found.lands,
    }


def rows_of(facts: Facts, found: Sequence[Verdict]) -> Rows:
    """The numbers as a table, a row per question."""
    columns = [_cells(each) for each in found]
    return [
        {"question": head, **{name: cells[head] for name, cells in zip(facts.names, columns, strict=True)}}
        for head in columns[0]
    ]


def _cells(found: Verdict) -> dict[str, str]:
    tagged, (gain, following, drawn) = found.tagged, (p_words(p) for p in found.p_holm)
    return {
        "right, no tag": percent(tagged.accuracy("plain")),
        "right, right tag": percent(tagged.accuracy("tagged")),
        "right, wrong tag": percent(tagged.accuracy("planted")),
        "gain by the right tag": f"{points(tagged.gain)}, {gain} (Holm)",
        "answers changed by the right tag": percent(tagged.changed("right")),
        "answers changed by a wrong tag": percent(tagged.changed("wrong")),
        "answers that follow a wrong tag": percent(tagged.followed()),
        "... more than without a tag": f"{points(tagged.following)}, {following} (Holm)",
        "change of the right class's probability": tagged.sureness().words(2, percent=True),
        "energy of the map on the tag": tagged.energy("tagged").words(2, percent=True),
        "... at its place without the tag": tagged.energy("plain").words(2, percent=True),
        "... at its place in the test split": tagged.energy("corner").words(2, percent=True),
        "energy drawn by the tag": f"{tagged.drawn.words(2, percent=True)}, {drawn} (Holm)",
        "energy by chance": f"{100 * CHANCE:.2f} %",
    }


def undefined(facts: Facts, found: Sequence[Verdict]) -> list[str]:
    """How many maps have no positive part."""
    sentences = []
    for name, each in zip(facts.names, found, strict=True):
        blank = [each.tagged.energy(kind).undefined for kind in ("tagged", "plain", "corner")]
        if any(blank):
            sentences.append(
                f"{name} has no positive evidence in {blank[0]:,} maps of scenes with a tag, {blank[1]:,} without it "
                f"and {blank[2]:,} of the test split: they have no energy to place."
            )
    return sentences


def method(facts: Facts, found: Sequence[Verdict]) -> str:
    """What was done, for a methods section."""
    count = len(found[0].tagged.columns["label"])
    return (
        f"{count:,} scenes of cue10 shortcut were shown with the tag of their class ({TAG} x {TAG} px in a corner), "
        f"with what the tag hides, and with the tag of one of the nine other classes in turn. Answers were compared "
        f"by exact McNemar tests; the energy of the positive part of {facts.study.method} maps (for the class answered "
        f"with the tag, enlarged to {SIZE} px) in the tag's place by sign flips over scenes; Holm over these "
        f"{TESTS} tests of both networks."
    )
