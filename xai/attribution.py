"""Explain a model's decision with any registered method: one registry, one call, raw and signed maps.

    heatmap = explain(model, images, "gradcam")                 predicted class, the model's default layer
    heatmaps = explain_all_cams(model, images, targets=3)       seven CAMs for little more than one forward pass

Every call holds `model.lock` and leaves mode, gradients and hooks of the network as they were.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from models.layers import InputSizeError
from models.registry import Model
from xai import attribution_cam, attribution_gradient, perturbation
from xai.attribution_types import (
    INPUT_LAYERS,
    METHODS,
    Call,
    ExplanationError,
    Heatmap,
    Method,
    Result,
    Tap,
)
from xai.cam import CAMS
from xai.hooks import TapError, frozen
from xai.shares import Told, untold
from xai.taps import least_size, offer, too_small, usable_layers

__all__ = [
    "GRADIENT_CAMS",
    "INPUT_LAYERS",
    "METHODS",
    "ExplanationError",
    "Heatmap",
    "Method",
    "Tap",
    "explain",
    "explain_all_cams",
    "find_method",
    "usable_layers",
]

Targets = Tensor | Sequence[int] | int | None
MODULES = (attribution_cam, attribution_gradient, perturbation)
"""Where methods are registered, in the order in which they are offered."""
GRADIENT_CAMS = tuple(CAMS)
"""Names of the methods that share one forward and one partial backward pass."""
_FLAT = 1e-6


def find_method(name: str) -> Method:
    """Look a method up; raises `ExplanationError` naming those that exist."""
    if name not in METHODS:
        raise ExplanationError(f"there is no method {name!r}; allowed are {', '.join(METHODS)}.")
    return METHODS[name]


def explain(
    model: Model,
    images: Tensor,
    method: str,
    *,
    targets: Targets = None,
    layers: Sequence[str] | None = None,
    seed: int = 0,
    told: Told = untold,
    **settings: Any,
) -> Heatmap:
    """Maps of one method for images `(N, 3, H, W)` float32 in [0, 1].

    `targets`: one class index for all, one per image, or None for the predicted class. `layers`: dotted names for
    the methods that look at a layer (default: the model's own); several are fused (each brought bilinearly to the
    largest grid, divided by its largest absolute value, averaged). `settings`: those of the method's `defaults`.
    `told` is called with the share in [0, 1] that is done, by methods that run the network many times.
    Raises `ExplanationError` with one sentence for anything that does not exist or can't serve these images.
    """
    entry = find_method(method)
    values = _settings(entry, settings)
    with _ready(model, images, targets, _layers(model, entry, layers), seed, values) as call:
        if not len(call.targets) and method not in CAMS:
            call = _predicted(call)
        return _heatmap(call, entry, entry.compute(replace(call, told=told)))


def explain_all_cams(
    model: Model,
    images: Tensor,
    methods: Iterable[str] = GRADIENT_CAMS,
    *,
    targets: Targets = None,
    layers: Sequence[str] | None = None,
) -> dict[str, Heatmap]:
    """Maps of several gradient CAMs from one forward and one partial backward pass; arguments as for `explain`."""
    entries = [find_method(name) for name in methods]
    for entry in entries:
        if entry.name not in CAMS:
            raise ExplanationError(f"{entry.name} is no gradient CAM; allowed are {', '.join(CAMS)}.")
    if not entries:
        return {}
    with _ready(model, images, targets, _layers(model, entries[0], layers), 0, {}) as call:
        results = attribution_cam.cam_results(call, [entry.name for entry in entries])
        return {entry.name: _heatmap(call, entry, results[entry.name]) for entry in entries}


@contextmanager
def _ready(
    model: Model,
    images: Tensor,
    targets: Targets,
    layers: tuple[str, ...],
    seed: int,
    settings: dict[str, Any],
) -> Iterator[Call]:
    _check_images(model, images)
    with model.lock, torch.inference_mode(False), torch.enable_grad(), frozen(model.network):
        images = (images.clone() if images.is_inference() else images).detach().to(model.device)
        chosen = _targets(model, targets, len(images)).to(model.device)
        try:
            yield Call(model, images, chosen, layers, seed, settings)
        except TapError as error:
            raise ExplanationError(
                f"{model.name}: {error}; {offer(model, min(images.shape[-2:]))}."
            ) from error
        except InputSizeError as error:
            raise ExplanationError(f"{model.name}: {error}") from error


def _check_images(model: Model, images: Tensor) -> None:
    shape = tuple(images.shape)
    if len(shape) != 4 or shape[1] != 3 or 0 in shape or images.dtype != torch.float32:
        raise ExplanationError(
            f"images are {images.dtype} {shape}; allowed is torch.float32 (N, 3, H, W), N at least 1."
        )
    if min(shape[-2:]) < least_size(model):
        raise too_small(model, shape[-2], shape[-1])
    low, high = (float(value) for value in images.aminmax())
    if not (low >= 0 and high <= 1):
        raise ExplanationError(f"pixel values range from {low:.3g} to {high:.3g}; allowed is 0 to 1.")


def _targets(model: Model, targets: Targets, count: int) -> Tensor:
    if targets is None:
        return torch.empty(0, dtype=torch.int64)
    chosen = torch.as_tensor(targets)
    if chosen.is_floating_point() or chosen.dtype == torch.bool:
        raise ExplanationError(f"targets are {chosen.dtype}; allowed are class indices (whole numbers).")
    if chosen.ndim > 1 or (chosen.ndim == 1 and len(chosen) != count):
        raise ExplanationError(
            f"{tuple(chosen.shape)} targets came with {count} images; allowed are one or {count}."
        )
    if int(chosen.min()) < 0 or int(chosen.max()) >= len(model.classes):
        raise ExplanationError(
            f"the target class {int(chosen.max() if int(chosen.min()) >= 0 else chosen.min())} does not exist; "
            f"{model.name} has classes 0 to {len(model.classes) - 1}."
        )
    return chosen.to(torch.int64).expand(count)


def _layers(model: Model, entry: Method, layers: Sequence[str] | None) -> tuple[str, ...]:
    if not entry.layered:
        if layers is not None and tuple(layers) != INPUT_LAYERS:
            raise ExplanationError(f"{entry.name} looks at pixels; it takes no layer.")
        return INPUT_LAYERS
    names = (model.default_layer,) if layers is None else tuple(dict.fromkeys(layers))
    if isinstance(layers, str) or not names:
        raise ExplanationError(f"layers is {layers!r}; allowed is a list of one or more dotted names.")
    return names


def _settings(entry: Method, given: dict[str, Any]) -> dict[str, Any]:
    for name in given:
        if name not in entry.defaults:
            allowed = f"allowed are {', '.join(entry.defaults)}" if entry.defaults else "it has none"
            raise ExplanationError(f"{entry.name} has no setting {name!r}; {allowed}.")
    return {**entry.defaults, **given}


def _predicted(call: Call) -> Call:
    with torch.no_grad():
        targets = call.model.network(call.images).argmax(dim=1)
    return replace(call, targets=targets)


def _heatmap(call: Call, entry: Method, result: Result) -> Heatmap:
    values = torch.nan_to_num(result.values.detach().float(), 0.0, 0.0, 0.0).cpu().contiguous()
    targets = call.targets if result.targets is None else result.targets
    settings = {**call.settings, **({"seed": call.seed} if entry.seeded else {})}
    tap = Tap(call.layers, result.position, (values.shape[1], values.shape[2]), call.model.head)
    digest = call.model.card.sha256
    return Heatmap(
        values, targets.cpu().clone(), entry.name, call.model.name, digest, tap, settings, no_evidence(values)
    )


def no_evidence(values: Tensor) -> Tensor:
    """Which of the maps `(N, h, w)` say nothing for the class: constant, or nowhere above zero. Bool `(N,)`."""
    low, high = values.amin(dim=(1, 2)), values.amax(dim=(1, 2))
    return (high <= 0) | (high - low <= _FLAT * torch.maximum(high.abs(), low.abs()))
