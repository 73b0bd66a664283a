"""Methods that differentiate the target's logit with respect to the pixels; maps are signed sums over channels.

Saliency, input x gradient, guided backpropagation and DeepLIFT are captum's. Integrated gradients, SmoothGrad and
gradient SHAP follow captum's formulas but draw from their own seeded generator (captum draws from the process-wide
one, which other threads draw from too) and run in batches that suit the machine. Every image of a batch meets the
same random draws, so that its map does not depend on the batch, and so that clean and degraded maps compare.
"""

from __future__ import annotations

import functools
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from xai.attribution_types import Call, ExplanationError, Result, register
from xai.batching import batch_size
from xai.hooks import out_of_place, restored
from xai.shares import part

_INCOMPLETE = 0.01
"""Share of the change of a score by which a DeepLIFT map may miss it."""
_SAME = 1e-10
"""Below this difference of activations captum takes the gradient in place of the quotient."""


@functools.cache
def _captum() -> Any:
    import captum.attr

    warnings.filterwarnings("ignore", message="Setting (backward|forward, backward) hooks", module="captum")
    return captum.attr


def input_gradients(network: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """Gradient of each image's target logit with respect to its pixels, `(N, 3, H, W)`."""
    leaf = images.detach().clone().requires_grad_()
    score = network(leaf).gather(1, targets[:, None]).sum()
    return torch.autograd.grad(score, leaf)[0]


def _map(attributions: Tensor) -> Result:
    return Result(attributions.detach().sum(dim=1))


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _count(call: Call, name: str) -> int:
    value = call.settings[name]
    if not isinstance(value, int) or value < 1:
        raise ExplanationError(f"{name} is {value!r}; allowed are whole numbers from 1.")
    return value


@register(
    "saliency",
    "Saliency",
    "gradient",
    "Gradient of the class score with respect to each pixel (Simonyan et al., 2013).",
    signed=True,
    layered=False,
)
def saliency(call: Call) -> Result:
    """Captum's `Saliency` with its sign kept."""
    with restored(call.model.network):
        method = _captum().Saliency(call.model.network)
        return _map(method.attribute(_leaf(call.images), call.targets, abs=False))


def _leaf(images: Tensor) -> Tensor:
    return images.detach().clone().requires_grad_()


@register(
    "input_x_gradient",
    "Input × gradient",
    "gradient",
    "Pixel value times gradient, with black as the reference (Shrikumar et al., 2016).",
    signed=True,
    layered=False,
)
def input_x_gradient(call: Call) -> Result:
    """Captum's `InputXGradient`; the pixel value is the one in [0, 1]."""
    with restored(call.model.network):
        return _map(_captum().InputXGradient(call.model.network).attribute(_leaf(call.images), call.targets))


def _mean_gradients(call: Call, row: int, points: Tensor, weights: Tensor) -> Tensor:
    """For one image of the call: weighted sum over `points` `(S, 3, H, W)` of the gradient, times per-point factors
    `(S, ...)`."""
    total, done = torch.zeros_like(call.images[row]), 0
    told, size = part(call.told, row, len(call.images)), batch_size(call.images)
    for some, factor in zip(points.split(size), weights.split(size), strict=True):
        gradients = input_gradients(call.model.network, some, call.targets[row].expand(len(some)))
        total += (gradients * factor).sum(dim=0)
        done += len(some)
        told(done / len(points))
    return total


@register(
    "integrated_gradients",
    "Integrated gradients",
    "gradient",
    "Gradients summed along the straight path from a plain baseline to the image, which share out the change of "
    "the score exactly (Sundararajan et al., ICML 2017).",
    signed=True,
    layered=False,
    steps=50,
    baseline=0.0,
)
def integrated_gradients(call: Call) -> Result:
    """Gauss-Legendre quadrature with `steps` points from the constant image `baseline` (0 is black).

    On the network as it is, not on its folded copy: that would be 3 to 10 % quicker, but other rounding switches
    some ReLUs along the path, which moves single pixels by more than 1e-4 of the largest.
    """
    import numpy as np

    steps, baseline = _count(call, "steps"), float(call.settings["baseline"])
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    alphas = torch.as_tensor((nodes + 1) / 2, dtype=torch.float32, device=call.images.device).view(
        -1, 1, 1, 1
    )
    shares = torch.as_tensor(weights / 2, dtype=torch.float32, device=call.images.device).view(-1, 1, 1, 1)
    maps = []
    for row, image in enumerate(call.images):
        points = baseline + alphas * (image - baseline)
        points = points.contiguous(memory_format=torch.channels_last)
        maps.append((image - baseline) * _mean_gradients(call, row, points, shares))
    return _map(torch.stack(maps))


@register(
    "smoothgrad",
    "SmoothGrad",
    "gradient",
    "Mean gradient over noisy copies of the image (Smilkov et al., 2017).",
    signed=True,
    layered=False,
    seeded=True,
    samples=25,
    noise=0.15,
)
def smoothgrad(call: Call) -> Result:
    """Mean over `samples` of the gradient at the image plus noise of standard deviation `noise` (the image's
    range is 1), not clipped. Without noise and with one sample it is the gradient itself."""
    samples, noise = _count(call, "samples"), float(call.settings["noise"])
    draws = torch.randn(samples, *call.images.shape[1:], generator=_generator(call.seed)).to(
        call.images.device
    )
    weights = torch.full((samples, 1, 1, 1), 1 / samples, device=call.images.device)
    maps = [
        _mean_gradients(call, row, image + noise * draws, weights) for row, image in enumerate(call.images)
    ]
    return _map(torch.stack(maps))


@register(
    "guided_backprop",
    "Guided backpropagation",
    "gradient",
    "Gradient that keeps only positive signals at every ReLU; sharp, but it hardly depends on the class "
    "(Springenberg et al., 2014).",
    signed=True,
    layered=False,
)
def guided_backprop(call: Call) -> Result:
    """Captum's `GuidedBackprop`. Refused without a ReLU that it could guide: it would be the plain gradient."""
    network = call.model.network
    if not any(isinstance(module, nn.ReLU) for module in network.modules()):
        raise ExplanationError(
            f"{call.model.name} has no ReLU module, which guided backpropagation changes; choose another method."
        )
    with restored(network), out_of_place(network):
        return _map(_captum().GuidedBackprop(network).attribute(_leaf(call.images), call.targets))


@register(
    "deeplift",
    "DeepLIFT",
    "gradient",
    "Difference from a reference image, handed back through every activation by the rescale rule "
    "(Shrikumar et al., ICML 2017).",
    signed=True,
    layered=False,
    baseline=0.0,
)
def deeplift(call: Call) -> Result:
    """Captum's `DeepLift` against the constant image `baseline` (0 is black), its two faults at max-pooling repaired.

    Complete: the map sums to the change of the score, where everything that is not linear is a module that captum
    knows. It is refused where it does not add up: products of feature maps (gates, attention), layer norms and
    functions in place of modules have no rule.
    """
    network, baseline = call.model.network, float(call.settings["baseline"])
    reference = torch.full_like(call.images, baseline)
    with restored(network), out_of_place(network):
        result = _map(_deeplift_class()(network).attribute(_leaf(call.images), reference, call.targets))
    _check_complete(call, reference, result.values)
    return result


def _check_complete(call: Call, reference: Tensor, maps: Tensor) -> None:
    """Raise `ExplanationError` when maps `(N, H, W)` don't sum to the change of the target's logit."""
    with torch.no_grad():
        change = call.model.network(call.images) - call.model.network(reference)
    change = change.gather(1, call.targets[:, None])[:, 0]
    # what cancels out bounds the rounding error
    # rounding costs about a millionth of what cancels out
    slack = _INCOMPLETE * (change.abs() + 1e-3 * maps.abs().sum(dim=(1, 2)))
    if bool(((maps.sum(dim=(1, 2)) - change).abs() > slack).any()):
        raise ExplanationError(
            f"DeepLIFT has no rule for some step of {call.model.name} (such as SiLU, a gate or attention): its map "
            "does not add up to the change of the score; choose another method."
        )


@functools.cache
def _deeplift_class() -> Any:
    class DeepLift(_captum().DeepLift):  # type: ignore[misc]
        def _register_hooks(self, module: nn.Module, attribute_to_layer_input: bool = True) -> None:
            if self._is_non_linear(module):
                # a tensor of its own: else an activation right before a pooling misses the pooling's multipliers
                self.forward_handles.append(
                    module.register_forward_pre_hook(lambda _, taken: taken[0].clone())
                )
            super()._register_hooks(module, attribute_to_layer_input)

        def _backward_hook(self, module: Any, grad_input: Tensor, grad_output: Tensor) -> Tensor:
            pool: Any = module if type(module) is nn.MaxPool2d else None
            if pool is None or not self.satisfies_attribute_criteria(module):
                return super()._backward_hook(module, grad_input, grad_output)
            multipliers = max_pool_multipliers(pool, pool.input, pool.output, grad_input, grad_output)
            del pool.input, pool.output
            return multipliers

    return DeepLift


def max_pool_multipliers(
    pool: nn.MaxPool2d, inputs: Tensor, outputs: Tensor, grad_input: Tensor, grad_output: Tensor
) -> Tensor:
    """DeepLIFT's multipliers through a max-pooling, for images stacked on their references along the batch.

    Captum's rule keeps one of the shares that a pixel gets from overlapping windows, and gives every image the
    gradient of the first one where image and reference are equal; here shares add up and images stay apart.
    """
    options = (pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.ceil_mode)
    indices = nn.functional.max_pool2d(inputs, *options, return_indices=True)[1]
    output, output_reference = outputs.chunk(2)
    largest = torch.maximum(output, output_reference)
    shares = grad_output * torch.cat([largest - output_reference, output - largest])
    spread = torch.zeros_like(inputs, memory_format=torch.contiguous_format).flatten(2)
    spread = spread.scatter_add(2, indices.flatten(2), shares.flatten(2)).view(inputs.shape)
    difference = torch.sub(*inputs.chunk(2))
    multipliers = sum(spread.chunk(2)) / difference
    return torch.where(torch.cat([difference] * 2).abs() < _SAME, grad_input, torch.cat([multipliers] * 2))


@register(
    "gradient_shap",
    "Gradient SHAP",
    "gradient",
    "Expected gradient times difference from a random plain reference, at random points between the two "
    "(Lundberg and Lee, NeurIPS 2017; captum's form).",
    signed=True,
    layered=False,
    seeded=True,
    samples=20,
    noise=0.05,
)
def gradient_shap(call: Call) -> Result:
    """Captum's `GradientShap` with black and white as references, drawn with equal chance per sample."""
    samples, noise = _count(call, "samples"), float(call.settings["noise"])
    draws, alphas, references = (value.to(call.images.device) for value in shap_draws(call, samples, noise))
    maps = []
    for row, image in enumerate(call.images):
        noisy = image + draws
        points = alphas * noisy + (1 - alphas) * references
        factors = (noisy - references) / samples
        maps.append(_mean_gradients(call, row, points, factors))
    return _map(torch.stack(maps))


def shap_draws(call: Call, samples: int, noise: float) -> tuple[Tensor, Tensor, Tensor]:
    """Noise `(S, 3, H, W)`, place on the path `(S, 1, 1, 1)` in [0, 1] and reference (0 or 1) `(S, 1, 1, 1)`."""
    generator = _generator(call.seed)
    draws = noise * torch.randn(samples, *call.images.shape[1:], generator=generator)
    alphas = torch.rand(samples, 1, 1, 1, generator=generator)
    references = torch.randint(0, 2, (samples, 1, 1, 1), generator=generator).float()
    return draws, alphas, references
