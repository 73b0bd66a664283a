"""The optimisation behind feature visualisation and inversion: many pictures at once, each for itself.

On the CPU a picture is the same to the bit whatever else is made with it, which is why what is kept needs no more than
its own settings: linear layers see blocks of one size (`visualization_network`), and a lone picture is made twice, as
convolutions take another kernel for one image. Steps of optimisation would make a large difference of the last bits.

Nothing of a picture depends on the others in its batch: it has its own goal, its own random numbers, drawn from its
seed on the CPU, and its own penalties; only diversity ties pictures of the same goal together.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from xai.visualization_image import Canvas, first_spectrum, high_frequency, total_variation
from xai.visualization_network import PrivateNetwork
from xai.visualization_objectives import Goal, evaluate, likeness
from xai.visualization_transforms import TRANSFORMS, affine_maps, look

AWAKE = 16
"""Steps at the start in which silent channels are woken (Lucid's number)."""
TRIAL = 24
"""Steps that each start of a picture gets before the best one goes on, of runs of at least four times as many."""
CONTRASTS = (1.0, 20.0, 100.0)
"""Contrasts of the first, second and third start, in units of the recipe's; further ones repeat them."""
_MARGIN = 0.5
_BLUNT = 0.3
_JUDGED = 8
_SMALLEST = 1e-6
_SETTLING = 0.3


@dataclass(frozen=True)
class Recipe:
    """The numbers of one optimisation; `xai.feature_visualization.Settings` says what they mean."""

    steps: int
    learning_rate: float
    transforms: str
    total_variation: float
    high_frequency: float
    diversity: float
    contrast: float
    starts: int = 1

    @property
    def trial(self) -> int:
        """Steps that each start gets before one is chosen; 0 where there is no choice."""
        return min(TRIAL, self.steps // 4) if self.starts > 1 else 0

    @property
    def work(self) -> int:
        """All steps of a picture, those of the starts that are dropped too."""
        return self.steps + (self.starts - 1) * self.trial


@dataclass(frozen=True)
class Finished:
    """Pictures `(B, 3, S, S)`, values `(B,)` of the pictures as they are, intermediate pictures `(B, T, 3, S, S)`, all
    on the CPU, and a sentence or nothing for each picture."""

    images: Tensor
    values: Tensor
    strip: Tensor
    notes: tuple[str, ...]


def picture_seed(seed: int, text: str, copy: int, attempt: int) -> int:
    """The seed of one picture: the same whatever else is made in the same run."""
    digest = hashlib.sha256(f"{seed}|{text}|{copy}|{attempt}".encode()).digest()
    return int.from_bytes(digest[:7], "big")


@dataclass(frozen=True)
class Job:
    """What all batches of one run share; `kept` are the steps whose pictures make the strip."""

    network: PrivateNetwork
    canvas: Canvas
    recipe: Recipe
    seed: int
    kept: tuple[int, ...]
    diversity_layer: str = ""


class Batch:
    """Pictures in the making: `advance` takes one step, `finish` hands them over.

    `copies` numbers pictures that share a goal, `attempt` the starts of a picture: each has a seed of its own, and
    the later ones begin with more contrast, for channels that are silent on grey. `kept` are the steps whose pictures
    go into the strip.
    """

    def __init__(self, job: Job, goals: Sequence[Goal], copies: Sequence[int], attempt: int) -> None:
        self.job, self.goals, self.attempt, self.done = job, goals, attempt, 0
        starts = [
            self._start(goal.seed_text or goal.text, copy) for goal, copy in zip(goals, copies, strict=True)
        ]
        device = job.network.device
        self.spectra = torch.stack([start[0] for start in starts]).to(device).requires_grad_()
        self.maps = _stacked([start[1] for start in starts], device)
        # gradients have length 1 per number, and this eps keeps numbers that hardly matter from moving like the rest
        self.optimizer = torch.optim.Adam([self.spectra], lr=job.recipe.learning_rate, eps=_BLUNT, fused=True)
        self.noise = self.spectra.detach().clone()
        self.followed = torch.zeros(len(goals), dtype=torch.bool, device=device)
        self.largest = torch.zeros(len(goals), device=device)
        self.history: list[Tensor] = []
        self.strip: list[Tensor] = []
        self.groups = _groups(goals) if job.recipe.diversity else []

    def _start(self, text: str, copy: int) -> tuple[Tensor, Tensor | None]:
        recipe, views, size = self.job.recipe, TRANSFORMS[self.job.recipe.transforms], self.job.canvas.size
        generator = torch.Generator().manual_seed(picture_seed(self.job.seed, text, copy, self.attempt))
        contrast = recipe.contrast * CONTRASTS[self.attempt % len(CONTRASTS)]
        spectrum = first_spectrum(size, contrast, generator)
        return spectrum, affine_maps(views, size, recipe.steps, generator) if views else None

    @torch.enable_grad()
    def advance(self) -> Tensor:
        """Take one step; the pictures `(B, 3, S, S)` as they were before it."""
        network, canvas = self.job.network, self.job.canvas
        network.wake(self.done < AWAKE)
        self._set_rate()
        pictures = canvas.picture(self.spectra)
        seen = look(pictures, None if self.maps is None else self.maps[self.done])
        activations = network.run(seen)
        values = evaluate(self.goals, activations, seen)
        loss = self._penalties(pictures, activations) - self._scaled(values)
        (gradient,) = torch.autograd.grad(loss.sum(), [self.spectra])
        self.spectra.grad, followed = _unit_rows(gradient)
        self.followed |= followed
        self.optimizer.step()
        self._take_noise_back()
        if self.done in self.job.kept:
            self.strip.append(pictures.detach().cpu())
        self.history = [*self.history, values.detach()][-_JUDGED:]
        self.done += 1
        return pictures.detach()

    @property
    def score(self) -> Tensor:
        """Mean of the latest values `(B,)`; minus infinity for a picture whose value is no number or does not move."""
        values = torch.stack(self.history)
        good = values.isfinite().all(0) & (values != values[0]).any(0)
        return torch.where(good, values.mean(0), -math.inf)

    @torch.no_grad()
    def take(self, other: Batch, rows: Tensor) -> None:
        """Go on with another start where `rows` bool `(B,)` says so; both have taken the same number of steps."""
        self.spectra[rows] = other.spectra[rows]
        self.noise[rows] = other.noise[rows]
        self.followed[rows] = other.followed[rows]
        for name in ("exp_avg", "exp_avg_sq"):
            self.optimizer.state[self.spectra][name][rows] = other.optimizer.state[other.spectra][name][rows]
        self.largest[rows] = other.largest[rows]
        if self.maps is not None and other.maps is not None:
            self.maps[:, rows] = other.maps[:, rows]
        pairs = ((self.strip, other.strip, rows.cpu()), (self.history, other.history, rows))
        for own, others, chosen in pairs:
            for mine, theirs in zip(own, others, strict=True):
                mine[chosen] = theirs[chosen]

    def _take_noise_back(self) -> None:
        """From the trial to half of the steps, the noise at the start is taken back; what mattered grows again."""
        first, last = self.job.recipe.trial, self.job.recipe.steps // 2
        if first <= self.done < last:
            self.spectra.data.sub_(self.noise, alpha=1 / (last - first))

    def _set_rate(self) -> None:
        """Constant, then down to nothing along a cosine, so that the last views leave no mark of their own."""
        left = (self.job.recipe.steps - self.done) / (_SETTLING * self.job.recipe.steps)
        share = 1.0 if left >= 1 else 0.5 - 0.5 * math.cos(math.pi * left)
        self.optimizer.param_groups[0]["lr"] = self.job.recipe.learning_rate * share

    def _scaled(self, values: Tensor) -> Tensor:
        """Values over their largest so far: penalties weigh the same in every layer, and Adam sees no tiny numbers."""
        self.largest = torch.fmax(self.largest, values.detach().abs().nan_to_num(0, 0, 0))
        fixed = [goal.scale for goal in self.goals]
        if all(scale is None for scale in fixed):
            return values / self.largest.clamp_min(_SMALLEST)
        own = torch.tensor([math.nan if scale is None else scale for scale in fixed], device=values.device)
        return values / torch.where(own.isnan(), self.largest, own).clamp_min(_SMALLEST)

    def _penalties(self, pictures: Tensor, activations: dict[str, Tensor]) -> Tensor:
        penalty = torch.zeros(len(pictures), device=pictures.device)
        if self.job.recipe.total_variation:
            penalty = penalty + self.job.recipe.total_variation * total_variation(pictures)
        if self.job.recipe.high_frequency:
            penalty = penalty + self.job.recipe.high_frequency * high_frequency(pictures)
        for rows in self.groups:
            layer = self.job.diversity_layer or self.goals[rows[0]].layers[0]
            alike = likeness(activations[layer][rows])
            penalty = penalty.index_add(
                0, torch.tensor(rows, device=penalty.device), alike * self.job.recipe.diversity
            )
        return penalty

    @torch.no_grad()
    def finish(self) -> Finished:
        """The pictures, their values without any view or penalty, and notes."""
        self.job.network.wake(False)
        pictures = self.job.canvas.picture(self.spectra.detach())
        values = evaluate(self.goals, self.job.network.run(pictures), pictures).cpu()
        facts = zip(values.tolist(), self.followed.tolist(), (self.score > -math.inf).tolist(), strict=True)
        notes = [self._note(goal.text, *fact) for goal, fact in zip(self.goals, facts, strict=True)]
        images = pictures.cpu()
        strip = self.strip + [images] * (self.done in self.job.kept)
        frames = torch.stack(strip, 1) if strip else images.new_zeros(len(images), 0, *images.shape[1:])
        return Finished(images, values, frames, tuple(notes))

    def _note(self, text: str, value: float, followed: bool, moved: bool) -> str:
        seeds = f"{self.job.recipe.starts} seed{'s' * (self.job.recipe.starts > 1)}"
        if not math.isfinite(value):
            return f"{text} gives {value} for pictures from {seeds}, so there is nothing to follow; it was given up."
        if value != 0 and not followed:
            return f"{text} has no gradient to follow in pictures from {seeds}; it was given up."
        if value == 0 and not moved:
            return f"{text} stayed at 0 from {seeds}; it is dead or very rarely active, and was given up."
        return f"{text} is 0 for the finished picture, though not for every view of it." if value == 0 else ""


def _stacked(maps: Sequence[Tensor | None], device: torch.device) -> Tensor | None:
    given = [one for one in maps if one is not None]
    return torch.stack(given, 1).to(device) if given else None


def _groups(goals: Sequence[Goal]) -> list[list[int]]:
    rows: dict[str, list[int]] = {}
    for row, goal in enumerate(goals):
        rows.setdefault(goal.text, []).append(row)
    return [same for same in rows.values() if len(same) > 1]


def _unit_rows(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Each picture's gradient over its root mean square, with zeros where a number is missing; and who has one."""
    lengths = gradient.flatten(1).square().mean(1).sqrt()
    good = lengths.isfinite() & (lengths > 0)
    shape = (-1, *[1] * (gradient.ndim - 1))
    return torch.where(good.view(shape), gradient / lengths.view(shape), 0), good


def strip_steps(steps: int, count: int) -> tuple[int, ...]:
    """After which steps pictures are kept: `count` of them, 0 the first, each half of the next, `steps` the last."""
    if count < 2:
        return (steps,) * count
    later = {max(1, round(steps * 0.5**back)) for back in range(count - 1)}
    return (0, *sorted(later))


def optimise(
    job: Job, goals: Sequence[Goal], copies: Sequence[int], watch: Callable[[int, Tensor], None]
) -> Finished:
    """Make the pictures of some goals, each from the best of its starts.

    `watch(done, pictures)` is called after every step, with `done` up to `job.recipe.work`, and may raise to stop it.
    A later start is taken only where its value after the trial is half as high again as that of an earlier one.
    """
    if len(goals) == 1:
        pair = (goals[0], _companion(goals[0]))
        return _first(optimise(job, pair, [*copies] * 2, lambda done, pictures: watch(done, pictures[:1])))
    done = 0

    def advance(batch: Batch, until: int) -> Batch:
        nonlocal done
        while batch.done < until:
            pictures = batch.advance()
            done += 1
            watch(done, pictures)
        return batch

    best = advance(Batch(job, goals, copies, 0), job.recipe.trial)
    for attempt in range(1, job.recipe.starts if job.recipe.trial else 1):
        other = advance(Batch(job, goals, copies, attempt), job.recipe.trial)
        least = best.score
        best.take(other, other.score > torch.where(least.isfinite(), least + _MARGIN * least.abs(), least))
    return advance(best, job.recipe.steps).finish()


def _companion(goal: Goal) -> Goal:
    """The same goal from the same noise, under another text, so that nothing takes it for a copy that is asked for."""
    return replace(goal, text=f"{goal.text} once more", seed_text=goal.seed_text or goal.text)


def _first(pair: Finished) -> Finished:
    return Finished(pair.images[:1], pair.values[:1], pair.strip[:1], pair.notes[:1])
