"""Methods that change the image or an activation and watch the score: occlusion, Score-CAM, Ablation-CAM, RISE.

They only run forward, so they use the folded copy of the network (see `xai.folding`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from xai.attribution_types import Call, ExplanationError, Result, register
from xai.batching import batch_size
from xai.cam import activations_and_gradients, fuse, weighted_sum
from xai.folding import folded
from xai.hooks import replaced
from xai.shares import Told, part
from xai.taps import check_grid, position


def _scores(
    network: nn.Module,
    batches: Iterator[Tensor],
    count: int,
    target: Tensor,
    told: Told,
    *,
    softmax: bool = False,
) -> Tensor:
    """Scores `(count,)` of as many images, which come in batches."""
    scores, done = [], 0
    with torch.inference_mode():
        for batch in batches:
            logits = network(batch.contiguous(memory_format=torch.channels_last))
            scores.append((logits.softmax(dim=1) if softmax else logits)[:, target])
            done += len(batch)
            told(done / count)
    return torch.cat(scores)


def _rows(call: Call) -> Iterator[tuple[Tensor, Tensor, Told]]:
    """Each image `(3, H, W)` with its target, and what hears how far its map is."""
    for row, (image, target) in enumerate(zip(call.images, call.targets, strict=True)):
        yield image, target, part(call.told, row, len(call.images))


def _whole(call: Call, name: str, default: int, most: int) -> int:
    value = call.settings[name] if call.settings[name] is not None else default
    if not isinstance(value, int) or not 1 <= value <= most:
        raise ExplanationError(f"{name} is {value!r}; allowed are whole numbers from 1 to {most}.")
    return value


@register(
    "occlusion",
    "Occlusion",
    "perturbation",
    "Fall of the class score when a patch is painted over (Zeiler and Fergus, ECCV 2014).",
    signed=True,
    layered=False,
    window=None,
    stride=None,
    baseline=0.0,
)
def occlusion(call: Call) -> Result:
    """Captum's `Occlusion` with a square `window` over all channels, moved by `stride` pixels and filled with the
    constant `baseline` (0 is black); where windows overlap, their mean. Defaults: an eighth of the shorter side,
    moved by half a window."""
    height, width = call.images.shape[-2:]
    window = _whole(call, "window", max(1, min(height, width) // 8), min(height, width))
    stride = _whole(call, "stride", max(1, window // 2), window)
    call.settings.update(window=window, stride=stride)
    boxes = occlusion_boxes(height, width, window, stride)
    maps = [_occlude(call, image, target, boxes, told) for image, target, told in _rows(call)]
    return Result(torch.stack(maps))


def occlusion_boxes(height: int, width: int, window: int, stride: int) -> list[tuple[int, int, int, int]]:
    """Boxes `(top, bottom, left, right)` that cover the image; the last of a row or column may be cut off."""

    def starts(length: int) -> list[int]:
        return [index * stride for index in range(-(-(length - window) // stride) + 1)]

    return [
        (top, min(top + window, height), left, min(left + window, width))
        for top in starts(height)
        for left in starts(width)
    ]


def _occlude(
    call: Call, image: Tensor, target: Tensor, boxes: list[tuple[int, int, int, int]], told: Told
) -> Tensor:
    network, size = folded(call.model).network, batch_size(image)

    def batches() -> Iterator[Tensor]:
        yield image[None]
        for start in range(0, len(boxes), size):
            some = boxes[start : start + size]
            batch = image.repeat(len(some), 1, 1, 1)
            for row, (top, bottom, left, right) in enumerate(some):
                batch[row, :, top:bottom, left:right] = call.settings["baseline"]
            yield batch

    scores = _scores(network, batches(), len(boxes) + 1, target, told)
    total, covered = torch.zeros_like(image[0]), torch.zeros_like(image[0])
    for fall, (top, bottom, left, right) in zip((scores[0] - scores[1:]).tolist(), boxes, strict=True):
        total[top:bottom, left:right] += fall
        covered[top:bottom, left:right] += 1
    return total / covered


def _layer_maps(call: Call, weigh: Any) -> Result:
    """Maps whose channels are weighted by `weigh(activation (C, h, w), image (3, H, W), target, layer, told)`."""
    taps, _, _ = activations_and_gradients(
        call.model.network, call.images, call.targets, call.layers, gradients=False
    )
    check_grid(call.model, call.images, call.layers, taps)
    maps = []
    for place, layer in enumerate(call.layers):
        here = replace(call, told=part(call.told, place, len(call.layers)))
        rows = zip(taps[layer], _rows(here), strict=True)
        weights = torch.stack(
            [weigh(activation, image, target, layer, told) for activation, (image, target, told) in rows]
        )
        maps.append(weighted_sum(taps[layer], weights))
    return Result(fuse(maps), position(call.model.network, call.layers, taps))


@register(
    "scorecam",
    "Score-CAM",
    "perturbation",
    "Channels weighted by the class score of the image seen through them (Wang et al., CVPR workshops 2020).",
    signed=False,
    layered=True,
)
def scorecam(call: Call) -> Result:
    """As in grad-cam: each channel, enlarged and scaled to [0, 1], masks the image; the weights are the softmax over
    channels of the target's logits. All constant channels give the same black image, which is run once."""

    def weigh(activation: Tensor, image: Tensor, target: Tensor, _layer: str, told: Told) -> Tensor:
        return torch.softmax(_masked_scores(call, activation, image, target, told), dim=0)

    return _layer_maps(call, weigh)


def _masked_scores(call: Call, activation: Tensor, image: Tensor, target: Tensor, told: Told) -> Tensor:
    size, shape = batch_size(image), tuple(image.shape[-2:])
    varied = activation.amax(dim=(1, 2)) > activation.amin(dim=(1, 2))
    channels = activation[varied]

    def batches() -> Iterator[Tensor]:
        yield torch.zeros_like(image)[None]
        for some in channels.split(size):
            masks = nn.functional.interpolate(some[None], shape, mode="bilinear", align_corners=True)[0]
            low, high = masks.amin(dim=(1, 2), keepdim=True), masks.amax(dim=(1, 2), keepdim=True)
            yield image * ((masks - low) / (high - low + 1e-8))[:, None]

    scores = _scores(folded(call.model).network, batches(), len(channels) + 1, target, told)
    every = scores[0].repeat(len(activation))
    every[varied] = scores[1:]
    return every


@register(
    "ablationcam",
    "Ablation-CAM",
    "perturbation",
    "Channels weighted by the share of the class score that is lost without them (Desai and Ramaswamy, WACV 2020).",
    signed=True,
    layered=True,
)
def ablationcam(call: Call) -> Result:
    """Weights `(y - y_k) / y` with channel `k` set to zero.

    The part of the network below the layer runs on one image and the layer's output is then spread over a batch,
    which gives the same scores as a whole batch from the start. Where the network joins the layer with others, which
    then still have one row, the whole batch is run.
    """

    def weigh(activation: Tensor, image: Tensor, target: Tensor, layer: str, told: Told) -> Tensor:
        score, ablated = _ablated_scores(call, activation, image, target, layer, told)
        return torch.where(score != 0, (score - ablated) / score, 0)

    return _layer_maps(call, weigh)


def _ablated_scores(
    call: Call, activation: Tensor, image: Tensor, target: Tensor, layer: str, told: Told
) -> tuple[Tensor, Tensor]:
    copy = folded(call.model)
    network = call.model.network if layer in copy.convolutions else copy.network
    count, scores = len(activation), []
    with torch.inference_mode():
        whole = network(image[None])[0, target]
        for channels in torch.arange(count, device=image.device).split(4 * batch_size(image)):
            logits = _ablated_logits(network, image, layer, channels)
            scores.append(logits[:, target])
            told(int(channels[-1] + 1) / count)
    return whole, torch.cat(scores)


def _ablated_logits(network: nn.Module, image: Tensor, layer: str, channels: Tensor) -> Tensor:
    """Logits `(len(channels), K)` of the image with one channel of the layer's output set to zero in each row."""
    rows = torch.arange(len(channels), device=image.device)

    def ablate(output: Tensor) -> Tensor:
        spread = output.repeat(len(rows) // len(output), 1, 1, 1)
        spread[rows, channels] = 0
        return spread

    with replaced(network, layer, ablate):
        try:
            logits = network(image[None])
        except RuntimeError:  # sizes of batches that don't match
            logits = image.new_empty(0)
        return logits if len(logits) == len(rows) else network(image.expand(len(rows), -1, -1, -1))


@register(
    "rise",
    "RISE",
    "perturbation",
    "Mean class probability of randomly masked images, credited to the pixels left visible (Petsiuk et al., BMVC "
    "2018).",
    signed=False,
    layered=False,
    seeded=True,
    samples=500,
    cells=8,
    visible=0.5,
)
def rise(call: Call) -> Result:
    """`samples` masks of `cells` x `cells` random cells, `visible` of them open, enlarged with a random shift; the
    map is sum(probability * mask) / (samples * visible)."""
    masks = rise_masks(call)
    network, size = folded(call.model).network, batch_size(call.images)
    maps = []
    for image, target, told in _rows(call):
        batches = (image * some[:, None] for some in masks.split(size))
        scores = _scores(network, batches, len(masks), target, told, softmax=True)
        maps.append(torch.einsum("s,shw->hw", scores, masks) / (len(masks) * call.settings["visible"]))
    return Result(torch.stack(maps))


def rise_masks(call: Call) -> Tensor:
    """The masks `(S, H, W)` in [0, 1] for the call's seed, the same for every image of the batch."""
    height, width = call.images.shape[-2:]
    samples = _whole(call, "samples", 500, 100_000)
    cells = _whole(call, "cells", 8, min(height, width))
    visible = float(call.settings["visible"])
    if not 0 < visible < 1:
        raise ExplanationError(f"visible is {visible!r}; allowed are numbers between 0 and 1.")
    generator = torch.Generator().manual_seed(call.seed)
    open_cells = (torch.rand(samples, 1, cells, cells, generator=generator) < visible).float()
    cell = (-(-height // cells), -(-width // cells))
    shifts = [torch.randint(0, side, (samples,), generator=generator).tolist() for side in cell]
    shape = ((cells + 1) * cell[0], (cells + 1) * cell[1])
    masks = torch.empty(samples, height, width)
    for row, (top, left) in enumerate(zip(*shifts, strict=True)):
        large = nn.functional.interpolate(
            open_cells[row : row + 1], shape, mode="bilinear", align_corners=False
        )
        masks[row] = large[0, 0, top : top + height, left : left + width]
    return masks.to(call.images.device)
