"""What is said of shape bias: the verdict, sentences, and what could not be compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xai.compare.phrases import FEWEST, listed, p_words, percent, points
from xai.compare.study import Facts
from xai.pairwise import Compared

if TYPE_CHECKING:
    from xai.compare.cues_found import Conflict


def verdict(facts: Facts, found: Conflict, differences: dict[int, Compared]) -> str:
    """The part of the section's verdict that is about shape and texture."""
    biases = [found.bias(place) for place in range(2)]
    words = [
        f"{name} in {100 * bias.share:.0f} %" if bias else f"{name} never by either"
        for name, bias in zip(facts.names, biases, strict=True)
    ]
    start = "Where shape and texture disagree, answers by one of them follow the shape"
    return f"{start} for {words[0]} and for {words[1]} of cases: {_told(facts, found, differences.get(0))}"


def _told(facts: Facts, found: Conflict, clean: Compared | None) -> str:
    """Whether they differ, with the difference that was tested: on fewer scenes than each network's own share."""
    if guessing := [name for place, name in enumerate(facts.names) if not found.follows(place)]:
        return f"whether they differ is not known, as {listed(guessing)} may only guess"
    if clean is None:
        return "too few scenes tell whether they differ"
    told = "the two differ" if clean.real else "no difference between the two was found"
    a, b = facts.names
    return f"{told} ({a} less {b} on the scenes that both answer by a cue: {points(clean.difference)})"


def bias_words(facts: Facts, found: Conflict) -> list[str]:
    """Each network's shape bias on clean scenes, and how many answers follow neither cue."""
    return [
        f"{name} follows the shape in {percent(found.bias(place))} of its clean answers that follow a cue; "
        f"{percent(found.neither(place))} of all clean answers follow neither."
        for place, name in enumerate(facts.names)
    ]


def between_words(facts: Facts, differences: dict[int, Compared]) -> list[str]:
    """A against B: on clean scenes, and under how many conditions."""
    if not differences:
        return []
    a, b = facts.names
    start = f"On clean scenes that both answer by a cue, {a} follows the shape more often than {b} by "
    first = (
        [f"{start}{points(differences[0].difference)}, {p_words(differences[0].p_holm)} after Holm."]
        if 0 in differences
        else []
    )
    real, most = _largest(facts, differences)
    count = len(differences)
    return [
        *first,
        f"Their shape biases differ under {real} of {count} conditions that tell (exact McNemar, Holm){most}.",
    ]


def _largest(facts: Facts, differences: dict[int, Compared]) -> tuple[str, str]:
    """How many differences are real, and which of these is the largest."""
    real = {number: each for number, each in differences.items() if each.real}
    if not real:
        return "none", ""
    number = max(real, key=lambda number: abs(real[number].difference.difference))
    words = f"{points(real[number].difference)}, {p_words(real[number].p_holm)}"
    return str(len(real)), f", most under {facts.conditions[number].words}: {words}"


def change_words(facts: Facts, changes: dict[tuple[int, int], Compared]) -> list[str]:
    """Each network's degraded against its clean answers."""
    words = []
    for place, name in enumerate(facts.names):
        own = {number: each for (at, number), each in changes.items() if at == place}
        if not own:
            continue
        real, most = _largest(facts, own)
        words.append(
            f"Degradation changes the shape bias of {name} under {real} of {len(own)} conditions that tell (same "
            f"scenes, exact McNemar, Holm){most}."
        )
    return words


def guess_words(facts: Facts, found: Conflict) -> list[str]:
    """Where answers say nothing of cues, and what that does to the bias on the way there."""
    words = []
    for place, name in enumerate(facts.names):
        own = guessed(facts, found, place)
        if own:
            words.append(
                f"{name} follows the two cues no more often than guesses would ({200 / found.count:.0f} %) under "
                f"{listed(own)}: its shape bias there says nothing, as guesses have one of 50 %, and what it gains "
                f"under other degradations may be guesses too."
            )
    return words


def guessed(facts: Facts, found: Conflict, place: int) -> list[str]:
    """Conditions under which a network follows cues no more often than guesses would."""
    return [each.words for number, each in enumerate(facts.conditions) if not found.follows(place, number)]


def unchanged(facts: Facts, changes: dict[tuple[int, int], Compared]) -> list[str]:
    """How many comparisons of degraded with clean scenes there are not."""
    degraded = len(facts.conditions) - 1
    counts = [degraded - sum(at == place for at, _ in changes) for place in range(2)]
    words = [f"{count} of {name}" for count, name in zip(counts, facts.names, strict=True) if count]
    if not words:
        return []
    return [
        f"Of {degraded} degraded conditions, {listed(words)} are not compared with clean scenes: there, or when clean, "
        f"the network may guess, or answers fewer than {FEWEST} scenes by a cue under both."
    ]


def untested(facts: Facts, found: Conflict, differences: dict[int, Compared]) -> list[str]:
    """Conditions of which no shape biases are compared, and why."""
    missing = [number for number in range(len(facts.conditions)) if number not in differences]
    guessing = [k for k in missing if not (found.follows(0, k) and found.follows(1, k))]
    words = {
        "have a network that follows the cues no more often than guesses would": guessing,
        f"have fewer than {FEWEST} scenes that both networks answer by a cue": [
            k for k in missing if k not in guessing
        ],
    }
    return [
        f"{len(numbers)} conditions {why}, and no difference: {listed([facts.conditions[k].words for k in numbers])}."
        for why, numbers in words.items()
        if numbers
    ]
