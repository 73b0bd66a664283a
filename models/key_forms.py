"""Names of weights as people's files have them, and the names that an architecture has for the same weights."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from models.nearest_index import counts

_MOST_FORMS = 7
_LEAST_SHARE = 0.5
"""A prefix is one that at least this share of the weights has: a head beside a `backbone.` has none."""
_DENSENET = re.compile(r"^(.*denselayer\d+\.(?:norm|conv))\.([12]\..*)$")
IGNORED = re.compile(r"^(n_averaged|initted|step|num_updates|decay)$|(^|\.)total_(ops|params)$")
"""Counters that wrappers leave among the weights: of averaged models, and of the profiler thop."""


@dataclass(frozen=True)
class Form:
    """One reading of a file's names: the `prefix` that was taken off, and the new name of each old one."""

    prefix: str
    names: dict[str, str]


def modern(key: str) -> str:
    """The name that torchvision has for a weight since 2018: `denselayer1.norm1` for `denselayer1.norm.1`."""
    return _DENSENET.sub(r"\1\2", key)


def forms(keys: Iterable[str]) -> list[Form]:
    """The names as they are, then with one, two, ... prefixes taken off: `module.`, `model.`, or any other.

    A prefix is the first part of most names. Only names that have it are changed, and none to one that is taken.
    """
    names = {key: modern(key) for key in keys if not IGNORED.search(key)}
    found = [Form("", names)]
    while len(found) < _MOST_FORMS:
        shorter = _shortened(found[-1])
        if shorter is None:
            break
        found.append(shorter)
    return found


def _shortened(form: Form) -> Form | None:
    """The form with one more prefix taken off, None where there is none or names would be the same."""
    prefix = _common_start(form.names.values())
    if not prefix:
        return None
    names = {old: new.removeprefix(prefix) for old, new in form.names.items()}
    if len(set(names.values())) < len(names):
        return None
    return Form(form.prefix + prefix, names)


def _common_start(names: Iterable[str]) -> str:
    counted = [name for name in names if counts(name)]
    starts = Counter(f"{start}." for start, dot, _rest in (name.partition(".") for name in counted) if dot)
    start, count = starts.most_common(1)[0] if starts else ("", 0)
    return start if count >= _LEAST_SHARE * len(counted) else ""
