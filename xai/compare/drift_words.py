"""What is said of map drift: the verdict, sentences, and what has no number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from xai.attribution import METHODS
from xai.compare.drift_leads import RESOLUTION, Lead
from xai.compare.drift_results import Drifted
from xai.compare.flip_summary import in_words
from xai.compare.phrases import FEWEST, listed, moving_words, spread
from xai.tables import decimals


def verdict(found: Drifted) -> str:
    """The answer in one sentence."""
    if not found.moving:
        return f"None of {len(found.conditions)} conditions changes an answer or a map, so nothing is known of drift."
    return f"{'; '.join((_who_moves_more(found), *_by_hirescam(found), _what_is_first(found)))}."


def _who_moves_more(found: Drifted) -> str:
    a, b = _tapped(found)
    counts = Counter(each.sign for each in found.versus)
    total = moving_words(len(found.moving), len(found.idle))
    if not counts[1] + counts[-1]:
        return f"No difference is shown in how far the maps of {a} and {b} move under {total}"
    if not counts[1] or not counts[-1]:
        (more, less), count = (a, b) if counts[-1] else (b, a), counts[1] + counts[-1]
        return f"The maps of {more} move further than those of {less} under {count} of {total}"
    further, less_far = counts[-1], counts[1]
    return f"The maps of {a} move further than those of {b} under {further} of {total} and less far under {less_far}"


def _tapped(found: Drifted) -> tuple[str, str]:
    """The names of the two, with what is tapped in each where that is not the same."""
    a, b = found.facts.networks
    if (a.layer, a.grid) == (b.layer, b.grid):
        return found.facts.names
    one, other = (
        f"{name} ({network.layer}, {network.grid[0]} x {network.grid[1]})"
        for name, network in zip(found.facts.names, (a, b), strict=True)
    )
    return one, other


def _by_hirescam(found: Drifted) -> Iterator[str]:
    """Whether maps that add up to the score tell the same, where the study's are others."""
    if not found.hirescam:
        return
    pairs = [
        (own.sign, other.sign) for own, other in zip(found.versus, found.hirescam, strict=True) if own.sign
    ]
    if not pairs:
        shown = sum(each.real for each in found.hirescam)
        yield f"by HiResCAM a difference is shown under {shown}" if shown else "nor is one by HiResCAM"
        return
    same, opposite = (sum(other == sign * own for own, other in pairs) for sign in (1, -1))
    against = f" and the opposite under {opposite}" if opposite else ""
    alike = f"all of these {same}" if same == len(pairs) else f"{same} of these {len(pairs)}"
    yield f"by HiResCAM the sign is the same under {alike}{against}"


def _what_is_first(found: Drifted) -> str:
    counts = Counter(each.order for each in found.leads)
    total = len(found.leads)
    if not total - counts["undefined"]:
        return "whether maps move before accuracy falls can't be told, as one of the two hardly changes"
    parts = [f"before accuracy falls in {counts['before']}"]
    parts += [f"after it in {counts['after']}"] if counts["after"] else []
    words = {
        "close": "the two are closer than these severities can tell",
        "open": "no order is shown",
        "undefined": "it is not defined",
    }
    rest = [f"in {counts[order]} {said}" for order, said in words.items() if counts[order]]
    untold = f", while {listed(rest)}" if rest else ""
    return f"of {total} pairs of network and degradation, maps move {listed(parts)}{untold}"


def sentences(found: Drifted) -> tuple[str, ...]:
    """What there is to say, with n and intervals."""
    asked = [name for name in found.facts.study.degradations if found.places(name)[-1] in found.moving]
    firsts = [_order(found, number) for number in (0, 1)]
    versus = (_versus(found), *_versus_hirescam(found)) if found.moving else ()
    return (*(_worst(found, name) for name in asked), *versus, *_taps(found), *firsts)


def _worst(found: Drifted, degradation: str) -> str:
    """The highest severity of one degradation."""
    place = found.places(degradation)[-1]
    parts = [
        f"{found.means['spearman', 'all'][k][place].words()} with {name} (prediction kept:"
        f" {found.means['spearman', 'kept'][k][place].words()}; changed:"
        f" {found.means['spearman', 'changed'][k][place].words()})"
        for k, name in enumerate(found.facts.names)
    ]
    return (
        f"{found.conditions[place].title}: the rank correlation of clean and degraded map is {listed(parts)}."
    )


def _versus(found: Drifted) -> str:
    (a, b), (h, w) = found.facts.names, found.facts.common_grid
    signs = Counter(each.sign for each in found.versus)
    return (
        f"On the same images and a grid of {h} x {w}, the rank correlation of {a} less that of {b} is"
        f" {found.overall.words(3)} in the mean over conditions; by Holm it is below 0 under {signs[-1]} and above"
        f" under {signs[1]} of {moving_words(len(found.moving), len(found.idle))}."
    )


def _versus_hirescam(found: Drifted) -> Iterator[str]:
    if found.hirescam:
        (a, b), signs = found.facts.names, Counter(each.sign for each in found.hirescam)
        yield (
            f"Of HiResCAM's maps, the rank correlation of {a} less that of {b} is"
            f" {found.overall_hirescam.words(3)} in the mean over conditions; by Holm it is below 0 under {signs[-1]}"
            f" and above under {signs[1]} of {len(found.hirescam)}: {listed(list(_by_hirescam(found)))}."
        )


def _taps(found: Drifted) -> Iterator[str]:
    """What of a difference may be due to what is tapped."""
    if (tapped := _tapped(found)) == found.facts.names:
        return
    grids = {network.grid for network in found.facts.networks}
    own = "; numbers of each on its own grid don't compare" if len(grids) > 1 else ""
    yield (
        f"The maps are of {listed(tapped)}: part of a difference may be one of layers and not of networks{own}."
    )


def _order(found: Drifted, network: int) -> str:
    """What moves first in one network."""
    own = [each for each in found.leads if each.network == network]
    told = {
        "before": "its maps reach half of their drift before accuracy half of its loss under",
        "after": "its maps reach half of their drift after accuracy half of its loss under",
        "close": f"the two are less than {RESOLUTION:g} levels apart, closer than these severities can tell, under",
    }
    parts = [f"{words} {listed(_lead_words(own, order))}" for order, words in told.items() if _of(own, order)]
    untold = {"open": "no order is shown under", "undefined": "it is not defined under"}
    parts += [
        f"{words} {listed([in_words(each.degradation) for each in _of(own, order)])}"
        for order, words in untold.items()
        if _of(own, order)
    ]
    return (
        f"{found.facts.names[network]} ({_images(own)} images, right or wrong when clean; intervals take maps and"
        f" accuracy for straight lines between severities): {'; '.join(parts)}."
    )


def _of(leads: Sequence[Lead], order: str) -> list[Lead]:
    return [each for each in leads if each.order == order]


def _lead_words(leads: Sequence[Lead], order: str) -> list[str]:
    return [f"{in_words(each.degradation)} ({difference_words(each)})" for each in _of(leads, order)]


def difference_words(each: Lead) -> str:
    """Such as `-0.31 levels, -0.38 to -0.23`."""
    value, low, high = (decimals(end, signed=True) for end in (each.difference, each.low, each.high))
    return f"{value} levels, {low} to {high}"


def _images(leads: Sequence[Lead]) -> str:
    """How many images the orders are of, which is not the same under every degradation where maps are constant."""
    return spread([each.images for each in leads])


def undefined(found: Drifted) -> tuple[str, ...]:
    """Counts of what has no number."""
    return (
        *_idle(found),
        *_blank(found),
        *_without(found),
        *_few(found),
        *_left(found),
        *_no_order(found),
    )


def _idle(found: Drifted) -> Iterator[str]:
    """Levels at which nothing happens."""
    if found.idle:
        yield (
            f"No answer and no map changes at all under {listed([each.words for each in found.idle])}: images of"
            f" {found.facts.size} px stay as they are there, and no count, test or mean over conditions has them."
        )


def _blank(found: Drifted) -> Iterator[str]:
    title = METHODS[found.facts.study.method].title
    degraded_blank = found.drifts.blank[:, found.moving]
    for name, clean, degraded in zip(
        found.facts.names, found.drifts.blank_clean, degraded_blank, strict=True
    ):
        if clean.any() or degraded.any():
            yield (
                f"{title} maps of {name} show no evidence for the class on {clean.sum():,} of {len(clean):,} clean"
                f" images and in {degraded.sum():,} of {degraded.size:,} degraded cases, where centre and entropy are"
                " not defined."
            )


def _without(found: Drifted) -> Iterator[str]:
    """Constant maps have no ranks."""
    spearman = found.drifts.values["spearman"][:, found.moving]
    for name, values in zip(found.facts.names, spearman, strict=True):
        count = int(np.isnan(values).sum())
        if count:
            yield f"In {count:,} of {values.size:,} cases of {name} a map is constant and has no rank correlation."


def _few(found: Drifted) -> Iterator[str]:
    cells = [
        found.means["spearman", group][k][place].n
        for group in ("kept", "changed")
        for k in (0, 1)
        for place in found.moving
    ]
    few = sum(n < FEWEST for n in cells)
    if few:
        yield (
            f"{few} of {len(cells)} groups (network, condition, prediction kept or changed) have fewer than {FEWEST}"
            " images: their means say little."
        )


def _left(found: Drifted) -> Iterator[str]:
    """Images that are in no curve of what moves first."""
    for number, name in enumerate(found.facts.names):
        own = [each for each in found.leads if each.network == number and each.left]
        if own:
            counts = listed([f"{each.left:,} under {in_words(each.degradation)}" for each in own])
            yield (
                f"{name}: of {found.facts.images:,} images, those whose map is constant, clean or at some severity, are"
                f" left out of what moves first: {counts}."
            )


def _no_order(found: Drifted) -> Iterator[str]:
    for each in found.leads:
        if each.reason:
            name, words = found.facts.names[each.network], in_words(each.degradation)
            yield f"{name} under {words}: what moves first is not defined, as {each.reason}."
