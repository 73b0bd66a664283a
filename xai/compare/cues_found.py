"""What the answers to conflicting cues say: shape bias by network, condition and class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from xai.compare import cues_words, tags_found
from xai.compare.phrases import (
    FEWEST,
    difference_json,
    percent,
    points,
    share,
    share_json,
)
from xai.compare.sections import Found, Measured
from xai.compare.study import Facts
from xai.metrics import Share
from xai.pairwise import Compared, family
from xai.statistics import Difference, paired_difference
from xai.tables import Rows, p_value

SHAPE, TEXTURE, NEITHER, NOT_ASKED = 1, 0, -1, -2
CUES = ("shape", "texture")


@dataclass(frozen=True)
class Conflict:
    """Which cue each answer follows, int8 `(2, C, n)` of networks, conditions and scenes (`SHAPE`, `TEXTURE`,
    `NEITHER`, `NOT_ASKED`), and the classes of the scenes' two cues, int64 `(n,)` each."""

    cue: np.ndarray
    classes: dict[str, np.ndarray]
    count: int
    seed: int

    def bias(self, place: int, condition: int = 0, among: np.ndarray | slice = slice(None)) -> Share | None:
        """Shape bias: answers by shape among those by shape or texture (Geirhos et al., ICLR 2019)."""
        cue = self.cue[place, condition][among]
        return share("shape bias", cue[cue >= TEXTURE] == SHAPE)

    def neither(self, place: int, condition: int = 0) -> Share | None:
        """Answers by neither cue among all."""
        cue = self.cue[place, condition]
        return share("neither", cue[cue > NOT_ASKED] == NEITHER)

    def follows(self, place: int, condition: int = 0) -> bool:
        """Whether answers follow a cue more often than guesses would, by the interval of `neither`: of K classes, two
        are a cue's. Guesses have a shape bias of a half, so where this is False the bias says nothing."""
        neither = self.neither(place, condition)
        return neither is not None and neither.high < 1 - 2 / self.count


def conflict(facts: Facts, rows: Measured) -> Conflict:
    """The rows as arrays, in whatever order they are."""
    table = rows["conflict"]
    images, at = np.unique(table["image"], return_inverse=True)
    cue = np.full((2, len(facts.conditions), len(images)), NOT_ASKED, np.int8)
    by_cue = [table["predicted"] == table["shape"], table["predicted"] == table["texture"]]
    cue[table["network"], table["condition"], at] = np.select(by_cue, [SHAPE, TEXTURE], NEITHER)
    classes = {name: np.zeros(len(images), np.int64) for name in CUES}
    for name in CUES:
        classes[name][at] = table[name]
    return Conflict(cue, classes, len(facts.classes), facts.study.seed)


def _paired(found: Conflict, first: np.ndarray, second: np.ndarray) -> Difference | None:
    """Shape bias of one less that of another on the scenes that both answer by a cue; None where these are few."""
    both = (first >= TEXTURE) & (second >= TEXTURE)
    if both.sum() < FEWEST:
        return None
    return paired_difference(first[both] == SHAPE, second[both] == SHAPE, found.seed)


def between(found: Conflict) -> dict[int, Compared]:
    """Shape bias of A less that of B by number of the condition: exact McNemar p, Holm over the conditions. Conditions
    under which one of them guesses (see `Conflict.follows`), or with fewer than `FEWEST` scenes that both answer by a
    cue, are left out: there is no bias to compare."""
    return _family(
        {
            number: _paired(found, *found.cue[:, number])
            for number in range(found.cue.shape[1])
            if found.follows(0, number) and found.follows(1, number)
        }
    )


def since_clean(found: Conflict) -> dict[tuple[int, int], Compared]:
    """Shape bias under a condition less that on the same clean scenes, by network and number of the condition: exact
    McNemar p, Holm over networks and conditions. Left out are conditions under which the network guesses (all, where
    it does on clean scenes): an answer that is the same for every scene has a shape bias of a half, and no cue."""
    pairs = [
        (place, number)
        for place in range(2)
        for number in range(1, found.cue.shape[1])
        if found.follows(place, 0) and found.follows(place, number)
    ]
    return _family(
        {
            (place, number): _paired(found, found.cue[place, number], found.cue[place, 0])
            for place, number in pairs
        }
    )


def _family(differences: dict[Any, Difference | None]) -> dict[Any, Compared]:
    named = {str(key): each for key, each in differences.items() if each is not None}
    keys = [key for key, each in differences.items() if each is not None]
    return dict(zip(keys, family(named), strict=True))


def by_class(found: Conflict, cue: str, count: int) -> list[tuple[Share | None, Share | None]]:
    """Shape bias of A and B on the clean scenes whose shape, or texture, is of each class; None for fewer than
    `FEWEST` counted answers."""
    among = [found.classes[cue] == number for number in range(count)]
    return [(_enough(found.bias(0, 0, rows)), _enough(found.bias(1, 0, rows))) for rows in among]


def _enough(found: Share | None) -> Share | None:
    return found if found and found.total >= FEWEST else None


def summarise(facts: Facts, rows: Measured) -> Found:
    """What the rows say; `differs` when the shape biases of the networks do under some condition."""
    found, tags = conflict(facts, rows), tags_found.tags(facts, rows)
    differences, changes = between(found), since_clean(found)
    return Found(
        f"{cues_words.verdict(facts, found, differences)}; {tags_found.verdict(facts, tags)}.",
        (
            *cues_words.bias_words(facts, found),
            *cues_words.between_words(facts, differences),
            *cues_words.change_words(facts, changes),
            *cues_words.guess_words(facts, found),
            *tags_found.sentences(facts, tags),
        ),
        {**_numbers(facts, found, differences, changes), "tags": tags_found.numbers(tags)},
        {
            "Shape bias": _condition_rows(facts, found, differences, changes),
            **{f"Shape bias by class of the {cue}": _class_rows(facts, found, cue) for cue in CUES},
            "The tag in the corner": tags_found.rows_of(facts, tags),
        },
        (*_undefined(facts, found, differences, changes), *tags_found.undefined(facts, tags)),
        any(each.real for each in differences.values()) if differences else None,
    )


def _numbers(
    facts: Facts,
    found: Conflict,
    differences: dict[int, Compared],
    changes: dict[tuple[int, int], Compared],
) -> dict[str, Any]:
    names = [condition.name for condition in facts.conditions]
    return {
        "shape_bias": [
            {name: share_json(found.bias(place, number)) for number, name in enumerate(names)}
            for place in range(2)
        ],
        "neither": [
            {name: share_json(found.neither(place, number)) for number, name in enumerate(names)}
            for place in range(2)
        ],
        "difference": {
            names[number]: difference_json(each.difference, each.p_holm)
            for number, each in differences.items()
        },
        "since_clean": [
            {
                names[number]: difference_json(each.difference, each.p_holm)
                for (at, number), each in changes.items()
                if at == place
            }
            for place in range(2)
        ],
        "guessed": [cues_words.guessed(facts, found, place) for place in range(2)],
        "by_class": {
            cue: [[share_json(each) for each in pair] for pair in by_class(found, cue, len(facts.classes))]
            for cue in CUES
        },
    }


def _condition_rows(
    facts: Facts,
    found: Conflict,
    differences: dict[int, Compared],
    changes: dict[tuple[int, int], Compared],
) -> Rows:
    rows = []
    for number, condition in enumerate(facts.conditions):
        row = {"condition": condition.title}
        for place, name in enumerate(facts.names):
            row[f"{name}: shape bias"] = percent(found.bias(place, number))
            row[f"{name}: neither"] = percent(found.neither(place, number))
            row[f"{name}: less clean"] = _points(changes.get((place, number)))
        row["A - B"] = _points(differences.get(number))
        row["A - B: p (Holm)"] = p_value(differences[number].p_holm) if number in differences else ""
        rows.append(row)
    return rows


def _points(found: Compared | None) -> str:
    return points(found.difference) + (" *" if found.real else "") if found else ""


def _class_rows(facts: Facts, found: Conflict, cue: str) -> Rows:
    few = f"fewer than {FEWEST} counted"
    rows = []
    for name, pair in zip(facts.classes, by_class(found, cue, len(facts.classes)), strict=True):
        words = [percent(each) if each else few for each in pair]
        rows.append({"class": name, **dict(zip(facts.names, words, strict=True))})
    return rows


def _undefined(
    facts: Facts,
    found: Conflict,
    differences: dict[int, Compared],
    changes: dict[tuple[int, int], Compared],
) -> list[str]:
    few = sum(
        each is None for cue in CUES for pair in by_class(found, cue, len(facts.classes)) for each in pair
    )
    sentences = [*cues_words.untested(facts, found, differences), *cues_words.unchanged(facts, changes)]
    if few:
        sentences.append(
            f"{few} cells of the tables by class have fewer than {FEWEST} counted answers and no share."
        )
    return sentences


def method(facts: Facts, rows: Measured) -> str:
    """What was done, for a methods section."""
    found = conflict(facts, rows)
    asked = (found.cue[0] > NOT_ASKED).sum(axis=1)
    degraded = (
        f" and {asked[1]:,} under each of {len(asked) - 1} degraded conditions" if len(asked) > 1 else ""
    )
    return (
        f"Shape bias (Geirhos et al., 2019) was measured on {asked[0]:,} clean scenes of cue10 conflict{degraded}, "
        f"as the share of answers with the shape's class among answers with the shape's or the texture's, with "
        f"Wilson intervals. Conditions under which a network's answers follow a cue no more often than guesses would "
        f"({200 / found.count:.0f} %, by the Wilson interval) were not tested. Networks were compared on scenes that "
        f"both answer by a cue, and conditions with the same clean scenes, by exact McNemar tests, Holm-corrected over "
        f"conditions (and networks), with BCa bootstrap intervals; these tests speak of the two networks, not of all "
        f"that could be trained alike. "
        f"{tags_found.method(facts, tags_found.tags(facts, rows))}"
    )
