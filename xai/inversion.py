"""What of an image survives at a layer: pictures made from the layer's activations alone.

Mahendran & Vedaldi, Understanding deep image representations by inverting them, CVPR 2015, in the parameterisation of
feature visualisation: from grey noise, a picture is looked for whose activations at the layer are those of the image,
with little total variation. The layer's activations of a clean and of a degraded image show what each has lost there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models.registry import Model
from xai.attribution_types import ExplanationError
from xai.feature_visualization import Progress, Settings, visualize
from xai.visualization_network import PrivateNetwork
from xai.visualization_objectives import Goal, layer_shape

INVERSION = Settings(
    steps=400, learning_rate=0.02, transforms="none", total_variation=1.0, starts=1, frequency_decay=1.0
)
"""Settings for inversions: no views, as the place of things is part of what is to be found again."""


@dataclass(frozen=True)
class Inversion:
    """Pictures made from the activations of images at a layer.

    `images` `(N, 3, S, S)` in [0, 1]; `errors` `(N,)` are the distances of their activations from the images' over the
    length of the latter (0: the layer can't tell them apart; 1: as far off as no activation at all); `strip`
    `(N, T, 3, S, S)` after `strip_steps`; all float32 on the CPU. `notes` has a sentence or nothing for each.
    """

    layer: str
    images: Tensor
    errors: Tensor
    strip: Tensor
    strip_steps: tuple[int, ...]
    settings: Settings
    notes: tuple[str, ...]
    model: str
    model_sha256: str


@torch.no_grad()
def invert(
    model: Model,
    images: Tensor,
    layer: str,
    settings: Settings | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Inversion:
    """Reconstruct images `(N, 3, S, S)` in [0, 1] from what `layer` makes of each of them.

    All pictures get the same start, so two of them differ only where their activations do. `settings` are `INVERSION`
    unless given, with the images' size. Raises `ExplanationError` for a layer or images that can't be used, and
    `Cancelled`.
    """
    size = _square(images)
    settings = replace(settings or INVERSION, size=size)
    layer_shape(model, layer, size)
    own = PrivateNetwork(model, [layer]).run(images.to(model.device))[layer]
    lengths = own.flatten(1).norm(dim=1)
    if not bool((lengths.isfinite() & (lengths > 0)).all()):
        raise ExplanationError(
            f"{layer} of {model.name} is silent or no number for an image; it can't be inverted."
        )
    goals = [_goal(layer, number, maps) for number, maps in enumerate(own.split(1))]
    made = visualize(model, goals, settings, progress=progress, cancelled=cancelled)
    return Inversion(
        layer,
        made.images,
        -made.values,
        made.strip,
        made.strip_steps,
        made.settings,
        made.notes,
        model.name,
        model.card.sha256,
    )


def _square(images: Tensor) -> int:
    if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3] or not len(images):
        raise ExplanationError(
            f"the images have the shape {tuple(images.shape)}; allowed is (N, 3, S, S) with N >= 1."
        )
    return images.shape[-1]


def _goal(layer: str, number: int, own: Tensor) -> Goal:
    length = own.norm()

    def objective(activations: Mapping[str, Tensor], _images: Tensor) -> Tensor:
        return -(activations[layer] - own).flatten(1).norm(dim=1) / length

    return Goal(f"invert:{layer}@{number}", (layer,), objective, scale=1.0, seed_text=f"invert:{layer}")
