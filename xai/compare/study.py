"""What is compared: everything that the numbers of a comparison depend on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from data import degradations
from xai.attribution import GRADIENT_CAMS, ExplanationError
from xai.evaluation_grid import PAPER
from xai.results import UNTOUCHED, Condition

LETTERS = ("A", "B")


@dataclass(frozen=True)
class Study:
    """Two networks, the images they are asked about, how these are degraded, and what explains the answers.

    `models` are the names of A and B, `limit` how many images, evenly spread over the classes (None: all), `method` a
    gradient CAM, `layers` what is tapped in A and in B (empty: the network's own), `degradations` are asked at every
    whole severity of `scale` (empty: the one that fits the images). `seed` draws degradations, resamples and examples.
    Raises `ExplanationError` with one sentence for what can't be compared.
    """

    models: tuple[str, str]
    dataset: str
    split: str = "test"
    limit: int | None = 2_000
    method: str = "gradcam"
    layers: tuple[str, str] = ("", "")
    degradations: tuple[str, ...] = PAPER
    scale: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        _check_texts(self)
        if self.limit is not None and (not _is_whole(self.limit) or self.limit < 1):
            raise ExplanationError(f"The limit is {self.limit!r}; allowed are whole numbers from 1, or none.")
        if not _is_whole(self.seed) or not 0 <= self.seed < 2**32:
            raise ExplanationError(
                f"The seed is {self.seed!r}; allowed are whole numbers from 0 to 2**32 - 1."
            )
        if self.method not in GRADIENT_CAMS:
            raise ExplanationError(f"The method is {self.method!r}; allowed are {', '.join(GRADIENT_CAMS)}.")
        if len(set(self.degradations)) != len(self.degradations):
            raise ExplanationError("A degradation was named twice.")
        for name in self.degradations:
            _checked(name, self.scale)

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON has them."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
        }

    @staticmethod
    def from_json(found: Mapping[str, Any]) -> Study:
        """The study that `to_json` wrote; raises `ExplanationError` for anything else."""
        names = {entry.name for entry in fields(Study)}
        if not isinstance(found, Mapping) or set(found) != names:
            raise ExplanationError(
                "The study is not one that this program wrote, or of another version of it."
            )
        settings: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in found.items()
        }
        return Study(**settings)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_texts(study: Study) -> None:
    lists = (study.models, study.layers, study.degradations)
    if not all(isinstance(each, tuple) for each in lists) or len(study.models) != 2 or len(study.layers) != 2:
        raise ExplanationError(
            "A study names two networks, a layer for each, and any number of degradations."
        )
    texts = (*study.models, *study.layers, *study.degradations, study.dataset, study.split, study.scale)
    if not all(isinstance(text, str) for text in (*texts, study.method)):
        raise ExplanationError("A study names networks, layers, images, method and degradations as text.")


def _checked(name: str, scale: str) -> None:
    try:
        resolved = degradations.resolve_name(name)
        if scale:
            degradations.severity_levels(resolved, scale)
    except ValueError as error:
        raise ExplanationError(f"{error}.") from error


def with_scale(study: Study, width: int) -> Study:
    """The same study with degradations by their full names in the registry's order and the scale named, that of images
    `width` px wide.

    Raises `ExplanationError` for a degradation that the scale does not have.
    """
    asked = [degradations.resolve_name(name) for name in study.degradations]
    names = tuple(name for name in degradations.DEGRADATIONS if name in asked)
    scale = degradations.resolve_scale(study.scale) if study.scale else usual_scale(names, width)
    for name in names:
        _checked(name, scale)
    return replace(study, degradations=names, scale=scale)


def usual_scale(names: Sequence[str], width: int) -> str:
    """The paper's three levels in lengths that grow with the images, or where it lacks one of the degradations the
    benchmark's five for images of that width."""
    usual = "paper-relative"
    has_all = all(usual in degradations.DEGRADATIONS[name].scales for name in names)
    return usual if has_all else degradations.resolve_scale(degradations.default_scale(width, width))


def conditions(study: Study) -> tuple[Condition, ...]:
    """The clean images, then every degradation at every whole severity; `study.scale` is named."""
    found = [UNTOUCHED]
    for name in study.degradations:
        levels = range(1, degradations.max_severity(name, study.scale) + 1)
        found += [Condition(name, study.scale, float(level)) for level in levels]
    return tuple(found)


def of_degradation(study: Study, name: str) -> tuple[Condition, ...]:
    """The conditions of one degradation, from mild to severe, without the clean one."""
    return tuple(condition for condition in conditions(study) if condition.degradation == name)


@dataclass(frozen=True)
class Network:
    """What numbers depend on and readers want to know of one network: what it is, and what is tapped in it.

    `grid` `(h, w)` is that of the tapped `layer`, `head` is `pool_linear` or `flatten_mlp`. `peers` are the names of
    networks of the same training with other seeds.
    """

    name: str
    title: str
    architecture: str
    dataset: str
    seed: int
    sha256: str
    head: str
    layer: str
    grid: tuple[int, int]
    parameters: int
    peers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    """All that turning rows into numbers and sentences needs beside the rows. JSON-able.

    `classes` are the dataset's in its own order; rows have class numbers that mean these, and -1 for a class that only
    the network knows. `has_masks`: whether the objects' places are known exactly.
    """

    study: Study
    networks: tuple[Network, Network]
    classes: tuple[str, ...]
    images: int
    size: int
    data_sha256: str
    has_masks: bool = False
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, str]:
        """What the two are called in sentences: their titles, with the letters where those are the same."""
        return (self.networks[0].title, self.networks[1].title)

    @property
    def common_grid(self) -> tuple[int, int]:
        """The grid on which maps of A and B are compared."""
        (a, b), (c, d) = (network.grid for network in self.networks)
        return min(a, c), min(b, d)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The clean images first, then all others in order."""
        return conditions(self.study)

    def to_json(self) -> dict[str, Any]:
        """The facts as JSON has them."""
        return {**asdict(self), "study": self.study.to_json()}

    @staticmethod
    def from_json(found: Mapping[str, Any]) -> Facts:
        """The facts that `to_json` wrote; raises `ExplanationError` for anything else."""
        try:
            rest = {name: value for name, value in found.items() if name not in ("study", "networks")}
            networks = [
                Network(**{**each, "grid": tuple(each["grid"]), "peers": tuple(each["peers"])})
                for each in found["networks"]
            ]
            lists = {name: tuple(value) for name, value in rest.items() if isinstance(value, list)}
            a, b = networks
            return Facts(Study.from_json(found["study"]), (a, b), **{**rest, **lists})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ExplanationError("The facts of the comparison can't be read.") from error


def nan_to_none(value: float) -> float | None:
    """A number as JSON has it: None for one that is not defined."""
    return None if math.isnan(value) else float(value)
