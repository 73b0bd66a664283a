"""What validity cards say: a verdict on both networks, sentences, tables, and every number quoted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from xai.compare.baselines import WORDS
from xai.compare.phrases import listed, spread
from xai.compare.sections import Found, Measured
from xai.compare.study import LETTERS, Facts, nan_to_none
from xai.compare.validity_cards import (
    ADDS,
    CURVES,
    FAILS,
    LANDING,
    LEARNED,
    OPEN,
    OUTCOMES,
    PASSES,
    TITLES,
    Card,
    Contest,
    Stage,
    cards,
)
from xai.tables import Cell, p_value

Row = dict[str, Cell]
UNITS = {name: "area, lower is better" if name == "deletion" else "area" for name in CURVES} | dict.fromkeys(
    LANDING, "share"
)


def found(facts: Facts, rows: Measured) -> Found:
    """What the rows say."""
    both = cards(facts, rows)
    return Found(
        verdict=verdict(both),
        sentences=tuple(sentence for card in both for sentence in _sentences(card)) + _advice(both),
        numbers={
            "comparable": comparable(both),
            "contests": sum(len(card.contests) for card in both),
            **{letter: _numbers(card) for letter, card in zip(LETTERS, both, strict=True)},
        },
        tables={
            "Validity cards": [row for card in both for row in _check_rows(card)],
            "Maps against baselines": [row for card in both for row in _contest_rows(card)],
            "Levels of maps and baselines": [row for card in both for row in _level_rows(card)],
            "Weights drawn anew": [row for card in both for row in _stage_rows(card)],
        },
        undefined=tuple(sentence for card in both for sentence in _undefined(card)),
    )


def comparable(both: tuple[Card, Card]) -> bool | None:
    """Whether maps of the two may be compared: on both they are what the layer adds to the score and depend on what was
    learned. None where one of these can't be said and none fails."""
    outcomes = {card.check(name).outcome for card in both for name in (ADDS, LEARNED)}
    return False if FAILS in outcomes else None if OPEN in outcomes else True


def verdict(both: tuple[Card, Card]) -> str:
    """One sentence on both networks, which says when comparing their maps does not compare like with like."""
    a, b = (card.network.title for card in both)
    title, answer = both[0].title, comparable(both)
    adds = "; ".join(filter(None, (_adds_words(both), _learned_words(both))))
    if answer is False:
        return f"Comparing the {title} maps of {a} and {b} does not compare like with like: {adds}."
    if answer is None:
        return f"Whether the {title} maps of {a} and {b} may be compared can't be said: {adds}."
    return f"The {title} maps of {a} and {b} may be compared: {adds}; {_deletion_words(both)}."


def _adds_words(both: tuple[Card, Card]) -> str:
    if both[0].method == "hirescam":
        return "HiResCAM is what the layer adds to the score, to first order, on any network"
    said = {PASSES: "are", FAILS: "are not", OPEN: "may or may not be"}
    parts = [
        f"on {card.network.title} they {said[card.check(ADDS).outcome]} what the layer adds to the score"
        f" (correlation with HiResCAM {card.faithful.words()})"
        for card in both
    ]
    return " and ".join(parts)


def _learned_words(both: tuple[Card, Card]) -> str:
    """Which of the two have maps that stay, or may stay, when what was learned is gone."""
    said = {
        FAILS: "they stay much the same when the weights are drawn anew",
        OPEN: "it is not clear whether they change when the weights are drawn anew",
    }
    parts = [
        f"on {card.network.title} {said[outcome]} (rank correlation {card.reached.similarity.words()})"
        for card in both
        if card.reached and (outcome := card.check(LEARNED).outcome) in said
    ]
    return " and ".join(parts) or "on both they change when the weights are drawn anew"


def _deletion_words(both: tuple[Card, Card]) -> str:
    parts = []
    for card in both:
        beaten = [TITLES[name] for name in CURVES if _contest(card, name, "random").outcome == "better"]
        done = f"beat a random map at {listed(beaten)}" if beaten else "are not shown to beat a random map"
        parts.append(f"on {card.network.title} they {done}")
    return " and ".join(parts)


def _contest(card: Card, measure: str, baseline: str) -> Contest:
    return next(each for each in card.contests if (each.measure, each.baseline) == (measure, baseline))


def _sentences(card: Card) -> Iterator[str]:
    network = card.network
    h, w = network.grid
    yield f"{card.title} on {network.title} ({network.layer}, {h} x {w}) {_summary(card)}."
    yield f"{network.title}: Grad-CAM and HiResCAM agree by {card.agreement.words()} (Pearson's correlation)."
    if card.method not in ("gradcam", "hirescam"):
        yield f"{network.title}: {card.title} and HiResCAM agree by {card.faithful.words()}."
    yield f"{network.title}: {card.check(LEARNED).words}."
    for measure, levels in card.levels.items():
        beside = ", ".join(f"{WORDS[name]} {levels[name].words()}" for name in WORDS)
        unit = f" ({UNITS[measure]})" if measure in CURVES else ""
        yield (
            f"{network.title}, {TITLES[measure]}{unit}: the map {levels['map'].words()}, {beside}; the map is"
            f" {card.check(TITLES[measure]).words}."
        )
    if card.area:
        yield f"{network.title}: chance on the masks is {card.area.words()}, their share of the image."


def _summary(card: Card) -> str:
    """A network's card in words: what was found, and which checks pass, fail or can't be said."""
    adds = {PASSES: "is", FAILS: "is not", OPEN: "may or may not be"}[card.check(ADDS).outcome]
    learned = {PASSES: "depends", FAILS: "does not depend", OPEN: "may or may not depend"}[
        card.check(LEARNED).outcome
    ]
    beats = "; ".join(f"{TITLES[measure]}: {card.check(TITLES[measure]).words}" for measure in card.levels)
    outcomes: dict[str, list[str]] = {}
    for check in card.checks:
        outcomes.setdefault(check.outcome, []).append(check.name)
    counted = "; ".join(
        f"{listed(outcomes[outcome])} ({outcome})" for outcome in OUTCOMES if outcome in outcomes
    )
    return (
        f"{adds} what the layer adds to the score and {learned} on what was learned; {beats}"
        f" (n = {card.levels['deletion']['map'].n:,} for deletion and insertion). Checks: {counted}"
    )


def _advice(both: tuple[Card, Card]) -> tuple[str, ...]:
    failing = [card.network.title for card in both if card.check(ADDS).outcome == FAILS]
    if not failing:
        return ()
    return (
        f"HiResCAM is what the layer adds to the score, to first order, also on {listed(failing)}: to compare where"
        " the two networks find their evidence, ask for its maps.",
    )


def _numbers(card: Card) -> dict[str, Any]:
    return {
        "images": card.images,
        "blank": card.blank,
        "agreement": card.agreement.to_json(),
        "faithful": card.faithful.to_json(),
        "levels": {
            measure: {name: each.to_json() for name, each in levels.items()}
            for measure, levels in card.levels.items()
        },
        "differences": {
            f"{each.measure} less {each.baseline}": each.difference.to_json()
            | {"p": nan_to_none(each.p), "p_holm": nan_to_none(each.p_holm)}
            for each in card.contests
        },
        "stages": [_stage_numbers(stage) for stage in card.stages],
        "area": card.area.to_json() if card.area else None,
        "checks": {check.name: check.outcome for check in card.checks},
    }


def _stage_numbers(stage: Stage) -> dict[str, Any]:
    counts = {"maps": stage.maps, "blank": stage.blank, "undefined": stage.undefined}
    ends = {"similarity": stage.similarity.to_json(), "absolute": stage.absolute.to_json()}
    return {"stage": stage.name, "reached": stage.reached, **ends, **counts}


def _check_rows(card: Card) -> Iterator[Row]:
    for check in card.checks:
        yield {
            "network": card.network.title,
            "check": check.name,
            "outcome": check.outcome,
            "found": check.words,
        }


def _contest_rows(card: Card) -> Iterator[Row]:
    for each in card.contests:
        yield {
            "network": card.network.title,
            "measure": f"{TITLES[each.measure]} ({UNITS[each.measure]})",
            "baseline": WORDS[each.baseline],
            "n": each.difference.n,
            "map − baseline": nan_to_none(each.difference.value),
            "from": nan_to_none(each.difference.low),
            "to": nan_to_none(each.difference.high),
            "p (Holm)": p_value(nan_to_none(each.p_holm)),
            "the map is": each.outcome or "not shown to differ",
        }


def _level_rows(card: Card) -> Iterator[Row]:
    for measure, levels in card.levels.items():
        for name, found in levels.items():
            yield {
                "network": card.network.title,
                "measure": f"{TITLES[measure]} ({UNITS[measure]})",
                "order": card.title if name == "map" else WORDS[name],
                "n": found.n,
                "mean": nan_to_none(found.value),
                "from": nan_to_none(found.low),
                "to": nan_to_none(found.high),
            }


def _stage_rows(card: Card) -> Iterator[Row]:
    for stage in card.stages:
        yield {
            "network": card.network.title,
            "drawn anew down to": stage.name,
            "tapped layer reached": "yes" if stage.reached else "no",
            "n": stage.similarity.n,
            "rank correlation": nan_to_none(stage.similarity.value),
            "from": nan_to_none(stage.similarity.low),
            "to": nan_to_none(stage.similarity.high),
            "without sign": nan_to_none(stage.absolute.value),
            "maps": stage.maps,
            "blank": stage.blank,
            "constant": stage.undefined,
        }


def _undefined(card: Card) -> Iterator[str]:
    title, network = card.title, card.network.title
    if card.blank:
        yield f"{network}: {card.blank:,} of {card.images:,} {title} maps are blank (nothing speaks for the class)."
    if card.faithful.undefined or card.agreement.undefined:
        missing = max(card.faithful.undefined, card.agreement.undefined)
        yield f"{network}: {missing:,} of {card.images:,} images have no correlation with HiResCAM (a constant map)."
    for measure, levels in card.levels.items():
        if count := levels["map"].undefined:
            total = count + levels["map"].n
            yield f"{network}: {count:,} of {total:,} images have no {TITLES[measure]} (no ranks, or no evidence)."
    drawn = [stage.blank for stage in card.stages]
    missing_ranks = [stage.undefined for stage in card.stages]
    if any(drawn) or any(missing_ranks):
        yield (
            f"{network}: with weights drawn anew, of {card.stages[0].maps:,} maps at each step {spread(drawn)} are"
            f" blank and {spread(missing_ranks)} have no rank correlation."
        )
