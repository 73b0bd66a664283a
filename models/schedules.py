"""How fast a training learns at each step of its run, and when it slows down."""

from __future__ import annotations

import math
from collections.abc import Sequence

from models.recipes import Recipe


def learning_rate(recipe: Recipe, progress: float, validation_losses: Sequence[float] = ()) -> float:
    """Learning rate at `progress` in [0, 1] of the run, after epochs with these validation losses.

    One-cycle (Smith & Topin 2018): a linear rise over `warmup_share`, then a cosine to zero. Cosine: the same
    without the rise. Plateau: cut by `plateau_factor` as often as the losses stopped falling.
    """
    schedule = recipe.chosen_schedule
    if schedule == "constant":
        return recipe.learning_rate
    if schedule == "plateau":
        return recipe.learning_rate * recipe.plateau_factor ** plateaus(
            validation_losses, recipe.plateau_patience
        )
    warmup = recipe.warmup_share if schedule == "one_cycle" else 0.0
    if progress < warmup:
        return recipe.learning_rate * (0.04 + 0.96 * progress / warmup)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


def plateaus(losses: Sequence[float], patience: int) -> int:
    """How often `patience` epochs in a row brought no new lowest loss; the waiting starts anew after each time.

    It looks at the curve alone, so that a resumed run needs no further state. PyTorch's `ReduceLROnPlateau` calls
    this a patience of one less, with a threshold of 0.
    """
    best, waited, times = math.inf, 0, 0
    for loss in losses:
        waited = 0 if loss < best else waited + 1
        best = min(best, loss)
        if waited == patience:
            times, waited = times + 1, 0
    return times
