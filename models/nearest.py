"""How well a file's weights fit an architecture, and which architectures they fit best; no number is read."""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

from models import builders, nearest_index, registry
from models.external import SOURCES
from models.key_forms import Form, forms
from models.nearest_index import Shapes, counts
from models.state_dicts import shown

LISTED = 10
"""Names that a report lists of each kind."""
_MARK = 997
"""Classes of a network built to see which weights depend on their number: a prime that is no usual width."""
_SHORTLIST = 16
_MOST_SAME = 6
_MOST_ALIKE = 60
_MOST_SIZES = 6
"""Sides of an image that are tried; each builds the architecture once."""
_NORMALIZE = ("normalize.mean", "normalize.std")
"""What a network that was trained with this project brings in its file."""
_OPTIONAL = ("AuxLogits.", "aux1.", "aux2.", "aux_classifier.")
"""Beginnings of what is for training alone: further heads."""


@dataclass(frozen=True)
class Outline:
    """Weights by name: shapes, with `_MARK` for the number of classes, and which hold whole numbers."""

    shapes: dict[str, tuple[int, ...]]
    whole: frozenset[str]


@dataclass(frozen=True)
class Fit:
    """A file's weights beside an architecture.

    `missing` are names that only the architecture has, `unexpected` those that only the file has, `mis_shaped` those
    of both with the file's shape and the needed one, `wrong_kind` those whose numbers are whole where they should not
    be or the reverse. `names` gives the architecture's name of each of the file's that fit. `outputs` is the number
    of classes of the file's head, None where there is none. `prefix` was taken off the file's names.
    """

    architecture: str
    options: dict[str, Any]
    prefix: str
    names: dict[str, str]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mis_shaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    wrong_kind: tuple[str, ...]
    outputs: int | None
    dropped: tuple[str, ...] = ()
    needed: int = 0
    same: tuple[str, ...] = field(default=())

    @property
    def complete(self) -> bool:
        """Whether the file has every weight that the architecture needs, in its shape."""
        return not (self.missing or self.mis_shaped or self.wrong_kind) and self.outputs is not None

    @property
    def fits(self) -> bool:
        """Whether the file has exactly the architecture's weights."""
        return self.complete and not self.unexpected

    @property
    def share(self) -> float:
        """Weights that agree in name and shape, as a share of all that the file or the architecture has, in [0, 1]."""
        agreeing = self.needed - len(self.missing) - len(self.mis_shaped) - len(self.wrong_kind)
        return agreeing / max(self.needed + len(self.unexpected), 1)

    def summary(self) -> str:
        """One sentence."""
        if self.fits:
            return f"{self.title} fits: all {self.needed:,} weights agree, with a head of {self.outputs:,} classes."
        return (
            f"{self.title} does not fit: {len(self.missing):,} weights are missing, {len(self.unexpected):,} "
            f"unexpected, {len(self.mis_shaped):,} of another shape, {len(self.wrong_kind):,} of another kind."
        )

    @property
    def title(self) -> str:
        """The architecture with its options."""
        words = ", ".join(f"{key} {value}" for key, value in self.options.items())
        return f"{self.architecture} ({words})" if words else self.architecture

    def lines(self) -> list[str]:
        """The summary, then for each kind of difference its count and the first names."""
        shapes = [
            f"{shown(name)}: {_size(found)} in the file, {_size(need)} needed"
            for name, found, need in self.mis_shaped
        ]
        kinds = {
            "missing from the file": [*map(shown, self.missing)],
            "not in the architecture": [*map(shown, self.unexpected)],
            "of another shape": shapes,
            "whole numbers where others are needed, or the reverse": [*map(shown, self.wrong_kind)],
        }
        found = [line for title, names in kinds.items() if names for line in _listed(title, names)]
        return [self.summary(), *found]


def _listed(title: str, names: Sequence[str]) -> list[str]:
    more = [f"    and {len(names) - LISTED:,} more"] if len(names) > LISTED else []
    return [f"  {len(names):,} {title}:", *(f"    {name}" for name in names[:LISTED]), *more]


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "one number"


def outline(architecture: str, options: Mapping[str, Any]) -> Outline:
    """What weights an architecture has; raises `ValueError` when it is unknown or an option is not allowed."""
    return _outline(architecture, tuple(sorted(options.items())))


@functools.lru_cache(maxsize=128)
def _outline(architecture: str, options: tuple[tuple[str, Any], ...]) -> Outline:
    network = nearest_index.build_on_meta(architecture, _MARK, **dict(options))
    state = nearest_index.inner(network).state_dict()
    whole = frozenset(key for key, value in state.items() if not value.is_floating_point())
    return Outline({key: tuple(value.shape) for key, value in state.items()}, whole)


def compare(
    tensors: Mapping[str, Tensor],
    architecture: str,
    options: Mapping[str, Any] | None = None,
    image_size: int | None = None,
) -> Fit:
    """The best fit of a file's weights to an architecture, over the forms that its names may have.

    Where `options` are not given, those that the shapes tell are found: `width`, `hidden` and `image_size`.
    Raises `ValueError` when the architecture is unknown or can't have the options.
    """
    readings = forms(tensors)
    fit = _best(tensors, readings, architecture, dict(options or {}))
    if options or not fit.mis_shaped:
        return fit
    fits = [fit]
    for guess in _guesses(fit, architecture, image_size):
        with contextlib.suppress(ValueError):
            fits.append(_best(tensors, readings, architecture, guess))
        if fits[-1].fits:
            break
    return max(fits, key=lambda each: each.share)


def _best(tensors: Mapping[str, Tensor], readings: Sequence[Form], name: str, options: dict[str, Any]) -> Fit:
    wanted = outline(name, options)
    # Of forms that fit equally well the first has lost the least of its names.
    form = max(readings, key=lambda form: len(wanted.shapes.keys() & set(form.names.values())))
    return _fit(tensors, form, name, options, wanted)


def _fit(
    tensors: Mapping[str, Tensor], form: Form, name: str, options: dict[str, Any], wanted: Outline
) -> Fit:
    found = {new: old for old, new in form.names.items()}
    needed = {key: shape for key, shape in wanted.shapes.items() if counts(key)}
    extra = [new for new in found if new not in wanted.shapes and counts(new)]
    dropped = [new for new in extra if new.startswith(_OPTIONAL)]
    outputs = _outputs(tensors, found, needed) or _own_outputs(name, needed)
    shapes = {
        key: tuple(outputs or _MARK if side == _MARK else side for side in shape)
        for key, shape in needed.items()
    }
    both = [key for key in needed if key in found]
    wrong = [(key, tuple(tensors[found[key]].shape), shapes[key]) for key in both]
    return Fit(
        name,
        options,
        form.prefix,
        {found[key]: key for key in (*wanted.shapes, *_NORMALIZE) if key in found},
        tuple(key for key in needed if key not in found),
        tuple(key for key in extra if key not in dropped),
        tuple(entry for entry in wrong if entry[1] != entry[2]),
        tuple(key for key in both if tensors[found[key]].is_floating_point() == (key in wanted.whole)),
        outputs,
        tuple(dropped),
        len(needed),
    )


def _outputs(tensors: Mapping[str, Tensor], found: Mapping[str, str], needed: Shapes) -> int | None:
    """Classes of the file's head; None where it has none or its parts disagree."""
    sizes = set()
    for key, shape in needed.items():
        if _MARK in shape:
            own = tuple(tensors[found[key]].shape) if key in found else ()
            sizes.add(own[shape.index(_MARK)] if len(own) == len(shape) else 0)
    return sizes.pop() if len(sizes) == 1 and 0 not in sizes else None


def _own_outputs(name: str, needed: Shapes) -> int | None:
    """Classes of a network whose function does not let them be chosen."""
    fixed = name.startswith(builders.PREFIX) and not any(_MARK in shape for shape in needed.values())
    return builders.outputs(name) if fixed else None


def _guesses(fit: Fit, architecture: str, image_size: int | None) -> Iterator[dict[str, Any]]:
    """Options with which the mis-shaped weights may fit."""
    allowed = _allowed(architecture)
    first = {len(found): found[0] for _key, found, _need in reversed(fit.mis_shaped) if found}
    if "width" in allowed and 4 in first and first[4] <= 512:
        yield {"width": first[4]}
    if "hidden" in allowed and 2 in first and first[2] <= 8192:
        yield {"hidden": first[2]}
    if "image_size" in allowed:
        yield from ({"image_size": size} for size in _sizes(fit, architecture, image_size))


def _allowed(architecture: str) -> Collection[str]:
    """Options of an architecture; those of the libraries all have the one, and are not built to ask them."""
    if source(architecture) in SOURCES:
        return ("image_size",)
    return inspect.signature(registry.architecture(architecture).build).parameters


def _sizes(fit: Fit, architecture: str, image_size: int | None) -> Iterator[int]:
    """Sides of an image, in px, whose positions a transformer's file may hold."""
    if image_size:
        yield image_size
    default = registry.architecture(architecture).default_size
    pairs = dict.fromkeys(
        pair
        for _key, found, need in fit.mis_shaped
        if len(found) == len(need)
        for pair in zip(found, need, strict=True)
        if pair[0] != pair[1]
    )
    sides = dict.fromkeys(side for pair in pairs for side in _sides(default, *pair))
    yield from list(sides)[:_MOST_SIZES]


def _sides(default: int, found: int, need: int) -> Iterator[int]:
    """Sides of an image, in px, at which an axis may be `found` long that is `need` long at the default side.

    It may count the s x s cells of a grid, with up to two tokens before them, or the places of one cell relative to
    another: 2 s - 1 along a side, or their square, with three more where there is a class token.
    """
    ratios = [math.sqrt((found - rest) / (need - rest)) for rest in (0, 1, 2) if min(found, need) > rest]
    ratios.append((found + 1) / (need + 1))
    ratios += [
        (math.sqrt(found - rest) + 1) / (math.sqrt(need - rest) + 1)
        for rest in (0, 3)
        if min(found, need) > rest
    ]
    for ratio in ratios:
        side = default * ratio
        if abs(side - round(side)) < 1e-6 and 0 < round(side) <= 1024:
            yield round(side)


def nearest(tensors: Mapping[str, Tensor], count: int = 5, image_size: int | None = None) -> list[Fit]:
    """The architectures that a file's weights fit best, best first, with the names of those that have the same.

    Shortlisted by the index, then compared one by one: seconds the first time.
    """
    fits: list[Fit] = []
    for name in _shortlist(_scores(tensors)):
        with contextlib.suppress(ValueError, RuntimeError):
            fits.append(compare(tensors, name, None, image_size))
        if any(fit.fits for fit in fits) and len(_grouped(fits)) >= count:
            break
    return _grouped(fits)[:count]


def _shortlist(scores: Mapping[str, float]) -> list[str]:
    """The likeliest names, ours first of those that are alike, and not too many of the same sketch."""
    ranked = sorted(
        scores, key=lambda name: (-scores[name], SOURCES.index(source(name)) if source(name) else -1)
    )
    found: list[str] = []
    taken: Counter[bytes] = Counter()
    for name in (name for name in ranked[:_MOST_ALIKE] if scores[name] > 0):
        taken[_sketches()[name].tobytes()] += 1
        if taken[_sketches()[name].tobytes()] <= _MOST_SAME:
            found.append(name)
    return found[:_SHORTLIST]


def _grouped(fits: Sequence[Fit]) -> list[Fit]:
    """Best first; of architectures with the same weights the first, which names the others."""
    groups: dict[Any, list[Fit]] = {}
    for fit in fits:
        shapes = outline(fit.architecture, fit.options).shapes
        groups.setdefault(frozenset(entry for entry in shapes.items() if counts(entry[0])), []).append(fit)
    found = [replace(each[0], same=tuple(fit.title for fit in each[1:])) for each in groups.values()]
    return sorted(found, key=lambda fit: (-fit.fits, -fit.share))


def source(name: str) -> str:
    """The library that an architecture comes from, empty for ours."""
    return name.partition(":")[0] if ":" in name else ""


@functools.cache
def _sketches() -> dict[str, np.ndarray]:
    return dict(zip(*nearest_index.load(), strict=True))


def _scores(tensors: Mapping[str, Tensor]) -> dict[str, float]:
    """How alike each indexed architecture is, over the forms that the file's names may have, in [0, 1]."""
    names, sketches = nearest_index.load()
    best = np.zeros(len(names))
    for form in forms(tensors):
        shapes = {new: tuple(tensors[old].shape) for old, new in form.names.items()}
        best = np.maximum(best, nearest_index.alike(nearest_index.sketch(shapes), sketches))
    return dict(zip(names, best.tolist(), strict=True))
