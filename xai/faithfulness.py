"""Whether a heatmap can be trusted, in numbers: deletion and insertion, agreement of maps, masks.

Maps are raw and signed. What is not defined (the rank correlation of a constant map, the evidence inside a mask
when there is none) is NaN here and nowhere hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from models.layers import IMAGENET_MEAN
from models.registry import Model
from xai.attribution import ExplanationError, Targets, explain_all_cams
from xai.batching import batch_size
from xai.folding import folded
from xai.shares import Told, untold

PLAIN = IMAGENET_MEAN
"""The colour of pixels that were deleted: zero in the network's units."""
_NAN = float("nan")


@dataclass(frozen=True)
class Faithfulness:
    """Class probability as pixels go (deletion) or come (insertion) in the order of a map, most important first.

    `fractions` `(steps + 1,)` of pixels changed, 0 to 1; the four curves have the same shape, those named
    `random_*` follow a random map on the same grid. The `*_auc` are their areas by the trapezoid rule, in [0, 1]:
    a faithful map has a low deletion and a high insertion area, compared with the random one.
    """

    fractions: Tensor
    deletion: Tensor
    insertion: Tensor
    random_deletion: Tensor
    random_insertion: Tensor
    deletion_auc: float
    insertion_auc: float
    random_deletion_auc: float
    random_insertion_auc: float


def gradcam_hirescam_agreement(model: Model, images: Tensor, targets: Targets, layer: str) -> Tensor:
    """Pearson correlation `(N,)` in [-1, 1] of the raw Grad-CAM and HiResCAM maps at `layer`; NaN where constant.

    It is 1 where Grad-CAM shows what the layer really adds to the score: at the last stage before average pooling
    and one linear layer. Under other heads it may be near 0, and Grad-CAM then is another thing.
    """
    maps = explain_all_cams(model, images, ("gradcam", "hirescam"), targets=targets, layers=[layer])
    pairs = zip(maps["gradcam"].values, maps["hirescam"].values, strict=True)
    return torch.stack([torch.as_tensor(pearson(a, b)) for a, b in pairs])


def pearson(a: Tensor, b: Tensor) -> float:
    """Linear correlation of two tensors of the same shape; NaN when one of them is constant."""
    _check_same(a, b)
    left, right = (values.flatten().double() - values.double().mean() for values in (a, b))
    norms = float(left.norm() * right.norm())
    # what rounding leaves of a constant map is no variation
    flat = any(bool(c.norm() <= 1e-6 * v.double().norm()) for c, v in ((left, a), (right, b)))
    return _NAN if norms == 0 or flat else max(-1.0, min(1.0, float(left @ right) / norms))


def spearman(a: Tensor, b: Tensor) -> float:
    """Rank correlation of two maps of the same shape (ties share their mean rank); NaN when one is constant."""
    _check_same(a, b)
    return pearson(_ranks(a), _ranks(b))


def _ranks(values: Tensor) -> Tensor:
    _, place, counts = values.flatten().unique(return_inverse=True, return_counts=True)
    return (counts.cumsum(0) - (counts - 1) / 2)[place]


def top_k_overlap(a: Tensor, b: Tensor, share: float = 0.2) -> float:
    """Share in [0, 1] that the highest cells of two maps have in common, `share` of the cells (at least one).

    Cells that tie for the last places count as if drawn by lot, for each map on its own: maps that are mostly
    zero agree by chance only. NaN where a map is constant.
    """
    _check_same(a, b)
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}; allowed are numbers above 0 and up to 1.")
    if any(bool((values == values.flatten()[0]).all()) for values in (a, b)):
        return _NAN
    count = max(1, round(share * a.numel()))
    return float((_chance_of_top(a, count) * _chance_of_top(b, count)).sum()) / count


def _chance_of_top(values: Tensor, count: int) -> Tensor:
    """Probability of each cell to be among the `count` highest, with ties broken at random."""
    flat = values.flatten()
    last = flat.topk(count).values[-1]
    above, tied = flat > last, flat == last
    return above.double() + tied.double() * (count - above.sum()) / tied.sum()


def centre_of_mass(values: Tensor) -> tuple[float, float]:
    """Centre `(row, column)` of the positive part of a map `(h, w)`, as shares of height and width in [0, 1]; NaN
    without a positive part."""
    positive = values.double().clamp_min(0)
    total = float(positive.sum())
    if total == 0:
        return _NAN, _NAN
    rows, columns = (
        (torch.arange(side, dtype=torch.float64, device=values.device) + 0.5) / side for side in values.shape
    )
    return float(positive.sum(dim=1) @ rows) / total, float(positive.sum(dim=0) @ columns) / total


def centre_shift(a: Tensor, b: Tensor) -> float:
    """Distance of the centres of the positive parts of two maps, as a share of the image's side; NaN without one."""
    (top, left), (bottom, right) = centre_of_mass(a), centre_of_mass(b)
    return ((top - bottom) ** 2 + (left - right) ** 2) ** 0.5


def mask_energy(values: Tensor, mask: Tensor) -> float:
    """Share in [0, 1] of the positive part of a map `(h, w)` that lies inside a true mask `(H, W)` (energy-based
    pointing game, Wang et al., 2020). The map is enlarged bilinearly. NaN without a positive part."""
    positive = enlarge(values, tuple(mask.shape)).double().clamp_min(0)
    total = float(positive.sum())
    return float(positive[mask.bool()].sum()) / total if total > 0 else _NAN


def pointing_game(values: Tensor, mask: Tensor, seed: int = 0) -> bool:
    """Whether a map `(h, w)` points at the object of a mask `(H, W)`: `pointing_hits` of this one map."""
    maps, masks = values.detach().cpu().numpy()[None], mask.detach().cpu().bool().numpy()[None]
    return bool(pointing_hits(maps, masks, (seed,))[0])


def pointing_hits(maps: np.ndarray, masks: np.ndarray, seed: Sequence[int]) -> np.ndarray:
    """Pointing game (Zhang et al., ECCV 2016, without tolerance) of maps `(N, h, w)`, masks bool `(N, H, W)`: 1 where
    the middle of a map's highest cell lies on the object, else 0, float64 `(N,)`; ties by lot, and a map that is
    constant points nowhere.

    The cell, and not the highest point of the enlarged map: between cells that is an average, but not at the border,
    so that it would draw random maps away from the middle, where objects stand, to fewer hits than chance gives.
    """
    flat = maps.reshape(len(maps), -1)
    lots = np.random.default_rng(seed).random(flat.shape, dtype=np.float32) + 1
    highest = np.where(flat == flat.max(axis=1, keepdims=True), lots, 0).argmax(axis=1)
    rows, columns = np.unravel_index(highest, maps.shape[1:])
    middle = [
        ((cell + 0.5) * side / cells).astype(int)
        for cell, side, cells in zip((rows, columns), masks.shape[1:], maps.shape[1:], strict=True)
    ]
    found = masks[np.arange(len(maps)), middle[0], middle[1]]
    return np.where(np.ptp(flat, axis=1) > 0, found, False).astype(np.float64)


def enlarge(values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Maps `(..., h, w)` at another size, bilinear with aligned pixel edges."""
    stack = values.reshape(-1, 1, *values.shape[-2:]).float()
    large = interpolate(stack, size=shape, mode="bilinear", align_corners=False)
    return large.reshape(*values.shape[:-2], *shape)


def deletion_insertion(
    model: Model,
    image: Tensor,
    heatmap: Tensor,
    target: int,
    *,
    steps: int = 32,
    seed: int = 0,
    told: Told = untold,
) -> Faithfulness:
    """Deletion and insertion curves (Petsiuk et al., BMVC 2018) of a map `(h, w)` and of a random one beside it.

    `image` is `(1, 3, H, W)` in [0, 1]. Deletion paints pixels with ImageNet's mean colour (zero in the network's
    units), insertion starts from the image blurred with a Gaussian of sigma = width / 16. Equal values of a map
    are ordered at random, with `seed`; the random map is drawn on the heatmap's own grid with the same seed. `told` is
    called with the share in [0, 1] that is done.
    """
    _check_curves(model, image, heatmap, target, steps)
    image = image.detach().cpu()
    random = torch.rand(tuple(heatmap.shape), generator=torch.Generator().manual_seed(seed))
    plain = torch.tensor(PLAIN).view(1, 3, 1, 1).expand_as(image)
    counts = [round(step * image.shape[-1] * image.shape[-2] / steps) for step in range(steps + 1)]
    stacks = []
    for values in (heatmap.detach().cpu(), random):
        masks = _step_masks(enlarge(values, tuple(image.shape[-2:])), counts, seed)
        stacks += [torch.where(masks, plain, image), torch.where(masks, image, blurred(image))]
    curves = _probabilities(model, torch.cat(stacks), target, told).view(4, steps + 1)
    areas = (torch.trapezoid(curves, dim=1) / steps).tolist()
    return Faithfulness(torch.linspace(0, 1, steps + 1), *curves, *areas)


def _check_curves(model: Model, image: Tensor, heatmap: Tensor, target: int, steps: int) -> None:
    if image.ndim != 4 or len(image) != 1 or heatmap.ndim != 2:
        shapes = f"{tuple(image.shape)} and {tuple(heatmap.shape)}"
        raise ExplanationError(f"image and map are {shapes}; allowed are (1, 3, H, W) and (h, w).")
    if not 0 <= target < len(model.classes):
        raise ExplanationError(f"the target class is {target}; allowed is 0 to {len(model.classes) - 1}.")
    if not 1 <= steps <= image.shape[-1] * image.shape[-2]:
        raise ExplanationError(f"steps is {steps}; allowed is 1 to the number of pixels.")


def pixel_places(values: Tensor, seed: int) -> Tensor:
    """Place of every cell of maps `(..., H, W)` when those of a map go from high to low, int64 of the same shape.

    0 is the highest. Equal values are ordered at random with `seed`, in the same way for every map.
    """
    flat = values.flatten(-2).cpu()
    shuffled = torch.randperm(flat.shape[-1], generator=torch.Generator().manual_seed(seed))
    order = shuffled[flat[..., shuffled].argsort(dim=-1, descending=True, stable=True)]
    places = torch.arange(flat.shape[-1]).expand_as(order)
    return torch.empty_like(order).scatter_(-1, order, places).view(values.shape)


def _step_masks(values: Tensor, counts: list[int], seed: int) -> Tensor:
    """Masks `(len(counts), 1, H, W)` of the `count` highest pixels each."""
    return pixel_places(values, seed)[None, None] < torch.tensor(counts).view(-1, 1, 1, 1)


def blurred(images: Tensor) -> Tensor:
    """What insertion starts from: images `(N, 3, H, W)` under a Gaussian of sigma = width / 16."""
    sigma = images.shape[-1] / 16
    radius = min(int(3 * sigma + 0.5), min(images.shape[-2:]) - 1)
    weights = torch.exp(-(torch.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    weights = weights / weights.sum()
    padded = pad(images, (radius,) * 4, mode="reflect").flatten(0, 1)[:, None]
    rows = torch.nn.functional.conv2d(padded, weights.view(1, 1, -1, 1))
    return torch.nn.functional.conv2d(rows, weights.view(1, 1, 1, -1)).view(images.shape)


def _probabilities(model: Model, images: Tensor, target: int, told: Told) -> Tensor:
    found: list[Tensor] = []
    parts = images.split(batch_size(images))
    with model.lock, torch.inference_mode():
        network = folded(model).network
        for done, some in enumerate(parts, start=1):
            found.append(network(some.to(model.device)).softmax(dim=1)[:, target].cpu())
            told(done / len(parts))
    return torch.cat(found)


def _check_same(a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape:
        raise ValueError(f"the maps are {tuple(a.shape)} and {tuple(b.shape)}; allowed are equal shapes.")
