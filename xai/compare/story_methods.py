"""The methods paragraphs of a comparison: what was done, with the real settings and sizes, in plain sentences."""

from __future__ import annotations

from collections.abc import Mapping

from data import degradations
from data.degradations import DEGRADATIONS
from xai import statistics
from xai.attribution import METHODS
from xai.compare.resampling import FLIPS, LEVEL, RESAMPLES
from xai.compare.sections import Measured, section
from xai.compare.study import LETTERS, Facts, Network, of_degradation
from xai.report_index import upper_first

_HASH = 12
"""Letters of a hash that are printed."""


def paragraphs(facts: Facts, rows: Mapping[str, Measured]) -> dict[str, str]:
    """Paragraphs by heading: networks, images, degradations, heatmaps and intervals, then each section's own."""
    own = {section(name).title: _own(facts, name, tables) for name, tables in rows.items()}
    return {
        "Networks": _networks(facts),
        "Images": _images(facts),
        "Degradations": _degradations(facts),
        "Heatmaps": _heatmaps(facts),
        "Intervals and tests": _intervals(facts),
        **own,
    }


def _own(facts: Facts, name: str, rows: Measured) -> str:
    """A section's own sentences; its title is the heading, and not said twice."""
    each = section(name)
    return upper_first(each.method(facts, rows).removeprefix(f"{each.title}: "))


def _networks(facts: Facts) -> str:
    return " ".join(map(_network, LETTERS, facts.networks))


def _network(letter: str, network: Network) -> str:
    trained = f"trained on {network.dataset} with seed {network.seed}"
    weights = f"weights of SHA-256 {network.sha256[:_HASH]}" if network.sha256 else "weights without a hash"
    peers = f"; its peers of the same training with other seeds: {', '.join(network.peers)}"
    return (
        f"{letter} is {network.name} ({network.architecture}, {network.parameters:,} parameters, {trained}; {weights}"
        f"{peers if network.peers else ''})."
    )


def _images(facts: Facts) -> str:
    study = facts.study
    taken = "all of them" if study.limit is None else "evenly spread over the classes"
    masks = " The objects' places are known exactly." if facts.has_masks else ""
    return (
        f"Both networks were asked about the same {facts.images:,} images of the {study.split} split of {study.dataset}"
        f" ({taken}), {facts.size} x {facts.size} px, of {len(facts.classes):,} classes; SHA-256 of ids, labels and "
        f"pixels {facts.data_sha256[:_HASH]}.{masks}{''.join(f' {note}' for note in facts.notes)}"
    )


def _degradations(facts: Facts) -> str:
    study = facts.study
    if not study.degradations:
        return "The images were not degraded."
    listed = "; ".join(_degradation(facts, name) for name in study.degradations)
    return (
        f"Every image was asked about clean and degraded on the scale {study.scale}, with the constants at rising "
        f"severity in brackets: {listed}. Random degradations are drawn for each image from its id and seed "
        f"{study.seed}, so that both networks see the same pixels."
    )


def _degradation(facts: Facts, name: str) -> str:
    """Such as `Gaussian blur (kernel 3, 3, 3; sigma 0.14, 0.43, 0.71)`."""
    scale, width = facts.study.scale, facts.size
    levels = [
        degradations.parameters(name, condition.severity, scale, width)
        for condition in of_degradation(facts.study, name)
    ]
    fields = "; ".join(
        f"{field.replace('_', ' ')} {', '.join(f'{level[field]:.3g}' for level in levels)}"
        for field in levels[0]
    )
    return f"{DEGRADATIONS[name].title} ({fields})"


def _heatmaps(facts: Facts) -> str:
    tapped = " and ".join(
        f"{network.layer} of {letter} ({network.grid[0]} x {network.grid[1]}, head {network.head.replace('_', ' + ')})"
        for letter, network in zip(LETTERS, facts.networks, strict=True)
    )
    (height, width), title = facts.common_grid, METHODS[facts.study.method].title
    return (
        f"Heatmaps are those of {title}, raw and signed, of the output of {tapped}, for the class predicted on the "
        f"clean image unless said otherwise. Maps of one network are compared on its own grid, maps of A and B on "
        f"{height} x {width} cells."
    )


def _intervals(facts: Facts) -> str:
    return (
        f"Intervals are at {LEVEL:.0%} and as each section says: of means, expanded percentiles of {RESAMPLES:,} "
        f"bootstrap resamples (Hesterberg 2015) of images, each with all its conditions and both networks together "
        f"(seed {facts.study.seed}); of accuracy differences, BCa with {statistics.RESAMPLES:,}; of shares, Wilson's. "
        f"Paired differences of means are tested by sign flips (exact up to 13 images, else {FLIPS:,} draws), of right "
        f"and wrong answers by McNemar's exact test, unless a section says otherwise. P values are corrected by Holm "
        "within each family named below. Tests speak of these weights, unless networks of other seeds are named beside "
        "them."
    ).replace("95%", "95 %")
