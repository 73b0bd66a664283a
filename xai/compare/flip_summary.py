"""What rows of flips say, in words and tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from data.corruption_constants import constants
from data.degradations import DEGRADATIONS, max_severity
from xai.compare.flip_statistics import (
    JPEG,
    MISSED,
    STRIDE,
    SURE,
    TOLERANCE,
    Fate,
    Fates,
    Reached,
    fates,
    step_of,
)
from xai.compare.phrases import listed, p_words
from xai.compare.resampling import RESAMPLES
from xai.compare.sections import Found, Measured
from xai.compare.study import Facts
from xai.results import Condition
from xai.tables import Cell, Rows, p_value

_FEW = 10


def summarise(facts: Facts, rows: Measured) -> Found:
    """Severities, answers that never flip, and who flips later, from the rows alone."""
    names, counts, left_out = facts.study.degradations, _counts(rows), _left_out(facts, rows)
    if not counts["asked"]:
        both = " and ".join(facts.names)
        verdict = f"No image is answered rightly by both {both} when clean, so no flip can be compared."
        return Found(verdict, undefined=left_out, numbers=counts)
    found = fates(rows["flips"], names, facts.study.seed)
    return Found(
        _verdict(facts, found, counts["asked"]),
        tuple(_sentence(facts, name, each) for name, each in found.items()),
        {**counts, **{name: each.to_json() for name, each in found.items()}},
        {
            "Severity at which answers flip": _fate_rows(facts, found),
            "A against B on the same images": _pair_rows(found),
        },
        (*left_out, *_uncommon(facts, found)),
        any(each.pair.later is not None for each in found.values()),
    )


def in_words(name: str) -> str:
    """A degradation within a sentence."""
    return Condition(name, DEGRADATIONS[name].scales[0], 1.0).words.rsplit(", ", 1)[0]


def level(value: float, highest: int) -> str:
    """A severity in words, with two decimals or as beyond the highest."""
    return f"beyond {highest}" if math.isinf(value) else f"{value:.2f}"


def _counts(rows: Measured) -> dict[str, int]:
    images = rows["images"]
    a, b = images["right_a"], images["right_b"]
    return {
        "images": len(a),
        "asked": int(images["asked"].sum()),
        "right with both": int((a & b).sum()),
        "right with A alone": int((a & ~b).sum()),
        "right with B alone": int((b & ~a).sum()),
        "right with neither": int((~a & ~b).sum()),
    }


def _verdict(facts: Facts, found: dict[str, Fates], n: int) -> str:
    of = {k: [in_words(name) for name, each in found.items() if each.pair.later == k] for k in (0, 1, None)}
    parts = [f"{facts.names[k]} keeps its answers longer under {listed(of[k])}" for k in (0, 1) if of[k]]
    if of[None]:
        parts.append(f"neither is shown to flip later under {listed(of[None])}")
    said = ", and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
    return (
        f"As images get worse, {said} ({n:,} images that both get right when clean; sign tests with Holm's"
        f" correction)."
    )


def _sentence(facts: Facts, name: str, both: Fates) -> str:
    highest = max_severity(name, facts.study.scale)
    share = _common_share(both)
    a, b = (
        _fate_words(title, each, highest, share)
        for title, each in zip(facts.names, both.networks, strict=True)
    )
    pair, d = both.pair, both.pair.difference
    return (
        f"{DEGRADATIONS[name].title}, severities 0 to {highest}: {a}; {b} (n = {both.networks[0].n:,}). On the same"
        f" images {facts.names[0]} flips later {pair.a_later:,} times and {facts.names[1]} {pair.b_later:,} times,"
        f" with {pair.tied:,} ties: a difference of {100 * d.difference:+.0f} % of the images ({100 * d.low:+.0f} to"
        f" {100 * d.high:+.0f}), {p_words(pair.p_holm)} after Holm's correction."
    )


def _common_share(both: Fates) -> str:
    """The largest share of answers that flip with both networks, so that the same is said of both; none: empty."""
    for share in ("half", "quarter"):
        if all(math.isfinite(getattr(each, share).value) for each in both.networks):
            return share
    return ""


def _fate_words(title: str, each: Fate, highest: int, share: str) -> str:
    """By which severity that share of the answers have flipped, or without one how many flip at all."""
    if share:
        found: Reached = getattr(each, share)
        of = "half" if share == "half" else "a quarter"
        return f"{of} of the answers of {title} have flipped by {_interval_words(found, highest)}"
    low, high = 100 * (1 - each.share_high), 100 * (1 - each.share_low)
    return f"{each.n - each.beyond:,} answers of {title} were seen to flip ({low:.0f} to {high:.0f} %)"


def _interval_words(found: Reached, highest: int) -> str:
    if math.isinf(found.low):
        return level(found.low, highest)
    return f"{level(found.value, highest)} ({level(found.low, highest)} to {level(found.high, highest)})"


def _fate_rows(facts: Facts, found: dict[str, Fates]) -> Rows:
    return [
        _fate_row(facts, name, title, each)
        for name, both in found.items()
        for title, each in zip(facts.names, both.networks, strict=True)
    ]


def _fate_row(facts: Facts, name: str, title: str, each: Fate) -> dict[str, Cell]:
    highest = max_severity(name, facts.study.scale)
    return {
        "degradation": DEGRADATIONS[name].title,
        "network": title,
        "a quarter flipped by (level)": _interval_words(each.quarter, highest),
        "half flipped by (level)": _interval_words(each.half, highest),
        "half: constants": _constants(facts, name, each.half.value),
        "no flip seen": each.beyond,
        "no flip seen (%)": _share_words(each),
        "flip, but back later": each.returned,
        "images": each.n,
    }


def _share_words(each: Fate) -> str:
    share, low, high = (100 * value for value in (each.beyond / each.n, each.share_low, each.share_high))
    return f"{share:.1f} ({low:.1f} to {high:.1f})"


def _constants(facts: Facts, name: str, severity: float) -> str:
    """The degradation's constants at a severity, such as `sigma 0.12`."""
    if math.isinf(severity):
        return ""
    found = constants(name, severity, facts.study.scale, facts.size)
    return ", ".join(f"{field.replace('_', ' ')} {value:.3g}" for field, value in found.items())


def _pair_rows(found: dict[str, Fates]) -> Rows:
    return [
        {
            "degradation": DEGRADATIONS[name].title,
            "A flips later": pair.a_later,
            "B flips later": pair.b_later,
            "ties": pair.tied,
            "of these no flip seen": pair.both_beyond,
            "difference (% of images)": 100 * pair.difference.difference,
            "95 % interval": f"{100 * pair.difference.low:.1f} to {100 * pair.difference.high:.1f}",
            "p": p_value(pair.difference.p_value),
            "p (Holm)": p_value(pair.p_holm),
        }
        for name, pair in ((name, each.pair) for name, each in found.items())
    ]


def _left_out(facts: Facts, rows: Measured) -> tuple[str, ...]:
    """What is not asked and why, and classes with few images."""
    n, images = _counts(rows), rows["images"]
    a, b = facts.names
    found = [
        f"{n['images'] - n['right with both']:,} of {n['images']:,} images are left out because a network gets them"
        f" wrong when clean: {n['right with B alone']:,} {a} alone, {n['right with A alone']:,} {b} alone,"
        f" {n['right with neither']:,} both."
    ]
    if spare := n["right with both"] - n["asked"]:
        found.append(
            f"{spare:,} more are left out to save time: {n['asked']:,} are asked, spread evenly over classes."
        )
    asked = np.bincount(images["label"][images["asked"]], minlength=len(facts.classes))
    if few := [name for name, count in zip(facts.classes, asked, strict=True) if count < _FEW]:
        more = f" and {len(few) - 5} more classes" if len(few) > 5 else ""
        found.append(f"Fewer than {_FEW} images were asked of {listed(few[:5])}{more}.")
    return tuple(found)


def _uncommon(facts: Facts, found: dict[str, Fates]) -> tuple[str, ...]:
    """Answers that never flip, and those that flip more than once, over all degradations."""
    total = sum(each.networks[0].n for each in found.values())

    def counted(field: str, words: str) -> str:
        a, b = (sum(getattr(each.networks[k], field) for each in found.values()) for k in range(2))
        return f"{a:,} of {total:,} answers of {facts.names[0]} and {b:,} of {facts.names[1]} {words}."

    return (
        counted("beyond", "were not seen to flip up to the highest severity"),
        counted("returned", "flip and are back at a later step of the scan; their first flip counts"),
    )


def method(facts: Facts, rows: Measured) -> str:
    """Sentences for a methods section, with the settings and sizes of these rows."""
    n, study = _counts(rows), facts.study
    return (
        f"Flip points: {n['asked']:,} of the {n['right with both']:,} images that both networks get right when clean,"
        f" spread evenly over classes, were degraded along {len(study.degradations)} degradations (scale"
        f" {study.scale}) of continuous severity, the random numbers of each image held at those of the highest"
        f" severity (seed {study.seed}). The flip is the first severity at which the predicted class differs from that"
        f" of the clean image: {_scan_words(study.degradations)}, then bisection of the first step whose end differs,"
        f" to a bracket of at most {TOLERANCE:.3f} levels. What changes and changes back within a step is not seen"
        f" ({_missed_words(study.degradations)}). Constants that are whole numbers (JPEG quality, kernel sizes) change"
        f" in jumps. Severities are levels of one degradation and are not compared between degradations. Severities by"
        f" which a quarter and half of the answers have flipped have percentile intervals over {RESAMPLES:,} resamples"
        f" of the images; answers that were not seen to flip count as beyond the highest severity, and their share has"
        f" a 95 % Wilson interval. Networks are compared on the same images by exact sign tests (no flip with either,"
        f" and equal brackets, are ties) with Holm's correction over the degradations. The tests speak of these trained"
        f" networks, not of all that could be trained."
    )


def _scan_words(names: Sequence[str]) -> str:
    """How a scan goes along these degradations."""
    steps = sorted({step_of(name) for name in names if name != JPEG})
    apart = (
        f"{steps[0]:g} levels"
        if len(steps) == 1
        else f"{steps[0]:g} to {steps[-1]:g} levels"
        if steps
        else ""
    )
    words = [f"a scan in steps of {apart}"] if steps else []
    if JPEG in names:
        words.append(
            f"{'along JPEG' if steps else 'a scan'} at every whole quality, of which an answer of a probability of"
            f" {SURE:g} or more skips up to {STRIDE - 1}"
        )
    return ", ".join(words)


def _missed_words(names: Sequence[str]) -> str:
    """How many first flips a scan along these degradations misses, as far as it was measured."""
    known = [words for words, of in MISSED.items() if set(of) & set(names)]
    rest = set(names) - {name for of in MISSED.values() for name in of}
    words = [f"measured on other images of cue10 and cifar10-jpeg: {'; '.join(known)}"] if known else []
    return "; ".join([*words, *(["not measured under the rest"] if known and rest else [])]) or "not measured"
