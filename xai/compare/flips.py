"""At which severity an image's answer first flips, for A and for B: found on a continuous severity, paired by image.

Along a path the random numbers of a degradation stay those of its highest severity (see `drawn_at` of
`data.degradations.degrade`): one draw of noise grows, and at the end of the path the image is the one that the rest
of the study sees at that severity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from data.degradations import DEGRADATIONS, degrade, max_severity
from models.registry import Model
from xai.compare import flip_summary
from xai.compare.bisection import Changes, first_changes
from xai.compare.flip_scan import graded, places_of, scans
from xai.compare.flip_statistics import TOLERANCE, most_images
from xai.compare.sections import Measured, Section, Table, register
from xai.compare.study import Facts

if TYPE_CHECKING:
    from xai.compare.bench import Bench
    from xai.figure_parts import Figure


_SCAN = 0.8
"""The scan's share of the time, about."""
_CHOICE = (
    "The images are, of those that flip with both networks, the ones in the middle of the early, the middle and the"
    " late third by their mean severity."
)


@dataclass(frozen=True)
class Path:
    """Images float32 `(n, 3, H, W)` in [0, 1] with their ids, along one degradation from nothing to its highest."""

    images: Tensor
    ids: Sequence[str]
    name: str
    scale: str
    seed: int

    @property
    def highest(self) -> float:
        """The severity at its end."""
        return float(max_severity(self.name, self.scale))

    def at(self, rows: np.ndarray, severities: np.ndarray) -> Tensor:
        """Images of `rows` `(k,)`, each at its own severity `(k,)`, `(k, 3, H, W)`."""
        found = self.images.new_empty((len(rows), *self.images.shape[1:]))
        for severity in np.unique(severities):
            here = np.flatnonzero(severities == severity)
            found[torch.from_numpy(here)] = degrade(
                self.images[torch.from_numpy(rows[here])],
                self.name,
                float(severity),
                scale=self.scale,
                image_ids=[self.ids[row] for row in rows[here]],
                seed=self.seed,
                drawn_at=self.highest,
            )
        return found


def paths(bench: Bench, rows: np.ndarray, names: Sequence[str]) -> list[Path]:
    """The study's images in `rows` `(n,)` along degradations of the study's scale."""
    taken = bench.data.take(torch.from_numpy(np.asarray(rows, np.int64)))
    images = taken.pixels(slice(0, len(taken))).to(bench.models[0].device).float() / 255
    return [Path(images, taken.ids, name, bench.study.scale, bench.study.seed) for name in names]


def trace(bench: Bench, rows: np.ndarray, names: Sequence[str]) -> Table:
    """Where both networks' answers to the study's images in `rows` `(n,)` first differ from those to the clean images.

    One row per image, degradation and network; columns as `method` of the section says. Images that a network gets
    wrong when clean are traced as well: what flips is the answer.
    """
    rows = np.asarray(rows, np.int64)
    parts: list[Table] = []
    along = paths(bench, rows, names) if len(rows) else []
    clean = [graded(model, path.images)[0] for path in along[:1] for model in bench.models]
    for place, path in enumerate(along):
        title = DEGRADATIONS[path.name].title

        def tell(done: float, place: int = place, title: str = title) -> None:
            bench.tell(int(100 * (place + done)), 100 * len(names), f"flip points, {title}")

        severities = places_of(path.name, path.scale, bench.size)
        scanned = scans(bench.models, clean, severities, path.name, path.at, tell, _SCAN)
        for number, (model, scan) in enumerate(zip(bench.models, scanned, strict=True)):
            tell(_SCAN + (1 - _SCAN) * number / 2)
            found = first_changes(severities, scan, _asking(model, path), TOLERANCE)
            parts.append(_table(rows, path.name, number, scan[0], found, _numbers(bench, model)))
    return _joined(parts)


def _asking(model: Model, path: Path) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    return lambda rows, severities: graded(model, path.at(rows, severities))[0]


def _numbers(bench: Bench, model: Model) -> np.ndarray:
    """For each class of the network its number in the dataset, -1 for none, int16 `(K,)`."""
    known = {name: number for number, name in enumerate(bench.data.classes)}
    return np.array([known.get(name, -1) for name in model.classes], np.int16)


def _table(
    rows: np.ndarray, name: str, network: int, clean: np.ndarray, found: Changes, numbers: np.ndarray
) -> Table:
    return {
        "image": rows.astype(np.int32),
        "degradation": np.full(len(rows), name),
        "network": np.full(len(rows), network, np.int8),
        "before": found.before.astype(np.float32),
        "after": found.after.astype(np.float32),
        "flipped": found.changed,
        "returns": found.returns.astype(np.int16),
        "answer_before": numbers[clean],
        "answer_after": numbers[found.answer],
    }


_NOTHING = Changes(np.empty(0), np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64))


def _joined(parts: Sequence[Table]) -> Table:
    """One table; without parts, one without rows."""
    none = _table(np.empty(0, np.int64), "", 0, _NOTHING.answer, _NOTHING, np.empty(0, np.int16))
    return {name: np.concatenate([part[name] for part in parts or [none]]) for name in none}


def chosen(labels: np.ndarray, right: np.ndarray, limit: int) -> np.ndarray:
    """Rows of at most `limit` images that are `right` bool `(N,)`, ascending: equally many of each class in `labels`
    int `(N,)` as far as there are, evenly spread over the class."""
    groups = [np.flatnonzero(right & (labels == label)) for label in np.unique(labels[right])]
    found: list[np.ndarray] = []
    for place, group in enumerate(sorted(groups, key=len)):
        room = (limit - sum(map(len, found))) // (len(groups) - place)
        count = min(len(group), room)
        found.append(group[np.arange(count) * (len(group) - 1) // max(count - 1, 1)])
    return np.sort(np.concatenate([np.empty(0, np.int64), *found]))


def measure(bench: Bench) -> Measured:
    """The flips of the chosen images, and which images there are: right when clean for A and B, and asked or not."""
    a, b = (bench.maps(model).correct for model in bench.models)
    labels = bench.data.labels.cpu().numpy()
    rows = chosen(labels, a & b, most_images(bench.size))
    images: Table = {
        "image": np.arange(len(labels), dtype=np.int32),
        "label": labels.astype(np.int16),
        "right_a": a,
        "right_b": b,
        "asked": np.isin(np.arange(len(labels)), rows),
    }
    return {"images": images, "flips": trace(bench, rows, bench.study.degradations)}


def applies(facts: Facts) -> str:
    """Flips need something that grows."""
    return "" if facts.study.degradations else "The study names no degradation, so that no answer can flip."


def draw(facts: Facts, rows: Measured) -> dict[str, Figure]:
    """How flips are distributed over severity, for both networks, and which of them flips later."""
    from xai.figure_compare_flips import distribution_figure

    if not len(rows["flips"]["image"]):
        return {}
    return {"flip points": distribution_figure(facts, rows)}


def pictures(bench: Bench, facts: Facts, rows: Measured) -> dict[str, Figure]:
    """For each degradation a filmstrip of images that flip with both networks, early, in the middle and late."""
    from xai.compare.filmstrip import filmstrip, spread_images
    from xai.figure_compare_flips import filmstrip_figure

    images = {name: spread_images(rows["flips"], name) for name in facts.study.degradations}
    return {
        f"filmstrip {name}": filmstrip_figure(filmstrip(bench, chosen, name, rows), note=_CHOICE)
        for name, chosen in images.items()
        if chosen
    }


register(
    Section(
        name="flips",
        title="Flip points",
        question="How far can an image be degraded before the answer flips, and which network's flips later?",
        measure=measure,
        summarise=flip_summary.summarise,
        draw=draw,
        method=flip_summary.method,
        applies=applies,
        version=3,
        pictures=pictures,
    )
)
