"""What is known of the errors of two networks, in one sentence: of these two as trained, and of their trainings."""

from __future__ import annotations

from xai.compare.agreement_words import what
from xai.compare.error_results import Errors, same_training
from xai.compare.error_seeds import SeedsNull
from xai.compare.map_seeds import SeedNull, seeds_needed
from xai.compare.phrases import p_words
from xai.compare.study import Facts
from xai.pairwise import REAL
from xai.tables import p_value


def verdict(facts: Facts, found: Errors) -> str:
    """The answer in one sentence: accuracy of these two networks first, then what they share."""
    return f"{_accuracy(facts, found)}; {_shared(facts, found)}."


def _accuracy(facts: Facts, found: Errors) -> str:
    a, b = facts.names
    real, of = sum(each.real for each in found.compared), len(found.counted)
    start = f"The accuracy of these two trained networks, {a} and {b},"
    no_more = (
        f" ({len(found.idle)} more change{'s' * (len(found.idle) == 1)} no answer)" if found.idle else ""
    )
    if of == 1:
        return f"{start} {'differs' if real else 'is not shown to differ'} on clean images{no_more}"
    if not real:
        return f"{start} is not shown to differ in any of {of} conditions{no_more}"
    return f"{start} differs beyond chance in {'all' if real == of else real} of {of} conditions{no_more}"


def _shared(facts: Facts, found: Errors) -> str:
    clean = found.consistencies[0]
    if clean.kappa is None or found.few_errors(0):
        return _shared_degraded(facts, found)
    if found.seeds is None or found.seeds.below is None:
        return _against_chance(found)
    kappa = f"kappa {clean.kappa:.2f} on {clean.images:,} clean images, {_seed_words(found.seeds)}"
    if same_training(facts):
        how = "fewer" if found.seeds.below else "no fewer"
        return f"they are two seeds of one training and share {how} errors than its other pairs ({kappa})"
    if found.seeds.null is None:
        return _one_sided(facts, found.seeds, kappa)
    return _over_networks(facts, found.seeds, found.seeds.null, kappa)


def _against_chance(found: Errors) -> str:
    clean = found.consistencies[0]
    low, high = clean.low or 0, clean.high or 0
    how = (
        "make the same errors more often than chance would"
        if low > 0
        else "share fewer errors than chance would give"
        if high < 0
        else "are not shown to share more errors than chance would give"
    )
    return (
        f"they {how} (kappa {clean.kappa:.2f} on {clean.images:,} clean images; without other seeds nothing says how "
        "many two seeds of one network share)"
    )


def _seed_words(seeds: SeedsNull) -> str:
    values = sorted(row.value for row in seeds.seeds)
    ends = f"{values[0]:.2f} to {values[-1]:.2f}" if len(values) > 1 else f"{values[0]:.2f}"
    return f"{len(values)} pair{'s' if len(values) > 1 else ''} of seeds {ends}"


def _one_sided(facts: Facts, seeds: SeedsNull, kappa: str) -> str:
    """There are no second seeds of both: nothing can be said of the trainings."""
    if not seeds.below:
        return f"they are not told apart by their shared errors from two seeds of one network ({kappa})"
    return (
        f"they share fewer errors than any pair of seeds ({kappa}), but without a second seed of both it is not "
        f"settled whether the {what(facts)} do"
    )


def _over_networks(facts: Facts, seeds: SeedsNull, null: SeedNull, kappa: str) -> str:
    sides = f"kappa {null.between:.2f} between the {what(facts)} and {null.within:.2f} within one"
    ours, theirs = null.networks
    if seeds.differ:
        return (
            f"over networks, the two {what(facts)} share fewer errors than two seeds of one do: {sides} "
            f"({ours} and {theirs} networks, {p_words(null.p_value)})"
        )
    if null.least_p >= REAL and null.p_value <= null.least_p:
        fewer = "any pair of seeds" if seeds.below else "two seeds of one on average"
        return (
            f"they share fewer errors than {fewer} ({kappa}), but {ours} and {theirs} networks can't give p below "
            f"{p_value(null.least_p)}: whether the {what(facts)} do is not settled with fewer than "
            f"{seeds_needed(null.networks)} networks of each"
        )
    return (
        f"the {what(facts)} are not shown to share fewer errors than two seeds of one do: {sides} "
        f"({ours} and {theirs} networks, {p_words(null.p_value)}, least possible {p_value(null.least_p)})"
    )


def _shared_degraded(facts: Facts, found: Errors) -> str:
    """Where clean images hold too few errors: what is known from degraded ones."""
    wrong = " and ".join(f"{count:,}" for count in found.wrong(0))
    start = f"they are wrong about too few clean images to compare their errors ({wrong} of {facts.images:,})"
    kappas = [
        each.kappa
        for k, each in enumerate(found.consistencies)
        if k in found.tables and k in found.counted and each.kappa is not None and found.telling(k)
    ]
    if not kappas:
        return start
    told = f"{min(kappas):.2f} to {max(kappas):.2f}" if len(kappas) > 1 else f"{kappas[0]:.2f}"
    return f"{start}, and at the highest severities kappa is {told}"
