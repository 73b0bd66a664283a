"""What a network's rows amount to: a validity card of estimates, contests with baselines, and checks by rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from xai.attribution import METHODS
from xai.compare import resampling
from xai.compare.baselines import BASELINES, WORDS
from xai.compare.phrases import FEWEST, listed
from xai.compare.resampling import Estimate
from xai.compare.sections import Measured, Table
from xai.compare.study import Facts, Network
from xai.statistics import holm, wilson

PASSES, PARTLY, FAILS, OPEN = "passes", "passes in part", "fails", "can't be said"
OUTCOMES = (PASSES, PARTLY, FAILS, OPEN)
AGREES = 0.9
"""Maps are what the layer adds to the score where their mean correlation with HiResCAM's is surely at least this."""
SIMILAR = 0.5
"""Maps do not depend on what was learned where their mean rank correlation with the original ones is at least this
after everything down to the tapped layer was drawn anew."""
REAL = 0.05
ADDS, LEARNED = "what the layer adds", "what was learned"
CURVES = ("deletion", "insertion")
LANDING = {"hit": "pointing game", "energy": "energy in mask", "top": "top fifth in mask"}
TITLES = {"deletion": "deletion", "insertion": "insertion", **LANDING}


@dataclass(frozen=True)
class Contest:
    """The map less a baseline in one measure, image by image, with its p value and that adjusted by Holm for all
    contests of both networks."""

    measure: str
    baseline: str
    difference: Estimate
    p: float
    p_holm: float = float("nan")

    @property
    def outcome(self) -> str:
        """`better`, `worse`, or empty where no difference is shown; low areas of deletion are good."""
        if not self.p_holm < REAL:
            return ""
        return "better" if (self.difference.value > 0) != (self.measure == "deletion") else "worse"


@dataclass(frozen=True)
class Stage:
    """Maps once everything from the classifier down to this stage was drawn anew, over images (mean of their draws).

    `similarity` is the rank correlation with the original maps, `absolute` its absolute value, both of signed maps;
    of `maps` maps `blank` say nothing for the class, and `undefined` have no rank correlation.
    """

    name: str
    reached: bool
    similarity: Estimate
    absolute: Estimate
    maps: int
    blank: int
    undefined: int


@dataclass(frozen=True)
class Check:
    """One question to a network's maps, its outcome, and what was found in words."""

    name: str
    outcome: str
    words: str


@dataclass(frozen=True)
class Card:
    """All of one network. `levels` are the estimates of the map (`map`) and of each baseline by measure and by name,
    `area` the share of the image that masks take (None without masks), `blank` maps that say nothing of `images`."""

    network: Network
    method: str
    images: int
    blank: int
    agreement: Estimate
    faithful: Estimate
    levels: dict[str, dict[str, Estimate]]
    contests: tuple[Contest, ...]
    stages: tuple[Stage, ...]
    area: Estimate | None

    @property
    def title(self) -> str:
        """The method's title."""
        return METHODS[self.method].title

    @property
    def reached(self) -> Stage | None:
        """The first stage with which all above the tapped layer and what makes its output is drawn anew."""
        return next((stage for stage in self.stages if stage.reached), None)

    @property
    def checks(self) -> tuple[Check, ...]:
        """What the maps are held to, in order."""
        return (_adds(self), _learned(self), *(_beats(self, measure) for measure in self.levels))

    def check(self, name: str) -> Check:
        """One check by name."""
        return next(check for check in self.checks if check.name == name)


def cards(facts: Facts, rows: Measured) -> tuple[Card, Card]:
    """A's and B's; p values of all their contests together are adjusted by Holm."""
    a, b = (_card(facts, rows, place) for place in range(2))
    adjusted = holm([contest.p for card in (a, b) for contest in card.contests])
    return _adjusted(a, adjusted[: len(a.contests)]), _adjusted(b, adjusted[len(a.contests) :])


def _adjusted(card: Card, p_values: Sequence[float]) -> Card:
    pairs = zip(card.contests, p_values, strict=True)
    return replace(card, contests=tuple(replace(contest, p_holm=p) for contest, p in pairs))


def _card(facts: Facts, rows: Measured, place: int) -> Card:
    seed = facts.study.seed
    images, curves, weights = (_of(rows[name], place) for name in ("images", "curves", "weights"))
    agreement, faithful = resampling.estimates(
        np.stack([images["agreement"], images["faithful"]], axis=1), seed
    )
    levels, contests = _against(curves, CURVES, seed)
    area = None
    if "area" in images:
        area = resampling.mean(images["area"], seed)
        landed, further = _against(images, tuple(LANDING), seed)
        levels, contests = levels | landed, contests + further
    return Card(
        facts.networks[place],
        facts.study.method,
        len(images["image"]),
        int(images["blank"].sum()),
        agreement,
        faithful,
        levels,
        tuple(contests),
        _stages(weights, seed),
        area,
    )


def _of(table: Table, place: int) -> Table:
    own = table["network"] == place
    return {name: values[own] for name, values in table.items()}


def _against(
    table: Table, measures: Sequence[str], seed: int
) -> tuple[dict[str, dict[str, Estimate]], list[Contest]]:
    """Levels of each measure and the contests with each baseline, all on the same images."""
    names = [(measure, name) for measure in measures for name in ("map", *BASELINES)]
    values = np.stack([table[f"{measure}_{name}"].astype(np.float64) for measure, name in names], axis=1)
    found = dict(zip(names, resampling.estimates(values, seed), strict=True))
    levels = {
        measure: {
            name: _rate(table[f"{measure}_{name}"]) if measure == "hit" else found[measure, name]
            for name in ("map", *BASELINES)
        }
        for measure in measures
    }
    pairs = [(measure, name) for measure in measures for name in BASELINES]
    column = dict(zip(names, values.T, strict=True))
    differences = np.stack(
        [column[measure, "map"] - column[measure, name] for measure, name in pairs], axis=1
    )
    tested = zip(
        pairs,
        resampling.estimates(differences, seed),
        resampling.sign_flip_tests(differences, seed),
        strict=True,
    )
    return levels, [Contest(*pair, difference, float(p)) for pair, difference, p in tested]


def _rate(hits: np.ndarray) -> Estimate:
    """A share of yes and no with Wilson's interval."""
    return Estimate(float(hits.mean()), *wilson(int(hits.sum()), len(hits)), len(hits))


def _stages(table: Table, seed: int) -> tuple[Stage, ...]:
    found = []
    for step in np.unique(table["step"]):
        own = {name: values[table["step"] == step] for name, values in table.items()}
        found.append(
            Stage(
                str(own["stage"][0]),
                bool(own["reached"][0]),
                resampling.mean(_per_image(own["image"], own["spearman"]), seed),
                resampling.mean(_per_image(own["image"], np.abs(own["spearman"])), seed),
                len(own["image"]),
                int(own["blank"].sum()),
                int(np.isnan(own["spearman"]).sum()),
            )
        )
    return tuple(found)


def _per_image(images: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Mean of what is defined of each image, `(n,)`; NaN where nothing is."""
    _, place = np.unique(images, return_inverse=True)
    defined = ~np.isnan(values)
    counts = np.bincount(place, defined)
    sums = np.bincount(place, np.where(defined, values, 0).astype(np.float64))
    return np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)


def _adds(card: Card) -> Check:
    found = card.faithful
    if card.method == "hirescam":
        return Check(
            ADDS, PASSES, "HiResCAM is what the layer adds to the score, to first order, by its definition"
        )
    words = f"correlation with HiResCAM {found.words()}; {AGREES:g} and more passes"
    return Check(ADDS, _above(found, AGREES), words)


def _learned(card: Card) -> Check:
    stage = card.reached
    if stage is None:
        return Check(
            LEARNED, OPEN, "the tapped layer has no weights above or before it that could be drawn anew"
        )
    outcome = {PASSES: FAILS, FAILS: PASSES, OPEN: OPEN}[_above(stage.similarity, SIMILAR)]
    words = (
        f"rank correlation with the map before {stage.similarity.words()} once everything from the classifier down to"
        f" {stage.name} is drawn anew; below {SIMILAR:g} passes"
    )
    if outcome == PASSES and stage.absolute.value >= SIMILAR:
        words += f"; up to its sign the map is much the same ({stage.absolute.words()} without signs)"
    return Check(LEARNED, outcome, words)


def _above(found: Estimate, threshold: float) -> str:
    """Passes where the whole interval is at or above the threshold, fails where it is below, open otherwise."""
    if found.n < FEWEST or not found.low < threshold <= found.high:
        return OPEN if found.n < FEWEST else PASSES if found.low >= threshold else FAILS
    return OPEN


def _beats(card: Card, measure: str) -> Check:
    """Passes where the map is better than every baseline, in part where it is better than a random one; fails where it
    is not shown to be that, and worse than any."""
    contests = {contest.baseline: contest for contest in card.contests if contest.measure == measure}
    outcomes = {name: contest.outcome for name, contest in contests.items()}
    if min(contest.difference.n for contest in contests.values()) < FEWEST:
        return Check(TITLES[measure], OPEN, f"fewer than {FEWEST} images have a number")
    return Check(TITLES[measure], _outcome(outcomes), outcome_words(outcomes))


def _outcome(outcomes: dict[str, str]) -> str:
    if outcomes["random"] == "better":
        return PASSES if set(outcomes.values()) == {"better"} else PARTLY
    return FAILS if "worse" in outcomes.values() else OPEN


def outcome_words(outcomes: dict[str, str]) -> str:
    """Such as `better than a random map, not shown to differ from a centre Gaussian and an edge map`."""
    said = {"better": "better than", "worse": "worse than", "": "not shown to differ from"}
    parts = [
        f"{words} {listed([WORDS[name] for name, found in outcomes.items() if found == outcome])}"
        for outcome, words in said.items()
        if outcome in outcomes.values()
    ]
    return ", ".join(parts)
