"""The optimisation behind feature visualisation and inversion: many pictures at once, each for itself.

Nothing of a picture depends on the others in its batch: it has its own goal, its own random numbers, drawn from its
seed on the CPU, and its own penalties; only diversity ties pictures of the same goal together.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from xai.visualization_image import Canvas, first_spectrum, high_frequency, total_variation
from xai.visualization_network import PrivateNetwork
from xai.visualization_objectives import Goal, evaluate, likeness
from xai.visualization_transforms import TRANSFORMS, affine_maps, look

AWAKE = 16
"""Steps in which silent channels are woken, at the start and after a restart (Lucid's number)."""
TRIAL = 32
"""Steps after which a picture whose value has not moved starts again from another seed."""
ATTEMPTS = 3
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


class Batch:
    """Pictures in the making: `advance` takes one step, `finish` hands them over.

    `copies` numbers pictures that share a goal. A picture whose value is no number, or does not move in the first
    steps, starts again from another seed, and after three attempts is given up; the others never notice.
    """

    def __init__(
        self,
        network: PrivateNetwork,
        goals: Sequence[Goal],
        copies: Sequence[int],
        canvas: Canvas,
        recipe: Recipe,
        seed: int,
        diversity_layer: str = "",
    ) -> None:
        self.network, self.goals, self.copies = network, goals, copies
        self.canvas, self.recipe, self.seed = canvas, recipe, seed
        self.diversity_layer = diversity_layer
        self.attempts = [0] * len(goals)
        self.done = 0
        starts = [self._start(row) for row in range(len(goals))]
        self.spectra = torch.stack([start[0] for start in starts]).to(network.device).requires_grad_()
        self.maps = _stacked([start[1] for start in starts], network.device)
        self.optimizer = torch.optim.Adam([self.spectra], lr=recipe.learning_rate, fused=True)
        self.largest = torch.zeros(len(goals), device=network.device)
        self.first = torch.full_like(self.largest, math.nan)
        self.moved = torch.zeros_like(self.largest, dtype=torch.bool)
        self.groups = _groups(goals) if recipe.diversity else []

    def _start(self, row: int) -> tuple[Tensor, Tensor | None]:
        recipe, views, attempt = self.recipe, TRANSFORMS[self.recipe.transforms], self.attempts[row]
        number = picture_seed(self.seed, self.goals[row].text, self.copies[row], attempt)
        generator = torch.Generator().manual_seed(number)
        spectrum = first_spectrum(self.canvas.size, recipe.contrast * 10**attempt, generator)
        maps = affine_maps(views, self.canvas.size, recipe.steps, generator) if views else None
        return spectrum, maps

    def advance(self) -> Tensor:
        """Take one step; the pictures `(B, 3, S, S)` as they were before it."""
        self.network.wake(self.done % TRIAL < AWAKE and self.done < ATTEMPTS * TRIAL)
        self._set_rate()
        pictures = self.canvas.picture(self.spectra)
        seen = look(pictures, None if self.maps is None else self.maps[self.done])
        activations = self.network.run(seen)
        values = evaluate(self.goals, activations, seen)
        loss = self._penalties(pictures, activations) - self._scaled(values)
        self.optimizer.zero_grad()
        (gradient,) = torch.autograd.grad(loss.sum(), [self.spectra])
        self.spectra.grad = _finite_rows(gradient)
        self.optimizer.step()
        self.done += 1
        self._watch(values.detach())
        return pictures.detach()

    def _set_rate(self) -> None:
        """Constant, then down to nothing along a cosine, so that the last views leave no mark of their own."""
        left = (self.recipe.steps - self.done) / (_SETTLING * self.recipe.steps)
        share = 1.0 if left >= 1 else 0.5 - 0.5 * math.cos(math.pi * left)
        self.optimizer.param_groups[0]["lr"] = self.recipe.learning_rate * share

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
        if self.recipe.total_variation:
            penalty = penalty + self.recipe.total_variation * total_variation(pictures)
        if self.recipe.high_frequency:
            penalty = penalty + self.recipe.high_frequency * high_frequency(pictures)
        for rows in self.groups:
            layer = self.diversity_layer or self.goals[rows[0]].layers[0]
            alike = likeness(activations[layer][rows])
            penalty = penalty.index_add(
                0, torch.tensor(rows, device=penalty.device), alike * self.recipe.diversity
            )
        return penalty

    def _watch(self, values: Tensor) -> None:
        if self.done > ATTEMPTS * TRIAL:
            return
        self.first = torch.where(self.first.isnan(), values, self.first)
        self.moved |= values.isfinite() & (values != self.first)
        if self.done % TRIAL == 0 and self.done < min(ATTEMPTS * TRIAL, self.recipe.steps):
            for row in torch.nonzero(~self.moved)[:, 0].tolist():
                self._restart(row)

    @torch.no_grad()
    def _restart(self, row: int) -> None:
        self.attempts[row] += 1
        spectrum, maps = self._start(row)
        self.spectra[row] = spectrum.to(self.spectra.device)
        if self.maps is not None and maps is not None:
            self.maps[:, row] = maps.to(self.maps.device)
        for name in ("exp_avg", "exp_avg_sq"):
            self.optimizer.state[self.spectra][name][row] = 0
        self.first[row] = math.nan

    @torch.no_grad()
    def finish(self) -> tuple[Tensor, Tensor, tuple[str, ...]]:
        """Pictures `(B, 3, S, S)`, their values `(B,)` without any view or penalty, and notes, on the CPU."""
        self.network.wake(False)
        pictures = self.canvas.picture(self.spectra.detach())
        values = evaluate(self.goals, self.network.run(pictures), pictures).cpu()
        notes = tuple(self._note(row, float(values[row])) for row in range(len(self.goals)))
        return pictures.cpu(), values, notes

    def _note(self, row: int, value: float) -> str:
        text, tries = self.goals[row].text, self.attempts[row] + 1
        if not math.isfinite(value):
            return f"{text} gives {value} for the picture of every seed tried ({tries}); it was given up."
        if not bool(self.moved[row]):
            return f"{text} gave {value:g} whatever the picture, from {tries} seeds; it is dead and was given up."
        if value == 0:
            return f"{text} is 0 for the finished picture, though not for every view of it."
        return f"{text} was silent at first and started again from seed {tries}." if tries > 1 else ""


def _stacked(maps: Sequence[Tensor | None], device: torch.device) -> Tensor | None:
    given = [one for one in maps if one is not None]
    return torch.stack(given, 1).to(device) if given else None


def _groups(goals: Sequence[Goal]) -> list[list[int]]:
    rows: dict[str, list[int]] = {}
    for row, goal in enumerate(goals):
        rows.setdefault(goal.text, []).append(row)
    return [same for same in rows.values() if len(same) > 1]


def _finite_rows(gradient: Tensor) -> Tensor:
    """The gradient with zeros for each picture that has a number missing in it."""
    whole = gradient.flatten(1).isfinite().all(1)
    return torch.where(whole.view(-1, *[1] * (gradient.ndim - 1)), gradient, 0)


def strip_steps(steps: int, count: int) -> tuple[int, ...]:
    """After which steps pictures are kept: `count` of them, 0 the first, each half of the next, `steps` the last."""
    if count < 2:
        return (steps,) * count
    later = {max(1, round(steps * 0.5**back)) for back in range(count - 1)}
    return (0, *sorted(later))


def optimise(batch: Batch, kept: Sequence[int], watch: Callable[[int, Tensor], None]) -> Finished:
    """Run a batch to its end; `watch(done, pictures)` is called after every step and may raise to stop it."""
    strip: list[Tensor] = []
    while batch.done < batch.recipe.steps:
        pictures = batch.advance()
        if batch.done - 1 in kept:
            strip.append(pictures.cpu())
        watch(batch.done, pictures)
    images, values, notes = batch.finish()
    strip += [images] * (batch.recipe.steps in kept)
    shape = (len(images), 0, *images.shape[1:])
    return Finished(images, values, torch.stack(strip, 1) if strip else images.new_zeros(shape), notes)
