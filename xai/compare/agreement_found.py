"""What the rows of agreement say: of A and B, of two seeds, of shuffled images, of the centre, and of degradations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np

from xai.compare import agreement_tables
from xai.compare import agreement_words as words
from xai.compare.map_seeds import SeedNull, seed_null
from xai.compare.phrases import FEWEST
from xai.compare.resampling import Estimate, estimates, mean, sign_flip_tests, sign_flips
from xai.compare.sections import Found, Measured
from xai.compare.study import Facts, nan_to_none
from xai.statistics import holm

MEASURES = ("spearman", "overlap", "centred", "hirescam")


def one_training(facts: Facts) -> bool:
    """Whether A and B are networks of one training: the same network, or two seeds."""
    a, b = facts.networks
    return b.name == a.name or b.name in a.peers


@dataclass(frozen=True)
class Rows:
    """The measured tables as arrays: K networks, A and B first, N images, C conditions."""

    facts: Facts
    tables: Measured

    @property
    def training(self) -> np.ndarray:
        """0 for networks of A's training, 1 for B's if that is another, `(K,)`."""
        return self.tables["networks"]["training"]

    @cached_property
    def pairs(self) -> dict[str, np.ndarray]:
        """Columns of the table of pairs, each `(K, K, N)` and symmetric; whether two networks explain the same class
        is `same`."""
        table, count = self.tables["pairs"], len(self.training)
        place = (table["first"], table["second"], table["image"])
        found = {}
        for name in ("same", *MEASURES):
            values = np.full((count, count, self.facts.images), np.nan)
            values[place] = table[name]
            values[place[1], place[0], place[2]] = table[name]
            found[name] = values
        return found

    @cached_property
    def same(self) -> np.ndarray:
        """Images on which A and B predict the same class, bool `(N,)`."""
        return self.pairs["same"][0, 1] == 1

    @cached_property
    def common(self) -> np.ndarray:
        """Images on which all networks predict the same class and all maps can be compared, bool `(N,)`."""
        upper = np.triu_indices(len(self.training), 1)
        every = (self.pairs["same"][upper] == 1).all(axis=0)
        return every & ~np.isnan(self.pairs["spearman"][upper]).any(axis=0)

    @cached_property
    def conditions(self) -> dict[str, np.ndarray]:
        """Columns of the table of conditions, float64 `(N, C)`, NaN where A and B don't explain the same class."""
        table = self.tables["conditions"]
        found = {}
        for name in ("spearman", "overlap", "shuffled", "shuffled_class"):
            values = np.full((self.facts.images, len(self.facts.conditions)), np.nan)
            values[table["image"], table["condition"]] = np.where(table["same"], table[name], np.nan)
            found[name] = values
        return found

    @cached_property
    def idle(self) -> np.ndarray:
        """Conditions but the clean one that leave every image as it is, bool `(C - 1,)`: every number that A and B's
        maps give, of an image and of others, is the clean one."""
        columns = np.stack(list(self.conditions.values()))
        same = (columns[..., 1:] == columns[..., :1]) | np.isnan(columns[..., 1:]) & np.isnan(
            columns[..., :1]
        )
        still: np.ndarray = same.all(axis=(0, 1)) & np.isfinite(columns).any(axis=(0, 1))[1:]
        return still

    def seeds_of(self, place: int) -> list[int]:
        """Numbers of the other networks of A's (0) or B's (1) training, without A and B."""
        return [k for k in range(2, len(self.training)) if self.training[k] == self.training[place]]

    def similarity(self, measure: str = "spearman") -> np.ndarray:
        """Mean agreement of every two networks on the images common to all, `(K, K)`, NaN on the diagonal."""
        values = self.pairs[measure][..., self.common]
        if values.shape[-1] == 0:
            return np.full(values.shape[:2], np.nan)
        return np.where(np.eye(len(values), dtype=bool), np.nan, values.mean(axis=-1))


@dataclass(frozen=True)
class Tested:
    """A mean difference over images with the p of flipping its signs, and that p adjusted for its family."""

    estimate: Estimate
    p_value: float
    p_holm: float = float("nan")

    def to_json(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            **self.estimate.to_json(),
            "p": nan_to_none(self.p_value),
            "p_holm": nan_to_none(self.p_holm),
        }


@dataclass(frozen=True)
class Seen:
    """All that is computed of the rows; `words` says it.

    `measures` are means over the images `same` to A and B, `everywhere` over all. `shuffled` and `shuffled_class` are
    of the same images as `beside` and `beside_class`. `on_common`, by `ab`, `a` and `b`, are agreements on the images
    that all networks call the same; `closer` how much more A (and B) agrees with its own seeds there. `judged` is how
    Grad-CAM and HiResCAM of A and of B go together; `other_measures` are means of pairs within and between trainings.
    """

    measures: Mapping[str, Estimate]
    everywhere: Estimate
    shuffled: Mapping[str, tuple[Estimate, Estimate, Tested]]
    on_common: Mapping[str, Estimate]
    closer: Mapping[str, Tested]
    null: SeedNull | None
    centre: tuple[Estimate, Estimate]
    judged: tuple[Estimate, Estimate]
    other_measures: Mapping[str, tuple[float, float]]
    changes: tuple[Tested, ...]
    idle: tuple[bool, ...]
    agreement: tuple[Estimate, ...]


def seen(rows: Rows) -> Seen:
    """Everything that the rows say, as numbers."""
    seed = rows.facts.study.seed
    shuffled = {name: beside_shuffled(rows, name, place) for place, name in enumerate(words.SHUFFLED)}
    sides = [] if one_training(rows.facts) else [place for place in (0, 1) if rows.seeds_of(place)]
    closer = {"ab"[place]: closer_to_seeds(rows, place) for place in sides}
    tests = [found[2] for found in shuffled.values()] + list(closer.values())
    adjusted = iter(_adjusted(tests))
    return Seen(
        {name: mean(rows.pairs[name][0, 1][rows.same], seed) for name in MEASURES},
        mean(rows.pairs["spearman"][0, 1], seed),
        {name: (*found[:2], next(adjusted)) for name, found in shuffled.items()},
        _on_common(rows),
        {letter: next(adjusted) for letter in closer},
        _null(rows),
        (_single(rows, 0, "spearman"), _single(rows, 1, "spearman")),
        (_single(rows, 0, "judged"), _single(rows, 1, "judged")),
        {name: _means(rows, name) for name in MEASURES[1:]},
        _changes(rows),
        tuple(rows.idle.tolist()),
        tuple(estimates(rows.conditions["spearman"], seed)),
    )


def beside_shuffled(rows: Rows, name: str, place: int) -> tuple[Estimate, Estimate, Tested]:
    """Agreement on the images that can be shuffled, that of shuffled ones, and the difference with its p.

    p is that of the mean agreement among the random orders: one-sided, and never below 1 / (orders + 1).
    """
    seed = rows.facts.study.seed
    other = rows.conditions[name][:, 0]
    own = np.where(np.isnan(other), np.nan, rows.conditions["spearman"][:, 0])
    beside, shuffled, more = (mean(values[rows.same], seed) for values in (own, other, own - other))
    table = rows.tables["shuffles"]
    orders = table["spearman"][table["within_class"] == place]
    p_value = float("nan")
    if more.n and len(orders):
        p_value = float(1 + (orders >= beside.value - 1e-6).sum()) / (1 + len(orders))
    return beside, shuffled, Tested(more, p_value)


def closer_to_seeds(rows: Rows, place: int) -> Tested:
    """How much more A (0) or B (1) agrees with its own seeds than with the other network, image by image."""
    spearman = rows.pairs["spearman"][..., rows.common]
    own = spearman[place, rows.seeds_of(place)].mean(axis=0)
    difference = own - spearman[0, 1]
    if len(difference) < FEWEST:
        return Tested(mean([]), float("nan"))
    seed = rows.facts.study.seed
    return Tested(mean(difference, seed), sign_flips(difference, seed))


def _adjusted(tests: list[Tested]) -> list[Tested]:
    adjusted = holm([test.p_value for test in tests])
    return [Tested(test.estimate, test.p_value, p) for test, p in zip(tests, adjusted, strict=True)]


def _on_common(rows: Rows) -> dict[str, Estimate]:
    spearman = rows.pairs["spearman"][..., rows.common]
    found = {"ab": spearman[0, 1]}
    for place, letter in enumerate("ab"):
        own = np.flatnonzero(rows.training == place).tolist()
        upper = [pair for pair in combinations(own, 2) if pair != (0, 1)]
        if upper:
            found[letter] = np.mean([spearman[pair] for pair in upper], axis=0)
    return {name: mean(values, rows.facts.study.seed) for name, values in found.items()}


def _null(rows: Rows) -> SeedNull | None:
    if one_training(rows.facts) or rows.common.sum() < FEWEST:
        return None
    return seed_null(rows.similarity(), rows.training == 1, rows.facts.study.seed)


def _means(rows: Rows, measure: str) -> tuple[float, float]:
    """Mean agreement of two networks within and between trainings by another measure; not tested."""
    if rows.common.sum() < FEWEST:
        return float("nan"), float("nan")
    upper = np.triu_indices(len(rows.training), 1)
    own = rows.training[upper[0]] == rows.training[upper[1]]
    values = np.array(
        [mean(rows.pairs[measure][i, j][rows.common]).value for i, j in zip(*upper, strict=True)]
    )
    within, between = (
        float(part.mean()) if len(part) else float("nan") for part in (values[own], values[~own])
    )
    return within, between


def _single(rows: Rows, network: int, name: str) -> Estimate:
    table = rows.tables["single"]
    return mean(table[name][table["network"] == network], rows.facts.study.seed)


def _changes(rows: Rows) -> tuple[Tested, ...]:
    """Agreement under each degradation less that on the clean images, Holm over all that change anything."""
    values = rows.conditions["spearman"]
    changes, seed = values[:, 1:] - values[:, :1], rows.facts.study.seed
    p_values = np.where(rows.idle, np.nan, sign_flip_tests(changes, seed))
    tests = zip(estimates(changes, seed), p_values, strict=True)
    return tuple(_adjusted([Tested(estimate, float(p)) for estimate, p in tests]))


def summarise(facts: Facts, rows: Measured) -> Found:
    """Whether A and B look at the same places, and whether they differ by more than two seeds do."""
    read = Rows(facts, rows)
    found = seen(read)
    kind = words.kind_of(facts, found, one=one_training(facts))
    return Found(
        words.verdict(facts, found, kind),
        words.sentences(facts, found, kind, counts(read)),
        numbers(read, found, kind),
        agreement_tables.tables(read, found),
        words.undefined(facts, counts(read)),
        {"differ": True, "alike": False}.get(kind),
    )


def counts(rows: Rows) -> dict[str, int]:
    """How many images there are of each kind, and how many have no number."""
    table, labels = rows.tables["single"], rows.tables["images"]["class"][rows.same]
    constant = [int(table["constant"][table["network"] == k].sum()) for k in range(len(rows.training))]
    _, sizes = np.unique(labels, return_counts=True)
    clean = rows.conditions
    alone = ~np.isnan(clean["spearman"][:, 0]) & np.isnan(clean["shuffled_class"][:, 0])
    cells = rows.tables["conditions"]
    moved = cells["same"] & np.append(False, ~rows.idle)[cells["condition"]]
    return {
        "images": rows.facts.images,
        "same": int(rows.same.sum()),
        "different": int((~rows.same).sum()),
        "common": int(rows.common.sum()),
        "networks": len(rows.training),
        "constant_a": constant[0],
        "constant_b": constant[1],
        "constant_others": sum(constant[2:]),
        "alone": int(alone.sum()),
        "small_classes": int((sizes < FEWEST).sum()),
        "blank_degraded": int((moved & np.isnan(cells["spearman"])).sum()),
        "degraded": int(moved.sum()),
        "idle": int(rows.idle.sum()),
    }


def _json(null: SeedNull | None) -> dict[str, Any] | None:
    return None if null is None else {**asdict(null), "networks": list(null.networks)}


def numbers(rows: Rows, found: Seen, kind: str) -> dict[str, Any]:
    """Every number quoted, JSON-able."""
    names = [condition.name for condition in rows.facts.conditions]
    return {
        "kind": kind,
        "counts": counts(rows),
        "agreement": {name: estimate.to_json() for name, estimate in found.measures.items()},
        "all_images": found.everywhere.to_json(),
        "shuffled": {
            name: {"agreement": own.to_json(), "shuffled": other.to_json(), "more": more.to_json()}
            for name, (own, other, more) in found.shuffled.items()
        },
        "on_common": {name: estimate.to_json() for name, estimate in found.on_common.items()},
        "closer_to_seeds": {letter: test.to_json() for letter, test in found.closer.items()},
        "networks_test": _json(found.null),
        "centre": {letter: estimate.to_json() for letter, estimate in zip("ab", found.centre, strict=True)},
        "gradcam_hirescam": {letter: e.to_json() for letter, e in zip("ab", found.judged, strict=True)},
        "other_measures": {
            name: {"within": nan_to_none(within), "between": nan_to_none(between)}
            for name, (within, between) in found.other_measures.items()
        },
        "conditions": {name: e.to_json() for name, e in zip(names, found.agreement, strict=True)},
        "idle": [name for name, idle in zip(names[1:], found.idle, strict=True) if idle],
        "changes": {name: test.to_json() for name, test in zip(names[1:], found.changes, strict=True)},
    }
