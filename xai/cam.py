"""The gradient-CAM family, from one forward pass and one partial backward pass.

Each method is a function of the tapped activation `A` and the gradient `G` of the target's score with respect to
it, both `(N, C, h, w)`, and returns raw, signed maps `(N, h, w)`: the final ReLU that the papers draw with is
left to whoever draws. Where a method itself needs a ReLU (on the gradient in Grad-CAM++ and LayerCAM, on the
products in element-wise Grad-CAM) it is applied. Formulas and small constants are those of the `grad-cam` package,
so that the numbers are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from xai.hooks import TapError, tapped

CamFunction = Callable[[Tensor, Tensor], Tensor]
_PLUS_PLUS_EPSILON = 1e-6
_X_EPSILON = 1e-7


def activations_and_gradients(
    network: nn.Module, images: Tensor, targets: Tensor, layers: Sequence[str], *, gradients: bool = True
) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
    """Activations, gradients of the target's logit with respect to them (per layer), and the targets `(N,)`.

    Empty `targets` take the class of the highest logit. With `gradients=False` the gradients are zeros that cost
    nothing. The network must be frozen (see `hooks.frozen`). Raises `TapError` for a layer that can't be tapped.
    """
    with tapped(network, layers) as taps:
        logits = network(images)
    chosen = targets if len(targets) else logits.detach().argmax(dim=1)
    _check_batch(taps, len(images))
    activations = {name: taps[name].detach() for name in layers if name in taps}
    if not gradients:
        return (
            activations,
            {name: value.new_zeros(()).expand_as(value) for name, value in activations.items()},
            chosen,
        )
    score = logits.gather(1, chosen[:, None]).sum()
    return activations, _gradients(score, {name: taps[name] for name in activations}), chosen


def _check_batch(taps: dict[str, Tensor], count: int) -> None:
    """A network that looks at several pictures of one image has layers whose rows are not images."""
    for name, tap in taps.items():
        if len(tap) != count:
            raise TapError(
                f"the layer {name!r} gives {len(tap)} feature maps for {count} images, not one each"
            )


def _gradients(score: Tensor, taps: dict[str, Tensor]) -> dict[str, Tensor]:
    if not score.requires_grad:  # the score does not depend on what was tapped
        return {name: torch.zeros_like(tap) for name, tap in taps.items()}
    found = torch.autograd.grad(score, list(taps.values()), allow_unused=True)
    return {
        name: torch.zeros_like(tap) if gradient is None else gradient
        for (name, tap), gradient in zip(taps.items(), found, strict=True)
    }


def gradcam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Channels weighted by their mean gradient (Selvaraju et al., ICCV 2017), before the final ReLU."""
    return weighted_sum(activation, gradient.mean(dim=(2, 3)))


def weighted_sum(activation: Tensor, weights: Tensor) -> Tensor:
    """Sum over channels of activations `(N, C, h, w)` times weights `(N, C)`; returns `(N, h, w)`."""
    return (activation * weights[:, :, None, None]).sum(dim=1)


def gradcam_plus_plus(activation: Tensor, gradient: Tensor) -> Tensor:
    """Channels weighted by their positive gradients, each with the coefficient of equation 19 of Chattopadhay et
    al., WACV 2018 (score taken as the exponential of the logit)."""
    square = gradient * gradient
    total = activation.sum(dim=(2, 3), keepdim=True)
    alpha = square / (2 * square + total * square * gradient + _PLUS_PLUS_EPSILON)
    # where, not a product: the denominator may vanish at a negative gradient, and 0 * inf is not a number
    return weighted_sum(activation, torch.where(gradient > 0, gradient * alpha, 0).sum(dim=(2, 3)))


def xgradcam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Channels weighted by the activation-weighted mean of the gradient (Fu et al., BMVC 2020)."""
    total = activation.sum(dim=(2, 3))
    return weighted_sum(activation, (gradient * activation).sum(dim=(2, 3)) / (total + _X_EPSILON))


def layercam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Every cell weighted by its own positive gradient (Jiang et al., IEEE TIP 2021)."""
    return (gradient.clamp_min(0) * activation).sum(dim=1)


def hirescam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Gradient times activation, cell by cell (Draelos and Carin, 2020, arXiv 2011.08891)."""
    return (gradient * activation).sum(dim=1)


def elementwise_gradcam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Gradient times activation, cell by cell, positive products only (`GradCAMElementWise` of grad-cam)."""
    return (gradient * activation).clamp_min(0).sum(dim=1)


def eigencam(activation: Tensor, _gradient: Tensor) -> Tensor:
    """Projection of the activations on their first principal component (Muhammad and Yeasin, IJCNN 2020).

    Positions are the observations, channels the variables, centred per channel. The component comes from the
    smaller of the two Gram matrices (positions or channels) in double precision, which is exact and far cheaper
    than a full singular value decomposition. A principal component has no sign of its own: here it is positive
    where the mean over channels is above its average; where that decides nothing, the largest value is positive.
    """
    values = activation.flatten(2).double()
    values = values - values.mean(dim=2, keepdim=True)
    channels, positions = values.shape[1:]
    if positions <= channels:
        lengths, vectors = torch.linalg.eigh(values.mT @ values)
        projection = vectors[:, :, -1] * lengths[:, -1:].clamp_min(0).sqrt()
    else:
        vectors = torch.linalg.eigh(values @ values.mT)[1]
        projection = (vectors[:, None, :, -1] @ values)[:, 0]
    return _signed(projection, values.mean(dim=1)).reshape(-1, *activation.shape[2:]).to(activation.dtype)


def _signed(projection: Tensor, mean: Tensor) -> Tensor:
    agreement = (projection * mean).sum(dim=1, keepdim=True)
    largest = projection.gather(1, projection.abs().argmax(dim=1, keepdim=True))
    scale = projection.norm(dim=1, keepdim=True) * mean.norm(dim=1, keepdim=True)
    decides = torch.where(agreement.abs() > 1e-9 * scale, agreement, largest)
    return torch.where(decides < 0, -projection, projection)


CAMS: dict[str, CamFunction] = {
    "gradcam": gradcam,
    "gradcam++": gradcam_plus_plus,
    "xgradcam": xgradcam,
    "layercam": layercam,
    "hirescam": hirescam,
    "eigencam": eigencam,
    "elementwise_gradcam": elementwise_gradcam,
}


def fuse(maps: Sequence[Tensor]) -> Tensor:
    """One map of several layers: each brought to the largest grid (bilinear), divided by its largest absolute
    value, then averaged. A single map is returned as it is."""
    if len(maps) == 1:
        return maps[0]
    grid = max((tuple(values.shape[1:]) for values in maps), key=lambda shape: shape[0] * shape[1])
    return torch.stack([_scaled(values, grid) for values in maps]).mean(dim=0)


def _scaled(values: Tensor, grid: tuple[int, ...]) -> Tensor:
    resized = nn.functional.interpolate(values[:, None], size=grid, mode="bilinear", align_corners=False)[
        :, 0
    ]
    largest = resized.abs().amax(dim=(1, 2), keepdim=True)
    return resized / torch.where(largest > 0, largest, 1)
