"""What the errors of two networks are, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xai.compare.answers import UNKNOWN
from xai.compare.error_results import COLLAPSED, Errors, Fall, same_training
from xai.compare.error_seeds import SeedsNull
from xai.compare.error_shift import Shift, Shifts, Versus
from xai.compare.phrases import FEWEST, p_words
from xai.compare.resampling import Estimate
from xai.compare.study import Facts
from xai.pairwise import REAL


def sentences(facts: Facts, found: Errors) -> tuple[str, ...]:
    """What there is to say, each with its n and its interval."""
    told = [_clean_sentence(facts, found), _consistency_sentence(facts, found)]
    told += [_seed_sentence(facts, found.seeds)] if found.seeds and found.seeds.below is not None else []
    if found.trainings is not None:
        told.append(f"Over seeds, on {facts.images:,} clean images: {found.trainings.sentence}")
    told += [_fall_sentence(facts, fall, found.tables[k]) for k, fall in found.falls.items()]
    moving = {k: each for k, each in found.shifts.items() if k in found.counted}
    told += [line for k, each in moving.items() if (line := _shift_sentence(facts, k, each))]
    return tuple(told)


def _clean_sentence(facts: Facts, found: Errors) -> str:
    parts = [
        f"{name} answers {100 * shares[0].share:.1f} % of the clean images correctly ({100 * shares[0].low:.1f} "
        f"to {100 * shares[0].high:.1f}, n = {shares[0].total:,})"
        for name, shares in zip(facts.names, found.accuracies, strict=True)
    ]
    gap = found.compared[0]
    points = _points(gap.difference.difference, gap.difference.low, gap.difference.high, gap.difference.n)
    return (
        f"{parts[0]}, {parts[1]}: A − B is {points}, {p_words(gap.p_holm)} by Holm over {len(found.counted)} "
        "conditions; this is of these two trained networks."
    )


def _points(value: float, low: float, high: float, n: int) -> str:
    middle, start, end = (
        f"{round(100 * each, 1) + 0.0:.1f}".replace("-", "−") for each in (value, low, high)
    )
    return f"{middle} points ({start} to {end}, n = {n:,})"


def _estimate_points(found: Estimate) -> str:
    return _points(found.value, found.low, found.high, found.n) if found.n else "not defined (n = 0)"


def _consistency_sentence(facts: Facts, found: Errors) -> str:
    clean = found.consistencies[0]
    if clean.kappa is None:
        return f"Error consistency is not defined on the {clean.images:,} clean images: {clean.reason}"
    start = (
        f"Error consistency on clean images is {clean.kappa:.2f} ({clean.low:.2f} to {clean.high:.2f}, "
        f"n = {clean.images:,}; 1: the same errors, 0: as many in common as chance gives; "
        f"at most {found.ceilings[0]:.2f} at these accuracies)"
    )
    shown = [k for k in found.tables if k in found.counted and found.consistencies[k].kappa is not None]
    worst = {k: found.consistencies[k] for k in shown}
    each = [
        f"{facts.conditions[k].words} {one.kappa:.2f} ({one.low:.2f} to {one.high:.2f}, at most "
        f"{found.ceilings[k]:.2f})"
        for k, one in worst.items()
    ]
    return f"{start}; at the highest severities: {', '.join(each)}." if each else f"{start}."


def _seed_sentence(facts: Facts, seeds: SeedsNull) -> str:
    a, b = facts.names
    how = "less" if seeds.less >= 0 else "more"
    sign = 1 if seeds.less >= 0 else -1
    low, high = sorted((sign * seeds.low, sign * seeds.high))
    pairs = f"{len(seeds.seeds)} pair{'s' if len(seeds.seeds) > 1 else ''} of seeds of one network"
    tail = "below every pair" if seeds.below else "which is no difference beyond that between seeds"
    most = [row.most for row in seeds.seeds]
    return (
        f"Kappa of {a} and {b} is {abs(seeds.less):.2f} ({low:.2f} to {high:.2f}, n = {seeds.images:,}) {how} than "
        f"the mean of {pairs} on clean images, {tail}; at their accuracies it can be {seeds.pair.most:.2f} at most, "
        f"that of seeds {min(most):.2f} to {max(most):.2f}.{_network_words(seeds)}"
    )


def _network_words(seeds: SeedsNull) -> str:
    null = seeds.null
    if null is None:
        return ""
    ours, theirs = null.networks
    return (
        f" Over networks, the mean kappa is {null.within:.2f} within one training and {null.between:.2f} between the "
        f"two ({ours} and {theirs} networks, {p_words(null.p_value)}, least possible {null.least_p:.2g})."
    )


def _fall_sentence(facts: Facts, fall: Fall, table: np.ndarray) -> str:
    a, b = facts.names
    if np.isnan(fall.p_holm):
        return f"{fall.condition.title}, changes no answer of either network (n = {fall.difference.n:,})."
    both, before = int(table[1, 1, 0, 0]), int(table[1, 1].sum())
    real = "" if fall.p_holm < REAL else ", no difference beyond chance"
    return (
        f"{fall.condition.title}, costs {a} {_estimate_points(fall.a)} of accuracy and {b} {_estimate_points(fall.b)}; "
        f"A − B is {_estimate_points(fall.difference)}, {p_words(fall.p_holm)} by Holm over the degradations{real}. "
        f"Of {before:,} images that both had right, both lose {both:,}."
    )


def _shift_sentence(facts: Facts, condition: int, found: Shifts) -> str:
    """Which class moves most under each network, and which classes tell the two apart; empty where none was tested."""
    tested = [each for each in found.versus if not np.isnan(each.value)]
    if not tested:
        return ""
    most = [
        max((s for s in side if not np.isnan(s.value)), key=lambda s: s.value) for side in (found.a, found.b)
    ]
    moved = [sum(s.p_holm < REAL for s in side) for side in (found.a, found.b)]
    parts = [
        f"of {name} to {shift.name} ({shift.value:.2f} bits, {_ends_words(shift)}, "
        f"n = {shift.images:,}{_gain_words(shift)}; {count} of {len(tested)} classes change)"
        for name, shift, count in zip(facts.names, most, moved, strict=True)
    ]
    title = facts.conditions[condition].title
    return f"{title}, changes the answers most {' and '.join(parts)}; {_versus_words(tested)}."


def _versus_words(tested: Sequence[Versus]) -> str:
    """In how many classes the answers of A and of B move differently, in which most, and which of them further."""
    real = sorted((e for e in tested if e.p_holm < REAL), key=lambda e: e.chance - e.apart)
    end = f"A's answers move differently from B's in {len(real)} of {len(tested)} classes (Holm over the classes)"
    if not real:
        return end
    told = [
        f"{e.name} ({100 * e.apart:.0f} % of its images, {100 * e.chance:.0f} % by chance, n = {e.images:,}: A more to "
        f"{e.more_a}, B more to {e.more_b})"
        for e in real[:3]
    ]
    a, b = (sum(e.further == letter for e in real) for letter in "AB")
    where = "most in" if len(real) > 1 else "in"
    return f"{end}, {where} {', '.join(told)}; of these A's are shown to move further in {a} and B's in {b}"


def _ends_words(shift: Shift) -> str:
    """The interval of a shift; there is none where every image says the same."""
    return "no interval" if np.isnan(shift.low) else f"{shift.low:.2f} to {shift.high:.2f}"


def _gain_words(shift: Shift) -> str:
    return f", {shift.gains} is named for {100 * shift.gained:.0f} % more of them" if shift.gains else ""


def undefined(facts: Facts, found: Errors) -> tuple[str, ...]:
    """What was counted and has no number."""
    told = [
        f"{facts.conditions[k].title}: no error consistency, as {found.consistencies[k].reason}"
        for k in found.counted
        if found.consistencies[k].kappa is None
    ]
    return (
        *_idle(facts, found),
        *told,
        *_few_errors(facts, found),
        *_collapsed(facts, found),
        *_without_classes(facts, found),
        *_unknown_answers(facts, found),
        *_without_seeds(facts, found),
    )


def _idle(facts: Facts, found: Errors) -> Sequence[str]:
    if not found.idle:
        return ()
    listed = ", ".join(facts.conditions[k].words for k in found.idle)
    return (
        f"Under {len(found.idle)} of {len(facts.conditions)} conditions no answer of either network changes "
        f"({listed}); these say what the clean images say, and are left out of counts and of Holm's families.",
    )


def _few_errors(facts: Facts, found: Errors) -> Sequence[str]:
    few = [k for k in found.counted if found.consistencies[k].kappa is not None and found.few_errors(k)]
    if not few:
        return ()
    listed = ", ".join(
        f"{facts.conditions[k].words} ({found.wrong(k)[0]:,} and {found.wrong(k)[1]:,})" for k in few
    )
    return (
        f"Error consistency says little under {len(few)} of {len(found.counted)} conditions, where A or B has fewer "
        f"than {FEWEST} wrong or right answers: {listed} of {facts.images:,} answers are wrong.",
    )


def _collapsed(facts: Facts, found: Errors) -> Sequence[str]:
    alike = [facts.conditions[k].words for k in found.counted if found.collapsed(k)]
    if not alike:
        return ()
    return (
        f"Each network gives one answer to at least {100 * COLLAPSED:.0f} % of the images under {len(alike)} of "
        f"{len(found.counted)} conditions ({', '.join(alike)}), where error consistency says nothing "
        "of single images.",
    )


def _without_classes(facts: Facts, found: Errors) -> Sequence[str]:
    counts = np.bincount(found.answered.labels, minlength=len(facts.classes))
    few = [f"{name} ({n})" for name, n in zip(facts.classes, counts, strict=True) if n < FEWEST]
    if not few or not found.shifts:
        return ()
    shown = ", ".join(few[:12]) + (f" and {len(few) - 12:,} more" if len(few) > 12 else "")
    return (
        f"{len(few):,} of {len(counts):,} classes have fewer than {FEWEST} images and are not tested: {shown}.",
    )


def _unknown_answers(facts: Facts, found: Errors) -> Sequence[str]:
    counts = (found.answered.predicted == UNKNOWN).sum(axis=(1, 2))
    asked = found.answered.predicted[0].size
    return [
        f"{name} gave {count:,} of {asked:,} answers with a class that the images don't have; they count as wrong."
        for name, count in zip(facts.names, counts, strict=True)
        if count
    ]


def _without_seeds(facts: Facts, found: Errors) -> Sequence[str]:
    if found.seeds is None:
        return (
            "There are no other seeds of either network here, so nothing says what differs between two seeds of one.",
        )
    known = {name for row in found.seeds.seeds for name in row.names}
    alone = [
        title
        for title, network in zip(facts.names, facts.networks, strict=True)
        if network.name not in known and not same_training(facts)
    ]
    return [
        f"There is no other seed of {title} here; what seeds share is that of the other network."
        for title in alone
    ]
