"""What the answers to filtered images say of the frequencies that two networks rely on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from xai.compare.bands import Filter, filters
from xai.compare.phrases import FEWEST, difference_json, listed, p_words, percent, points, share, share_json
from xai.compare.resampling import RESAMPLES, Estimate, estimates, resampled
from xai.compare.sections import Found, Measured
from xai.compare.study import Facts, nan_to_none
from xai.metrics import Share
from xai.pairwise import Compared, family
from xai.statistics import paired_difference
from xai.tables import Rows, p_value


@dataclass(frozen=True)
class Asked:
    """The rows as arrays, of n images and F filters: `correct` bool and `margin` float64 `(2, n, F)`, `clipped` and
    `kept` float64 `(n, F)`, `labels` int64 `(n,)`."""

    filters: tuple[Filter, ...]
    labels: np.ndarray
    correct: np.ndarray
    margin: np.ndarray
    clipped: np.ndarray
    kept: np.ndarray
    seed: int

    @cached_property
    def stops(self) -> list[int]:
        """Numbers of the filters that take one band away, from coarse to fine."""
        return [number for number, each in enumerate(self.filters) if each.kind == "stop"]

    @property
    def bands(self) -> list[str]:
        """What the bands are called, in cycles per image."""
        return [self.filters[number].title for number in self.stops]

    @cached_property
    def drops(self) -> np.ndarray:
        """By how much each image's answer is less right without each band, -1, 0 or 1, float64 `(2, n, bands)`."""
        whole, without = self.correct[..., :1], self.correct[..., self.stops]
        return whole.astype(np.float64) - without

    def accuracy(self, place: int, number: int) -> Share | None:
        """Share of right answers of a network behind a filter."""
        return share(self.filters[number].title, self.correct[place, :, number])


@dataclass(frozen=True)
class Top:
    """Which band a network relies on most: its number, the share of resamples in which it is that one, and from which
    to which band 95 % of resamples have it. `clear` says whether taking away any band makes answers worse at all."""

    band: int
    share: float
    low: int
    high: int
    clear: bool


def asked(facts: Facts, rows: Measured) -> Asked:
    """The rows as arrays."""
    chosen, images = filters(facts.size), rows["images"]["image"]
    order = np.argsort(images)
    places = {name: np.searchsorted(images, table["image"], sorter=order) for name, table in rows.items()}
    found: dict[str, np.ndarray] = {}
    for name, table in (("pixels", rows["pixels"]), ("answers", rows["answers"])):
        at: tuple[np.ndarray, ...] = (places[name], table["filter"])
        at = at if name == "pixels" else (table["network"], *at)
        shape = ((2,) if name == "answers" else ()) + (len(images), len(chosen))
        for head in set(table) - {"image", "filter", "network"}:
            found[head] = np.full(shape, np.nan)
            found[head][at] = table[head]
    found["correct"] = found["correct"] == 1
    labels = rows["images"]["label"][order].astype(np.int64)
    return Asked(chosen, labels, seed=facts.study.seed, **found)


def reliance(found: Asked, place: int) -> list[Compared]:
    """How much accuracy is lost without each band, exact McNemar p, Holm over the bands."""
    whole, seed = found.correct[place, :, 0], found.seed
    return family(
        {
            name: paired_difference(whole, found.correct[place, :, number], seed)
            for name, number in zip(found.bands, found.stops, strict=True)
        }
    )


def between(found: Asked) -> list[Compared]:
    """How much more accuracy A loses without each band than B: exact sign-flip p, Holm over the bands."""
    a, b = found.drops
    return family(
        {name: paired_difference(a[:, band], b[:, band], found.seed) for band, name in enumerate(found.bands)}
    )


def margins(found: Asked, place: int) -> list[Estimate]:
    """By how much the true class's logit, less the mean logit, falls without each band, in logits."""
    whole, without = found.margin[place, :, :1], found.margin[place][:, found.stops]
    return estimates(whole - without, found.seed)


def tops(found: Asked, lost: Sequence[list[Compared]]) -> tuple[Top, Top, tuple[int, int]]:
    """The band that A and B each rely on most, and the 95 % interval of how many bands A's is finer than B's. `lost` is
    the `reliance` of both."""
    count = len(found.bands)
    means = resampled(np.concatenate(list(found.drops), axis=1), found.seed)
    best = means.reshape(RESAMPLES, 2, count).argmax(axis=2)
    a, b = (_top(found, place, best[:, place], lost[place]) for place in range(2))
    return a, b, _ends(best[:, 0] - best[:, 1])


def _top(found: Asked, place: int, best: np.ndarray, lost: list[Compared]) -> Top:
    band = int(found.drops[place].mean(axis=0).argmax())
    clear = any(each.real and each.difference.difference > 0 for each in lost)
    return Top(band, float((best == band).mean()), *_ends(best), clear)


def _ends(values: np.ndarray) -> tuple[int, int]:
    low, high = np.quantile(values, (0.025, 0.975), method="inverted_cdf")
    return int(low), int(high)


def by_class(found: Asked) -> dict[int, list[Estimate]]:
    """Accuracy lost by the images of each class without each band: those of A, then those of B. Classes of fewer than
    `FEWEST` images are left out."""
    numbers, counts = np.unique(found.labels, return_counts=True)
    drops = np.concatenate(list(found.drops), axis=1)
    return {
        int(number): estimates(drops[found.labels == number], found.seed)
        for number, count in zip(numbers, counts, strict=True)
        if count >= FEWEST
    }


def summarise(facts: Facts, rows: Measured) -> Found:
    """What the rows say; `differs` when without some band one network loses more accuracy than the other."""
    found = asked(facts, rows)
    lost, differences = [reliance(found, place) for place in range(2)], between(found)
    best, classes = tops(found, lost), by_class(found)
    sentences = [
        _network_words(facts, found, place, losses, top)
        for place, (losses, top) in enumerate(zip(lost, best[:2], strict=True))
    ]
    return Found(
        f"{_most(facts, found, lost, best)} {_difference(facts, differences)}",
        (*sentences, _differences(facts, differences), _top_words(facts, found, best), _pixel_words(found)),
        _numbers(found, lost, differences, best, classes),
        {
            "Accuracy behind filters": _filter_rows(facts, found),
            "Reliance on bands": _reliance_rows(facts, found, lost, differences),
            "Accuracy lost without a band, by class": _class_rows(facts, found, classes),
        },
        tuple(_undefined(facts, found, classes)),
        any(each.real for each in differences),
    )


def _most(facts: Facts, found: Asked, lost: list[list[Compared]], best: tuple[Top, Top, Any]) -> str:
    """The first part of the verdict: what each needs most."""
    words = []
    for name, losses, top in zip(facts.names, lost, best[:2], strict=True):
        if not top.clear:
            words.append(f"{name} needs no single band")
            continue
        fall = 100 * losses[top.band].difference.difference
        which = "" if top.low == top.high else f" without {found.bands[top.band]}"
        words.append(
            f"{name} needs {_reach(found, top)} cycles per image most ({fall:.0f} points are lost{which})"
        )
    return f"{listed(words)}."


def _reach(found: Asked, top: Top) -> str:
    """The band needed most, or from which to which band it may be: as many as 95 % of resamples have."""
    if top.low == top.high:
        return found.bands[top.low]
    return f"one of the bands from {found.bands[top.low]} to {found.bands[top.high]}"


def _difference(facts: Facts, differences: list[Compared]) -> str:
    """The second part of the verdict: in which bands they differ."""
    real = [each for each in differences if each.real]
    if not real:
        return "In no band was a difference between the two found."
    most = max(real, key=lambda each: abs(each.difference.difference))
    more = facts.names[0 if most.difference.difference > 0 else 1]
    return (
        f"They differ in {len(real)} of {len(differences)} bands, most at {most.name}, which {more} needs "
        f"{100 * abs(most.difference.difference):.0f} points more."
    )


def _network_words(facts: Facts, found: Asked, place: int, lost: list[Compared], top: Top) -> str:
    falls = "; ".join(f"{each.name}: {points(each.difference)}" for each in lost)
    logits = margins(found, place)[top.band]
    return (
        f"{facts.names[place]} answers {percent(found.accuracy(place, 0))} of the images right; without a band it "
        f"loses, in cycles per image: {falls}. Without {found.bands[top.band]} the true class's logit falls by "
        f"{logits.words()}."
    )


def _differences(facts: Facts, differences: list[Compared]) -> str:
    a, b = facts.names
    parts = "; ".join(
        f"{each.name}: {points(each.difference)}, {p_words(each.p_holm)} after Holm" for each in differences
    )
    return f"What {a} loses less what {b} loses on the same images, by band: {parts}."


def _top_words(facts: Facts, found: Asked, best: tuple[Top, Top, tuple[int, int]]) -> str:
    words = []
    for name, top in zip(facts.names, best[:2], strict=True):
        reach = "that band" if top.low == top.high == top.band else _reach(found, top)
        words.append(
            f"{name} loses most without {found.bands[top.band]} in {100 * top.share:.0f} % of {RESAMPLES:,} resamples "
            f"of the images (95 % of them: {reach})"
        )
    low, high = best[2]
    apart = f"these bands differ (A's lies {low:+d} to {high:+d} bands finer)"
    return f"{'; '.join(words)}; {apart if differ(best) else 'that these bands differ was not found'}."


def differ(best: tuple[Top, Top, tuple[int, int]]) -> bool:
    """Whether both need some band, and the bands that they need most are not the same in 95 % of resamples."""
    a, b, (low, high) = best
    return a.clear and b.clear and (low > 0 or high < 0)


def _pixel_words(found: Asked) -> str:
    clipped = found.clipped.mean(axis=0)
    worst = int(clipped.argmax())
    kept = 100 * (1 - np.nanmean(found.kept[:, found.stops], axis=0))
    shares = listed([f"{each:.0f} % at {name}" for each, name in zip(kept, found.bands, strict=True)])
    kind = found.filters[worst]
    return (
        f"Of the images' variance, {shares} is taken away. At most {100 * clipped[worst]:.1f} % of pixel values were "
        f"clipped to [0, 1] ({kind.kind} {kind.title})."
    )


def _numbers(
    found: Asked,
    lost: list[list[Compared]],
    differences: list[Compared],
    best: tuple[Top, Top, tuple[int, int]],
    classes: dict[int, list[Estimate]],
) -> dict[str, Any]:
    names = [f"{each.kind} {each.title}" if each.kind != "none" else "none" for each in found.filters]
    return {
        "images": len(found.labels),
        "bands": found.bands,
        "accuracy": [
            {name: share_json(found.accuracy(place, number)) for number, name in enumerate(names)}
            for place in range(2)
        ],
        "lost": [
            {each.name: difference_json(each.difference, each.p_holm) for each in losses} for losses in lost
        ],
        "logit_lost": [[each.to_json() for each in margins(found, place)] for place in range(2)],
        "difference": {each.name: difference_json(each.difference, each.p_holm) for each in differences},
        "most_needed": [_top_json(found, top) for top in best[:2]],
        "bands_between": {"low": best[2][0], "high": best[2][1], "differ": differ(best)},
        "clipped": {name: float(each) for name, each in zip(names, found.clipped.mean(axis=0), strict=True)},
        "variance_kept": [nan_to_none(each) for each in np.nanmean(found.kept, axis=0)],
        "classes": {str(number): [each.to_json() for each in row] for number, row in classes.items()},
    }


def _top_json(found: Asked, top: Top) -> dict[str, Any]:
    ends = {"low": found.bands[top.low], "high": found.bands[top.high]}
    return {"band": found.bands[top.band], "share_of_resamples": top.share, **ends, "clear": top.clear}


_KINDS = {"none": "all kept", "pass": "only", "stop": "all but", "low": "only", "high": "only"}


def _filter_rows(facts: Facts, found: Asked) -> Rows:
    rows = []
    for number, each in enumerate(found.filters):
        kept = "" if each.kind == "none" else each.title
        row: dict[str, str | float] = {"kept": _KINDS[each.kind], "cycles per image": kept}
        for place, name in enumerate(facts.names):
            row[f"{name} (% right)"] = percent(found.accuracy(place, number))
        row["variance kept (%)"] = 100 * float(np.nanmean(found.kept[:, number]))
        row["clipped (% of values)"] = 100 * float(found.clipped[:, number].mean())
        rows.append(row)
    return rows


def _reliance_rows(
    facts: Facts, found: Asked, lost: list[list[Compared]], differences: list[Compared]
) -> Rows:
    logits = [margins(found, place) for place in range(2)]
    rows = []
    for band, each in enumerate(differences):
        row: dict[str, str] = {"stopped (cycles per image)": each.name}
        for place, name in enumerate(facts.names):
            row[f"{name}: accuracy lost"] = points(lost[place][band].difference)
            row[f"{name}: p (Holm)"] = p_value(lost[place][band].p_holm)
            row[f"{name}: logit lost"] = logits[place][band].words()
        rows.append(row | {"A - B": points(each.difference), "A - B: p (Holm)": p_value(each.p_holm)})
    return rows


def _class_rows(facts: Facts, found: Asked, classes: dict[int, list[Estimate]]) -> Rows:
    heads = [f"{name}, {band} (points)" for name in facts.names for band in found.bands]
    rows = []
    for number, name in enumerate(facts.classes):
        count = int((found.labels == number).sum())
        row: dict[str, str | int] = {"class": name, "images": count}
        cells = classes.get(number)
        few = f"fewer than {FEWEST} images"
        words = [_cell(each) for each in cells] if cells else [few] * len(heads)
        rows.append(row | dict(zip(heads, words, strict=True)))
    return rows


def _cell(found: Estimate) -> str:
    value, low, high = (f"{100 * each:+.0f}" for each in (found.value, found.low, found.high))
    return f"{value} ({low} to {high})"


def _undefined(facts: Facts, found: Asked, classes: dict[int, list[Estimate]]) -> list[str]:
    few = [name for number, name in enumerate(facts.classes) if number not in classes]
    sentences = []
    if few:
        names = ", ".join(few[:5]) + (" ..." if len(few) > 5 else "")
        sentences.append(f"{len(few)} classes have fewer than {FEWEST} images and no numbers: {names}.")
    for place, name in enumerate(facts.names):
        if unknown := int(np.isnan(found.margin[place, :, 0]).sum()):
            sentences.append(
                f"{name} does not know the class of {unknown:,} images: they count as wrong, without logit."
            )
    if flat := int(np.isnan(found.kept[:, 0]).sum()):
        sentences.append(f"{flat:,} images are of one colour and have no variance to take away.")
    return sentences


def method(facts: Facts, rows: Measured) -> str:
    """What was done, for a methods section."""
    found = asked(facts, rows)
    return (
        f"{len(found.labels):,} clean images, evenly spread over the classes, went through band-stop and band-pass "
        f"filters on the radial frequency of their two-dimensional Fourier transform, channel by channel, with hard "
        f"edges at octaves ({listed(found.bands)} cycles per image; the mean of each channel was always kept), and "
        f"were clipped to [0, 1]. The transform is of an image that repeats, so that opposite borders mix. Reliance on "
        f"a band is the accuracy lost when it is stopped: BCa bootstrap intervals over images, exact McNemar tests for "
        f"each network and exact sign-flip tests of the paired difference of losses between the networks, both "
        f"Holm-corrected over the {len(found.bands)} bands. The band needed most was found again in {RESAMPLES:,} "
        f"resamples of the images, the same for both networks, and is named alone where 95 % of them agree. "
        f"These tests speak of the two networks, not of all that could be trained alike."
    )
