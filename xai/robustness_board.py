"""What a board of stored answers offers for questions of robustness: scales, severities, seeds, and readable answers.

Conditions of different scales are never put on one axis, and those with a remedy are left to `robustness_remedies`.
Whatever takes long is kept in the board's memo under the files it was computed from.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from data.degradations import DEGRADATIONS, SCALES, parameters
from xai.calibration import Estimate
from xai.evaluation_grid import PAPER
from xai.metrics import Share
from xai.predictions import Answers, PredictionsError
from xai.result_manifest import Asked
from xai.results import UNTOUCHED, Board, Condition
from xai.robustness import CORRUPTIONS
from xai.tables import Row, Rows

T = TypeVar("T")
Make = Callable[[Board, Sequence[str], str], Rows]
"""`make(board, models, scale)` gives the rows of a table; of a table of two networks the first two are A and B."""
M = TypeVar("M", bound=Make)
_SEED = re.compile(r"(.+)-s(\d+)")
_ANY_WIDTH = 224


@dataclass(frozen=True)
class Table:
    """A table of the registry: what makes its rows, its caption, and the columns that hold sentences."""

    make: Make
    caption: str
    wide: tuple[str, ...] = ()


TABLES: dict[str, Table] = {}
"""Every table of the Robustness page by name; `xai.robustness_tables` fills it."""


def register(name: str, caption: str, wide: tuple[str, ...] = ()) -> Callable[[M], M]:
    """Decorator that enters a table into `TABLES`; raises `ValueError` when the name is taken."""

    def add(make: M) -> M:
        if name in TABLES:
            raise ValueError(f"a table named {name!r} is registered already.")
        TABLES[name] = Table(make, caption, wide)
        return make

    return add


def kept(board: Board, what: tuple[Any, ...], cells: Iterable[Asked], compute: Callable[[], T]) -> T:
    """What was computed before from the same files, or `compute()`; `what` says what it is, with all its choices."""
    files = [board.entries[pair] for pair in cells]
    stamps = tuple((str(stored.path), stored.stamp) for stored in files)
    found: T = board.memo(("robustness", *what, board.classes, stamps), compute)
    return found


def told(board: Board, model: str, condition: Condition) -> Answers | None:
    """The network's answers, None where there are none or their file is damaged (`damaged` names it)."""
    if not board.has(model, condition) or _problem(board, model, condition):
        return None
    return board.answers(model, condition)


def _problem(board: Board, model: str, condition: Condition) -> str:
    """Why the stored answers can't be read; empty where they can."""

    def read() -> str:
        try:
            board.answers(model, condition)
        except PredictionsError as error:
            return str(error)
        return ""

    return kept(board, ("problem",), [(model, condition)], read)


def damaged(board: Board, cells: Iterable[Asked]) -> list[str]:
    """A sentence for each of the cells whose file can't be read."""
    return [problem for pair in cells if board.has(*pair) and (problem := _problem(board, *pair))]


def scales(board: Board) -> tuple[str, ...]:
    """The scales on which the board has degraded images without a remedy, in the order of `SCALES`."""
    found = {condition.scale for condition in board.conditions if not condition.remedy}
    return tuple(scale for scale in SCALES if scale in found)


def degraded(board: Board, models: Iterable[str], scale: str) -> tuple[Condition, ...]:
    """Conditions of the scale, without remedy, under which at least one of the networks was asked, mild to severe."""
    wanted = tuple(models)
    return tuple(
        condition
        for condition in board.conditions
        if condition.scale == scale
        and not condition.remedy
        and condition != UNTOUCHED
        and any(board.has(model, condition) for model in wanted)
    )


def conditions(board: Board, models: Iterable[str], scale: str) -> tuple[Condition, ...]:
    """The clean images, where one of the networks was asked about them, and then `degraded`."""
    wanted = tuple(models)
    clean = (UNTOUCHED,) if any(board.has(model, UNTOUCHED) for model in wanted) else ()
    return (*clean, *degraded(board, wanted, scale))


def degradations(board: Board, models: Iterable[str], scale: str) -> tuple[str, ...]:
    """Names of the degradations of `degraded`, each once."""
    return tuple(dict.fromkeys(condition.degradation for condition in degraded(board, models, scale)))


def steps(board: Board, models: Iterable[str], degradation: str, scale: str) -> tuple[Condition, ...]:
    """The conditions of one degradation by rising severity."""
    return tuple(c for c in degraded(board, models, scale) if c.degradation == degradation)


def shared(board: Board, models: Iterable[str], scale: str) -> tuple[Condition, ...]:
    """The conditions under which all of the networks gave readable answers, clean first."""
    wanted = tuple(models)
    return tuple(c for c in conditions(board, wanted, scale) if all(told(board, m, c) for m in wanted))


def idle(board: Board, condition: Condition) -> bool:
    """Whether the degradation does nothing at this severity to images of this size: a blur over a single pixel."""
    if condition == UNTOUCHED or condition.remedy:
        return False
    constants = _constants(board, condition)
    nothing = parameters(condition.degradation, 0, condition.scale, _ANY_WIDTH)
    return constants.get("kernel") == 1 or constants == nothing


def _constants(board: Board, condition: Condition) -> Mapping[str, float]:
    """The degradation's constants as the stored cells give them."""
    stored = next(entry for (_, asked), entry in board.entries.items() if asked == condition)
    found: dict[str, float] = json.loads(stored.facts.get("constants", "{}"))
    return found


def idle_note(board: Board, shown: Iterable[Condition]) -> str:
    """A sentence on the conditions that are equal to clean; empty where there are none."""
    found = [condition.title for condition in shown if idle(board, condition)]
    if not found:
        return ""
    listed = "; ".join(found)
    return f"At this image size these do nothing, so that their answers are those on clean images: {listed}."


def silent_note(board: Board, models: Iterable[str], scale: str) -> str:
    """A sentence on the networks that were asked about no degraded image of the scale; empty where there are none."""
    found = [model for model in models if not degraded(board, (model,), scale)]
    if not found:
        return ""
    return f"On this scale no answers to degraded images are stored of {', '.join(found)}."


def training(model: str) -> str:
    """The name of a training without its seed: networks that differ in `-s0`, `-s1`, ... only share it."""
    found = _SEED.fullmatch(model)
    return found[1] if found else model


def seeds(board: Board, model: str) -> tuple[str, ...]:
    """All networks of the board of the same training as `model`, by seed."""
    own = [name for name in board.models if training(name) == training(model)]
    return tuple(sorted(own, key=lambda name: int(found[2]) if (found := _SEED.fullmatch(name)) else -1))


def reference(board: Board) -> str:
    """The network that errors are measured against unless told otherwise: the plain AlexNet, of the lowest seed."""
    plain = [name for name in board.models if training(name) == f"alexnet-{board.setting.dataset}"]
    alike = [name for name in board.models if name.startswith("alexnet")]
    return [*plain, *alike, *board.models][0]


def corruptions(scale: str) -> tuple[str, ...]:
    """The degradations that a mean corruption error is of: the paper's five, or the 15 of the benchmarks."""
    return PAPER if scale.startswith("paper") else CORRUPTIONS


def title(degradation: str) -> str:
    """The degradation in words; one that is not implemented keeps its name."""
    return DEGRADATIONS[degradation].title if degradation in DEGRADATIONS else degradation.capitalize()


def percent(name: str, share: Share | None) -> Row:
    """An accuracy in % with the ends of its Wilson interval, all empty for None."""
    values = (None, None, None) if share is None else (share.share, share.low, share.high)
    return _three(name, values, 100)


def estimated(name: str, found: Estimate | None, unit: float = 100) -> Row:
    """A value with the ends of its interval, times `unit`; all empty for None."""
    values = (None, None, None) if found is None else (found.value, found.low, found.high)
    return _three(name, values, unit)


def _three(name: str, values: Iterable[float | None], unit: float) -> Row:
    heads = (name, f"{name}, from", f"{name}, to")
    return {head: scaled(value, unit) for head, value in zip(heads, values, strict=True)}


def scaled(value: float | None, unit: float = 100) -> float | None:
    """The value in the table's unit, to six digits after the point, no minus sign before a zero; NaN gives None."""
    return None if value is None or math.isnan(value) else round(unit * value, 6) + 0.0
