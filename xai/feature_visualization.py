"""What a channel, a unit, a class or a direction looks for: pictures that excite it most.

Activation maximisation in Fourier space with decorrelated colours and random views (Olah et al., Feature Visualization,
Distill 2017), sized for the network's input and for many pictures at once. A run works on a private copy of the
network's modules (`xai.visualization_network`) and holds the model's lock only while it makes it, so that minutes of
work don't block others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from models.registry import Model
from xai.attribution_types import ExplanationError
from xai.evaluation import Cancelled
from xai.visualization_colours import colours_for
from xai.visualization_engine import Finished, Job, Recipe, optimise, strip_steps
from xai.visualization_image import Canvas, make_canvas
from xai.visualization_network import OUTPUT, PrivateNetwork, bytes_per_picture
from xai.visualization_objectives import Goal, Objective, Readout, caricature, parse_objective
from xai.visualization_transforms import GREY, TRANSFORMS, preset_for

__all__ = [
    "Cancelled",
    "Goal",
    "Objective",
    "Progress",
    "Readout",
    "Settings",
    "Visualization",
    "caricature",
    "parse_objective",
    "visualize",
]
Progress = Callable[[int, int, Tensor], None]
"""`progress(done, total, pictures)`: steps of all batches, and all pictures `(N, 3, S, S)` as far as they are."""
MEMORY = 256 * 2**20
"""How much memory the activations of one batch may take, in bytes."""
MOST_AT_ONCE = 64
MOST_PIXELS = 2**28
"""Of all pictures of a run and the steps that are kept of each: 3 GB. More is a slip, or somebody else's manifest."""
SIZES = range(8, 1025)
SEEDS = range(2**63)
_PATIENCE = 0.25


_KINDS: dict[str, tuple[Any, str]] = {
    "int": (int, "a whole number"),
    "int | None": (int | None, "a whole number, or None"),
    "float": (int | float, "a number"),
    "str": (str, "a text"),
}
"""What a field of `Settings` may hold, by its annotation."""
_MOST = {
    "total_variation": 1000,
    "high_frequency": 1000,
    "frequency_decay": 4,
    "diversity": 1000,
    "strip": 1000,
}
"""Of larger decays single precision loses all but the lowest frequency."""


@dataclass(frozen=True)
class Settings:
    """How pictures are made; every field is plain JSON, and numbers that need not be whole are kept as floats.

    `size` in px (None: the network's input). `learning_rate` is Adam's, on spectra. `transforms` is `auto` (by size) or
    a name of `TRANSFORMS`. `total_variation` and `high_frequency` weigh penalties against the value over its largest
    so far; `diversity` does so for the likeness of pictures of the same objective. Frequencies are scaled by
    1/f^`frequency_decay`. `colours` is `dataset` or a name of `COLOURS`. `contrast` is that of the noise at the start;
    `starts` of them are tried, and the best goes on. `strip` is how many intermediate pictures are kept, `batch` how
    many pictures are made at once (None: as many as the memory allows).
    """

    size: int | None = None
    steps: int = 256
    learning_rate: float = 0.05
    transforms: str = "auto"
    total_variation: float = 0.0
    high_frequency: float = 0.0
    frequency_decay: float = 1.25
    colours: str = "dataset"
    diversity: float = 0.0
    contrast: float = 0.01
    starts: int = 3
    strip: int = 6
    batch: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise `ExplanationError` for a value of another type or out of its range."""
        self._check_types()
        if self.size is not None and self.size not in SIZES:
            raise ExplanationError(f"size is {self.size}; allowed are {SIZES[0]} to {SIZES[-1]} px.")
        if self.transforms != "auto" and self.transforms not in TRANSFORMS:
            raise ExplanationError(
                f"transforms is {self.transforms!r}; allowed are auto, {', '.join(TRANSFORMS)}."
            )
        for name in ("steps", "starts", "batch"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= 100_000:
                raise ExplanationError(f"{name} is {value}; allowed is 1 to 100000.")
        for name in ("learning_rate", "contrast"):
            if not 0 < getattr(self, name) <= 100:
                raise ExplanationError(f"{name} is {getattr(self, name)}; allowed is above 0, up to 100.")
        for name, most in _MOST.items():
            if not 0 <= getattr(self, name) <= most:
                raise ExplanationError(f"{name} is {getattr(self, name)}; allowed is 0 to {most}.")
        if self.seed not in SEEDS:
            raise ExplanationError(f"seed is {self.seed}; allowed is 0 to 2**63 - 1.")
        for one in fields(self):
            if one.type == "float":
                object.__setattr__(self, one.name, float(getattr(self, one.name)))

    def _check_types(self) -> None:
        """Fields come from manifests too."""
        for one in fields(self):
            value, (kind, words) = getattr(self, one.name), _KINDS[str(one.type)]
            if not isinstance(value, kind) or isinstance(value, bool):
                raise ExplanationError(f"{one.name} is {value!r:.40}; it must be {words}.")

    def resolved(self, model: Model) -> Settings:
        """The same with the size and the transforms that this network gets."""
        size = self.size or model.input_size
        transforms = preset_for(size) if self.transforms == "auto" else self.transforms
        return replace(self, size=size, transforms=transforms)

    @property
    def recipe(self) -> Recipe:
        """What the optimisation needs of resolved settings."""
        return Recipe(
            self.steps,
            self.learning_rate,
            self.transforms,
            self.total_variation,
            self.high_frequency,
            self.diversity,
            self.contrast,
            self.starts,
        )

    def to_json(self) -> dict[str, Any]:
        """All fields by name; `Settings(**fields)` reads them back."""
        return asdict(self)


@dataclass(frozen=True)
class Visualization:
    """Pictures of B objectives.

    `images` `(B, 3, S, S)` in [0, 1]; `values` `(B,)` are the objectives' values for these very pictures, without
    views or penalties; `strip` `(B, T, 3, S, S)` are the pictures after `strip_steps`; all float32 on the CPU. `notes`
    has a sentence or nothing for each picture, `remarks` sentences about all of them. `settings` are resolved.
    """

    objectives: tuple[str, ...]
    images: Tensor
    values: Tensor
    strip: Tensor
    strip_steps: tuple[int, ...]
    settings: Settings
    notes: tuple[str, ...]
    remarks: tuple[str, ...]
    model: str
    model_sha256: str
    device: str


@dataclass
class _Work:
    """Everything one call of `visualize` shares between its batches."""

    job: Job
    goals: tuple[Goal, ...]
    progress: Progress | None
    cancelled: Callable[[], bool] | None
    pictures: Tensor
    finished: list[Finished] = field(default_factory=list)


def visualize(
    model: Model,
    objectives: Sequence[str | Goal],
    settings: Settings | None = None,
    *,
    image: Tensor | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Visualization:
    """Make one picture for each objective: a text for `parse_objective`, or a `Goal` of one's own.

    A text given twice makes two pictures from two seeds. `image` `(1, 3, S, S)` in [0, 1] is what caricatures
    exaggerate. `cancelled` is asked before every step. The same call gives the same picture on the same device with
    as many threads, and on the CPU so does one that asks for others beside it. Raises
    `ExplanationError` for what can't be made and `Cancelled`.
    """
    settings = (settings or Settings()).resolved(model)
    goals = goals_of(objectives, model, settings, image)
    if not goals:
        raise ExplanationError("no objective was given; at least one is needed.")
    canvas, remark = prepare(model, settings)
    extra = _diversity_layer(model, goals, settings)
    layers = [*(layer for goal in goals for layer in goal.layers), *([extra] if extra else [])]
    pictures = torch.full((len(goals), 3, canvas.size, canvas.size), GREY)
    kept = strip_steps(settings.steps, settings.strip)
    job = Job(PrivateNetwork(model, layers), canvas, settings.recipe, settings.seed, kept, extra)
    work = _Work(job, goals, progress, cancelled, pictures)
    for rows in chunks(job.network, goals, settings):
        work.finished.append(_run(work, rows))
    return _gather(model, work, settings, remark)


def goals_of(
    objectives: Sequence[str | Goal], model: Model, settings: Settings, image: Tensor | None
) -> tuple[Goal, ...]:
    """The goals that texts name for pictures by resolved settings, and those given as they are.

    Raises `ExplanationError` where they are too many for the memory.
    """
    assert settings.size is not None
    frames = len(objectives) * (1 + len(strip_steps(settings.steps, settings.strip)))
    if frames * settings.size**2 > MOST_PIXELS:
        raise ExplanationError(
            f"{len(objectives):,} pictures of {settings.size} px with {settings.strip} steps each were asked for, "
            f"which have {frames * settings.size**2:,} px; {MOST_PIXELS:,} are allowed at once."
        )
    return tuple(
        parse_objective(one, model, size=settings.size, image=image) if isinstance(one, str) else one
        for one in objectives
    )


def prepare(model: Model, settings: Settings) -> tuple[Canvas, str]:
    """The canvas for resolved settings, and a note on its colours."""
    assert settings.size is not None
    colours, remark = colours_for(model.card, settings.colours)
    canvas = make_canvas(
        settings.size, settings.frequency_decay, colours.basis(), torch.tensor(colours.mean), model.device
    )
    return canvas, remark


def without_pictures(report: Callable[[int, int, str], None], what: str) -> Progress:
    """A progress that reports steps of `what`, for those who don't show pictures that grow."""
    return lambda done, total, _pictures: report(done, total, what)


def _diversity_layer(model: Model, goals: Sequence[Goal], settings: Settings) -> str:
    """Logits say little of a picture's style: classes are compared at the network's default layer."""
    return model.default_layer if settings.diversity and any(OUTPUT in goal.layers for goal in goals) else ""


def chunks(network: PrivateNetwork, goals: Sequence[Goal], settings: Settings) -> Iterator[range]:
    """Rows of pictures that are made together, as many as fit the memory; with diversity, a goal's copies too."""
    assert settings.size is not None
    most = max(1, MEMORY // max(1, bytes_per_picture(network, settings.size)))
    count = settings.batch or min(MOST_AT_ONCE, most)
    start = 0
    while start < len(goals):
        stop = min(start + count, len(goals))
        while settings.diversity and stop < len(goals) and goals[stop].text == goals[stop - 1].text:
            stop += 1
        yield range(start, stop)
        start = stop


def _run(work: _Work, rows: range) -> Finished:
    goals, texts = work.goals[rows.start : rows.stop], [goal.text for goal in work.goals]
    copies = [texts[:row].count(texts[row]) for row in rows]
    steps = work.job.recipe.work
    before, total = rows.start * steps, len(work.goals) * steps
    last = [time.monotonic() - _PATIENCE]

    def watch(done: int, pictures: Tensor) -> None:
        if work.cancelled and work.cancelled():
            raise Cancelled
        if work.progress and (time.monotonic() - last[0] >= _PATIENCE or done == steps):
            work.pictures[rows.start : rows.stop] = pictures.cpu()
            work.progress(before + done * len(rows), total, work.pictures)
            last[0] = time.monotonic()

    finished = optimise(work.job, goals, copies, watch)
    work.pictures[rows.start : rows.stop] = finished.images
    return finished


def _gather(model: Model, work: _Work, settings: Settings, remark: str) -> Visualization:
    return Visualization(
        tuple(goal.text for goal in work.goals),
        torch.cat([part.images for part in work.finished]),
        torch.cat([part.values for part in work.finished]),
        torch.cat([part.strip for part in work.finished]),
        work.job.kept,
        settings,
        tuple(note for part in work.finished for note in part.notes),
        tuple(filter(None, [remark])),
        model.name,
        model.card.sha256,
        str(model.device),
    )
