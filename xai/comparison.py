"""One picture, one or two networks, clean and degraded: everything the Explain page, the figures and the manifest show.

`compare` is the only entry. It is a pure function of a `Request`, a `Picture` and the loaded models; what is
costly goes through `memo(key, compute)`, so that a caller who keeps results recomputes only what a choice changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from data import degradations, images, quality, resizing
from data.cue10 import scene
from data.datasets import ImageSource
from models.registry import Model
from xai import attribution, faithfulness
from xai.attribution import ExplanationError, Heatmap
from xai.comparison_types import (
    CONDITIONS,
    Answered,
    Comparison,
    ModelResult,
    Picture,
    Request,
    View,
    is_degraded,
)
from xai.map_agreement import Agreement, agreement
from xai.memo import Memo, T, no_memo
from xai.shares import Told, part, untold

__all__ = [
    "CONDITIONS",
    "Answered",
    "Cell",
    "Comparison",
    "ModelResult",
    "Picture",
    "Request",
    "View",
    "answered",
    "compare",
    "is_degraded",
    "make_cell",
    "make_view",
    "make_views",
    "picture_from_dataset",
    "picture_from_image",
    "picture_from_scene",
    "target_class",
]


def picture_from_image(image: images.Image, source: str = "upload", label: str | None = None) -> Picture:
    """A picture that came through the intake."""
    return Picture(image.name, image.pixels, image.sha256, source, label, None, image.notes)


def picture_from_scene(split: str, index: int) -> Picture:
    """A drawn `cue10` scene with its class and exact mask; its hash is that of its pixels."""
    data = scene(split, index)
    found = picture_from_dataset(data, 0)
    mask = None if data.masks is None else data.masks[0]
    return replace(found, name=f"cue10 {split} {index}", source=f"cue10:{split}/{index}", mask=mask)


def picture_from_dataset(data: ImageSource, row: int) -> Picture:
    """The image in a row of a split, with its class; its hash is that of its pixels."""
    # A set of its own: a stream of pictures is for one thread at a time, and visitors share it.
    pixels = data.take(torch.tensor([row])).pixels(slice(0, 1))[0]
    image_id, label = data.ids[row], data.classes[int(data.labels[row])]
    name = image_id if ":" in data.name else f"{data.name} {image_id}"
    digest = hashlib.sha256(pixels.contiguous().numpy().tobytes()).hexdigest()
    return Picture(name, pixels, digest, f"{data.name}:{data.split}/{image_id}", label, image_id=image_id)


def make_view(picture: Picture, request: Request, size: int) -> View:
    """Resize, then degrade at the network's own input size; raises `ValueError` with one sentence."""
    clean = resizing.resize_pixels(picture.pixels, size, request.resize)
    scale = degradations.resolve_scale(request.scale or degradations.default_scale(size, size))
    degraded, words, parameters = clean, "none", {}
    if is_degraded(request):
        ids = [picture.seed_text]
        options: dict[str, Any] = {"scale": scale, "image_ids": ids, "seed": request.seed}
        degraded = degradations.degrade(clean, request.degradation, request.severity, **options)
        words = degradations.describe(request.degradation, request.severity, scale, size)
        parameters = degradations.parameters(request.degradation, request.severity, scale, size)
        if degradations.resolve_name(request.degradation) == "motion_blur":
            angle = degradations.motion_blur_angle(picture.seed_text, request.severity, seed=request.seed)
            words, parameters = f"{words}, angle {angle:.0f}°", {**parameters, "angle": angle}
    height, width = picture.pixels.shape[-2:]
    resized = resizing.describe_resize(height, width, size, request.resize)
    psnr, ssim = float(quality.psnr(clean, degraded)), float(quality.ssim(clean, degraded))
    return View(size, clean, degraded, resized, words, parameters, scale, psnr, ssim)


def make_views(
    request: Request, picture: Picture, models: Sequence[Model], memo: Memo = no_memo
) -> dict[int, View]:
    """The picture as the networks see it, by input size; raises `ValueError` with one sentence."""
    views = {}
    for size in sorted({model.input_size for model in models}):
        asked = (request.resize, request.degradation, request.severity, request.scale, request.seed)
        key = ("view", picture.sha256, picture.image_id, size, *asked)
        views[size] = memo(key, partial(make_view, picture, request, size))
    return views


def target_class(model: Model, picture: Picture, request: Request, clean: Tensor) -> int:
    """Index of the class to explain; raises `ExplanationError` when the model doesn't know it."""
    if request.target == "predicted":
        return int(clean.argmax())
    wanted = picture.label if request.target == "true" else request.target
    if wanted is None:
        raise ExplanationError(
            f"The true class of {picture.name} is not known; choose the predicted class or name one."
        )
    if wanted not in model.classes:
        some = ", ".join(model.classes[:12]) + (", ..." if len(model.classes) > 12 else "")
        raise ExplanationError(f"{model.name} has no class {wanted!r}; it knows {some}.")
    return model.classes.index(wanted)


def _check(request: Request, models: Sequence[Model]) -> None:
    if not 1 <= len(models) <= 2:
        raise ExplanationError(f"{len(models)} models were given; one or two are allowed.")
    if not request.methods:
        raise ExplanationError(f"No method was given; allowed are {', '.join(attribution.METHODS)}.")
    for name in request.methods:
        if name not in attribution.METHODS:
            raise ExplanationError(
                f"There is no method {name!r}; allowed are {', '.join(attribution.METHODS)}."
            )


@dataclass(frozen=True)
class Cell:
    """One model on one picture: what its memo keys have in common, and the state of each condition."""

    model: Model
    view: View
    keys: tuple[str, ...]
    states: dict[str, tuple[Any, ...]]
    memo: Memo

    def both(self, what: tuple[Any, ...], compute: Callable[[Tensor], T]) -> dict[str, T]:
        """`compute(image)` for the clean and the degraded image, each through the memo; once if they are one."""
        found: dict[tuple[Any, ...], T] = {}
        for condition, state in self.states.items():
            if state not in found:
                image = self.view.image(condition)
                found[state] = self.memo((*what, *self.keys, *state), partial(compute, image))
        return {condition: found[state] for condition, state in self.states.items()}


def make_cell(model: Model, picture: Picture, view: View, request: Request, memo: Memo) -> Cell:
    """One model on one picture, ready to be asked through the memo."""
    degraded = (request.degradation, request.severity, view.scale, request.seed)
    states = {"clean": ("clean",), "degraded": degraded if is_degraded(request) else ("clean",)}
    keys = (
        model.name,
        str(model.input_size),
        model.card.sha256,
        picture.sha256,
        picture.image_id,
        request.resize,
    )
    return Cell(model, view, keys, states, memo)


def answered(cell: Cell, picture: Picture, request: Request) -> Answered:
    """What the cell's network says of the picture; raises `ExplanationError` as `target_class` does."""
    model = cell.model
    probabilities = cell.both(("predict",), lambda image: model.predict(image)[0].cpu())
    return Answered(
        model.name,
        model.card.architecture,
        model.card.dataset,
        model.card.sha256,
        str(model.device),
        model.classes,
        model.input_size,
        target_class(model, picture, request, probabilities["clean"]),
        probabilities,
    )


def _explain_model(cell: Cell, picture: Picture, request: Request, told: Told) -> ModelResult:
    model = cell.model
    layers = tuple(request.layers.get(model.name, ())) or (model.default_layer,)
    answer = answered(cell, picture, request)
    cams = _cams(cell, request.methods, answer.target, layers)
    count = len(request.methods)
    maps = {
        name: cams.get(name) or _maps(cell, request, name, answer.target, layers, part(told, place, count))
        for place, name in enumerate(request.methods)
    }
    return ModelResult(**vars(answer), heatmaps=maps, gradcam_hirescam=_validity(cams))


def _cams(
    cell: Cell, methods: Sequence[str], target: int, layers: tuple[str, ...]
) -> dict[str, dict[str, Heatmap]]:
    """Every gradient CAM, clean and degraded, when a method that taps a layer was asked for.

    One costs as much as all of them, and Grad-CAM and HiResCAM are needed to judge any.
    """
    if not any(attribution.METHODS[name].layered for name in methods):
        return {}
    options: dict[str, Any] = {"targets": target, "layers": layers}
    found = cell.both(
        ("cams", target, layers), lambda image: attribution.explain_all_cams(cell.model, image, **options)
    )
    return {name: {c: found[c][name] for c in CONDITIONS} for name in attribution.GRADIENT_CAMS}


def _maps(
    cell: Cell, request: Request, name: str, target: int, layers: tuple[str, ...], told: Told
) -> dict[str, Heatmap]:
    """Maps of one other method, clean and degraded."""
    tapped = layers if attribution.METHODS[name].layered else None
    options: dict[str, Any] = {"targets": target, "layers": tapped, "seed": request.seed}
    count = len(set(cell.states.values()))

    def explained(image: Tensor) -> Heatmap:
        here = part(told, 0 if image is cell.view.clean else count - 1, count)
        return attribution.explain(cell.model, image, name, told=here, **options)

    return cell.both(("map", name, target, tapped, request.seed), explained)


def _validity(cams: dict[str, dict[str, Heatmap]]) -> float | None:
    """Agreement of Grad-CAM and HiResCAM on the clean image, when a layer was tapped."""
    if not cams:
        return None
    return faithfulness.pearson(cams["gradcam"]["clean"].values[0], cams["hirescam"]["clean"].values[0])


def _agreements(request: Request, results: Sequence[ModelResult]) -> tuple[Agreement, ...]:
    rows = []
    for method in request.methods:
        maps = {result.model: result.heatmaps[method] for result in results}
        if is_degraded(request):
            for letter, result in zip("AB", results, strict=False):
                pair = (maps[result.model][condition].values[0] for condition in CONDITIONS)
                rows.append(agreement(method, f"{letter}: clean and degraded", *pair))
        if len(results) == 2:
            for condition in CONDITIONS if is_degraded(request) else CONDITIONS[:1]:
                pair = (result.heatmaps[method][condition].values[0] for result in results)
                rows.append(agreement(method, f"A and B: {condition}", *pair))
    return tuple(rows)


def compare(
    request: Request,
    picture: Picture,
    models: Sequence[Model],
    memo: Memo = no_memo,
    told: Told = untold,
) -> Comparison:
    """Explain one picture with one or two models, clean and degraded.

    `told` is called with the share in [0, 1] that is done, by methods that run a network many times.
    Raises `ExplanationError` or `ValueError` with one sentence when something asked for does not exist or cannot
    serve this picture.
    """
    _check(request, models)
    views = make_views(request, picture, models, memo)
    cells = [make_cell(model, picture, views[model.input_size], request, memo) for model in models]
    results = tuple(
        _explain_model(cell, picture, request, part(told, place, len(cells)))
        for place, cell in enumerate(cells)
    )
    return Comparison(request, picture, views, results, _agreements(request, results))
