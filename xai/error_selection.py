"""Which images stand behind a class, a confusion or a kind of error, and in which order they are shown.

Pure functions of stored answers to the same images in the same order: rows are numbers of images, int64, in [0, N).
`KINDS` and `ORDERS` are registries: what they hold is offered by the page and tested.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np

from xai import pairwise
from xai.predictions import Answers

Crowd = Callable[[], tuple[np.ndarray, int]]
"""Gives how many networks are right about each image, int64 `(N,)`, and of how many networks."""
READERS = ("a", "b", "a_clean", "b_clean")
"""Whose answers, and to which pictures: A or B under the condition, or on the clean ones."""
BOTH = ("both wrong", "only B right", "only A right", "both right")
"""Of two networks, by 2 x A right + B right."""


@dataclass(frozen=True, eq=False)
class Asked:
    """What is known of the images: answers of A and B under a condition and on the clean pictures, and of all networks.

    `b` and `b_clean` are None without a second network, `a_clean` and `b_clean` where the condition is the clean one.
    """

    a: Answers
    b: Answers | None = None
    a_clean: Answers | None = None
    b_clean: Answers | None = None
    crowd: Crowd | None = None

    def reader(self, name: str) -> Answers:
        """The answers that one of `READERS` names; raises `ValueError` where there are none."""
        found: Answers | None = getattr(self, name) if name in READERS else None
        if found is None:
            raise ValueError(f"there are no answers {name!r} here; allowed are {', '.join(self.readers)}.")
        return found

    @property
    def readers(self) -> tuple[str, ...]:
        """Those of `READERS` that there are answers of."""
        return tuple(name for name in READERS if getattr(self, name) is not None)

    def has(self, needs: Sequence[str]) -> bool:
        """Whether all fields named are there."""
        return all(getattr(self, name) is not None for name in needs)


Mask = Callable[[Asked], np.ndarray]


@dataclass(frozen=True)
class Kind:
    """A kind of image: `mask(asked)` is bool `(N,)`, and `needs` are the fields of `Asked` that it looks at."""

    name: str
    title: str
    needs: tuple[str, ...]
    mask: Mask


KINDS: dict[str, Kind] = {}


def kind(name: str, title: str, *needs: str) -> Callable[[Mask], Mask]:
    """Decorator that enters a kind into `KINDS`; raises `ValueError` when the name is taken."""

    def add(mask: Mask) -> Mask:
        if name in KINDS:
            raise ValueError(f"a kind of image named {name!r} is registered already.")
        KINDS[name] = Kind(name, title, needs, mask)
        return mask

    return add


def offered(asked: Asked) -> tuple[str, ...]:
    """Names of the kinds that can be told from what is known."""
    return tuple(name for name, entry in KINDS.items() if asked.has(entry.needs))


@kind("all", "all images")
def _all(asked: Asked) -> np.ndarray:
    return np.ones(len(asked.a), bool)


@kind("a_wrong", "A wrong")
def _a_wrong(asked: Asked) -> np.ndarray:
    return ~asked.a.correct


@kind("b_wrong", "B wrong", "b")
def _b_wrong(asked: Asked) -> np.ndarray:
    return ~asked.reader("b").correct


def _together(asked: Asked, right: int) -> np.ndarray:
    return 2 * asked.a.correct + asked.reader("b").correct == right


for _place, _name in ((2, "a_only"), (1, "b_only"), (0, "both_wrong"), (3, "both_right")):
    _title = {"a_only": "A right, B wrong", "b_only": "B right, A wrong"}.get(_name, BOTH[_place])
    kind(_name, _title, "b")(partial(_together, right=_place))


def _changed(asked: Asked, letter: str, before: bool) -> np.ndarray:
    """Right before and wrong after the degradation, or the other way round."""
    clean, degraded = asked.reader(f"{letter}_clean").correct, asked.reader(letter).correct
    return (clean == before) & (degraded != before)


for _letter in "ab":
    _needs = (_letter, f"{_letter}_clean")
    _who = _letter.upper()
    kind(f"{_letter}_lost", f"{_who} right when clean, wrong when degraded", *_needs)(
        partial(_changed, letter=_letter, before=True)
    )
    kind(f"{_letter}_won", f"{_who} wrong when clean, right when degraded", *_needs)(
        partial(_changed, letter=_letter, before=False)
    )


def _crowd(asked: Asked) -> tuple[np.ndarray, int]:
    assert asked.crowd is not None
    return asked.crowd()


@kind("all_wrong", "wrong for all networks", "crowd")
def _all_wrong(asked: Asked) -> np.ndarray:
    return _crowd(asked)[0] == 0


@kind("all_right", "right for all networks", "crowd")
def _all_right(asked: Asked) -> np.ndarray:
    right, networks = _crowd(asked)
    return right == networks


@kind("only_a", "only A right of all networks", "crowd")
def _only_a(asked: Asked) -> np.ndarray:
    return (_crowd(asked)[0] == 1) & asked.a.correct


@kind("only_a_wrong", "only A wrong of all networks", "crowd")
def _only_a_wrong(asked: Asked) -> np.ndarray:
    right, networks = _crowd(asked)
    return (right == networks - 1) & ~asked.a.correct


def transitions(asked: Asked) -> np.ndarray:
    """Which of the 16 kinds each image is of, as `pairwise.transitions` has them; `ValueError` if not all is known."""
    clean = asked.reader("a_clean"), asked.reader("b_clean")
    return pairwise.transitions(*clean, asked.a, asked.reader("b"))


def transition_name(cell: pairwise.Cell) -> str:
    """The kind of a cell of the transition table, such as `t1110`: right (1) or wrong, A and B clean, then degraded."""
    return "t" + "".join(map(str, cell))


def transition_words(cell: pairwise.Cell) -> str:
    """The cell in words."""
    clean, degraded = BOTH[2 * cell[0] + cell[1]], BOTH[2 * cell[2] + cell[3]]
    return f"clean: {clean}; degraded: {degraded}"


def _of_transition(asked: Asked, cell: pairwise.Cell) -> np.ndarray:
    kinds = transitions(asked)
    return kinds == np.ravel_multi_index(cell, (2, 2, 2, 2))


for _a, _b, _c, _d in product((1, 0), repeat=4):
    _cell: pairwise.Cell = (_a, _b, _c, _d)
    kind(transition_name(_cell), transition_words(_cell), "b", "a_clean", "b_clean")(
        partial(_of_transition, cell=_cell)
    )

Key = Callable[[Asked, Answers], np.ndarray]


@dataclass(frozen=True)
class Order:
    """An order of images: `key(asked, answers)` is a number for each image, float `(N,)`, the largest first."""

    name: str
    title: str
    needs: tuple[str, ...]
    key: Key


ORDERS: dict[str, Order] = {}


def order(name: str, title: str, *needs: str) -> Callable[[Key], Key]:
    """Decorator that enters an order into `ORDERS`; raises `ValueError` when the name is taken."""

    def add(key: Key) -> Key:
        if name in ORDERS:
            raise ValueError(f"an order named {name!r} is registered already.")
        ORDERS[name] = Order(name, title, needs, key)
        return key

    return add


def orders(asked: Asked) -> tuple[str, ...]:
    """Names of the orders that can be told from what is known."""
    return tuple(name for name, entry in ORDERS.items() if asked.has(entry.needs))


@order("margin", "margin (confidence less probability of the label)")
def _margin(_asked: Asked, answers: Answers) -> np.ndarray:
    return answers.confidence.astype(np.float32) - answers.label_probability


@order("confidence", "confidence")
def _confidence(_asked: Asked, answers: Answers) -> np.ndarray:
    return answers.confidence.astype(np.float32)


@order("disagreement", "disagreement of A and B on the label", "b")
def _disagreement(asked: Asked, _answers: Answers) -> np.ndarray:
    other = asked.reader("b").label_probability
    return np.abs(asked.a.label_probability.astype(np.float32) - other)


def _loss(asked: Asked, _answers: Answers, letter: str) -> np.ndarray:
    before = asked.reader(f"{letter}_clean").label_probability.astype(np.float32)
    return before - asked.reader(letter).label_probability


order("a_loss", "probability of the label that A loses", "a_clean")(partial(_loss, letter="a"))
order("b_loss", "probability of the label that B loses", "b_clean")(partial(_loss, letter="b"))


@order("stored", "order of the dataset")
def _stored(asked: Asked, _answers: Answers) -> np.ndarray:
    return -np.arange(len(asked.a), dtype=np.float32)


@dataclass(frozen=True)
class Choice:
    """Which images: of a kind, of a `true` class, answered `said` by the `reader`, in an order; -1 is any class.

    `text` is looked for in what is said of the images, each of its words anywhere, in any case.
    """

    kind: str = "all"
    true: int = -1
    said: int = -1
    reader: str = "a"
    text: str = ""
    order: str = "margin"
    reverse: bool = False


def select(asked: Asked, choice: Choice, words: Sequence[str] = ()) -> np.ndarray:
    """Rows of the images chosen, in order; those that the order does not tell apart are in that of the dataset.

    `words` are searched for `choice.text`: a lower-case text for each image. Raises `ValueError` for a kind, order
    or reader that is not known, or can't be told from what is asked.
    """
    _check(asked, choice)
    answers = asked.reader(choice.reader)
    mask = KINDS[choice.kind].mask(asked)
    if choice.true >= 0:
        mask = mask & (answers.labels == choice.true)
    if choice.said >= 0:
        mask = mask & (answers.predicted == choice.said)
    rows = np.flatnonzero(mask)
    if choice.text.strip():
        rows = _containing(rows, choice.text.lower().split(), words)
    key = ORDERS[choice.order].key(asked, answers)[rows]
    return rows[np.argsort(key if choice.reverse else -key, kind="stable")]


def _containing(rows: np.ndarray, parts: Sequence[str], words: Sequence[str]) -> np.ndarray:
    return np.array([row for row in rows.tolist() if all(part in words[row] for part in parts)], np.int64)


def _check(asked: Asked, choice: Choice) -> None:
    if choice.kind not in offered(asked):
        raise ValueError(f"there is no kind {choice.kind!r} here; allowed are {', '.join(offered(asked))}.")
    if choice.order not in orders(asked):
        raise ValueError(f"there is no order {choice.order!r} here; allowed are {', '.join(orders(asked))}.")


def in_words(choice: Choice, names: Sequence[str], reader: str = "") -> str:
    """The images chosen in words; `names` are those of the classes, `reader` what the reader is called."""
    words = [KINDS[choice.kind].title]
    words += [f"true class {names[choice.true]}"] if choice.true >= 0 else []
    words += [f"answered {names[choice.said]} by {reader or choice.reader}"] if choice.said >= 0 else []
    words += [f"with “{choice.text.strip()}”"] if choice.text.strip() else []
    return ", ".join(words)
